package kafkain

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/s2"
)

func TestDecodeCodecs(t *testing.T) {
	t.Parallel()
	text := strings.Repeat("an event ", 1000)
	want := []seenRecord{{Offset: 10, Stamp: 1007, Value: text}, {Offset: 11, Stamp: 1000, Tombstone: true}, {Offset: 12, Stamp: 1000}}
	for codec, name := range codecNames {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			set := batchPlan{base: 10, codec: int16(codec), baseStamp: 1000, maxStamp: 5000, records: []recordPlan{
				{stamp: 7, key: []byte("k"), value: []byte(text), headers: 2}, {delta: 1}, {delta: 2, value: []byte{}},
			}}.build(t)
			batches, refused, err := decodeAll(set, 10, nil)
			if err != nil || len(refused) != 0 {
				t.Fatal(err, refused)
			}
			if diff := cmp.Diff([]seenBatch{{Records: want, Next: 13, Bytes: len(set)}}, batches); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestHandledRecordsAreErased(t *testing.T) {
	t.Parallel()
	for codec, name := range codecNames[1:] { // what was not compressed lies in the record set
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			set := batchPlan{codec: int16(codec + 1), records: values(strings.Repeat("203.0.113.7 ", 100))}.build(t)
			d := decoder{limit: 1 << 20}
			var left []byte
			if err := d.decode(set, 0, nil, func(b *Batch) error {
				left = b.Records[0].Value
				return nil
			}); err != nil || len(left) == 0 {
				t.Fatal(len(left), err)
			}
			if bytes.Contains(left, []byte("203")) {
				t.Error("the decoder keeps what was handled")
			}
		})
	}
}

// Java's producers frame snappy in blocks.
func TestDecodeXerialSnappy(t *testing.T) {
	t.Parallel()
	payload := appendRecord(nil, recordPlan{value: bytes.Repeat([]byte("x"), 5000)})
	framed := append(slices.Clone(xerialMagic), 0, 0, 0, 1, 0, 0, 0, 1)
	for block := range slices.Chunk(payload, 2000) {
		packed := s2.EncodeSnappy(nil, block)
		framed = append(binary.BigEndian.AppendUint32(framed, uint32(len(packed))), packed...)
	}
	set := batchPlan{attributes: 2, payload: framed, count: 1}.build(t)
	batches, refused, err := decodeAll(set, 0, nil)
	if err != nil || len(refused) != 0 || len(batches) != 1 || len(batches[0].Records[0].Value) != 5000 {
		t.Fatal(err, refused, len(batches))
	}
	for cut := range len(framed) {
		if _, err := appendSnappy(nil, framed[:cut]); err == nil && cut != xerialHeader && !blockBoundary(framed, cut) {
			t.Fatalf("a frame cut at byte %d was taken", cut)
		}
	}
}

// blockBoundary reports whether a cut leaves only whole blocks.
func blockBoundary(framed []byte, cut int) bool {
	at := xerialHeader
	for at < cut {
		at += 4 + int(binary.BigEndian.Uint32(framed[at:]))
	}
	return at == cut
}

func TestDecodeAppendTime(t *testing.T) {
	t.Parallel()
	set := buildSet(t,
		batchPlan{base: 0, baseStamp: 1, maxStamp: 2, records: values("a")},
		batchPlan{base: 1, attributes: attributeAppendTime, baseStamp: 1, maxStamp: 99, records: values("b", "c")},
	)
	batches, _, err := decodeAll(set, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []seenBatch{
		{Records: []seenRecord{{Offset: 0, Stamp: 1, Value: "a"}}, Next: 1},
		{AppendTime: true, Records: []seenRecord{{Offset: 1, Stamp: 99, Value: "b"}, {Offset: 2, Stamp: 99, Value: "c"}}, Next: 3},
	}
	if diff := cmp.Diff(want, withoutBytes(batches)); diff != "" {
		t.Error(diff)
	}
}

func withoutBytes(batches []seenBatch) []seenBatch {
	for i := range batches {
		batches[i].Bytes = 0
	}
	return batches
}

// Two producers' transactions overlap; one aborts, commits, aborts.
func TestDecodeTransactions(t *testing.T) {
	t.Parallel()
	transactional := func(base, producer int64, texts ...string) batchPlan {
		return batchPlan{base: base, producer: producer, attributes: attributeTransactional, records: values(texts...)}
	}
	set := buildSet(t,
		transactional(0, 1, "void 0", "void 1"),
		transactional(2, 2, "kept 2"),
		marker(3, 1, 0),
		transactional(4, 1, "kept 4"),
		marker(5, 2, 1),
		marker(6, 1, 1),
		transactional(7, 1, "void 7"),
		batchPlan{base: 8, producer: 1, records: values("kept 8")}, // not transactional
		marker(9, 1, 0),
	)
	// The broker need not sort what was aborted.
	aborted := []abortedTransaction{{Producer: 1, FirstOffset: 7}, {Producer: 1, FirstOffset: 0}}
	batches, _, err := decodeAll(set, 0, aborted)
	if err != nil {
		t.Fatal(err)
	}
	want := []seenBatch{{Next: 10, Records: []seenRecord{
		{Offset: 2, Value: "kept 2"}, {Offset: 4, Value: "kept 4"}, {Offset: 8, Value: "kept 8"}}}}
	if diff := cmp.Diff(want, withoutBytes(batches)); diff != "" {
		t.Error(diff)
	}
}

func TestDecodeControlOnlyMovesOn(t *testing.T) {
	t.Parallel()
	batches, _, err := decodeAll(buildSet(t, marker(4, 1, 1)), 4, nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]seenBatch{{Next: 5}}, withoutBytes(batches)); diff != "" {
		t.Error(diff)
	}
}

func TestDecodeGaps(t *testing.T) {
	t.Parallel()
	// Compaction leaves holes between batches (10, 11), in them (13) and at their end (15).
	set := buildSet(t,
		batchPlan{base: 8, records: values("8", "9")},
		batchPlan{base: 12, lastDelta: 3, records: []recordPlan{{delta: 0, value: []byte("12")}, {delta: 2, value: []byte("14")}}},
	)
	batches, _, err := decodeAll(set, 9, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []seenBatch{{Next: 16, Gap: 4, Records: []seenRecord{
		{Offset: 9, Value: "9"}, {Offset: 12, Value: "12"}, {Offset: 14, Value: "14"}}}}
	if diff := cmp.Diff(want, withoutBytes(batches)); diff != "" {
		t.Error(diff)
	}
}

func TestDecodeCutOffBatch(t *testing.T) {
	t.Parallel()
	whole := batchPlan{base: 0, records: values("a")}.build(t)
	next := batchPlan{base: 1, records: values("b")}.build(t)
	for cut := range len(next) {
		batches, _, err := decodeAll(append(slices.Clone(whole), next[:cut]...), 0, nil)
		if err != nil || len(batches) != 1 || batches[0].Next != 1 {
			t.Fatalf("cut at %d: %v, %v", cut, batches, err)
		}
		if cut > 0 {
			if _, _, err := decodeAll(next[:cut], 1, nil); !errors.Is(err, errIncomplete) {
				t.Fatalf("nothing but a cut-off batch: %v", err)
			}
		}
	}
}

// Every changed byte that the checksum covers, and the checksum itself, is
// noticed; what came before the corrupt batch is handed over.
func TestDecodeRefusesChangedBytes(t *testing.T) {
	t.Parallel()
	for codec, name := range codecNames {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			before := batchPlan{base: 0, records: values("a")}.build(t)
			set := append(before, batchPlan{base: 1, codec: int16(codec), records: values("b", "c", "d")}.build(t)...)
			for i := len(before) + atChecksum; i < len(set); i++ {
				for _, change := range []byte{1, 0x80, 0xff} {
					set[i] ^= change
					batches, refused, err := decodeAll(set, 0, nil)
					set[i] ^= change
					if !errors.Is(err, errCorrupt) || len(refused) != 0 || len(batches) != 1 || batches[0].Next != 1 {
						t.Fatalf("byte %d changed by %#x: %v, %v, %v", i, change, batches, refused, err)
					}
				}
			}
		})
	}
}

// Batches whose checksum holds but whose content is nonsense are skipped and counted, all of them.
func TestDecodeRefusesNonsense(t *testing.T) {
	t.Parallel()
	good := appendRecord(nil, recordPlan{value: []byte("v")})
	bomb := func(codec int16) batchPlan {
		return batchPlan{attributes: codec, payload: compress(t, codec, make([]byte, maxDecompressed+1)), count: 1}
	}
	for name, test := range map[string]struct {
		plan batchPlan
		want error
	}{
		"unknown codec":     {batchPlan{attributes: 5, payload: good, count: 1}, errCodec},
		"not gzip":          {batchPlan{attributes: 1, payload: good, count: 1}, errBroken},
		"not snappy":        {batchPlan{attributes: 2, payload: []byte{0xff, 0xff}, count: 1}, errBroken},
		"not lz4":           {batchPlan{attributes: 3, payload: good, count: 1}, errBroken},
		"not zstd":          {batchPlan{attributes: 4, payload: good, count: 1}, errBroken},
		"gzip bomb":         {bomb(1), errTooLarge},
		"lz4 bomb":          {bomb(3), errTooLarge},
		"zstd bomb":         {bomb(4), errTooLarge},
		"snappy bomb":       {batchPlan{attributes: 2, payload: binary.AppendUvarint(nil, 1<<31), count: 1}, errTooLarge},
		"crowd of nothing":  {batchPlan{payload: make([]byte, minRecord*(maxRecords+1)), count: maxRecords + 1}, errTooLarge},
		"too many records":  {batchPlan{payload: good, count: math.MaxInt32}, errMalformed},
		"negative count":    {batchPlan{payload: good, count: -1}, errMalformed},
		"too few records":   {batchPlan{payload: append(slices.Clone(good), good...), count: 1}, errMalformed},
		"length too long":   {batchPlan{payload: binary.AppendVarint(nil, 1<<40), count: 0}, errMalformed},
		"offset past last":  {batchPlan{lastDelta: 3, records: []recordPlan{{delta: 0}, {delta: 4}}}, errMalformed},
		"offset twice":      {batchPlan{lastDelta: 3, records: []recordPlan{{delta: 1}, {delta: 1}}}, errMalformed},
		"offsets backwards": {batchPlan{lastDelta: 3, records: []recordPlan{{delta: 2}, {delta: 1}}}, errMalformed},
		"trailing byte":     {batchPlan{payload: append(slices.Clone(good), 0), count: 1}, errMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			set := append(test.plan.build(t), batchPlan{base: 4, records: values("after")}.build(t)...)
			batches, refused, err := decodeAll(set, 0, nil)
			if err != nil || len(refused) != 1 || !errors.Is(refused[0], test.want) {
				t.Fatalf("refused %v, error %v", refused, err)
			}
			want := []seenBatch{{Next: 5, Gap: 4, Records: []seenRecord{{Offset: 4, Value: "after"}}}}
			if diff := cmp.Diff(want, withoutBytes(batches)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestDecodeRefusesImpossibleHeaders(t *testing.T) {
	t.Parallel()
	old := batchPlan{records: values("a")}.build(t)
	old[atMagic] = 1
	short := batchPlan{records: values("a")}.build(t)
	binary.BigEndian.PutUint32(short[atLength:], 10)
	negative := batchPlan{records: values("a")}.build(t)
	binary.BigEndian.PutUint32(negative[atLength:], math.MaxUint32)
	for name, set := range map[string][]byte{
		"old format": old, "short": short, "negative length": negative,
		"negative offset": batchPlan{base: -1, records: values("a")}.build(t),
		"negative delta":  batchPlan{base: 5, lastDelta: -1, records: values("a")}.build(t),
		"overflow":        batchPlan{base: math.MaxInt64, lastDelta: 1, records: values("a")}.build(t),
		"bad marker":      batchPlan{attributes: attributeControl, records: []recordPlan{{key: []byte{0}}}}.build(t),
	} {
		if batches, _, err := decodeAll(set, 0, nil); !errors.Is(err, errCorrupt) || len(batches) != 0 {
			t.Errorf("%s: %v, %v", name, batches, err)
		}
	}
}

// Decompressed bytes are bounded by handing batches over before more is decompressed.
func TestDecodeHandsOverBeforeGrowing(t *testing.T) {
	t.Parallel()
	var plans []batchPlan
	for i := range 8 {
		plans = append(plans, batchPlan{base: int64(i), codec: 4, records: values(strings.Repeat("x", 1<<20))})
	}
	d := decoder{limit: 2 << 20, refused: func(error) {}}
	calls := 0
	if err := d.decode(buildSet(t, plans...), 0, nil, func(b *Batch) error {
		calls++
		for _, r := range b.Records {
			if len(r.Value) != 1<<20 || strings.Trim(string(r.Value), "x") != "" {
				t.Error("a value was overwritten before it was handed over")
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if calls != 4 {
		t.Errorf("handed over %d times, want 4: 8 MiB in pieces of 2", calls)
	}
}

func TestDecodeStopsAtHandlerError(t *testing.T) {
	t.Parallel()
	set := buildSet(t, batchPlan{records: values("a")}, batchPlan{base: 1, attributes: attributeAppendTime, records: values("b")})
	failure, calls := errors.New("no"), 0
	d := decoder{limit: 1 << 20}
	err := d.decode(set, 0, nil, func(*Batch) error { calls++; return failure })
	if !errors.Is(err, failure) || calls != 1 {
		t.Errorf("%v after %d calls", err, calls)
	}
}
