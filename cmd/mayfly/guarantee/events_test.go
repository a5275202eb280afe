package guarantee

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"mayfly/abuse/lookup"
	"mayfly/pipeline/kafkain/kafkatest"
)

// connection is an event that a case produces; its fields are those of the message.
type connection struct {
	Time    int64  `json:"time"`
	Account string `json:"account"`
	IP      string `json:"ip"`
	Port    int    `json:"port,omitempty"`
	PortEnd int    `json:"port_end,omitempty"`
	Event   string `json:"event,omitempty"`
	Session string `json:"session,omitempty"`
}

// connects is a connection of the given moment.
func connects(at time.Time, account, ip string) connection {
	return connection{Time: at.UnixMilli(), Account: account, IP: ip}
}

// produce writes events, stamped now, into partition 0.
func produce(t testing.TB, kafka *kafkatest.Cluster, topic string, events ...connection) {
	t.Helper()
	for _, e := range events {
		produceStamped(t, kafka, topic, time.Now(), e)
	}
}

func produceStamped(t testing.TB, kafka *kafkatest.Cluster, topic string, stamp time.Time, e connection) {
	t.Helper()
	value, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	kafka.Produce(t, topic, kgo.NoCompression(), &kgo.Record{Value: value, Timestamp: stamp})
}

// codecs are all that Kafka has; each passes an event through other memory.
var codecs = []kgo.CompressionCodec{
	kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression(),
}

// produceIn is produce by a producer that compresses.
func produceIn(t testing.TB, kafka *kafkatest.Cluster, topic string, codec kgo.CompressionCodec, e connection) {
	t.Helper()
	value, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	kafka.Produce(t, topic, codec, &kgo.Record{Value: value})
}

// deadline is when an event of the given time must be gone under a window.
func deadline(at time.Time, window time.Duration) time.Time {
	return at.Truncate(epochLength).Add(window)
}

// freshEpoch waits, at most half an epoch, so that what follows happens within one.
func freshEpoch() time.Time {
	now := time.Now()
	if begun := now.Truncate(epochLength); now.Sub(begun) > epochLength/2 {
		sleepUntil(begun.Add(epochLength))
	}
	return time.Now()
}

func byAccount(account string) lookup.Request { return lookup.Request{Account: account} }

func byIP(ip string) lookup.Request { return lookup.Request{IP: ip} }
