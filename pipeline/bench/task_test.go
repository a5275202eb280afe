package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// taskVariable makes a process of this test binary a contender; its value is a task.
const taskVariable = "MAYFLY_BENCH_TASK"

// taskLimit is more than any contender needs for a few million events.
const taskLimit = 5 * time.Minute

// task is what a contender is to do.
type task struct {
	Contender contender
	Brokers   []string
	Topic     string
	Group     string
	Events    int
	Rate      int       // per second, of a producer
	Redis     string    // host:port
	Keyring   string    // URL
	Profiles  string    // folder; empty: none
	KEK       string    // file
	Began     time.Time // of the harness: it decides on the epoch; execute sets it
}

// execute runs a task in a process of its own.
func execute(t testing.TB, task task) run {
	t.Helper()
	task.Began = began
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(task)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), taskLimit)
	defer cancel()
	command := exec.CommandContext(ctx, self)
	command.Env = append(os.Environ(), taskVariable+"="+string(text))
	command.Stderr = os.Stderr
	output, err := command.Output()
	if err != nil {
		t.Fatalf("running %s: %v", task.Contender, err)
	}
	var result run
	if err := json.Unmarshal(output, &result); err != nil {
		t.Fatalf("reading the result of %s: %v", task.Contender, err)
	}
	return result
}

// runTask is the main function of a contender's process; it gives the exit code.
func runTask(text string) int {
	var t task
	err := json.Unmarshal([]byte(text), &t)
	if err == nil {
		began = t.Began
		ctx, cancel := context.WithTimeout(context.Background(), taskLimit)
		defer cancel()
		watch := &stopwatch{events: t.Events, profiles: t.Profiles}
		switch t.Contender {
		case groupReader:
			err = readGroup(ctx, t, watch)
		case rawFetch:
			err = fetch(ctx, t, watch)
		case ingestion:
			err = ingest(ctx, t, watch)
		case compaction:
			err = compactEpoch(ctx, t, watch)
		case production:
			err = produce(ctx, t, watch)
		}
		err = errors.Join(err, watch.err)
		if err == nil {
			err = json.NewEncoder(os.Stdout).Encode(watch.result)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// stopwatch measures this process between start and stop.
type stopwatch struct {
	events   int
	profiles string
	cpu      *os.File
	began    time.Time
	usage    syscall.Rusage
	memory   runtime.MemStats
	result   run
	err      error
}

func (w *stopwatch) start() {
	if w.profiles != "" {
		runtime.MemProfileRate = 64 << 10
		if w.cpu, w.err = os.Create(filepath.Join(w.profiles, "cpu.pprof")); w.err == nil {
			w.err = pprof.StartCPUProfile(w.cpu)
		}
	}
	runtime.ReadMemStats(&w.memory)
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &w.usage) // fails only for bad arguments
	w.began = time.Now()
}

func (w *stopwatch) stop() {
	elapsed := time.Since(w.began)
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	n := float64(w.events)
	cpu := usage.Utime.Nano() + usage.Stime.Nano() - w.usage.Utime.Nano() - w.usage.Stime.Nano()
	w.result = run{
		Began: w.began, Seconds: elapsed.Seconds(), CPUMicros: float64(cpu) / 1e3 / n,
		Allocations: float64(memory.Mallocs-w.memory.Mallocs) / n,
		Allocated:   float64(memory.TotalAlloc-w.memory.TotalAlloc) / n,
		PeakMB:      peakMemory(os.Getpid()),
	}
	if w.profiles != "" {
		w.saveProfiles()
	}
}

// peakMemory is the most resident memory of a process so far, in MB; 0 where the system does
// not tell. (Maxrss of getrusage begins with the parent's.)
func peakMemory(pid int) float64 {
	status, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kb, _ := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(value), " kB"))
			return float64(kb) / 1024
		}
	}
	return 0
}

func (w *stopwatch) saveProfiles() {
	pprof.StopCPUProfile()
	allocations, err := os.Create(filepath.Join(w.profiles, "allocs.pprof"))
	if err == nil {
		err = errors.Join(pprof.Lookup("allocs").WriteTo(allocations, 0), allocations.Close())
	}
	w.err = errors.Join(w.err, err, w.cpu.Close())
}
