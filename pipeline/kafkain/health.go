package kafkain

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
)

var errNotMember = errors.New("not a member of the consumer group yet")

// subject is what can fail: joining the group, asking for metadata, fetching one partition.
type subject struct {
	operation string // "join", "metadata" or "fetch"
	partition Partition
}

// health knows what fails now. It logs an outage when it begins, once in a
// while when it lasts, and when it is over: many partitions fail as one.
type health struct {
	log     *zap.Logger
	metrics *metrics

	mutex    sync.Mutex // guards all below, so that a line is logged once whoever fails first
	remind   time.Duration
	member   bool
	failing  map[subject]error
	since    time.Time // the beginning of the outage under way
	reminded time.Time
	missing  string // topics that do not exist, as last logged
	asked    time.Time
}

func newHealth(log *zap.Logger, metrics *metrics) *health {
	return &health{log: log, metrics: metrics, remind: defaultTiming().remind, failing: map[subject]error{}}
}

func (h *health) fails(s subject, err error) {
	h.metrics.failures.WithLabelValues(s.operation).Inc()
	h.mutex.Lock()
	defer h.mutex.Unlock()
	now := time.Now()
	if len(h.failing) == 0 {
		h.since, h.reminded = now, time.Time{}
	}
	h.failing[s] = err
	if now.Sub(h.reminded) < h.remind {
		return
	}
	h.reminded = now
	fields := []zap.Field{zap.String("operation", s.operation), zap.Duration("for", now.Sub(h.since)), zap.Error(err)}
	switch {
	case s.operation == "fetch":
		fields = append(fields, zap.String("topic", s.partition.Topic), zap.Int32("partition", s.partition.Number))
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		fields = append(fields, zap.String("hint", "a wrong SASL password or a broker that expects TLS looks like this"))
	}
	h.log.Warn("kafka does not work: retrying", fields...)
}

func (h *health) works(s subject) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	if _, failed := h.failing[s]; !failed {
		return
	}
	delete(h.failing, s)
	h.recovered()
}

func (h *health) recovered() {
	if len(h.failing) == 0 {
		h.log.Info("kafka works again", zap.Duration("outage", time.Since(h.since)))
	}
}

// joined begins a generation: what failed in the last one is judged anew.
func (h *health) joined() {
	h.metrics.member.Set(1)
	h.mutex.Lock()
	defer h.mutex.Unlock()
	h.member = true
	if len(h.failing) > 0 {
		clear(h.failing)
		h.recovered()
	}
}

func (h *health) left() {
	h.metrics.member.Set(0)
	h.mutex.Lock()
	defer h.mutex.Unlock()
	h.member = false
}

// topicsMissing warns about topics that do not exist, again when they change or time has passed.
func (h *health) topicsMissing(topics []string) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	names, now := strings.Join(topics, " "), time.Now()
	if names == h.missing && (names == "" || now.Sub(h.asked) < h.remind) {
		return
	}
	h.missing, h.asked = names, now
	if names == "" {
		h.log.Info("all topics exist now")
		return
	}
	h.log.Warn("waiting for kafka topics that do not exist", zap.Strings("topics", topics))
}

func (h *health) ready() error {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	for s, err := range h.failing {
		if s.operation == "fetch" {
			return fmt.Errorf("kafka: fetching topic %s partition %d: %w", s.partition.Topic, s.partition.Number, err)
		}
		return fmt.Errorf("kafka: %s: %w", s.operation, err)
	}
	if !h.member {
		if h.missing != "" {
			return fmt.Errorf("kafka: %w: topics that do not exist: %s", errNotMember, h.missing)
		}
		return fmt.Errorf("kafka: %w", errNotMember)
	}
	return nil
}

// without gives the names that found lacks, in the order of names.
func without(names []string, found map[string]topic) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		_, known := found[name]
		return known
	})
}
