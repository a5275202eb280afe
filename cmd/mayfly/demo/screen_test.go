package demo

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"mayfly/retention"
	"mayfly/retention/warden"
)

// pictureOf is the state of a demo under way: three epochs gone, one due
// at this instant, the others alive.
func pictureOf(live int) snapshot {
	now := time.Date(2026, 11, 7, 12, 0, 0, 0, time.Local)
	policy := retention.Policy{Name: policyName, Window: time.Duration(live) * time.Second, Epoch: time.Second}
	s := snapshot{
		now: now, policy: policy, stack: &installation{brokers: []string{"127.0.0.1:9092"}, redis: "redis-server 7.0.15", url: "http://" + listen},
		produced: 1_234_567, counts: ingestCounts{stored: 1_234_500, refused: map[string]int{"bad_ip": 60, "not_json": 7}}, lookups: 12,
	}
	for i := -live - 3; i < 0; i++ {
		e := watchedEpoch{Status: warden.Status{Epoch: policy.EpochAt(now.Add(time.Duration(i+1)*time.Second - time.Millisecond))}}
		e.Deadline = e.Epoch.Deadline(policy.Window)
		if e.Deadline.Before(now) {
			e.Purged, e.Lag = true, 2500*time.Microsecond
		}
		s.epochs = append(s.epochs, e)
	}
	return s
}

// Whatever the terminal's size, the picture fits.
func TestDemoPictureFits(t *testing.T) {
	t.Parallel()
	var story []string
	for i := range 50 {
		story = append(story, fmt.Sprintf("12:00:%02d looked up by IP and port: 1 event of account ada, receipt 0123456789", i))
	}
	for _, live := range []int{4, 12, 360} {
		s := pictureOf(live)
		for width := 1; width < 130; width += 3 {
			for height := 1; height < 50; height += 3 {
				lines := picture(s, story, width, height)
				if len(lines) > height {
					t.Fatalf("%d lines in %d×%d", len(lines), width, height)
				}
				for _, line := range lines {
					if n := utf8.RuneCountInString(unstyled(line)); n > width {
						t.Fatalf("%d columns in %d×%d: %q", n, width, height, line)
					}
				}
			}
		}
	}
}

func TestDemoPicture(t *testing.T) {
	t.Parallel()
	var got []string
	for _, line := range picture(pictureOf(4), []string{"11:59:58 first", "11:59:59 epoch of 11:59:55: key destroyed"}, 80, 16) {
		got = append(got, strings.TrimRight(unstyled(line), " "))
	}
	want := []string{
		"mayfly demo                                                00:00  Ctrl-C ends it",
		"kafka 127.0.0.1:9092 in this process · 3 × redis-server 7.0.15: data, 2 keyring",
		"page  http://127.0.0.1:8080/ · metrics http://127.0.0.1:8080/metrics",
		"policy demo: window 4s, epochs of 1s",
		"",
		"1,234,567 sent  1,234,500 stored  67 refused  0 duplicates",
		"refused: 60 bad_ip, 7 not_json",
		"4 epochs live, 3 purged  12 look-ups answered what was sent",
		"",
		"11:59:54 ✓ gone +3 ms   11:59:55 ✓ gone +3 ms   11:59:56 due",
		"11:59:57 ██······ 1 s   11:59:58 ████···· 2 s   11:59:59 ██████·· 3 s",
		"",
		"11:59:58 first",
		"11:59:59 epoch of 11:59:55: key destroyed",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// The terminal comes back as it was, and what was logged meanwhile after it.
func TestDemoScreenGivesTheTerminalBack(t *testing.T) {
	t.Parallel()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	v := &screenView{plainView: &plainView{out: write, log: &log}, file: write}
	v.say("before")
	v.refresh(pictureOf(4))
	fmt.Fprintln(v, "a log line")
	if log.Len() > 0 {
		t.Error("a log line was written over the picture")
	}
	v.close()
	v.refresh(pictureOf(4))
	v.close()
	v.say("after")
	_ = write.Close()
	all, err := io.ReadAll(read)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok1 := strings.Cut(string(all), enterScreen)
	painted, after, ok2 := strings.Cut(rest, leaveScreen)
	if !ok1 || !ok2 || !strings.HasSuffix(before, "before\n") || !strings.HasSuffix(after, "after\n") || strings.Count(after, "\n") != 1 {
		t.Errorf("wrote %q", all)
	}
	if strings.Contains(painted, styleBold) {
		t.Error("styles, though no colour was wanted")
	}
	if log.String() != "a log line\n" {
		t.Errorf("logged %q", log.String())
	}
}

func TestDemoBar(t *testing.T) {
	t.Parallel()
	for share, want := range map[float64]string{-1: "········", 0: "········", 0.01: "▏·······", 0.5: "████····", 0.55: "████▌···", 1: "████████", 2: "████████"} {
		if got := bar(share); got != want {
			t.Errorf("%v gives %q, want %q", share, got, want)
		}
	}
}

func TestDemoGrouped(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567"} {
		if got := grouped(n); got != want {
			t.Errorf("%d gives %q, want %q", n, got, want)
		}
	}
}

func TestDemoEpochOfKey(t *testing.T) {
	t.Parallel()
	for key, want := range map[string]string{
		"mayfly:{demo/1000+1000}":           "demo/1000+1000",
		"mayfly:{demo/1000+1000/ab/acct/0}": "demo/1000+1000",
		"something":                         "/",
	} {
		if got := epochOfKey(key); got != want {
			t.Errorf("%q gives %q, want %q", key, got, want)
		}
	}
}
