package process

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"

	"mayfly/cmd/mayfly/config"
	"mayfly/pipeline/kafkain"
	"mayfly/retention/keyring"
	"mayfly/retention/redisconn"
	"mayfly/retention/warden"
)

// How often a warden's process looks. A topic's settings change seldom, and a
// cluster may have many groups.
const (
	serversEvery = 10 * time.Second
	topicsEvery  = time.Minute
	enforceEvery = 10 * time.Second
)

// Examiner looks at what the guarantee rests on: Redis, keyring, the
// key-encryption key, Kafka's topics. It only reads, unless it enforces.
type Examiner struct {
	config    config.Config
	names     []string // of the keyring's nodes
	nodes     []*redis.Client
	data      redis.UniversalClient
	inspector *kafkain.Inspector // nil: Kafka can't even be asked
	why       error
	admin     *kafkain.Enforcer // nil: nothing is enforced
	enforcer  *warden.Enforcer
	plain     map[string]time.Time // when plain events were last seen on a sealed topic
}

// NewExaminer opens clients of its own, and connects to nothing. What is wrong
// with Kafka's settings is a finding, not an error: keys are destroyed without Kafka.
func NewExaminer(c config.Config) (*Examiner, error) {
	x := &Examiner{config: c, plain: map[string]time.Time{}}
	var err error
	if x.data, err = redisconn.Open(c.Redis); err != nil {
		return nil, err
	}
	for i, address := range c.Keyring.Nodes {
		node, err := redisconn.OpenNode(address)
		if err != nil {
			x.Close()
			return nil, err
		}
		x.nodes, x.names = append(x.nodes, node), append(x.names, nodeName(i, address))
	}
	x.inspector, x.why = kafkain.NewInspector(c.Kafka)
	return x, nil
}

// Close gives back what NewExaminer opened.
func (x *Examiner) Close() {
	if x.inspector != nil {
		x.inspector.Close()
	}
	if x.admin != nil {
		x.admin.Close()
	}
	for _, node := range x.nodes {
		_ = node.Close()
	}
	_ = x.data.Close()
}

// sources are what a warden's process watches.
func (x *Examiner) sources() []warden.Source {
	topics := topicsEvery
	if x.enforcer != nil {
		topics = enforceEvery
	}
	return []warden.Source{{Every: serversEvery, Look: x.Servers}, {Every: topics, Look: x.Topics}}
}

// Servers looks at every Redis, at the key-encryption key's file and at this process.
func (x *Examiner) Servers(ctx context.Context) warden.Observation {
	seen := warden.Observation{Ahead: map[string]time.Duration{}}
	for _, a := range keyring.AttestServers(ctx, x.names, x.nodes, x.data, x.config.Ingest.Skew) {
		seen.Findings = append(seen.Findings, a.Findings...)
		if a.Ahead == nil {
			continue
		}
		peer := "keyring " + a.Name
		if len(a.Findings) > 0 && a.Findings[0].Area == keyring.AreaRedis {
			peer = "redis" // of several servers the one that is most ahead, as ingest has it
		}
		if ahead, known := seen.Ahead[peer]; !known || *a.Ahead > ahead {
			seen.Ahead[peer] = *a.Ahead
		}
	}
	seen.Findings = append(seen.Findings, x.config.Keyring.AttestKEK(time.Now())...)
	seen.Findings = append(seen.Findings, keyring.AttestProcess()...)
	return seen
}

// Topics looks at every topic that is read; one look at a time.
func (x *Examiner) Topics(ctx context.Context) warden.Observation {
	facts, answers := x.Facts(ctx)
	seen := warden.Observation{Findings: []keyring.Finding{answers}, Oldest: map[string]time.Duration{}}
	now := time.Now()
	for i := range facts {
		if facts[i].Plain > 0 {
			x.plain[facts[i].Name] = now
		}
		seen.Findings = append(seen.Findings, warden.JudgeTopic(facts[i], x.Expectations(), now)...)
		if age, told := facts[i].OldestAge(now); told {
			seen.Oldest[facts[i].Name] = age
		}
		if x.enforcer != nil && facts[i].Exists != nil && *facts[i].Exists {
			seen.Findings = append(seen.Findings, x.enforcer.Enforce(ctx, &facts[i], now))
		}
	}
	seen.Covered = warden.Coverage{Sealed: x.config.Kafka.Sealed, Enforced: x.Expectations().Enforce}.Covers(seen.Findings)
	return seen
}

// Facts asks Kafka; where it does not answer there are none.
func (x *Examiner) Facts(ctx context.Context) ([]warden.TopicFacts, keyring.Finding) {
	answers := keyring.Findings{Area: keyring.AreaKafka, Subject: "cluster"}
	var states []kafkain.TopicState
	err := x.why
	if err == nil {
		states, err = x.inspector.Topics(ctx, x.config.Kafka.Topics...)
	}
	if err != nil {
		answers.Add(keyring.Answers, keyring.Fail, err.Error(), "start it, or correct kafka.brokers, kafka.tls or kafka.sasl")
		return nil, answers.List[0]
	}
	answers.Add(keyring.Answers, keyring.Pass, "it answers", "")
	facts := make([]warden.TopicFacts, len(states))
	for i, state := range states {
		facts[i] = warden.TopicFacts(state)
	}
	return facts, answers.List[0]
}

// Expectations are what the topics are judged by.
func (x *Examiner) Expectations() warden.TopicExpectations {
	return warden.TopicExpectations{
		Policies: x.config.Policies, Group: x.config.Kafka.Group, Skew: x.config.Ingest.Skew,
		Enforce: x.config.Kafka.Guard == "enforce" && x.config.Kafka.Exclusive,
		Sealed:  x.config.Kafka.Sealed, PlainSeen: x.plain,
	}
}
