package workload

import (
	"strconv"
	"time"
)

// nonsense are messages that no consumer may take for an event, each wrong in
// its own way. A time and an account go between the parts: what refuses the
// message must not show them.
var nonsense = [...][3]string{
	{`upstream connect error, reset before headers: `, "", ""},
	{`{"time":`, `,"account":"`, `","event":"connect","server":"fra-edge-1"}`}, // no ip
	{`{"time":`, `,"account":"`, `","ip":"198.18.7.7","port":70000}`},          // no such port
	{`{"time":`, `,"account":"`, `","ip":"198.18.7.300","port":50123}`},        // no address
	{`{"time":`, `,"account":"`, `","ip":"2001:db8::7%eth0"}`},                 // a zone
	{`{"time":`, `,"account":"`, `","ip":"198.18.7.7","ip":"198.18.7.8"}`},     // said twice
	{`{"time":`, `,"account":"`, `","ip":"198.18.7.7","event":"conn`},          // cut off
	{`{"time":"yesterday","seen":`, `,"account":"`, `","ip":"198.18.7.7"}`},    // no time
	{`{"time":`, `,"account":"","user":"`, `","ip":"198.18.7.7"}`},             // no account
	{`{"time":`, `,"account":"` + "\xff", `","ip":"198.18.7.7"}`},              // not UTF-8
}

// noise makes a message that is no event.
func (g *Generator) noise(at int64) Message {
	parts := nonsense[g.random.Uint32N(uint32(len(nonsense)))]
	v := append(g.value[:0], parts[0]...)
	v = strconv.AppendInt(v, at/int64(time.Millisecond), 10)
	v = append(v, parts[1]...)
	v = append(v, g.accounts.id(g.accounts.draw())...)
	v = append(v, parts[2]...)
	g.value = v
	return Message{At: time.Unix(0, at), Value: v}
}
