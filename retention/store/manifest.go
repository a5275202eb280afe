package store

import (
	"encoding/binary"
	"errors"

	"mayfly/retention/seal"
)

const manifestVersion = 2

var errManifest = errors.New("malformed manifest")

// manifest says what one writer has written under one key: how many records,
// and of each view and shard how many frames; and what its process has read for the
// epoch. It is sealed like a frame and replaced by its successor, so it stays small
// however much is written.
type manifest struct {
	records uint64
	frames  map[seal.View][]uint64 // by shard
	tally   []byte                 // what tally.Parse reads
}

// appendManifest encodes: version, records, then per view the frames of each shard.
// The tally follows.
func appendManifest(dst []byte, records uint64, shards uint32, written func(seal.View, uint32) uint64) []byte {
	dst = append(dst, manifestVersion)
	dst = binary.AppendUvarint(dst, records)
	for _, view := range seal.Views {
		for s := range shards {
			dst = binary.AppendUvarint(dst, written(view, s))
		}
	}
	return dst
}

func parseManifest(payload []byte, shards uint32) (manifest, error) {
	if len(payload) == 0 || payload[0] != manifestVersion {
		return manifest{}, errManifest
	}
	rest := payload[1:]
	next := func() uint64 {
		value, n := binary.Uvarint(rest)
		if n <= 0 {
			rest = nil
			return 0
		}
		rest = rest[n:]
		return value
	}
	m := manifest{records: next(), frames: map[seal.View][]uint64{}}
	if uint64(len(rest)) < 2*uint64(shards) {
		return manifest{}, errManifest
	}
	for _, view := range seal.Views {
		m.frames[view] = make([]uint64, shards)
		for s := range shards {
			m.frames[view][s] = next()
		}
	}
	if rest == nil {
		return manifest{}, errManifest
	}
	m.tally = rest
	return m, nil
}

// holds reports whether frames contains each frame of a writer after the first
// covered ones, up to written.
func holds(frames []seal.Frame, writer seal.WriterID, covered, written uint64) bool {
	switch {
	case covered >= written:
		return true
	case written-covered > uint64(len(frames)): // however many a writer says that there are
		return false
	}
	seen := make(map[uint64]struct{}, written-covered)
	for i := range frames {
		if f := &frames[i]; f.Writer == writer && f.Sequence > covered && f.Sequence <= written {
			seen[f.Sequence] = struct{}{}
		}
	}
	return uint64(len(seen)) == written-covered
}
