// Package kafkain reads connection events from Kafka as one member of a
// consumer group. It is the only importer of kafka-go's consumer; only cmd
// imports it, to join it to the rest of the pipeline.
//
// Membership and commits are kafka-go's ConsumerGroup; reading is a fetch of
// raw record batches that this package checks and decodes itself, because
// kafka-go's readers hide the broker's append time, deliver transaction
// markers and aborted records, and skip lost offsets without a word.
//
// Its invariant: a partition's batches continue each other without a hole.
// Each batch begins where the last one's Next said; offsets that hold no
// record any more are counted in Gap, and a record reaches the Handler only if
// its batch's checksum held and its transaction, if any, was committed.
package kafkain

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/segmentio/kafka-go"
	"go.uber.org/zap"
)

// ErrGenerationEnded is returned by Commit once the partitions may belong to another member.
var ErrGenerationEnded = errors.New("the consumer group's generation has ended")

// Partition names a partition for good: a topic that was deleted and made
// anew has another ID. Brokers before Kafka 2.8 have no IDs; theirs is zero.
type Partition struct {
	Topic  string
	ID     [16]byte // the topic's UUID
	Number int32
}

// Record is one message.
type Record struct {
	Offset int64
	// Stamp is in Unix milliseconds: the broker's append time where the batch
	// says AppendTime, else the producer's claim.
	Stamp int64
	// Value is nil for a tombstone. It is valid until Handle returns.
	Value []byte
}

// Batch is what one fetch brought of one partition, or a part of it. It may
// hold no records: markers and aborted records also move Next.
type Batch struct {
	Partition  Partition
	AppendTime bool     // the stamps are the broker's (topic config LogAppendTime)
	Records    []Record // in offset order
	Next       int64    // the offset at which reading goes on: what to commit once this batch is stored
	// Gap counts the offsets between the previous batch's Next and this one's
	// that have vanished: deleted before they were read, compacted away, or
	// inside a batch that can't be decoded.
	Gap           int64
	HighWatermark int64 // one past the last offset that the partition's replicas have
	Bytes         int   // size on the wire
}

// Handler takes the batches. An error that it returns while its context is
// alive ends Run with that error: what may pass, a Handler retries itself.
type Handler interface {
	// Assigned comes first in a generation, before any Handle.
	Assigned(ctx context.Context, g Generation) error
	// Handle takes the next batch of one partition. Each partition calls from a
	// goroutine of its own, one batch at a time, and blocking is the
	// back-pressure; it returns soon after ctx is done. It must not keep b or
	// anything in it.
	Handle(ctx context.Context, b *Batch) error
	// Revoked comes once for each Assigned, after the last Handle of its
	// generation has returned: the last chance to store and commit. Its ctx
	// outlives the generation by a drain timeout. An error is only logged:
	// what was not committed is read again.
	Revoked(ctx context.Context) error
}

// Generation is a span of time in which the assignment of partitions is
// fixed. Its methods may be called from any goroutine.
type Generation interface {
	// Partitions gives the assigned partitions with the offset that each is read from.
	Partitions() map[Partition]int64
	// Commit makes the offsets (each one past the last stored record) the
	// group's own. It is refused when the partitions have moved to another member.
	Commit(offsets map[Partition]int64) error
	// Rewind ends this generation, so that everything is read again from the
	// committed offsets. Revoked follows, as after any generation.
	Rewind()
}

// Dependencies are what a Consumer is given.
type Dependencies struct {
	Log        *zap.Logger           // nil: no log
	Registerer prometheus.Registerer // nil: metrics are kept but not exposed
}

// Consumer is one member of a consumer group.
type Consumer struct {
	config   Config
	security security
	timing   timing
	log      *zap.Logger
	metrics  *metrics
	health   *health
}

// timing holds the spans that only tests change.
type timing struct {
	session    time.Duration // without a heartbeat for this long, the broker gives the partitions to others
	heartbeat  time.Duration
	drain      time.Duration // for Revoked; heartbeats pause meanwhile, so shorter than session
	watch      time.Duration // between looks at topics: new partitions, deleted and re-created topics
	remind     time.Duration // between log lines about one lasting outage
	backoff    time.Duration // before the first retry; doubles
	backoffMax time.Duration
}

func defaultTiming() timing {
	return timing{
		session: 30 * time.Second, heartbeat: 3 * time.Second, drain: 15 * time.Second,
		watch: 5 * time.Second, remind: 30 * time.Second,
		backoff: 100 * time.Millisecond, backoffMax: 5 * time.Second,
	}
}

// New checks the configuration and reads the files it names; it connects to nothing.
func New(config Config, deps Dependencies) (*Consumer, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	security, err := newSecurity(config)
	if err != nil {
		return nil, err
	}
	metrics, err := newMetrics(deps.Registerer)
	if err != nil {
		return nil, fmt.Errorf("registering metrics: %w", err)
	}
	log := deps.Log
	if log == nil {
		log = zap.NewNop()
	}
	consumer := &Consumer{config: config, security: security, timing: defaultTiming(), log: log, metrics: metrics}
	consumer.health = newHealth(log, metrics)
	return consumer, nil
}

// Run reads until ctx is done, then lets the Handler finish, leaves the group
// and returns nil. A Kafka that is away, at the start or later, is waited for.
// The only other end is an error of the Handler. Run is called once.
func (c *Consumer) Run(ctx context.Context, h Handler) error {
	admin, err := newAdmin(c.config, c.security)
	if err != nil {
		return fmt.Errorf("making the admin client: %w", err)
	}
	defer admin.close()
	transport := &kafka.Transport{
		Dial: c.security.dialForgetful, DialTimeout: dialTimeout, MetadataTTL: metadataTTL, // TLS, too
		MetadataTopics: c.config.Topics, ClientID: clientID, SASL: c.security.kafkaGo(),
	}
	defer transport.CloseIdleConnections()

	member := &member{Consumer: c, admin: admin, transport: transport, handler: h}
	for ctx.Err() == nil {
		topics := member.awaitTopics(ctx)
		if err := member.session(ctx, topics); err != nil && !errors.Is(err, errTopicsChanged) {
			return err
		}
	}
	return nil
}

// Ready is nil when the consumer is a member of its group and fetching works; else it says what is wrong.
func (c *Consumer) Ready() error { return c.health.ready() }
