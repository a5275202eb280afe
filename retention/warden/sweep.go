package warden

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"mayfly/retention"
	"mayfly/retention/keyring"
	"mayfly/retention/sweep"
)

// SweepDependencies are what a Sweeper is given.
type SweepDependencies struct {
	Warden     *Warden
	Data       redis.UniversalClient
	Nodes      []*redis.Client // of the keyring
	Log        *zap.Logger
	Registerer prometheus.Registerer // nil: metrics are kept but not exposed
}

// Sweeper looks, slowly and again and again, for keys that the purges have missed.
// Of several wardens only the active one sweeps.
type Sweeper struct {
	d       SweepDependencies
	rate    int
	without prometheus.Gauge
	found   *prometheus.CounterVec // finding

	explanations *explanations // of the present round

	mu     sync.Mutex // guards latest
	latest []keyring.Finding
}

// NewSweeper registers the metrics and looks at nothing.
func NewSweeper(config Config, d SweepDependencies) (*Sweeper, error) {
	s := &Sweeper{
		d: d, rate: config.SweepRate,
		without: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "mayfly_retention_keys_without_expiry", Help: "Keys that the last sweep found without expiry, and gave one.",
		}),
		found: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mayfly_sweep_keys_total", Help: "Keys that the sweep found, and mended: without expiry, with too late a one, or of an epoch that is over; and unexplained ones, which it leaves to their expiry.",
		}, []string{"finding"}),
	}
	for _, finding := range []string{"without_expiry", "late", "dead", "unexplained"} {
		s.found.WithLabelValues(finding)
	}
	if d.Registerer == nil {
		return s, nil
	}
	return s, errors.Join(d.Registerer.Register(s.without), d.Registerer.Register(s.found))
}

// Conditions that a sweep judges.
const (
	keysExpire keyring.Condition = "keys expire"
	deadGone   keyring.Condition = "dead keys are gone"
	explained  keyring.Condition = "keys are explained"
)

// sweepEvery is the pause between two rounds, and how often a Guard is told.
const sweepEvery = 10 * time.Second

// Source is what the latest round has found, for a Guard.
func (s *Sweeper) Source() Source {
	return Source{Every: sweepEvery, Look: func(context.Context) Observation {
		s.mu.Lock()
		defer s.mu.Unlock()
		return Observation{Findings: s.latest}
	}}
}

// Run sweeps, round after round, until ctx ends.
func (s *Sweeper) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		if s.d.Warden.Active() {
			s.sweep(ctx)
		}
		sleep(ctx, sweepEvery)
	}
	return nil
}

// sweep looks at all servers once.
func (s *Sweeper) sweep(ctx context.Context) {
	s.explanations = &explanations{of: s.d.Warden, now: time.Now()}
	data, dataErr := s.data(ctx)
	ring, ringErr := s.nodes(ctx)
	all := data
	all.Add(ring)
	s.without.Set(float64(all.WithoutExpiry))
	for finding, n := range map[string]int{"without_expiry": all.WithoutExpiry, "late": all.Late, "dead": all.Dead, "unexplained": all.Unexplained} {
		s.found.WithLabelValues(finding).Add(float64(n))
	}
	if all.WithoutExpiry+all.Late+all.Dead > 0 {
		s.d.Log.Warn("the sweep has mended keys: something clears expiries, or writes past the warden",
			zap.Int("without_expiry", all.WithoutExpiry), zap.Int("late", all.Late), zap.Int("dead", all.Dead))
	}
	if all.Unexplained > 0 {
		s.d.Log.Warn("keys that neither a policy nor a key explains are left to their expiry: another deployment's, or what one that was removed has left",
			zap.Int("unexplained", all.Unexplained))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.latest = append(judgeSweep(keyring.AreaRedis, "data", data, dataErr), judgeSweep(keyring.AreaKeyring, "keyring", ring, ringErr)...)
}

func judgeSweep(area keyring.Area, subject string, found sweep.Found, err error) []keyring.Finding {
	to := keyring.Findings{Area: area, Subject: subject}
	const who = "find who runs PERSIST, EXPIRE or SET on keys of Mayfly, or restores them: MONITOR, ACL LOG"
	if err != nil {
		for _, condition := range []keyring.Condition{keysExpire, deadGone, explained} {
			to.Add(condition, keyring.Unattested, "not all keys could be looked at", "allow SCAN, PEXPIRETIME, PEXPIREAT and UNLINK to the warden's user")
		}
		return to.List
	}
	if n := found.WithoutExpiry + found.Late; n > 0 {
		to.Add(keysExpire, keyring.Warn, fmt.Sprintf("%d keys without expiry and %d with too late a one were given theirs", found.WithoutExpiry, found.Late), who)
	} else {
		to.Add(keysExpire, keyring.Pass, "each has its expiry", "")
	}
	if found.Dead > 0 {
		to.Add(deadGone, keyring.Warn, fmt.Sprintf("%d keys of epochs that are over were unlinked", found.Dead), who)
	} else {
		to.Add(deadGone, keyring.Pass, "none is left", "")
	}
	if found.Unexplained > 0 {
		to.Add(explained, keyring.Warn, fmt.Sprintf("%d keys that neither a policy nor a key explains are left to their expiry", found.Unexplained),
			"if they are another deployment's, give each a Redis, or a database, of its own")
	} else {
		to.Add(explained, keyring.Pass, "each is of a policy or has a key", "")
	}
	return to.List
}

// data sweeps each primary.
func (s *Sweeper) data(ctx context.Context) (sweep.Found, error) {
	var mu sync.Mutex // guards all
	var all sweep.Found
	one := func(ctx context.Context, client redis.Cmdable) error {
		found, err := sweep.Server(ctx, client, "mayfly:{*", s.rate, s.dataRule)
		mu.Lock()
		defer mu.Unlock()
		all.Add(found)
		return err
	}
	if cluster, several := s.d.Data.(*redis.ClusterClient); several {
		err := cluster.ForEachMaster(ctx, func(ctx context.Context, primary *redis.Client) error { return one(ctx, primary) })
		return all, err
	}
	err := one(ctx, s.d.Data)
	return all, err
}

// dataRule reads mayfly:{EPOCH} and mayfly:{EPOCH/…}/….
func (s *Sweeper) dataRule(ctx context.Context, name string) sweep.Rule {
	inner, ok := strings.CutPrefix(name, "mayfly:{")
	if inner, _, ok2 := strings.Cut(inner, "}"); ok && ok2 {
		policy, rest, _ := strings.Cut(inner, "/")
		span, _, _ := strings.Cut(rest, "/")
		return s.explanations.rule(ctx, policy+"/"+span)
	}
	return sweep.Rule{Unexplained: true}
}

func (s *Sweeper) nodes(ctx context.Context) (sweep.Found, error) {
	var all sweep.Found
	var errs []error
	for _, node := range s.d.Nodes {
		found, err := sweep.Server(ctx, node, "mayfly:key:*", s.rate, s.nodeRule)
		all.Add(found)
		errs = append(errs, err)
	}
	return all, errors.Join(errs...)
}

// nodeRule reads mayfly:key:PART:EPOCH; marks and the lease have to end some time.
func (s *Sweeper) nodeRule(ctx context.Context, name string) sweep.Rule {
	part, epoch, _ := strings.Cut(strings.TrimPrefix(name, "mayfly:key:"), ":")
	switch part {
	case "public", "private", "wraps":
		return s.explanations.rule(ctx, epoch)
	case "mark", "lease":
		return sweep.Rule{Ours: true, By: time.Now().Add(retention.MaxWindow + time.Hour)}
	}
	return sweep.Rule{Unexplained: true}
}
