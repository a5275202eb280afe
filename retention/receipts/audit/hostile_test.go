package audit

import (
	"math"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/mod/sumdb/note"

	"mayfly/retention"
	"mayfly/retention/receipts"
	"mayfly/retention/receipts/tiles"
)

// What the maker of a folder may put into it must neither hold an auditor's
// machine up nor fill its memory.
func TestHostileFolders(t *testing.T) {
	t.Parallel()
	pipe := func(a *author, name string) {
		a.remove(name)
		if err := syscall.Mkfifo(a.path(name), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
	huge := func(a *author, name string) {
		if err := os.Truncate(a.path(name), 1<<40); err != nil {
			a.t.Fatal(err)
		}
	}
	for name, spoil := range map[string]func(*author){
		"a pipe for a checkpoint":  func(a *author) { pipe(a, tiles.Checkpoint) },
		"a pipe for entries":       func(a *author) { pipe(a, "tile/entries/000.p/3") },
		"a pipe for hashes":        func(a *author) { pipe(a, "tile/0/000.p/3") },
		"an endless checkpoint":    func(a *author) { huge(a, tiles.Checkpoint) },
		"endless entries":          func(a *author) { huge(a, "tile/entries/000.p/3") },
		"a folder for entries":     func(a *author) { a.remove("tile/entries/000.p/3"); mkdir(a, "tile/entries/000.p/3") },
		"a folder as a checkpoint": func(a *author) { a.remove(tiles.Checkpoint); mkdir(a, tiles.Checkpoint) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAuthor(t)
			e := policy.EpochAt(time.Now())
			a.record(receipts.NewPolicy(&policy, time.Now()), key(e, 1), purged(e, e.Deadline(policy.Window), nthID(1)))
			spoil(a)
			_, err := Verify([]string{a.dir}, a.options())
			if err == nil || strings.Contains(err.Error(), "\n") {
				t.Errorf("gave %v", err)
			}
		})
	}
}

func mkdir(a *author, name string) {
	if err := os.Mkdir(a.path(name), 0o700); err != nil {
		a.t.Fatal(err)
	}
}

func nthID(i int) string { return key(retention.Epoch{}, i).ID }

// A policy that is said to begin at the beginning of time, or that changes without
// end, is not judged for hours.
func TestHostileEntries(t *testing.T) {
	t.Parallel()
	second := receipts.Policy{Name: "web", Window: time.Second, Length: time.Second, First: -9_000_000_000_000}
	t.Run("too many epochs", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			a := newAuthor(t)
			p := second // recording stamps it
			a.record(&p)
			if _, err := Verify([]string{a.dir}, a.options()); err == nil || !strings.Contains(err.Error(), "narrow --from and --to") {
				t.Errorf("gave %v", err)
			}
		})
	})
	t.Run("too many changes", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			a := newAuthor(t)
			var changes []receipts.Entry
			for i := range maxTerms + 1 {
				changes = append(changes, &receipts.Policy{Name: "web", Window: time.Duration(1+i%2) * time.Second, Length: time.Second})
			}
			a.record(changes...)
			if _, err := Verify([]string{a.dir}, a.options()); err == nil || !strings.Contains(err.Error(), "more changes") {
				t.Errorf("gave %v", err)
			}
		})
	})
	t.Run("beyond the end of time", func(t *testing.T) {
		t.Parallel()
		for _, first := range []int64{math.MaxInt64, math.MinInt64, 9_223_372_036_854_000} {
			p := second
			p.First = first / 1000 * 1000
			if _, err := receipts.Marshal(&p); err == nil {
				t.Errorf("a policy from %d on is taken", first)
			}
		}
		e := retention.Epoch{Policy: "web", Start: 0, Length: 1 << 40}
		if _, err := receipts.Marshal(&receipts.NeverMinted{Epoch: e, Count: 1 << 30}); err == nil {
			t.Error("a run of epochs beyond the end of time is taken")
		}
		for _, name := range []string{"web/9223372036854775000+1000", "web/0+9223372036854775807"} {
			text := `{"deadline":5000,"epoch":"` + name + `","key":"0123456789abcdef","shards":1,"time":0,"type":"key"}`
			if _, err := receipts.Parse([]byte(text)); err == nil {
				t.Errorf("an epoch %s is taken", name)
			}
		}
	})
}

func FuzzCheckpoint(f *testing.F) {
	dir := f.TempDir()
	l, err := receipts.Open(dir)
	if err != nil {
		f.Fatal(err)
	}
	defer l.Close()
	text, err := os.ReadFile(dir + "/" + tiles.Dir + "/" + tiles.Checkpoint)
	if err != nil {
		f.Fatal(err)
	}
	t, err := newTrust(Options{Keys: []string{l.VerifierKey()}})
	if err != nil {
		f.Fatal(err)
	}
	signer, err := receipts.LoadIdentity(dir + "/" + receipts.KeyFile)
	if err != nil {
		f.Fatal(err)
	}
	negative, err := note.Sign(&note.Note{Text: signer.Signer.Name() + "\n-1\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n"}, signer.Signer)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add(negative)
	f.Add([]byte(""))
	f.Add(append(text, "— another.example/witness AAAAAAAA\n"...))
	f.Fuzz(func(test *testing.T, text []byte) {
		if h, err := t.open(text); err == nil && (h.size < 0 || h.origin != signer.Signer.Name()) {
			test.Errorf("opened a head of %d entries", h.size)
		}
	})
}
