package event_test

import (
	"math/rand/v2"
	"strings"
	"testing"

	"mayfly/pipeline/event"
)

// variants are messages whose keys come in many orders and spellings.
func variants(r *rand.Rand, n int) []string {
	members := []string{
		`"time":1763775000000`, `"account":"ada"`, `"ip":"192.0.2.7"`, `"port":5`, `"session":"s1"`, `"server":"web-1"`,
		`"server" : "web-1"`, ` "account":"ada"`, `"\u0069p":"192.0.2.7"`, `"other":{"ip":[1]}`, `"port":"no"`, `"rtt_ms":1.5 `, `"ip"`,
	}
	messages := make([]string, n)
	for i := range messages {
		picked := make([]string, 0, 8)
		for _, at := range r.Perm(len(members))[:3+r.IntN(5)] {
			picked = append(picked, members[at])
		}
		if i%3 > 0 { // an order that comes again
			picked = append(members[:3:3], members[3:3+i%5]...)
		}
		messages[i] = "{" + strings.Join(picked, []string{",", ", ", " ,"}[r.IntN(3)]) + "}"
	}
	return messages
}

// What a decoder has seen before changes nothing.
func TestADecoderJudgesEachMessageByItself(t *testing.T) {
	t.Parallel()
	warm := decoder(t, nil)
	accepted := 0
	for _, message := range variants(rand.New(rand.NewPCG(1, 0)), 20_000) {
		if judgeAlike(t, warm, message) == event.Accepted {
			accepted++
		}
	}
	if accepted < 1000 {
		t.Errorf("only %d messages were accepted", accepted)
	}
}

func judgeAlike(t *testing.T, warm *event.Decoder, message string) event.Refusal {
	t.Helper()
	var got, want event.Event
	refusal := warm.Decode([]byte(message), &got)
	if fresh := decoder(t, nil).Decode([]byte(message), &want); refusal != fresh || got != want {
		t.Fatalf("%s: %q after other messages, %q alone", message, refusal, fresh)
	}
	return refusal
}

func FuzzWarmDecoder(f *testing.F) {
	for _, message := range variants(rand.New(rand.NewPCG(2, 0)), 20) {
		f.Add(message, typical)
		f.Add(typical, message)
	}
	f.Fuzz(func(t *testing.T, first, second string) {
		warm := decoder(t, nil)
		var e event.Event
		warm.Decode([]byte(first), &e)
		warm.Decode([]byte(typical), &e)
		judgeAlike(t, warm, second)
		judgeAlike(t, warm, first)
	})
}
