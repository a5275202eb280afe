package process

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"

	"mayfly/retention"
	"mayfly/retention/address"
	"mayfly/retention/keyring"
	"mayfly/retention/record"
	"mayfly/retention/store"
	"mayfly/retention/tally"
)

func TestBinaryDigest(t *testing.T) {
	t.Parallel()
	if got := binaryDigest(); len(got) != 64 {
		t.Errorf("the program's digest is %q", got)
	}
}

// A writer may say that a topic is called like an account. Permanent entries name the topics
// that the warden is configured with, and no other.
func TestAReceiptNamesConfiguredTopicsAlone(t *testing.T) {
	t.Parallel()
	now, ctx := time.Now(), t.Context()
	policy := retention.Policy{Name: "p", Window: 2 * time.Hour, Epoch: time.Hour, Basis: "test"}
	epoch := policy.EpochAt(now)
	deadline := epoch.Deadline(policy.Window)
	ring, err := keyring.New(keyring.NewMemoryNode("a"))
	if err != nil {
		t.Fatal(err)
	}
	kek, err := keyring.NewMemoryKEK(now)
	if err != nil {
		t.Fatal(err)
	}
	memory := store.NewMemory()
	p := &Process{reader: store.NewReader(retention.Policies{policy}, keyring.NewOpener(ring, kek, zap.NewNop()), memory)}
	p.Config.Kafka.Topics = []string{"connections", "logins"}
	_, err = ring.Mint(ctx, epoch, deadline, kek, func() uint32 { return 1 },
		func(key keyring.Public) error { return memory.Open(ctx, key) })
	if err != nil {
		t.Fatal(err)
	}
	known, other := [16]byte{1}, [16]byte{2}
	writer := store.NewWriter(ring, memory)
	writer.Read([]tally.Read{
		{Source: tally.Source{Topic: known}, Name: "connections", Ranges: []tally.Range{{From: 0, Next: 1}}},
		{Source: tally.Source{Topic: other}, Name: "alice", Ranges: []tally.Range{{From: 0, Next: 1}}},
	})
	ip, _ := address.From(netip.MustParseAddr("192.0.2.1"))
	var records []record.Record
	for _, topic := range [][16]byte{known, other} {
		records = append(records, record.Record{ID: record.ID{Topic: topic}, Time: now.UnixMilli(), Account: "a", Address: ip})
	}
	sealed, err := writer.Seal(ctx, []store.Batch{{Epoch: epoch, Deadline: deadline, Records: records}})
	if err == nil {
		err = writer.Append(ctx, sealed)
	}
	if err != nil {
		t.Fatal(err)
	}
	sum, err := p.tally(ctx, epoch)
	if err != nil {
		t.Fatal(err)
	}
	named := map[[16]byte]string{}
	for _, topic := range sum.Topics {
		named[topic.ID] = topic.Name
	}
	if diff := cmp.Diff(map[[16]byte]string{known: "connections", other: ""}, named); diff != "" {
		t.Errorf("topics of a receipt (-want +got):\n%s", diff)
	}
}
