package event_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mayfly/pipeline/event"
	"mayfly/retention"
	"mayfly/retention/address"
	"mayfly/retention/record"
)

var _ retention.Fielded = (*event.Event)(nil)

// plain is an event without the methods that hide what is in it, for comparisons.
type plain event.Event

// same fails the test where two events differ.
func same(t *testing.T, want, got event.Event) {
	t.Helper()
	byValue := cmp.Comparer(func(a, b address.Address) bool { return a == b })
	if diff := cmp.Diff(plain(want), plain(got), byValue); diff != "" {
		t.Errorf("event (-want +got):\n%s", diff)
	}
}

func ip(t testing.TB, s string) address.Address {
	t.Helper()
	a, err := address.Parse(s)
	if err != nil {
		t.Fatalf("parsing test address: %v", err)
	}
	return a
}

func decoder(t testing.TB, fields event.FieldMap) *event.Decoder {
	t.Helper()
	d, err := event.NewDecoder(fields)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func full(t testing.TB) event.Event {
	return event.Event{
		Time:      time.Date(2026, 3, 1, 12, 30, 45, 678e6, time.UTC).UnixMilli(),
		Since:     time.Date(2026, 3, 1, 11, 0, 0, 0, time.UTC).UnixMilli(),
		Address:   ip(t, "2001:db8::7"),
		Ports:     record.Ports{First: 1024, Last: 2047, Known: true},
		Account:   "acct-1",
		Kind:      "alive",
		Session:   "s1",
		Server:    "edge-1",
		Transport: "tcp",
		Client:    "client/1.0",
		Outcome:   "timeout",
		RTT:       12.25,
	}
}

func TestDecodeEverything(t *testing.T) {
	t.Parallel()
	d := decoder(t, nil)
	e := event.Event{Topic: "logins"}
	refusal := d.Decode([]byte(` {"time":"2026-03-01T13:30:45.6789+01:00", "since":1772362800000,
		"account":"acct-1", "ip":"2001:DB8:0::7", "port":1024, "port_end":2047, "event":"alive", "session":"s1",
		"server":"edge-1", "transport":"tcp", "client":"client\/1.0", "outcome":"timeout", "rtt_ms":1.225e1,
		"unknown":{"a":[1,true,false,null,"\u00e9",{}],"b":-0.5E+3}} `), &e)
	if refusal != event.Accepted {
		t.Fatalf("refused: %s", refusal)
	}
	want := full(t)
	want.Topic = "logins"
	same(t, want, e)
}

func TestDecodeDefaults(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		`{"time":-1,"account":"a","ip":"192.0.2.1"}`,
		`{"time":-1,"account":"a","ip":"192.0.2.1","port":null,"port_end":null,"event":null,"since":null,` +
			`"session":null,"server":null,"transport":null,"client":null,"outcome":null,"rtt_ms":null}`,
	} {
		e := full(t) // what an earlier message left must not show
		if refusal := decoder(t, nil).Decode([]byte(text), &e); refusal != event.Accepted {
			t.Fatalf("refused: %s", refusal)
		}
		same(t, event.Event{Time: -1, Account: "a", Address: ip(t, "192.0.2.1"), Kind: "connect", Outcome: "ok", RTT: -1}, e)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	const required = `"time":1,"account":"a","ip":"192.0.2.1"`
	with := func(more string) string { return `{` + required + `,` + more + `}` }
	nested := func(n int) string {
		return with(`"x":` + strings.Repeat(`[`, n) + strings.Repeat(`]`, n))
	}
	tests := map[event.Refusal][]string{
		event.Accepted: {
			`{` + required + `}`, with(`"port":0`), with(`"port":65535,"port_end":65535`), with(`"port_end":9,"port":9`),
			with(`"event":"x"`), with(`"event":"` + strings.Repeat("a", 32) + `"`), with(`"since":0`), with(`"session":""`),
			with(`"session":"` + strings.Repeat("é", 64) + `"`), with(`"client":"\ud83d\ude00"`), with(`"rtt_ms":0`), with(`"rtt_ms":-0.0`),
			with(`"IP":1`), with(`"Time":1`), with(`"x":{"ip":1},"y":{"ip":2}`), with(`"":1`), with(`"x":[{"a":1},{"a":1}]`),
			nested(31), // the object itself is one level
			`{"time":"0001-01-01T00:00:00Z","account":"a","ip":"::1"}`, `{"time":253402300799999,"account":"a","ip":"::1"}`,
			`{"time":-62135596800000,"account":" a ","ip":"::1"}`, `{"time":"2024-02-29T23:59:59.000-23:59","account":"a","ip":"::1"}`,
			`{"time":-0,"account":"` + strings.Repeat("a", 128) + `","ip":"::1"}`,
		},
		event.Empty:    {``, ` `, "\r\n\t "},
		event.TooLarge: {strings.Repeat(" ", event.MaxSize+1), `{` + required + strings.Repeat(" ", event.MaxSize) + `}`},
		event.NotJSON: {
			`{`, `[]`, `"x"`, `1`, `null`, `{}}`, `{}{}`, `{} x`, `{,}`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{"a":1 "b":2}`, `{a:1}`, `{'a':1}`,
			"\ufeff{}", "\x00", "{\"a\":\"\n\"}", `{"a":"\x"}`, `{"a":"\u12"}`, `{"a":"\u12g4"}`, `{"a":"x`, `{"a":"\`,
			`{"a":01}`, `{"a":-}`, `{"a":1.}`, `{"a":.5}`, `{"a":1e}`, `{"a":1e+}`, `{"a":+1}`, `{"a":0x1}`, `{"a":NaN}`, `{"a":-01}`,
			`{"time":01}`, `{"time":-}`, `{"a":tru}`, `{"a":nul`, `{"a":falsE}`, `{"a":[1,]}`, `{"a":[1 2]}`, `{"a":[`, `{"a":[}`, `{"a" 1}`, `{"a":/**/1}`,
			with(`"x":tru`), `{"ip":7,"x":`, // what is wrong with the JSON comes first
		},
		event.BadUTF8: {
			"{\"a\":\"\xff\"}", "{\"\xc3\":1}", "{\"a\":\"\xed\xa0\x80\"}", "{\"a\":\"\xc0\x80\"}", "\xff", with("\"x\":\"\xf5\""),
			`{"a":"\ud800"}`, `{"a":"\udc00"}`, `{"a":"\ud800\ud800"}`, `{"a":"\ud800x\udc00"}`, `{"\ud800":1}`, `{"a":"\ud83d\u0041"}`,
			`{"account":"\udead"}`, `{"a":["\uD900"]}`,
		},
		event.DuplicateKey: {
			with(`"ip":"192.0.2.1"`), with(`"\u0069p":"192.0.2.1"`), with(`"x":1,"x":1`), with(`"x":1,"\u0078":1`), with(`"x":{"y":1,"y":2}`),
			with(`"x":[[{"y":1,"z":1,"\u0079":2}]]`), with(`"":1,"":1`), with(`"/":1,"\/":1`), with(`"event":null,"event":null`),
			with(`"é":1,"\u00E9":1`), with(`"😀":1,"\ud83d\ude00":1`), `{"ip":1,"ip":1,`,
		},
		event.TooDeep: {
			nested(32), nested(1000), `{"a":` + strings.Repeat(`{"a":`, 32), strings.Repeat(`{"a":[`, 17),
		},
		event.NoTime:    {`{}`, `{"account":"a","ip":"192.0.2.1"}`, `{"time":null,"account":"a","ip":"192.0.2.1"}`},
		event.NoAccount: {`{"time":1,"ip":"192.0.2.1"}`, `{"time":1,"account":null,"ip":"192.0.2.1"}`},
		event.NoIP:      {`{"time":1,"account":"a"}`, `{"time":1,"account":"a","ip":null}`},
		event.BadTime:   nil, // TestBadTimes
		event.BadIP:     nil, // TestSpellingsOfAnAddress
		event.BadAccount: {
			`{"time":1,"account":"","ip":"::1"}`, `{"time":1,"account":7,"ip":"::1"}`, `{"time":1,"account":{},"ip":"::1"}`, `{"time":1,"account":["a"],"ip":"::1"}`,
			`{"time":1,"account":"` + strings.Repeat("a", 129) + `","ip":"::1"}`, `{"time":1,"account":"` + strings.Repeat("é", 64) + `a","ip":"::1"}`,
			`{"time":1,"account":"a\n","ip":"::1"}`, `{"time":1,"account":"\u0000","ip":"::1"}`, "{\"time\":1,\"account\":\"a\x7f\",\"ip\":\"::1\"}",
			`{"time":1,"account":"\u0085","ip":"::1"}`, "{\"time\":1,\"account\":\"\u009f\",\"ip\":\"::1\"}", `{"time":1,"account":true,"ip":"::1"}`,
			`{"account":0,"ip":0,"time":0}`, // the first one is told
		},
		event.BadPort: {
			with(`"port":-1`), with(`"port":-0`), with(`"port":65536`), with(`"port":80.0`), with(`"port":8e1`), with(`"port":"80"`), with(`"port":[80]`),
			with(`"port":18446744073709551617`), with(`"port_end":1`), with(`"port":null,"port_end":1`), with(`"port":2,"port_end":1`), with(`"port":2,"port_end":65536`),
			with(`"port":2,"port_end":"3"`), with(`"port":true`), with(`"port":99999999999999999999999999`),
		},
		event.BadEvent: {
			with(`"event":""`), with(`"event":"Connect"`), with(`"event":"1x"`), with(`"event":"_x"`), with(`"event":"a b"`), with(`"event":"a-b"`), with(`"event":1`),
			with(`"event":"` + strings.Repeat("a", 33) + `"`), with(`"event":"é"`), with(`"event":{}`), with(`"event":"a{"`), with("\"event\":\"a`\""),
		},
		event.BadOutcome: {with(`"outcome":""`), with(`"outcome":"OK"`), with(`"outcome":0`), with(`"outcome":false`)},
		event.BadSince:   {with(`"since":""`), with(`"since":1.5`), with(`"since":"yesterday"`), with(`"since":{}`), with(`"since":1e3`)},
		event.BadField: {
			with(`"session":1`), with(`"server":[]`), with(`"transport":{}`), with(`"client":true`), with(`"session":"a\tb"`), with(`"server":"\u001b"`),
			with(`"session":"` + strings.Repeat("a", 129) + `"`), with(`"server":"` + strings.Repeat("a", 129) + `"`),
			with(`"transport":"` + strings.Repeat("a", 65) + `"`), with(`"client":"` + strings.Repeat("a", 65) + `"`),
		},
		event.BadRTT: {with(`"rtt_ms":-1`), with(`"rtt_ms":1e999`), with(`"rtt_ms":"1"`), with(`"rtt_ms":-1e-300`), with(`"rtt_ms":[]`), with(`"rtt_ms":false`)},
	}
	d := decoder(t, nil)
	for want, texts := range tests {
		for _, text := range texts {
			e := event.Event{Topic: "t", Account: "left over"}
			if got := d.Decode([]byte(text), &e); got != want {
				t.Errorf("%.80q: refusal %q, want %q", text, got, want)
			}
			if want != event.Accepted {
				same(t, event.Event{Topic: "t"}, e)
			}
		}
	}
	for _, refusal := range event.Refusals {
		if _, tested := tests[refusal]; !tested && refusal != event.Tombstone {
			t.Errorf("refusal %q has no test", refusal)
		}
	}
	if got := d.Decode(nil, &event.Event{}); got != event.Tombstone {
		t.Errorf("nil: refusal %q", got)
	}
	if list := slices.Compact(slices.Sorted(slices.Values(event.Refusals))); len(list) != len(event.Refusals) {
		t.Error("a refusal is listed twice")
	}
}

func TestSpellingsOfAnAddress(t *testing.T) {
	t.Parallel()
	d := decoder(t, nil)
	decode := func(text string) (event.Event, event.Refusal) {
		var e event.Event
		refusal := d.Decode(fmt.Appendf(nil, `{"time":1,"account":"a","ip":%s}`, text), &e)
		return e, refusal
	}
	for canonical, spellings := range map[string][]string{
		"192.0.2.4":   {`"192.0.2.4"`, `"::ffff:192.0.2.4"`, `"::FFFF:192.0.2.4"`, `"::ffff:c000:0204"`, `"0:0:0:0:0:ffff:c000:204"`, `"192.0.2\u002e4"`},
		"2001:db8::a": {`"2001:db8::a"`, `"2001:DB8::A"`, `"2001:0db8:0000:0000:0000:0000:0000:000a"`, `"2001:db8:0:0::0.0.0.10"`},
	} {
		for _, spelling := range spellings {
			e, refusal := decode(spelling)
			if refusal != event.Accepted || e.Address != ip(t, canonical) {
				t.Errorf("%s: refusal %q, not the address %s", spelling, refusal, canonical)
			}
		}
	}
	for _, text := range []string{
		`""`, `" 192.0.2.4"`, `"192.0.2.04"`, `"192.0.2"`, `"192.0.2.256"`, `"0xc0.0.2.4"`, `"192.0.2.4/32"`, `"192.0.2.4:80"`, `"fe80::1%eth0"`, `"fe80::1%"`, `"::ffff:192.0.2.4%1"`,
		`"::ffff:1.2.3.04"`, `"[::1]"`, `"1::2::3"`, `"::12345"`, `"example.org"`, `3221225988`, `{}`, `["192.0.2.4"]`, `true`, `"192.0.2.4\u0000"`, `"` + strings.Repeat("1", 5000) + `"`,
	} {
		if _, refusal := decode(text); refusal != event.BadIP {
			t.Errorf("%.40s: refusal %q, want %q", text, refusal, event.BadIP)
		}
	}
}

func TestEventRedactsItself(t *testing.T) {
	t.Parallel()
	e := full(t)
	text, err := json.Marshal(map[string]any{"value": e, "pointer": &e})
	if err != nil {
		t.Fatal(err)
	}
	out := string(text) + fmt.Sprintf("%v %+v %#v %s %q %d %x %v %+v", e, e, e, e, e, e, e, &e, struct{ E event.Event }{e}) + e.String() + e.GoString()
	for _, secret := range []string{"acct", "2001", "db8", "1024", "32303031"} {
		if strings.Contains(out, secret) {
			t.Errorf("%q shows in %s", secret, out)
		}
	}
	if strings.Count(out, event.Redacted) != 13 {
		t.Errorf("unexpected output %s", out)
	}
}

func TestField(t *testing.T) {
	t.Parallel()
	e := full(t)
	e.Topic = "logins"
	got := map[string]string{}
	for _, name := range append(slices.Clone(retention.MatchFields), "account", "ip", "session", "time", "") {
		got[name] = e.Field(name)
	}
	want := map[string]string{
		"topic": "logins", "event": "alive", "server": "edge-1", "transport": "tcp", "client": "client/1.0", "outcome": "timeout",
		"account": "", "ip": "", "session": "", "time": "", "": "",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestAppendRoundTrip(t *testing.T) {
	t.Parallel()
	d := decoder(t, nil)
	events := []event.Event{full(t)}
	for range 4 {
		events = append(events, full(t))
	}
	events[1].Since, events[1].Ports, events[1].RTT = 0, record.Ports{}, -1
	events[1].Session, events[1].Server, events[1].Transport, events[1].Client = "", "", "", ""
	events[2].Account, events[2].Server = `quo"te \ é 😀 <&>`, "\u2028"
	events[2].Ports = record.Ports{Known: true}
	events[3].Time, events[3].Since, events[3].RTT = -62135596800000, 253402300799999, math.MaxFloat64
	events[4].Time, events[4].Since, events[4].RTT = -1, 1, 5e-324
	for i, want := range events {
		text := event.Append([]byte("x"), &want)[1:]
		if !json.Valid(text) {
			t.Errorf("event %d: not JSON", i)
		}
		var got event.Event
		if refusal := d.Decode(text, &got); refusal != event.Accepted {
			t.Errorf("event %d: refusal %q", i, refusal)
		}
		same(t, want, got)
	}
}

func TestAppendOutOfBounds(t *testing.T) {
	t.Parallel()
	e := event.Event{Time: math.MaxInt64, Since: math.MinInt64, Account: "a\xff\x00\n", RTT: math.Inf(1)}
	text := event.Append(nil, &e)
	if !json.Valid(text) || bytes.Contains(text, []byte("rtt")) {
		t.Errorf("%s", text)
	}
	if refusal := decoder(t, nil).Decode(text, &e); refusal == event.Accepted {
		t.Error("accepted")
	}
}
