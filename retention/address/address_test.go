package address

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

func TestSpellingsOfOneAddress(t *testing.T) {
	t.Parallel()
	for want, spellings := range map[string][]string{
		"192.0.2.1":   {"192.0.2.1", "::ffff:192.0.2.1", "::FFFF:c000:0201"},
		"2001:db8::1": {"2001:db8::1", "2001:DB8:0:0:0:0:0:1", "2001:0db8::0001"},
	} {
		first, err := Parse(spellings[0])
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range spellings {
			a, err := Parse(s)
			if err != nil || a != first || a.Reveal() != netip.MustParseAddr(want) {
				t.Errorf("a spelling of %s differs: %v", want, err)
			}
		}
	}
}

func TestRefusalsDoNotQuote(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"", "192.0.2", "192.0.2.01", "192.0.2.256", "fe80::1%eth0", "1:2", strings.Repeat("1", 1<<20)} {
		a, err := Parse(s)
		if err == nil || a.IsValid() || s != "" && strings.Contains(err.Error(), s) {
			t.Errorf("refusal: %v", err)
		}
	}
	if _, err := Parse("fe80::1%eth0"); !errors.Is(err, ErrZone) {
		t.Errorf("a zone: %v", err)
	}
}

// Whatever prints an address prints it redacted.
func TestAnAddressPrintsRedacted(t *testing.T) {
	t.Parallel()
	const secret = "203.0.113.77"
	a, err := Parse(secret)
	if err != nil {
		t.Fatal(err)
	}
	var printed strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%T %[1]v"} {
		fmt.Fprintf(&printed, verb+"\n", a)
		fmt.Fprintf(&printed, verb+"\n", []Address{a})
		fmt.Fprintf(&printed, verb+"\n", struct{ A *Address }{&a})
		fmt.Fprintf(&printed, verb+"\n", map[Address]int{a: 1})
	}
	text, err := json.Marshal(map[string]any{"a": a, "list": []Address{a}})
	if err != nil {
		t.Fatal(err)
	}
	printed.Write(text)
	core, logs := observer.New(zapcore.DebugLevel)
	log := zap.New(core)
	log.Info("zap", zap.Any("any", a), zap.Stringer("stringer", a), zap.Reflect("reflect", a))
	encoder := zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig())
	for _, entry := range logs.All() {
		line, err := encoder.EncodeEntry(entry.Entry, entry.Context)
		if err != nil {
			t.Fatal(err)
		}
		printed.Write(line.Bytes())
	}
	func() {
		defer func() { fmt.Fprint(&printed, recover()) }()
		panic(a)
	}()
	for _, shown := range []string{secret, "cb00714d", "203 0 113 77"} {
		if strings.Contains(printed.String(), shown) {
			t.Fatalf("an address shows itself:\n%s", printed.String())
		}
	}
}
