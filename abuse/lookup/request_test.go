package lookup

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestRefusals(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ ask, field, says string }{
		{`{}`, "", "exactly one"},
		{`{"ip":"192.0.2.1","account":"ada"}`, "", "exactly one"},
		{`{"ip":"192.0.2"}`, "ip", "not an IPv4"},
		{`{"ip":"192.0.2.01"}`, "ip", "not an IPv4"},
		{`{"ip":"fe80::1%eth0"}`, "ip", "zone"},
		{`{"prefix":"192.0.2.1"}`, "prefix", "slash"},
		{`{"prefix":"192.0.0.0/15"}`, "prefix", "/16 or longer"},
		{`{"prefix":"2001:db8::/31"}`, "prefix", "/32 or longer"},
		{`{"prefix":"::ffff:192.0.2.0/111"}`, "prefix", "/16 or longer"},
		{`{"prefix":"::ffff:192.0.2.0/64"}`, "prefix", "/16 or longer"},
		{`{"prefix":"fe80::%eth0/64"}`, "prefix", "slash"},
		{`{"account":"` + strings.Repeat("a", 129) + `"}`, "account", "128 bytes"},
		{`{"ip":"192.0.2.1","port":65536}`, "port", "65535"},
		{`{"ip":"192.0.2.1","port":-1}`, "port", "65535"},
		{`{"ip":"192.0.2.1","port":"7"}`, "port", "whole number"},
		{`{"ip":"192.0.2.1","at":"2026-11-07T10:00:00"}`, "at", "zone"},
		{`{"ip":"192.0.2.1","at":"2026-11-07 10:00:00Z"}`, "at", "RFC 3339"},
		{`{"ip":"192.0.2.1","at":"0001-01-01T00:00:00Z"}`, "at", "RFC 3339"},
		{`{"ip":"192.0.2.1","at":"2026-11-07T12:05:00Z"}`, "at", "future"},
		{`{"ip":"192.0.2.1","at":"2026-11-07T10:00:00Z","from":"2026-11-07T10:00:00Z"}`, "at", "from"},
		{`{"ip":"192.0.2.1","at":"2026-11-07T10:00:00Z","tolerance":"60"}`, "tolerance", "60s"},
		{`{"ip":"192.0.2.1","at":"2026-11-07T10:00:00Z","tolerance":"-1s"}`, "tolerance", "24h"},
		{`{"ip":"192.0.2.1","at":"2026-11-07T10:00:00Z","tolerance":"25h"}`, "tolerance", "24h"},
		{`{"ip":"192.0.2.1","tolerance":"1s"}`, "tolerance", "at"},
		{`{"ip":"192.0.2.1","from":"2026-11-07"}`, "from", "RFC 3339"},
		{`{"ip":"192.0.2.1","from":"2026-11-07T10:00:00Z","to":"2026-11-07T09:00:00Z"}`, "from", "after"},
		{`{"ip":"192.0.2.1","limit":100001}`, "limit", "100000"},
		{`{"ip":"192.0.2.1","limit":-1}`, "limit", "100000"},
		{`{"ip":"192.0.2.1","policies":["dns"]}`, "policies", "mail, web"},
		{`{"ip":"192.0.2.1","policies":"web"}`, "policies", "list"},
		{`{"ip":"192.0.2.1","case":"a b","reason":"test"}`, "case", "letter or digit"},
		{`{"ip":"192.0.2.1","case":"192-0-2-1","reason":"test"}`, "case", "address"},
		{`{"account":"ada","case":"T_ADA","reason":"test"}`, "case", "account"},
		{`{"account":"Ada.Byron@example.org","case":"T-ada_byron-example-org","reason":"test"}`, "case", "account"},
		{`{"ip":"192.0.2.1","case":"A","reason":"curious"}`, "reason", "abuse-report, spam"},
		{`{"ip":"192.0.2.1","case":"A"}`, "reason", "one of"},
		{`{"ip":"192.0.2.1","prot":25}`, "", "documented fields"},
		{`{"ip":"192.0.2.1","case":"A","reason":"test","case":"B"}`, "", "documented fields"},
		{`{"ip":"192.0.2.1","policies":[],"ip":"192.0.2.2"}`, "", "documented fields"},
		{`{"IP":"192.0.2.1"}`, "", "documented fields"},
		{`{"ip":"192.0.2.1"} {}`, "", "documented fields"},
		{`{"ip":"192.0.2.1"`, "", "documented fields"},
		{`[]`, "", "documented fields"},
		{``, "", "documented fields"},
	} {
		l, _ := desk(t, logOf("10:00 connect ada 192.0.2.1"))
		_, err := look(t, l, test.ask)
		var refusal *Refusal
		if !errors.As(err, &refusal) || refusal.Field != test.field || !strings.Contains(refusal.Message, test.says) {
			t.Errorf("%s gave %v, want %s: … %s …", test.ask, err, test.field, test.says)
		}
	}
}

func TestPrefixes(t *testing.T) {
	t.Parallel()
	for ask, want := range map[string]string{
		`"ip":"192.0.2.7"`:                   "192.0.2.7/32",
		`"ip":"::FFFF:192.0.2.7"`:            "192.0.2.7/32",
		`"ip":"2001:DB8:0:0:1:2:3:4"`:        "2001:db8::/64",
		`"prefix":"192.0.2.7/24"`:            "192.0.2.0/24",
		`"prefix":"192.0.2.7/32"`:            "192.0.2.7/32",
		`"prefix":"192.0.2.7/16"`:            "192.0.0.0/16",
		`"prefix":"::ffff:192.0.2.7/120"`:    "192.0.2.0/24",
		`"prefix":"2001:db8::1/32"`:          "2001:db8::/32",
		`"prefix":"2001:db8::1/128"`:         "2001:db8::1/128",
		`"prefix":"2001:db8::1/64","port":0`: "2001:db8::/64",
	} {
		log := logOf()
		l, _ := desk(t, log)
		if _, err := look(t, l, "{"+ask+"}"); err != nil {
			t.Errorf("%s: %v", ask, err)
		} else if got := log.asked[0].Prefix.String(); got != want {
			t.Errorf("%s asks for %s, want %s", ask, got, want)
		}
	}
}

func TestRange(t *testing.T) {
	t.Parallel()
	log := []string{"09:00 connect ada 192.0.2.1 p=1000-1999", "10:00 alive bob 192.0.2.1 p=2000", "11:00 alive eve 192.0.2.1"}
	for ask, want := range map[string]string{
		`"ip":"192.0.2.1"`:                                   "09:00 ada, 10:00 bob, 11:00 eve",
		`"ip":"192.0.2.1","limit":2`:                         "09:00 ada, 10:00 bob",
		`"ip":"192.0.2.1","port":2000`:                       "10:00 bob",
		`"prefix":"192.0.2.0/25","port":1500`:                "09:00 ada",
		`"account":"bob","port":1500`:                        "",
		`"account":"bob"`:                                    "10:00 bob",
		`"ip":"192.0.2.1","from":"2026-11-07T10:00:00Z"`:     "10:00 bob, 11:00 eve",
		`"ip":"192.0.2.1","to":"2026-11-07T11:00:00+01:00"`:  "09:00 ada, 10:00 bob",
		`"ip":"192.0.2.1","from":"2026-11-07T10:00:00.001Z"`: "11:00 eve",
	} {
		l, _ := desk(t, logOf(log...))
		result, err := look(t, l, "{"+ask+"}")
		if err != nil || told(result) != want || result.Ambiguous || result.Truncated != strings.Contains(ask, "limit") {
			t.Errorf("%s told %q (%+v), %v; want %q", ask, told(result), result, err, want)
		}
	}
}

// The window of web began yesterday at 12:15 (epochs of 15 min), that of mail
// today at 06:03:45 (epochs of 3 min 45 s).
func TestPurged(t *testing.T) {
	t.Parallel()
	webBegan := noon.Add(-24*time.Hour + 15*time.Minute)
	for _, test := range []struct {
		ask    string
		before time.Time
		purged string
	}{
		{`"from":"2026-11-06T12:00:00Z"`, webBegan, "mail web"},
		{`"from":"2026-11-01T00:00:00Z","to":"2026-11-02T00:00:00Z"`, webBegan, "mail web"},
		{`"at":"2026-11-01T00:00:00Z"`, webBegan, "mail web"},
		{`"from":"2026-11-07T03:00:00Z"`, time.Time{}, "mail"},
		{`"from":"2026-11-07T03:00:00Z","policies":["web"]`, time.Time{}, ""},
		{`"from":"2026-11-07T03:00:00Z","policies":["mail"]`, noon.Add(-6*time.Hour + 225*time.Second), "mail"},
		{`"from":"2026-11-07T11:00:00Z"`, time.Time{}, ""},
	} {
		log := logOf()
		l, _ := desk(t, log)
		result, err := look(t, l, `{"ip":"192.0.2.1",`+test.ask+"}")
		if err != nil {
			t.Errorf("%s: %v", test.ask, err)
			continue
		}
		var purged []string
		for _, p := range result.Purged {
			purged = append(purged, p.Policy)
		}
		if !result.PurgedBefore.Equal(test.before) || strings.Join(purged, " ") != test.purged {
			t.Errorf("%s: purged before %v, %v; want %v, %s", test.ask, result.PurgedBefore, purged, test.before, test.purged)
		}
		for _, q := range log.asked {
			if q.From.Before(noon.Add(-24 * time.Hour)) {
				t.Errorf("%s asks the log for %v", test.ask, q.From)
			}
		}
	}
}

// What is not asked for is not called purged.
func TestWholeWindowIsNotPurged(t *testing.T) {
	t.Parallel()
	l, _ := desk(t, logOf())
	result, err := look(t, l, `{"account":"ada","policies":["web"]}`)
	if err != nil || !result.PurgedBefore.IsZero() || result.Purged != nil {
		t.Errorf("%+v, %v", result, err)
	}
}

func FuzzDecodeRequest(f *testing.F) {
	f.Add([]byte(`{"ip":"192.0.2.1","port":7,"at":"2026-11-07T10:00:00Z","case":"A","reason":"test"}`))
	f.Add([]byte(`{"prefix":"2001:db8::/32","from":"2026-11-07T10:00:00Z","limit":5}`))
	f.Add([]byte(`{"prefix":"::ffff:192.0.2.0/120","policies":["web"]}`))
	f.Add([]byte(`{"account":"ada","tolerance":"5m"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := DecodeRequest(data)
		if err != nil {
			return
		}
		q, err := parse(r, noon, policies())
		if err != nil {
			return
		}
		switch {
		case q.prefix.IsValid() == (q.account != ""):
			t.Fatal("not one subject")
		case q.prefix.IsValid() && q.prefix != q.prefix.Masked():
			t.Fatal("host bits are left")
		case q.prefix.IsValid() && q.prefix.Bits() < widestIPv4, q.prefix.Addr().Is6() && q.prefix.Bits() < widestIPv6:
			t.Fatal("too wide")
		case q.from.After(q.to), q.limit < 1, q.limit > MaxLimit:
			t.Fatalf("range or limit makes no sense: %v %v %d", q.from, q.to, q.limit)
		}
	})
}
