// Package redisconn opens connections to Redis from configuration: the data
// store through a UniversalClient (one server, Sentinel or Cluster alike) and
// the keyring's standalone nodes. It puts no address in a connection name, a
// log line or an error.
package redisconn

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// init silences go-redis, which prints each failed connection to standard error
// in a form of its own: whoever makes a call gets its error, and logs that.
func init() { redis.SetLogger(silence{}) }

type silence struct{}

func (silence) Printf(context.Context, string, ...any) {}

// Config names the data Redis.
type Config struct {
	Addrs        []string `yaml:"addrs" help:"Redis servers, host:port; several: Cluster, or Sentinels with sentinel_master"`
	Sentinel     string   `yaml:"sentinel_master" help:"master name, where addrs are Sentinels"`
	Cluster      bool     `yaml:"cluster" help:"use the Cluster protocol even with a single address"`
	DB           int      `yaml:"db" help:"database number (not with Cluster)"`
	Username     string   `yaml:"username" help:"ACL user"`
	PasswordFile string   `yaml:"password_file" help:"file that holds the password"`
	TLS          bool     `yaml:"tls" help:"connect with TLS"`
	CAFile       string   `yaml:"ca_file" help:"PEM file of trusted authorities; empty: the system's"`
}

// DefaultConfig is this machine's Redis.
func DefaultConfig() Config { return Config{Addrs: []string{"localhost:6379"}} }

// Validate names the setting that is wrong.
func (c Config) Validate() error {
	switch {
	case len(c.Addrs) == 0:
		return errors.New("redis.addrs: name at least one server, host:port")
	case slices.ContainsFunc(c.Addrs, func(a string) bool { return !isAddr(a) }):
		return errors.New("redis.addrs: each is one server, host:port")
	case c.Sentinel != "" && c.Cluster:
		return errors.New("redis.cluster: a Cluster has no Sentinels: set it or redis.sentinel_master, not both")
	case c.DB < 0:
		return errors.New("redis.db: must not be negative")
	case c.DB > 0 && c.isCluster():
		return errors.New("redis.db: a Cluster has database 0 only")
	}
	return nil
}

// isAddr reports whether go-redis can dial it: host:port, or the path of a socket.
func isAddr(addr string) bool {
	host, port, err := net.SplitHostPort(addr)
	_, bad := strconv.ParseUint(port, 10, 16)
	return err == nil && bad == nil && host != "" && !strings.ContainsAny(host, " ,/") || strings.HasPrefix(addr, "/")
}

// isCluster reports whether the servers speak the Cluster protocol.
func (c Config) isCluster() bool { return c.Sentinel == "" && (c.Cluster || len(c.Addrs) > 1) }

// Open makes a client; it connects at the first command.
func Open(c Config) (redis.UniversalClient, error) {
	options := &redis.UniversalOptions{
		Addrs: c.Addrs, MasterName: c.Sentinel, IsClusterMode: c.Cluster, DB: c.DB, Username: c.Username,
		DisableIdentity:          true,
		ContextTimeoutEnabled:    true, // else a deadline means nothing to a server that hangs
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	if c.PasswordFile != "" {
		password, err := os.ReadFile(c.PasswordFile)
		if err != nil {
			return nil, fmt.Errorf("redis.password_file: %w", err)
		}
		options.Password = strings.TrimSpace(string(password))
	}
	if c.TLS {
		options.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12}
		if c.CAFile != "" {
			pem, err := os.ReadFile(c.CAFile)
			if err != nil {
				return nil, fmt.Errorf("redis.ca_file: %w", err)
			}
			options.TLSConfig.RootCAs = x509.NewCertPool()
			if !options.TLSConfig.RootCAs.AppendCertsFromPEM(pem) {
				return nil, errors.New("redis.ca_file: holds no certificate")
			}
		}
	}
	if c.isCluster() {
		cluster := options.Cluster()
		// A replica that has taken over is found within this time, not in a minute:
		// who only meets a dead master hears of it from nobody.
		cluster.ClusterStateReloadInterval = time.Second
		return redis.NewClusterClient(cluster), nil
	}
	return redis.NewUniversalClient(options), nil
}

// OpenNode makes a client of one standalone node, named by a redis:// or rediss:// URL.
func OpenNode(url string) (*redis.Client, error) {
	options, err := redis.ParseURL(url)
	if err != nil {
		// The URL may hold a password, and the parser's error quotes it.
		return nil, errors.New("keyring.nodes: a node is named as redis://[user:password@]host:port/db")
	}
	options.DisableIdentity = true
	options.ContextTimeoutEnabled = true
	options.MaxRetries = -1 // whoever calls a node tries again by itself
	options.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return redis.NewClient(options), nil
}
