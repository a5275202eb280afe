package demo

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
	"time"
)

// Each way of cheating ends with the one line that catches it.
func TestSabotage(t *testing.T) {
	t.Parallel()
	for name, caught := range map[string]string{
		"skip-purge":  `^caught: keyring node [01] still has \d keys of epoch demo/\d+\+1000$`,
		"edit-log":    `^caught: the auditor: log in \S+: edited: entry \d+ is not what the checkpoint was signed for$`,
		"fork-log":    `^caught: the auditor: log in \S+: forked: its first \d+ entries are not those of the older checkpoint$`,
		"keep-backup": `^caught: the backup of \S+ was put back: [1-9]\d* keys and [1-9]\d* chunks of dead epochs, .* opens none of them$`,
	} {
		t.Run(name, func(t *testing.T) { // one after the other: each is a whole installation
			c := &Cmd{
				Duration: new(7 * time.Second), Window: 4 * time.Second, Epoch: time.Second,
				Rate: 200, Listen: "127.0.0.1:0", Seed: 1, Sabotage: name,
			}
			var out, log bytes.Buffer
			if err := c.run(t.Context(), &out, &log); err != nil {
				t.Fatalf("%v\n%s%s", err, out.String(), log.String())
			}
			lines := strings.Split(strings.TrimSpace(out.String()), "\n")
			if last := lines[len(lines)-1]; !regexp.MustCompile(caught).MatchString(last) {
				t.Errorf("the last line is %q", last)
			}
		})
	}
}

// An auditor who has nothing in hand catches nobody.
func TestSabotageUncaught(t *testing.T) {
	t.Parallel()
	d := &demo{sabotage: &sabotage{does: "nothing"}, auditor: &auditor{}, stack: &installation{}}
	if line, err := d.catch(t.Context(), nil); err == nil || line != "" {
		t.Errorf("caught with %q", line)
	}
}
