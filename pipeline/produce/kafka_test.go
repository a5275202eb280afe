package produce

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func cluster(t *testing.T, opts ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(append(opts, kfake.NumBrokers(1))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// produced runs a producer over in.
func produced(t *testing.T, c *kfake.Cluster, config Config, in io.Reader, opts ...kgo.Opt) (Summary, error) {
	t.Helper()
	config.Brokers = c.ListenAddrs()
	p, err := New(config, Dependencies{Options: opts})
	if err != nil {
		t.Fatal(err)
	}
	return p.Run(t.Context(), in)
}

// stored counts the records of a topic.
func stored(c *kfake.Cluster, topic string) (n int64) {
	for _, p := range c.PartitionInfos(topic) {
		n += p.HighWatermark
	}
	return n
}

func TestRun(t *testing.T) {
	t.Parallel()
	c := cluster(t, kfake.SeedTopics(3, "logins"))
	summary, err := produced(t, c, Config{Topic: "logins"}, strings.NewReader(input))
	if err != nil {
		t.Fatal(err)
	}
	if summary.Lines != 6 || summary.Produced != 3 || summary.Skipped != 3 {
		t.Errorf("%+v", summary)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.ConsumeTopics("logins"))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var values []string
	for len(values) < 3 && ctx.Err() == nil {
		client.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
			values = append(values, string(r.Value))
			if r.Key != nil || time.Since(r.Timestamp) > time.Minute {
				t.Error("a key, or a stamp that is not now")
			}
		})
	}
	lines := strings.Split(strings.ReplaceAll(input, "\r", ""), "\n")
	want := []string{lines[0], lines[1], lines[3]}
	slices.Sort(values)
	slices.Sort(want)
	if diff := cmp.Diff(want, values); diff != "" {
		t.Error(diff)
	}
}

func TestMissingTopic(t *testing.T) {
	t.Parallel()
	c := cluster(t)
	begin := time.Now()
	_, err := produced(t, c, Config{Topic: "logins"}, strings.NewReader(input))
	if err == nil || err.Error() != "topic logins does not exist: create it, or allow it to be created" {
		t.Errorf("error %v", err)
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("it took %v to say so", took)
	}
	for range 2 { // the second time it is there
		if _, err := produced(t, c, Config{Topic: "logins", CreateTopic: true}, strings.NewReader(input)); err != nil {
			t.Fatal(err)
		}
	}
	if n := stored(c, "logins"); n != 6 {
		t.Errorf("%d records", n)
	}
}

// An acknowledgement that is lost on its way doubles no event; without
// idempotence, the same fault does.
func TestLostAcknowledgement(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		opts    []kgo.Opt
		doubled bool
	}{
		"idempotent": {},
		"plain":      {[]kgo.Opt{kgo.DisableIdempotentWrite()}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := cluster(t, kfake.SeedTopics(1, "logins"))
			c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "logins", Err: kerr.RequestTimedOut, Count: 2})
			summary, err := produced(t, c, Config{Topic: "logins"}, strings.NewReader(input), test.opts...)
			if err != nil || summary.Produced != 3 {
				t.Fatalf("%+v, %v", summary, err)
			}
			if n := stored(c, "logins"); n != 3 != test.doubled {
				t.Errorf("%d records", n)
			}
		})
	}
}

// What the broker refuses for good ends the run with an error and a true count.
func TestBrokerRefuses(t *testing.T) {
	t.Parallel()
	c := cluster(t, kfake.SeedTopics(1, "logins"))
	c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "logins", Err: kerr.TopicAuthorizationFailed, Count: -1})
	in, w := io.Pipe() // never ends by itself
	defer func() { _ = in.Close() }()
	go func() {
		for {
			if _, err := io.WriteString(w, input+"\n"); err != nil {
				return
			}
		}
	}()
	summary, err := produced(t, c, Config{Topic: "logins"}, in)
	if err == nil || !strings.HasPrefix(err.Error(), "writing to Kafka: TOPIC_AUTHORIZATION_FAILED") || summary.Produced != 0 {
		t.Errorf("%+v, %v", summary, err)
	}
}

func TestManyEvents(t *testing.T) {
	t.Parallel()
	c := cluster(t, kfake.SeedTopics(4, "logins"))
	const n = 3 * maxInFlight / 2
	var in strings.Builder
	for i := range n {
		fmt.Fprintf(&in, `{"time":%d,"account":"a%d","ip":"192.0.2.1"}`+"\n", i, i)
	}
	summary, err := produced(t, c, Config{Topic: "logins"}, strings.NewReader(in.String()))
	if err != nil || summary.Produced != n || stored(c, "logins") != n {
		t.Errorf("%+v, %d stored, %v", summary, stored(c, "logins"), err)
	}
}

func TestNoBroker(t *testing.T) {
	t.Parallel()
	p, err := New(Config{Brokers: []string{"127.0.0.1:1"}, Topic: "logins"}, Dependencies{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := p.Run(ctx, strings.NewReader(input)); err == nil || !strings.HasPrefix(err.Error(), "asking Kafka for topic logins (is it running at kafka.brokers?): ") {
		t.Errorf("error %v", err)
	}
}

func TestSummaryJSON(t *testing.T) {
	t.Parallel()
	text, err := json.Marshal(Summary{Lines: 1, Skipped: 1, Reasons: map[string]int{"empty": 1}})
	if err != nil || string(text) != `{"lines":1,"produced":0,"skipped":1,"reasons":{"empty":1}}` {
		t.Errorf("%s %v", text, err)
	}
}
