package store

import (
	"context"
	"maps"
	"sync"
	"time"

	"mayfly/retention"
	"mayfly/retention/keyring"
	"mayfly/retention/seal"
)

// Memory is a Store in this process, for tests.
type Memory struct {
	mu          sync.Mutex // guards the maps: each method is atomic
	chunks      map[seal.Place]*memoryChunk
	directories map[retention.Epoch]*memoryDirectory
	cold        map[seal.Place]*memoryGenerations
}

type memoryChunk struct {
	deadline time.Time
	frames   []seal.Frame
}

type memoryDirectory struct {
	deadline  time.Time
	keys      map[seal.KeyID]uint32
	successor bool
	manifests map[seal.WriterID]seal.Frame
}

// NewMemory makes an empty store.
func NewMemory() *Memory {
	return &Memory{
		chunks: map[seal.Place]*memoryChunk{}, directories: map[retention.Epoch]*memoryDirectory{},
		cold: map[seal.Place]*memoryGenerations{},
	}
}

// Open implements Store.
func (m *Memory) Open(_ context.Context, key keyring.Public) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if d := m.directory(key.Epoch, key.Deadline); d != nil {
		d.keys[key.ID] = key.Shards
		d.successor = d.successor || key.Successor
	}
	return nil
}

// Append implements Store.
func (m *Memory) Append(_ context.Context, deadline time.Time, frames []seal.Frame, manifest seal.Frame) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.expire()
	if !time.Now().Before(deadline) {
		return nil
	}
	for _, f := range frames {
		c := m.chunks[f.Place]
		if c == nil {
			c = &memoryChunk{deadline: deadline}
			m.chunks[f.Place] = c
		}
		c.deadline = earlier(c.deadline, deadline)
		c.frames = append(c.frames, f)
	}
	m.directory(manifest.Place.Epoch, deadline).manifests[manifest.Writer] = manifest
	return nil
}

// Directories implements Store.
func (m *Memory) Directories(_ context.Context, epochs []retention.Epoch) ([]Directory, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.expire()
	found := make([]Directory, len(epochs))
	for i, epoch := range epochs {
		if d := m.directories[epoch]; d != nil {
			found[i].Keys, found[i].Successor = maps.Clone(d.keys), d.successor
			for _, manifest := range d.manifests {
				found[i].Manifests = append(found[i].Manifests, manifest)
			}
		}
	}
	return found, nil
}

// Chunks implements Store.
func (m *Memory) Chunks(_ context.Context, places []seal.Place) ([]Chunk, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.expire()
	found := make([]Chunk, len(places))
	for i, place := range places {
		if c := m.chunks[place]; c != nil {
			found[i].Frames = append(found[i].Frames, c.frames...)
		}
		if g := m.cold[place]; g != nil {
			found[i].Head = g.head
		}
	}
	return found, nil
}

// Shorten implements Store.
func (m *Memory) Shorten(_ context.Context, key keyring.Public, deadline time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for place, c := range m.chunks {
		if place.Epoch == key.Epoch && place.Key == key.ID {
			c.deadline = earlier(c.deadline, deadline)
		}
	}
	for place, g := range m.cold {
		if place.Epoch == key.Epoch && place.Key == key.ID {
			g.deadline = earlier(g.deadline, deadline)
		}
	}
	if d := m.directories[key.Epoch]; d != nil {
		d.deadline = earlier(d.deadline, deadline)
	}
	return nil
}

// Unlink implements Store.
func (m *Memory) Unlink(_ context.Context, epoch retention.Epoch, _ []keyring.Public) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.directories, epoch)
	maps.DeleteFunc(m.chunks, func(p seal.Place, _ *memoryChunk) bool { return p.Epoch == epoch })
	maps.DeleteFunc(m.cold, func(p seal.Place, _ *memoryGenerations) bool { return p.Epoch == epoch })
	return nil
}

// Check implements Store.
func (m *Memory) Check(context.Context) (Health, error) { return Health{Identity: "memory"}, nil }

// Drop loses the chunk at place, as an eviction would.
func (m *Memory) Drop(place seal.Place) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.chunks, place)
}

func (m *Memory) directory(epoch retention.Epoch, deadline time.Time) *memoryDirectory {
	d := m.directories[epoch]
	if d == nil {
		d = &memoryDirectory{deadline: deadline, keys: map[seal.KeyID]uint32{}, manifests: map[seal.WriterID]seal.Frame{}}
		m.directories[epoch] = d
	}
	d.deadline = earlier(d.deadline, deadline)
	return d
}

func (m *Memory) expire() {
	now := time.Now()
	maps.DeleteFunc(m.chunks, func(_ seal.Place, c *memoryChunk) bool { return !now.Before(c.deadline) })
	maps.DeleteFunc(m.cold, func(_ seal.Place, g *memoryGenerations) bool { return !now.Before(g.deadline) })
	maps.DeleteFunc(m.directories, func(_ retention.Epoch, d *memoryDirectory) bool { return !now.Before(d.deadline) })
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
