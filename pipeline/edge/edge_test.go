package edge

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"mayfly/pipeline/event"
	"mayfly/retention"
	"mayfly/retention/address"
	"mayfly/retention/keyring"
	"mayfly/retention/record"
	"mayfly/retention/seal"
	"mayfly/retention/store"
)

// rig is a sealer before a topic and a store in this process. It lives in a bubble.
type rig struct {
	*Sealer
	topic  *topic
	ring   *keyring.Keyring
	kek    keyring.KEK
	memory *store.Memory
	policy retention.Policy
	cancel context.CancelFunc
	ended  chan error
}

// topic is a Producer that keeps the messages.
type topic struct {
	mu       sync.Mutex // guards all below
	keys     [][]byte
	messages [][]byte
	fail     error
	hold     bool // acknowledge nothing yet
	held     []func(error)
}

// release acknowledges what was held.
func (p *topic) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hold = false
	for _, done := range p.held {
		done(nil)
	}
}

func (p *topic) Produce(_ context.Context, key, message []byte, done func(error)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fail != nil {
		go done(p.fail)
		return
	}
	p.keys, p.messages = append(p.keys, key), append(p.messages, message)
	if p.hold {
		p.held = append(p.held, done)
		return
	}
	go done(nil)
}

func newRig(t *testing.T, change func(*Config)) *rig {
	t.Helper()
	r := &rig{topic: &topic{}, memory: store.NewMemory()}
	r.policy = retention.Policy{Name: "web", Window: 10 * time.Minute, Epoch: time.Minute, Keep: []string{"client"}, Match: map[string][]string{"topic": {"sealed"}}}
	var err error
	if r.ring, err = keyring.New(keyring.NewMemoryNode("a")); err != nil {
		t.Fatal(err)
	}
	if r.kek, err = keyring.NewMemoryKEK(time.Now()); err != nil {
		t.Fatal(err)
	}
	config := DefaultConfig()
	if change != nil {
		change(&config)
	}
	r.Sealer, err = New(config, Dependencies{
		Policies: retention.Policies{r.policy}, Topic: "sealed", Keys: r.ring, Producer: r.topic, Registerer: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// mint publishes the keys of all living epochs.
func (r *rig) mint(t *testing.T) {
	t.Helper()
	for _, epoch := range r.policy.Live(time.Now()) {
		_, err := r.ring.Mint(t.Context(), epoch, epoch.Deadline(r.policy.Window), r.kek, func() uint32 { return 4 },
			func(key keyring.Public) error { return r.memory.Open(context.Background(), key) })
		if err != nil {
			t.Fatal(err)
		}
	}
}

func (r *rig) start(t *testing.T) {
	t.Helper()
	var ctx context.Context
	ctx, r.cancel = context.WithCancel(t.Context())
	r.ended = make(chan error, 1)
	go func() { r.ended <- r.Run(ctx) }()
	t.Cleanup(r.cancel)
}

// stop ends the sealer. No memory may be left accounted for.
func (r *rig) stop(t *testing.T) error {
	t.Helper()
	r.cancel()
	err := <-r.ended
	if !r.Sealer.memory.TryAcquire(r.config.Memory) {
		t.Error("memory of events that no longer wait is still taken")
	} else {
		r.Sealer.memory.Release(r.config.Memory)
	}
	if waiting := testutil.ToFloat64(r.metrics.waiting); waiting != 0 {
		t.Errorf("%v bytes wait after the end", waiting)
	}
	return err
}

func (r *rig) count(result string) int { return int(testutil.ToFloat64(r.metrics.events[result])) }

// found stores what the topic has, as ingest does, and gives what a look-up finds.
func (r *rig) found(t *testing.T) []record.Record {
	t.Helper()
	writer := store.NewWriter(r.ring, r.memory)
	for i, message := range r.topic.messages {
		batch, err := seal.ParseBatch(message)
		if err != nil {
			t.Fatal(err)
		}
		sealed, err := writer.Seal(t.Context(), []store.Batch{{
			Epoch: batch.Epoch, Deadline: batch.Epoch.Deadline(r.policy.Window),
			Edge: &store.EdgeBatch{Batch: batch, ID: record.ID{Offset: int64(i)}},
		}})
		if err == nil {
			err = writer.Append(t.Context(), sealed)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	reader := store.NewReader(retention.Policies{r.policy}, keyring.NewOpener(r.ring, r.kek, nil), r.memory)
	answer, err := reader.Find(t.Context(), store.Query{Prefix: netip.MustParsePrefix("198.51.0.0/16")})
	if err != nil || !answer.Complete || answer.Refused != 0 {
		t.Fatalf("complete %v, %d refused, %v", answer.Complete, answer.Refused, err)
	}
	return answer.Records
}

func numbered(i int, at time.Time) *event.Event {
	a, _ := address.From(netip.AddrFrom4([4]byte{198, 51, byte(i / 256), byte(i)}))
	return &event.Event{
		Time: at.UnixMilli(), Address: a, Account: fmt.Sprint("account-", i), Kind: event.DefaultKind, Outcome: event.DefaultOutcome,
		Ports: record.Ports{First: 7, Last: 9, Known: true}, Session: fmt.Sprint("s", i), Client: "c-1", Transport: "tls", RTT: -1,
	}
}

// add adds events of now, numbered from first.
func (r *rig) add(t *testing.T, first, n int, d *Delivery) {
	t.Helper()
	for i := range n {
		if refusal, err := r.Add(t.Context(), numbered(first+i, time.Now()), d); refusal != event.Accepted || err != nil {
			t.Fatalf("event %d: %q, %v", first+i, refusal, err)
		}
	}
}

func TestEventsAreSealedAndFound(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *Config) { c.Events = 30 })
		r.mint(t)
		r.start(t)
		var d Delivery
		for i := range 10 {
			r.add(t, 10*i, 10, &d)
			if _, err := r.Add(t.Context(), numbered(1000+i, time.Now().Add(-time.Duration(i)*50*time.Second)), &d); err != nil {
				t.Fatal(err)
			}
		}
		if err := d.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := r.stop(t); err != nil {
			t.Fatal(err)
		}
		records := r.found(t)
		if len(records) != 110 || r.count(resultSealed) != 110 {
			t.Fatalf("%d found, %d counted", len(records), r.count(resultSealed))
		}
		for _, record := range records {
			if record.Client != "c-1" || record.Transport != "" || record.Session == "" || !record.Ports.Contain(8) {
				t.Fatal("a field is lost, or one is stored that the policy does not keep")
			}
		}
		for _, message := range r.topic.messages {
			for _, secret := range []string{"account-", "198.51", "\xc6\x33\x00", "c-1"} {
				if bytes.Contains(message, []byte(secret)) {
					t.Fatal("a message holds something in the clear")
				}
			}
		}
	})
}

func TestWithoutAKeyEventsAreRefusedInTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.start(t)
		began := time.Now()
		var d Delivery
		r.add(t, 0, 50, &d)
		if err := d.Wait(t.Context()); !errors.Is(err, ErrNoKey) {
			t.Fatalf("without a key: %v", err)
		}
		if took := time.Since(began); took < r.config.KeyWait || took > r.config.KeyWait+time.Second {
			t.Errorf("refused after %v", took)
		}
		if r.Ready() == nil || len(r.topic.messages) != 0 || r.count(resultNoKey) != 50 {
			t.Errorf("ready: %v, %d messages, %d counted", r.Ready(), len(r.topic.messages), r.count(resultNoKey))
		}

		d = Delivery{} // a warden that comes in time
		r.add(t, 100, 5, &d)
		time.Sleep(time.Second)
		r.mint(t)
		if err := d.Wait(t.Context()); err != nil || r.Ready() != nil {
			t.Fatalf("with a key: %v, %v", err, r.Ready())
		}
		if err := r.stop(t); err != nil || len(r.found(t)) != 5 {
			t.Fatal(err)
		}
	})
}

// One epoch without a key holds up no other.
func TestEpochsWaitApart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.mint(t)
		if err := r.ring.Destroy(t.Context(), r.policy.EpochAt(time.Now().Add(-2*time.Minute)), time.Hour); err != nil {
			t.Fatal(err)
		}
		r.start(t)
		var dead, living Delivery
		if _, err := r.Add(t.Context(), numbered(1, time.Now().Add(-2*time.Minute)), &dead); err != nil {
			t.Fatal(err)
		}
		r.add(t, 2, 3, &living)
		began := time.Now()
		if err := living.Wait(t.Context()); err != nil || time.Since(began) > time.Second {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		if err := dead.Wait(t.Context()); !errors.Is(err, ErrNoKey) {
			t.Error(err)
		}
		_ = r.stop(t)
	})
}

func TestWhatKafkaDoesNotAcknowledgeHasFailed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.mint(t)
		r.topic.fail = errors.New("no leader")
		r.start(t)
		var d Delivery
		r.add(t, 0, 3, &d)
		if err := d.Wait(t.Context()); !errors.Is(err, ErrKafka) || r.Ready() == nil || r.count(resultKafka) != 3 {
			t.Fatalf("%v, ready: %v, %d counted", err, r.Ready(), r.count(resultKafka))
		}
		if err := r.stop(t); err != nil {
			t.Fatal(err)
		}
	})
}

func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *Config) { c.Memory = 1 << 20 })
		r.mint(t)
		r.topic.hold = true
		r.start(t)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		added := 0
		for ; added < 100_000; added++ {
			if _, err := r.Add(ctx, numbered(added, time.Now()), nil); err != nil {
				break
			}
		}
		if most := 1 << 20 / eventWeight; added == 0 || added > most {
			t.Errorf("%d events were taken into 1 MiB, %d fit", added, most)
		}
		r.topic.release()
		if err := r.stop(t); err != nil {
			t.Fatal(err)
		}
	})
}

// At the end everything that was taken is sent, and nothing more is taken.
func TestTheEndSendsWhatWasTaken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *Config) { c.Linger = time.Minute })
		r.mint(t)
		r.start(t)
		var d Delivery
		r.add(t, 0, 40, &d)
		synctest.Wait()
		if err := r.stop(t); err != nil {
			t.Fatal(err)
		}
		if err := d.Wait(t.Context()); err != nil || len(r.found(t)) != 40 {
			t.Fatalf("%v, %d messages", err, len(r.topic.messages))
		}
		if _, err := r.Add(t.Context(), numbered(1, time.Now()), nil); !errors.Is(err, ErrStopped) {
			t.Fatal(err)
		}
	})
}

func TestTheEndGivesUpWhatHasNoKey(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *Config) { c.KeyWait = time.Minute })
		r.start(t)
		var d Delivery
		r.add(t, 0, 4, &d)
		if err := r.stop(t); err == nil || !strings.Contains(err.Error(), "4 events") {
			t.Fatal(err)
		}
		if err := d.Wait(t.Context()); !errors.Is(err, ErrStopped) {
			t.Fatal(err)
		}
	})
}

func TestWhatIsNoEventIsRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		now := time.Now()
		for want, e := range map[event.Refusal]*event.Event{
			TimeFuture:       numbered(1, now.Add(6*time.Second)),
			Expired:          numbered(1, now.Add(-11*time.Minute)),
			event.BadAccount: func() *event.Event { e := numbered(1, now); e.Account = "a\x00"; return e }(),
		} {
			if got, err := r.Add(t.Context(), e, nil); got != want || err != nil || r.count(string(want)) != 1 {
				t.Errorf("%q, want %q, %v", got, want, err)
			}
		}
		r.deps.Topic = "another"
		if got, err := r.Add(t.Context(), numbered(1, now), nil); got != NoPolicy || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	})
}

// A clock that is ahead seals for the present, not for an epoch to come.
func TestTheFutureIsThePresent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		time.Sleep(59 * time.Second) // two seconds on, another epoch begins
		r.mint(t)
		r.start(t)
		var d Delivery
		if _, err := r.Add(t.Context(), numbered(1, time.Now().Add(3*time.Second)), &d); err != nil {
			t.Fatal(err)
		}
		now := time.Now()
		if err := d.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		_ = r.stop(t)
		if records := r.found(t); len(records) != 1 || records[0].Time != now.UnixMilli() {
			t.Fatalf("%d records, %v", len(records), now)
		}
	})
}

// However long its events are, and wherever they lie, a batch fits into a message.
func TestTheLargestBatchFits(t *testing.T) {
	t.Parallel()
	key := keyring.Public{Epoch: retention.Epoch{Policy: strings.Repeat("p", 32), Start: 0, Length: 60_000}, Shards: keyring.MaxShards}
	var err error
	if key.Key, _, err = seal.GenerateKey(); err != nil {
		t.Fatal(err)
	}
	e, err := store.NewEdge(key)
	if err != nil {
		t.Fatal(err)
	}
	p := &retention.Policy{Keep: retention.KeepFields}
	for _, length := range []int{0, 128} {
		var records []record.Record
		var sum int64
		for sum < maxWeight && len(records) < maxEvents {
			i := len(records)
			a, _ := address.From(netip.AddrFrom16([16]byte{0x20, 1, 2: byte(i >> 8), 3: byte(i), 15: 1}))
			long := func(most int) string {
				return fmt.Sprintf("%0*d", max(min(length, most), 1), i)[:max(min(length, most), 1)]
			}
			ev := event.Event{
				Time: 1000, Since: 1, Address: a, Ports: record.Ports{First: 1, Last: 2, Known: true}, Account: fmt.Sprint(long(120), i),
				Kind: "connect", Outcome: long(32), Session: long(128), Server: long(128), Transport: long(64), Client: long(64),
			}
			r, text := copied(&ev, p, 1000)
			records = append(records, r)
			sum += weight(text)
		}
		if message := e.Seal(nil, records); len(message) > seal.MaxBatch-4096 {
			t.Errorf("%d events make %d bytes", len(records), len(message))
		}
	}
}

func TestSealedEventsAreErased(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.mint(t)
		r.add(t, 0, 3, nil)
		time.Sleep(r.config.Linger)
		taken := r.take(time.Now(), false)
		texts := taken[0].texts
		r.flush(t.Context(), taken)
		for _, text := range texts {
			if len(text) == 0 || bytes.ContainsAny(text, "acount-0123456789") {
				t.Errorf("%d bytes of a sealed event are still there", len(text))
			}
		}
		if r.sending.Wait(); len(texts) != 3 || len(r.topic.messages) != 1 {
			t.Errorf("%d events, %d messages", len(texts), len(r.topic.messages))
		}
	})
}

// A frame key is dropped an epoch's length after it was made.
func TestFrameKeysAreDropped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.mint(t)
		r.add(t, 0, 3, nil)
		for want := 1; want >= 0; want-- {
			r.flush(t.Context(), r.take(time.Now(), true))
			if len(r.edges) != want {
				t.Errorf("%d frame keys, want %d", len(r.edges), want)
			}
			time.Sleep(r.policy.Epoch + lingering)
		}
		r.sending.Wait()
	})
}
