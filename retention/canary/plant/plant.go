// Package plant is an auditor's side of the guarantee: connections that only the
// auditor can tell from others, a commitment to them that says nothing before it
// is opened, and a search for what is left of them in any file. It is pure but for
// the plan's own file; the auditor's commands import it.
//
// The invariant: from the commitment nobody learns what was planted, and who has
// committed can't change it afterwards.
package plant

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"time"

	"mayfly/retention/canary/form"
	"mayfly/retention/receipts"
)

// Event is one planted connection.
type Event struct {
	Time    time.Time `json:"time"` // whole milliseconds, UTC
	Account string    `json:"account"`
	IP      string    `json:"ip"`
	Port    uint16    `json:"port"`
}

// String is "[planted]".
func (Event) String() string { return "[planted]" }

// Plan is what an auditor keeps to himself until he checks.
type Plan struct {
	Version    int       `json:"mayfly_plant"`
	Salt       string    `json:"salt"`
	Commitment string    `json:"commitment"`
	Receipt    string    `json:"receipt,omitempty"` // of the entry in the desk's log
	Committed  time.Time `json:"committed,omitzero"`
	Policies   []string  `json:"policies,omitempty"` // that can hold the events; none: any
	Events     []Event   `json:"events"`
}

const version = 1

// Options say what to draw.
type Options struct {
	Seed     string        // of the drawing; the same seed draws the same connections
	Form     form.Form     // its picture is not used where there are Accounts
	Accounts []string      // to draw from
	Count    int           // of events
	Start    time.Time     // of the first
	Over     time.Duration // from the first to the last
}

// Draw makes a plan, committed to with a salt of its own.
func Draw(o Options) (*Plan, error) {
	if o.Count < 1 || o.Count > receipts.MaxPlanted {
		return nil, fmt.Errorf("--count: must be 1 to %d", receipts.MaxPlanted)
	}
	salt := make([]byte, 32)
	if _, err := rand.Read(salt); err != nil {
		return nil, fmt.Errorf("drawing a salt: %w", err)
	}
	p := &Plan{Version: version, Salt: hex.EncodeToString(salt), Events: make([]Event, o.Count)}
	for i := range p.Events {
		e, err := o.draw(i)
		if err != nil {
			return nil, err
		}
		p.Events[i] = e
	}
	p.Commitment = p.commit()
	return p, nil
}

func (o Options) draw(i int) (Event, error) {
	const place = 24
	stream, err := hkdf.Expand(sha256.New, []byte("mayfly plant v1 "+o.Seed), fmt.Sprint(i), place+4*max(o.Form.Accounts.Holes(), 1))
	if err != nil {
		return Event{}, fmt.Errorf("drawing a connection: %w", err)
	}
	e := Event{Time: o.Start}
	if o.Count > 1 {
		e.Time = e.Time.Add(o.Over / time.Duration(o.Count-1) * time.Duration(i))
	}
	e.Time = time.UnixMilli(e.Time.UnixMilli()).UTC()
	symbols := make([]uint32, (len(stream)-place)/4)
	for n := range symbols {
		symbols[n] = binary.BigEndian.Uint32(stream[place+4*n:])
	}
	if len(o.Accounts) > 0 {
		e.Account = o.Accounts[symbols[0]%uint32(len(o.Accounts))]
	} else {
		e.Account = o.Form.Accounts.Fill(symbols)
	}
	ip, port := o.Form.Place([place]byte(stream))
	e.IP, e.Port = ip.Reveal().String(), port
	return e, nil
}

// commit is SHA-256 of "mayfly plant v1", the salt in hexadecimal, and each event
// as JSON, a line each.
func (p *Plan) commit() string {
	sum := sha256.New()
	sum.Write([]byte("mayfly plant v1\n" + p.Salt + "\n"))
	for _, e := range p.Events {
		line, err := json.Marshal(e)
		if err != nil {
			panic("encoding a planted event: " + err.Error()) // only a year beyond 9999 fails
		}
		sum.Write(append(line, '\n'))
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// maxPlan is more than the largest plan takes.
const maxPlan = 64 << 20

// Read reads a plan and holds it to its own commitment.
func Read(path string) (*Plan, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("opening the plan: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxPlan {
		return nil, fmt.Errorf("%s is no plan of mayfly audit plant", path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the plan: %w", err)
	}
	p, err := parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return p, nil
}

func parse(text []byte) (*Plan, error) {
	var p Plan
	if err := json.Unmarshal(text, &p); err != nil || p.Version != version || len(p.Events) == 0 || len(p.Events) > receipts.MaxPlanted {
		return nil, errors.New("no plan of mayfly audit plant, or of another version")
	}
	for _, e := range p.Events {
		ip, err := netip.ParseAddr(e.IP)
		if err != nil || ip.String() != e.IP || ip.Is4In6() || ip.Zone() != "" || e.Account == "" || e.Time.Year() < 1970 || e.Time.Year() > 9999 {
			return nil, errors.New("the plan is damaged")
		}
	}
	if p.commit() != p.Commitment {
		return nil, errors.New("the plan was changed since it was committed to: its commitment is of another list")
	}
	return &p, nil
}

// Write writes a new file that its owner alone can read.
func (p *Plan) Write(path string) error {
	text, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding the plan: %w", err)
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s exists: a plan is kept until it was checked, so it is not replaced", path)
	}
	if err != nil {
		return fmt.Errorf("creating the plan: %w", err)
	}
	_, err = file.Write(append(text, '\n'))
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("writing the plan: %w", err)
	}
	return nil
}
