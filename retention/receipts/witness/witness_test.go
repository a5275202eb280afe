package witness

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"mayfly/retention/receipts"
	"mayfly/retention/receipts/audit"
	"mayfly/retention/receipts/receiptstest"
)

func open(t *testing.T, dir string) *receipts.Log {
	t.Helper()
	l, err := receipts.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func grow(t *testing.T, l *receipts.Log, n int) {
	t.Helper()
	var entries []receipts.Entry
	for range n {
		entries = append(entries, &receipts.Looked{ID: "A", Lookup: receipts.Lookup{Case: "A-1", Reason: "test", Subject: "ip"}})
	}
	if err := l.Record(t.Context(), entries...); err != nil {
		t.Fatal(err)
	}
}

// court is a log and its witnesses.
type court struct {
	*Witnesses
	t    *testing.T
	dir  string
	log  *receipts.Log
	said *observer.ObservedLogs
	reg  *prometheus.Registry
	keys []string
}

func newCourt(t *testing.T, dir string, quorum int, witnesses ...*receiptstest.Witness) *court {
	t.Helper()
	c := &court{t: t, dir: dir, log: open(t, dir), reg: prometheus.NewRegistry()}
	core, said := observer.New(zapcore.InfoLevel)
	c.said = said
	config := receipts.DefaultConfig()
	config.Quorum = quorum
	for i, w := range witnesses {
		w.Enrol(t, c.log.VerifierKey())
		config.Witnesses = append(config.Witnesses, receipts.Witness{Name: string(rune('a' + i)), Key: w.Key, URL: w.URL})
		c.keys = append(c.keys, w.Key)
	}
	var err error
	if c.Witnesses, err = New(config, Dependencies{Log: c.log, Logger: zap.New(core), Registerer: c.reg}); err != nil {
		t.Fatal(err)
	}
	return c
}

// verify is what an auditor with all the keys finds.
func (c *court) verify(quorum int) (*audit.Result, error) {
	return audit.Verify([]string{c.dir}, audit.Options{
		Keys: []string{c.log.VerifierKey()}, Witnesses: c.keys, Quorum: quorum, To: time.Now(), Grace: time.Second,
	})
}

// covered is how much of the log the auditor finds witnessed; -1: it refuses.
func (c *court) covered(quorum int) int64 {
	c.t.Helper()
	r, err := c.verify(quorum)
	if err != nil {
		if !strings.Contains(err.Error(), "too few witnesses") || strings.Contains(err.Error(), "\n") {
			c.t.Errorf("refused with %v", err)
		}
		return -1
	}
	return r.Logs[0].WitnessedSize
}

// A log that grows by any number of entries between rounds stays witnessed.
func TestTheLogIsWitnessedAsItGrows(t *testing.T) {
	t.Parallel()
	a, b := receiptstest.NewWitness(t, "a.example/w"), receiptstest.NewWitness(t, "b.example/w")
	c := newCourt(t, t.TempDir(), 2, a, b)
	now := time.Now()
	total := int64(0)
	for _, n := range []int{0, 1, 1, 5, 250, 0, 300, 1, 1000} {
		if n > 0 {
			grow(t, c.log, n)
		}
		total += int64(n)
		c.round(t.Context(), now)
		if err := c.Witnessed(time.Now()); err != nil {
			t.Fatalf("with %d entries: %v", total, err)
		}
		if got := c.covered(2); got != total {
			t.Fatalf("%d of %d entries are witnessed", got, total)
		}
	}
	grow(t, c.log, 7) // the checkpoint moves on; what was cosigned is kept
	if got := c.covered(2); got != total {
		t.Errorf("after more entries %d of the first %d are witnessed", got, total)
	}
	if got := testutil.ToFloat64(c.metrics.entries); got != float64(total) {
		t.Errorf("the metric says %v", got)
	}
	// A new process does not know what the witnesses know: they tell it.
	_ = c.log.Close()
	c = newCourt(t, c.dir, 2, a, b)
	c.round(t.Context(), now)
	if got := c.covered(0); got != total+7 {
		t.Errorf("after a restart %d of %d entries are witnessed", got, total+7)
	}
}

// Witnesses that are away cost the log its standing and nothing else.
func TestAWitnessIsAway(t *testing.T) {
	t.Parallel()
	a, b := receiptstest.NewWitness(t, "a.example/w"), receiptstest.NewWitness(t, "b.example/w")
	c := newCourt(t, t.TempDir(), 2, a, b)
	now := time.Now()
	grow(t, c.log, 3)
	b.Refuse(http.StatusServiceUnavailable)
	c.round(t.Context(), now)
	if err := c.Witnessed(now); err == nil || !strings.Contains(err.Error(), "1 of the 2") {
		t.Errorf("with one of two it says %v", err)
	}
	if c.covered(2) != -1 || c.covered(1) != 3 {
		t.Error("an auditor is content with too few, or not with enough")
	}
	if got := testutil.ToFloat64(c.metrics.failures.WithLabelValues("b", reasonAway)); got != 1 {
		t.Errorf("%v failures are counted", got)
	}
	// It is not asked again before the back-off is over.
	requests := b.Requests()
	c.round(t.Context(), now.Add(firstWait/2))
	if got := b.Requests(); got != requests {
		t.Error("a witness that has just failed was asked again at once")
	}
	b.Refuse(0)
	c.round(t.Context(), now.Add(firstWait))
	if err := c.Witnessed(now); err != nil || c.covered(2) != 3 {
		t.Errorf("with both again: %v", err)
	}
	if err := c.Witnessed(time.Now().Add(4 * c.config.WitnessInterval)); err == nil {
		t.Error("a log that nobody has cosigned for long counts as witnessed")
	}
}

// Whoever writes the log anew, goes back, or shows two versions of it meets a
// witness that remembers.
func TestAForkIsRefused(t *testing.T) {
	t.Parallel()
	for name, more := range map[string]int{"another version as long": 10, "another, longer version": 300, "rolled back": 0} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := receiptstest.NewWitness(t, "a.example/w")
			dir, copied := t.TempDir(), filepath.Join(t.TempDir(), "copy")
			c := newCourt(t, dir, 1, a)
			grow(t, c.log, 20)
			if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(filepath.Join(copied, receipts.KeyFile), 0o600); err != nil {
				t.Fatal(err)
			}
			grow(t, c.log, 10)
			c.round(t.Context(), time.Now())
			if err := c.Witnessed(time.Now()); err != nil {
				t.Fatal(err)
			}
			_ = c.log.Close()

			forked := newCourt(t, copied, 1, a)
			for range more {
				grow(t, forked.log, 1)
			}
			forked.round(t.Context(), time.Now())
			if forked.Witnessed(time.Now()) == nil || forked.covered(1) != -1 {
				t.Error("the fork is witnessed")
			}
			said := forked.said.FilterLevelExact(zapcore.ErrorLevel).All()
			if len(said) != 1 || !strings.Contains(said[0].ContextMap()["error"].(string), "not the continuation") {
				t.Errorf("it says %v", forked.said.All())
			}
			if got := testutil.ToFloat64(forked.metrics.failures.WithLabelValues("a", reasonForked)); got != 1 {
				t.Errorf("%v refusals are counted", got)
			}
		})
	}
}

// A signature by another key, or something else than one, is published nowhere.
func TestAnswersThatAreNoCosignature(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]func(w http.ResponseWriter){
		"nothing": func(http.ResponseWriter) {},
		"a page":  func(w http.ResponseWriter) { _, _ = w.Write([]byte("<html>sign in</html>\n")) },
		"a forgery": func(w http.ResponseWriter) {
			_, _ = w.Write([]byte("— a.example/w " + strings.Repeat("A", 104) + "\n"))
		},
		"another site": func(w http.ResponseWriter) { w.Header().Set("Location", "/"); w.WriteHeader(http.StatusFound) },
		"other sizes, for ever": func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "text/x.tlog.size")
			w.WriteHeader(http.StatusConflict)
			_, _ = w.Write([]byte("1\n"))
		},
		"no size": func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "text/x.tlog.size")
			w.WriteHeader(http.StatusConflict)
			_, _ = w.Write([]byte("-1\n"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := receiptstest.NewWitness(t, "a.example/w")
			c := newCourt(t, t.TempDir(), 1, a)
			grow(t, c.log, 3)
			c.peers[0].client = &http.Client{
				Transport: answering(answer), CheckRedirect: c.peers[0].client.CheckRedirect,
			}
			before := receiptstest.Text(t, c.dir)
			c.round(t.Context(), time.Now())
			if c.Witnessed(time.Now()) == nil || c.covered(1) != -1 || receiptstest.Text(t, c.dir) != before {
				t.Error("it counts as witnessed")
			}
		})
	}
}

// answering is a server without a network.
type answering func(http.ResponseWriter)

func (a answering) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	a(w)
	response := w.Result()
	response.Request = r
	return response, nil
}

// Purges wake the round; a witness that hangs keeps no entry waiting.
func TestRunAsksAfterAPurge(t *testing.T) {
	t.Parallel()
	a := receiptstest.NewWitness(t, "a.example/w")
	c := newCourt(t, t.TempDir(), 1, a)
	c.config.WitnessInterval = time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() { _ = c.Run(ctx) })
	defer done.Wait()
	defer cancel()
	eventually(t, func() bool { return a.Requests() > 0 })
	purge := &receipts.Purged{
		At: time.UnixMilli(0), Deadline: time.UnixMilli(0), Nodes: 1, Facts: receipts.Facts{Method: receipts.MethodSealed, Assurance: "2"},
	}
	purge.Epoch.Policy, purge.Epoch.Length = "p", 1000
	if err := c.log.Record(ctx, purge); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { return a.Size(c.log.VerifierKey()) == 1 })
}

func eventually(t *testing.T, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it never came about")
		}
	}
}

// While a witness does not answer, entries are written as ever; and what it then
// cosigns, being older, does not replace the checkpoint.
func TestASlowWitnessDelaysNothing(t *testing.T) {
	t.Parallel()
	a := receiptstest.NewWitness(t, "a.example/w")
	c := newCourt(t, t.TempDir(), 1, a)
	grow(t, c.log, 5)
	asked, answer := make(chan struct{}), make(chan struct{})
	c.peers[0].client = &http.Client{Transport: slow{asked, answer}}
	var round sync.WaitGroup
	round.Go(func() { c.round(t.Context(), time.Now()) })
	<-asked
	grow(t, c.log, 1) // would hang too
	close(answer)
	round.Wait()
	r, err := c.verify(1)
	if err != nil || r.Entries != 6 || r.Logs[0].WitnessedSize != 5 {
		t.Errorf("%+v, %v", r, err)
	}
}

type slow struct{ asked, answer chan struct{} }

func (s slow) RoundTrip(r *http.Request) (*http.Response, error) {
	close(s.asked)
	<-s.answer
	return http.DefaultTransport.RoundTrip(r)
}

// An answer is read so far and no further.
func TestAnEndlessAnswer(t *testing.T) {
	t.Parallel()
	a := receiptstest.NewWitness(t, "a.example/w")
	c := newCourt(t, t.TempDir(), 1, a)
	body := &endless{}
	c.peers[0].client = &http.Client{Transport: body}
	c.round(t.Context(), time.Now())
	if c.Witnessed(time.Now()) == nil || body.read > 1<<20 {
		t.Errorf("%d bytes were read", body.read)
	}
}

type endless struct{ read int }

func (e *endless) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(e), Request: r}, nil
}

func (e *endless) Read(p []byte) (int, error) {
	if e.read += len(p); e.read > 64<<20 {
		return 0, io.EOF
	}
	return len(p), nil
}

// A witness can't send the checkpoints somewhere else.
func TestARedirectionIsNotFollowed(t *testing.T) {
	t.Parallel()
	a := receiptstest.NewWitness(t, "a.example/w")
	elsewhere := httptest.NewServer(http.RedirectHandler(a.URL+"/add-checkpoint", http.StatusTemporaryRedirect))
	defer elsewhere.Close()
	c := newCourt(t, t.TempDir(), 1, a)
	c.peers[0].url = elsewhere.URL
	grow(t, c.log, 1)
	c.round(t.Context(), time.Now())
	if c.Witnessed(time.Now()) == nil || a.Requests() != 0 {
		t.Error("the request was sent on")
	}
}
