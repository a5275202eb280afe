package process

import (
	"context"
	"fmt"
	"net/http"
	"time"

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
	sender, err := p.newCanarySender()
	if err != nil {
		return err
	}
	p.canarySender = sender
	p.canaries, err = canary.New(p.Config.Canary, canary.Dependencies{
		Policies: p.Config.Policies, Topics: p.Config.Kafka.Topics, Key: p.canaryKey,
		Send: sender.send, Active: p.Warden.Active,
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
