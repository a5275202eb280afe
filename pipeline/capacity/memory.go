package capacity

import (
	"cmp"
	"math"
	"slices"
)

// The services of the curve have these ids, and sessions, and differ in their rate; those
// that differ in something else besides say what that adds.
const baseIDs = "short8"

// point is a figure at the logarithm of what it depends on.
type point struct{ x, y float64 }

// line is a curve through points, level before the first and after the last.
type line []point

// lineOf goes between points that are above each other.
func lineOf(points []point) (l line) {
	slices.SortFunc(points, func(a, b point) int { return cmp.Compare(a.x, b.x) })
	n := 0.0 // points at the last x
	for _, p := range points {
		if last := len(l) - 1; last >= 0 && l[last].x == p.x {
			n++
			l[last].y += (p.y - l[last].y) / n
			continue
		}
		l, n = append(l, p), 1
	}
	return l
}

func (l line) at(x float64) float64 {
	for i, p := range l {
		switch {
		case x <= p.x && i == 0:
			return p.y
		case x <= p.x:
			before := l[i-1]
			return before.y + (p.y-before.y)*(x-before.x)/(p.x-before.x)
		}
	}
	return l[len(l)-1].y
}

// usualEpoch is the length that most of the curve was measured with, in seconds.
func (c *Curve) usualEpoch() float64 {
	longest := 0.0
	for _, t := range c.Tiers {
		longest = max(longest, t.Epoch)
	}
	return longest
}

func (t Tier) base() bool { return t.IDs == baseIDs && t.Sessions }

// hot is t.Hot with what the mentions of a whole epoch take more: each names one of
// Shards, not of Sampled. (Compaction keeps a mention of an account and a shard once,
// and what that is too little there is less than the spread.)
func (t Tier) hot() float64 { return t.Hot + math.Log2(float64(t.Shards)/float64(t.Sampled))/8 }

// HotBytes are the bytes of an event in the hot tier: what counts is how many events a
// frame has, for its seal, its list and its dictionaries.
func (c *Curve) HotBytes(ids string, sessions bool, perFrame float64) float64 {
	var points []point
	for _, t := range c.Tiers {
		if t.base() {
			points = append(points, point{math.Log(t.FrameEvents(1)), t.hot()})
		}
	}
	base := lineOf(points)
	extra := c.extra(ids, sessions, func(t Tier) float64 { return t.hot() - base.at(math.Log(t.FrameEvents(1))) })
	return base.at(math.Log(perFrame)) + extra
}

// ColdBytes are those of an event that was compacted. They depend on how many events
// an epoch has, and on its length: a session or an account that is heard of more often in
// an epoch is written once.
func (c *Curve) ColdBytes(ids string, sessions bool, perEpoch, epoch float64) float64 {
	usual := c.usualEpoch()
	var points []point
	for _, t := range c.Tiers {
		if t.base() && t.Epoch == usual {
			points = append(points, point{math.Log(t.Rate * t.Epoch), t.Cold})
		}
	}
	base := lineOf(points)
	above := func(t Tier) float64 { return t.Cold - base.at(math.Log(t.Rate*t.Epoch)) }
	bytes := base.at(math.Log(perEpoch)) + c.extra(ids, sessions, above)
	for _, t := range c.Tiers {
		if t.base() && t.Epoch < usual && epoch < usual {
			bytes += above(t) * math.Log(usual/epoch) / math.Log(usual/t.Epoch)
			break
		}
	}
	return bytes
}

// extra is what these ids and sessions add to a figure, on the average.
func (c *Curve) extra(ids string, sessions bool, above func(Tier) float64) float64 {
	sum, n := 0.0, 0.0
	for _, t := range c.Tiers {
		if t.IDs == ids && t.Sessions == sessions && !t.base() {
			sum += above(t)
			n++
		}
	}
	if n == 0 {
		return 0
	}
	return sum / n
}

// like is the tier of the curve whose rate is the nearest.
func (c *Curve) like(rate float64) Tier {
	return slices.MinFunc(c.Tiers, func(a, b Tier) int {
		return cmp.Compare(math.Abs(math.Log(a.Rate/rate)), math.Abs(math.Log(b.Rate/rate)))
	})
}
