package keyring

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"mayfly/retention/secret"
)

// TransitConfig is where a transit engine keeps the key-encryption key.
type TransitConfig struct {
	Address   string        `yaml:"address" help:"Vault or OpenBao, https://host:8200"`
	Mount     string        `yaml:"mount" help:"where its transit engine is mounted"`
	Key       string        `yaml:"key" help:"name of the transit key; a second one has -anchor after it"`
	TokenFile string        `yaml:"token_file" help:"file that holds a token, read for each request"`
	CAFile    string        `yaml:"ca_file" help:"PEM file of trusted authorities; empty: the system's"`
	Namespace string        `yaml:"namespace" help:"namespace of the engine; empty: none"`
	Slot      time.Duration `yaml:"slot" help:"a version of the key is made and trimmed for each; windows and epochs are whole multiples of it"`
}

// transitLimit bounds a request, and transitBody its answer.
const (
	transitLimit = 5 * time.Second
	transitBody  = 1 << 20
)

var errNoTransitKey = errors.New("there is no such key")

// transitClient makes one connection for each request, in the goroutine that
// asks, because what passes through net/http's own goroutines and pools is not
// erased. There is a request per epoch and process.
type transitClient struct {
	config TransitConfig
	base   *url.URL
	roots  *x509.CertPool
}

func newTransitClient(config TransitConfig) (*transitClient, error) {
	base, err := url.Parse(config.Address)
	if err != nil || base.Host == "" || base.Scheme != "https" && base.Scheme != "http" {
		return nil, errors.New("address: must be https://host:8200")
	}
	if base.Port() == "" {
		return nil, errors.New("address: names no port")
	}
	c := &transitClient{config: config, base: base}
	if config.CAFile != "" {
		pem, err := os.ReadFile(config.CAFile)
		if err != nil {
			return nil, fmt.Errorf("ca_file: %w", err)
		}
		if c.roots = x509.NewCertPool(); !c.roots.AppendCertsFromPEM(pem) {
			return nil, errors.New("ca_file: holds no certificate")
		}
	}
	return c, nil
}

// transitKey is what the engine tells of a key.
type transitKey struct {
	Keys      map[string]int64 `json:"keys"` // when each version was made, Unix seconds
	Latest    int64            `json:"latest_version"`
	Available int64            `json:"min_available_version"`
}

func (c *transitClient) read(key string) (transitKey, error) {
	var answer struct{ Data transitKey }
	body, err := c.do(http.MethodGet, "keys/"+key, nil)
	if err != nil {
		return transitKey{}, err
	}
	if err := json.Unmarshal(body, &answer); err != nil || answer.Data.Latest < 1 {
		return transitKey{}, errors.New("the engine's answer is none")
	}
	return answer.Data, nil
}

func (c *transitClient) post(path, body string) error {
	_, err := c.do(http.MethodPost, path, []byte(body))
	return err
}

// crypt has the engine encrypt or decrypt, and runs inside secret.Do. All of the
// body is base64 and digits, so it is put together by hand: encoding/json keeps
// its buffers.
func (c *transitClient) crypt(operation, name string, value []byte, want string, associated []byte, more string) ([]byte, error) {
	body := make([]byte, 0, len(value)+2*len(associated)+256)
	body = fmt.Appendf(body, `{"associated_data":%q%s,%q:"`, base64.StdEncoding.EncodeToString(associated), more, name)
	body = append(append(body, value...), `"}`...)
	answer, err := c.do(http.MethodPost, operation+"/"+c.config.Key, body)
	if err != nil {
		return nil, err
	}
	_, rest, found := bytes.Cut(answer, []byte(`"`+want+`":"`))
	result, _, ended := bytes.Cut(rest, []byte(`"`))
	if !found || !ended {
		return nil, errors.New("the engine's answer lacks " + want)
	}
	return result, nil
}

// do sends a request and gives the answer's body.
func (c *transitClient) do(method, path string, body []byte) (answer []byte, err error) {
	token, err := os.ReadFile(c.config.TokenFile)
	if err != nil {
		return nil, fmt.Errorf("keyring.transit.token_file: %w", err)
	}
	target := *c.base
	target.Path = "/v1/" + c.config.Mount + "/" + path
	ctx, cancel := context.WithTimeout(context.Background(), transitLimit)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", c.base.Host)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(transitLimit)); err != nil {
		return nil, err
	}
	request, err := http.NewRequest(method, target.String(), nil) //nolint:noctx // the connection has its deadline
	if err != nil {
		return nil, err
	}
	request.Close = true
	request.Header.Set("X-Vault-Token", strings.TrimSpace(string(token)))
	request.Header.Set("X-Vault-Request", "true")
	if c.config.Namespace != "" {
		request.Header.Set("X-Vault-Namespace", c.config.Namespace)
	}
	secret.Do(func() { answer, err = c.exchange(conn, request, body) })
	return answer, err
}

func (c *transitClient) exchange(conn net.Conn, request *http.Request, body []byte) ([]byte, error) {
	if c.base.Scheme == "https" {
		conn = tls.Client(conn, &tls.Config{ServerName: c.base.Hostname(), RootCAs: c.roots, MinVersion: tls.VersionTLS12})
	}
	if body != nil {
		request.Body, request.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	}
	if err := request.Write(conn); err != nil {
		return nil, err
	}
	// The body is not closed: that would read it to its end. The connection is.
	response, err := http.ReadResponse(bufio.NewReader(conn), request) //nolint:bodyclose // see above
	if err != nil {
		return nil, err
	}
	answer, err := io.ReadAll(io.LimitReader(response.Body, transitBody))
	switch {
	case err != nil:
		return nil, err
	case response.StatusCode == http.StatusNotFound:
		return nil, errNoTransitKey
	case response.StatusCode/100 != 2:
		return nil, fmt.Errorf("the engine refuses with status %d", response.StatusCode)
	}
	return answer, nil
}
