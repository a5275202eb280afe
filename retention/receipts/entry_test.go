package receipts

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mayfly/retention"
	"mayfly/retention/tally"
)

var noon = time.Date(2026, 11, 7, 12, 0, 0, 0, time.UTC)

// samples are one entry of each type, or more.
func samples() []Entry {
	e := retention.Epoch{Policy: "web", Start: noon.UnixMilli(), Length: 60_000}
	deadline := noon.Add(time.Hour)
	facts := Facts{Method: MethodSealed, Assurance: "unattested", Binary: strings.Repeat("ab", 32)}
	entries := []Entry{
		&Policy{Name: "web", Basis: `legitimate interest: "abuse" \ Störung`, Window: time.Hour, Length: time.Minute, First: e.Start},
		&Removed{Name: "web"},
		&Key{Epoch: e, Deadline: deadline, ID: "0123456789abcdef", Shards: 16},
		&Purged{Epoch: e, Deadline: deadline, At: deadline.Add(17 * time.Millisecond), Keys: []string{"0123456789abcdef"}, KeyCount: 1, Nodes: 2, Facts: facts},
		&Purged{Epoch: e, Deadline: deadline, At: deadline.Add(time.Hour), Late: true, KeyCount: 0, Nodes: 1, Tally: &Tally{Counted: deadline}, Facts: facts},
		&NeverMinted{Epoch: e, Deadline: deadline, Count: 3, At: deadline},
		&Looked{ID: "ABCDEF234", Lookup: sample()},
		&Canary{Epoch: e, Deadline: deadline, At: deadline.Add(3 * time.Second), Found: 812, Frames: 2, Keys: 2, Nodes: 2, Caches: 1},
		&Canary{Epoch: e, Deadline: deadline, At: deadline, Found: -1, Unanswered: 1, Failures: []string{FailureKey, FailureRead}},
		&Planted{ID: "ABCDEF236", Commitment: strings.Repeat("0f", 32), Count: 20},
		&Purged{Epoch: e, Deadline: deadline, At: deadline, KeyCount: 0, Nodes: 1, Tally: sampleTally(deadline), Facts: facts},
		&Looked{ID: "ABCDEF235", Lookup: Lookup{Case: "A-1", Reason: "test", Subject: "batch", Batch: 12}},
	}
	for _, e := range entries {
		e.stamp(noon)
	}
	return entries
}

func sampleTally(deadline time.Time) *Tally {
	return &Tally{
		Counted: deadline.Add(-250 * time.Millisecond), Stored: 5_000, Rejected: 3, Expired: 2, Partial: true, Omitted: 1,
		Topics: []Topic{
			{ID: strings.Repeat("0", 32), Ranges: []OffsetRange{{0, 0, 0}}},
			{ID: strings.Repeat("1f", 16), Name: "connections", Ranges: []OffsetRange{{0, 0, 4_999}, {0, 5_001, 9_000}, {11, 7, 7}}},
		},
	}
}

// What is written is JSON with sorted names, and is read back as it was.
func TestMarshalAndParse(t *testing.T) {
	t.Parallel()
	for _, e := range samples() {
		text, err := Marshal(e)
		if err != nil {
			t.Fatalf("%+v: %v", e, err)
		}
		back, err := Parse(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if diff := cmp.Diff(e, back); diff != "" {
			t.Errorf("%s: %s", text, diff)
		}
		var object map[string]any
		if err := json.Unmarshal(text, &object); err != nil || object["type"] != e.Type() {
			t.Errorf("%s: %v", text, err)
		}
		if !slices.Contains(Types, e.Type()) {
			t.Errorf("type %s is in no list", e.Type())
		}
		if sorted := canonical(t, text); sorted != string(text) {
			t.Errorf("%s is not canonical, %s is", text, sorted)
		}
	}
}

// canonical writes JSON with sorted names, as encoding/json does for maps.
func canonical(t *testing.T, text []byte) string {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(string(text)))
	decoder.UseNumber()
	var object map[string]any
	if err := decoder.Decode(&object); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(object); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	policy, _ := Marshal(samples()[0])
	purged, _ := Marshal(samples()[3])
	looked, _ := Marshal(samples()[6])
	swap := func(text []byte, old, replacement string) string {
		t.Helper()
		if !strings.Contains(string(text), old) {
			t.Fatalf("%s is not in %s", old, text)
		}
		return strings.Replace(string(text), old, replacement, 1)
	}
	counted, err := Marshal(samples()[10])
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"overlapping ranges":      swap(counted, `[0,5001,9000]`, `[0,4999,9000]`),
		"ranges that touch":       swap(counted, `[0,5001,9000]`, `[0,5000,9000]`),
		"a range inside another":  swap(counted, `[0,5001,9000]`, `[0,17,18]`),
		"a reversed range":        swap(counted, `[0,5001,9000]`, `[0,9000,5001]`),
		"ranges out of order":     swap(counted, `[0,0,4999],[0,5001,9000]`, `[0,5001,9000],[0,0,4999]`),
		"partitions out of order": swap(counted, `[0,0,4999],[0,5001,9000],[11,7,7]`, `[11,7,7],[0,0,4999],[0,5001,9000]`),
		"a negative offset":       swap(counted, `[11,7,7]`, `[11,-7,7]`),
		"a negative partition":    swap(counted, `[0,0,4999]`, `[-1,0,4999]`),
		"a partition too large":   swap(counted, `[11,7,7]`, `[2147483648,7,7]`),
		"an offset too large":     swap(counted, `[11,7,7]`, `[11,7,4611686018427387904]`),
		"too many ranges":         swap(counted, `[11,7,7]`, manyRanges(MaxRanges)),
		"half a range":            swap(counted, `[11,7,7]`, `[11,7]`),
		"a range of four":         swap(counted, `[11,7,7]`, `[11,7,7,7]`),
		"a topic without ranges":  swap(counted, `"ranges":[[0,0,0]]`, `"ranges":[]`),
		"an open list":            swap(counted, `[11,7,7]]}]`, `[11,7,7]]}`),
		"topics out of order":     swap(counted, `"name":""`, `"name":"z"`),
		"too many topics":         swap(counted, `"topics":[`, `"topics":[`+manyTopics(MaxTopics)),
		"a topic's id too short":  swap(counted, strings.Repeat("0", 32), strings.Repeat("0", 31)),
		"a topic named oddly":     swap(counted, `"name":"connections"`, `"name":"ada at 192.0.2.1"`),
		"not partial, but said":   swap(counted, `"partial":true`, `"partial":false`),
		"none omitted, but said":  swap(counted, `"omitted":1`, `"omitted":0`),
		"a negative count":        swap(counted, `"stored":5000`, `"stored":-1`),
		"a count too large":       swap(counted, `"stored":5000`, `"stored":1099511627777`),
		"a count missing":         swap(counted, `"rejected":3,`, ``),
		"counts of no time":       swap(counted, `"counted":1794056399750,`, ``),
		"counted after the purge": swap(counted, `"counted":1794056399750`, `"counted":1794056400001`),
		"nothing":                 "",
		"another type":            `{"time":1,"type":"note"}`,
		"no type":                 `{"time":1}`,
		"an unknown field":        swap(looked, `"case"`, `"account":"ada","case"`),
		"white space":             swap(looked, `,"id"`, `, "id"`),
		"a field twice":           swap(looked, `"events":3`, `"events":3,"events":3`),
		"a field missing":         swap(looked, `"events":3,`, ``),
		"another order":           swap(policy, `"time":1794052800000,"type":"policy"`, `"type":"policy","time":1794052800000`),
		"trailing bytes":          string(looked) + " ",
		"a leading zero":          swap(looked, `"events":3`, `"events":03`),
		"a fraction":              swap(looked, `"events":3`, `"events":3.5`),
		"an exponent":             swap(looked, `"events":3`, `"events":3e2`),
		"an overflow":             swap(looked, `"events":3`, `"events":99999999999999999999`),
		"minus zero":              swap(purged, `"lag_ms":17`, `"lag_ms":-0`),
		"a needless escape":       swap(looked, `spam`, `sp\u0061m`),
		"a control character":     swap(policy, `abuse`, "ab\nuse"),
		"invalid UTF-8":           swap(policy, `abuse`, "ab\xffuse"),
		"an address as case":      swap(looked, `ABUSE-17`, `192-0-2-1`),
		"an address as id":        swap(looked, `ABCDEF234`, `192.0.2.1`),
		"a subject":               swap(looked, `prefix /24`, `192.0.2.0/24`),
		"a lag that is wrong":     swap(purged, `"lag_ms":17`, `"lag_ms":1`),
		"late that is wrong":      swap(purged, `"late":false`, `"late":true`),
		"an unknown method":       swap(purged, MethodSealed, "trust"),
		"a key id too long":       swap(purged, `0123456789abcdef`, `0123456789abcdef0`),
		"fewer keys than ids":     swap(purged, `"key_count":1`, `"key_count":0`),
		"free text as a digest":   swap(purged, strings.Repeat("ab", 32), "ada at 192.0.2.1"),
		"an epoch spelt oddly":    swap(purged, `"epoch":"web/`, `"epoch":"web/+`),
	} {
		if e, err := Parse([]byte(text)); err == nil {
			t.Errorf("%s passes: %+v", name, e)
		} else if strings.Contains(err.Error(), "192") {
			t.Errorf("%s: the error quotes it: %v", name, err)
		}
	}
}

// manyRanges are n of different partitions, after those of the sample.
func manyRanges(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, ",[%d,0,0]", 11+i)
	}
	return b.String()[1:]
}

func manyTopics(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `{"id":"f%031x","name":"","ranges":[[0,0,0]]},`, i)
	}
	return b.String()
}

// A purge with as much to say as there can be is an entry; what there is no room for is counted.
func TestTheLargestTallyFits(t *testing.T) {
	t.Parallel()
	var sum tally.Sum
	for topic := range 2 * MaxTopics {
		of := tally.Topic{ID: [16]byte{byte(topic)}, Name: fmt.Sprintf("%0*d", maxTopic, topic)}
		for p := range MaxRanges / MaxTopics {
			of.Partitions = append(of.Partitions, tally.Partition{Number: int32(1<<31 - 100 + p), Ranges: []tally.Range{{From: 1<<62 - 2, Next: 1<<62 - 1}}})
		}
		sum.Topics = append(sum.Topics, of)
	}
	sum.Stored = 1 << 60
	e := samples()[10].(*Purged)
	e.Tally = NewTally(&sum, e.Deadline)
	for range MaxKeys {
		e.Keys = append(e.Keys, "0123456789abcdef")
	}
	e.KeyCount = MaxKeys
	text, err := Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	if back, err := Parse(text); err != nil || cmp.Diff(e, back) != "" {
		t.Errorf("%v: %s", err, cmp.Diff(e, back))
	}
	if e.Tally.Omitted != MaxRanges || !e.Tally.Partial || len(e.Tally.Topics) != MaxTopics {
		t.Errorf("%d ranges are omitted, %d topics said", e.Tally.Omitted, len(e.Tally.Topics))
	}
}

// Whatever Parse takes, Marshal writes again byte for byte.
func FuzzParse(f *testing.F) {
	for _, e := range samples() {
		text, err := Marshal(e)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		e, err := Parse(text)
		if err != nil {
			return
		}
		again, err := Marshal(e)
		if err != nil || string(again) != string(text) {
			t.Errorf("%q became %q, %v", text, again, err)
		}
		if !json.Valid(text) {
			t.Errorf("%q is not JSON", text)
		}
	})
}

// Whatever a crash left in the journal, the good entries are those at its beginning.
func FuzzFrames(f *testing.F) {
	f.Add(appendFrame(appendFrame(nil, []byte("one")), []byte("two")))
	f.Add([]byte{0, 3, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, size := frames(data)
		var again []byte
		for _, e := range entries {
			again = appendFrame(again, e)
		}
		if string(again) != string(data[:size]) {
			t.Errorf("%x became %x", data, again)
		}
	})
}

func TestCleanBasis(t *testing.T) {
	t.Parallel()
	long := CleanBasis("a\nb\x00c\xff" + strings.Repeat("ß", MaxBasis))
	if len(long) > MaxBasis || !strings.HasPrefix(long, "a b c?ßß") || CleanBasis(long) != long {
		t.Errorf("%q", long)
	}
}
