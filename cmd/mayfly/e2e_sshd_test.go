package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"mayfly/abuse/lookup"
	"mayfly/cmd/mayfly/mayflytest"
	"mayfly/pipeline/kafkain/kafkatest"
	"mayfly/pipeline/produce"
)

func itoa(n int) string { return strconv.Itoa(n) }

func atoi(t *testing.T, text string) int {
	t.Helper()
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// testSSHDLog replays a log and compares look-ups with a plain scan of its lines.
func testSSHDLog(t *testing.T, kafka *kafkatest.Cluster) {
	t.Run("generated", func(t *testing.T) {
		t.Parallel()
		file := filepath.Join(t.TempDir(), "auth.log")
		if err := os.WriteFile(file, sshdLog(900), 0o600); err != nil {
			t.Fatal(err)
		}
		replayAndCompare(t, kafka, file, time.Hour, 525)
	})
	// A log of one's own, whose span fits into a day.
	if file := os.Getenv("MAYFLY_TEST_SSHD_LOG"); file != "" {
		t.Run("real", func(t *testing.T) {
			t.Parallel()
			replayAndCompare(t, kafka, file, 24*time.Hour, 0)
		})
	}
}

// replayAndCompare replays a log of so many events, or of any number if that is 0.
func replayAndCompare(t *testing.T, kafka *kafkatest.Cluster, file string, window time.Duration, events int) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want := scanSSHD(string(text))
	if len(want) == 0 || events > 0 && len(want) != events {
		t.Fatalf("the scan finds %d events, want %d", len(want), events)
	}
	events = len(want)
	s := newE2E(t, kafka, window, "connections")
	kafka.CreateTopic(t, s.topic(), 3, nil)
	var summary produce.Summary
	if err := json.Unmarshal(s.run(t, "produce", "--format", "sshd", "--rebase", "now", "--output", "json", file), &summary); err != nil {
		t.Fatal(err)
	}
	if summary.Produced != events {
		t.Errorf("%d events produced, want %d", summary.Produced, events)
	}
	p := s.Start(t, "run")
	awaitStored(t, p, float64(events))
	p.AwaitReady(t)

	addresses := common(want, func(l login) string { return l.IP })
	network := netip.PrefixFrom(netip.MustParseAddr(addresses[0]), 24).Masked()
	compareLogins(t, p, want, lookup.Request{Prefix: network.String()}, func(l login) bool { return network.Contains(netip.MustParseAddr(l.IP)) })
	for _, ip := range addresses[:min(3, len(addresses))] {
		compareLogins(t, p, want, lookup.Request{IP: ip}, func(l login) bool { return l.IP == ip })
	}
	account := common(want, func(l login) string { return l.Account })[0]
	compareLogins(t, p, want, lookup.Request{Account: account}, func(l login) bool { return l.Account == account })
}

func compareLogins(t *testing.T, p *mayflytest.Process, all []login, request lookup.Request, belongs func(login) bool) {
	t.Helper()
	var want, got []login
	for _, l := range all {
		if belongs(l) {
			want = append(want, l)
		}
	}
	for _, e := range p.LookWhole(t, request).Events {
		l := login{Account: e.Account, IP: e.IP, Event: e.Event}
		if e.Port != nil {
			l.Port = int(*e.Port)
		}
		got = append(got, l)
	}
	slices.SortFunc(want, compareLogin)
	slices.SortFunc(got, compareLogin)
	if diff := gocmp.Diff(want, got); diff != "" || len(want) == 0 {
		t.Errorf("%d events found, the scan has %d (-scan +found):\n%s", len(got), len(want), diff)
	}
}

// login is a line of the log.
type login struct {
	Account, IP, Event string
	Port               int
}

func compareLogin(a, b login) int {
	return cmp.Or(cmp.Compare(a.Account, b.Account), cmp.Compare(a.IP, b.IP), cmp.Compare(a.Port, b.Port), cmp.Compare(a.Event, b.Event))
}

var loginLine = regexp.MustCompile(`(Failed|Accepted) \S+ for (?:invalid user )?(.+) from (\S+) port (\d+) ssh2`)

// scanSSHD finds the logins with nothing but a pattern.
func scanSSHD(text string) (found []login) {
	for _, match := range loginLine.FindAllStringSubmatch(text, -1) {
		port, _ := strconv.Atoi(match[4])
		event := map[string]string{"Failed": "auth_fail", "Accepted": "auth_ok"}[match[1]]
		found = append(found, login{Account: match[2], IP: match[3], Event: event, Port: port})
	}
	return found
}

// common lists values by how often they occur, the most frequent first.
func common(all []login, of func(login) string) []string {
	times := map[string]int{}
	for _, l := range all {
		times[of(l)]++
	}
	return slices.SortedFunc(maps.Keys(times), func(a, b string) int {
		return cmp.Or(cmp.Compare(times[b], times[a]), cmp.Compare(a, b))
	})
}

// sshdLog draws the log of a server under attack: 525 logins among that many lines, in 40 minutes.
func sshdLog(lines int) []byte {
	draw := rand.New(rand.NewPCG(3, 4))
	begin := time.Date(2025, time.December, 10, 6, 55, 46, 0, time.UTC)
	var log strings.Builder
	for i := range lines {
		at := begin.Add(time.Duration(i) * 40 * time.Minute / time.Duration(lines))
		fmt.Fprintf(&log, "%s gate sshd[%d]: ", at.Format(time.Stamp), 24000+i/3)
		ip := fmt.Sprintf("203.0.%d.%d", 113+draw.IntN(3), 1+draw.IntN(25))
		port, user := 1024+draw.IntN(60000), []string{"root", "admin", "oracle", "webmaster", "from me"}[draw.IntN(5)]
		switch {
		case i%12 >= 7: // 375 of 900
			fmt.Fprintf(&log, []string{
				"Connection closed by %s [preauth]\n", "Received disconnect from %s: 11: Bye Bye [preauth]\n",
				"pam_unix(sshd:auth): authentication failure; rhost=%s\n", "Invalid user x from %s\n",
			}[draw.IntN(4)], ip)
		case draw.IntN(20) == 0:
			fmt.Fprintf(&log, "Accepted publickey for %s from %s port %d ssh2: RSA SHA256:abcdef\n", user, ip, port)
		case draw.IntN(20) == 0:
			fmt.Fprintf(&log, "message repeated 5 times: [ Failed password for %s from %s port %d ssh2]\n", user, ip, port)
		case draw.IntN(2) == 0:
			fmt.Fprintf(&log, "Failed none for invalid user %s from %s port %d ssh2\n", user, ip, port)
		default:
			fmt.Fprintf(&log, "Failed password for %s from %s port %d ssh2\n", user, ip, port)
		}
	}
	return []byte(log.String())
}
