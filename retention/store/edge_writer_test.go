package store

import (
	"encoding/binary"
	"testing"

	"mayfly/retention/seal"
)

// However many wraps somebody makes, no more of them are remembered than there is room for.
func TestSentWrapsAreBounded(t *testing.T) {
	t.Parallel()
	s := &edgeSealer{sent: map[sentWrap]struct{}{}}
	for i := range uint64(3 * mostSent) {
		var wrap seal.WrapID
		binary.LittleEndian.PutUint64(wrap[:], i)
		if !s.first(slot{}, wrap) || s.first(slot{}, wrap) {
			t.Fatalf("wrap %d is not new once", i)
		}
	}
	if len(s.sent) > mostSent {
		t.Errorf("%d wraps are remembered", len(s.sent))
	}
}
