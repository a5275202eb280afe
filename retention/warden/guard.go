package warden

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"mayfly/retention/keyring"
)

// Observation is what one look at a part of the system has found.
type Observation struct {
	Findings []keyring.Finding
	Ahead    map[string]time.Duration // by peer: how far its clock is ahead of ours
	Oldest   map[string]time.Duration // by topic: age of its oldest record
	Covered  bool                     // Kafka is, by Coverage.Covers
}

// Source is a part of the system that is looked at again and again. Look only
// reads; it returns soon after its context is done.
type Source struct {
	Every time.Duration
	Look  func(ctx context.Context) Observation
}

// GuardDependencies are what a Guard is given.
type GuardDependencies struct {
	Sources []Source
	// Witnessed is nil while enough witnesses cosign the receipt log; without it
	// nobody does.
	Witnessed  func(now time.Time) error
	Log        *zap.Logger
	Registerer prometheus.Registerer // nil: metrics are kept but not exposed
}

// Guard watches, while a warden runs, whether the system is still one in which
// the guarantee holds: volatile keyring, clocks, topics. It observes; a
// contradiction lowers the assurance level and is logged once.
type Guard struct {
	d       GuardDependencies
	metrics *guardMetrics

	mu       sync.Mutex    // guards all below, so that a level always rests on whole looks
	seen     []Observation // by source
	looked   []bool
	judged   bool // the level is one of all sources
	assessed Assurance
}

// NewGuard registers the metrics and looks at nothing.
func NewGuard(d GuardDependencies) (*Guard, error) {
	m, err := newGuardMetrics(d.Registerer)
	if err != nil {
		return nil, fmt.Errorf("registering metrics: %w", err)
	}
	return &Guard{
		d: d, metrics: m, seen: make([]Observation, len(d.Sources)), looked: make([]bool, len(d.Sources)),
		assessed: Assurance{0, meanings[0], []string{"nothing has been looked at yet"}},
	}, nil
}

// Run looks at every source at once, and then each time its span has passed,
// until ctx ends.
func (g *Guard) Run(ctx context.Context) error {
	var all errgroup.Group
	for i, source := range g.d.Sources {
		all.Go(func() error {
			tick := time.NewTicker(source.Every)
			defer tick.Stop()
			for {
				seen := source.Look(ctx)
				if ctx.Err() != nil {
					return nil // what was cut off is no observation
				}
				g.take(i, seen)
				select {
				case <-ctx.Done():
					return nil
				case <-tick.C:
				}
			}
		})
	}
	return all.Wait()
}

// Assurance is the level now; 0 until every source has been looked at.
func (g *Guard) Assurance() Assurance {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.assessed
}

// Findings are the latest of all sources.
func (g *Guard) Findings() []keyring.Finding {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.findings()
}

func (g *Guard) findings() []keyring.Finding {
	var all []keyring.Finding
	for _, seen := range g.seen {
		all = append(all, seen.Findings...)
	}
	return all
}

// take replaces what was seen of a source, and says what has changed.
func (g *Guard) take(source int, seen Observation) {
	g.mu.Lock()
	defer g.mu.Unlock()
	before := g.seen[source]
	g.seen[source], g.looked[source] = seen, true
	g.logChanges(before.Findings, seen.Findings)
	g.metrics.show(g.findings(), before, seen)
	for _, looked := range g.looked {
		if !looked {
			return
		}
	}
	now := Assess(Evidence{
		Findings:     g.findings(),
		KafkaCovered: slices.ContainsFunc(g.seen, func(o Observation) bool { return o.Covered }),
		Witnessed:    g.d.Witnessed != nil && g.d.Witnessed(time.Now()) == nil,
	})
	g.metrics.level.Set(float64(now.Level))
	if !g.judged || now.Level != g.assessed.Level {
		log := g.d.Log.Info
		if g.judged && now.Level < g.assessed.Level {
			log = g.d.Log.Warn
		}
		log("assurance level", zap.Int("level", now.Level), zap.String("meaning", now.Meaning), zap.Strings("missing", now.Missing))
	}
	g.assessed, g.judged = now, true
}

// logChanges logs a condition once for each change of its verdict: a failure
// as an error, what else does not pass for who wants to know.
func (g *Guard) logChanges(before, after []keyring.Finding) {
	type key struct {
		area      keyring.Area
		subject   string
		condition keyring.Condition
	}
	was := map[key]keyring.Verdict{}
	for _, f := range before {
		was[key{f.Area, f.Subject, f.Condition}] = f.Verdict
	}
	for _, f := range after {
		verdict, known := was[key{f.Area, f.Subject, f.Condition}]
		if verdict == f.Verdict || !known && f.Verdict == keyring.Pass {
			continue
		}
		fields := []zap.Field{
			zap.String("area", string(f.Area)), zap.String("subject", f.Subject), zap.String("condition", string(f.Condition)),
			zap.String("verdict", string(f.Verdict)), zap.String("saw", f.Saw),
		}
		switch f.Verdict {
		case keyring.Pass:
			g.d.Log.Info("a condition of the guarantee holds again", fields...)
		case keyring.Fail:
			g.d.Log.Error("a condition of the guarantee does not hold", append(fields, zap.String("mend", f.Mend))...)
		default:
			g.d.Log.Info("a condition of the guarantee is in doubt", append(fields, zap.String("mend", f.Mend))...)
		}
	}
}
