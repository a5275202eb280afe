package event

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"mayfly/retention/address"
	"mayfly/retention/record"
)

// Whatever the shape, a decoder with the same map reads what was written.
func TestWriteIsTheInverseOfDecode(t *testing.T) {
	t.Parallel()
	ip, err := address.Parse("2001:db8::7")
	if err != nil {
		t.Fatal(err)
	}
	e := Event{
		Time: 1_794_052_800_123, Since: 1_794_052_700_000, Address: ip, Ports: record.Ports{First: 4242, Last: 4242, Known: true},
		Account: `a "quoted" <ä>`, Kind: "connect", Session: "s", Server: "vpn-1", Outcome: "ok", RTT: 1.5,
	}
	for name, m := range map[string]FieldMap{
		"its own":    nil,
		"nested":     {"ip": "client.addr", "port": "client.port", "account": "user.name", "time": "@timestamp"},
		"with dots":  {"ip": "/remote.ip", "account": "/a~1b"},
		"names gone": {"ip": "server.ip", "rtt_ms": "session.rtt"},
	} {
		w, err := NewWriter(m)
		if err != nil {
			t.Fatal(err)
		}
		text, err := w.Write(&e)
		if err != nil {
			t.Fatal(err)
		}
		decoder, err := NewDecoder(m)
		if err != nil {
			t.Fatal(err)
		}
		var back Event
		if refusal := decoder.Decode(text, &back); refusal != "" {
			t.Fatalf("%s: refused: %s", name, refusal)
		}
		want := e
		if name == "names gone" { // these fields' names lead to others
			want.Server, want.Session = "", ""
		}
		if diff := cmp.Diff(want, back, cmpopts.EquateComparable(address.Address{})); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}
