package cold

import (
	"cmp"
	"slices"
)

// Partition is one partition of one topic.
type Partition struct {
	Topic  [16]byte
	Number int32
}

// Clock guesses offsets from times, by points of each partition between which
// it draws lines. It costs a hundredth of a byte per record and saves one and a half.
type Clock struct {
	partitions []Partition
	points     [][]point // of each partition, ascending in time
}

type point struct{ time, offset int64 }

// A partition has a point for so many sampled rows, and at most so many points.
const (
	rowsPerPoint = 64
	maxPoints    = 32
)

// MaxPartitions is the most partitions of a shard.
const MaxPartitions = 1 << 16

// NewClock draws the lines through rows, in the order in which they were added.
func NewClock(r *Rows) *Clock {
	c := &Clock{partitions: slices.Clone(r.partitions)}
	for i := range r.samples {
		r.samples[i] = r.samples[i][:0]
	}
	r.samples = append(r.samples, make([][]point, max(len(c.partitions)-len(r.samples), 0))...)
	all := r.samples[:len(c.partitions)]
	last := -1
	for i := range r.rows {
		of := &r.rows[i]
		if at := int(of.partition); at != last {
			last = at
		} else if i%8 != 0 {
			continue // a sample is enough
		}
		all[last] = append(all[last], point{of.time, of.offset})
	}
	for _, points := range all {
		c.points = append(c.points, pointsOf(points))
	}
	return c
}

// pointsOf thins a sample of points out to those that lines are drawn through:
// between two neighbours of them times and offsets are the means of their share.
func pointsOf(all []point) []point {
	if len(all) == 0 {
		return []point{{}} // of a partition whose records were refused
	}
	want := min(max(len(all)/rowsPerPoint, 1)+1, maxPoints)
	every := max(len(all)/(64*want), 1)
	sample := all[:0]
	for i := 0; i < len(all); i += every {
		sample = append(sample, all[i])
	}
	slices.SortFunc(sample, func(a, b point) int {
		return cmp.Or(cmp.Compare(a.time, b.time), cmp.Compare(a.offset, b.offset))
	})
	var points []point
	for i := range want {
		p := sample[i*(len(sample)-1)/max(want-1, 1)]
		if len(points) == 0 || p.time > points[len(points)-1].time {
			points = append(points, p)
		}
	}
	return points
}

// guess is the offset on the line at a time; beyond the last points it is theirs.
func (c *Clock) guess(partition int, time int64) int64 {
	points := c.points[partition]
	i := 0 // the last point that is not behind time: found without a branch that is hard to foresee
	for n := len(points); n > 1; {
		half := n / 2
		if points[i+half].time <= time {
			i += half
		}
		n -= half
	}
	if i++; time < points[0].time || i == len(points) {
		return points[i-1].offset
	}
	a, b := points[i-1], points[i]
	span, rise := float64(b.time-a.time), float64(b.offset-a.offset)
	return a.offset + int64(rise*(float64(time-a.time)/span))
}

func (c *Clock) append(w *bitWriter) {
	w.number(uint64(len(c.partitions)))
	var values []uint64
	previous := Partition{}
	for i, p := range c.partitions {
		w.flag(i == 0 || p.Topic != previous.Topic)
		if i == 0 || p.Topic != previous.Topic {
			for _, b := range p.Topic {
				w.put(uint64(b), 8)
			}
		}
		previous = p
		values = append(values, uint64(uint32(p.Number)), uint64(len(c.points[i])))
	}
	w.numbers(values)
	for _, points := range c.points {
		times, offsets := make([]uint64, len(points)), make([]uint64, len(points))
		before := point{}
		for i, p := range points {
			times[i], offsets[i] = uint64(p.time-before.time), uint64(p.offset-before.offset)
			before = p
		}
		w.number(times[0])
		w.number(offsets[0])
		w.numbers(times[1:])
		w.numbers(offsets[1:])
	}
}

func (r *bitReader) clock() *Clock {
	c := &Clock{}
	n := r.count(min(MaxPartitions, r.left()+64))
	var topic [16]byte
	c.partitions = make([]Partition, 0, n)
	for i := range n {
		if r.flag() {
			for j := range topic {
				topic[j] = byte(r.take(8))
			}
		} else if i == 0 {
			r.fail()
		}
		c.partitions = append(c.partitions, Partition{Topic: topic})
	}
	values := r.numbers(nil, 2*n)
	sum := uint64(0)
	for i := range n {
		number, points := values[2*i], values[2*i+1]
		if number > 1<<31-1 || points == 0 || points > maxPoints {
			r.fail()
		}
		if r.failed {
			return c
		}
		c.partitions[i].Number = int32(number)
		sum += points
	}
	c.points = make([][]point, n)
	all := make([]point, sum) // in one piece: a look-up reads a clock for each epoch
	var times, offsets []uint64
	for i := range c.points {
		own := values[2*i+1]
		c.points[i], all = all[:own:own], all[own:]
	}
	for _, points := range c.points {
		points[0] = point{int64(r.number()), int64(r.number())}
		times = r.numbers(times, len(points)-1)
		offsets = r.numbers(offsets, len(points)-1)
		for i := range times {
			points[i+1] = point{points[i].time + int64(times[i]), points[i].offset + int64(offsets[i])}
			if points[i+1].time <= points[i].time {
				r.fail()
			}
		}
		if r.failed {
			return c
		}
	}
	return c
}
