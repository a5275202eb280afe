package tally

import (
	"cmp"
	"maps"
	"slices"
	"sort"
)

// Sum is what all readings say of an epoch.
type Sum struct {
	Counts
	// Partial says that there may be more: something that was said is lost, or was
	// read twice in a way that can't be told apart.
	Partial bool
	Topics  []Topic // by name
}

// Topic is what an epoch has of one topic.
type Topic struct {
	ID         [16]byte
	Name       string
	Partitions []Partition // ascending
}

// Partition is what an epoch has of one partition: of each reader the offsets from the
// first of its messages to the last, as far as they were read together. From what lies
// between two ranges nothing was counted for it.
type Partition struct {
	Number int32
	Ranges []Range // ascending, apart
}

// Merge makes one sum of the tallies of an epoch. Of each reading the latest counts.
func Merge(tallies []*Tally) Sum {
	latest := map[[8]byte]*Tally{}
	for _, t := range tallies {
		if before := latest[t.Reader]; before == nil || before.Revision < t.Revision {
			latest[t.Reader] = t
		}
	}
	var sum Sum
	spans, names := map[Source][]Span{}, map[[16]byte]string{}
	for _, t := range latest {
		sum.add(t.Loose)
		sum.Partial = sum.Partial || t.Blurred && len(latest) > 1
		maps.Copy(names, t.Names)
		for _, trail := range t.Trails {
			spans[trail.Source] = append(spans[trail.Source], trail.Spans...)
		}
	}
	topics := map[[16]byte]*Topic{}
	for _, source := range slices.SortedFunc(maps.Keys(spans), Source.Compare) {
		chosen, partial := choose(spans[source])
		sum.Partial = sum.Partial || partial
		for _, s := range chosen {
			sum.add(s.Counts)
		}
		ranges := union(spans[source])
		if len(ranges) == 0 {
			continue
		}
		topic := topics[source.Topic]
		if topic == nil {
			topic = &Topic{ID: source.Topic, Name: names[source.Topic]}
			topics[source.Topic] = topic
		}
		topic.Partitions = append(topic.Partitions, Partition{source.Partition, ranges})
	}
	for _, topic := range topics {
		sum.Topics = append(sum.Topics, *topic)
	}
	slices.SortFunc(sum.Topics, func(a, b Topic) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), slices.Compare(a.ID[:], b.ID[:]))
	})
	return sum
}

// choose picks spans that don't overlap: those that together have the most offsets,
// and of such the most messages. A reader begins where another had committed, at the
// end of one of its spans, so that they have everything once; partial: they have not.
// It is weighted interval scheduling, by dynamic programming over the spans' ends.
func choose(spans []Span) (chosen []Span, partial bool) {
	slices.SortFunc(spans, func(a, b Span) int { return cmp.Or(cmp.Compare(a.Next, b.Next), cmp.Compare(a.From, b.From)) })
	type best struct{ offsets, messages int64 }
	better := func(a, b best) bool {
		return a.offsets > b.offsets || a.offsets == b.offsets && a.messages > b.messages
	}
	until := make([]best, len(spans)+1) // of the first so many
	taken := make([]int, len(spans)+1)  // before which others span i-1 was taken; -1: it was not
	for i, s := range spans {
		before := sort.Search(i, func(j int) bool { return spans[j].Next > s.From })
		with := best{until[before].offsets + s.Next - s.From, until[before].messages + s.sum()}
		until[i+1], taken[i+1] = until[i], -1
		if better(with, until[i]) {
			until[i+1], taken[i+1] = with, before
		}
	}
	for i := len(spans); i > 0; {
		if taken[i] < 0 {
			i--
			continue
		}
		chosen = append(chosen, spans[i-1])
		i = taken[i]
	}
	all := int64(0)
	for _, r := range union(spans) {
		all += r.Next - r.From
	}
	return chosen, all > until[len(spans)].offsets
}

// union puts together what touches or overlaps.
func union(spans []Span) []Range {
	ranges := make([]Range, 0, len(spans))
	for _, s := range spans {
		ranges = append(ranges, s.Range)
	}
	return Join(ranges)
}

// Join sorts ranges and puts together those that touch or overlap.
func Join(ranges []Range) []Range {
	slices.SortFunc(ranges, func(a, b Range) int { return cmp.Compare(a.From, b.From) })
	var joined []Range
	for _, r := range ranges {
		if n := len(joined); n > 0 && r.From <= joined[n-1].Next {
			joined[n-1].Next = max(joined[n-1].Next, r.Next)
			continue
		}
		joined = append(joined, r)
	}
	return joined
}
