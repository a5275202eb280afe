package bench

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// rsyslogPeer is rsyslog with the Kafka and Redis modules of Debian's packages rsyslog,
// rsyslog-kafka and rsyslog-hiredis. Each message becomes a string with an expiry, as it
// is: no index, no seal.
const rsyslogPeer contender = "rsyslog"

// findPeers gives the peers that this machine has, and says which it has not.
func findPeers(t testing.TB) (present []contender, absent []string) {
	t.Helper()
	binary, err := exec.LookPath("rsyslogd")
	if err != nil {
		binary = "/usr/sbin/rsyslogd"
	}
	modules, _ := filepath.Glob("/usr/lib/*/rsyslog/imkafka.so")
	stores, _ := filepath.Glob("/usr/lib/*/rsyslog/omhiredis.so")
	if _, err := os.Stat(binary); err == nil && len(modules) > 0 && len(stores) > 0 {
		return []contender{rsyslogPeer}, nil
	}
	return nil, []string{"rsyslog is not here: apt install rsyslog rsyslog-kafka rsyslog-hiredis"}
}

const rsyslogConfig = `
global(workDirectory="%[1]s")
main_queue(queue.type="Direct")
module(load="imkafka")
module(load="omhiredis")
template(name="raw" type="string" string="%%msg%%")
template(name="name" type="string" string="%%uuid%%")
ruleset(name="events" queue.type="FixedArray" queue.size="200000" queue.dequeueBatchSize="4096" queue.workerThreads="1") {
  action(type="omhiredis" server="%[2]s" serverport="%[3]s" mode="set" dynakey="on" key="name" expiration="86400" template="raw")
}
input(type="imkafka" topic="%[4]s" broker="%[5]s" consumergroup="%[6]s" parsehostname="off" ruleset="events"
  confParam=["auto.offset.reset=earliest", "fetch.wait.max.ms=100"])
`

// runRsyslog measures it from its first event in Redis to its last, so
// that starting and joining the group are not in it.
func (s *servers) runRsyslog(t testing.TB, task task) run {
	t.Helper()
	folder := t.TempDir()
	host, port, err := net.SplitHostPort(task.Redis)
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(folder, "rsyslog.conf")
	text := fmt.Sprintf(rsyslogConfig, folder, host, port, task.Topic, task.Brokers[0], task.Group)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), taskLimit)
	defer cancel()
	command := exec.CommandContext(ctx, "rsyslogd", "-n", "-f", config, "-i", filepath.Join(folder, "pid"))
	command.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin")
	if command.Err != nil {
		command.Path, command.Err = "/usr/sbin/rsyslogd", nil
	}
	if err := command.Start(); err != nil {
		t.Fatalf("starting rsyslog: %v", err)
	}
	defer func() { _ = command.Wait() }()
	defer cancel()
	pid := command.Process.Pid

	stored := func() int { return int(s.dataClient.DBSize(ctx).Val()) }
	first := s.waitFor(ctx, t, func() int { return min(stored(), 1) }, 1)
	before, began := processTime(t, pid), time.Now()
	s.waitFor(ctx, t, stored, task.Events)
	elapsed, cpu := time.Since(began), processTime(t, pid)-before
	n := float64(task.Events - first)
	return run{
		Seconds: elapsed.Seconds() * float64(task.Events) / n, CPUMicros: float64(cpu.Microseconds()) / n,
		PeakMB: peakMemory(pid),
	}
}

// waitFor asks until value has reached n, and gives what it is then.
func (s *servers) waitFor(ctx context.Context, t testing.TB, value func() int, n int) int {
	t.Helper()
	for {
		if v := value(); v >= n {
			return int(s.dataClient.DBSize(ctx).Val())
		}
		select {
		case <-ctx.Done():
			t.Fatal("rsyslog does not store the events")
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// processTime is the user and system CPU time of a process, in ticks of 10 ms.
func processTime(t testing.TB, pid int) time.Duration {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		t.Fatalf("reading a process's CPU time: %v", err)
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	user, err1 := strconv.Atoi(fields[11])
	system, err2 := strconv.Atoi(fields[12])
	if err1 != nil || err2 != nil {
		t.Fatal("the process's CPU time is no number")
	}
	return time.Duration(user+system) * 10 * time.Millisecond
}

func isPeer(who contender) bool { return slices.Contains([]contender{rsyslogPeer}, who) }
