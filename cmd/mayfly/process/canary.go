package process

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"mayfly/pipeline/event"
	"mayfly/pipeline/kafkain"
	"mayfly/retention/canary"
	"mayfly/retention/record"
	"mayfly/retention/warden"
)

// canaryEvery is how often the guard asks what the last canaries came to.
const canaryEvery = time.Second

// openCanaryKey lets this process tell canaries from customers, where there are any.
func (p *Process) openCanaryKey() (err error) {
	if p.Config.Canary.On() {
		p.canaryKey, err = canary.OpenKey(p.Config.Canary)
	}
	return err
}

// newCanaries wires the sender and the prober up.
func (p *Process) newCanaries() error {
	if p.canaryKey == nil {
		return nil
	}
	if err := p.Config.Validate("kafka", "fields"); err != nil {
		return fmt.Errorf("canary.ranges: canaries go through Kafka: %w", err)
	}
	sender, err := newCanarySender(p.Config.Kafka, p.Config.Fields)
	if err != nil {
		return err
	}
	p.canarySender = sender
	p.canaries, err = canary.New(p.Config.Canary, canary.Dependencies{
		Policies: p.Config.Policies, Topics: p.Config.Kafka.Topics, Key: p.canaryKey, Send: sender.send,
		Log: p.reader, Keyring: p.Keyring, KEK: p.KEK, Cache: p.opener, Receipts: p.receipts,
		Logger: p.log, Registerer: p.Registry,
	})
	return err
}

// canarySource is what the canaries attest.
func (p *Process) canarySource() []warden.Source {
	if p.canaries == nil {
		return nil
	}
	return []warden.Source{{Every: canaryEvery, Look: func(context.Context) warden.Observation {
		return warden.Observation{Findings: p.canaries.Findings(time.Now())}
	}}}
}

// isCanary tells canaries from customers; nil where there are none.
func (p *Process) isCanary() func(*record.Record) bool {
	if p.canaryKey == nil {
		return nil
	}
	return p.canaryKey.Is
}

// probe answers the prober of another process; nil where there are no canaries.
func (p *Process) probe() http.Handler {
	if p.canaryKey == nil || p.opener == nil {
		return nil
	}
	return canary.Handler(p.canaryKey, p.opener)
}

// canarySender writes canaries to Kafka as any producer would: one event a
// message, in the shape that the topic has.
type canarySender struct {
	client *kgo.Client
	writer *event.Writer
}

// newCanarySender connects to nothing yet.
func newCanarySender(config kafkain.Config, fields event.FieldMap) (*canarySender, error) {
	writer, err := event.NewWriter(fields)
	if err != nil {
		return nil, err
	}
	options, err := kafkain.ClientOptions(config)
	if err != nil {
		return nil, err
	}
	client, err := kgo.NewClient(append(options, kgo.SeedBrokers(config.Brokers...), kgo.RecordDeliveryTimeout(30*time.Second))...)
	if err != nil {
		return nil, fmt.Errorf("configuring the canaries' Kafka client: %w", err)
	}
	return &canarySender{client, writer}, nil
}

func (s *canarySender) send(ctx context.Context, e canary.Event) error {
	text, err := s.writer.Write(&event.Event{
		Time: e.Time.UnixMilli(), Account: e.Account, Address: e.Address,
		Ports: record.Ports{First: e.Port, Last: e.Port, Known: true},
		Kind:  e.Fields["event"], Server: e.Fields["server"], Transport: e.Fields["transport"],
		Client: e.Fields["client"], Outcome: e.Fields["outcome"], RTT: -1,
	})
	if err != nil {
		return err
	}
	if err := s.client.ProduceSync(ctx, &kgo.Record{Topic: e.Topic, Value: text}).FirstErr(); err != nil {
		return fmt.Errorf("writing to Kafka: %w", err)
	}
	return nil
}

func (s *canarySender) close() { s.client.Close() }
