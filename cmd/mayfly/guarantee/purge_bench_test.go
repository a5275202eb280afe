package guarantee

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/twmb/franz-go/pkg/kgo"

	"mayfly/cmd/mayfly/mayflytest"
	"mayfly/pipeline/kafkain/kafkatest"
)

// Figures of the purge: benchRounds epochs come due while ingest runs at benchRate.
const (
	benchRounds = 30
	benchRate   = 5_000 // events a second
)

// BenchmarkPurge measures what purging takes as epochs grow (purgeGrowth). Then, with ingest
// running: from an epoch's deadline to its verified purge (key gone on every node, chunks unlinked,
// both asked for); what the data's Redis makes others wait meanwhile; and, with every warden killed,
// until the keys have gone by themselves. It is one measurement, whatever b.N is: run it with
// -benchtime 1x.
func BenchmarkPurge(b *testing.B) {
	purgeGrowth(b)
	const window = 6 * time.Second
	kafka := kafkatest.StartOwn(b)
	const topic = "purge"
	kafka.CreateTopic(b, topic, 1, nil)
	s := newSystem(b, kafka, map[string]any{"name": "bench", "window": window.String(), "epoch": "1s", "basis": "test"})
	delete(s.Section("warden"), "shards") // the default
	warden := s.Start(b, "warden")
	warden.AwaitReady(b)
	ingest := s.ingest(b, topic, "bench")

	ctx, stop := context.WithCancel(b.Context())
	defer stop()
	go keepProducing(ctx, b, kafka, topic)
	mayflytest.Eventually(b, "events are stored", func() bool { return ingest.Events("stored") > 0 })
	waits := make(chan []time.Duration, 1)
	probing, done := context.WithCancel(ctx)
	go func() { waits <- probe(probing, s.Data.Client(b)) }()
	mayflytest.Eventually(b, "epochs are purged", func() bool { return len(lags(warden)) >= benchRounds })
	done()
	waited := <-waits
	measured := lags(warden)
	stored := ingest.Events("stored")

	warden.Kill()
	stop()
	gone := goneByThemselves(b, s, window)
	slices.Sort(measured)
	slices.Sort(waited)
	fmt.Printf("\n%d epochs purged while ingest stored %.0f events\n", len(measured), stored)
	fmt.Printf("deadline → verified purge     p50 %v, worst %v\n", measured[len(measured)/2], measured[len(measured)-1])
	fmt.Printf("PING of the data Redis        p50 %v, p99.9 %v, worst %v of %d\n", waited[len(waited)/2],
		waited[len(waited)*999/1000], waited[len(waited)-1], len(waited))
	fmt.Printf("every warden killed           keys gone %v after the last deadline\n\n", gone)
	b.ReportMetric(measured[len(measured)/2].Seconds()*1000, "ms-p50")
	b.ReportMetric(measured[len(measured)-1].Seconds()*1000, "ms-worst")
	b.ReportMetric(gone.Seconds()*1000, "ms-without-warden")
}

func keepProducing(ctx context.Context, t testing.TB, kafka *kafkatest.Cluster, topic string) {
	client := kafka.Client(t, kgo.DefaultProduceTopic(topic))
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for n := 0; ; {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			for range benchRate / 50 {
				n++
				client.Produce(ctx, &kgo.Record{Value: fmt.Appendf(nil, `{"time":%d,"account":"account-%d","ip":"198.51.%d.%d","port":%d,"session":"s%d"}`,
					now.UnixMilli(), n%5000, n/256%256, n%256, n%60000, n)}, nil)
			}
		}
	}
}

// probe asks a server once a millisecond how long it makes others wait.
func probe(ctx context.Context, client *redis.Client) (waited []time.Duration) {
	for ctx.Err() == nil {
		asked := time.Now()
		if client.Ping(ctx).Err() == nil {
			waited = append(waited, time.Since(asked))
		}
		time.Sleep(time.Millisecond)
	}
	return waited
}

// lags are those of the purges that a warden has logged.
func lags(warden *process) (found []time.Duration) {
	for line := range strings.Lines(warden.Log()) {
		var entry struct {
			Message string  `json:"msg"`
			Lag     float64 `json:"lag"` // seconds
		}
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Message == "epoch purged" {
			found = append(found, time.Duration(entry.Lag*float64(time.Second)).Round(10*time.Microsecond))
		}
	}
	return found
}

// goneByThemselves is how long after the last deadline the servers have freed every key: by their
// own count, which has also what they only hide.
func goneByThemselves(t testing.TB, s *system, window time.Duration) time.Duration {
	t.Helper()
	clients := s.clients(t)
	last := time.Time{}
	for _, client := range clients {
		for _, name := range keysOf(t, client, "mayfly:*bench/*") {
			if epoch, ok := epochOf(name); ok && epoch.Deadline(window).After(last) {
				last = epoch.Deadline(window)
			}
		}
	}
	for {
		left := int64(0)
		for _, client := range clients {
			left += client.DBSize(t.Context()).Val() - int64(len(keysOf(t, client, "mayfly:key:mark:*")))
		}
		if left <= 0 {
			return time.Since(last).Round(time.Millisecond)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
