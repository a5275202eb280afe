package record

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// columns of every shape that records have, and some that they have not.
func columns() map[string][]uint64 {
	r := rand.New(rand.NewPCG(3, 0))
	some := func(n int, draw func() uint64) []uint64 {
		column := make([]uint64, n)
		for i := range column {
			column[i] = draw()
		}
		return column
	}
	return map[string][]uint64{
		"none":           nil,
		"one":            {math.MaxUint64},
		"the same":       some(300, func() uint64 { return 49_152 }),
		"bits":           some(301, func() uint64 { return r.Uint64N(2) }),
		"ports":          some(500, func() uint64 { return 49_152 + r.Uint64N(16_384) }),
		"steps":          some(500, func() uint64 { return uint64(r.ExpFloat64() * 56) }),
		"a gap":          append(some(200, func() uint64 { return r.Uint64N(8) }), 1<<40),
		"all of 64 bits": append(some(99, r.Uint64), 0, math.MaxUint64),
		"63 bits":        some(77, func() uint64 { return r.Uint64() >> 1 }),
	}
}

func TestIntsComeBack(t *testing.T) {
	t.Parallel()
	for name, column := range columns() {
		packed := appendInts(nil, column)
		reader := &columnReader{rest: string(packed)}
		got := slices.Clone(reader.ints(len(column)))
		if reader.failed || reader.rest != "" || !slices.Equal(got, column) {
			t.Errorf("%s: failed %v, %d bytes left", name, reader.failed, len(reader.rest))
		}
		for n := range packed {
			reader := &columnReader{rest: string(packed[:n])}
			if reader.ints(len(column)); !reader.failed {
				t.Errorf("%s: cut to %d bytes of %d: accepted", name, n, len(packed))
			}
		}
	}
}

// What all values share costs nothing a row, and a few wide ones do not widen the rest.
func TestIntsAreSmall(t *testing.T) {
	t.Parallel()
	for name, most := range map[string]int{"the same": 5, "bits": 3 + 38, "ports": 5 + 875, "steps": 545, "a gap": 3 + 76 + 8} {
		if size := len(appendInts(nil, columns()[name])); size > most {
			t.Errorf("%s: %d bytes, want at most %d", name, size, most)
		}
	}
}

func FuzzInts(f *testing.F) {
	for _, column := range columns() {
		f.Add(appendInts(nil, column), uint16(len(column)))
	}
	f.Fuzz(func(t *testing.T, packed []byte, n uint16) {
		reader := &columnReader{rest: string(packed)}
		column := slices.Clone(reader.ints(int(n)))
		if reader.failed {
			return
		}
		again := &columnReader{rest: string(appendInts(nil, column))}
		if got := again.ints(int(n)); again.failed || again.rest != "" || !slices.Equal(got, column) {
			t.Fatal("what was accepted does not survive another round")
		}
	})
}
