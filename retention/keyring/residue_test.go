package keyring

import (
	"bufio"
	"bytes"
	"context"
	"crypto/hkdf"
	"crypto/hpke"
	"crypto/sha256"
	"crypto/sha3"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mayfly/retention/redisconn/redistest"
)

// TestNoKeyIsLeftInMemory runs a process that handles keys and looks through its
// memory: a release build must leave none after the deadline, nor a state of the
// key-encryption key that opens what is dead. That an ordinary build leaves some
// says that the search finds them.
func TestNoKeyIsLeftInMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("builds two programs")
	}
	t.Parallel()
	for name, experiment := range map[string]string{"release build": "runtimesecret", "ordinary build": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := startResidue(t, experiment)
			p.says(t, "alive")
			keys := p.needles(t)
			if found := p.search(t, keys); found["seed"] == 0 || found["frame key"] == 0 {
				t.Fatalf("the keys in use are not found: the search is blind: %v", found)
			}
			p.goOn(t)
			p.says(t, "over")
			keys = append(keys, p.deadStates()...)
			found := p.search(t, keys)
			for end := time.Now().Add(5 * time.Second); experiment != "" && len(found) > 0 && time.Now().Before(end); {
				time.Sleep(50 * time.Millisecond) // its collection is under way
				found = p.search(t, keys)
			}
			t.Logf("after the deadline, of %d keys, subkeys and states: %v", len(keys), found)
			if erased := len(found) == 0; erased != (experiment != "") {
				t.Errorf("left of %d keys, subkeys and states: %v", len(keys), found)
			}
			p.goOn(t)
		})
	}
}

// residue is the process, and what its test knows of its keys.
type residue struct {
	process *exec.Cmd
	lines   *bufio.Scanner
	answers io.Writer
	node    Node
	kek     *KEKFile // a copy of its file, that is never advanced
}

func startResidue(t *testing.T, experiment string) *residue {
	t.Helper()
	dir := t.TempDir()
	program := filepath.Join(dir, "residue")
	build := exec.Command("go", "build", "-trimpath", "-o", program, "./testdata/residue")
	build.Env = append(os.Environ(), "GOEXPERIMENT="+experiment, "GOFLAGS=")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building: %v\n%s", err, out)
	}
	file, copied := filepath.Join(dir, "kek"), filepath.Join(dir, "copy")
	now := time.Now().Add(-time.Second)
	if err := GenerateKEK(file, now); err != nil {
		t.Fatal(err)
	}
	state, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(copied, state, 0o600); err != nil {
		t.Fatal(err)
	}
	server := redistest.Start(t)
	p := &residue{node: NewRedisNode("node", server.Client(t)), process: exec.Command(program, file, server.URL())}
	if p.kek, err = OpenKEK(copied, now); err != nil {
		t.Fatal(err)
	}
	p.start(t)
	return p
}

func (p *residue) start(t *testing.T) {
	t.Helper()
	out, err := p.process.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if p.answers, err = p.process.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	p.process.Stderr = os.Stderr
	if err := p.process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.process.Process.Kill()
		_ = p.process.Wait()
	})
	p.lines = bufio.NewScanner(out)
}

func (p *residue) says(t *testing.T, word string) {
	t.Helper()
	if !p.lines.Scan() || p.lines.Text() != word {
		t.Fatalf("it says %q, want %q", p.lines.Text(), word)
	}
}

func (p *residue) goOn(t *testing.T) {
	t.Helper()
	if _, err := fmt.Fprintln(p.answers); err != nil {
		t.Fatal(err)
	}
}

// needle is something to be looked for.
type needle struct {
	kind  string
	bytes []byte
}

// needles are the private keys and all that follows from them.
func (p *residue) needles(t *testing.T) []needle {
	t.Helper()
	ctx := context.Background()
	ring, _ := New(p.node)
	epochs, err := ring.Epochs(ctx)
	if err != nil || len(epochs) == 0 {
		t.Fatalf("%d epochs, %v", len(epochs), err)
	}
	var all []needle
	for _, epoch := range epochs {
		contents, err := ring.contents(ctx, epoch)
		if err != nil {
			t.Fatal(err)
		}
		publics, err := contents.publics(epoch)
		if err != nil {
			t.Fatal(err)
		}
		for _, public := range publics {
			all = append(all, p.ofKey(t, public, contents)...)
		}
	}
	return all
}

func (p *residue) ofKey(t *testing.T, public Public, contents Contents) []needle {
	t.Helper()
	seed, err := public.unwrap(p.kek, contents[partPrivate][public.ID.String()])
	if err != nil {
		t.Fatal(err)
	}
	parts := sha3.SumSHAKE256(seed, 96) // d, z and the X25519 scalar of the hybrid key
	wrapping, err := hkdf.Expand(sha256.New, p.kek.derived[slotFor(public.Deadline)], "mayfly kek wrap v1", 32)
	if err != nil {
		t.Fatal(err)
	}
	all := []needle{
		{"seed", seed}, {"ML-KEM d", parts[:32]}, {"ML-KEM z", parts[32:64]}, {"X25519", parts[64:]}, {"wrapping key", wrapping},
	}
	private, err := hpke.MLKEM768X25519().NewPrivateKey(seed)
	if err != nil {
		t.Fatal(err)
	}
	for field, wrap := range contents[partWraps] {
		id, writer, _ := strings.Cut(field, " ")
		info := "mayfly epoch v1\x00" + public.Epoch.String() + "\x00"
		for _, part := range []string{id, writer} {
			raw, _ := hex.DecodeString(part)
			info += string(raw)
		}
		recipient, err := hpke.NewRecipient(wrap, private, hpke.HKDFSHA256(), hpke.ExportOnly(), []byte(info))
		if err != nil {
			t.Fatal(err)
		}
		frameKey, err := recipient.Export("mayfly frame key v1", 32)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, needle{"frame key", frameKey})
	}
	return all
}

// deadStates are the states that the chain has left behind by now, raw and as
// they stood in the file.
func (p *residue) deadStates() []needle {
	var all []needle
	key := [keyLength]byte(p.kek.key)
	for slot := p.kek.slot; slot < slotAt(time.Now())-2; slot++ {
		all = append(all, needle{"chain state", bytes.Clone(key[:])}, needle{"chain state, hex", hex.AppendEncode(nil, key[:])})
		next(&key)
	}
	return all
}

// search reads all memory that the process can write, and counts by kind.
func (p *residue) search(t *testing.T, needles []needle) map[string]int {
	t.Helper()
	pid := p.process.Process.Pid
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		t.Fatal(err)
	}
	memory, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skipf("another process's memory can't be read here: %v", err)
	}
	defer memory.Close()
	byPrefix, marked := map[uint64][]needle{}, new([1 << 16]bool)
	for _, n := range needles {
		prefix := binary.LittleEndian.Uint64(n.bytes)
		byPrefix[prefix] = append(byPrefix[prefix], n)
		marked[uint16(prefix)] = true
	}
	found := map[string]int{}
	for line := range strings.Lines(string(maps)) {
		var from, to int64
		var mode string
		if _, err := fmt.Sscanf(line, "%x-%x %s", &from, &to, &mode); err != nil || !strings.HasPrefix(mode, "rw") {
			continue
		}
		region := make([]byte, to-from)
		n, _ := memory.ReadAt(region, from)
		for i := 0; i+8 <= n; i++ {
			if !marked[binary.LittleEndian.Uint16(region[i:])] {
				continue
			}
			for _, candidate := range byPrefix[binary.LittleEndian.Uint64(region[i:])] {
				if bytes.HasPrefix(region[i:n], candidate.bytes) {
					found[candidate.kind]++
				}
			}
		}
	}
	return found
}
