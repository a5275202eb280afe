package kafkain

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

func TestDefaultConfigIsValid(t *testing.T) {
	t.Parallel()
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
}

// A wrong setting is named by its path, before anything is connected to.
func TestNewNamesTheWrongSetting(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	nonsense := filepath.Join(folder, "nonsense")
	if err := os.WriteFile(nonsense, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(folder, "missing")
	for setting, change := range map[string]func(*Config){
		"kafka.brokers: name":      func(c *Config) { c.Brokers = nil },
		"kafka.brokers: each is":   func(c *Config) { c.Brokers = []string{"a b"} },
		"kafka.brokers: each":      func(c *Config) { c.Brokers = []string{"kafka-1:9092", "kafka-2"} },
		"kafka.brokers:":           func(c *Config) { c.Brokers = []string{"kafka-1:9092, kafka-2:9092"} },
		"kafka.topics: name":       func(c *Config) { c.Topics = nil },
		"kafka.topics: names":      func(c *Config) { c.Topics = []string{"a", "b", "a"} },
		"kafka.group":              func(c *Config) { c.Group = "" },
		"kafka.fetch_bytes":        func(c *Config) { c.FetchBytes = 1 },
		"kafka.fetch_wait":         func(c *Config) { c.FetchWait = time.Microsecond },
		"kafka.tls":                func(c *Config) { c.TLS.CertFile = "x" },
		"kafka.tls.ca_file: open":  func(c *Config) { c.TLS = TLSConfig{Enabled: true, CAFile: missing} },
		"kafka.tls.ca_file: holds": func(c *Config) { c.TLS = TLSConfig{Enabled: true, CAFile: nonsense} },
		"kafka.tls.cert_file":      func(c *Config) { c.TLS = TLSConfig{Enabled: true, CertFile: nonsense, KeyFile: nonsense} },
		"kafka.sasl: username":     func(c *Config) { c.SASL.Mechanism = "plain" },
		"kafka.sasl.mechanism": func(c *Config) {
			c.SASL = SASLConfig{Mechanism: "kerberos", Username: "x", PasswordFile: nonsense}
		},
		"kafka.sasl.password_file": func(c *Config) {
			c.SASL = SASLConfig{Mechanism: "plain", Username: "x", PasswordFile: missing}
		},
	} {
		config := DefaultConfig()
		change(&config)
		if _, err := New(config, Dependencies{}); err == nil || !strings.HasPrefix(err.Error(), setting) {
			t.Errorf("%s: %v", setting, err)
		}
	}
}

func TestNewRegistersOnce(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	if _, err := New(DefaultConfig(), Dependencies{Registerer: registry}); err != nil {
		t.Fatal(err)
	}
	if _, err := New(DefaultConfig(), Dependencies{Registerer: registry}); err == nil {
		t.Error("two consumers share one registry: their figures would mix")
	}
}
