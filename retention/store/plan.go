package store

import (
	"slices"

	"mayfly/retention/record"
)

// plan sorts what an epoch's records become by shard, keeping their order (a
// counting sort): for the address view their places, and for the account view
// the shards that they are in.
type plan struct {
	addressShards, accountShards []uint32 // of each record
	subjects                     []uint32 // what each record's account is called in mentions
	byAddress, byAccount         buckets
	rows                         []*record.Rows // of all batches
	own                          []*record.Rows // those of them that are copies
	places                       []record.Place
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
	for i := range e.batches {
		b := &e.batches[i]
		copies := record.RowsOf(b.Records)
		p.own = append(p.own, copies...)
		p.rows = append(append(p.rows, copies...), b.Rows...)
	}
	p.addressShards, p.accountShards = resize(p.addressShards, e.records), resize(p.accountShards, e.records)
	p.subjects = resize(p.subjects, e.records)
	p.places, p.mentions = resize(p.places, e.records), resize(p.mentions, e.records)
	i := 0
	for _, rows := range p.rows {
		for j := range rows.All() {
			p.scratch = appendGroup(p.scratch[:0], rows, j)
			p.addressShards[i] = l.shard(p.scratch)
			p.accountShards[i], p.subjects[i] = l.account(rows.Account(j))
			i++
		}
	}
	p.byAddress.prepare(l.shards, p.addressShards)
	p.byAccount.prepare(l.shards, p.accountShards)
	i = 0
	for n, rows := range p.rows {
		for j := range rows.All() {
			shard := p.addressShards[i]
			p.places[p.byAddress.next(shard)] = record.PlaceOf(n, j)
			p.mentions[p.byAccount.next(p.accountShards[i])] = record.Mention{Subject: p.subjects[i], Shard: shard}
			i++
		}
	}
}

// appendGroup is appendGroupOf a record's address.
func appendGroup(dst []byte, rows *record.Rows, i int) []byte {
	raw, is4 := rows.Reveal(i)
	if is4 {
		return append(dst, raw[12:12+groupBits4/8]...)
	}
	return append(dst, raw[:groupBits6/8]...)
}

// rowsOf lists where the records of a shard of the address view are, in their order.
func (p *plan) rowsOf(shard uint32) []record.Place {
	from, to := p.byAddress.bounds(shard)
	return p.places[from:to]
}

// mentionsOf lists what a shard of the account view is to hold.
func (p *plan) mentionsOf(shard uint32) []record.Mention {
	from, to := p.byAccount.bounds(shard)
	return p.mentions[from:to]
}

// forget lets go of the records.
func (p *plan) forget() {
	for _, rows := range p.own {
		rows.Release()
	}
	clear(p.rows)
	clear(p.own)
	p.rows, p.own = p.rows[:0], p.own[:0]
	clear(p.mentions)
	clear(p.subjects)
	clear(p.scratch[:cap(p.scratch)])
}

func resize[T any](s []T, n int) []T { return slices.Grow(s[:0], n)[:n] }
