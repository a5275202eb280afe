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
	if err := (Config{}).Validate(); err == nil || !strings.Contains(err.Error(), "redis.addrs") {
		t.Errorf("no server: %v", err)
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
