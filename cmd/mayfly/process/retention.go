package process

import (
	"context"
	"sync"
	"time"

	"mayfly/abuse"
	"mayfly/retention"
	"mayfly/retention/keyring"
	"mayfly/retention/warden"
)

// wardenState tells the desk what this process's warden knows.
type wardenState struct {
	policies retention.Policies
	nodes    int
	warden   *warden.Warden
}

// Retention implements abuse.RetentionSource.
func (w wardenState) Retention(context.Context) (abuse.RetentionStatus, error) {
	status := retentionStatus(w.policies, w.nodes, w.warden.Epochs(), time.Now())
	status.Warden = w.warden.Holder()
	return status, nil
}

// keyringState tells the desk of a process without a warden what the keyring's
// nodes hold. It asks them at most every few seconds.
type keyringState struct {
	policies retention.Policies
	ring     *keyring.Keyring

	mu     sync.Mutex // guards what was read, and that one request reads at a time
	read   time.Time
	epochs []warden.Status
	holder string // of the wardens' lease
}

const keyringStateAge = 5 * time.Second

// Retention implements abuse.RetentionSource.
func (k *keyringState) Retention(ctx context.Context) (abuse.RetentionStatus, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := time.Now()
	if now.Sub(k.read) > keyringStateAge {
		k.read, k.epochs, k.holder = now, nil, ""
		if lease, err := k.ring.Lease(ctx, "", 0); err == nil { // which takes nothing
			k.holder = lease.Holder
		}
		for i := range k.policies {
			p := &k.policies[i]
			for _, epoch := range p.Epochs(now.Add(-p.Window-p.EpochLength()), now) {
				answering, holding := k.ring.Holding(ctx, epoch)
				deadline := epoch.Deadline(p.Window)
				k.epochs = append(k.epochs, warden.Status{
					Epoch: epoch, Deadline: deadline, Nodes: holding,
					Purged: !deadline.After(now) && holding == 0 && answering == k.ring.Nodes(),
				})
			}
		}
	}
	status := retentionStatus(k.policies, k.ring.Nodes(), k.epochs, now)
	status.Warden = k.holder
	return status, nil
}

func retentionStatus(policies retention.Policies, nodes int, epochs []warden.Status, now time.Time) abuse.RetentionStatus {
	status := abuse.RetentionStatus{Time: now, KeyringNodes: nodes, Policies: []abuse.PolicyStatus{}}
	for i := range policies {
		p := &policies[i]
		of := abuse.PolicyStatus{
			Name: p.Name, Basis: p.Basis, Window: p.Window.Seconds(),
			EpochLength: p.EpochLength().Seconds(), Epochs: []abuse.EpochStatus{},
		}
		for _, e := range epochs {
			if e.Epoch.Policy == p.Name {
				of.Epochs = append(of.Epochs, epochStatus(e, now))
			}
		}
		status.Policies = append(status.Policies, of)
	}
	return status
}

func epochStatus(e warden.Status, now time.Time) abuse.EpochStatus {
	status := abuse.EpochStatus{
		Epoch: e.Epoch.String(), Start: e.Epoch.StartTime(), End: e.Epoch.EndTime(),
		Deadline: e.Deadline, State: abuse.EpochLive, KeyNodes: e.Nodes,
	}
	switch {
	case e.Purged:
		status.State = abuse.EpochPurged
		if e.Lag > 0 {
			lag := e.Lag.Milliseconds()
			status.PurgeLag = &lag
		}
	case !e.Deadline.After(now):
		status.State = abuse.EpochDue
	}
	return status
}
