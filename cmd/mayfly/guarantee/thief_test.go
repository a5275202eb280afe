package guarantee

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/twmb/franz-go/pkg/kgo"

	"mayfly/pipeline/kafkain/kafkatest"
	"mayfly/retention"
	"mayfly/retention/keyring"
	"mayfly/retention/record"
	"mayfly/retention/seal"
)

// loot is what a thief has copied of one policy: from keyring nodes, the data's Redis,
// their files and their backups. To be of use to him after the deadline it takes a key
// that still opens it.
type loot struct {
	copies  []keyring.Copy
	frames  []seal.Frame // by address
	batches []seal.Batch // sealed before Kafka
}

// steal copies what a server holds of a policy; of the keyring's nodes one will do.
func (l *loot) steal(t testing.TB, client *redis.Client, policy string) {
	t.Helper()
	node, err := keyring.New(keyring.NewRedisNode("stolen", client))
	if err != nil {
		t.Fatal(err)
	}
	epochs, err := node.Epochs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, epoch := range epochs {
		if epoch.Policy == policy {
			copies, _ := node.Copies(t.Context(), epoch)
			l.copies = append(l.copies, copies...)
		}
	}
	for _, name := range keysOf(t, client, "mayfly:{"+policy+"/*/*/ip/*}/*") {
		for _, stored := range client.LRange(t.Context(), name, 0, -1).Val() {
			if frame, err := seal.ParseFrame(placeOf(t, name), []byte(stored)); err == nil {
				l.frames = append(l.frames, frame)
			}
		}
	}
}

// stealTopic copies the sealed batches that a topic of one partition has.
func (l *loot) stealTopic(t testing.TB, kafka *kafkatest.Cluster, topic string) {
	t.Helper()
	ends, err := kafka.Admin(t).ListEndOffsets(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	end, _ := ends.Lookup(topic, 0)
	client := kafka.Client(t, kgo.ConsumeTopics(topic))
	for next := int64(0); next < end.Offset; {
		fetches := client.PollFetches(t.Context())
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			next = r.Offset + 1
			if batch, err := seal.ParseBatch(r.Value); err == nil {
				l.batches = append(l.batches, batch)
			}
		})
	}
	if len(l.batches) == 0 {
		t.Fatal("the topic has no sealed batch: the case proves nothing")
	}
}

// placeOf reads the name of a chunk, mayfly:{epoch/key/view/group}/shard.
func placeOf(t testing.TB, name string) (p seal.Place) {
	t.Helper()
	parts := strings.Split(strings.TrimPrefix(name, "mayfly:{"), "/")
	if len(parts) != 6 {
		t.Fatalf("%d parts in the name of a chunk", len(parts))
	}
	shard, err := strconv.ParseUint(parts[5], 10, 32)
	if err == nil {
		p.Epoch, err = retention.ParseEpoch(parts[0] + "/" + parts[1])
	}
	if err == nil {
		p.Key, err = seal.ParseKeyID(parts[2])
	}
	if err != nil {
		t.Fatal(err)
	}
	p.View = seal.ByAddress
	p.Shard = uint32(shard)
	return p
}

// opened are private keys, by epoch and key id.
type opened map[retention.Epoch]map[seal.KeyID]seal.PrivateKey

// opens gives the private keys that the system's key-encryption key, as it is now,
// still unwraps, whatever anybody's clock says.
func (l *loot) opens(t testing.TB, s *system) opened {
	t.Helper()
	state, err := os.ReadFile(s.KEK())
	if err != nil {
		t.Fatal(err)
	}
	stolen := filepath.Join(s.Folder, "stolen")
	if err := os.WriteFile(stolen, state, 0o600); err != nil {
		t.Fatal(err)
	}
	kek, err := keyring.OpenKEK(stolen, time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	all := opened{}
	for _, c := range l.copies {
		if broken := c.Break(kek); len(broken) > 0 {
			all[c.Epoch] = broken
		}
	}
	return all
}

// reads counts the records of an account in the frames that opened keys open.
func (l *loot) reads(t testing.TB, all opened, account string) (n int) {
	t.Helper()
	for i := range l.frames {
		f := &l.frames[i]
		private, ok := all[f.Place.Epoch][f.Place.Key]
		wrap := l.wrap(f)
		if !ok || wrap == nil {
			continue
		}
		reader, err := seal.NewReader(f.Place.Epoch, f.Place.Key, private, seal.Wrap{Writer: f.Writer, Encapsulated: wrap})
		if err != nil {
			continue
		}
		payload, err := reader.Open(f)
		if err != nil {
			continue
		}
		records, err := record.Decode(nil, payload)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range records {
			if r.Account == account {
				n++
			}
		}
	}
	return n
}

// wrap is the frame key that a frame's writer has encapsulated.
func (l *loot) wrap(f *seal.Frame) []byte {
	for _, c := range l.copies {
		if wrap := c.Wrap(f.Place.Key, f.Writer); c.Epoch == f.Place.Epoch && wrap != nil {
			return wrap
		}
	}
	return nil
}

// mustRead expects that the loot is worth something while its epochs live: otherwise
// that it is worth nothing later would prove nothing.
func (l *loot) mustRead(t testing.TB, s *system, account string) {
	t.Helper()
	if n := l.reads(t, l.opens(t, s), account); n == 0 {
		t.Fatalf("a thief of %d keyring entries and %d frames reads nothing even now: the case proves nothing",
			len(l.copies), len(l.frames))
	}
}

// mustBeWorthless expects that nothing of it opens any more within the five seconds in
// which keys end by themselves; every key of it must be past its deadline.
func (l *loot) mustBeWorthless(t testing.TB, s *system, account string) {
	t.Helper()
	open := l.opens(t, s)
	for limit := time.Now().Add(5 * time.Second); len(open) > 0 && time.Now().Before(limit); open = l.opens(t, s) {
		time.Sleep(50 * time.Millisecond)
	}
	if len(open) > 0 {
		t.Errorf("the keys of %d of %d stolen entries still open, and with them %d records", len(open), len(l.copies), l.reads(t, open, account))
	}
}

// keysOf lists the keys of a server that match, the due ones too that it has not freed.
func keysOf(t testing.TB, client *redis.Client, pattern string) (names []string) {
	t.Helper()
	keys := client.Scan(context.Background(), 0, pattern, 1000).Iterator()
	for keys.Next(context.Background()) {
		names = append(names, keys.Val())
	}
	if err := keys.Err(); err != nil {
		t.Fatal(err)
	}
	return names
}
