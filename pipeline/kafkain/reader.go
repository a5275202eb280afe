package kafkain

import (
	"context"
	"errors"
	"fmt"

	"github.com/segmentio/kafka-go"
	"go.uber.org/zap"
)

// reader reads one partition for one generation.
type reader struct {
	*member
	partition Partition
	offset    int64 // where reading goes on
	lag       int64 // as counted in the metric
	fetcher   fetcher
	decoder   decoder
	counts    topicMetrics
	// doubtful: a fetch has failed since the topic was last known to be the
	// one of the partition's ID. A fetch names the topic only, so its answer
	// could come from another topic of that name.
	doubtful bool
	caughtUp bool // the latest fetch reached the end of the log
}

func newReader(m *member, p Partition, offset int64) *reader {
	r := &reader{
		member: m, partition: p, offset: offset,
		fetcher: newFetcher(m.config, m.transport), counts: m.metrics.topic(p.Topic),
	}
	r.decoder = decoder{uncommitted: m.config.Uncommitted, limit: handOver, refused: r.refuse}
	return r
}

var errNoProgress = errors.New("fetching: the answer has nothing from the offset on")

// handlerError is an error of the Handler: the only one that ends Run.
type handlerError struct{ error }

func (e handlerError) Unwrap() error { return e.error }

// run returns the loop that reads until ctx is done. Faults of Kafka do not end it.
func (r *reader) run(ctx context.Context) func() error {
	return func() error {
		defer r.setLag(0)
		retry := r.timing.newBackoff()
		for ctx.Err() == nil {
			err := r.step(ctx)
			var fatal handlerError
			switch {
			case ctx.Err() != nil:
				return nil
			case err == nil:
				retry.reset()
				r.health.works(r.subject())
			case errors.As(err, &fatal), errors.Is(err, errTopicsChanged):
				return err
			default:
				r.doubtful = true
				r.health.fails(r.subject(), err)
				retry.sleep(ctx)
			}
		}
		return nil
	}
}

func (r *reader) subject() subject { return subject{operation: "fetch", partition: r.partition} }

// step is one fetch and what it brings.
func (r *reader) step(ctx context.Context) error {
	if r.doubtful {
		if err := r.identify(ctx); err != nil {
			return err
		}
	}
	fetched, err := r.fetcher.fetch(ctx, r.partition.Topic, r.partition.Number, r.offset, r.least())
	if err != nil {
		return err
	}
	defer fetched.Records.release()
	r.counts.fetches.Inc()
	switch code := kafka.Error(fetched.ErrorCode); code {
	case 0:
	case kafka.OffsetOutOfRange:
		return r.relocate(ctx)
	default:
		return fmt.Errorf("fetching: %w", code)
	}
	from := r.offset
	err = r.decoder.decode(fetched.Records.bytes(), r.offset, fetched.Aborted, func(b *Batch) error {
		b.HighWatermark = fetched.HighWatermark
		return r.deliver(ctx, b)
	})
	if errors.Is(err, errCorrupt) {
		r.counts.corrupt.Inc()
	}
	r.setLag(max(0, fetched.HighWatermark-r.offset))
	r.caughtUp = r.offset >= fetched.HighWatermark
	if err == nil && r.offset == from && len(fetched.Records.bytes()) > 0 {
		return errNoProgress // asking again at once would spin
	}
	return err
}

// least is how many bytes are worth a fetch. Who is behind takes what there is; who follows waits,
// at most FetchWait, for half of what fits: a fetch costs 0.1 ms of CPU, however little it
// brings. Of 8 partitions, to which a producer sent every 20 ms, 1,000 events a second took 3.4 % of a core
// without this, and 0.6 % with it; 174,000 took 1.25 µs an event, and 1.1.
func (r *reader) least() int {
	if r.caughtUp {
		return r.fetcher.bytes / 2
	}
	return 1
}

// identify makes sure that the topic is still the one that the partition belongs to.
func (r *reader) identify(ctx context.Context) error {
	found, err := r.admin.topics(ctx, r.partition.Topic)
	if err != nil {
		return err
	}
	now, exists := found[r.partition.Topic]
	if !exists || now.id != r.partition.ID {
		return errTopicsChanged
	}
	r.doubtful = false
	return nil
}

// relocate goes on at the log start: the broker has no record at the offset.
func (r *reader) relocate(ctx context.Context) error {
	if err := r.identify(ctx); err != nil {
		return err
	}
	start, err := r.admin.logStart(ctx, r.partition.Topic, r.partition.Number)
	if err != nil {
		return err
	}
	r.log.Warn("the offset to read is gone: going on at the start of the log", zap.String("topic", r.partition.Topic),
		zap.Int32("partition", r.partition.Number), zap.Int64("offset", r.offset), zap.Int64("start", start))
	// A log that ends before the offset has lost its end: what it has is read again, nothing counts as skipped.
	return r.deliver(ctx, &Batch{Next: start, Gap: max(0, start-r.offset), HighWatermark: start})
}

// deliver hands a batch over and moves on.
func (r *reader) deliver(ctx context.Context, b *Batch) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	b.Partition = r.partition
	next, records, bytes, gap := b.Next, len(b.Records), b.Bytes, b.Gap
	if err := r.handler.Handle(ctx, b); err != nil {
		return handlerError{fmt.Errorf("handling a batch: %w", err)}
	}
	r.offset = next
	r.counts.records.Add(float64(records))
	r.counts.bytes.Add(float64(bytes))
	r.counts.skipped.Add(float64(gap))
	return nil
}

// refuse is told of a batch that nobody can decode.
func (r *reader) refuse(reason error) {
	word := "malformed"
	switch {
	case errors.Is(reason, errCodec):
		word = "codec"
	case errors.Is(reason, errTooLarge):
		word = "too_large"
	case errors.Is(reason, errBroken):
		word = "compression"
	}
	r.metrics.refused.WithLabelValues(r.partition.Topic, word).Inc()
	r.log.Warn("a record batch is intact but can't be decoded: skipping it", zap.String("topic", r.partition.Topic),
		zap.Int32("partition", r.partition.Number), zap.String("reason", word))
}

// setLag moves the topic's gauge, to which all its partitions add.
func (r *reader) setLag(lag int64) {
	r.counts.lag.Add(float64(lag - r.lag))
	r.lag = lag
}
