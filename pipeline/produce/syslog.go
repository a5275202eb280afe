package produce

import (
	"strings"
	"time"
)

const day = 24 * time.Hour

// syslogLine is what syslog puts around a program's message.
type syslogLine struct {
	at      time.Time
	host    string
	program string
	pid     string
	message string
}

// yearless finds the year of syslog's classic times, which have none: the
// latest one in which the date exists and is not past the ceiling.
type yearless struct {
	zone    *time.Location
	ceiling time.Time
	// continuous moves the ceiling with the log, so that lines keep their order
	// over a turn of the year that lies in the future of a rebased log.
	continuous bool
}

// parseSyslog reads "Mar  1 12:30:45 host program[pid]: message", or the same
// with an RFC 3339 time. dated is false where the line looks so but its date is
// none.
func (c *yearless) parseSyslog(line string) (s syslogLine, ok, dated bool) {
	stamp, rest, ok := cutStamp(line)
	if !ok {
		return s, false, false
	}
	var tag string
	if s.host, rest, ok = strings.Cut(rest, " "); !ok || s.host == "" {
		return s, false, false
	}
	if tag, s.message, ok = strings.Cut(rest, ": "); !ok {
		return s, false, false
	}
	s.program = tag
	if program, pid, found := strings.Cut(tag, "["); found {
		s.program = program
		if s.pid, found = strings.CutSuffix(pid, "]"); !found {
			return s, false, false
		}
	}
	s.at, dated = c.parse(stamp)
	return s, true, dated
}

// cutStamp cuts the time off a line.
func cutStamp(line string) (stamp, rest string, ok bool) {
	const classic = len(time.Stamp)
	switch {
	case line == "":
		return "", "", false
	case '0' <= line[0] && line[0] <= '9':
		return strings.Cut(line, " ")
	case len(line) > classic && line[classic] == ' ' && line[3] == ' ' && line[6] == ' ' && line[9] == ':' && line[12] == ':':
		return line[:classic], line[classic+1:], true
	}
	return "", "", false
}

func (c *yearless) parse(stamp string) (time.Time, bool) {
	if '0' <= stamp[0] && stamp[0] <= '9' {
		t, err := time.Parse(time.RFC3339, stamp)
		return t, err == nil
	}
	// Year 0 of the parse is a leap year: the 29th of February passes here, and
	// the search below finds a year that has one.
	t, err := time.Parse(time.Stamp, stamp)
	if err != nil {
		return time.Time{}, false
	}
	hour, minute, second := t.Clock()
	latest := c.ceiling.In(c.zone).Year()
	for year := latest; year > latest-9; year-- {
		at := time.Date(year, t.Month(), t.Day(), hour, minute, second, 0, c.zone)
		if at.Day() == t.Day() && !at.After(c.ceiling) {
			if c.continuous {
				c.ceiling = at.Add(183 * day)
			}
			return at, true
		}
	}
	return time.Time{}, false
}
