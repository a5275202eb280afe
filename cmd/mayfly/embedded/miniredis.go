package embedded

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
)

// Miniredis runs a Redis inside this process, on a free loopback port. It
// expires keys by the clock and answers what Mayfly asks of a server to judge
// it: INFO, CONFIG GET, ROLE and SLOWLOG. What it says is true of it: it is a
// single primary that writes to no disk.
//
// It keeps a TTL as a duration, which shows in two places: PEXPIRETIME may be a
// millisecond below the instant that was set, and PEXPIREAT … LT with the
// instant that a key has already may answer 1, where Redis answers 0.
func Miniredis() (addr string, stop func(), err error) {
	m := miniredis.NewMiniRedis()
	if err := m.Start(); err != nil {
		return "", nil, fmt.Errorf("starting miniredis: %w", err)
	}
	m.ClockTTL(true) // without it a TTL never falls
	facts := newServerFacts(m)
	m.Server().SetPreHook(facts.info) // INFO exists and can't be registered again
	for command, answer := range map[string]server.Cmd{
		"CONFIG": facts.config, "ROLE": facts.role, "SLOWLOG": facts.slowlog,
	} {
		if err := m.Server().Register(command, answer); err != nil {
			m.Close()
			return "", nil, fmt.Errorf("teaching miniredis %s: %w", command, err)
		}
	}
	return m.Addr(), sync.OnceFunc(m.Close), nil
}

// serverFacts answers the commands of an operator. It is asked outside of
// MULTI; from within, it answers at once instead of "QUEUED".
type serverFacts struct {
	server   *server.Server
	runID    string
	started  time.Time
	port     string
	settings map[string]string
}

func newServerFacts(m *miniredis.Miniredis) *serverFacts {
	id := make([]byte, 20)
	_, _ = rand.Read(id) // never fails
	return &serverFacts{
		server: m.Server(), runID: hex.EncodeToString(id), started: time.Now(), port: m.Port(),
		settings: map[string]string{
			"appendonly": "no", "save": "", "lazyfree-lazy-expire": "yes", "dir": "", "dbfilename": "",
			"maxmemory": "0", "maxmemory-policy": "noeviction",
			"slowlog-log-slower-than": "-1", "slowlog-max-len": "0",
			"databases": "16", "bind": "127.0.0.1", "port": m.Port(),
		},
	}
}

// info is the hook that answers INFO and leaves other commands alone.
func (f *serverFacts) info(c *server.Peer, command string, args ...string) bool {
	if command != "INFO" {
		return false
	}
	var text strings.Builder
	for _, section := range f.sections() {
		name := section[0]
		if len(args) == 0 || slices.ContainsFunc(args, func(a string) bool {
			return strings.EqualFold(a, name) || strings.EqualFold(a, "all") ||
				strings.EqualFold(a, "everything") || strings.EqualFold(a, "default")
		}) {
			fmt.Fprintf(&text, "# %s\r\n%s\r\n\r\n", name, strings.Join(section[1:], "\r\n"))
		}
	}
	c.WriteBulk(text.String())
	return true
}

// sections are what INFO has to say, each a title and its lines.
func (f *serverFacts) sections() [][]string {
	uptime := int64(time.Since(f.started).Seconds())
	return [][]string{
		{
			"Server", "redis_version:7.0.0", "server_name:miniredis", "redis_mode:standalone",
			"process_id:" + strconv.Itoa(os.Getpid()), "run_id:" + f.runID,
			"tcp_port:" + f.port, "uptime_in_seconds:" + strconv.FormatInt(uptime, 10),
		},
		{"Clients", "connected_clients:" + strconv.Itoa(f.server.ClientsLen())},
		{"Memory", "maxmemory:0", "maxmemory_policy:noeviction"},
		{"Persistence", "loading:0", "rdb_bgsave_in_progress:0", "rdb_saves:0", "aof_enabled:0", "aof_rewrite_in_progress:0"},
		{
			"Stats", "total_connections_received:" + strconv.Itoa(f.server.TotalConnections()),
			"total_commands_processed:" + strconv.Itoa(f.server.TotalCommands()), "evicted_keys:0",
		},
		{
			"Replication", "role:master", "connected_slaves:0",
			"master_replid:" + f.runID, "master_repl_offset:0", "repl_backlog_active:0",
		},
		{"Cluster", "cluster_enabled:0"},
	}
}

// config answers CONFIG GET, whose arguments are glob patterns.
func (f *serverFacts) config(c *server.Peer, _ string, args []string) {
	if len(args) < 2 || !strings.EqualFold(args[0], "GET") {
		c.WriteError("ERR only CONFIG GET is known here")
		return
	}
	var names []string
	for name := range f.settings {
		if slices.ContainsFunc(args[1:], func(pattern string) bool {
			matched, err := path.Match(strings.ToLower(pattern), name)
			return matched && err == nil
		}) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	c.WriteMapLen(len(names))
	for _, name := range names {
		c.WriteBulk(name)
		c.WriteBulk(f.settings[name])
	}
}

// role answers as a primary without replicas does.
func (f *serverFacts) role(c *server.Peer, _ string, _ []string) {
	c.WriteLen(3)
	c.WriteBulk("master")
	c.WriteInt(0)
	c.WriteLen(0)
}

// slowlog is always empty.
func (f *serverFacts) slowlog(c *server.Peer, _ string, args []string) {
	switch {
	case len(args) > 0 && strings.EqualFold(args[0], "GET"):
		c.WriteLen(0)
	case len(args) == 1 && strings.EqualFold(args[0], "LEN"):
		c.WriteInt(0)
	case len(args) == 1 && strings.EqualFold(args[0], "RESET"):
		c.WriteOK()
	default:
		c.WriteError("ERR unknown subcommand of SLOWLOG")
	}
}
