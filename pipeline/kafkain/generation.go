package kafkain

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
)

// generation is the Generation that a Handler sees.
type generation struct {
	group   *kafka.Generation
	metrics *metrics
	start   map[Partition]int64
	end     context.CancelFunc
	over    atomic.Bool
}

func (g *generation) Partitions() map[Partition]int64 { return maps.Clone(g.start) }

func (g *generation) Rewind() { g.end() }

func (g *generation) Commit(offsets map[Partition]int64) error {
	if g.over.Load() {
		return ErrGenerationEnded
	}
	topics := make(map[string]map[int]int64)
	for partition, offset := range offsets {
		if _, ours := g.start[partition]; !ours {
			return fmt.Errorf("committing offsets: topic %s partition %d is not assigned", partition.Topic, partition.Number)
		}
		if topics[partition.Topic] == nil {
			topics[partition.Topic] = make(map[int]int64)
		}
		topics[partition.Topic][int(partition.Number)] = offset
	}
	if err := g.group.CommitOffsets(topics); err != nil {
		g.metrics.commits.WithLabelValues("error").Inc()
		if errors.Is(err, kafka.IllegalGeneration) || errors.Is(err, kafka.UnknownMemberId) {
			return fmt.Errorf("committing offsets: %w", ErrGenerationEnded)
		}
		return fmt.Errorf("committing offsets: %w", err)
	}
	g.metrics.commits.WithLabelValues("ok").Inc()
	return nil
}

// runGeneration calls the Handler from Assigned to Revoked. life is done when
// kafka-go sees the generation end; an error ends the session too.
func (m *member) runGeneration(parent, life context.Context, joined *kafka.Generation, topics map[string]topic) error {
	ctx, cancel := context.WithCancel(parent)
	defer cancel()
	defer context.AfterFunc(life, cancel)()

	start, err := m.locate(ctx, joined.Assignments, topics)
	if err != nil || ctx.Err() != nil {
		return m.verdict(ctx, err)
	}
	g := &generation{group: joined, metrics: m.metrics, start: start, end: cancel}
	m.metrics.generations.Inc()
	m.metrics.assigned.Set(float64(len(start)))
	m.health.joined()
	m.log.Info("partitions assigned", zap.Int32("generation", joined.ID), zap.Int("partitions", len(start)))

	err = m.read(ctx, g, topics)
	ended := m.verdict(ctx, err)
	m.health.left()
	m.metrics.assigned.Set(0)
	m.revoke(ctx, g, joined.ID)
	return ended
}

// verdict tells what an error means to the session. Once ctx is done, errors are its echo.
func (m *member) verdict(ctx context.Context, err error) error {
	if errors.Is(err, errTopicsChanged) {
		return errTopicsChanged
	}
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// read hands over the partitions and their batches until the generation ends.
func (m *member) read(ctx context.Context, g *generation, topics map[string]topic) error {
	if err := m.handler.Assigned(ctx, g); err != nil {
		return fmt.Errorf("taking over partitions: %w", err)
	}
	loops, loopCtx := errgroup.WithContext(ctx)
	loops.Go(func() error { return m.watch(loopCtx, topics) })
	for partition, offset := range g.start {
		r := newReader(m, partition, offset)
		r.fetcher.bytes = shareOf(m.config.FetchBytes, len(g.start))
		loops.Go(r.run(loopCtx))
	}
	return loops.Wait()
}

// revoke lets the Handler store and commit what it has taken.
func (m *member) revoke(ctx context.Context, g *generation, id int32) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), m.timing.drain)
	defer cancel()
	if err := m.handler.Revoked(ctx); err != nil {
		m.log.Warn("finishing a generation failed: its last records are read again", zap.Int32("generation", id), zap.Error(err))
	}
	g.over.Store(true)
	m.log.Info("partitions revoked", zap.Int32("generation", id))
}

// locate gives the assigned partitions their topic's ID and the offset to start at: the
// committed one, else the earliest. It asks again until it knows or ctx is done.
func (m *member) locate(ctx context.Context, assigned map[string][]kafka.PartitionAssignment, topics map[string]topic) (map[Partition]int64, error) {
	retry := m.timing.newBackoff()
	for ctx.Err() == nil {
		start, err := m.locateOnce(ctx, assigned, topics)
		if err == nil || errors.Is(err, errTopicsChanged) {
			return start, err
		}
		if ctx.Err() == nil {
			m.health.fails(subject{operation: "metadata"}, err)
		}
		retry.sleep(ctx)
	}
	return nil, nil
}

func (m *member) locateOnce(ctx context.Context, assigned map[string][]kafka.PartitionAssignment, topics map[string]topic) (map[Partition]int64, error) {
	// The offsets were fetched for the topics as they are now, which may no
	// longer be those that the session was made for.
	now, err := m.admin.topics(ctx, m.config.Topics...)
	if err != nil {
		return nil, err
	}
	if !maps.Equal(now, topics) {
		return nil, errTopicsChanged
	}
	start := make(map[Partition]int64)
	for name, partitions := range assigned {
		for _, p := range partitions {
			partition := Partition{Topic: name, ID: topics[name].id, Number: int32(p.ID)}
			if start[partition] = p.Offset; p.Offset >= 0 {
				continue
			}
			if start[partition], err = m.admin.logStart(ctx, name, partition.Number); err != nil {
				return nil, err
			}
		}
	}
	return start, nil
}

// watch ends the session when a topic comes, goes, is made anew or gets partitions.
func (m *member) watch(ctx context.Context, topics map[string]topic) error {
	ticker := time.NewTicker(m.timing.watch)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		now, err := m.admin.topics(ctx, m.config.Topics...)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			m.health.fails(subject{operation: "metadata"}, err)
			continue
		}
		m.health.works(subject{operation: "metadata"})
		m.health.topicsMissing(without(m.config.Topics, now))
		if !maps.Equal(now, topics) {
			m.log.Info("topics have changed: joining again")
			return errTopicsChanged
		}
	}
}
