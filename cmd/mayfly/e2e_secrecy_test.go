package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"mayfly/abuse/lookup"
	"mayfly/cmd/mayfly/mayflytest"
	"mayfly/pipeline/kafkain/kafkatest"
	"mayfly/retention/redisconn/redistest"
)

const canaryAccount = "canary-account-5f3a"

var canaryAddresses = []netip.Addr{netip.MustParseAddr("203.0.113.177"), netip.MustParseAddr("2001:db8:5ca1:ab1e::dead:beef")}

// spellings are the ways to write a canary that can't occur by chance, and its
// raw bytes, of which an IPv4 address has so few that they can.
func spellings() (texts, raw [][]byte) {
	texts = append(texts, []byte(canaryAccount), []byte(hex.EncodeToString([]byte(canaryAccount))),
		[]byte(base64.StdEncoding.EncodeToString([]byte(canaryAccount))[:20]))
	for _, ip := range canaryAddresses {
		texts = append(texts, []byte(ip.String()), []byte(ip.StringExpanded()), []byte(hex.EncodeToString(ip.AsSlice())))
		raw = append(raw, ip.AsSlice())
	}
	return texts, raw
}

// byChance is how often four given bytes may occur in a few megabytes of
// ciphertext. A leak shows them in every frame, hundreds of times.
const byChance = 2

// leaks names the canaries that are in content.
func leaks(content []byte) (found []string) {
	texts, raw := spellings()
	lower := bytes.ToLower(content)
	for _, text := range texts {
		if bytes.Contains(lower, bytes.ToLower(text)) {
			found = append(found, string(text))
		}
	}
	for _, b := range raw {
		if n := bytes.Count(content, b); n > byChance || n > 0 && len(b) > 4 {
			found = append(found, fmt.Sprintf("%d times %d raw bytes", n, len(b)))
		}
	}
	return found
}

func TestLeaksAreSeen(t *testing.T) {
	t.Parallel()
	texts, raw := spellings()
	for _, text := range texts {
		if len(leaks(bytes.ToUpper(append([]byte("x"), text...)))) == 0 {
			t.Errorf("%q is not seen", text)
		}
	}
	for _, b := range raw {
		if len(leaks(unescape(strings.Repeat(fmt.Sprintf(`"RPUSHX" "k" %s`, escape(b)), 3)))) == 0 {
			t.Errorf("%d raw bytes are not seen", len(b))
		}
	}
}

var escaped = regexp.MustCompile(`\\x[0-9a-f]{2}|\\[nrtab"\\]`)

// unescape gives the bytes that a line of MONITOR stands for.
func unescape(line string) []byte {
	return escaped.ReplaceAllFunc([]byte(line), func(code []byte) []byte {
		if code[1] == 'x' {
			b, _ := strconv.ParseUint(string(code[2:]), 16, 8)
			return []byte{byte(b)}
		}
		return []byte{"\n\r\t\a\b\"\\"[strings.IndexByte(`nrtab"\`, code[1])]}
	})
}

func escape(b []byte) string {
	text := `"`
	for _, c := range b {
		text += fmt.Sprintf(`\x%02x`, c)
	}
	return text + `"`
}

// monitor collects every command that a server executes, until the test ends.
type monitor struct {
	mu    sync.Mutex // guards bytes and lines
	bytes bytes.Buffer
	lines int
}

func watch(t *testing.T, server *redistest.Server) *monitor {
	t.Helper()
	m := &monitor{}
	commands := server.Monitor(t)
	go func(commands *bufio.Scanner) {
		for commands.Scan() {
			m.mu.Lock()
			m.bytes.Write(unescape(commands.Text()))
			m.bytes.WriteByte('\n')
			m.lines++
			m.mu.Unlock()
		}
	}(commands)
	return m
}

// testSecrecy looks for addresses and accounts in all that Redis is told, keeps
// and writes, and in the logs; and for a key without an expiry, all the time.
func testSecrecy(t *testing.T, kafka *kafkatest.Cluster) {
	const events, window = 4000, time.Hour
	s := newE2E(t, kafka, window, "connections")
	kafka.CreateTopic(t, s.topic(), 2, nil)
	servers := append([]*redistest.Server{s.Data}, s.Keys...)
	monitors := make([]*monitor, len(servers))
	for i, server := range servers {
		monitors[i] = watch(t, server)
	}
	s.Config["log"] = map[string]any{"level": "debug"}
	desk, warden := s.Start(t, "desk"), s.Start(t, "warden")
	ingest := s.Start(t, "ingest")
	for part := range 10 {
		kafka.Produce(t, s.topic(), kgo.NoCompression(), canaries(part*events/10, events/10)...)
		kafka.Produce(t, s.topic(), kgo.NoCompression(), &kgo.Record{Value: fmt.Appendf(nil, `{"account":%q,"ip":"%v"`, canaryAccount, canaryAddresses[0])})
		for i, server := range servers {
			checkExpiries(t, i, server, window)
		}
	}
	awaitStored(t, ingest, events)
	mayflytest.Eventually(t, "all 10 messages that are no event are refused", func() bool { return ingest.Events("not_json") == 10 })
	desk.AwaitFound(t, lookup.Request{Account: canaryAccount}, events)
	for i, server := range servers {
		checkExpiries(t, i, server, window)
		checkFiles(t, i, server)
		m := monitors[i]
		m.mu.Lock()
		if found := leaks(m.bytes.Bytes()); len(found) > 0 {
			t.Errorf("server %d was told %v", i, found)
		}
		if m.lines == 0 || i == 0 && !bytes.Contains(m.bytes.Bytes(), []byte(`"rpushx" "mayfly:{all/`)) {
			t.Errorf("the monitor of server %d has seen %d commands, and not those that store", i, m.lines)
		}
		m.mu.Unlock()
	}
	for name, p := range map[string]*mayflytest.Process{"desk": desk, "warden": warden, "ingest": ingest} {
		if err := p.Terminate(t); err != nil {
			t.Errorf("%s ended with %v", name, err)
		}
		if found := leaks([]byte(p.Log())); len(found) > 0 || p.Log() == "" {
			t.Errorf("%s has logged %v", name, found)
		}
	}
}

// canaries are events that all carry the canary account and one of the canary addresses.
func canaries(from, n int) []*kgo.Record {
	records := make([]*kgo.Record, n)
	for i := range records {
		number := from + i
		records[i] = &kgo.Record{Partition: int32(number % 2), Value: fmt.Appendf(nil,
			`{"time":%d,"account":%q,"ip":"%v","port":%d,"session":"s%d"}`,
			time.Now().UnixMilli(), canaryAccount, canaryAddresses[number%2], number, number)}
	}
	return records
}

// checkExpiries expects an expiry on every key, no later than a window from now.
func checkExpiries(t *testing.T, i int, server *redistest.Server, window time.Duration) {
	t.Helper()
	client := server.Client(t)
	defer func() { _ = client.Close() }()
	keys := client.Scan(t.Context(), 0, "*", 1000).Iterator()
	for keys.Next(t.Context()) {
		left, err := client.PTTL(t.Context(), keys.Val()).Result()
		if err != nil {
			t.Fatal(err)
		}
		most := window
		if strings.HasPrefix(keys.Val(), "mayfly:key:mark:") {
			most = 24 * time.Hour // how far a policy is purged: no key, and nothing of anybody
		}
		if left == -1 || left > most {
			t.Errorf("server %d: key %s expires in %v", i, keys.Val(), left)
		}
		if found := leaks([]byte(keys.Val())); len(found) > 0 {
			t.Errorf("server %d: the name of a key says %v", i, found)
		}
	}
	if err := keys.Err(); err != nil {
		t.Fatal(err)
	}
}

// checkFiles reads all that a server has written to its folder.
func checkFiles(t *testing.T, i int, server *redistest.Server) {
	t.Helper()
	appended := false
	err := filepath.WalkDir(server.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		appended = appended || strings.Contains(path, ".aof") && len(content) > 1000
		if found := leaks(content); len(found) > 0 {
			t.Errorf("server %d has written %v to %s", i, found, filepath.Base(path))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if i == 0 && !appended {
		t.Error("the data Redis has no append-only file: the test looks at nothing")
	}
}
