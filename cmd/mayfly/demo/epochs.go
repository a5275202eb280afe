package demo

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"mayfly/cmd/mayfly/process"
	"mayfly/retention"
	"mayfly/retention/keyring"
	"mayfly/retention/redisconn"
	"mayfly/retention/warden"
)

// epochWatch remembers every epoch that the warden ever had, and what an
// outsider saw in the keyring while it lived.
type epochWatch struct {
	warden *warden.Warden
	kek    keyring.KEK
	nodes  []*redis.Client  // connections of its own to the keyring's nodes
	ring   *keyring.Keyring // over these connections

	mu     sync.Mutex // guards epochs and what they hold
	epochs map[retention.Epoch]*watchedEpoch
}

// watchedEpoch is an epoch, and what somebody who had copied the keyring would now have.
type watchedEpoch struct {
	warden.Status
	stolen []keyring.Copy
	opened bool  // a stolen key could be unwrapped while the epoch lived
	asked  bool  // the nodes, once the warden had said that it is purged
	left   error // what they still had then
}

const watch = 50 * time.Millisecond

func newEpochWatch(p *process.Process) (*epochWatch, error) {
	w := &epochWatch{warden: p.Warden, kek: p.KEK, epochs: map[retention.Epoch]*watchedEpoch{}}
	var nodes []keyring.Node
	for _, url := range p.Config.Keyring.Nodes {
		node, err := redisconn.OpenNode(url)
		if err != nil {
			return nil, err
		}
		w.nodes = append(w.nodes, node)
		nodes = append(nodes, keyring.NewRedisNode(url, node))
	}
	var err error
	w.ring, err = keyring.New(nodes...)
	return w, err
}

// run watches until ctx ends.
func (w *epochWatch) run(ctx context.Context) {
	for {
		w.look()
		for _, e := range w.list() {
			switch {
			case e.Purged && !e.asked:
				w.ask(ctx, e.Epoch)
			case !e.Purged && e.stolen == nil && e.Deadline.After(time.Now()):
				w.steal(ctx, e)
			}
		}
		if !sleepUntil(ctx, time.Now().Add(watch)) {
			return
		}
	}
}

func (w *epochWatch) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, status := range w.warden.Epochs() {
		if w.epochs[status.Epoch] == nil {
			w.epochs[status.Epoch] = &watchedEpoch{}
		}
		w.epochs[status.Epoch].Status = status
	}
}

// steal copies an epoch's wrapped keys, and makes sure that they are worth
// stealing: only so does it mean something that they can't be unwrapped later.
func (w *epochWatch) steal(ctx context.Context, e watchedEpoch) {
	stolen, _ := w.ring.Copies(ctx, e.Epoch)
	if len(stolen) < len(w.nodes) {
		return // not on every node yet
	}
	opened := false
	for _, copied := range stolen {
		opened = opened || len(copied.Break(w.kek)) > 0
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.epochs[e.Epoch].stolen, w.epochs[e.Epoch].opened = stolen, opened
}

// ask asks the nodes themselves, as soon as the warden has said that an epoch is
// purged: what it has kept, the sweep will have found and destroyed a little later.
func (w *epochWatch) ask(ctx context.Context, epoch retention.Epoch) {
	left := w.left(ctx, epoch)
	if ctx.Err() != nil {
		return // what was cut off is no answer
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.epochs[epoch].asked, w.epochs[epoch].left = true, left
}

// left says what a node still has of an epoch.
func (w *epochWatch) left(ctx context.Context, epoch retention.Epoch) error {
	for i, node := range w.nodes {
		left, err := keysLeft(ctx, node, epoch)
		if err != nil {
			return err
		}
		if left > 0 {
			return fmt.Errorf("keyring node %d still has %d keys of epoch %v", i, left, epoch)
		}
	}
	return nil
}

// list gives copies of all epochs, oldest first.
func (w *epochWatch) list() []watchedEpoch {
	w.mu.Lock()
	defer w.mu.Unlock()
	list := make([]watchedEpoch, 0, len(w.epochs))
	for _, e := range w.epochs {
		list = append(list, *e)
	}
	slices.SortFunc(list, func(a, b watchedEpoch) int { return cmp.Compare(a.Epoch.Start, b.Epoch.Start) })
	return list
}

// due lists the epochs whose deadline came no later than end.
func (w *epochWatch) due(end time.Time) []watchedEpoch {
	return slices.DeleteFunc(w.list(), func(e watchedEpoch) bool { return e.Deadline.After(end) })
}

// unseen counts the epochs, between the first that was watched and the last
// that came due by end, that the warden never had.
func (w *epochWatch) unseen(policy retention.Policy, end time.Time) int {
	list := w.list()
	if len(list) == 0 {
		return 0
	}
	seen := map[retention.Epoch]bool{}
	for _, e := range list {
		seen[e.Epoch] = true
	}
	unseen := 0
	for _, e := range policy.Epochs(list[0].Epoch.StartTime(), end) {
		if !seen[e] && !e.Deadline(policy.Window).After(end) {
			unseen++
		}
	}
	return unseen
}

// purgeLimit is how long after its deadline an epoch may take to be purged.
const purgeLimit = 10 * time.Second

// purged waits until the warden has purged and verified the epoch.
func (w *epochWatch) purged(ctx context.Context, epoch retention.Epoch) (warden.Status, bool) {
	for limit := time.Now().Add(purgeLimit); ; {
		w.mu.Lock()
		e := w.epochs[epoch]
		var status warden.Status
		if e != nil {
			status = e.Status
		}
		w.mu.Unlock()
		if status.Purged {
			return status, true
		}
		if time.Now().After(limit) || !sleepUntil(ctx, time.Now().Add(watch/2)) {
			return status, false
		}
	}
}

func (w *epochWatch) close() {
	for _, node := range w.nodes {
		_ = node.Close()
	}
}

// keyNames are the keys that a keyring node has for an epoch, as an outsider
// knows them: public part, private part, wraps.
func keyNames(epoch retention.Epoch) []string {
	return []string{"mayfly:key:public:" + epoch.String(), "mayfly:key:private:" + epoch.String(), "mayfly:key:wraps:" + epoch.String()}
}

// keysLeft asks a node itself.
func keysLeft(ctx context.Context, node *redis.Client, epoch retention.Epoch) (int64, error) {
	left, err := node.Exists(ctx, keyNames(epoch)...).Result()
	if err != nil {
		return 0, fmt.Errorf("asking a keyring node: %w", err)
	}
	return left, nil
}

// milliseconds rounds up, so that no delay looks shorter than it was.
func milliseconds(d time.Duration) int64 {
	return int64((d + time.Millisecond - 1) / time.Millisecond)
}
