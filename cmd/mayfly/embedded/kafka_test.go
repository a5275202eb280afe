package embedded

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const embeddedCanary = "a string that is nowhere else"

func embeddedKafkaClient(t *testing.T, brokers []string, options ...kgo.Opt) *kgo.Client {
	t.Helper()
	client, err := kgo.NewClient(append(options, kgo.SeedBrokers(brokers...), kgo.DefaultProduceTopic("connections"))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

func produceCanaries(t *testing.T, brokers []string, n int) {
	t.Helper()
	client := embeddedKafkaClient(t, brokers, kgo.ProducerBatchCompression(kgo.NoCompression()))
	defer client.Close() // before the broker goes, else it waits for it
	records := make([]*kgo.Record, n)
	for i := range records {
		records[i] = &kgo.Record{Value: fmt.Appendf(nil, "%s %d", embeddedCanary, i)}
	}
	if err := client.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// filesWithCanary counts the files below dir that hold the canary.
func filesWithCanary(t *testing.T, dir string) int {
	t.Helper()
	found := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil // a segment may be removed meanwhile
		}
		if content, err := os.ReadFile(path); err == nil && bytes.Contains(content, []byte(embeddedCanary)) {
			found++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// embeddedEventually asks again until the answer is yes.
func embeddedEventually(t *testing.T, what string, yes func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !yes(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

func TestEmbeddedKafkaForgets(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	brokers, stop, err := Kafka(t.Context(), "connections", 2, 500*time.Millisecond, dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	produceCanaries(t, brokers, 100)
	if filesWithCanary(t, dir) == 0 {
		t.Fatal("the records are not in the folder")
	}
	admin := kadm.NewClient(embeddedKafkaClient(t, brokers))
	embeddedEventually(t, "all records expired", func() bool {
		starts, err := admin.ListStartOffsets(t.Context(), "connections")
		if err != nil {
			t.Fatal(err)
		}
		first := int64(0)
		starts.Each(func(o kadm.ListedOffset) { first += o.Offset })
		return first == 100
	})
	if n := filesWithCanary(t, dir); n > 0 {
		t.Errorf("expired records are still in %d files", n)
	}
}

// A partition that is written to all the time still loses what has expired.
func TestEmbeddedKafkaForgetsUnderTraffic(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	brokers, stop, err := Kafka(t.Context(), "connections", 1, 300*time.Millisecond, dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	produceCanaries(t, brokers, 100)
	client := embeddedKafkaClient(t, brokers, kgo.ProducerBatchCompression(kgo.NoCompression()))
	other := bytes.Repeat([]byte("x"), 2000)
	embeddedEventually(t, "the canaries left the disk", func() bool {
		if err := client.ProduceSync(t.Context(), &kgo.Record{Value: other}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		return filesWithCanary(t, dir) == 0
	})
}

func TestEmbeddedKafkaKeepsItsFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for range 2 { // the second time the topic is there already
		brokers, stop, err := Kafka(t.Context(), "connections", 1, time.Hour, dir)
		if err != nil {
			t.Fatal(err)
		}
		produceCanaries(t, brokers, 10)
		stop()
		stop()
	}
	brokers, stop, err := Kafka(t.Context(), "connections", 1, time.Hour, dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	client := embeddedKafkaClient(t, brokers, kgo.ConsumeTopics("connections"))
	for n := 0; n < 20; {
		fetches := client.PollFetches(t.Context())
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		n += fetches.NumRecords()
	}
}

func TestEmbeddedKafkaCleansUp(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	brokers, stop, err := Kafka(t.Context(), "connections", 1, time.Hour, "")
	if err != nil {
		t.Fatal(err)
	}
	produceCanaries(t, brokers, 10)
	stop()
	if left, _ := os.ReadDir(temp); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if c, err := net.Dial("tcp", brokers[0]); err == nil {
		_ = c.Close()
		t.Error("the port still answers")
	}
}

func TestEmbeddedKafkaGivesUpWithItsContext(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := Kafka(ctx, "connections", 1, time.Hour, ""); err == nil {
		t.Fatal("started although it was called off")
	}
	if left, _ := os.ReadDir(temp); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
