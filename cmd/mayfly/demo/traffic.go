package demo

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"mayfly/pipeline/workload"
	"mayfly/retention"
)

// The account whose life the demo tells, and the rhythm of the crowd around it.
const (
	account   = "ada"
	day       = 2 * time.Minute
	alive     = 5 * time.Second
	malformed = 0.002
	flush     = 10 * time.Second
)

// traffic is who connects; its start is set when it starts.
func (c *Cmd) traffic() workload.Config {
	w := workload.DefaultConfig()
	w.Seed, w.Rate, w.Day, w.Alive, w.Malformed = c.Seed, c.Rate, day, alive, malformed
	w.Story = account
	w.StoryEvery = min(max(c.Window/20, 250*time.Millisecond), 3*time.Second)
	return w
}

// traffic writes generated events into Kafka as they happen.
type traffic struct {
	client *kgo.Client
	policy retention.Policy
	story  *story

	mu       sync.Mutex // guards what acknowledgements write, from the client's goroutine
	produced int
	failure  error
}

func newDemoTraffic(brokers []string, policy retention.Policy, story *story) (*traffic, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.DefaultProduceTopic(topic))
	if err != nil {
		return nil, fmt.Errorf("configuring the Kafka client: %w", err)
	}
	return &traffic{client: client, policy: policy, story: story}, nil
}

// run sends until ctx ends, and returns when Kafka has acknowledged everything.
func (t *traffic) run(ctx context.Context, config workload.Config) error {
	defer t.client.Close()
	config.Start = time.Now()
	generator, err := workload.New(config)
	if err != nil {
		return err
	}
	for m := generator.Next(); sleepUntil(ctx, m.At); m = generator.Next() {
		// What is under way is finished: else nobody knew whether it arrived.
		t.client.Produce(context.WithoutCancel(ctx), t.record(m), t.acknowledged(m))
	}
	flush, cancel := context.WithTimeout(context.WithoutCancel(ctx), flush)
	defer cancel()
	if err := t.client.Flush(flush); err != nil {
		return fmt.Errorf("waiting for Kafka's acknowledgements: %w", err)
	}
	_, err = t.state()
	return err
}

// record stamps a message with its own time, so that its epoch is known.
func (t *traffic) record(m workload.Message) *kgo.Record {
	return &kgo.Record{Value: bytes.Clone(m.Value), Timestamp: m.At}
}

// acknowledged counts, and tells the story what is in Kafka for sure.
func (t *traffic) acknowledged(m workload.Message) func(*kgo.Record, error) {
	var scene *scene
	if m.Event != nil && m.Event.Account == account {
		scene = t.story.produce(m.Event)
	}
	return func(_ *kgo.Record, err error) {
		t.count(err)
		if err == nil && scene != nil {
			t.story.acknowledged(scene)
		}
	}
}

func (t *traffic) count(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case err == nil:
		t.produced++
	case t.failure == nil:
		t.failure = fmt.Errorf("writing to Kafka: %w", err)
	}
}

func (t *traffic) state() (produced int, failure error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.produced, t.failure
}

// sleepUntil reports whether the instant came before the end of ctx.
func sleepUntil(ctx context.Context, at time.Time) bool {
	wait := time.Until(at)
	if wait <= 0 {
		return ctx.Err() == nil
	}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(wait):
		return true
	}
}
