package receiptstest

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"

	formats "github.com/transparency-dev/formats/log"
	cosign "github.com/transparency-dev/formats/note"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"
)

// Witness is a C2SP tlog-witness on a port of its own. Proofs are verified by
// another implementation than the one that makes them.
type Witness struct {
	Key string // its verifier key
	URL string

	signer note.Signer

	mu       sync.Mutex // guards what follows
	logs     map[string]note.Verifier
	heads    map[string]formats.Checkpoint // by origin, as cosigned last
	refusing int                           // a status to answer everything with; 0: none
	requests int
}

// NewWitness starts a witness of logs, by their verifier keys.
func NewWitness(t testing.TB, name string, logs ...string) *Witness {
	t.Helper()
	secret, verifier, err := note.GenerateKey(rand.Reader, name)
	if err != nil {
		t.Fatal(err)
	}
	w := &Witness{logs: map[string]note.Verifier{}, heads: map[string]formats.Checkpoint{}}
	if w.signer, err = cosign.NewSignerForCosignatureV1(secret); err != nil {
		t.Fatal(err)
	}
	if w.Key, err = cosign.VKeyToCosignatureV1(verifier); err != nil {
		t.Fatal(err)
	}
	for _, log := range logs {
		w.Enrol(t, log)
	}
	server := httptest.NewServer(w)
	t.Cleanup(server.Close)
	w.URL = server.URL
	return w
}

// Enrol makes a log known to the witness.
func (w *Witness) Enrol(t testing.TB, log string) {
	t.Helper()
	v, err := note.NewVerifier(log)
	if err != nil {
		t.Fatal(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.logs[v.Name()] = v
}

// Refuse makes every request end with a status, until Refuse(0).
func (w *Witness) Refuse(status int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.refusing = status
}

// Requests is how many there were.
func (w *Witness) Requests() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.requests
}

// Size is of the head that the witness cosigned last, of the log with this key.
func (w *Witness) Size(log string) uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	origin, _, _ := strings.Cut(log, "+")
	return w.heads[origin].Size
}

// ServeHTTP implements add-checkpoint.
func (w *Witness) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.requests++
	switch {
	case w.refusing != 0:
		rw.WriteHeader(w.refusing)
		return
	case r.Method != http.MethodPost || r.URL.Path != "/add-checkpoint":
		rw.WriteHeader(http.StatusTeapot)
		return
	}
	old, hashes, text, err := parseRequest(http.MaxBytesReader(rw, r.Body, 16<<10))
	if err != nil {
		rw.WriteHeader(http.StatusBadRequest)
		return
	}
	origin, _, _ := strings.Cut(string(text), "\n")
	v := w.logs[origin]
	if v == nil {
		rw.WriteHeader(http.StatusNotFound)
		return
	}
	head, _, n, err := formats.ParseCheckpoint(text, origin, v)
	if err != nil {
		rw.WriteHeader(http.StatusForbidden)
		return
	}
	if status := w.judge(old, hashes, head); status != http.StatusOK {
		if status == http.StatusConflict && old != w.heads[origin].Size {
			rw.Header().Set("Content-Type", "text/x.tlog.size")
		}
		rw.WriteHeader(status)
		_, _ = fmt.Fprintf(rw, "%d\n", w.heads[origin].Size)
		return
	}
	signed, err := note.Sign(&note.Note{Text: n.Text}, w.signer)
	if err != nil {
		rw.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.heads[origin] = *head
	_, _ = rw.Write(bytes.TrimPrefix(signed, []byte(n.Text+"\n")))
}

// judge holds a head to the one before.
func (w *Witness) judge(old uint64, hashes [][]byte, head *formats.Checkpoint) int {
	before, seen := w.heads[head.Origin]
	switch {
	case old > head.Size:
		return http.StatusBadRequest
	case old != before.Size:
		return http.StatusConflict
	case seen && before.Size == head.Size && !bytes.Equal(before.Hash, head.Hash):
		return http.StatusConflict
	case before.Size == 0:
		if len(hashes) > 0 {
			return http.StatusUnprocessableEntity
		}
		return http.StatusOK
	}
	if proof.VerifyConsistency(rfc6962.DefaultHasher, old, head.Size, hashes, before.Hash, head.Hash) != nil {
		return http.StatusUnprocessableEntity
	}
	return http.StatusOK
}

func parseRequest(body io.Reader) (old uint64, hashes [][]byte, checkpoint []byte, err error) {
	r := bufio.NewReader(body)
	line, err := r.ReadString('\n')
	if err != nil {
		return 0, nil, nil, err
	}
	size, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "old ")
	if !ok {
		return 0, nil, nil, errors.New("no old size")
	}
	if old, err = strconv.ParseUint(size, 10, 64); err != nil {
		return 0, nil, nil, err
	}
	for {
		if line, err = r.ReadString('\n'); err != nil {
			return 0, nil, nil, err
		}
		if line == "\n" {
			break
		}
		hash, err := base64.StdEncoding.DecodeString(strings.TrimSuffix(line, "\n"))
		if err != nil || len(hashes) == 63 {
			return 0, nil, nil, errors.New("no proof")
		}
		hashes = append(hashes, hash)
	}
	checkpoint, err = io.ReadAll(r)
	return old, hashes, checkpoint, err
}
