package pipeline

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap/zapcore"

	"mayfly/pipeline/event"
)

const canary = "canary-7c1f"

// refused are messages that are no events, each with a canary in it, and the
// result that each is counted under.
func refused(now time.Time) (values [][]byte, results []string) {
	ms, day := now.UnixMilli(), 24*time.Hour
	for _, refusal := range []struct {
		result string
		value  []byte
	}{
		{"not_json", []byte(canary)},
		{"not_json", fmt.Appendf(nil, `{"time":%d,"account":"%s"`, ms, canary)},
		{"no_ip", fmt.Appendf(nil, `{"time":%d,"account":"%s"}`, ms, canary)},
		{"bad_ip", fmt.Appendf(nil, `{"time":%d,"account":"a","ip":"%s"}`, ms, canary)},
		{"bad_port", fmt.Appendf(nil, `{"time":%d,"account":"%s","ip":"198.51.100.1","port":70000}`, ms, canary)},
		{"bad_account", fmt.Appendf(nil, `{"time":%d,"account":"%s","ip":"198.51.100.1"}`, ms, canary+strings.Repeat("x", 10<<10))},
		{"expired", fmt.Appendf(nil, `{"time":"1970-01-02T00:00:00Z","account":"%s","ip":"198.51.100.1","server":"web-1"}`, canary)},
		{"time_future", fmt.Appendf(nil, `{"time":%d,"account":"%s","ip":"198.51.100.1","server":"web-1"}`, now.Add(day).UnixMilli(), canary)},
		{"no_policy", fmt.Appendf(nil, `{"time":%d,"account":"%s","ip":"198.51.100.1","server":"mail-1"}`, ms, canary)},
		{"too_large", bytes.Repeat([]byte(canary), 10<<20/len(canary))},
		{"empty", []byte{}},
		{"tombstone", nil},
	} {
		values, results = append(values, refusal.value), append(results, refusal.result)
	}
	return values, results
}

func TestRefusalsAreCountedAndLeaveNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLog(5)
		values, results := refused(time.Now())
		wanted := map[string]int{"stamp_future": 1, "stored": len(values) + 2}
		var good []string
		for i, value := range values {
			l.write(0, message(i), value)
			good = append(good, fmt.Sprint("0/", 2*i))
			wanted[results[i]]++
		}
		ahead := time.Now().Add(DefaultConfig().Skew + time.Second)
		l.writeAt(0, ahead, messageAt(77, time.Now()))
		l.writeAt(0, time.Now().Add(DefaultConfig().Skew), message(78)) // within the skew: no refusal
		l.write(0, message(79))
		good = append(good, fmt.Sprint("0/", 2*len(values)+1), fmt.Sprint("0/", 2*len(values)+2))

		r := ingesting(t, l)
		time.Sleep(30 * time.Second)
		got := map[string]int{}
		for result := range r.metrics.events {
			if n := r.count(result); n > 0 {
				got[result] = n
			}
		}
		if diff := cmp.Diff(wanted, got); diff != "" {
			t.Errorf("results (-want +got):\n%s", diff)
		}
		sortStrings := cmp.Transformer("sorted", sorted)
		if diff := cmp.Diff(good, r.found(t), sortStrings); diff != "" {
			t.Errorf("found (-want +got):\n%s", diff)
		}
		if end := l.committedTo(0); end != int64(2*len(values)+3) {
			t.Errorf("committed %d: a refusal has stopped the partition", end)
		}
		leavesNothing(t, r)
		r.stop(t)
	})
}

// leavesNothing looks for the canary, and for what was stored, in the logs and in the memory for waiting events.
func leavesNothing(t *testing.T, r *rig) {
	t.Helper()
	encoder := zapcore.NewJSONEncoder(zapcore.EncoderConfig{MessageKey: "message"})
	for _, entry := range r.observed.All() {
		line, err := encoder.EncodeEntry(entry.Entry, entry.Context)
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{canary, "198.51", "account-"} {
			if strings.Contains(line.String(), secret) {
				t.Errorf("logged: %s", line)
			}
		}
	}
	for _, lane := range r.current.lanes {
		for _, slab := range []*slab{lane.slab, lane.spare} {
			if len(slab.batches) > 0 {
				t.Error("events that were stored are still held")
			}
		}
	}
}

func TestEveryRefusalHasACounter(t *testing.T) {
	t.Parallel()
	m, err := newMetrics(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, refusal := range event.Refusals {
		if m.events[string(refusal)] == nil {
			t.Errorf("%s is not counted", refusal)
		}
	}
}
