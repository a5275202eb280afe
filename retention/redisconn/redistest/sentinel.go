package redistest

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// SentinelMaster is the name of the master that StartSentinels' servers watch.
const SentinelMaster = "data"

// StartSentinels runs a master, its replica, and three Sentinels that promote the
// replica about a second after the master has died. The first server is the master.
func StartSentinels(t testing.TB) (servers, sentinels []*Server) {
	t.Helper()
	master := Start(t)
	_, port, _ := net.SplitHostPort(master.Addr)
	replica := Start(t, "--replicaof", "127.0.0.1", port, "--repl-diskless-sync-delay", "0")
	for range 3 {
		config := filepath.Join(t.TempDir(), "sentinel.conf") // Sentinel rewrites it
		text := fmt.Sprintf("sentinel monitor %[1]s 127.0.0.1 %[2]s 2\nsentinel down-after-milliseconds %[1]s 1000\nsentinel failover-timeout %[1]s 5000\n",
			SentinelMaster, port)
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		sentinels = append(sentinels, startSentinel(t, config))
	}
	deadline := time.Now().Add(20 * time.Second)
	for !follows(replica) || !readyToFailOver(sentinels) {
		if time.Now().After(deadline) {
			t.Fatal("the sentinels do not find each other")
		}
		time.Sleep(50 * time.Millisecond)
	}
	return []*Server{master, replica}, sentinels
}

func startSentinel(t testing.TB, config string) *Server {
	t.Helper()
	s := &Server{Addr: freeAddr(t), Dir: filepath.Dir(config), program: "redis-sentinel", config: config}
	s.Run(t)
	t.Cleanup(s.Kill)
	return s
}

// follows: it has a copy of its master.
func follows(replica *Server) bool {
	client := redis.NewClient(&redis.Options{Addr: replica.Addr, DisableIdentity: true})
	defer func() { _ = client.Close() }()
	info, err := client.InfoMap(context.Background(), "replication").Result()
	return err == nil && info["Replication"]["master_link_status"] == "up"
}

// readyToFailOver: every Sentinel sees the replica and both of the others.
func readyToFailOver(sentinels []*Server) bool {
	for _, s := range sentinels {
		client := redis.NewSentinelClient(&redis.Options{Addr: s.Addr})
		master, err := client.Master(context.Background(), SentinelMaster).Result()
		_ = client.Close()
		if err != nil || master["num-slaves"] != "1" || master["num-other-sentinels"] != "2" {
			return false
		}
	}
	return true
}
