package kafkain

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

const (
	// fetchGrace is how much later than FetchWait an answer may come before the connection is given up.
	fetchGrace = 10 * time.Second
	// fetchedAtOnce is about the most bytes that all partitions of a process hold of what
	// was fetched, unless their batches are larger: what Redis does not take stays in Kafka.
	fetchedAtOnce = 32 << 20
	// metadataTTL bounds how long fetches go to a partition's former leader.
	metadataTTL = 3 * time.Second
	// maxRecordSet is more than any broker sends: FetchBytes, or one larger batch.
	maxRecordSet = 512 << 20
	// setStep is how far a buffer grows ahead of the bytes that have arrived,
	// so that a length that lies costs no memory.
	setStep = 1 << 20
)

var errOtherPartition = errors.New("fetching: the answer is not about the partition asked for")

// These types replace, for the whole program, those behind kafka-go's
// Client.Fetch, which is not used: theirs decode record batches, ours take the bytes.
func init() { protocol.Register(&fetchRequest{}, &fetchResponse{}) }

// fetchRequest is Kafka's Fetch request, version 11 (KIP-392), without a fetch session.
type fetchRequest struct {
	ReplicaID      int32            `kafka:"min=v11,max=v11"`
	MaxWait        int32            `kafka:"min=v11,max=v11"` // ms
	MinBytes       int32            `kafka:"min=v11,max=v11"`
	MaxBytes       int32            `kafka:"min=v11,max=v11"`
	IsolationLevel int8             `kafka:"min=v11,max=v11"` // 1: read committed
	SessionID      int32            `kafka:"min=v11,max=v11"`
	SessionEpoch   int32            `kafka:"min=v11,max=v11"`
	Topics         []fetchTopic     `kafka:"min=v11,max=v11"`
	Forgotten      []forgottenTopic `kafka:"min=v11,max=v11"`
	Rack           string           `kafka:"min=v11,max=v11"`
}

type fetchTopic struct {
	Topic      string           `kafka:"min=v11,max=v11"`
	Partitions []fetchPartition `kafka:"min=v11,max=v11"`
}

type fetchPartition struct {
	Partition   int32 `kafka:"min=v11,max=v11"`
	LeaderEpoch int32 `kafka:"min=v11,max=v11"`
	Offset      int64 `kafka:"min=v11,max=v11"`
	LogStart    int64 `kafka:"min=v11,max=v11"`
	MaxBytes    int32 `kafka:"min=v11,max=v11"`
}

type forgottenTopic struct {
	Topic      string  `kafka:"min=v11,max=v11"`
	Partitions []int32 `kafka:"min=v11,max=v11"`
}

type fetchResponse struct {
	Throttle  int32          `kafka:"min=v11,max=v11"` // ms
	ErrorCode int16          `kafka:"min=v11,max=v11"`
	SessionID int32          `kafka:"min=v11,max=v11"`
	Topics    []fetchedTopic `kafka:"min=v11,max=v11"`
}

type fetchedTopic struct {
	Topic      string             `kafka:"min=v11,max=v11"`
	Partitions []fetchedPartition `kafka:"min=v11,max=v11"`
}

type fetchedPartition struct {
	Partition        int32                `kafka:"min=v11,max=v11"`
	ErrorCode        int16                `kafka:"min=v11,max=v11"`
	HighWatermark    int64                `kafka:"min=v11,max=v11"`
	LastStable       int64                `kafka:"min=v11,max=v11"`
	LogStart         int64                `kafka:"min=v11,max=v11"`
	Aborted          []abortedTransaction `kafka:"min=v11,max=v11"`
	PreferredReplica int32                `kafka:"min=v11,max=v11"`
	Records          recordSet            `kafka:"min=v11,max=v11"`
}

// abortedTransaction says that what the producer wrote from FirstOffset on, up to its next marker, is void.
type abortedTransaction struct {
	Producer    int64 `kafka:"min=v11,max=v11"`
	FirstOffset int64 `kafka:"min=v11,max=v11"`
}

func (*fetchRequest) ApiKey() protocol.ApiKey  { return protocol.Fetch }
func (*fetchResponse) ApiKey() protocol.ApiKey { return protocol.Fetch }

// Broker routes the request to the partition's leader.
func (r *fetchRequest) Broker(cluster protocol.Cluster) (protocol.Broker, error) {
	topic, number := r.Topics[0].Topic, r.Topics[0].Partitions[0].Partition
	partition, known := cluster.Topics[topic].Partitions[number]
	if !known {
		return protocol.Broker{}, kafka.UnknownTopicOrPartition
	}
	broker, known := cluster.Brokers[partition.Leader]
	if !known {
		return protocol.Broker{}, kafka.LeaderNotAvailable
	}
	return broker, nil
}

// recordSet holds a partition's record batches as they came. Its buffer is
// taken from setBuffers; who has no more use for it calls release.
type recordSet struct{ buffer *[]byte }

var setBuffers = sync.Pool{New: func() any { return new([]byte) }}

// ReadFrom reads a length and as many bytes. kafka-go's protocol decoder calls it.
func (s *recordSet) ReadFrom(r io.Reader) (int64, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, err
	}
	length := int(int32(binary.BigEndian.Uint32(head[:])))
	if length <= 0 { // -1: null
		return 4, nil
	}
	if length > maxRecordSet {
		return 4, errors.New("the broker announces more bytes than any fetch may bring")
	}
	buffer := setBuffers.Get().(*[]byte)
	set := (*buffer)[:0]
	for len(set) < length {
		from := len(set)
		if cap(set) == from {
			set = slices.Grow(set, min(length-from, max(setStep, from)))
		}
		set = set[:min(length, cap(set))]
		if _, err := io.ReadFull(r, set[from:]); err != nil {
			return int64(4 + from), err
		}
	}
	*buffer, s.buffer = set, buffer
	return int64(4 + length), nil
}

func (s *recordSet) bytes() []byte {
	if s.buffer == nil {
		return nil
	}
	return *s.buffer
}

// release erases the buffer and gives it to the next fetch, of whatever partition: messages
// have deadlines, buffers have none.
func (s *recordSet) release() {
	if s.buffer != nil {
		clear(*s.buffer)
		setBuffers.Put(s.buffer)
		s.buffer = nil
	}
}

// fetcher sends fetches over connections that all partitions share.
type fetcher struct {
	transport kafka.RoundTripper
	bootstrap net.Addr
	wait      time.Duration
	bytes     int
	isolation int8
}

// leastFetch is what is asked for at the least: the usual size of a producer's batch, of
// which one arrives in any case.
const leastFetch = 16 << 10

// shareOf is how much one of so many partitions may fetch at a time.
func shareOf(most, partitions int) int {
	return min(most, max(fetchedAtOnce/max(partitions, 1), leastFetch))
}

func newFetcher(c Config, transport kafka.RoundTripper) fetcher {
	f := fetcher{transport: transport, bootstrap: kafka.TCP(c.Brokers...), wait: c.FetchWait, bytes: c.FetchBytes, isolation: 1}
	if c.Uncommitted {
		f.isolation = 0
	}
	return f
}

// fetch asks for one partition's records from offset on. The broker answers at
// once when it has so many bytes of them, else after the wait.
func (f fetcher) fetch(ctx context.Context, topic string, number int32, offset int64, least int) (*fetchedPartition, error) {
	ctx, cancel := context.WithTimeout(ctx, f.wait+fetchGrace)
	defer cancel()
	answer, err := f.transport.RoundTrip(ctx, f.bootstrap, &fetchRequest{
		ReplicaID: -1, MaxWait: int32(f.wait / time.Millisecond), MinBytes: int32(least), MaxBytes: int32(f.bytes),
		IsolationLevel: f.isolation, SessionEpoch: -1,
		Topics: []fetchTopic{{Topic: topic, Partitions: []fetchPartition{{
			Partition: number, LeaderEpoch: -1, Offset: offset, LogStart: -1, MaxBytes: int32(f.bytes),
		}}}},
	})
	if err != nil {
		return nil, fmt.Errorf("fetching: %w", err)
	}
	response, ok := answer.(*fetchResponse)
	if !ok {
		return nil, fmt.Errorf("fetching: another package has registered its own Fetch response, %T", answer)
	}
	if response.ErrorCode != 0 {
		return nil, fmt.Errorf("fetching: %w", kafka.Error(response.ErrorCode))
	}
	if len(response.Topics) != 1 || len(response.Topics[0].Partitions) != 1 ||
		response.Topics[0].Topic != topic || response.Topics[0].Partitions[0].Partition != number {
		return nil, errOtherPartition
	}
	return &response.Topics[0].Partitions[0], nil
}
