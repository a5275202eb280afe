package store

import (
	"testing"
	"time"

	"mayfly/retention"
	"mayfly/retention/keyring"
	"mayfly/retention/seal"
)

// A day's look-up of one address is one turn; what is not compacted yet comes a few full
// shards at a time, however many a wide prefix asks for.
func TestALongLookUpReadsItsChunksInTurns(t *testing.T) {
	t.Parallel()
	now := time.UnixMilli(1_800_000_000_000)
	chunks := func(n int, ended time.Duration, perShard uint64) []chunk {
		key := &keyring.Key{Public: keyring.Public{ID: seal.KeyID{1}, Shards: 4}}
		epoch := retention.Epoch{Policy: "p", Start: now.Add(-ended - 15*time.Minute).UnixMilli(), Length: 900_000}
		all := make([]chunk, n)
		for i := range all {
			all[i] = chunk{key: key, place: seal.Place{Epoch: epoch, Key: key.ID}, writers: map[writerOf]manifest{
				{key: key.ID, id: seal.WriterID{1}}: {records: 3 * perShard}, {key: key.ID, id: seal.WriterID{2}}: {records: perShard},
				{key: seal.KeyID{2}, id: seal.WriterID{3}}: {records: 1 << 40},
			}}
		}
		return all
	}
	day := append(chunks(95, time.Hour, 100_000), chunks(1, -time.Minute, 100_000)...)
	for name, c := range map[string]struct {
		chunks []chunk
		want   int
	}{
		"a day":             {day, 96},
		"hot shards":        {chunks(256, -time.Minute, 100_000), 12},
		"just over":         {chunks(256, time.Minute, 100_000), 12},
		"small epochs":      {chunks(256, -time.Minute, 10), 256},
		"one that is large": {chunks(2, -time.Minute, 1<<40), 1},
	} {
		if got := turn(c.chunks, now); got != c.want {
			t.Errorf("%s: %d chunks in a turn, want %d", name, got, c.want)
		}
	}
}
