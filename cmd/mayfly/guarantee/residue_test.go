package guarantee

import (
	"crypto/hpke"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"mayfly/cmd/mayfly/mayflytest"
	"mayfly/retention/redisconn/redistest"
	"mayfly/retention/seal"
	"mayfly/retention/secret/residue"
)

// What is left of an address once it is past its deadline.

// canary is an event's address and account that occur nowhere else, and how to count them.
type canary struct {
	ip, account string
	needles     residue.Needles
}

func newCanary(name string) canary {
	ip := "2001:db8:5ca1:ab1e:" + name + "::dead:beef"
	account := "canary-account-" + name + "-5f3a"
	return canary{ip, account, residue.Of(netip.MustParseAddr(ip), account)}
}

// none expects that nothing is left somewhere.
func none(t testing.TB, where string, n int, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if n > 0 {
		t.Errorf("%d copies are left in %s", n, where)
	}
}

// rawKeys are the private keys and the frame keys that the loot gives away while they live.
func (l *loot) rawKeys(t testing.TB, all opened) (keys residue.Needles) {
	t.Helper()
	for epoch, privates := range all {
		for id, private := range privates {
			raw, err := private.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			keys = append(keys, raw)
			for i := range l.frames {
				if f := &l.frames[i]; f.Place.Epoch == epoch && f.Place.Key == id && l.wrap(f) != nil {
					keys = append(keys, frameKey(t, f, raw, l.wrap(f)))
				}
			}
			for i := range l.batches {
				if b := &l.batches[i]; b.Epoch == epoch && b.Key == id {
					keys = append(keys, frameKey(t, &b.Frames[0], raw, b.Wrap.Encapsulated))
				}
			}
		}
	}
	return keys
}

// frameKey derives what sealed a frame from the private key of its epoch.
func frameKey(t testing.TB, f *seal.Frame, private, wrap []byte) []byte {
	t.Helper()
	key, err := hpke.MLKEM768X25519().NewPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	info := append([]byte("mayfly epoch v1\x00"+f.Place.Epoch.String()+"\x00"), f.Place.Key[:]...)
	recipient, err := hpke.NewRecipient(wrap, key, hpke.HKDFSHA256(), hpke.ExportOnly(), append(info, f.Writer[:]...))
	if err != nil {
		t.Fatal(err)
	}
	exported, err := recipient.Export("mayfly frame key v1", 32)
	if err != nil {
		t.Fatal(err)
	}
	return exported
}

// leftOf counts what a process's memory has of a canary once it was scrubbed, a second or two
// after the deadline.
func leftOf(p *process, c canary) (n int, err error) {
	for limit := time.Now().Add(5 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		n, err = c.needles.Memory(p.PID)
		if n == 0 || err != nil || time.Now().After(limit) {
			return n, err
		}
	}
}

// 12: after the deadline no copy of the address, and no key that opens one, is left in files, logs,
// memory or backlog of any server, nor in what Mayfly writes, nor in its memory.
// Mutant: the address in a log line, with it in a receipt, with a key-encryption key that stands
// still, and with each kind of memory not erased: what is freed, what is read, by whom, what is sorted,
// what is answered.
func nothingIsLeft(t *testing.T, l *lab) {
	const window = 2 * arrivalWindow // there is much to do within it
	c := newCanary("12")
	s := ownSystem(t, l, window)
	name := topicOf(caseOf(t))
	l.kafka.CreateTopic(t, name, 1, map[string]string{"retention.ms": "4000", "segment.ms": "2000", "message.timestamp.type": "LogAppendTime"})
	servers := append([]*redistest.Server{s.Data, replicate(t, s.Data)}, s.Keys...)
	set(t, s.Data, "slowlog-log-slower-than", "0")
	warden, desk := s.Start(t, "warden"), s.Start(t, "desk")
	warden.AwaitReady(t)
	ingest, relay := s.ingest(t, name, "only"), s.relay(t)
	begun := freshEpoch()
	for _, codec := range codecs {
		for range 10 {
			produceIn(t, l.kafka, name, codec, connects(begun, c.account, c.ip))
		}
	}
	for _, server := range servers[:2] {
		if err := server.Client(t).Save(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
	}
	var stolen loot
	stolen.steal(t, s.Keys[0].Client(t), "g12")
	stolen.steal(t, s.Data.Client(t), "g12")
	stolen.mustRead(t, s, c.account)
	if n, err := c.needles.Files(l.kafka.Folder()); n == 0 || err != nil {
		t.Fatalf("the topic has no copy even now, so the case proves nothing: %v", err)
	}
	for range 10 {
		send(t, relay, connects(begun, c.account, c.ip))
	}
	desk.AwaitFound(t, byIP(c.ip), 60)
	stolen.stealTopic(t, l.kafka, name)
	stolen.steal(t, s.Keys[0].Client(t), "g12")
	keys := stolen.rawKeys(t, stolen.opens(t, s))
	compact := s.compact(t)
	mayflytest.Eventually(t, "all is compacted", func() bool { return compact.Metric("mayfly_compact_events_total") >= 60 })
	for _, request := range everyWay(c.account, c.ip, begun) {
		desk.AwaitFound(t, request, 60)
	}
	roles := map[string]*process{"relay": relay, "ingest": ingest, "compact": compact, "warden": warden, "desk": desk}
	// A warden opens nothing; relay and ingest drop their keys when they have nothing to write.
	for _, role := range []string{"compact", "desk"} {
		if n, err := keys.Memory(roles[role].PID); n == 0 || err != nil {
			t.Fatalf("%s has no key even now, so the case proves nothing: %v", role, err)
		}
	}

	sleepUntil(time.Now().Truncate(epochLength).Add(window))
	s.mustHoldNothingDue(t, "g12", window)
	stolen.mustBeWorthless(t, s, c.account)
	for _, needles := range []residue.Needles{c.needles, keys} {
		for i, server := range servers {
			n, err := needles.Files(server.Dir)
			none(t, fmt.Sprint("the files of server ", i), n, err)
			n, err = needles.Memory(server.PID())
			none(t, fmt.Sprint("the memory of server ", i), n, err)
		}
		n, err := needles.Files(s.Folder)
		none(t, "receipts, configuration and the key-encryption key's file", n, err)
		for role, p := range roles {
			_, page := p.Get("/metrics")
			none(t, "the metrics of "+role, needles.Text(page), nil)
		}
	}
	for role, p := range roles {
		n, err := keys.Memory(p.PID)
		none(t, "the memory of "+role+" (keys)", n, err)
		n, err = leftOf(p, c)
		none(t, "the memory of "+role, n, err)
	}
	l.kafkaForgets(t, name, c)
	for role, p := range roles {
		p.Signal(t, syscall.SIGQUIT) // it ends with a trace of everything that it does
		<-p.Exited
		none(t, "the log and the trace of "+role, c.needles.Text(p.Log()), nil)
		if !strings.Contains(p.Log(), "goroutine ") {
			t.Errorf("%s leaves no trace: the case proves nothing", role)
		}
	}
}

// kafkaForgets expects the topic's folder to be clean after its bound: 4 s of retention, 2 s
// of segment, and a second each of check interval and of file delay.
func (l *lab) kafkaForgets(t testing.TB, name string, c canary) {
	t.Helper()
	last := 0
	mayflytest.Eventually(t, "Kafka has deleted the segments", func() bool {
		l.kafka.Produce(t, name, kgo.NoCompression(), &kgo.Record{Value: []byte("{}")}) // only a write rolls a segment
		time.Sleep(500 * time.Millisecond)
		var err error
		last, err = c.needles.Files(l.kafka.Folder())
		return err == nil && last == 0
	}, func() { t.Log(last, "copies are left") })
}

// 22: of a message that is no event nothing is kept: no payload, no address, no reason that quotes it.
// Mutant: the refused message in the log.
func poison(t *testing.T, l *lab) {
	c := newCanary("22")
	name := topic(t, l.kafka)
	ingest := l.ingest(t, name, "only")
	bad := []string{
		`{"account":"` + c.account + `","ip":"` + c.ip + `"`, // cut off
		`{"time":1,"account":"` + c.account + `","ip":"` + c.account + `"}`,
		`{"time":"` + c.account + `","account":"a","ip":"` + c.ip + `"}`,
		`{"time":1,"ip":"` + c.ip + `","ip":"` + c.ip + `","account":"` + c.account + `"}`,
		c.account + "\xff\xfe" + c.ip,
		strings.Repeat(c.ip+" ", 5000),
	}
	for _, message := range bad {
		l.kafka.Produce(t, name, kgo.NoCompression(), &kgo.Record{Key: []byte(c.account), Value: []byte(message)})
	}
	produce(t, l.kafka, name, connects(time.Now(), "g22", "198.51.100.22"))
	l.desk.AwaitFound(t, byAccount("g22"), 1)
	if refused := ingest.Metric("mayfly_ingest_events_total") - ingest.Events("stored"); refused != float64(len(bad)) {
		t.Errorf("%v of %d refused", refused, len(bad))
	}
	none(t, "the log", c.needles.Text(ingest.Log()), nil)
	_, page := ingest.Get("/metrics")
	none(t, "the metrics", c.needles.Text(page), nil)
	for i, server := range append([]*redistest.Server{l.Data}, l.Keys...) {
		n, err := c.needles.Files(server.Dir)
		none(t, fmt.Sprint("the files of server ", i), n, err)
		n, err = c.needles.Memory(server.PID())
		none(t, fmt.Sprint("the memory of server ", i), n, err)
	}
	n, err := c.needles.Files(l.Folder)
	none(t, "the receipts", n, err)
	if err := ingest.Terminate(t); err != nil {
		t.Errorf("ingest ended with %v", err)
	}
	none(t, "the log at its end", c.needles.Text(ingest.Log()), nil)
}

// 23: answers, batches and the receipts of both keep no copy of an address or an account: what a
// handler was told is nowhere to be found once it is due.
// Mutant: the subject of a look-up in its receipt.
func answersKeepNothing(t *testing.T, l *lab) {
	c := newCanary("23")
	name := topic(t, l.kafka)
	l.ingest(t, name, "only")
	begun := freshEpoch()
	produce(t, l.kafka, name, connects(begun, c.account, c.ip))
	for _, request := range everyWay(c.account, c.ip, begun) {
		l.desk.AwaitFound(t, request, 1)
	}
	batch := func() string {
		command := exec.Command(mayfly, "lookup", "batch", "-", "--desk", l.desk.URL, "--case", mayflytest.Case, "--reason", "test", "--output", "json")
		command.Stdin = strings.NewReader("account,ip\n" + c.account + ",\n," + c.ip + "\n")
		out, err := command.Output()
		if err != nil && command.ProcessState.ExitCode() != 3 { // on a busy machine a node may answer too late: incomplete
			t.Fatal(err)
		}
		return string(out)
	}
	mayflytest.Eventually(t, "the batch answers", func() bool { return c.needles.Text(batch()) > 0 })
	sleepUntil(deadline(begun, arrivalWindow))
	if n := c.needles.Text(batch()); n > 0 {
		t.Errorf("a batch has %d copies after the deadline", n)
	}
	n, err := c.needles.Files(l.Folder)
	none(t, "the receipts", n, err)
	for role, p := range map[string]*process{"desk": l.desk, "warden": l.warden} {
		none(t, "the log of "+role, c.needles.Text(p.Log()), nil)
		for _, path := range []string{"/metrics", "/v1/retention"} {
			_, page := p.Get(path)
			none(t, path+" of "+role, c.needles.Text(page), nil)
		}
	}
}
