package redisconn

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mayfly/retention/redisconn/redistest"
)

func TestErrorsNameTheSettingAndHideThePassword(t *testing.T) {
	t.Parallel()
	if _, err := OpenNode("redis://user:hunter2@[bad"); err == nil || strings.Contains(err.Error(), "hunter2") ||
		!strings.Contains(err.Error(), "keyring.nodes") {
		t.Errorf("a bad node: %v", err)
	}
	missing := filepath.Join(t.TempDir(), "missing")
	for setting, c := range map[string]Config{
		"redis.password_file": {Addrs: []string{"localhost:1"}, PasswordFile: missing},
		"redis.ca_file":       {Addrs: []string{"localhost:1"}, TLS: true, CAFile: missing},
	} {
		if _, err := Open(c); err == nil || !strings.Contains(err.Error(), setting) {
			t.Errorf("%s: %v", setting, err)
		}
	}
}

// What go-redis would take, and then connect to nothing or to something else.
func TestValidate(t *testing.T) {
	t.Parallel()
	one, two := []string{"localhost:1"}, []string{"[::1]:1", "redis-2.example:65535"}
	for _, test := range []struct {
		config Config
		wrong  string // setting
	}{
		{DefaultConfig(), ""},
		{Config{Addrs: one, DB: 3}, ""},
		{Config{Addrs: one, Cluster: true}, ""},
		{Config{Addrs: []string{"/run/redis.sock"}}, ""},
		{Config{Addrs: two, Sentinel: "m", DB: 3}, ""},
		{Config{Addrs: two}, ""},
		{Config{}, "redis.addrs"},
		{Config{Addrs: []string{"a b"}}, "redis.addrs"},
		{Config{Addrs: []string{"localhost"}}, "redis.addrs"},
		{Config{Addrs: []string{"localhost:6379,localhost:6380"}}, "redis.addrs"},
		{Config{Addrs: []string{"redis://localhost:6379"}}, "redis.addrs"},
		{Config{Addrs: []string{"a b:6379"}}, "redis.addrs"},
		{Config{Addrs: two, Sentinel: "m", Cluster: true}, "redis.cluster"},
		{Config{Addrs: one, DB: -1}, "redis.db"},
		{Config{Addrs: one, Cluster: true, DB: 1}, "redis.db"},
		{Config{Addrs: two, DB: 1}, "redis.db"},
	} {
		err := test.config.Validate()
		if (err == nil) != (test.wrong == "") || err != nil && !strings.HasPrefix(err.Error(), test.wrong+": ") {
			t.Errorf("%+v: %v, want %q", test.config, err, test.wrong)
		}
	}
}

func TestOpenWithAPasswordFile(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--requirepass", "hunter2")
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	client, err := Open(Config{Addrs: []string{server.Addr}, PasswordFile: file})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	if err := client.Ping(context.Background()).Err(); err != nil {
		t.Fatal(err)
	}
}
