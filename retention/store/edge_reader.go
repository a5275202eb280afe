package store

import (
	"context"
	"errors"
	"slices"
	"time"
	"unicode"
	"unicode/utf8"

	"mayfly/retention"
	"mayfly/retention/keyring"
	"mayfly/retention/record"
	"mayfly/retention/record/cold"
	"mayfly/retention/seal"
)

// openEdge opens the segments of a chunk and gives take each payload, with the
// identity of its Kafka record. A segment that does not open, and an event that
// ingest would have refused had it come plain, are left out and counted: what a
// producer has garbled was never written, and makes no answer incomplete;
// otherwise any producer could make all of them so. A batch that was replayed to
// other offsets counts once: where it was first, or as the generation has it.
func (s *search) openEdge(ctx context.Context, c *chunk, found *segments, take func(record.ID, []byte) error) error {
	seen := wraps{}
	if c.generation != nil {
		s.refuse(int(c.generation.head.Refused)) //nolint:gosec // as many as the generation's frames had
		if len(found.rows) == 0 {
			return nil
		}
		var err error
		seen, err = c.generation.wraps(ctx, s.store)
		if errors.Is(err, ErrDamaged) {
			c.missing = c.deadline.After(time.Now()) // what is hot may be a repeat
			return nil
		} else if err != nil {
			return err
		}
	}
	seen.note(found.wraps)
	slices.SortFunc(found.rows, func(a, b segmentRow) int { return a.id.Compare(b.id) })
	place := c.place
	place.View = place.View.AtEdge()
	for _, row := range found.rows {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		known := seen[row.wrap]
		if known == nil {
			s.incomplete() // the frame that had it is lost
			continue
		}
		frame, err := seal.ParseSegment(place, known.Writer, row.segment)
		if err == nil && known.Segments.Has(frame.Sequence) {
			continue
		}
		var payload []byte
		if err == nil {
			payload, err = s.openSegment(c.key, &frame, known)
		}
		if err == nil {
			err = take(row.id, payload)
		}
		clear(payload)
		if err != nil {
			s.refuse(1)
			continue
		}
		known.Segments.Add(frame.Sequence) // only what has opened: a forgery hides nothing
	}
	return nil
}

func (r *Reader) openSegment(key *keyring.Key, f *seal.Frame, by *cold.Wrap) ([]byte, error) {
	reader, err := r.keys.EdgeReader(key, seal.Wrap{Writer: by.Writer, Encapsulated: by.Encapsulated})
	if err != nil {
		return nil, err
	}
	return reader.Open(f)
}

// adopt gives the records of a segment the identity of their Kafka record, and
// drops those that are not what an edge may seal for the epoch.
func adopt(records []record.Record, id record.ID, epoch retention.Epoch) []record.Record {
	kept := records[:0]
	for i := range records {
		r := &records[i]
		if !sealable(r, epoch) {
			continue
		}
		index := uint32(r.ID.Offset) //nolint:gosec // sealable has bounded it
		r.ID = id
		r.ID.Index = index
		kept = append(kept, *r)
	}
	return kept
}

// The bounds of an event's strings, in bytes, as for plain events.
const (
	maxAccount = 128
	maxText    = 128
)

func sealable(r *record.Record, epoch retention.Epoch) bool {
	place := r.ID
	place.Offset = 0
	return place == record.ID{} && r.ID.Offset < seal.MaxBatchEvents &&
		r.Time >= epoch.Start && r.Time < epoch.Start+epoch.Length &&
		r.Ports.First <= r.Ports.Last &&
		r.Account != "" && text(r.Account, maxAccount) &&
		text(r.Event, maxText) && text(r.Session, maxText) && text(r.Server, maxText) &&
		text(r.Transport, maxText) && text(r.Client, maxText) && text(r.Outcome, maxText)
}

func text(s string, most int) bool {
	if len(s) > most || !utf8.ValidString(s) {
		return false
	}
	for _, c := range s {
		if unicode.IsControl(c) {
			return false
		}
	}
	return true
}

// refuse counts what was left out.
func (s *search) refuse(n int) {
	if n == 0 {
		return
	}
	s.Reader.refused.Add(uint64(n)) //nolint:gosec // not negative
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused += n
}

// Refused counts the segments that look-ups could not open, and the events in
// others that a producer may not seal; the same ones again for each look-up.
func (r *Reader) Refused() uint64 { return r.refused.Load() }
