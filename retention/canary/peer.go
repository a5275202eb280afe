package canary

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"mayfly/retention"
	"mayfly/retention/keyring"
	"mayfly/retention/seal"
)

// Cache is a process's memory of epoch keys.
type Cache interface {
	// Probe tries what is in memory, due or not, on a sealed frame of an epoch that
	// should be dead; keyring.ErrAlive where by this memory it is not. A frame that
	// holds nothing only asks for keys.
	Probe(now time.Time, frame *seal.Frame, encapsulated []byte) (holds, opens bool, err error)
}

// PeerPath is where a process answers its peers' questions.
const PeerPath = "/v1/probe"

// question is all sealed: it tells nothing to who overhears it.
type question struct {
	Epoch string    `json:"epoch"`
	Key   string    `json:"key"`
	View  seal.View `json:"view"`
	Shard uint32    `json:"shard"`
	Frame []byte    `json:"frame,omitempty"`
	Wrap  []byte    `json:"wrap,omitempty"`
}

// reply says what a process still has of a dead epoch.
type reply struct {
	Alive bool `json:"alive,omitempty"` // it takes the epoch for a living one
	Holds bool `json:"holds"`
	Opens bool `json:"opens"`
}

const (
	macHeader   = "Mayfly-Probe" // HMAC-SHA-256 of the body under the canary key
	maxQuestion = 1 << 20
	maxReply    = 1 << 10
	peerTimeout = 5 * time.Second
)

func (k *Key) sign(body []byte) []byte {
	h := hmac.New(sha256.New, k.peer)
	h.Write(body)
	return h.Sum(nil)
}

// peer is another process that opens frames.
type peer struct {
	url    string
	key    *Key
	client *http.Client
}

func newPeer(base string, key *Key) peer {
	target, err := url.JoinPath(base, PeerPath)
	if err != nil {
		target = base // Config.Validate has parsed it
	}
	return peer{target, key, &http.Client{
		Timeout:       peerTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// probe is Cache.Probe, asked of the peer.
func (p peer) probe(ctx context.Context, f *seal.Frame, encapsulated []byte) (holds, opens bool, err error) {
	body, err := json.Marshal(question{
		Epoch: f.Place.Epoch.String(), Key: f.Place.Key.String(), View: f.Place.View, Shard: f.Place.Shard,
		Frame: f.Bytes(), Wrap: encapsulated,
	})
	if err != nil {
		return false, false, fmt.Errorf("encoding a probe: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url, bytes.NewReader(body))
	if err != nil {
		return false, false, fmt.Errorf("probing a peer: %w", err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set(macHeader, hex.EncodeToString(p.key.sign(body)))
	response, err := p.client.Do(request)
	if err != nil {
		return false, false, fmt.Errorf("probing a peer: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return false, false, fmt.Errorf("probing a peer: it answers %s", response.Status)
	}
	var r reply
	if err := json.NewDecoder(io.LimitReader(response.Body, maxReply)).Decode(&r); err != nil {
		return false, false, errors.New("probing a peer: its answer can't be read")
	}
	if r.Alive {
		return false, false, keyring.ErrAlive
	}
	return r.Holds, r.Opens, nil
}

// Handler answers who has the canary key what this process still holds of dead
// epochs. It opens nothing of a living one, and gives out yes or no alone.
func Handler(key *Key, cache Cache) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxQuestion))
		if err != nil {
			http.Error(w, "the probe is too large, or was cut off", http.StatusBadRequest)
			return
		}
		mac, err := hex.DecodeString(r.Header.Get(macHeader))
		if err != nil || !hmac.Equal(mac, key.sign(body)) {
			http.Error(w, "probes are for who has the canary key", http.StatusForbidden)
			return
		}
		frame, wrap, err := parseQuestion(body)
		if err != nil {
			http.Error(w, "not a probe", http.StatusBadRequest)
			return
		}
		var answer reply
		answer.Holds, answer.Opens, err = cache.Probe(time.Now(), &frame, wrap)
		answer.Alive = errors.Is(err, keyring.ErrAlive)
		if err != nil && !answer.Alive {
			http.Error(w, "this process can't tell now", http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(answer)
	})
}

func parseQuestion(body []byte) (seal.Frame, []byte, error) {
	var q question
	if err := json.Unmarshal(body, &q); err != nil {
		return seal.Frame{}, nil, errors.New("not a probe")
	}
	epoch, err := retention.ParseEpoch(q.Epoch)
	if err != nil {
		return seal.Frame{}, nil, errors.New("not an epoch")
	}
	id, err := seal.ParseKeyID(q.Key)
	if err != nil {
		return seal.Frame{}, nil, errors.New("not a key id")
	}
	place := seal.Place{Epoch: epoch, Key: id, View: q.View, Shard: q.Shard}
	if len(q.Frame) == 0 {
		return seal.Frame{Place: place}, q.Wrap, nil
	}
	frame, err := seal.ParseFrame(place, q.Frame)
	return frame, q.Wrap, err
}
