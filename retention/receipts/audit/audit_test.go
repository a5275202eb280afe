package audit

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	cosign "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"

	"mayfly/retention"
	"mayfly/retention/receipts"
	"mayfly/retention/receipts/tiles"
)

var policy = retention.Policy{Name: "web", Window: 20 * time.Second, Epoch: 2 * time.Second, Basis: "test"}

// author writes a log as a warden does, in a bubble's time.
type author struct {
	t   *testing.T
	dir string
	*receipts.Log
	skip map[int]bool // epochs, counted from the start, that get no outcome
	slow map[int]time.Duration
}

func open(t *testing.T, dir string) *receipts.Log {
	t.Helper()
	l, err := receipts.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func newAuthor(t *testing.T) *author {
	t.Helper()
	dir := t.TempDir()
	return &author{t: t, dir: dir, Log: open(t, dir), skip: map[int]bool{}, slow: map[int]time.Duration{}}
}

func (a *author) record(entries ...receipts.Entry) {
	a.t.Helper()
	if err := a.Record(a.t.Context(), entries...); err != nil {
		a.t.Fatal(err)
	}
}

func key(e retention.Epoch, id int) *receipts.Key {
	return &receipts.Key{Epoch: e, Deadline: e.Deadline(policy.Window), ID: fmt.Sprintf("%016x", id), Shards: 4}
}

func purged(e retention.Epoch, at time.Time, ids ...string) *receipts.Purged {
	deadline := e.Deadline(policy.Window)
	return &receipts.Purged{
		Epoch: e, Deadline: deadline, At: at, Late: at.Sub(deadline) > receipts.Grace,
		Keys: ids, KeyCount: int64(len(ids)), Nodes: 2, Tally: held(e, at, 2),
		Facts: receipts.Facts{Method: receipts.MethodSealed, Assurance: "2"},
	}
}

// held is a tally of ten events: each epoch has the next five offsets of each partition.
func held(e retention.Epoch, at time.Time, partitions int) *receipts.Tally {
	first := e.Start / e.Length * 5
	topic := receipts.Topic{ID: "0123456789abcdef0123456789abcdef", Name: "connections"}
	for p := range partitions {
		topic.Ranges = append(topic.Ranges, receipts.OffsetRange{Partition: int64(p), First: first, Last: first + 4})
	}
	return &receipts.Tally{
		Counted: at.Add(-time.Millisecond), Stored: 10, Rejected: 2, Expired: 1, Topics: []receipts.Topic{topic},
	}
}

// live writes the life of a policy: its entry, then for each of n epochs from now
// on its key, its purge at the deadline, and a look-up. Every fifth is never minted.
func (a *author) live(n int) {
	a.t.Helper()
	now := time.Now()
	p := receipts.NewPolicy(&policy, now)
	p.First = policy.EpochAt(now).Start
	a.record(p)
	first := policy.EpochAt(now)
	window := int(policy.Window / policy.Epoch)
	var said []receipts.Entry // written a few epochs at a time
	for i := range n + window {
		if i < n && i%5 != 4 {
			said = append(said, key(nth(first, i), i))
		}
		if due := i - window; due >= 0 && !a.skip[due] {
			e := nth(first, due)
			at := time.Now().Add(a.slow[due] + 3*time.Millisecond)
			if due%5 == 4 {
				said = append(said, &receipts.NeverMinted{Epoch: e, Deadline: e.Deadline(policy.Window), Count: 1, At: at})
			} else {
				said = append(said, purged(e, at, fmt.Sprintf("%016x", due)))
			}
		}
		said = append(said, &receipts.Looked{ID: "A", Lookup: receipts.Lookup{Case: "A-1", Reason: "spam", Subject: "ip"}})
		if i%7 == 0 || i == n+window-1 {
			a.record(said...)
			said = nil
		}
		time.Sleep(policy.Epoch)
	}
	a.record(&receipts.Removed{Name: policy.Name})
}

func (a *author) options() Options {
	return Options{Keys: []string{a.VerifierKey()}, To: time.Now(), Grace: time.Second}
}

func (a *author) path(name string) string {
	return filepath.Join(a.dir, tiles.Dir, filepath.FromSlash(name))
}

func (a *author) read(name string) []byte {
	a.t.Helper()
	data, err := os.ReadFile(a.path(name))
	if err != nil {
		a.t.Fatal(err)
	}
	return data
}

func TestAnHonestLogPasses(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 40, 300} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				a := newAuthor(t)
				a.live(n)
				r, err := Verify([]string{a.dir}, a.options())
				if err != nil || r.Err() != nil {
					t.Fatalf("%v, %v", err, r.Err())
				}
				if !r.SelfAttested() || r.Witnessed || r.Entries != a.Size() || r.Lookups["spam"] != int64(n+10) {
					t.Errorf("%+v", r)
				}
				p := r.Policies[0]
				if p.Epochs != int64(n) || p.Purged+p.NeverMinted != int64(n) || p.NeverMinted != int64((n)/5) || p.Missing+p.Late != 0 {
					t.Errorf("%+v", p)
				}
				if n > 0 && (p.Lag.Median != 3 || p.Lag.Worst != 3 || p.Stored != 10*p.Purged || p.Rejected != 2*p.Purged || p.Expired != p.Purged || p.Uncounted != 0 || r.Assurance != "2") {
					t.Errorf("%+v %s", p, r.Assurance)
				}
			})
		})
	}
}

// Each way of tampering is refused, for its own reason.
func TestTampering(t *testing.T) {
	t.Parallel()
	rewrite := func(change func(text []byte, entries [][]byte)) func(a *author, o *Options) {
		return func(a *author, _ *Options) {
			name := tiles.EntriesPath(0, tiles.Width)
			data := a.read(name)
			var entries [][]byte
			for rest := data; len(rest) > 0; {
				var e []byte
				e, rest, _ = tiles.NextEntry(rest)
				entries = append(entries, append([]byte(nil), e...))
			}
			change(data, entries)
			var bundle []byte
			for _, e := range entries {
				bundle = tiles.AppendEntry(bundle, e)
			}
			a.write(name, bundle)
		}
	}
	for name, test := range map[string]struct {
		change func(a *author, o *Options)
		want   string
	}{
		"an entry edited": {rewrite(func(_ []byte, e [][]byte) {
			e[4] = []byte(strings.Replace(string(e[4]), `"events":0`, `"events":1`, 1))
		}), "edited: entry 4"},
		"an entry that is none": {rewrite(func(_ []byte, e [][]byte) { e[3] = []byte("{}") }), "edited: entry 3"},
		"two entries swapped":   {rewrite(func(_ []byte, e [][]byte) { e[7], e[9] = e[9], e[7] }), "reordered: entry 7"},
		"entry and tile edited": {func(a *author, o *Options) {
			rewrite(func(_ []byte, e [][]byte) { e[3] = []byte("{}") })(a, o)
			tile := a.read("tile/0/000")
			copy(tile[3*32:], hashOf("{}"))
			a.write("tile/0/000", tile)
		}, "forked: entries and tiles agree"},
		"a bundle gone":         {func(a *author, _ *Options) { a.remove("tile/entries/000") }, "truncated: the entries from 0"},
		"the last entries gone": {func(a *author, _ *Options) { a.remove("tile/entries/001.p") }, "truncated: the entries from 256"},
		"a bundle cut short":    {func(a *author, _ *Options) { a.write("tile/entries/000", a.read("tile/entries/000")[:999]) }, "truncated"},
		"a tile edited": {func(a *author, _ *Options) {
			tile := a.read("tile/0/000")
			tile[0] ^= 1
			a.write("tile/0/000", tile)
		}, "tile/0/000 was edited"},
		"an upper tile gone": {func(a *author, _ *Options) { a.remove("tile/1/000.p") }, "tile/1/000.p/1 was edited, or is missing"},
		"the checkpoint edited": {func(a *author, _ *Options) {
			a.write("checkpoint", []byte(strings.Replace(string(a.read("checkpoint")), "\n", "\n1", 1)))
		}, "an edited checkpoint"},
		"the signature edited": {func(a *author, _ *Options) { a.write("checkpoint", a.read("checkpoint")[:150]) }, "an edited checkpoint"},
		"no checkpoint":        {func(a *author, _ *Options) { a.remove("checkpoint") }, "there is no checkpoint"},
		"a wrong key":          {func(_ *author, o *Options) { o.Keys = []string{newKey("mayfly/x")} }, "wrong key"},
		"a wrong key of its name": {func(a *author, o *Options) {
			name, _, _ := strings.Cut(a.VerifierKey(), "+")
			o.Keys = []string{newKey(name)}
		}, "wrong key"},
		"no key":         {func(_ *author, o *Options) { o.Keys = nil }, "--key"},
		"a log left out": {func(_ *author, o *Options) { o.Keys = append(o.Keys, newKey("mayfly/x")) }, "log mayfly/x: its key was given"},
		"an older checkpoint of another log": {func(_ *author, o *Options) {
			o.Checkpoints = [][]byte{[]byte("mayfly/y\n1\nAAAA\n\n— mayfly/y AAAA\n")}
		}, "--checkpoint"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				a := newAuthor(t)
				a.live(100)
				o := a.options()
				test.change(a, &o)
				if r, err := Verify([]string{a.dir}, o); err == nil {
					t.Fatalf("passes: %+v", r)
				} else if !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
					t.Errorf("%v, want %s", err, test.want)
				}
			})
		})
	}
}

func (a *author) write(name string, data []byte) {
	a.t.Helper()
	if err := os.WriteFile(a.path(name), data, 0o600); err != nil {
		a.t.Fatal(err)
	}
}

func (a *author) remove(name string) {
	a.t.Helper()
	if err := os.RemoveAll(a.path(name)); err != nil {
		a.t.Fatal(err)
	}
}

func newKey(name string) string {
	_, verifier, err := note.GenerateKey(rand.Reader, name)
	if err != nil {
		panic(err)
	}
	return verifier
}

// A log whose key signs another history is caught with a checkpoint from before.
func TestOlderCheckpoints(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newAuthor(t)
		// The operator keeps the folder as it is now, to tell another story later.
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		other := &author{t: t, dir: t.TempDir(), skip: map[int]bool{3: true}}
		if err := os.CopyFS(other.dir, os.DirFS(a.dir)); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(other.dir, receipts.KeyFile), 0o600); err != nil {
			t.Fatal(err)
		}
		a.Log, other.Log = open(t, a.dir), open(t, other.dir)
		var kept [][]byte
		a.live(20)
		kept = append(kept, a.read("checkpoint"))
		a.live(150)
		kept = append(kept, a.read("checkpoint"))
		o := a.options()
		o.Checkpoints = kept
		r, err := Verify([]string{a.dir}, o)
		if err != nil || len(r.Logs[0].Consistent) != 2 {
			t.Fatalf("%+v, %v", r, err)
		}

		other.live(20)
		if _, err := Verify([]string{other.dir}, o); err == nil || !strings.Contains(err.Error(), "rolled back") {
			t.Errorf("rolled back: %v", err)
		}
		other.live(300)
		if _, err := Verify([]string{other.dir}, o); err == nil || !strings.Contains(err.Error(), "forked: its first") {
			t.Errorf("forked: %v", err)
		}
		o.Checkpoints = nil
		if _, err := Verify([]string{a.dir, other.dir}, o); err == nil || !strings.Contains(err.Error(), "forked: its first") {
			t.Errorf("two stories side by side: %v", err)
		}
	})
}

func TestWitnesses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newAuthor(t)
		a.live(5)
		var keys []string
		cosigned := a.read("checkpoint")
		for i := range 3 {
			secret, verifier, err := note.GenerateKey(rand.Reader, fmt.Sprint("witness.example/", i))
			if err != nil {
				t.Fatal(err)
			}
			keys = append(keys, verifier)
			if i == 2 {
				break // this one has not seen it
			}
			signer, err := cosign.NewSignerForCosignatureV1(secret)
			if err != nil {
				t.Fatal(err)
			}
			cosigned = witness(t, cosigned, signer, a.VerifierKey(), keys[:i]...)
		}
		// The first of them has a second key.
		secret, second, err := note.GenerateKey(rand.Reader, "witness.example/0")
		if err != nil {
			t.Fatal(err)
		}
		signer, err := cosign.NewSignerForCosignatureV1(secret)
		if err != nil {
			t.Fatal(err)
		}
		cosigned = witness(t, cosigned, signer, a.VerifierKey(), keys[:2]...)
		// And the log's own key can cosign as well as any other.
		own, _, _ := strings.Cut(string(a.read("../"+receipts.KeyFile)), "\n")
		if signer, err = cosign.NewSignerForCosignatureV1(own); err != nil {
			t.Fatal(err)
		}
		cosigned = witness(t, cosigned, signer, a.VerifierKey(), keys[0], keys[1], second)
		when := time.Now().Truncate(time.Second)
		covered := a.Size()
		a.live(5)
		verify := func(quorum int, checkpoint []byte, keys ...string) (*Result, error) {
			o := a.options()
			o.Witnesses, o.Quorum, o.Checkpoints = keys, quorum, [][]byte{checkpoint}
			return Verify([]string{a.dir}, o)
		}
		r, err := verify(2, cosigned, keys...)
		if err != nil || !r.Witnessed || r.SelfAttested() {
			t.Fatalf("%+v, %v", r, err)
		}
		l := r.Logs[0]
		if l.WitnessedSize != covered || len(l.Witnesses) != 2 || !l.Witnesses[0].Time.Equal(when) {
			t.Errorf("%+v, want %d entries at %v", l, covered, when)
		}
		for name, attempt := range map[string]func() (*Result, error){
			"all of three":    func() (*Result, error) { return verify(0, cosigned, keys...) },
			"nobody cosigned": func() (*Result, error) { return verify(1, a.read("checkpoint"), keys...) },
			"a forged one": func() (*Result, error) {
				return verify(1, []byte(strings.Replace(string(a.read("checkpoint")), "— mayfly", "— witness.example/0", 1)), keys...)
			},
			"one witness twice":      func() (*Result, error) { return verify(2, cosigned, keys[0], second) },
			"the log as its witness": func() (*Result, error) { return verify(1, cosigned, a.VerifierKey()) },
			"an impossible quorum":   func() (*Result, error) { return verify(3, cosigned, keys[:2]...) },
		} {
			if r, err := attempt(); err == nil {
				t.Errorf("%s passes: %+v", name, r)
			}
		}
	})
}

// witness cosigns a checkpoint, as a C2SP witness does, beside those that have.
func witness(t *testing.T, checkpoint []byte, signer note.Signer, logKey string, others ...string) []byte {
	t.Helper()
	v, err := note.NewVerifier(logKey)
	if err != nil {
		t.Fatal(err)
	}
	known := []note.Verifier{v}
	for _, key := range others {
		w, err := cosign.NewVerifierForCosignatureV1(key)
		if err != nil {
			t.Fatal(err)
		}
		known = append(known, w)
	}
	n, err := note.Open(checkpoint, note.VerifierList(known...))
	if err != nil {
		t.Fatal(err)
	}
	cosigned, err := note.Sign(n, signer)
	if err != nil {
		t.Fatal(err)
	}
	return cosigned
}

func TestRoster(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, b := newAuthor(t), newAuthor(t)
		a.live(5)
		owner, err := receipts.OpenIdentity(filepath.Join(t.TempDir(), "roster.key"), "roster")
		if err != nil {
			t.Fatal(err)
		}
		roster, err := SignRoster(owner.Signer, []string{a.VerifierKey(), b.VerifierKey()})
		if err != nil {
			t.Fatal(err)
		}
		o := Options{Roster: roster, Keys: []string{owner.Verifier}, To: time.Now(), Grace: time.Second}
		if r, err := Verify([]string{a.dir, b.dir}, o); err != nil || r.Err() != nil || len(r.Logs) != 2 {
			t.Errorf("%+v, %v", r, err)
		}
		if _, err := Verify([]string{a.dir}, o); err == nil || !strings.Contains(err.Error(), "is in the roster") {
			t.Errorf("a log left out: %v", err)
		}
		o.Roster = []byte(strings.Replace(string(roster), b.VerifierKey()+"\n", "", 1))
		if _, err := Verify([]string{a.dir}, o); err == nil || !strings.Contains(err.Error(), "roster") {
			t.Errorf("an edited roster: %v", err)
		}
	})
}
