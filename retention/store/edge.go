package store

import (
	"time"

	"mayfly/retention/keyring"
	"mayfly/retention/record"
	"mayfly/retention/seal"
	"mayfly/retention/tally"
)

// Edge seals records before they reach Kafka: it is to a producer what Writer
// is to ingest. It holds the epoch's public key and a frame key of its own, and
// can't read back. It is not for concurrent use.
type Edge struct {
	writer  *seal.Writer
	key     keyring.Public
	layout  layout
	encoder record.Encoder
	plan    plan
	payload []byte
}

// NewEdge encapsulates a frame key to an epoch key.
func NewEdge(key keyring.Public) (*Edge, error) {
	writer, err := seal.NewWriter(key.Epoch, key.ID, key.Key)
	if err != nil {
		return nil, err
	}
	return &Edge{writer: writer, key: key, layout: layoutOf(key)}, nil
}

// Key is the epoch key that e seals to.
func (e *Edge) Key() keyring.Public { return e.key }

// Shard is where the account view has an account. Under another epoch's key it
// is somewhere else.
func (e *Edge) Shard(account string) uint32 { return e.layout.shard([]byte(account)) }

// Seal appends a message after dst: the records, 1 to seal.MaxBatchEvents of the
// key's epoch, as one sealed batch. Their identities are set to their places in it.
func (e *Edge) Seal(dst []byte, records []record.Record) []byte {
	for i := range records {
		records[i].ID = record.ID{Offset: int64(i)}
	}
	batch := seal.Batch{Epoch: e.key.Epoch, Key: e.key.ID, Wrap: e.writer.Wrap(), Events: len(records)}
	all := &epochBatches{epoch: e.key.Epoch, batches: []Batch{{Records: records}}, records: len(records)}
	e.plan.make(e.layout, all)
	for shard := range e.key.Shards {
		if places := e.plan.rowsOf(shard); len(places) > 0 {
			e.payload = e.encoder.AppendRows(e.payload[:0], e.plan.rows, places)
			batch.Frames = append(batch.Frames, e.writer.Seal(seal.ByAddress.AtEdge(), shard, e.payload))
		}
	}
	for shard := range e.key.Shards {
		if mentions := e.plan.mentionsOf(shard); len(mentions) > 0 {
			e.payload = e.encoder.AppendMentions(e.payload[:0], mentions)
			batch.Frames = append(batch.Frames, e.writer.Seal(seal.ByAccount.AtEdge(), shard, e.payload))
		}
	}
	e.plan.forget()
	clear(e.payload[:cap(e.payload)])
	return batch.Append(dst)
}

// EdgeBatch is a batch that was sealed at the edge, as Kafka has it.
type EdgeBatch struct {
	seal.Batch
	ID record.ID // of its Kafka record
}

// Events is how many events a batch has, as far as is known.
func (b *Batch) Events() int {
	if b.Edge != nil {
		return b.Edge.Events
	}
	n := len(b.Records)
	for _, rows := range b.Rows {
		n += rows.Len()
	}
	return n
}

// living gives the batches with events that are not due, and erases the others.
func (s *Sealed) living(batches []Batch, now time.Time) (plain, edge []Batch) {
	plain = make([]Batch, 0, len(batches))
	for i := range batches {
		b := &batches[i]
		switch {
		case b.Wipe(now):
			s.Expired += b.Events()
			s.lose(b, tally.Counts{Expired: int64(b.Events())})
		case b.Edge != nil:
			edge = append(edge, *b)
		default:
			plain = append(plain, *b)
		}
	}
	return plain, edge
}
