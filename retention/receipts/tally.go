package receipts

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"errors"
	"slices"
	"time"

	"mayfly/retention/tally"
)

// Bounds of a tally.
const (
	MaxRanges = 256     // of all topics together
	MaxTopics = 16      //
	maxTopic  = 249     // bytes of a topic's name, as Kafka has it
	maxEvents = 1 << 40 // of one epoch
	maxOffset = 1 << 62
)

// Tally says what an epoch had held when it was last counted, before its deadline: what
// came later is not in it. Of the writers that crashed or that others took over from, each
// message counts once.
type Tally struct {
	Counted time.Time
	Stored  int64 // events
	// Rejected are messages that were no event, or one that nothing may keep, and
	// Expired events that came past their deadline. They belong to no epoch, or to one
	// that is over: they count for the epoch in which they came.
	Rejected int64
	Expired  int64
	Partial  bool    // there may be more: something that ingest said is lost
	Topics   []Topic // by name, then id
	Omitted  int64   // ranges that there was no room for
}

// Topic is the offsets that an epoch has of one topic.
type Topic struct {
	ID     string        // its UUID, 32 hexadecimal digits
	Name   string        // empty: not one that the warden knows
	Ranges []OffsetRange // by partition, then First
}

// OffsetRange is offsets that were read together, from the first message of the epoch
// to the last. Between two ranges of a partition nothing was read for it.
type OffsetRange struct{ Partition, First, Last int64 }

// NewTally is what a purge says of a sum.
func NewTally(sum *tally.Sum, counted time.Time) *Tally {
	t := &Tally{
		Counted: counted.UTC().Truncate(time.Millisecond),
		Stored:  min(sum.Stored, maxEvents), Rejected: min(sum.Rejected, maxEvents), Expired: min(sum.Expired, maxEvents),
		Partial: sum.Partial || max(sum.Stored, sum.Rejected, sum.Expired) > maxEvents,
	}
	room := MaxRanges
	for i := range sum.Topics {
		of := &sum.Topics[i]
		topic := Topic{ID: hex.EncodeToString(of.ID[:])}
		if validTopic(of.Name) {
			topic.Name = of.Name
		}
		for _, p := range of.Partitions {
			for _, r := range p.Ranges {
				if room == 0 || len(t.Topics) == MaxTopics {
					t.Omitted++
					continue
				}
				topic.Ranges = append(topic.Ranges, OffsetRange{int64(p.Number), r.From, r.Next - 1})
				room--
			}
		}
		if len(topic.Ranges) > 0 {
			t.Topics = append(t.Topics, topic)
		}
	}
	slices.SortFunc(t.Topics, compareTopics)
	return t
}

func compareTopics(a, b Topic) int {
	return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID))
}

// compareRanges is negative where b comes after a and does not touch it.
func compareRanges(a, b OffsetRange) int {
	if a.Partition == b.Partition && a.Last+1 >= b.First {
		return 1
	}
	return cmp.Or(cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.First, b.First))
}

var errTally = errors.New("refusing a receipt: offsets or counts that can't be")

func (t *Tally) check(purged time.Time) error {
	if min(t.Stored, t.Rejected, t.Expired, t.Omitted) < 0 || max(t.Stored, t.Rejected, t.Expired, t.Omitted) > maxEvents ||
		t.Counted.After(purged) || len(t.Topics) > MaxTopics {
		return errTally
	}
	ranges := 0
	for i := range t.Topics {
		topic := &t.Topics[i]
		if !isHex(topic.ID, 32) || topic.Name != "" && !validTopic(topic.Name) || len(topic.Ranges) == 0 ||
			i > 0 && compareTopics(t.Topics[i-1], *topic) >= 0 {
			return errTally
		}
		for j, r := range topic.Ranges {
			if r.Partition < 0 || r.Partition >= 1<<31 || r.First < 0 || r.Last < r.First || r.Last >= maxOffset ||
				j > 0 && compareRanges(topic.Ranges[j-1], r) >= 0 {
				return errTally
			}
		}
		ranges += len(topic.Ranges)
	}
	if ranges > MaxRanges {
		return errTally
	}
	return nil
}

// validTopic accepts what Kafka does.
func validTopic(name string) bool {
	if name == "" || len(name) > maxTopic {
		return false
	}
	for i := range len(name) {
		switch b := name[i]; {
		case b >= 'a' && b <= 'z', b >= 'A' && b <= 'Z', b >= '0' && b <= '9', b == '.', b == '_', b == '-':
		default:
			return false
		}
	}
	return true
}

// fields are those between "nodes" and "time".
func (t *Tally) fields(c *codec) {
	if c.has("omitted", t.Omitted != 0) {
		if c.integer("omitted", &t.Omitted); t.Omitted == 0 {
			c.fail()
		}
	}
	if c.has("partial", t.Partial) {
		c.affirm("partial", &t.Partial)
	}
	c.integer("rejected", &t.Rejected)
	c.integer("stored", &t.Stored)
}

// topics is a list of objects; their ranges are triples: partition, first, last.
func (c *codec) topics(name string, v *[]Topic) {
	if !c.name(name) {
		return
	}
	i := 0
	for ; c.more(i, len(*v)); i++ {
		if c.reading {
			*v = append(*v, Topic{})
		}
		topic := &(*v)[i]
		c.literal(`{"id":`)
		c.value(&topic.ID)
		c.literal(`,"name":`)
		c.value(&topic.Name)
		c.literal(`,"ranges":`)
		c.ranges(&topic.Ranges)
		c.literal(`}`)
	}
	c.close(i)
}

func (c *codec) ranges(v *[]OffsetRange) {
	if end := bytes.Index(c.b, []byte("]]")); c.reading && end > 0 {
		*v = make([]OffsetRange, 0, bytes.Count(c.b[:end], []byte("["))-1)
	}
	i := 0
	for ; c.more(i, len(*v)); i++ {
		if c.reading {
			*v = append(*v, OffsetRange{})
		}
		r := &(*v)[i]
		c.literal("[")
		c.number(&r.Partition)
		c.literal(",")
		c.number(&r.First)
		c.literal(",")
		c.number(&r.Last)
		c.literal("]")
	}
	c.close(i)
}
