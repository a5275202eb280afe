package demo

import (
	"context"
	"errors"
	"fmt"
	"time"

	"mayfly/cmd/mayfly/output"
	"mayfly/pipeline/workload"
	"mayfly/retention"
)

// demo is one run on a stack.
type demo struct {
	policy   retention.Policy
	stack    *installation
	view     view
	epochs   *epochWatch
	story    *story
	traffic  *traffic
	auditor  *auditor
	sabotage *sabotage
	began    time.Time
	ended    time.Time // when everything that was sent had been stored or refused

	dueAtEnd []watchedEpoch
	counts   ingestCounts // at the end
}

// outcome is what --output json prints.
type outcome struct {
	Produced      int    `json:"produced"` // acknowledged by Kafka
	Stored        int    `json:"stored"`
	Rejected      int    `json:"rejected"` // every other result but duplicate
	Duplicates    int    `json:"duplicates"`
	LookupsOK     int64  `json:"lookups_ok"`
	EpochsDue     int    `json:"epochs_due"` // their deadline came during the demo
	EpochsPurged  int    `json:"epochs_purged"`
	MaxPurgeLagMS int64  `json:"max_purge_lag_ms"`
	Verified      bool   `json:"verified"`         // all due ones are purged, seen from outside too
	Caught        string `json:"caught,omitempty"` // the line that catches the sabotage
}

func newDemo(policy retention.Policy, stack *installation, view view, cheat *sabotage) *demo {
	return &demo{policy: policy, stack: stack, view: view, sabotage: cheat}
}

// drain is how long what was sent may take to be stored or refused at the end.
const drain = 15 * time.Second

// play lets traffic flow for a while (0: until ctx ends), then settles and
// checks everything. problems are empty where all is as promised.
func (d *demo) play(ctx context.Context, traffic workload.Config, lasting time.Duration) (result outcome, problems []string) {
	// What follows the traffic happens whoever ended it.
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	if err := d.prepare(work); err != nil {
		return result, []string{err.Error()}
	}
	defer d.epochs.close()
	go d.epochs.run(work)
	goHome := d.auditor.begin(work)
	cheated := d.sabotage.begin(work, d)

	note := func(err error) {
		if err != nil {
			problems = append(problems, err.Error())
		}
	}
	note(d.perform(ctx, traffic, lasting))
	d.view.close()
	d.view.say("traffic has ended: waiting until everything is stored, then checking what is left")
	d.story.close()
	note(d.drain(work))
	d.ended = time.Now()
	d.dueAtEnd = d.settle(work)
	goHome()
	note(cheated())
	left := d.verify(work, d.dueAtEnd)
	note(d.stack.halt())
	result = d.result(d.dueAtEnd, len(left) == 0)
	problems = append(problems, d.shortcomings(result)...)
	if d.sabotage.does != "" {
		caught, err := d.catch(work, left)
		note(err)
		result.Caught = caught
		return result, problems
	}
	problems = append(problems, left...)
	note(d.auditor.verify(d.stack.receipts, d.ended))
	return result, problems
}

func (d *demo) prepare(ctx context.Context) (err error) {
	if d.epochs, err = newEpochWatch(d.stack.process); err != nil {
		return err
	}
	d.story = newStory(ctx, d.stack.url, d.policy, d.epochs, func(line string) { d.view.tell(time.Now(), line) })
	d.traffic, err = newDemoTraffic(d.stack.brokers, d.policy, d.story)
	if err != nil {
		return err
	}
	d.auditor, err = newAuditor(d.stack.url, d.stack.receipts)
	d.began = time.Now()
	return err
}

// refresh is how often the view is painted anew.
const refresh = 250 * time.Millisecond

// perform sends traffic until its time is over, ctx ends, or something fails.
func (d *demo) perform(ctx context.Context, config workload.Config, lasting time.Duration) error {
	flow, stop := context.WithCancel(ctx)
	if lasting > 0 {
		flow, stop = context.WithTimeout(ctx, lasting)
	}
	defer stop()
	sent := make(chan error, 1)
	go func() { sent <- d.traffic.run(flow, config) }()
	paint := time.NewTicker(refresh)
	defer paint.Stop()
	d.view.refresh(d.state())
	for {
		select {
		case err := <-sent:
			return err
		case err := <-d.stack.ended:
			d.stack.ended <- err
			stop()
			return errors.Join(fmt.Errorf("mayfly's roles ended early: %w", err), <-sent)
		case <-paint.C:
			if _, failure := d.traffic.state(); failure != nil {
				stop()
			}
			d.view.refresh(d.state())
		}
	}
}

// drain waits until everything that was sent has been stored or refused.
func (d *demo) drain(ctx context.Context) error {
	limit := time.Now().Add(drain)
	produced, _ := d.traffic.state()
	for {
		counts, err := countIngest(d.stack.process.Registry)
		if err != nil {
			return err
		}
		done := counts.stored + counts.rejected()
		if done >= produced {
			return nil
		}
		if time.Now().After(limit) {
			return fmt.Errorf("after %s %d of %d events are neither stored nor refused", output.Duration(drain), produced-done, produced)
		}
		sleepUntil(ctx, time.Now().Add(20*time.Millisecond))
	}
}

// settle waits until every epoch that has come due is purged, or is late.
func (d *demo) settle(ctx context.Context) []watchedEpoch {
	d.epochs.look()
	for _, e := range d.epochs.due(d.ended) {
		d.epochs.purged(ctx, e.Epoch)
	}
	d.epochs.look()
	return d.epochs.due(d.ended)
}

func (d *demo) result(due []watchedEpoch, verified bool) outcome {
	d.counts, _ = countIngest(d.stack.process.Registry) // figures that can't be read don't add up
	produced, _ := d.traffic.state()
	r := outcome{
		Produced: produced, Stored: d.counts.stored, Rejected: d.counts.rejected(), Duplicates: d.counts.duplicates,
		LookupsOK: d.story.ok.Load(), EpochsDue: len(due),
	}
	for _, e := range due {
		if e.Purged {
			r.EpochsPurged++
			r.MaxPurgeLagMS = max(r.MaxPurgeLagMS, milliseconds(e.Lag))
		}
	}
	r.Verified = verified && r.EpochsPurged == r.EpochsDue && d.epochs.unseen(d.policy, d.ended) == 0
	return r
}

// shortcomings are what the figures say is wrong.
func (d *demo) shortcomings(r outcome) []string {
	wrong := d.story.mistakes()
	if r.Produced != r.Stored+r.Rejected {
		wrong = append(wrong, fmt.Sprintf("%d events were sent, but %d stored and %d refused", r.Produced, r.Stored, r.Rejected))
	}
	if r.EpochsPurged != r.EpochsDue {
		wrong = append(wrong, fmt.Sprintf("%d epochs were due and %d purged", r.EpochsDue, r.EpochsPurged))
	}
	if n := d.epochs.unseen(d.policy, d.ended); n > 0 {
		wrong = append(wrong, fmt.Sprintf("the warden never had %s that came due", output.Plural(n, "epoch")))
	}
	return wrong
}
