package event_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"mayfly/pipeline/event"
	"mayfly/retention/address"
)

// tree reads one JSON value with the standard library: objects as
// map[string]any. It tells a duplicate key, and how deep the value goes.
type tree struct {
	*json.Decoder
	duplicate bool
	deepest   int
}

func (r *tree) value(depth int) (any, error) {
	token, err := r.Token()
	if err != nil {
		return nil, err
	}
	delim, ok := token.(json.Delim)
	if !ok {
		return token, nil
	}
	r.deepest = max(r.deepest, depth)
	object := map[string]any{}
	for i := 0; r.More(); i++ {
		key := strconv.Itoa(i)
		if delim == '{' {
			token, err := r.Token()
			if err != nil {
				return nil, err
			}
			key = token.(string)
		}
		if _, seen := object[key]; seen {
			r.duplicate = true
		}
		if object[key], err = r.value(depth + 1); err != nil {
			return nil, err
		}
	}
	if _, err := r.Token(); err != nil {
		return nil, err
	}
	if delim == '[' {
		return []any{}, nil
	}
	return object, nil
}

// The standard library puts U+FFFD in the place of half a surrogate pair.
var replaced = regexp.MustCompile(`(?i)\\ufffd|�`)

// checkAgainstOracle compares a decoder's answer with the standard library's.
func checkAgainstOracle(t *testing.T, value []byte, paths map[string][]string, e event.Event, refusal event.Refusal) {
	reader := &tree{Decoder: json.NewDecoder(bytes.NewReader(value))}
	reader.UseNumber()
	v, err := reader.value(1)
	root, isObject := v.(map[string]any)
	_, tail := reader.Token()
	valid := err == nil && isObject && errors.Is(tail, io.EOF) && json.Valid(value)
	halfPair := strings.Contains(strings.ToLower(string(value)), `\ud`)
	switch refusal {
	case event.Tombstone, event.TooLarge:
		return
	case event.Empty:
		if len(bytes.TrimSpace(value)) != 0 {
			t.Error("empty, but it is not")
		}
	case event.NotJSON:
		if valid {
			t.Error("not JSON, but the standard library reads it")
		}
	case event.BadUTF8:
		if utf8.Valid(value) && !halfPair {
			t.Error("bad UTF-8, but it is good")
		}
	case event.DuplicateKey:
		if !reader.duplicate {
			t.Error("duplicate key, but the standard library sees none")
		}
	case event.TooDeep:
		if err == nil && reader.deepest <= event.MaxDepth {
			t.Error("too deep, but it is not")
		}
	default:
		if !valid || reader.duplicate || reader.deepest > event.MaxDepth || !utf8.Valid(value) {
			t.Errorf("answer %q, but: valid %v, duplicate %v, depth %d", refusal, valid, reader.duplicate, reader.deepest)
		}
		if refusal == event.Accepted && (!halfPair || !replaced.Match(value)) {
			checkFields(t, root, paths, e)
		}
	}
}

func checkFields(t *testing.T, root map[string]any, paths map[string][]string, e event.Event) {
	get := func(name string) any {
		var v any = root
		for _, key := range paths[name] {
			object, _ := v.(map[string]any)
			v = object[key]
		}
		return v
	}
	text := func(name, absent, got string) {
		want, ok := get(name).(string)
		if !ok {
			want = absent
		}
		if got != want {
			t.Errorf("%s: got %q, the standard library %q", name, got, want)
		}
	}
	text("account", "", e.Account)
	text("event", "connect", e.Kind)
	text("session", "", e.Session)
	text("server", "", e.Server)
	text("transport", "", e.Transport)
	text("client", "", e.Client)
	text("outcome", "ok", e.Outcome)
	if want, err := address.Parse(get("ip").(string)); err != nil || want != e.Address {
		t.Error("ip differs")
	}
	instant := func(name string, got int64) {
		var want int64
		switch v := get(name).(type) {
		case json.Number:
			want, _ = v.Int64()
		case string:
			at, err := time.Parse(time.RFC3339, v)
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			want = at.UnixMilli()
		}
		if got != want {
			t.Errorf("%s: got %d, want %d", name, got, want)
		}
	}
	instant("time", e.Time)
	instant("since", e.Since)
	port, known := get("port").(json.Number)
	if known != e.Ports.Known || known && port.String() != strconv.Itoa(int(e.Ports.First)) {
		t.Error("port differs")
	}
	if end, ok := get("port_end").(json.Number); ok {
		port = end
	}
	if known && port.String() != strconv.Itoa(int(e.Ports.Last)) {
		t.Error("port_end differs")
	}
	rtt := -1.0
	if v, ok := get("rtt_ms").(json.Number); ok {
		rtt, _ = v.Float64()
	}
	if rtt != e.RTT {
		t.Errorf("rtt_ms: got %v, want %v", e.RTT, rtt)
	}
}

// Every byte at every place of a string, so that each is met by the eight-byte
// steps and by what is left behind them.
func TestEveryByteInAString(t *testing.T) {
	t.Parallel()
	d := decoder(t, nil)
	for length := range 20 {
		for place := range length {
			for b := range 256 {
				text := strings.Repeat("x", place) + string([]byte{byte(b)}) + strings.Repeat("y", length-place-1)
				value := []byte(`{"time":1,"account":"a","ip":"::1","x":"` + text + `","session":"` + text + `"}`)
				var e event.Event
				refusal := d.Decode(value, &e)
				switch good := json.Valid(value) && utf8.Valid(value); {
				case !good && refusal != event.NotJSON && refusal != event.BadUTF8:
					t.Errorf("byte %#x at %d of %d: refusal %q", b, place, length, refusal)
				case good && b == 0x7f && refusal != event.BadField:
					t.Errorf("a control character at %d of %d: refusal %q", place, length, refusal)
				case good && b != 0x7f && (refusal != event.Accepted || e.Session != text):
					t.Errorf("byte %#x at %d of %d: refusal %q", b, place, length, refusal)
				}
			}
		}
	}
}

func TestDurations(t *testing.T) {
	t.Parallel()
	d := decoder(t, nil)
	random := rand.New(rand.NewPCG(3, 4))
	for i := range 50_000 {
		text := strconv.FormatUint(random.Uint64N(1<<62), 10)
		text = text[:1+random.IntN(len(text))]
		if point := random.IntN(len(text)); point > 0 && i%4 > 0 {
			text = text[:point] + "." + text[point:]
		}
		if len(text) > 1 && text[0] == '0' && text[1] != '.' {
			continue
		}
		want, err := strconv.ParseFloat(text, 64)
		if err != nil {
			t.Fatal(err)
		}
		var e event.Event
		refusal := d.Decode([]byte(`{"time":1,"account":"a","ip":"::1","rtt_ms":`+text+`}`), &e)
		if refusal != event.Accepted || e.RTT != want {
			t.Errorf("%s: %v, want %v; refusal %q", text, e.RTT, want, refusal)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		typical, nested, ``, ` {}`, `[1]`, `{"time":1,"account":"a","ip":"::1","port":1,"port_end":2}`,
		`{"ti\u006de":-5,"account":"\ud83d\ude00\n","ip":"192.0.2.1","since":"2026-03-01T12:30:45.6+01:00","rtt_ms":1.5e-7}`,
		`{"a":{"a":1,"\u0061":2}}`, `{"a":"\ud800"}`, "{\"a\":\"\xff\"}", `{"ip":1,"ip":2}`, strings.Repeat(`{"a":[`, 20), `{"a":[true,false,null,-0.0,{}]}`,
		`{"account":"a","ip":"::ffff:192.0.2.1","time":1,"rtt_ms":123456789012345.6,"client":null,"event":"x_1","outcome":"bad"}`,
		`{"@timestamp":1,"user":{"id":"a","x":{"id":1}},"client":{"addr":"::1","port":null},"kind":null,"host":""}`,
	} {
		f.Add([]byte(seed))
	}
	flat, deep := map[string][]string{}, map[string][]string{}
	for _, name := range []string{"time", "account", "ip", "port", "port_end", "event", "session", "since", "server", "transport", "client", "outcome", "rtt_ms"} {
		flat[name], deep[name] = []string{name}, []string{name}
		if path, ok := nestedFields[name]; ok {
			deep[name] = strings.Split(path, ".")
		}
	}
	deep["client"] = []string{"client", "", "none"} // its name is taken by client.addr
	d1, d2 := decoder(f, nil), decoder(f, nestedFields)
	f.Fuzz(func(t *testing.T, value []byte) {
		if value == nil {
			value = []byte{}
		}
		var e event.Event
		refusal := d1.Decode(value, &e)
		checkAgainstOracle(t, value, flat, e, refusal)
		if refusal == event.Accepted {
			var again event.Event
			if refusal := decoder(t, nil).Decode(event.Append(nil, &e), &again); refusal != event.Accepted {
				t.Errorf("what was accepted is written so that it is refused: %q", refusal)
			}
			same(t, e, again)
		}
		refusal = d2.Decode(value, &e)
		checkAgainstOracle(t, value, deep, e, refusal)
	})
}
