package guarantee

import (
	"context"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/twmb/franz-go/pkg/kgo"

	"mayfly/cmd/mayfly/mayflytest"
	"mayfly/pipeline/kafkain/kafkatest"
	"mayfly/retention/redisconn/redistest"
	"mayfly/retention/secret/residue"
)

// All events carry the canary's address; those of a relay come besides, through Mayfly alone.
const (
	benchEvents   = 20_000
	benchAtRelay  = 2_000
	benchRequests = 20 // to the relay
)

// leftovers are the copies of one contender's canary, by where they are left.
type leftovers map[string]string

var places = []string{
	"keys", "server's memory", "append-only file", "snapshot (RDB)", "replica's files", "replica's memory", "slow log",
	"logs", "receipts and configuration", "memory of relay", "memory of ingest", "memory of compact", "memory of warden", "memory of desk", "keys and wraps that open something",
}

// BenchmarkResidue writes the same events with SET … EX and through Mayfly, waits until every key has
// expired, and counts what is left of their address: by the same code, in the same places. It is one
// comparison, whatever b.N is: run it with -benchtime 1x.
func BenchmarkResidue(b *testing.B) {
	kafka := kafkatest.StartOwn(b, kafkatest.QuickPurge())
	plain := newCanaryAt("2001:db8:5ca1:1::dead:beef", "canary-account-plain")
	sealed := newCanaryAt("2001:db8:5ca1:2::dead:beef", "canary-account-sealed")
	left := []leftovers{benchPlain(b, plain), benchSealed(b, kafka, sealed)}
	t := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "\n%d events with one address and one account, two copies in each; left after every key had expired:\n\n\tSET … EX\tMayfly\n", benchEvents)
	for _, place := range append(append([]string{}, places...), "Kafka folder, before its bound", "Kafka folder, after it") {
		fmt.Fprint(t, place)
		for _, l := range left {
			if l[place] == "" {
				l[place] = "–"
			}
			fmt.Fprint(t, "\t", l[place])
		}
		fmt.Fprintln(t)
	}
	_ = t.Flush()
}

func newCanaryAt(ip, account string) canary {
	return canary{ip, account, residue.Of(netip.MustParseAddr(ip), account)}
}

// benchServers are a server with an append-only file, and its replica.
func benchServers(t testing.TB, data *redistest.Server) (replica *redistest.Server) {
	t.Helper()
	set(t, data, "slowlog-log-slower-than", "0")
	return replicate(t, data)
}

// measure looks where both contenders may leave something.
func (l leftovers) measure(t testing.TB, c canary, data, replica *redistest.Server) {
	t.Helper()
	count := func(place string, n int, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		l[place] = fmt.Sprint(n)
	}
	client := data.Client(t)
	keys := client.DBSize(t.Context()).Val()
	l["keys"] = fmt.Sprint(keys)
	n, err := c.needles.Memory(data.PID())
	count("server's memory", n, err)
	n, err = filesNamed(data.Dir, ".aof", c)
	count("append-only file", n, err)
	n, err = filesNamed(data.Dir, ".rdb", c)
	count("snapshot (RDB)", n, err)
	n, err = c.needles.Files(replica.Dir)
	count("replica's files", n, err)
	n, err = c.needles.Memory(replica.PID())
	count("replica's memory", n, err)
	slow := 0
	for _, entry := range client.SlowLogGet(t.Context(), -1).Val() {
		slow += c.needles.Text(strings.Join(entry.Args, " "))
	}
	count("slow log", slow, nil)
}

// filesNamed counts in files of one kind. Redis keeps a snapshot under the append-only file, too:
// by its folder that is a part of it.
func filesNamed(folder, suffix string, c canary) (found int, err error) {
	err = filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		kind := ".aof"
		if entry.Name() == "dump.rdb" {
			kind = ".rdb"
		} else if !strings.Contains(path, "appendonlydir") {
			kind = ""
		}
		if kind != suffix {
			return nil
		}
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		defer file.Close()
		n, err := c.needles.Count(file)
		found += n
		return err
	})
	return found, err
}

// benchPlain is what an engineer would do: a key for each event, with a TTL.
func benchPlain(t testing.TB, c canary) leftovers {
	t.Helper()
	data := redistest.Start(t, "--appendonly", "yes")
	replica, client := benchServers(t, data), data.Client(t)
	_, err := client.Pipelined(t.Context(), func(p redis.Pipeliner) error {
		for i := range benchEvents {
			p.Set(t.Context(), fmt.Sprint("connection:", i), message(c, i), arrivalWindow)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	snapshot(t, data, replica)
	awaitEmpty(t, client)
	left := leftovers{}
	left.measure(t, c, data, replica)
	return left
}

// snapshot has the primary and its replica write a file each, and keeps the slow log from then on
// from what the benchmark itself asks.
func snapshot(t testing.TB, data, replica *redistest.Server) {
	t.Helper()
	set(t, data, "slowlog-log-slower-than", "1000000")
	if err := data.Client(t).Wait(t.Context(), 1, 10*time.Second).Err(); err != nil {
		t.Fatal(err)
	}
	for _, server := range []*redistest.Server{data, replica} {
		if err := server.Client(t).Save(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
	}
}

func message(c canary, i int) string {
	return fmt.Sprintf(`{"time":%d,"account":%q,"ip":%q,"port":%d,"session":"s%d"}`, time.Now().UnixMilli(), c.account, c.ip, i%60000, i)
}

func awaitEmpty(t testing.TB, client *redis.Client) {
	t.Helper()
	for client.DBSize(context.Background()).Val() > 0 {
		time.Sleep(50 * time.Millisecond)
	}
}

// benchSealed takes the same events through Kafka and every role, with look-ups.
func benchSealed(t testing.TB, kafka *kafkatest.Cluster, c canary) leftovers {
	t.Helper()
	const topic = "residue"
	kafka.CreateTopic(t, topic, 1, map[string]string{"retention.ms": "4000", "segment.ms": "2000", "message.timestamp.type": "LogAppendTime"})
	s := newSystem(t, kafka, map[string]any{"name": "bench", "window": arrivalWindow.String(), "epoch": epochLength.String(), "basis": "test"})
	s.Section("kafka")["topics"] = []string{topic}
	replica := benchServers(t, s.Data)
	warden, desk := s.Start(t, "warden"), s.Start(t, "desk")
	warden.AwaitReady(t)
	ingest := s.ingest(t, topic, "bench")
	records := make([]*kgo.Record, benchEvents)
	for i := range records {
		records[i] = &kgo.Record{Value: []byte(message(c, i))}
	}
	kafka.Produce(t, topic, kgo.NoCompression(), records...)
	mayflytest.Eventually(t, "all is stored", func() bool { return ingest.Events("stored") == benchEvents })
	for _, request := range everyWay(c.account, c.ip, time.Now()) {
		desk.Look(t, request)
	}
	snapshot(t, s.Data, replica)
	var stolen loot
	stolen.steal(t, s.Keys[0].Client(t), "bench")
	stolen.steal(t, s.Data.Client(t), "bench")
	stolen.mustRead(t, s, c.account)
	relay := s.relay(t)
	for range benchRequests {
		events := make([]connection, benchAtRelay/benchRequests)
		for i := range events {
			events[i] = connects(time.Now(), c.account, c.ip)
		}
		send(t, relay, events...)
	}
	stolen.stealTopic(t, kafka, topic)
	stolen.steal(t, s.Keys[0].Client(t), "bench")
	keys := stolen.rawKeys(t, stolen.opens(t, s))
	compact := s.compact(t)
	mayflytest.Eventually(t, "all is compacted", func() bool { return compact.Metric("mayfly_compact_events_total") >= benchEvents+benchAtRelay })
	for _, request := range everyWay(c.account, c.ip, time.Now()) {
		desk.Look(t, request)
	}
	before, err := c.needles.Files(kafka.Folder())
	if err != nil {
		t.Fatal(err)
	}
	sleepUntil(time.Now().Truncate(epochLength).Add(arrivalWindow + 2*time.Second))

	left := leftovers{"Kafka folder, before its bound": fmt.Sprint(before)}
	left.measure(t, c, s.Data, replica)
	left["keys"] = fmt.Sprint(len(due(t, s.clients(t), "bench", arrivalWindow)))
	open, logs := len(stolen.opens(t, s)), 0
	for role, p := range map[string]*process{"relay": relay, "ingest": ingest, "compact": compact, "warden": warden, "desk": desk} {
		n, err := c.needles.Memory(p.PID)
		if err != nil {
			t.Fatal(err)
		}
		left["memory of "+role] = fmt.Sprint(n)
		if n, err = keys.Memory(p.PID); err != nil {
			t.Fatal(err)
		}
		open += n
		logs += c.needles.Text(p.Log())
	}
	written, err := c.needles.Files(s.Folder)
	if err != nil {
		t.Fatal(err)
	}
	left["logs"], left["receipts and configuration"] = fmt.Sprint(logs), fmt.Sprint(written)
	left["keys and wraps that open something"] = fmt.Sprint(open)
	(&lab{kafka: kafka}).kafkaForgets(t, topic, c)
	left["Kafka folder, after it"] = "0"
	return left
}
