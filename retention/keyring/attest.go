package keyring

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"
)

// Verdict is what looking at one condition of the guarantee came to.
type Verdict string

// A condition passes only because something was seen; what a server does not
// tell is unattested.
const (
	Pass       Verdict = "pass"
	Warn       Verdict = "warn"
	Fail       Verdict = "fail"
	Unattested Verdict = "unattested"
)

// Area is what a condition is about.
type Area string

// The areas.
const (
	AreaKeyring Area = "keyring"
	AreaKEK     Area = "kek"
	AreaRedis   Area = "redis"
	AreaKafka   Area = "kafka"
)

// Condition names one thing that must hold. It is a metric's label: a word of
// this project, never of what was seen.
type Condition string

// Conditions of Redis servers; those from Standalone on are asked of keyring nodes only.
const (
	Answers    Condition = "answers"
	Version    Condition = "version"
	Clock      Condition = "clock"
	Eviction   Condition = "eviction"
	Standalone Condition = "standalone"
	AppendOnly Condition = "append-only file"
	Snapshots  Condition = "snapshots"
	Replicas   Condition = "replicas"
	SlowLog    Condition = "slow log"
)

// LazyExpiry is asked of the data's servers only.
const LazyExpiry Condition = "lazy expiry"

// Conditions of the keyring as a whole.
const (
	SeveralNodes Condition = "several nodes"
	ApartOfData  Condition = "apart from the data"
)

// Finding is what was seen of one condition of one subject, and where it does
// not pass, what to do.
type Finding struct {
	Area      Area      `json:"area"`
	Subject   string    `json:"subject"`
	Condition Condition `json:"condition"`
	Verdict   Verdict   `json:"verdict"`
	Saw       string    `json:"saw"`
	Mend      string    `json:"mend,omitempty"`
}

// Findings are gathered for one subject.
type Findings struct {
	Area    Area
	Subject string
	List    []Finding
}

// Add appends a finding; mend says what to do where it is no pass.
func (f *Findings) Add(condition Condition, verdict Verdict, saw, mend string) {
	if verdict == Pass {
		mend = ""
	}
	f.List = append(f.List, Finding{f.Area, f.Subject, condition, verdict, saw, mend})
}

// Attestation is what a Redis server was seen to be.
type Attestation struct {
	Name     string
	RunID    string         // of this start of the server; empty: not told
	Ahead    *time.Duration // how far its clock is ahead of ours; nil: not told
	Findings []Finding
}

// attestLimit bounds the questions to one server.
const attestLimit = 5 * time.Second

// AttestNode asks a node of the keyring what it is: volatile, alone and on time.
// It only reads. Clocks may differ by skew.
func AttestNode(ctx context.Context, name string, client *redis.Client, skew time.Duration) Attestation {
	f := ask(ctx, client)
	findings := Findings{Area: AreaKeyring, Subject: name}
	f.judgeServer(&findings, skew)
	f.judgeNode(&findings)
	f.excuse(&findings)
	return Attestation{name, f.info["run_id"], f.ahead, findings.List}
}

// AttestData asks the Redis servers of the data, each primary of a Cluster, as
// AttestNode does. Replicas and files are no matter there: they hold ciphertext.
func AttestData(ctx context.Context, client redis.UniversalClient, skew time.Duration) []Attestation {
	cluster, several := client.(*redis.ClusterClient)
	if !several {
		return []Attestation{attestData(ctx, "data", client, skew)}
	}
	found := make(chan Attestation, 1000) // a Cluster has no more primaries
	err := cluster.ForEachMaster(ctx, func(ctx context.Context, primary *redis.Client) error {
		found <- attestData(ctx, "data "+primary.Options().Addr, primary, skew)
		return nil
	})
	close(found)
	var all []Attestation
	for a := range found {
		all = append(all, a)
	}
	if err != nil {
		findings := Findings{Area: AreaRedis, Subject: "data"}
		f := facts{away: err}
		f.judgeServer(&findings, skew)
		f.excuse(&findings)
		all = append(all, Attestation{Name: "data", Findings: findings.List})
	}
	return all
}

func attestData(ctx context.Context, name string, client redis.Cmdable, skew time.Duration) Attestation {
	f := ask(ctx, client)
	findings := Findings{Area: AreaRedis, Subject: name}
	f.judgeServer(&findings, skew)
	f.judgeData(&findings)
	f.excuse(&findings)
	return Attestation{name, f.info["run_id"], f.ahead, findings.List}
}

// AttestServers asks all nodes and the data's servers in parallel, and adds what
// shows only of all of them together.
func AttestServers(ctx context.Context, names []string, nodes []*redis.Client, data redis.UniversalClient, skew time.Duration) []Attestation {
	ring := make([]Attestation, len(nodes))
	var stores []Attestation
	var g errgroup.Group
	for i := range nodes {
		g.Go(func() error {
			ring[i] = AttestNode(ctx, names[i], nodes[i], skew)
			return nil
		})
	}
	g.Go(func() error {
		stores = AttestData(ctx, data, skew)
		return nil
	})
	_ = g.Wait()
	whole := Attestation{Name: "keyring", Findings: judgeRing(ring, stores)}
	return append(append(ring, whole), stores...)
}

// judgeRing judges how the servers stand to each other. Servers are told apart
// by their run id: two names may lead to one.
func judgeRing(ring, stores []Attestation) []Finding {
	findings := Findings{Area: AreaKeyring, Subject: "keyring"}
	seen, told, twice := map[string]bool{}, true, false
	for _, node := range ring {
		told = told && node.RunID != ""
		twice = twice || node.RunID != "" && seen[node.RunID]
		seen[node.RunID] = true
	}
	const add = "name two or three standalone servers in keyring.nodes, on different hosts"
	switch {
	case len(ring) == 1:
		findings.Add(SeveralNodes, Warn, "one node: when it restarts, every living epoch is lost", add)
	case twice:
		findings.Add(SeveralNodes, Warn, "two of keyring.nodes are the same server", add)
	case !told:
		findings.Add(SeveralNodes, Unattested, "a node does not tell its run id", "allow INFO to the user of keyring.nodes")
	default:
		findings.Add(SeveralNodes, Pass, "all nodes are different servers", "")
	}
	shared := false
	for _, store := range stores {
		told = told && store.RunID != ""
		shared = shared || store.RunID != "" && seen[store.RunID]
	}
	switch {
	case shared:
		findings.Add(ApartOfData, Warn, "a keyring node also keeps the data: who takes its memory has both",
			"give the keyring servers of its own")
	case !told || len(stores) == 0:
		findings.Add(ApartOfData, Unattested, "a server does not tell its run id", "allow INFO to the users of keyring.nodes and redis")
	default:
		findings.Add(ApartOfData, Pass, "keys and data are on different servers", "")
	}
	return findings.List
}
