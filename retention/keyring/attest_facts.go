package keyring

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// facts are what a server tells of itself. What it refuses to tell is absent.
type facts struct {
	away   error // why it does not answer; nil: it does
	info   map[string]string
	config map[string]string
	ahead  *time.Duration
	slack  time.Duration // ahead is known no better than this
}

var attestSettings = []string{"save", "appendonly", "dir", "slowlog-log-slower-than", "slowlog-max-len", "lazyfree-lazy-expire"}

var errSlow = errors.New("no answer in time")

// ask reads the facts in bounded time. go-redis does not stop a dial or a read
// when ctx ends, so the questions may outlive this call by its own time limits.
func ask(ctx context.Context, client redis.Cmdable) facts {
	ctx, cancel := context.WithTimeout(ctx, attestLimit)
	answered := make(chan facts, 1)
	go func() {
		defer cancel()
		answered <- readFacts(ctx, client)
	}()
	select {
	case f := <-answered:
		return f
	case <-ctx.Done():
	}
	select {
	case f := <-answered: // cancel runs after the answer is there
		return f
	default:
		return facts{away: errSlow}
	}
}

func readFacts(ctx context.Context, client redis.Cmdable) facts {
	// The first command pays for the connection, so it is not the one that is timed.
	if err := client.Ping(ctx).Err(); err != nil && (!refused(err) || locksOut(err)) {
		return facts{away: err}
	}
	var f facts
	asked := time.Now()
	if there, err := client.Time(ctx).Result(); err == nil {
		f.slack = time.Since(asked) / 2
		ahead := there.Sub(asked.Add(f.slack))
		f.ahead = &ahead
	} else if !refused(err) {
		return facts{away: err}
	}
	text, err := client.Info(ctx).Result()
	if err == nil {
		f.info = parseInfo(text)
	} else if !refused(err) {
		return facts{away: err}
	}
	f.config = map[string]string{}
	for _, name := range attestSettings { // one by one: several at once need 7.0
		values, err := client.ConfigGet(ctx, name).Result()
		if err != nil && !refused(err) {
			return facts{away: err}
		}
		if value, told := values[name]; told && err == nil {
			f.config[name] = value
		}
	}
	return f
}

// refused tells an answer that is an error from no answer.
func refused(err error) bool {
	var answer redis.Error
	return errors.As(err, &answer)
}

// locksOut tells the refusal of everything from that of one command.
func locksOut(err error) bool {
	return strings.HasPrefix(err.Error(), "NOAUTH") || strings.HasPrefix(err.Error(), "WRONGPASS")
}

func parseInfo(text string) map[string]string {
	info := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok && name != "" {
			info[name] = value
		}
	}
	return info
}

// judgeServer judges what every Redis must be.
func (f *facts) judgeServer(to *Findings, skew time.Duration) {
	if f.away != nil {
		to.Add(Answers, Fail, f.away.Error(), "start it, or correct its address or password in the configuration")
	} else {
		to.Add(Answers, Pass, "it answers", "")
	}
	const info = "allow INFO to Mayfly's user"
	version := f.info["redis_version"]
	major, _, _ := strings.Cut(version, ".")
	number, err := strconv.Atoi(major)
	switch {
	case err != nil:
		to.Add(Version, Unattested, "its version is not told", info)
	case number < 7:
		to.Add(Version, Fail, version, "use Redis or Valkey 7.0 or newer: older ones have no PEXPIREAT … LT, on which every expiry rests")
	default:
		to.Add(Version, Pass, version, "")
	}
	f.judgeClock(to, skew)
	policy, evicted := f.info["maxmemory_policy"], f.info["evicted_keys"]
	const keep = "set maxmemory-policy noeviction and give it memory: what is evicted is missing from look-ups (complete: false)"
	const reset = "; then CONFIG RESETSTAT"
	switch {
	case policy == "":
		to.Add(Eviction, Unattested, "maxmemory-policy is not told", info)
	case cmp.Or(evicted, "0") != "0":
		to.Add(Eviction, Fail, evicted+" keys were evicted before their time since the server started", keep+reset)
	case policy != "noeviction" && f.info["maxmemory"] != "0":
		to.Add(Eviction, Warn, "maxmemory-policy "+policy, keep)
	default:
		to.Add(Eviction, Pass, "maxmemory-policy "+policy+", maxmemory "+cmp.Or(f.info["maxmemory"], "?"), "")
	}
}

// judgeData judges what a server of the data must be besides. An epoch comes due all at
// once: a server that frees it by itself, or when the warden unlinks it, makes everybody
// wait 0.13 s for each gigabyte, unless another of its threads does it.
func (f *facts) judgeData(to *Findings) {
	switch lazy := f.config["lazyfree-lazy-expire"]; lazy {
	case "":
		to.Add(LazyExpiry, Unattested, "lazyfree-lazy-expire is not told", "allow CONFIG GET (+config|get) to Mayfly's user")
	case "yes":
		to.Add(LazyExpiry, Pass, "lazyfree-lazy-expire yes", "")
	default:
		to.Add(LazyExpiry, Warn, "lazyfree-lazy-expire "+lazy+": others wait while an epoch that is due is freed",
			"CONFIG SET lazyfree-lazy-expire yes, in redis.conf too")
	}
}

// excuse gives what a server that does not answer leaves open its one reason: it is no
// permission that is missing.
func (f *facts) excuse(of *Findings) {
	for i := range of.List {
		if finding := &of.List[i]; f.away != nil && finding.Verdict == Unattested {
			finding.Saw, finding.Mend = "it does not answer", "see above"
		}
	}
}

func (f *facts) judgeClock(to *Findings, skew time.Duration) {
	if f.ahead == nil {
		to.Add(Clock, Unattested, "its time is not told", "allow TIME to Mayfly's user")
		return
	}
	off, word := *f.ahead, "ahead of"
	if off < 0 {
		off, word = -off, "behind"
	}
	saw := fmt.Sprintf("%v %s this machine", off.Round(time.Millisecond), word)
	if off-f.slack > skew {
		to.Add(Clock, Fail, saw, fmt.Sprintf("set the clocks of both (NTP): keys die by the server's clock, and more than ingest.skew, %v, is too much", skew))
		return
	}
	to.Add(Clock, Pass, saw, "")
}

// judgeNode judges what a node of the keyring must be besides: it forgets
// whatever it is told to, and nobody else has it.
func (f *facts) judgeNode(to *Findings) {
	switch mode := f.info["redis_mode"]; mode {
	case "":
		to.Add(Standalone, Unattested, "its mode is not told", "allow INFO to Mayfly's user")
	case "standalone":
		to.Add(Standalone, Pass, mode, "")
	default:
		to.Add(Standalone, Fail, "mode "+mode, "use a standalone server: Cluster and Sentinel copy keys")
	}
	f.judgeAppendOnly(to)
	f.judgeSnapshots(to)
	f.judgeReplicas(to)
	slower, length := f.config["slowlog-log-slower-than"], f.config["slowlog-max-len"]
	switch {
	case length == "0" || strings.HasPrefix(slower, "-"):
		to.Add(SlowLog, Pass, "off", "")
	case length == "" || slower == "":
		to.Add(SlowLog, Unattested, "its settings are not told", allowConfig)
	default:
		to.Add(SlowLog, Warn, "keeps up to "+length+" commands, wrapped keys with them, past their expiry", "CONFIG SET slowlog-max-len 0")
	}
}

const allowConfig = "allow CONFIG GET (+config|get) to Mayfly's user; where a managed service refuses it, run the keyring yourself"

// judgeAppendOnly asks for the setting and for what has been done: switching the file off
// does not remove it, and BGREWRITEAOF writes one although it is off.
func (f *facts) judgeAppendOnly(to *Findings) {
	set, on, written := f.config["appendonly"], f.info["aof_enabled"], cmp.Or(f.info["aof_rewrites"], "0")
	dir := cmp.Or(f.config["dir"], "its folder")
	switch {
	case set == "yes" || on == "1":
		to.Add(AppendOnly, Fail, "appendonly yes, in "+dir,
			"CONFIG SET appendonly no, in redis.conf too, and remove the files: they keep every wrapped key; then CONFIG RESETSTAT")
	case on == "":
		to.Add(AppendOnly, Unattested, "not told", "allow INFO to Mayfly's user")
	case written != "0" || f.info["aof_rewrite_in_progress"] == "1":
		to.Add(AppendOnly, Fail, "off, but one was written to "+dir+" since the server started",
			"remove the files: they keep every wrapped key; then CONFIG RESETSTAT")
	default:
		to.Add(AppendOnly, Pass, "off", "")
	}
}

// judgeSnapshots asks for the setting and for what has been done: a snapshot
// that was taken by hand, or before the setting was changed, is there.
func (f *facts) judgeSnapshots(to *Findings) {
	points, told := f.config["save"]
	taken := f.info["rdb_saves"]
	dir := cmp.Or(f.config["dir"], "its folder")
	const reset = ", then CONFIG RESETSTAT"
	switch {
	case told && points != "":
		to.Add(Snapshots, Fail, "save "+points+", in "+dir, `CONFIG SET save "", in redis.conf too, and remove dump.rdb`+reset)
	case f.info["rdb_bgsave_in_progress"] == "1":
		to.Add(Snapshots, Fail, "one is being written to "+dir, "find who asks for it, and remove dump.rdb"+reset)
	case cmp.Or(taken, "0") != "0":
		to.Add(Snapshots, Fail, taken+" written to "+dir+" since the server started", "find who asks for them, and remove dump.rdb"+reset)
	case told && taken == "0":
		to.Add(Snapshots, Pass, "no save points, none written", "")
	default:
		to.Add(Snapshots, Unattested, "the save points are not told", allowConfig)
	}
}

// judgeReplicas also asks for copies that were taken between two looks.
func (f *facts) judgeReplicas(to *Findings) {
	role, connected, copies := f.info["role"], f.info["connected_slaves"], cmp.Or(f.info["sync_full"], "0")
	const mend = "detach it and destroy its dump.rdb and append-only file: it has every wrapped key"
	switch {
	case role == "" || connected == "":
		to.Add(Replicas, Unattested, "not told", "allow INFO to Mayfly's user")
	case role != "master":
		to.Add(Replicas, Fail, "it is itself a replica", "REPLICAOF NO ONE: nodes of the keyring are written in parallel, never replicated")
	case connected != "0":
		to.Add(Replicas, Fail, connected+" connected", mend)
	case copies != "0":
		to.Add(Replicas, Fail, "full copies taken since the server started: "+copies, "find the replica, "+mend+"; then CONFIG RESETSTAT")
	default:
		to.Add(Replicas, Pass, "none", "")
	}
}
