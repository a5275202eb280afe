package audit

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	formats "github.com/transparency-dev/formats/log"
	cosign "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// trust is whose signatures count.
type trust struct {
	logs      map[string]note.Verifier // by origin
	witnesses []note.Verifier
	quorum    int
	rostered  bool
}

// head is a signed tree head that was checked.
type head struct {
	origin    string
	size      int64
	root      tlog.Hash
	cosigners []Cosignature
}

func newTrust(o Options) (*trust, error) {
	keys := o.Keys
	if len(keys) == 0 {
		return nil, errors.New("--key: give the verifier key of each log, from a place that the operator can't change")
	}
	if o.Roster != nil {
		if len(keys) != 1 {
			return nil, errors.New("--key: with a roster give one key, of who signed the roster")
		}
		var err error
		if keys, err = OpenRoster(o.Roster, keys[0]); err != nil {
			return nil, err
		}
	}
	t := &trust{logs: map[string]note.Verifier{}, quorum: o.Quorum, rostered: o.Roster != nil}
	for _, key := range keys {
		v, err := note.NewVerifier(strings.TrimSpace(key))
		if err != nil {
			return nil, errors.New("--key: not a verifier key (name+hash+base64, as in receipts.pub)")
		}
		if old := t.logs[v.Name()]; old != nil && old.KeyHash() != v.KeyHash() {
			return nil, fmt.Errorf("--key: two keys for log %s", v.Name())
		}
		t.logs[v.Name()] = v
	}
	return t, t.addWitnesses(o)
}

func (t *trust) addWitnesses(o Options) error {
	seen := map[string]bool{}
	for _, key := range o.Witnesses {
		v, err := cosign.NewVerifierForCosignatureV1(strings.TrimSpace(key))
		if err != nil {
			return errors.New("--witness: not a verifier key (name+hash+base64)")
		}
		// One witness has one voice, and no log is its own.
		if seen[v.Name()] || t.logs[v.Name()] != nil {
			return fmt.Errorf("--witness: %s is given twice, or is a log itself", v.Name())
		}
		seen[v.Name()] = true
		t.witnesses = append(t.witnesses, v)
	}
	if t.quorum == 0 {
		t.quorum = len(t.witnesses)
	}
	if t.quorum < 0 || t.quorum > len(t.witnesses) {
		return fmt.Errorf("--quorum: %d of %d witnesses can't be", t.quorum, len(t.witnesses))
	}
	return nil
}

// maxCheckpoint is more than a head with the cosignatures of many witnesses takes, and
// checkpointLines what none is without: origin, size, root and an empty line, before the signatures.
const (
	maxCheckpoint   = 64 << 10
	checkpointLines = 4
)

// open checks a signed head. Nothing of it is quoted before its signature holds.
func (t *trust) open(text []byte) (*head, error) {
	origin, _, _ := strings.Cut(string(text[:min(len(text), 512)]), "\n")
	v := t.logs[origin]
	switch {
	case len(text) > maxCheckpoint || strings.Count(string(text), "\n") < checkpointLines:
		return nil, errors.New("damaged: this is no checkpoint")
	case v == nil:
		return nil, errors.New("wrong key: none of those given is this log's")
	}
	parsed, _, signed, err := formats.ParseCheckpoint(text, origin, v, t.witnesses...)
	if err != nil || len(parsed.Hash) != tlog.HashSize || parsed.Size >= 1<<62 {
		return nil, errors.New("the checkpoint is not signed by the key given for this log: a wrong key, or an edited checkpoint")
	}
	h := &head{origin: origin, size: int64(parsed.Size), root: tlog.Hash(parsed.Hash)}
	for _, s := range signed.Sigs {
		i := slices.IndexFunc(t.witnesses, func(w note.Verifier) bool { return w.Name() == s.Name && w.KeyHash() == s.Hash })
		if i < 0 {
			continue
		}
		at, err := cosign.CoSigV1Timestamp(s)
		if err != nil {
			return nil, fmt.Errorf("reading a cosignature of %s: %w", s.Name, err)
		}
		h.cosigners = append(h.cosigners, Cosignature{s.Name, at.UTC()})
	}
	return h, nil
}

// judgeWitnesses looks for the largest head that a quorum has cosigned.
func (t *trust) judgeWitnesses(l *logCopy) error {
	best := 0
	for _, h := range append([]*head{l.head}, l.older...) {
		n := len(h.cosigners)
		best = max(best, n)
		if n > 0 && n >= t.quorum && (l.witnessed == nil || h.size > l.witnessed.size) {
			l.witnessed = h
		}
	}
	if len(t.witnesses) > 0 && l.witnessed == nil {
		return fmt.Errorf("too few witnesses: %d of the %d needed have cosigned a checkpoint of it", best, t.quorum)
	}
	return nil
}

const rosterTitle = "mayfly roster v1"

// SignRoster enrols logs: a signed list of their verifier keys, whose names are
// the origins. A log that is in it can't be left out unseen.
func SignRoster(signer note.Signer, keys []string) ([]byte, error) {
	keys = slices.Compact(slices.Sorted(slices.Values(keys)))
	for _, key := range keys {
		if _, err := note.NewVerifier(key); err != nil {
			return nil, errors.New("enrolling a log: not a verifier key (name+hash+base64, as in receipts.pub)")
		}
	}
	text := rosterTitle + "\n" + strings.Join(keys, "\n") + "\n"
	signed, err := note.Sign(&note.Note{Text: text}, signer)
	if err != nil {
		return nil, fmt.Errorf("signing the roster: %w", err)
	}
	return signed, nil
}

// OpenRoster gives the verifier keys in a roster that key has signed.
func OpenRoster(text []byte, key string) ([]string, error) {
	v, err := note.NewVerifier(strings.TrimSpace(key))
	if err != nil {
		return nil, errors.New("--key: not a verifier key (name+hash+base64)")
	}
	n, err := note.Open(text, note.VerifierList(v))
	if err != nil {
		return nil, errors.New("the roster is not signed by the key given: a wrong key, or an edited roster")
	}
	lines := strings.Split(strings.TrimSuffix(n.Text, "\n"), "\n")
	if lines[0] != rosterTitle || len(lines) < 2 {
		return nil, errors.New("the roster names no log")
	}
	return lines[1:], nil
}

func stampOf(ms int64) time.Time { return time.UnixMilli(ms).UTC() }
