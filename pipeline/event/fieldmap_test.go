package event_test

import (
	"strings"
	"testing"

	"mayfly/pipeline/event"
)

func TestFieldMap(t *testing.T) {
	t.Parallel()
	d := decoder(t, event.FieldMap{
		"time": "ts", "ip": "client.addr", "port": "client.port", "account": "/user~1name/a.b/~0",
		"server": "/", "event": "a.b.c.d", "outcome": "a.b.x",
	})
	const text = `{"ts":1,"client":{"port":5,"addr":"192.0.2.9","x":"y"},"user/name":{"":{},"a.b":{"~":"me"}},"":"here",
		"a":{"b":{"c":{"d":"auth_ok"},"x":"late"},"c":1},"time":"ignored","ip":true,"session":"s"}`
	for _, text := range []string{text, strings.NewReplacer(`"addr"`, `"\u0061ddr"`, `"~"`, `"\u007E"`).Replace(text)} {
		var e event.Event
		if refusal := d.Clone().Decode([]byte(text), &e); refusal != event.Accepted {
			t.Fatalf("refused: %s", refusal)
		}
		want := event.Event{Time: 1, Account: "me", Address: ip(t, "192.0.2.9"), Kind: "auth_ok", Outcome: "late", Session: "s", Server: "here", RTT: -1}
		want.Ports.First, want.Ports.Last, want.Ports.Known = 5, 5, true
		same(t, want, e)
	}
	for text, want := range map[string]event.Refusal{
		`{"ts":1,"client":null,"user/name":{"a.b":{"~":"me"}}}`:                               event.NoIP,
		`{"ts":1,"client":"192.0.2.9","user/name":{"a.b":{"~":"me"}}}`:                        event.NoIP,
		`{"ts":1,"client":[{"addr":"192.0.2.9"}],"user/name":{"a.b":{"~":"me"}}}`:             event.NoIP,
		`{"ts":1,"client":{"addr":"192.0.2.9","addr":1}}`:                                     event.DuplicateKey,
		`{"client":{},"client":{}}`:                                                           event.DuplicateKey,
		`{"ts":1,"client":{"addr":"192.0.2.9"}}`:                                              event.NoAccount,
		`{"ts":1,"client":{"addr":{"addr":"192.0.2.9"}},"user/name":{"a.b":{"~":"me"}}}`:      event.BadIP,
		`{"ts":1,"client":{"addr":"192.0.2.9"},"user/name":{"a.b":{"~":"me"}},"a":{"b":{}}}`:  event.Accepted,
		`{"ts":1,"client":{"addr":"192.0.2.9"},"user/name":{"a.b":{"~":"me"}},"a":{"b":{}}}}`: event.NotJSON,
	} {
		var e event.Event
		if got := d.Decode([]byte(text), &e); got != want {
			t.Errorf("%s: refusal %q, want %q", text, got, want)
		}
	}
}

// An own name that a path takes over is no longer that field.
func TestFieldMapTakesNames(t *testing.T) {
	t.Parallel()
	d := decoder(t, event.FieldMap{"account": "session", "ip": "client.addr", "server": "port"})
	var e event.Event
	if refusal := d.Decode([]byte(`{"time":1,"session":"me","client":{"addr":"::1"},"port":"edge"}`), &e); refusal != event.Accepted {
		t.Fatalf("refused: %s", refusal)
	}
	same(t, event.Event{Time: 1, Account: "me", Address: ip(t, "::1"), Server: "edge", Kind: "connect", Outcome: "ok", RTT: -1}, e)
}

func TestFieldMapErrors(t *testing.T) {
	t.Parallel()
	for want, m := range map[string]event.FieldMap{
		`fields: "adress" is no field of an event`:       {"adress": "a"},
		`fields: "" is no field`:                         {"": "a"},
		`fields: ip: the path is empty`:                  {"ip": ""},
		`has an empty key between dots`:                  {"ip": "a..b"},
		`fields: ip: path ".a" has an empty key`:         {"ip": ".a"},
		`fields: ip: path "/a~2": in`:                    {"ip": "/a~2"},
		`fields: ip: path "/~": in`:                      {"ip": "/~"},
		`not UTF-8`:                                      {"ip": "\xff"},
		`is deeper than 32 objects`:                      {"ip": strings.Repeat("a.", 32) + "a"},
		`fields: ip and session: one path is the other`:  {"ip": "a.b", "session": "/a/b"},
		`fields: account and server: one path`:           {"account": "a", "server": "a.b"},
		`fields: ip and client: one path`:                {"client": "a.b.c", "ip": "a.b"},
		`fields: account: another field's path uses`:     {"session": "account"},
		`fields: ip: another field's path uses this nam`: {"server": "ip.server"},
	} {
		err := m.Validate()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: error %v, want %q", m, err, want)
		}
		if _, err := event.NewDecoder(m); err == nil {
			t.Errorf("%v: a decoder was made", m)
		}
	}
	deep := event.FieldMap{"ip": strings.Repeat("a.", 31) + "a"}
	var e event.Event
	text := `{"time":1,"account":"x","a":` + strings.Repeat(`{"a":`, 31) + `"::1"` + strings.Repeat(`}`, 32)
	if refusal := decoder(t, deep).Decode([]byte(text), &e); refusal != event.Accepted {
		t.Errorf("deepest path: %q", refusal)
	}
}
