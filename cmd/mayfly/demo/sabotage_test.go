package demo

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"mayfly/cmd/mayfly/embedded"
	"mayfly/retention"
	"mayfly/retention/keyring"
	"mayfly/retention/redisconn"
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

// What the warden keeps is there after its deadline, also when the sweep has given
// the keys their expiry back, and the keys look destroyed to the warden.
func TestSkipPurgeKeepsWhatHasExpired(t *testing.T) {
	t.Parallel()
	addr, _, stop, err := embedded.Redis(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	server, err := redisconn.OpenNode("redis://" + addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	k := &keeper{}
	k.begin([]*redis.Client{server})
	node := &lyingNode{Node: keyring.NewRedisNode("node", server), keeper: k}
	epoch := retention.Epoch{Policy: policyName, Start: time.Now().UnixMilli(), Length: 1000}
	if !k.keeps(epoch) {
		t.Fatal("another epoch is kept")
	}
	for _, name := range keyNames(epoch) {
		if err := server.HSet(t.Context(), name, "id", "wrapped").Err(); err != nil {
			t.Fatal(err)
		}
	}
	if err := k.copyKeys(t.Context(), epoch); err != nil {
		t.Fatal(err)
	}
	if err := server.Del(t.Context(), keyNames(epoch)...).Err(); err != nil {
		t.Fatal(err)
	}
	if err := node.Destroy(t.Context(), epoch, time.Hour); err != nil {
		t.Fatal(err)
	}
	if left, err := keysLeft(t.Context(), server, epoch); left != 3 || err != nil {
		t.Errorf("%d keys are left (%v), want 3", left, err)
	}
	if fields, err := node.Fetch(t.Context(), epoch, "public"); len(fields) > 0 || err != nil {
		t.Errorf("the warden sees %d keys (%v)", len(fields), err)
	}
}
