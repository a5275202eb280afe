package model

import (
	"flag"
	"fmt"
	"maps"
	"strings"
	"testing"
)

// link leads back from a state to that which it was first reached from.
type link struct {
	from int32
	step step
}

// explore visits every state breadth first until one breaks an invariant, and
// gives the steps of a shortest way there.
func (m *model) explore() (way []step, broken violation, states int) {
	first := m.start()
	seen := map[state]struct{}{first: {}}
	links := []link{{from: -1}}
	frontier := []state{first}
	for begins := 0; len(frontier) > 0; {
		var next []state
		for i := range frontier {
			at := int32(begins + i)
			m.steps(&frontier[i], func(who string, number int, what string, n state) {
				if n.left.failover == 0 { // nothing is lost any more
					n.chunk.safe, n.directory.safe = n.chunk.length, n.directory.length
				}
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

// explore explores a scenario under each of its clocks, until an invariant breaks.
func (sc scenario) explore(f flaw) (way []step, broken violation, states int) {
	all := sc.clocks
	if len(all) == 0 {
		all = []clocks{{}}
	}
	for _, c := range all {
		way, broken, n := (&model{scenario: sc, flaw: f, clocks: c}).explore()
		if states += n; broken != 0 {
			return way, broken, states
		}
	}
	return nil, 0, states
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
