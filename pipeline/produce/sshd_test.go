package produce

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mayfly/pipeline/event"
)

var sshdNow = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func sshdParser() *sshdLines {
	return &sshdLines{clock: yearless{zone: time.UTC, ceiling: sshdNow.Add(day)}}
}

// shown is what a test compares of an event.
func shown(e *event.Event) string {
	return fmt.Sprintf("%s %s/%s %q %s %d %s@%s %s", time.UnixMilli(e.Time).UTC().Format(time.DateTime), e.Kind, e.Outcome, e.Account,
		e.Address.Reveal(), e.Ports.First, e.Session, e.Server, e.Transport)
}

func TestSSHDMessages(t *testing.T) {
	t.Parallel()
	const v4 = "192.0.2.1 port 4022"
	for message, want := range map[string]string{
		"Accepted password for alice from " + v4 + " ssh2":                                                      `auth_ok/ok "alice" 192.0.2.1 4022`,
		"Accepted publickey for alice from 2001:db8::5 port 1 ssh2: ED25519 SHA256:AbC/d+e":                     `auth_ok/ok "alice" 2001:db8::5 1`,
		"Accepted keyboard-interactive/pam for alice from ::ffff:192.0.2.1 port 65535 ssh2":                     `auth_ok/ok "alice" 192.0.2.1 65535`,
		"Failed password for root from " + v4 + " ssh2":                                                         `auth_fail/failed "root" 192.0.2.1 4022`,
		"Failed password for invalid user bob from " + v4 + " ssh2":                                             `auth_fail/failed "bob" 192.0.2.1 4022`,
		"Failed none for invalid user  007 from " + v4 + " ssh2":                                                `auth_fail/failed " 007" 192.0.2.1 4022`,
		"Failed publickey for bob from " + v4 + " ssh2: RSA SHA256:xyz [preauth]":                               `auth_fail/failed "bob" 192.0.2.1 4022`,
		"message repeated 5 times: [ Failed password for root from " + v4 + " ssh2]":                            `auth_fail/failed "root" 192.0.2.1 4022`,
		"Invalid user  from " + v4:                                                                              `no_account`,
		"Invalid user bob from " + v4:                                                                           `auth_fail/invalid_user "bob" 192.0.2.1 4022`,
		"Invalid user bob from 192.0.2.1":                                                                       `unrelated`,
		"error: maximum authentication attempts exceeded for invalid user bob from " + v4 + " ssh2 [preauth]":   `auth_fail/too_many "bob" 192.0.2.1 4022`,
		"Disconnected from user alice " + v4:                                                                    `disconnect/ok "alice" 192.0.2.1 4022`,
		"Disconnected from authenticating user root " + v4 + " [preauth]":                                       `disconnect/failed "root" 192.0.2.1 4022`,
		"Connection closed by invalid user bob " + v4 + " [preauth]":                                            `disconnect/failed "bob" 192.0.2.1 4022`,
		"Connection reset by authenticating user bob " + v4 + " [preauth]":                                      `disconnect/failed "bob" 192.0.2.1 4022`,
		"Connection closed by " + v4:                                                                            `unrelated`,
		"Connection from " + v4 + " on 198.51.100.1 port 22":                                                    `unrelated`,
		"Received disconnect from " + v4 + ":11: Bye":                                                           `unrelated`,
		"pam_unix(sshd:auth): authentication failure; logname= uid=0 rhost=192.0.2.1  user=root":                `unrelated`,
		"Postponed publickey for alice from " + v4 + " ssh2 [preauth]":                                          `unrelated`,
		"Failed password for root from UNKNOWN port 65535 ssh2":                                                 `bad_ip`,
		"Failed password for root from fe80::1%eth0 port 22 ssh2":                                               `bad_ip`,
		"Failed password for root from 192.0.2.1 port 65536 ssh2":                                               `bad_port`,
		"Failed password for  from " + v4 + " ssh2":                                                             `no_account`,
		"Failed password for root":                                                                              `unrelated`,
		"Failed password":                                                                                       `unrelated`,
		"Failed":                                                                                                `unrelated`,
		"":                                                                                                      `unrelated`,
		"Failed to accept for from " + v4 + " ssh2":                                                             `unrelated`,
		"Failed password for from from from " + v4 + " ssh2":                                                    `auth_fail/failed "from from" 192.0.2.1 4022`,
		"Failed password for invalid user x from 203.0.113.9 port 1 ssh2 from " + v4 + " ssh2":                  `auth_fail/failed "x from 203.0.113.9 port 1 ssh2" 192.0.2.1 4022`,
		"Failed password for invalid user x from 203.0.113.9 port 1 ssh2: RSA S from " + v4 + " ssh2":           `auth_fail/failed "x from 203.0.113.9 port 1 ssh2: RSA S" 192.0.2.1 4022`,
		"Failed publickey for invalid user x from 203.0.113.9 port 1 ssh2: y from " + v4 + " ssh2: RSA S":       `ambiguous`,
		"Failed publickey for bob from " + v4 + " ssh2: RSA-CERT S ID x from 203.0.113.9 port 1 ssh2: CA":       `ambiguous`,
		"Failed publickey for invalid user x from nowhere port 1 ssh2: y from " + v4 + " ssh2: RSA S":           `auth_fail/failed "x from nowhere port 1 ssh2: y" 192.0.2.1 4022`,
		"Invalid user x from 203.0.113.9 port 1 from " + v4:                                                     `auth_fail/invalid_user "x from 203.0.113.9 port 1" 192.0.2.1 4022`,
		"Failed publickey for bob from UNKNOWN port 1 ssh2: RSA S":                                              `bad_ip`,
		"Disconnected from user x 203.0.113.9 port 1 " + v4:                                                     `disconnect/ok "x 203.0.113.9 port 1" 192.0.2.1 4022`,
		"message repeated 2 times: [ message repeated 2 times: [ Failed password for a from " + v4 + " ssh2]]]": `unrelated`,
	} {
		line := "Feb 28 01:02:03 gate1 sshd[917]: " + message
		var e event.Event
		got := string(sshdParser().parse([]byte(line), &e))
		if got == "" {
			got = shown(&e)
			want = "2026-02-28 01:02:03 " + want + " 917@gate1 ssh"
		}
		if got != want {
			t.Errorf("%s\n got %s\nwant %s", message, got, want)
		}
	}
}

func TestSyslogHeaders(t *testing.T) {
	t.Parallel()
	const message = ": Failed password for root from 192.0.2.1 port 22 ssh2"
	for header, want := range map[string]string{
		"Feb 28 01:02:03 gate1 sshd[917]":                     "2026-02-28 01:02:03 917@gate1",
		"Mar  1 12:00:00 gate1 sshd[917]":                     "2026-03-01 12:00:00 917@gate1",
		"Mar  2 12:00:00 gate1 sshd[917]":                     "2026-03-02 12:00:00 917@gate1", // a clock that is ahead
		"Mar  2 12:00:01 gate1 sshd[917]":                     "2025-03-02 12:00:01 917@gate1",
		"Dec 31 23:59:59 gate1 sshd[917]":                     "2025-12-31 23:59:59 917@gate1",
		"Feb 29 01:02:03 gate1 sshd[917]":                     "2024-02-29 01:02:03 917@gate1",
		"Feb 28 01:02:03 gate1 sshd":                          "2026-02-28 01:02:03 @gate1",
		"Feb 28 01:02:03 gate1 sshd-session[1]":               "2026-02-28 01:02:03 1@gate1",
		"2024-07-01T10:00:00.123456+02:00 gate1 sshd[917]":    "2024-07-01 08:00:00 917@gate1",
		"2024-07-01T10:00:00Z gate1 sshd[917]":                "2024-07-01 10:00:00 917@gate1",
		"2024-07-32T10:00:00Z gate1 sshd[917]":                "bad_time",
		"Feb 30 01:02:03 gate1 sshd[917]":                     "bad_time",
		"Feb 28 24:02:03 gate1 sshd[917]":                     "bad_time",
		"Feb 28 01:02:03 gate1 cron[917]":                     "unrelated",
		"Feb 28 01:02:03 gate1 sshd[917":                      "unrelated",
		"Feb 28 01:02:03 sshd[917]":                           "unrelated",
		"Feb 28 01:02:03  sshd[917]":                          "unrelated",
		"Feb 28 01:02:03 gate1 sshdx[917]":                    "unrelated",
		"Feb 28 01:02:03 gate1 cron[917]: sshd[1]":            "unrelated",
		"Feb 28 01:02:03 gate1 my sshd[917]":                  "unrelated",
		"gate1 sshd[917]":                                     "unrelated",
		"sshd[917]":                                           "unrelated",
		"":                                                    "unrelated",
		"Feb 28 01:02:03 gate1 \xff sshd[917]":                "bad_utf8",
		"Feb 28 01:02:03 gate1 " + strings.Repeat("x", 65536): "too_large",
	} {
		var e event.Event
		got := string(sshdParser().parse([]byte(header+message), &e))
		if got == "" {
			got = fmt.Sprintf("%s %s@%s", time.UnixMilli(e.Time).UTC().Format(time.DateTime), e.Session, e.Server)
		}
		if got != want {
			t.Errorf("%.80s\n got %s\nwant %s", header, got, want)
		}
	}
}

// A log that is rebased keeps its order over a turn of the year, wherever now is.
func TestYearlessContinuous(t *testing.T) {
	t.Parallel()
	stamps := []string{"Feb 20 00:00:00", "Mar  5 00:00:00", "Jul  1 00:00:00", "Jun 30 23:59:59", "Sep  1 00:00:00", "Dec 31 23:59:59", "Jan  1 00:00:00", "Jun  1 00:00:00"}
	years := func(continuous bool) (years []int) {
		clock := yearless{zone: time.UTC, ceiling: sshdNow.Add(day), continuous: continuous}
		for _, stamp := range stamps {
			at, ok := clock.parse(stamp)
			if !ok {
				t.Fatal(stamp)
			}
			years = append(years, at.Year())
		}
		return years
	}
	if diff := cmp.Diff([]int{2026, 2026, 2026, 2026, 2026, 2026, 2027, 2027}, years(true)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]int{2026, 2025, 2025, 2025, 2025, 2025, 2026, 2025}, years(false)); diff != "" {
		t.Error(diff)
	}
}

func TestSyslogZone(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"": "2026-02-28T01:02:03Z", "UTC": "2026-02-28T01:02:03Z", "+02:00": "2026-02-27T23:02:03Z", "-03:30": "2026-02-28T04:32:03Z",
	} {
		zone, err := parseZone(name)
		if err != nil {
			t.Fatal(err)
		}
		clock := yearless{zone: zone, ceiling: sshdNow}
		at, ok := clock.parse("Feb 28 01:02:03")
		if got := at.UTC().Format(time.RFC3339); !ok || got != want {
			t.Errorf("zone %q: %s, want %s", name, got, want)
		}
	}
}

// FuzzSSHDName: whatever a client calls itself, the line's address is the one
// that the server wrote.
func FuzzSSHDName(f *testing.F) {
	for _, name := range []string{"root", "", " ", "x from 203.0.113.9 port 1 ssh2", "a from 203.0.113.9 port 1 ssh2: RSA S", " from", "invalid user y", "é]", "for"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if strings.ContainsAny(name, "\r\n") {
			t.Skip("no line")
		}
		for _, form := range []string{
			"Failed password for invalid user %s from 192.0.2.1 port 4022 ssh2", "Accepted password for %s from 192.0.2.1 port 4022 ssh2",
			"Invalid user %s from 192.0.2.1 port 4022", "Disconnected from user %s 192.0.2.1 port 4022",
			"message repeated 2 times: [ Failed none for invalid user %s from 192.0.2.1 port 4022 ssh2]",
			"Failed publickey for invalid user %s from 192.0.2.1 port 4022 ssh2: RSA SHA256:xyz",
		} {
			var e event.Event
			reason := sshdParser().parse(fmt.Appendf(nil, "Feb 28 01:02:03 gate1 sshd[917]: "+form, name), &e)
			if reason == event.Accepted && (e.Address.Reveal().String() != "192.0.2.1" || e.Ports.First != 4022) {
				t.Errorf("the name chose the address")
			}
		}
	})
}

// FuzzSSHD: no line is read as an event that can't be written and read back.
func FuzzSSHD(f *testing.F) {
	for _, line := range []string{
		"Feb 28 01:02:03 gate1 sshd[917]: Failed password for invalid user bob from 192.0.2.1 port 4022 ssh2",
		"Feb 28 01:02:03 gate1 sshd[917]: Accepted publickey for a from 2001:db8::1 port 1 ssh2: RSA S ssh2: x",
		"2024-07-01T10:00:00Z gate1 sshd-session[1]: message repeated 5 times: [ Failed none for a from 192.0.2.1 port 1 ssh2]",
		"Feb 29 01:02:03 gate1 sshd: Connection reset by invalid user a b 192.0.2.1 port 1 [preauth]", "Feb 30 01:02:03", "", "1 2 sshd: Invalid user",
	} {
		f.Add([]byte(line))
	}
	decoder, err := event.NewDecoder(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		var e, again event.Event
		if sshdParser().parse(line, &e) != event.Accepted {
			return
		}
		if !e.Address.IsValid() || !e.Ports.Known || e.Account == "" {
			t.Error("an event without account, address or port")
		}
		switch reason := decoder.Decode(event.Append(nil, &e), &again); reason {
		case event.Accepted:
			if shown(&e) != shown(&again) {
				t.Error("read back differently")
			}
		case event.BadAccount, event.BadField: // too long, or control characters: skipped when written
		default:
			t.Errorf("written so that it is refused: %s", reason)
		}
	})
}
