package workload

import (
	"math"
	"strconv"
	"time"

	"mayfly/pipeline/event"
	"mayfly/retention/address"
	"mayfly/retention/record"
)

// story is the life of one account, told at a steady pace from the first
// instant on: a connection from home, on with it on the phone behind a
// carrier's NAT, home again, the end, and then the next one. It draws nothing
// at random, so it stays the same whatever the traffic around it is.
type story struct {
	due     int64 // Unix nanoseconds
	every   int64
	account string
	step    int
	session int
	since   int64
	id      string
}

// chapters are the events of one session of the story.
var chapters = [...]struct {
	kind  string
	phone bool
}{
	{kind: "connect"}, {kind: "alive"}, {kind: "alive"},
	{kind: "alive", phone: true}, {kind: "alive", phone: true}, {kind: "alive", phone: true},
	{kind: "alive"}, {kind: "disconnect"},
}

func newStory(c Config) story {
	if c.Story == "" {
		return story{due: math.MaxInt64}
	}
	return story{due: c.Start.UnixNano(), every: int64(c.StoryEvery), account: c.Story}
}

// tell makes the event that is due, and sets when the next one is.
func (s *story) tell(e *event.Event) {
	chapter := chapters[s.step]
	if s.step == 0 {
		s.session++
		s.since = s.due / int64(time.Millisecond)
		s.id = "story-" + strconv.Itoa(s.session)
	} else {
		e.Since = s.since
	}
	e.Kind, e.Outcome = chapter.kind, "ok"
	e.Account, e.Session = s.account, s.id
	e.Address, e.Ports, e.RTT = s.place(chapter.phone)
	e.Server, e.Transport, e.Client = servers[0].name, "quic", "android/7.4"
	s.step = (s.step + 1) % len(chapters)
	s.due += s.every
}

// place is where the account is: at home with a privacy address of its own for
// each session, or on the phone with the block of ports that nobody else has
// on the first address of the first gateway.
func (s *story) place(phone bool) (address.Address, record.Ports, float64) {
	if phone {
		return ipv4(mobileNet), portBlock(subscribersPerAddress), 48.5
	}
	p := uint16(50_000 + s.session%10_000)
	household := homeNet | 0xada_0001 // 2001:db8:ada:1::/64
	return ipv6(household, mix(uint64(s.session))), record.Ports{First: p, Last: p, Known: true}, 14.2
}
