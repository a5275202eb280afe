package tally

import (
	"crypto/rand"
	"maps"
	"slices"
	"time"

	"mayfly/retention"
)

// Read is what was read of a source since the last time.
type Read struct {
	Source
	Name    string // of the topic
	Ranges  []Range
	Refused map[retention.Epoch]Refused
}

// Reading is what a process reads between two assignments of partitions. It is not
// for concurrent use.
//
// What is not committed yet may be read again by somebody else, from any offset at
// which a flush ended. So the spans of flushes stay apart until they are settled.
type Reading struct {
	id       [8]byte
	revision uint64
	names    map[[16]byte]string
	all      map[Source]*trail // all that was read; counts nothing
	epochs   map[retention.Epoch]*part
	last     struct { // where the last event counted
		epoch  retention.Epoch
		source Source
		span   *flushed
	}
}

// part is what counts for one epoch.
type part struct {
	deadline time.Time
	trails   map[Source]*trail
	loose    Counts
	blurred  bool
	unsaid   bool // something was refused since a manifest said so
}

type trail struct{ spans []flushed }

// flushed is a span that was stored in one go.
type flushed struct {
	Span
	when time.Time
}

// mostSpans bounds a trail: more than there are flushes in a commit delay.
const mostSpans = 256

// NewReading begins to count.
func NewReading() *Reading {
	r := &Reading{names: map[[16]byte]string{}, all: map[Source]*trail{}, epochs: map[retention.Epoch]*part{}}
	_, _ = rand.Read(r.id[:]) // never fails
	return r
}

// Read notes what was read before the events in it are counted.
func (r *Reading) Read(reads []Read, now time.Time) {
	r.last.span = nil
	maps.DeleteFunc(r.epochs, func(_ retention.Epoch, p *part) bool { return !now.Before(p.deadline) })
	for i := range reads {
		read := &reads[i]
		r.names[read.Topic] = read.Name
		if r.all[read.Source] == nil {
			r.all[read.Source] = &trail{}
		}
		for _, span := range read.Ranges {
			r.all[read.Source].extend(span, now)
			for _, p := range r.epochs {
				if t := p.trails[read.Source]; t != nil && t.extend(span, now) {
					p.blurred = true
				}
			}
		}
		for epoch, refused := range read.Refused {
			p := r.part(epoch, refused.Deadline)
			p.unsaid = true
			if n := len(read.Ranges); n > 0 {
				if span := r.trail(epoch, read.Source, read.Ranges[n-1].From).at(read.Ranges[n-1].From); span != nil {
					span.add(refused.Counts)
					continue
				}
			}
			p.loose.add(refused.Counts)
		}
	}
}

// Stored counts an event that is about to be stored; those of one source come in
// the order of their offsets.
func (r *Reading) Stored(epoch retention.Epoch, deadline time.Time, source Source, offset, events int64) {
	if l := &r.last; l.span != nil && l.source == source && l.epoch == epoch && offset >= l.span.From && offset < l.span.Next {
		l.span.Counts.Stored += events
		return
	}
	p := r.part(epoch, deadline)
	span := r.trail(epoch, source, offset).at(offset)
	if span == nil {
		p.loose.Stored += events
		return
	}
	span.Counts.Stored += events
	r.last.epoch, r.last.source, r.last.span = epoch, source, span
}

// Late counts events of an epoch that is over, which has no manifest any more, for
// the present one of the same length; and so what can't be stored for other reasons.
func (r *Reading) Late(of retention.Epoch, deadline time.Time, lost Counts, now time.Time) {
	if lost.sum() == 0 || of.Length <= 0 {
		return
	}
	window := deadline.Sub(of.StartTime())
	present := of
	present.Start = now.UnixMilli() / of.Length * of.Length
	p := r.part(present, present.Deadline(window))
	p.loose.add(lost)
	p.unsaid = true
}

// Unsaid lists the epochs of which something was refused that no manifest says yet.
func (r *Reading) Unsaid() []retention.Epoch {
	var epochs []retention.Epoch
	for epoch, p := range r.epochs {
		if p.unsaid {
			epochs = append(epochs, epoch)
		}
	}
	return epochs
}

// Forget drops what is known of an epoch.
func (r *Reading) Forget(epoch retention.Epoch) {
	r.last.span = nil
	delete(r.epochs, epoch)
}

// Settle says that what was read at or before a time is committed: nobody reads it again.
func (r *Reading) Settle(until time.Time) {
	r.last.span = nil
	for _, t := range r.all {
		t.settle(until)
	}
	for _, p := range r.epochs {
		for _, t := range p.trails {
			t.settle(until)
		}
	}
}

// Append encodes what is known of an epoch.
func (r *Reading) Append(dst []byte, epoch retention.Epoch) []byte {
	return r.append(dst, epoch, func(flushed) bool { return true })
}

// AppendSettled is Append without what was read after a time: others read it again.
func (r *Reading) AppendSettled(dst []byte, epoch retention.Epoch, until time.Time) []byte {
	return r.append(dst, epoch, func(f flushed) bool { return !f.when.After(until) })
}

func (r *Reading) append(dst []byte, epoch retention.Epoch, said func(flushed) bool) []byte {
	r.revision++
	t := Tally{Reader: r.id, Revision: r.revision, Names: r.names}
	p := r.epochs[epoch]
	if p == nil {
		return t.append(dst)
	}
	p.unsaid = false
	t.Loose, t.Blurred = p.loose, p.blurred
	for _, source := range slices.SortedFunc(maps.Keys(p.trails), Source.Compare) {
		if spans := p.trails[source].said(said); len(spans) > 0 {
			t.Trails = append(t.Trails, Trail{source, spans})
		}
	}
	return t.append(dst)
}

func (r *Reading) part(epoch retention.Epoch, deadline time.Time) *part {
	p := r.epochs[epoch]
	if p == nil {
		p = &part{deadline: deadline, trails: map[Source]*trail{}}
		r.epochs[epoch] = p
	}
	return p
}

// trail finds or begins that of an epoch and source: with the flush that has the first
// message that counts for it. nil: nothing of the source was read.
func (r *Reading) trail(epoch retention.Epoch, source Source, offset int64) *trail {
	p := r.epochs[epoch]
	t := p.trails[source]
	if t != nil || r.all[source] == nil {
		return t
	}
	spans := r.all[source].spans
	before := slices.IndexFunc(spans, func(f flushed) bool { return f.Next > offset })
	if before < 0 {
		return nil
	}
	t = &trail{spans: slices.Clone(spans[before:])}
	p.trails[source] = t
	return t
}

// extend adds a range behind the others; true: it had to be put together with
// another, and somebody who reads part of it again can't be told apart any more.
func (t *trail) extend(span Range, now time.Time) (blurred bool) {
	if n := len(t.spans); n > 0 && span.From < t.spans[n-1].Next {
		span.From, blurred = t.spans[n-1].Next, true // the log was cut short, and has grown again
	}
	if span.From >= span.Next {
		return blurred
	}
	t.spans = append(t.spans, flushed{Span{Range: span}, now})
	if len(t.spans) > mostSpans {
		t.spans[1] = join(t.spans[0], t.spans[1])
		t.spans, blurred = slices.Delete(t.spans, 0, 1), true
	}
	return blurred
}

// settle puts together what nobody reads again. What vanished in between keeps apart.
func (t *trail) settle(until time.Time) {
	kept := t.spans[:0]
	for _, f := range t.spans {
		if n := len(kept); n > 0 && !f.when.After(until) && kept[n-1].Next == f.From {
			kept[n-1] = join(kept[n-1], f)
			continue
		}
		kept = append(kept, f)
	}
	t.spans = kept
}

func join(a, b flushed) flushed {
	b.From = a.From
	b.add(a.Counts)
	return b
}

// at finds the span of an offset.
func (t *trail) at(offset int64) *flushed {
	if t == nil {
		return nil
	}
	for i := range slices.Backward(t.spans) {
		if f := &t.spans[i]; offset >= f.From {
			if offset < f.Next {
				return f
			}
			return nil
		}
	}
	return nil
}

// said lists the spans that are to be said, without what follows the last message
// that counts.
func (t *trail) said(said func(flushed) bool) []Span {
	var spans []Span
	counted := 0
	for _, f := range t.spans {
		if !said(f) {
			break
		}
		spans = append(spans, f.Span)
		if f.sum() > 0 {
			counted = len(spans)
		}
	}
	return spans[:counted]
}
