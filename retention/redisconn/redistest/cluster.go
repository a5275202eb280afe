package redistest

import (
	"context"
	"net"
	"os/exec"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// StartCluster runs a Redis Cluster of the given masters, with a replica each
// where replicas is true, and gives a client of it.
func StartCluster(t testing.TB, masters int, replicas bool) ([]*Server, *redis.ClusterClient) {
	t.Helper()
	nodes := masters
	if replicas {
		nodes *= 2
	}
	servers := make([]*Server, nodes)
	args := []string{"--cluster", "create"}
	var addrs []string
	for i := range servers {
		_, bus, _ := net.SplitHostPort(freeAddr(t))
		servers[i] = Start(t, "--cluster-enabled", "yes", "--cluster-port", bus, "--cluster-node-timeout", "1000",
			"--repl-diskless-sync-delay", "0")
		args = append(args, servers[i].Addr)
		addrs = append(addrs, servers[i].Addr)
	}
	if replicas {
		args = append(args, "--cluster-replicas", "1")
	}
	if out, err := exec.Command("redis-cli", append(args, "--cluster-yes")...).CombinedOutput(); err != nil {
		t.Fatalf("creating a cluster: %v: %s", err, out)
	}
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: addrs, DisableIdentity: true})
	t.Cleanup(func() { _ = client.Close() })
	deadline := time.Now().Add(20 * time.Second)
	for !everyMasterServes(client, masters) || replicas && !everyReplicaFollows(client, masters) {
		if time.Now().After(deadline) {
			t.Fatal("the cluster does not come up")
		}
		time.Sleep(50 * time.Millisecond)
		client.ReloadState(context.Background())
	}
	return servers, client
}

// everyReplicaFollows: only one that has a copy of its master may take over.
func everyReplicaFollows(client *redis.ClusterClient, replicas int) bool {
	var following atomic.Int64
	err := client.ForEachSlave(context.Background(), func(ctx context.Context, node *redis.Client) error {
		info, err := node.InfoMap(ctx, "replication").Result()
		if err == nil && info["Replication"]["master_link_status"] == "up" {
			following.Add(1)
		}
		return err
	})
	return err == nil && following.Load() == int64(replicas)
}

// everyMasterServes asks each master whether it knows the whole cluster.
func everyMasterServes(client *redis.ClusterClient, masters int) bool {
	serving := make(chan bool, 16)
	err := client.ForEachMaster(context.Background(), func(ctx context.Context, node *redis.Client) error {
		info, err := node.ClusterInfo(ctx).Result()
		serving <- err == nil && len(info) > 16 && info[:16] == "cluster_state:ok"
		return err
	})
	close(serving)
	n := 0
	for ok := range serving {
		if ok {
			n++
		}
	}
	return err == nil && n == masters
}
