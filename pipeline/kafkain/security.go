package kafkain

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	kafkasasl "github.com/segmentio/kafka-go/sasl"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"mayfly/retention/secret"
)

const (
	clientID    = "mayfly"
	dialTimeout = 5 * time.Second
)

// security is how to connect; both Kafka libraries are set up from it.
type security struct {
	tls  *tls.Config    // nil: plain TCP
	sasl sasl.Mechanism // nil: none
	dial func(ctx context.Context, network, address string) (net.Conn, error)
}

func newSecurity(c Config) (security, error) {
	s := security{dial: (&net.Dialer{Timeout: dialTimeout}).DialContext}
	var err error
	if c.TLS.Enabled {
		if s.tls, err = c.TLS.load(); err != nil {
			return security{}, err
		}
	}
	if c.SASL.Mechanism != "" {
		if s.sasl, err = c.SASL.load(); err != nil {
			return security{}, err
		}
	}
	return s, nil
}

// dialForgetful dials for records: no buffer in front of the connection, TLS's included, keeps
// what was read until more of it comes. It does TLS itself, to stand between it and kafka-go.
func (s security) dialForgetful(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := s.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	conn = secret.Conn{Conn: conn}
	if s.tls == nil {
		return conn, nil
	}
	config := s.tls.Clone()
	if config.ServerName, _, err = net.SplitHostPort(address); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return secret.Conn{Conn: tls.Client(conn, config)}, nil // the handshake comes with the first read
}

func (c TLSConfig) load() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("kafka.tls.ca_file: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, errors.New("kafka.tls.ca_file: holds no certificate")
		}
	}
	if c.CertFile != "" {
		certificate, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("kafka.tls.cert_file, key_file: %w", err)
		}
		config.Certificates = []tls.Certificate{certificate}
	}
	return config, nil
}

func (c SASLConfig) load() (sasl.Mechanism, error) {
	file, err := os.ReadFile(c.PasswordFile)
	if err != nil {
		return nil, fmt.Errorf("kafka.sasl.password_file: %w", err)
	}
	password := strings.TrimRight(string(file), "\r\n")
	switch c.Mechanism {
	case "plain":
		return plain.Auth{User: c.Username, Pass: password}.AsMechanism(), nil
	case "scram-sha-256":
		return scram.Auth{User: c.Username, Pass: password}.AsSha256Mechanism(), nil
	case "scram-sha-512":
		return scram.Auth{User: c.Username, Pass: password}.AsSha512Mechanism(), nil
	}
	return nil, errUnknownMechanism
}

// franz gives the options of a franz-go client.
func (s security) franz() []kgo.Opt {
	options := []kgo.Opt{kgo.ClientID(clientID), kgo.DialTimeout(dialTimeout)}
	if s.tls != nil {
		options = append(options, kgo.DialTLSConfig(s.tls))
	}
	if s.sasl != nil {
		options = append(options, kgo.SASL(s.sasl))
	}
	return options
}

// kafkaGo gives the mechanism in kafka-go's shape.
func (s security) kafkaGo() kafkasasl.Mechanism {
	if s.sasl == nil {
		return nil
	}
	return mechanism{s.sasl}
}

// mechanism runs a franz-go mechanism under kafka-go, so that both log in by the same code.
type mechanism struct{ sasl.Mechanism }

func (m mechanism) Start(ctx context.Context) (kafkasasl.StateMachine, []byte, error) {
	session, first, err := m.Authenticate(ctx, "")
	return conversation{session}, first, err
}

type conversation struct{ sasl.Session }

func (c conversation) Next(_ context.Context, challenge []byte) (bool, []byte, error) {
	return c.Challenge(challenge)
}
