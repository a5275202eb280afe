package keyring

import (
	"bytes"
	"context"
	"maps"
	"strings"
	"sync"
	"time"

	"mayfly/retention"
)

// MemoryNode is a Node in this process, for tests.
type MemoryNode struct {
	name string

	mu     sync.Mutex // guards all below: each method is one atomic step
	epochs map[retention.Epoch]*memoryEpoch
	marks  map[line]int64
	holder string // of the lease, until leased
	leased time.Time
	down   error
}

// line is what a purged-through mark is of: a policy's epochs of one length.
type line struct {
	policy string
	length int64
}

func lineOf(e retention.Epoch) line { return line{e.Policy, e.Length} }

type memoryEpoch struct {
	parts    Contents
	deadline time.Time
}

// NewMemoryNode makes an empty node.
func NewMemoryNode(name string) *MemoryNode {
	return &MemoryNode{name: name, epochs: map[retention.Epoch]*memoryEpoch{}, marks: map[line]int64{}}
}

// Name implements Node.
func (n *MemoryNode) Name() string { return n.name }

// Fail makes every call fail with err, until Fail(nil).
func (n *MemoryNode) Fail(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.down = err
}

// Lose forgets everything, as a restart of a server without persistence does.
func (n *MemoryNode) Lose() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.epochs)
	clear(n.marks)
}

// Drop forgets one epoch, as an eviction does.
func (n *MemoryNode) Drop(epoch retention.Epoch) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.epochs, epoch)
}

// Publish implements Node.
func (n *MemoryNode) Publish(_ context.Context, epoch retention.Epoch, deadline time.Time, contents Contents) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.down != nil {
		return n.down
	}
	now := time.Now()
	mark, marked := n.marks[lineOf(epoch)]
	switch {
	case marked && epoch.Start <= mark, !now.Before(deadline):
		return ErrDestroyed
	case now.Before(epoch.StartTime()):
		return ErrNotBegun
	}
	e := n.living(epoch)
	if len(contents[partPublic]) == 0 {
		for field := range contents[partWraps] {
			key, _, _ := strings.Cut(field, " ")
			if e == nil || e.parts[partPublic][key] == nil {
				return ErrNoKey
			}
		}
	}
	if e == nil {
		e = &memoryEpoch{parts: Contents{}, deadline: deadline}
		n.epochs[epoch] = e
	}
	if deadline.Before(e.deadline) {
		e.deadline = deadline
	}
	for part, fields := range contents {
		if e.parts[part] == nil {
			e.parts[part] = map[string][]byte{}
		}
		for field, value := range fields {
			if before, there := e.parts[part][field]; !there || sooner(part, before, value) {
				e.parts[part][field] = bytes.Clone(value)
			}
		}
	}
	return nil
}

// Fetch implements Node.
func (n *MemoryNode) Fetch(_ context.Context, epoch retention.Epoch, part Part) (map[string][]byte, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.down != nil {
		return nil, n.down
	}
	if e := n.living(epoch); e != nil {
		return maps.Clone(e.parts[part]), nil
	}
	return map[string][]byte{}, nil
}

// Lives implements Node.
func (n *MemoryNode) Lives(_ context.Context, epochs ...retention.Epoch) (time.Time, []Life, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.down != nil {
		return time.Time{}, nil, n.down
	}
	now := time.Now()
	lives := make([]Life, len(epochs))
	for i, epoch := range epochs {
		if e := n.living(epoch); e != nil {
			lives[i] = Life{Held: true, Remaining: e.deadline.Sub(now)}
		}
		mark, marked := n.marks[lineOf(epoch)]
		lives[i].Purged = marked && epoch.Start <= mark
	}
	return now, lives, nil
}

// Lease implements Node.
func (n *MemoryNode) Lease(_ context.Context, by string, span time.Duration) (string, time.Duration, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.down != nil {
		return "", 0, n.down
	}
	now := time.Now()
	if !now.Before(n.leased) {
		n.holder = ""
	}
	switch {
	case span == 0 && n.holder == by:
		n.holder = ""
	case span > 0 && (n.holder == "" || n.holder == by):
		n.holder, n.leased = by, now.Add(span)
	}
	if n.holder == "" {
		return "", 0, nil
	}
	return n.holder, n.leased.Sub(now), nil
}

// Epochs implements Node.
func (n *MemoryNode) Epochs(context.Context) ([]retention.Epoch, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.down != nil {
		return nil, n.down
	}
	var epochs []retention.Epoch
	for epoch := range n.epochs {
		if n.living(epoch) != nil {
			epochs = append(epochs, epoch)
		}
	}
	return epochs, nil
}

// Destroy implements Node.
func (n *MemoryNode) Destroy(_ context.Context, epoch retention.Epoch, _ time.Duration) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.down != nil {
		return n.down
	}
	delete(n.epochs, epoch)
	if mark, marked := n.marks[lineOf(epoch)]; !marked || mark < epoch.Start {
		n.marks[lineOf(epoch)] = epoch.Start
	}
	return nil
}

func (n *MemoryNode) living(epoch retention.Epoch) *memoryEpoch {
	e := n.epochs[epoch]
	if e != nil && !time.Now().Before(e.deadline) {
		delete(n.epochs, epoch)
		return nil
	}
	return e
}
