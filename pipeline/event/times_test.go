package event_test

import (
	"fmt"
	"testing"

	"mayfly/pipeline/event"
)

func TestBadTimes(t *testing.T) {
	t.Parallel()
	d := decoder(t, nil)
	for _, text := range []string{
		`""`, `"now"`, `"2026-03-01"`, `"2026-03-01T12:30:45"`, `"2026-03-01T12:30:60Z"`, `"0000-01-01T00:00:00Z"`, `"0001-01-01T00:00:00+01:00"`,
		`"9999-12-31T23:59:59-01:00"`, `"1772362800000"`, `1772362800.5`, `1e12`, `1E3`, `1772362800000.0`, `253402300800000`, `-62135596800001`,
		`9223372036854775808`, `99999999999999999999999`, `{}`, `[1]`, `true`,
	} {
		value := fmt.Appendf(nil, `{"time":%s,"account":"a","ip":"192.0.2.1"}`, text)
		if refusal := d.Decode(value, &event.Event{}); refusal != event.BadTime {
			t.Errorf("%s: refusal %q, want %q", text, refusal, event.BadTime)
		}
	}
}
