package config

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"mayfly/retention/address"
)

func TestLogger(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log, err := NewLogger(Log{Level: "warn", Format: "json"}, zapcore.AddSync(&out))
	if err != nil {
		t.Fatal(err)
	}
	a, err := address.Parse("192.0.2.77")
	if err != nil {
		t.Fatal(err)
	}
	log.Info("not said")
	log.Warn("said", zap.Any("from", a), zap.Stringer("again", a))
	var line struct{ Level, Msg, From, Again, Time string }
	if err := json.Unmarshal(out.Bytes(), &line); err != nil {
		t.Fatalf("%v in %s", err, out.String())
	}
	if line.Level != "warn" || line.Msg != "said" || line.Time == "" || line.From != address.Redacted || line.Again != address.Redacted {
		t.Errorf("logged %+v", line)
	}

	out.Reset()
	log, err = NewLogger(Log{Level: "debug", Format: "console"}, zapcore.AddSync(&out))
	if err != nil {
		t.Fatal(err)
	}
	log.Debug("for people", zap.Int("events", 3))
	if got := out.String(); !strings.Contains(got, "\tdebug\tfor people\t") {
		t.Errorf("logged %q", got)
	}
}
