package demo

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
	"time"

	"golang.org/x/term"

	"mayfly/cmd/mayfly/output"
	"mayfly/retention"
)

// snapshot is what a view shows of a running demo.
type snapshot struct {
	now      time.Time
	running  time.Duration
	policy   retention.Policy
	stack    *installation
	produced int
	counts   ingestCounts
	lookups  int64
	wrong    int
	epochs   []watchedEpoch
}

func (d *demo) state() snapshot {
	s := snapshot{
		now: time.Now(), running: time.Since(d.began), policy: d.policy, stack: d.stack,
		lookups: d.story.ok.Load(), wrong: len(d.story.mistakes()), epochs: d.epochs.list(),
	}
	s.produced, _ = d.traffic.state()
	s.counts, _ = countIngest(d.stack.process.Registry)
	return s
}

// view shows a demo. It takes the roles' log too, so that nothing is written
// over anything; its methods may be called concurrently.
type view interface {
	io.Writer                       // of log lines
	Sync() error                    // for zap
	say(line string)                // what the demo is about to do
	tell(at time.Time, line string) // a line of the story
	refresh(state snapshot)         // at least once a second
	live() bool                     // whether somebody watches
	close()                         // back to ordinary lines; again is no error
}

// newView paints on a terminal, and writes lines elsewhere.
func newView(json bool, stdout, stderr io.Writer) view {
	if json {
		return &plainView{out: stderr, log: stderr}
	}
	plain := &plainView{out: stdout, log: stderr}
	if file, ok := stdout.(*os.File); ok && term.IsTerminal(int(file.Fd())) && os.Getenv("TERM") != "dumb" {
		return &screenView{plainView: plain, file: file, color: os.Getenv("NO_COLOR") == ""}
	}
	return plain
}

// plainEvery is how often a line sums up where nothing can be painted.
const plainEvery = 5 * time.Second

// plainView writes a line at a time.
type plainView struct {
	mu   sync.Mutex // orders lines, and guards next
	out  io.Writer
	log  io.Writer
	next time.Time // when to sum up again
}

func (v *plainView) Write(line []byte) (int, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.log.Write(line)
}

func (v *plainView) Sync() error { return nil }

func (v *plainView) live() bool { return false }

func (v *plainView) close() {}

func (v *plainView) say(line string) { v.tell(time.Now(), line) }

func (v *plainView) tell(at time.Time, line string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	_, _ = fmt.Fprintf(v.out, "%s %s\n", at.Format(time.TimeOnly), line)
}

func (v *plainView) refresh(s snapshot) {
	v.mu.Lock()
	first := v.next.IsZero()
	due := !s.now.Before(v.next)
	if due {
		v.next = s.now.Add(plainEvery)
	}
	v.mu.Unlock()
	switch {
	case first:
		for _, line := range headline(s) {
			v.tell(s.now, line)
		}
	case due:
		v.tell(s.now, summaryLine(s))
	}
}

// headline says what is running.
func headline(s snapshot) []string {
	lines := []string{
		fmt.Sprintf("kafka %s in this process · 3 × %s: data, 2 keyring nodes", s.stack.brokers[0], s.stack.redis),
		fmt.Sprintf("page  %s/ · metrics %s/metrics", s.stack.url, s.stack.url),
		fmt.Sprintf("policy %s: window %s, epochs of %s", s.policy.Name, output.Duration(s.policy.Window), output.Duration(s.policy.EpochLength())),
	}
	return append(lines, s.stack.notes...)
}

func summaryLine(s snapshot) string {
	living, purged := epochCounts(s.epochs)
	return fmt.Sprintf("— %s sent, %s stored, %d refused, %d duplicates · %d epochs live, %d purged · %d look-ups as sent, %d not",
		grouped(s.produced), grouped(s.counts.stored), s.counts.rejected(), s.counts.duplicates, living, purged, s.lookups, s.wrong)
}

func epochCounts(epochs []watchedEpoch) (living, purged int) {
	for _, e := range epochs {
		if e.Purged {
			purged++
		} else {
			living++
		}
	}
	return living, purged
}

// grouped writes 1234567 as 1,234,567.
func grouped(n int) string {
	digits := strconv.Itoa(n)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
