package kafkain

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

func TestTLSAndSASL(t *testing.T) {
	t.Parallel()
	certificate, authority := serverCertificate(t)
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte("open sesame\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for mechanism, name := range map[string]string{"plain": "PLAIN", "scram-sha-256": "SCRAM-SHA-256", "scram-sha-512": "SCRAM-SHA-512"} {
		t.Run(mechanism, func(t *testing.T) {
			t.Parallel()
			cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.GroupMinSessionTimeout(time.Second), kfake.SeedTopics(1, "secured"), kfake.EnableSASL(),
				kfake.Superuser(name, "reader", "open sesame"), kfake.TLS(&tls.Config{Certificates: []tls.Certificate{certificate}}))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(cluster.Close)
			r := prepare(t, cluster.ListenAddrs(), "secured", []string{"secured"})
			r.config.TLS = TLSConfig{Enabled: true, CAFile: authority}
			r.config.SASL = SASLConfig{Mechanism: mechanism, Username: "reader", PasswordFile: password}
			if r.security, err = newSecurity(r.config); err != nil {
				t.Fatal(err)
			}
			writer, err := kgo.NewClient(append(r.security.franz(), kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.DefaultProduceTopic("secured"))...)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(writer.Close)
			if err := writer.ProduceSync(t.Context(), numbered("record", 5, 1)...).FirstErr(); err != nil {
				t.Fatal(err)
			}
			r.start(t)
			r.await(t, "all records", func(v view) bool { return len(v.values()) == 5 })
		})
	}
}

func TestWrongPasswordIsNoReasonToEnd(t *testing.T) {
	t.Parallel()
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte("wrong"), 0o600); err != nil {
		t.Fatal(err)
	}
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.GroupMinSessionTimeout(time.Second), kfake.SeedTopics(1, "secured"), kfake.EnableSASL(), kfake.Superuser("PLAIN", "reader", "right"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	r := prepare(t, cluster.ListenAddrs(), "secured", []string{"secured"})
	r.config.SASL = SASLConfig{Mechanism: "plain", Username: "reader", PasswordFile: password}
	if r.security, err = newSecurity(r.config); err != nil {
		t.Fatal(err)
	}
	r.start(t)
	awaitTrue(t, "a warning", func() bool { return r.logs.FilterMessage(outageLine).Len() == 1 })
	if r.Ready() == nil {
		t.Error("ready with a wrong password")
	}
}

// serverCertificate makes a certificate for this machine, and the file of who signed it: itself.
func serverCertificate(t *testing.T) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true,
		BasicConstraintsValid: true, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"}}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "authority.pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, path
}
