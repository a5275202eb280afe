package produce

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"mayfly/pipeline/event"
	"mayfly/retention/address"
	"mayfly/retention/record"
)

// sshdLines reads the log of OpenSSH's server. A line is an event where it has
// account, address and port. A user name is whatever the client sent, spaces
// and words like "from" included, so lines are read from their end, where the
// server wrote address and port itself.
type sshdLines struct {
	clock yearless
}

func (s *sshdLines) parse(line []byte, e *event.Event) event.Refusal {
	switch {
	case len(line) > event.MaxSize:
		return event.TooLarge
	case len(line) == 0:
		return event.Empty
	case !utf8.Valid(line):
		return event.BadUTF8
	}
	log, ok, dated := s.clock.parseSyslog(string(line))
	if !ok || log.program != "sshd" && !strings.HasPrefix(log.program, "sshd-") {
		return Unrelated
	}
	*e = event.Event{Time: log.at.UnixMilli(), Session: log.pid, Server: log.host, Transport: "ssh", RTT: -1}
	switch reason := parseLogin(log.message, e); {
	case reason != event.Accepted:
		return reason
	case !dated:
		return event.BadTime
	case e.Account == "":
		return event.NoAccount
	}
	return event.Accepted
}

// parseLogin reads sshd's message into the event. A line that syslog has folded
// ("message repeated 5 times: [ … ]") is one event, as it is one line: its
// repetitions have no times of their own.
func parseLogin(message string, e *event.Event) event.Refusal {
	if inner, ok := strings.CutPrefix(message, "message repeated "); ok {
		if _, inner, ok = strings.Cut(inner, " times: [ "); ok {
			message, _ = strings.CutSuffix(inner, "]")
		}
	}
	message = strings.TrimSuffix(message, " [preauth]")
	verb, rest, _ := strings.Cut(message, " ")
	switch verb {
	case "Accepted":
		e.Kind, e.Outcome = "auth_ok", "ok"
		return parseMethod(rest, e)
	case "Failed":
		e.Kind, e.Outcome = "auth_fail", "failed"
		return parseMethod(rest, e)
	case "Invalid":
		if user, ok := strings.CutPrefix(rest, "user "); ok {
			e.Kind, e.Outcome = "auth_fail", "invalid_user"
			return parseFrom(user, e)
		}
	case "error:":
		if user, ok := strings.CutPrefix(rest, "maximum authentication attempts exceeded for "); ok {
			e.Kind, e.Outcome = "auth_fail", "too_many"
			return parseSSH2(strings.TrimPrefix(user, "invalid user "), e)
		}
	case "Disconnected":
		if user, ok := strings.CutPrefix(rest, "from "); ok {
			return parseDisconnect(user, e)
		}
	case "Connection":
		for _, way := range []string{"closed by ", "reset by "} {
			if user, ok := strings.CutPrefix(rest, way); ok {
				return parseDisconnect(user, e)
			}
		}
	}
	return Unrelated
}

// parseMethod reads "METHOD for [invalid user ]NAME from IP port N ssh2[: …]".
func parseMethod(s string, e *event.Event) event.Refusal {
	method, user, ok := strings.Cut(s, " for ")
	if !ok || strings.Contains(method, " ") {
		return Unrelated
	}
	return parseSSH2(strings.TrimPrefix(user, "invalid user "), e)
}

// parseSSH2 reads "NAME from IP port N ssh2[: KEY]". Where the line ends with
// ssh2, what is before it is the server's own. Behind a key, a name in a
// certificate could pretend to be the line's end, and so could a user name
// before it: a line that can be read in two ways is not read.
func parseSSH2(s string, e *event.Event) event.Refusal {
	if origin, ok := strings.CutSuffix(s, " ssh2"); ok {
		return parseFrom(origin, e)
	}
	const end = " ssh2: "
	result := Unrelated
	var found event.Event
	for i := strings.Index(s, end); i >= 0; {
		reading := *e
		reason := parseFrom(s[:i], &reading)
		switch {
		case reason == event.Accepted && result == event.Accepted:
			return Ambiguous
		case reason == event.Accepted, reason != Unrelated && result == Unrelated:
			result, found = reason, reading
		}
		next := strings.Index(s[i+1:], end)
		if next < 0 {
			break
		}
		i += 1 + next
	}
	if result == event.Accepted {
		*e = found
	}
	return result
}

// parseFrom reads "NAME from IP port N".
func parseFrom(s string, e *event.Event) event.Refusal {
	rest, reason := parseOrigin(s, e)
	if reason != event.Accepted {
		return reason
	}
	account, ok := strings.CutSuffix(rest, " from")
	if !ok {
		return Unrelated
	}
	e.Account = account
	return event.Accepted
}

// parseDisconnect reads "[authenticating |invalid ]user NAME IP port N".
func parseDisconnect(s string, e *event.Event) event.Refusal {
	e.Kind, e.Outcome = "disconnect", "ok"
	for _, who := range []string{"authenticating ", "invalid "} {
		if user, ok := strings.CutPrefix(s, who); ok {
			s, e.Outcome = user, "failed"
			break
		}
	}
	user, ok := strings.CutPrefix(s, "user ")
	if !ok {
		return Unrelated
	}
	account, reason := parseOrigin(user, e)
	e.Account = account
	return reason
}

// parseOrigin reads " IP port N" off the end of s and gives what is before it.
func parseOrigin(s string, e *event.Event) (rest string, reason event.Refusal) {
	rest, number, ok := cutLast(s)
	if !ok {
		return "", Unrelated
	}
	rest, word, ok := cutLast(rest)
	if !ok || word != "port" {
		return "", Unrelated
	}
	rest, ip, ok := cutLast(rest)
	if !ok {
		return "", Unrelated
	}
	port, err := strconv.ParseUint(number, 10, 16)
	if err != nil {
		return "", event.BadPort
	}
	if e.Address, err = address.Parse(ip); err != nil {
		return "", event.BadIP
	}
	e.Ports = record.Ports{First: uint16(port), Last: uint16(port), Known: true}
	return rest, event.Accepted
}

// cutLast cuts at the last space.
func cutLast(s string) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, ' ')
	if i < 0 {
		return "", "", false
	}
	return s[:i], s[i+1:], true
}
