package store

import (
	"slices"

	"mayfly/retention/record"
	"mayfly/retention/seal"
)

// plan sorts records by shard, keeping their order (a counting sort). It sorts
// pointers: a record is 200 bytes, and each is in two views.
type plan struct {
	shard  []uint32 // of each record
	starts []uint32 // of each shard, and the end
	rows   []*record.Record
	group  []byte
}

func (p *plan) make(l layout, view seal.View, e *epochBatches) {
	p.shard = resize(p.shard, e.records)
	p.rows = resize(p.rows, e.records)
	p.starts = resize(p.starts, int(l.shards)+1)
	clear(p.starts)
	i := 0
	for _, b := range e.batches {
		for j := range b.Records {
			p.shard[i], p.group = l.of(view, &b.Records[j], p.group)
			p.starts[p.shard[i]+1]++
			i++
		}
	}
	for s := 1; s < len(p.starts); s++ {
		p.starts[s] += p.starts[s-1]
	}
	for _, b := range slices.Backward(e.batches) { // from the back, each shard's end moves to its start
		for j := range slices.Backward(b.Records) {
			i--
			p.starts[p.shard[i]+1]--
			p.rows[p.starts[p.shard[i]+1]] = &b.Records[j]
		}
	}
	clear(p.group)
}

// of lists the records of a shard in their order.
func (p *plan) of(shard uint32) []*record.Record {
	end := uint32(len(p.rows))
	if int(shard)+2 < len(p.starts) {
		end = p.starts[shard+2]
	}
	return p.rows[p.starts[shard+1]:end]
}

func resize[T any](s []T, n int) []T { return slices.Grow(s[:0], n)[:n] }
