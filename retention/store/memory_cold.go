package store

import (
	"bytes"
	"context"
	"slices"
	"time"

	"mayfly/retention/keyring"
	"mayfly/retention/seal"
)

type memoryGenerations struct {
	deadline time.Time
	head     Head
	blocks   map[uint64]map[string][]byte // by generation and name
	claimed  uint64
	owner    string
	until    time.Time
}

// Blocks implements Store.
func (m *Memory) Blocks(_ context.Context, refs []BlockRef) ([][]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.expire()
	blocks := make([][]byte, len(refs))
	for i, ref := range refs {
		if g := m.cold[ref.Place]; g != nil {
			blocks[i] = g.blocks[ref.Generation][ref.Name]
		}
	}
	return blocks, nil
}

// Claim implements Store.
func (m *Memory) Claim(_ context.Context, place seal.Place, deadline time.Time, owner string) (Claim, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.expire()
	now := time.Now()
	if !now.Before(deadline) {
		return Claim{}, keyring.ErrDestroyed
	}
	g := m.cold[place]
	if g == nil {
		g = &memoryGenerations{deadline: deadline, blocks: map[uint64]map[string][]byte{}}
		m.cold[place] = g
	}
	if g.owner != owner && now.Before(g.until) {
		return Claim{}, ErrClaimed
	}
	g.deadline = earlier(g.deadline, deadline)
	g.claimed++
	g.owner, g.until = owner, now.Add(lease)
	return Claim{Place: place, Deadline: deadline, Owner: owner, Generation: g.claimed}, nil
}

// claimedBy gives the generations of a claim that still holds.
func (m *Memory) claimedBy(claim Claim) (*memoryGenerations, error) {
	m.expire()
	g := m.cold[claim.Place]
	switch {
	case !time.Now().Before(claim.Deadline):
		return nil, keyring.ErrDestroyed
	case g == nil || g.claimed != claim.Generation || g.owner != claim.Owner:
		return nil, ErrClaimed
	}
	return g, nil
}

// Put implements Store.
func (m *Memory) Put(_ context.Context, claim Claim, blocks []Block) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	g, err := m.claimedBy(claim)
	if err != nil {
		return err
	}
	if g.blocks[claim.Generation] == nil {
		g.blocks[claim.Generation] = map[string][]byte{}
	}
	for _, b := range blocks {
		g.blocks[claim.Generation][b.Name] = b.Bytes
	}
	g.until = time.Now().Add(lease)
	return nil
}

// Flip implements Store.
func (m *Memory) Flip(_ context.Context, claim Claim, head []byte, names []string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	g, err := m.claimedBy(claim)
	if err != nil {
		return err
	}
	for _, name := range names {
		if g.blocks[claim.Generation][name] == nil {
			return errBlockMissing
		}
	}
	g.head = Head{Generation: claim.Generation, Bytes: head}
	g.until = time.Time{}
	return nil
}

// Release implements Store.
func (m *Memory) Release(_ context.Context, claim Claim) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	g, err := m.claimedBy(claim)
	if err == nil {
		g.until = time.Time{}
	}
	return err
}

// Tidy implements Store.
func (m *Memory) Tidy(_ context.Context, place seal.Place, current Head) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	g := m.cold[place]
	if !g.has(current) {
		return ErrClaimed
	}
	for generation := range g.blocks {
		if generation < current.Generation {
			delete(g.blocks, generation)
		}
	}
	return nil
}

// has reports whether a head is the current one.
func (g *memoryGenerations) has(h Head) bool {
	return g != nil && g.head.Generation == h.Generation && bytes.Equal(g.head.Bytes, h.Bytes)
}

// Frames implements Store.
func (m *Memory) Frames(ctx context.Context, place seal.Place, from, n int) (Chunk, error) {
	chunks, err := m.Chunks(ctx, []seal.Place{place})
	c := chunks[0]
	c.Frames = c.Frames[min(from, len(c.Frames)):min(from+n, len(c.Frames))]
	return c, err
}

// Remove implements Store.
func (m *Memory) Remove(_ context.Context, place seal.Place, current Head, covered map[seal.WriterID]uint64) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.cold[place].has(current) {
		return 0, ErrClaimed
	}
	c := m.chunks[place]
	if c == nil {
		return 0, nil
	}
	c.frames = slices.DeleteFunc(slices.Clone(c.frames), func(f seal.Frame) bool { return f.Sequence > 0 && f.Sequence <= covered[f.Writer] })
	if len(c.frames) == 0 {
		delete(m.chunks, place) // as Redis does with an empty list
	}
	return len(c.frames), nil
}

// DropCold loses the generations of a place, as an eviction would.
func (m *Memory) DropCold(place seal.Place) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.cold, place)
}

// DropBlocks loses the blocks of a place's current generation, and leaves its head.
func (m *Memory) DropBlocks(place seal.Place) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if g := m.cold[place]; g != nil {
		delete(g.blocks, g.head.Generation)
	}
}
