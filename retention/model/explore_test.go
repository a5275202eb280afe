package model

import (
	"flag"
	"fmt"
	"maps"
	"strings"
	"testing"
)

// system is what can be explored: states that are comparable and canonical, their
// steps, and what must hold in each.
type system[S comparable] interface {
	start() S
	steps(s *S, to yields[S])
	check(s *S) violation
}

// step is one arrow of a counterexample.
type step struct {
	who    string
	number int
	what   string
}

// yields takes a state that a step leads to.
type yields[S any] func(who string, number int, what string, next S)

// link leads back from a state to that which it was first reached from.
type link struct {
	from int32
	step step
}

// explore visits every state breadth first until one breaks an invariant, and
// gives the steps of a shortest way there.
func explore[S comparable](m system[S]) (way []step, broken violation, states int) {
	first := m.start()
	seen := map[S]struct{}{first: {}}
	links := []link{{from: -1}}
	frontier := []S{first}
	for begins := 0; len(frontier) > 0; {
		var next []S
		for i := range frontier {
			at := int32(begins + i)
			m.steps(&frontier[i], func(who string, number int, what string, n S) {
				if _, old := seen[n]; old || broken != 0 {
					return
				}
				seen[n] = struct{}{}
				links = append(links, link{at, step{who, number, what}})
				next = append(next, n)
				if broken = m.check(&n); broken != 0 {
					way = trace(links)
				}
			})
			if broken != 0 {
				return way, broken, len(seen)
			}
		}
		begins += len(frontier)
		frontier = next
	}
	return nil, 0, len(seen)
}

func trace(links []link) []step {
	var way []step
	for at := int32(len(links) - 1); links[at].from >= 0; at = links[at].from {
		way = append([]step{links[at].step}, way...)
	}
	return way
}

func tell(way []step) string {
	var b strings.Builder
	for i, s := range way {
		fmt.Fprintf(&b, "\n%3d  %s %d: %s", i+1, s.who, s.number, s.what)
	}
	return b.String()
}

// bounded is a scenario of any of the models, which is explored with flaws or none.
type bounded interface {
	explore(f flaw) (way []step, broken violation, states int)
}

var deeper = flag.Bool("deep", false, "explore larger bounds too: a minute or more, and some gigabytes")

func TestInvariantsHoldInEveryReachableState(t *testing.T) {
	t.Parallel()
	all := maps.Clone(scenarios)
	if *deeper {
		maps.Copy(all, deep)
	}
	for name, sc := range all {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			way, broken, states := sc.explore(0)
			t.Logf("%d states", states)
			if broken != 0 {
				t.Errorf("%v:%s", broken, tell(way))
			}
		})
	}
}

// Invariants that hold of nothing are worth nothing: in every scenario all events can be committed and found.
func TestScenariosReachAFullAnswer(t *testing.T) {
	t.Parallel()
	for name, sc := range scenarios {
		if _, broken, _ := sc.explore(seeksAnswer); broken != answered {
			t.Errorf("%s: found %q, want %q", name, broken, answered)
		}
	}
}

func TestFlawsAreFound(t *testing.T) {
	t.Parallel()
	for name, planted := range flaws {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			way, broken, states := scenarios[planted.scenario].explore(planted.flaw)
			t.Logf("after %d states: %v:%s", states, broken, tell(way))
			if broken != planted.broken {
				t.Errorf("found %q, want %q", broken, planted.broken)
			}
		})
	}
}

// A limit that is overcome belongs among the scenarios.
func TestLimitsAreWhereTheyAreSaidToBe(t *testing.T) {
	t.Parallel()
	for name, limit := range limits {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			way, broken, states := limit.explore(0)
			t.Logf("after %d states: %v:%s", states, broken, tell(way))
			if broken != limit.broken {
				t.Errorf("found %q, want %q", broken, limit.broken)
			}
		})
	}
}
