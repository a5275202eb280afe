package store

import (
	"slices"

	"mayfly/retention/record"
)

// plan sorts what an epoch's records become by shard, keeping their order (a
// counting sort): for the address view pointers to them, as a record is 200
// bytes, and for the account view where they are.
type plan struct {
	addressShards, accountShards []uint32 // of each record
	subjects                     []uint32 // what each record's account is called in mentions
	byAddress, byAccount         buckets
	rows                         []*record.Record
	mentions                     []record.Mention
	scratch                      []byte
}

// buckets are the shards' places in what is sorted.
type buckets struct{ ends []uint32 }

// prepare finds the place of each shard before anything is sorted in.
func (b *buckets) prepare(shards uint64, of []uint32) {
	b.ends = resize(b.ends, int(shards)+1)
	clear(b.ends)
	for _, shard := range of {
		b.ends[shard+1]++
	}
	for i := 1; i < len(b.ends); i++ {
		b.ends[i] += b.ends[i-1]
	}
}

// next is the place of the next one of a shard.
func (b *buckets) next(shard uint32) uint32 {
	place := b.ends[shard]
	b.ends[shard]++
	return place
}

// bounds of a shard once all is sorted in: each shard's end is the next one's start.
func (b *buckets) bounds(shard uint32) (from, to uint32) {
	if shard > 0 {
		from = b.ends[shard-1]
	}
	return from, b.ends[shard]
}

func (p *plan) make(l layout, e *epochBatches) {
	p.addressShards, p.accountShards = resize(p.addressShards, e.records), resize(p.accountShards, e.records)
	p.subjects = resize(p.subjects, e.records)
	p.rows, p.mentions = resize(p.rows, e.records), resize(p.mentions, e.records)
	i := 0
	for _, b := range e.batches {
		for j := range b.Records {
			r := &b.Records[j]
			p.scratch = appendGroup(p.scratch[:0], r.Address.Reveal())
			p.addressShards[i] = l.shard(p.scratch)
			p.scratch = append(p.scratch[:0], r.Account...)
			p.accountShards[i], p.subjects[i] = l.account(p.scratch)
			i++
		}
	}
	p.byAddress.prepare(l.shards, p.addressShards)
	p.byAccount.prepare(l.shards, p.accountShards)
	i = 0
	for _, b := range e.batches {
		for j := range b.Records {
			shard := p.addressShards[i]
			p.rows[p.byAddress.next(shard)] = &b.Records[j]
			p.mentions[p.byAccount.next(p.accountShards[i])] = record.Mention{Subject: p.subjects[i], Shard: shard}
			i++
		}
	}
}

// rowsOf lists the records of a shard of the address view in their order.
func (p *plan) rowsOf(shard uint32) []*record.Record {
	from, to := p.byAddress.bounds(shard)
	return p.rows[from:to]
}

// mentionsOf lists what a shard of the account view is to hold.
func (p *plan) mentionsOf(shard uint32) []record.Mention {
	from, to := p.byAccount.bounds(shard)
	return p.mentions[from:to]
}

// forget lets go of the records.
func (p *plan) forget() {
	clear(p.rows)
	clear(p.mentions)
	clear(p.subjects)
	clear(p.scratch[:cap(p.scratch)])
}

func resize[T any](s []T, n int) []T { return slices.Grow(s[:0], n)[:n] }
