package plant

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"mayfly/retention/canary/form"
)

var noon = time.Date(2026, 11, 7, 12, 0, 0, 0, time.UTC)

func options(t testing.TB) Options {
	t.Helper()
	f, err := form.New("user-########", []string{"192.0.2.0/24", "2001:db8::/32"})
	if err != nil {
		t.Fatal(err)
	}
	return Options{Seed: "s", Form: f, Count: 40, Start: noon, Over: 39 * time.Second}
}

func draw(t testing.TB, o Options) *Plan {
	t.Helper()
	p, err := Draw(o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// The seed draws the connections; the salt keeps the commitment from telling them.
func TestDrawAndCommit(t *testing.T) {
	t.Parallel()
	o := options(t)
	p, again := draw(t, o), draw(t, o)
	if diff := cmp.Diff(p.Events, again.Events); diff != "" {
		t.Errorf("the same seed draws others: %s", diff)
	}
	if p.Commitment == again.Commitment {
		t.Error("the commitment has no salt: who guesses the list can test it")
	}
	o.Seed = "another"
	if draw(t, o).Events[0] == p.Events[0] {
		t.Error("another seed draws the same")
	}
	if first, last := p.Events[0].Time, p.Events[39].Time; !first.Equal(noon) || !last.Equal(noon.Add(39*time.Second)) {
		t.Errorf("from %v to %v", first, last)
	}
	o.Accounts = []string{"ada", "bob"}
	for _, e := range draw(t, o).Events {
		if e.Account != "ada" && e.Account != "bob" {
			t.Error("an account that is not in the list")
		}
	}
}

func TestPlanFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "plan")
	p := draw(t, options(t))
	p.Receipt, p.Policies = "ABC", []string{"web"}
	if err := p.Write(path); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("others can read it: %v, %v", info.Mode(), err)
	}
	if err := p.Write(path); err == nil {
		t.Error("a plan was replaced")
	}
	back, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(p, back); diff != "" {
		t.Error(diff)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string][2]string{
		"an account": {p.Events[3].Account, "user-00000000"},
		"an address": {p.Events[3].IP, "192.0.2.1"},
		"a time":     {"12:00:00Z", "12:00:01Z"},
		"the salt":   {p.Salt[:8], "00000000"},
	} {
		if _, err := parse(bytes.Replace(text, []byte(change[0]), []byte(change[1]), 1)); err == nil {
			t.Errorf("%s was changed and the plan is still taken", name)
		}
	}
}

func TestSearchFindsEveryEncoding(t *testing.T) {
	t.Parallel()
	events := []Event{{Account: `ada "lovelace"`, IP: "192.0.2.77"}, {Account: "user-1234", IP: "2001:db8::a:7"}}
	s, err := NewSearch(events)
	if err != nil {
		t.Fatal(err)
	}
	six, _ := hex.DecodeString("20010db8000000000000000000" + "0a0007")
	four, _ := hex.DecodeString("c000024d")
	for name, test := range map[string]struct {
		in                  string
		addresses, accounts string
	}{
		"IPv4":            {`{"ip":"192.0.2.77"}`, Text, ""},
		"IPv4-mapped":     {"::ffff:192.0.2.77 ", Text, ""},
		"another IPv4":    {"192.0.2.777 1192.0.2.77 92.0.2.77", "", ""},
		"reversed":        {"77.2.0.192.in-addr.arpa", Text, ""},
		"IPv6":            {"2001:db8::a:7", Text, ""},
		"IPv6 capitals":   {"2001:DB8::A:7", Text, ""},
		"IPv6 in full":    {"2001:0db8:0000:0000:0000:0000:000a:0007", Text, ""},
		"in a URL":        {"2001%3Adb8%3A%3Aa%3A7", Escaped, ""},
		"hex":             {"20010db80000000000000000000a0007", Hex, ""},
		"16 bytes":        {"\x01" + string(six) + "\x02", Binary, ""},
		"mapped bytes":    {strings.Repeat("\x00", 10) + "\xff\xff" + string(four), Binary, ""},
		"4 bytes":         {"\x09" + string(four), FourByte, ""},
		"UTF-16":          {string(wide("192.0.2.77")), Wide, ""},
		"account":         {"x user-1234", "", Text},
		"account as JSON": {`"ada \"lovelace\""`, "", Escaped},
		"account in URL":  {`ada+%22lovelace%22`, "", Escaped},
		"nothing":         {"198.51.100.7 bob", "", ""},
	} {
		// Where it lies among the reads must not matter.
		for _, before := range []int{0, 1, window - 3, window + 2*s.longest - 5} {
			in := strings.Repeat(".", before) + test.in + strings.Repeat(".", 70)
			hits, err := s.Run(iotest.OneByteReader(strings.NewReader(in)))
			if before > 10 {
				hits, err = s.Run(strings.NewReader(in))
			}
			if err != nil {
				t.Fatal(err)
			}
			if hits.Bytes != int64(len(in)) || hits.Addresses[test.addresses] < min(1, int64(len(test.addresses))) ||
				hits.Accounts[test.accounts] < min(1, int64(len(test.accounts))) {
				t.Errorf("%s after %d bytes: %+v", name, before, hits)
			}
			if want := test.addresses+test.accounts != "" && test.addresses != FourByte; (hits.Certain() > 0) != want {
				t.Errorf("%s after %d bytes: certain hits: %d", name, before, hits.Certain())
			}
		}
	}
}

// Each copy is counted once.
func TestSearchCounts(t *testing.T) {
	t.Parallel()
	s, err := NewSearch([]Event{{Account: "user-1234", IP: "192.0.2.77"}, {Account: "user-1234", IP: "192.0.2.77"}})
	if err != nil {
		t.Fatal(err)
	}
	line := `{"account":"user-1234","ip":"192.0.2.77"}` + "\n"
	hits, err := s.Run(strings.NewReader(strings.Repeat(line, 100_000)))
	if err != nil || hits.Addresses[Text] != 100_000 || hits.Accounts[Text] != 100_000 {
		t.Errorf("%+v, %v", hits, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"mayfly_plant":1,"salt":"00","commitment":"00","events":[{"time":"2026-11-07T12:00:00Z","account":"a","ip":"192.0.2.1","port":7}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := parse(text)
		if err == nil && (p.commit() != p.Commitment || len(p.Events) == 0) {
			t.Error("a plan that its commitment does not cover")
		}
	})
}
