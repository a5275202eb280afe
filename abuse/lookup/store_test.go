package lookup

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"mayfly/retention"
	"mayfly/retention/keyring"
	"mayfly/retention/receipts"
	"mayfly/retention/record"
	"mayfly/retention/store"
)

// Over the sealed log itself: two accounts share an address in one second, are
// told apart by port, and can't be found once their window has ended.
func TestSealedLog(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		written, err := receipts.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = written.Close() }()
		policy := retention.Policy{Name: "web", Window: time.Minute, Epoch: 5 * time.Second, Basis: "test"}
		l, err := New(Config{Policies: retention.Policies{policy}}, Dependencies{Log: sealed(t, policy, "ada", "bob"), Receipts: written})
		if err != nil {
			t.Fatal(err)
		}
		ask := func(narrow string) (Result, error) {
			r, err := DecodeRequest(fmt.Appendf(nil, `{"ip":"192.0.2.1","case":"A-1","reason":"test"%s}`, narrow))
			if err != nil {
				t.Fatal(err)
			}
			return l.Look(t.Context(), time.Now(), r)
		}
		at := fmt.Sprintf(`,"at":%q`, time.Now().Format(time.RFC3339Nano))
		for narrow, want := range map[string]string{"": "ada bob", at: "? 2", at + `,"port":1007`: "ada", at + `,"port":2007`: "bob", at + `,"port":3007`: ""} {
			result, err := ask(narrow)
			if err != nil {
				t.Fatal(err)
			}
			if got := who(result); got != want || !result.Complete {
				t.Errorf("%s told %q, complete %v; want %q", narrow, got, result.Complete, want)
			}
		}
		time.Sleep(policy.Window) // the bubble's clock: no waiting
		result, err := ask(at)
		if err != nil || who(result) != "" || result.PurgedBefore.IsZero() {
			t.Errorf("after the window: told %q (%+v), %v", who(result), result, err)
		}
	})
}

func who(r Result) string {
	if r.Ambiguous {
		return fmt.Sprint("? ", r.Accounts)
	}
	text := ""
	for _, e := range r.Events {
		text += " " + e.Account
	}
	return text[min(1, len(text)):]
}

// sealed is a log of this process: each account was at 192.0.2.1 now, with a
// thousand ports of its own.
func sealed(t *testing.T, policy retention.Policy, accounts ...string) *store.Reader {
	t.Helper()
	ctx, now := t.Context(), time.Now()
	ring, err := keyring.New(keyring.NewMemoryNode("a"), keyring.NewMemoryNode("b"))
	if err != nil {
		t.Fatal(err)
	}
	kek, err := keyring.NewMemoryKEK(now)
	if err != nil {
		t.Fatal(err)
	}
	memory := store.NewMemory()
	for _, epoch := range policy.Live(now) {
		_, err := ring.Mint(ctx, epoch, epoch.Deadline(policy.Window), kek, func() uint32 { return 3 }, func(key keyring.Public) error { return memory.Open(ctx, key) })
		if err != nil && !errors.Is(err, keyring.ErrDestroyed) {
			t.Fatal(err)
		}
	}
	batch := store.Batch{Epoch: policy.EpochAt(now), Deadline: policy.EpochAt(now).Deadline(policy.Window)}
	for i, account := range accounts {
		r := seen("10:00 connect " + account + " 192.0.2.1")
		r.ID, r.Time = record.ID{Offset: int64(i)}, now.UnixMilli()
		r.Ports = record.Ports{First: uint16(1000 + 1000*i), Last: uint16(1999 + 1000*i), Known: true}
		batch.Records = append(batch.Records, r)
	}
	writer := store.NewWriter(ring, memory)
	frames, err := writer.Seal(ctx, []store.Batch{batch})
	if err != nil {
		t.Fatal(err)
	}
	if err := writer.Append(ctx, frames); err != nil {
		t.Fatal(err)
	}
	return store.NewReader(retention.Policies{policy}, keyring.NewOpener(ring, kek, zap.NewNop()), memory)
}
