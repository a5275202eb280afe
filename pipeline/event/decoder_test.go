package event_test

import (
	"fmt"
	"strings"
	"testing"

	"mayfly/pipeline/event"
)

// typical is a connection event of 199 bytes.
const typical = `{"time":"2026-03-01T12:30:45.678Z","account":"user-1048576","ip":"203.0.113.207","port":50123,"event":"connect",` +
	`"session":"7f3a9c","server":"edge-17","transport":"tcp","outcome":"ok","rtt_ms":23.417}`

const nested = `{"@timestamp":"2026-03-01T12:30:45.678Z","user":{"id":"u-1048576"},"client":{"addr":"203.0.113.207","port":50123},` +
	`"kind":"connect","host":"edge-17","level":"info","message":"caf\u00e9 \"open\"","tags":["a","b"]}`

var nestedFields = event.FieldMap{
	"time": "@timestamp", "account": "user.id", "ip": "client.addr", "port": "client.port", "event": "kind", "server": "host",
}

func TestDecodeAllocatesNothing(t *testing.T) { // not parallel: AllocsPerRun counts everybody's
	if len(typical) != 199 {
		t.Errorf("the typical event has %d bytes", len(typical))
	}
	for text, fields := range map[string]event.FieldMap{typical: nil, nested: nestedFields} {
		d, value := decoder(t, fields), []byte(text)
		var e event.Event
		if n := testing.AllocsPerRun(100, func() {
			if refusal := d.Decode(value, &e); refusal != event.Accepted {
				t.Fatalf("refused: %s", refusal)
			}
		}); n != 0 {
			t.Errorf("%v allocations", n)
		}
	}
	e, dst := full(t), make([]byte, 0, 512)
	if n := testing.AllocsPerRun(100, func() { dst = event.Append(dst[:0], &e) }); n != 0 {
		t.Errorf("Append: %v allocations", n)
	}
}

// The strings of an event with escapes stay whole while the decoder's space for
// them grows.
func TestDecodeManyEscapes(t *testing.T) {
	t.Parallel()
	d := decoder(t, nil)
	var text strings.Builder
	text.WriteString(`{"time":1,"account":"\u0061\u00e9","ip":"::\u0031","session":"\/s"`)
	for i := range 2000 {
		fmt.Fprintf(&text, `,"\u0078%d":"\u0079"`, i)
	}
	text.WriteString(`,"server":"\u0073"}`)
	var e event.Event
	if refusal := d.Decode([]byte(text.String()), &e); refusal != event.Accepted {
		t.Fatalf("refused: %s", refusal)
	}
	same(t, event.Event{Time: 1, Account: "aé", Address: ip(t, "::1"), Session: "/s", Server: "s", Kind: "connect", Outcome: "ok", RTT: -1}, e)
}

// Strings are looked at for bytes that are not ASCII as they are read: all of them.
func TestBytesThatAreNoUTF8AreRefusedInEveryString(t *testing.T) {
	t.Parallel()
	const whole = `{"time":1,"account":"ada~","ip":"::1","session":"s~","other~":{"inner~":["text~",{"a~":"b~"}]},"server":"w~"}`
	d := decoder(t, nil)
	for at := range whole {
		if whole[at] != '~' {
			continue
		}
		for text, want := range map[string]event.Refusal{"\xc3": event.BadUTF8, "\xc3\xa9": event.Accepted} {
			value := strings.ReplaceAll(whole[:at], "~", "") + text + strings.ReplaceAll(whole[at+1:], "~", "")
			for range 2 { // the second time, keys are known by what stood there
				if got := d.Decode([]byte(value), &event.Event{}); got != want {
					t.Errorf("%q: refusal %q, want %q", value, got, want)
				}
			}
		}
	}
}

func TestDuplicateAmongMany(t *testing.T) {
	t.Parallel()
	d := decoder(t, nil)
	for _, n := range []int{1, 2, 30, 33, 1000, 3000} {
		var text strings.Builder
		text.WriteString(`{"time":1,"account":"a","ip":"::1"`)
		for i := range n {
			fmt.Fprintf(&text, `,"%d":[{"a":1}]`, i)
		}
		for tail, want := range map[string]event.Refusal{"}": event.Accepted, `,"0":1}`: event.DuplicateKey} {
			for range 2 { // a second time, the table is full of an earlier message
				if got := d.Decode([]byte(text.String()+tail), &event.Event{}); got != want {
					t.Errorf("%d keys%s: refusal %q, want %q", n, tail, got, want)
				}
			}
		}
	}
}

func benchmark(b *testing.B, text string, fields event.FieldMap, want event.Refusal) {
	d, value := decoder(b, fields), []byte(text)
	var e event.Event
	b.SetBytes(int64(len(value)))
	b.ReportAllocs()
	for b.Loop() {
		if refusal := d.Decode(value, &e); refusal != want {
			b.Fatalf("refusal %q", refusal)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	b.Run("typical", func(b *testing.B) { benchmark(b, typical, nil, event.Accepted) })
	b.Run("nested", func(b *testing.B) { benchmark(b, nested, nestedFields, event.Accepted) })
	b.Run("refused", func(b *testing.B) {
		benchmark(b, strings.Replace(typical, "203.0.113.207", "203.0.113.007", 1), nil, event.BadIP)
	})
	// Messages made to be slow: the cost per byte must not grow.
	var keys strings.Builder
	for i := 0; keys.Len() < event.MaxSize-16; i++ {
		fmt.Fprintf(&keys, `"%x":0,`, i)
	}
	b.Run("keys64k", func(b *testing.B) { benchmark(b, `{`+keys.String()+`"":0}`, nil, event.NoTime) })
	digits := strings.Repeat("9", event.MaxSize-32)
	b.Run("digits64k", func(b *testing.B) { benchmark(b, `{"rtt_ms":0.`+digits+`}`, nil, event.NoTime) })
}

func BenchmarkAppend(b *testing.B) {
	d := decoder(b, nil)
	var e event.Event
	if refusal := d.Decode([]byte(typical), &e); refusal != event.Accepted {
		b.Fatalf("refused: %s", refusal)
	}
	dst := make([]byte, 0, 512)
	b.ReportAllocs()
	for b.Loop() {
		dst = event.Append(dst[:0], &e)
	}
}
