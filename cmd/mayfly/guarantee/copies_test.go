package guarantee

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"mayfly/cmd/mayfly/mayflytest"
	"mayfly/retention/redisconn/redistest"
)

// replicate starts a replica of a server; it writes what it is sent to dump.rdb first, as
// replicas do.
func replicate(t testing.TB, of *redistest.Server) *redistest.Server {
	t.Helper()
	host, port := "127.0.0.1", of.Addr[len("127.0.0.1:"):]
	replica := redistest.Start(t, "--replicaof", host+" "+port, "--repl-diskless-load", "disabled", "--repl-diskless-sync-delay", "0")
	client := replica.Client(t)
	mayflytest.Eventually(t, "the replica is in sync", func() bool {
		info, err := client.InfoMap(t.Context()).Result()
		return err == nil && info["Replication"]["master_link_status"] == "up"
	})
	return replica
}

// cut leaves a replica without its primary, as a network does.
func cut(t testing.TB, replica *redistest.Server) {
	t.Helper()
	if err := replica.Client(t).ReplicaOf(t.Context(), "127.0.0.1", "1").Err(); err != nil {
		t.Fatal(err)
	}
}

// holdsFrame reports whether a folder has the bytes of one of the stolen frames.
func holdsFrame(t testing.TB, folder string, stolen *loot) (found bool) {
	t.Helper()
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		for i := range stolen.frames {
			body := stolen.frames[i].Bytes()
			found = found || bytes.Contains(content, body[len(body)-24:])
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
