package produce

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"mayfly/pipeline/event"
)

// input has three events, not in order of time, among lines that are none.
const input = `{"time":"2024-05-01T10:00:00Z","account":"a","ip":"192.0.2.1","since":"2024-05-01T09:59:58Z","more":[1, 2]}
{"time":"2024-05-01T10:00:10.500Z","account":"b","ip":"192.0.2.2"}

{"time":"2024-05-01T10:00:04Z", "account":"c","ip":"192.0.2.3"}` + "\r\n" + `{"account":"c","ip":"192.0.2.3"}
not json`

// sent is one event as it was written, and when, counted from the run's begin.
type sent struct {
	After   time.Duration
	Account string
	Time    time.Duration // the event's time from the run's begin
	Since   time.Duration // before the event's time
}

// replayed runs a replay of in with time standing still but for its sleeps.
func replayed(t *testing.T, config Config, in io.Reader) (out []sent, values []string, summary Summary, err error) {
	t.Helper()
	config.Brokers, config.Topic = []string{"none"}, "none"
	p, err := New(config, Dependencies{})
	if err != nil {
		t.Fatal(err)
	}
	decoder, err := event.NewDecoder(config.Fields)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	summary, err = p.replay(t.Context(), in, func(_ context.Context, value []byte) error {
		var e event.Event
		if reason := decoder.Decode(value, &e); reason != event.Accepted {
			t.Errorf("written, but refused: %s", reason)
		}
		s := sent{After: time.Since(start), Account: strings.Clone(e.Account), Time: time.UnixMilli(e.Time).Sub(start)}
		if e.Since != 0 {
			s.Since = time.Duration(e.Time-e.Since) * time.Millisecond
		}
		out, values = append(out, s), append(values, string(value))
		return nil
	})
	return out, values, summary, err
}

func TestReplayPassesLinesOn(t *testing.T) {
	t.Parallel()
	_, values, summary, err := replayed(t, Config{}, strings.NewReader(input))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.ReplaceAll(input, "\r", ""), "\n")
	if diff := cmp.Diff([]string{lines[0], lines[1], lines[3]}, values); diff != "" {
		t.Error(diff)
	}
	want := Summary{
		Lines: 6, Skipped: 3, Reasons: map[string]int{"empty": 1, "no_time": 1, "not_json": 1},
		First: time.Date(2024, 5, 1, 10, 0, 0, 0, time.UTC), Last: time.Date(2024, 5, 1, 10, 0, 10, 5e8, time.UTC),
	}
	if diff := cmp.Diff(want, summary); diff != "" {
		t.Error(diff)
	}
}

// A value belongs to who sends it: the lines behind it don't change it.
func TestValuesAreOwned(t *testing.T) {
	t.Parallel()
	p, err := New(Config{Brokers: []string{"x"}, Topic: "x"}, Dependencies{})
	if err != nil {
		t.Fatal(err)
	}
	var in strings.Builder
	const n = 10 * event.MaxSize / 50
	for i := range n {
		fmt.Fprintf(&in, `{"time":%d,"account":"%08d","ip":"192.0.2.1"}`+"\n", i, i)
	}
	seen := map[*byte][]byte{}
	if _, err := p.replay(t.Context(), strings.NewReader(in.String()), func(_ context.Context, value []byte) error {
		seen[&value[0]] = value
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	distinct := map[string]bool{}
	for _, value := range seen {
		distinct[string(value)] = true
	}
	if len(distinct) != n {
		t.Errorf("%d of %d values are left", len(distinct), n)
	}
}

func TestReplayWithFieldMap(t *testing.T) {
	t.Parallel()
	line := `{"ts":1,"who":"a","client":{"addr":"192.0.2.1"}}`
	config := Config{Fields: event.FieldMap{"time": "ts", "account": "who", "ip": "client.addr"}}
	_, values, _, err := replayed(t, config, strings.NewReader(line))
	if err != nil || len(values) != 1 || values[0] != line {
		t.Errorf("%v, %v", values, err)
	}
}

func TestRebase(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "events")
	if err := os.WriteFile(file, []byte("skipped line\n"+input), 0o600); err != nil {
		t.Fatal(err)
	}
	const since = 2 * time.Second
	plain := []sent{{0, "a", -10500 * time.Millisecond, since}, {0, "b", 0, 0}, {0, "c", -6500 * time.Millisecond, 0}}
	for _, source := range []string{"file", "pipe"} {
		synctest.Test(t, func(t *testing.T) {
			f, err := os.Open(file)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = f.Close() }()
			if _, err := f.Seek(int64(len("skipped line\n")), io.SeekStart); err != nil { // it is read from where it stands
				t.Fatal(err)
			}
			var in io.Reader = f
			if source == "pipe" {
				in = iotest.OneByteReader(f)
			}
			out, _, summary, err := replayed(t, Config{Rebase: RebaseLast}, in)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(plain, out); diff != "" {
				t.Error(source, diff)
			}
			if summary.Lines != 6 || !summary.Last.Equal(time.Now()) {
				t.Errorf("%s: %+v", source, summary)
			}
		})
	}
}

// Without a speed every event happens when it is sent: a log of hours fits into
// a window of minutes. A connection keeps its length.
func TestRebaseNow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		out, _, _, err := replayed(t, Config{Rebase: RebaseNow}, strings.NewReader(input))
		if err != nil {
			t.Fatal(err)
		}
		want := []sent{{0, "a", 0, 2 * time.Second}, {0, "b", 0, 0}, {0, "c", 0, 0}}
		if diff := cmp.Diff(want, out); diff != "" {
			t.Error(diff)
		}
	})
}

func TestSpeed(t *testing.T) {
	t.Parallel()
	// What lies before the first event is sent at once.
	in := input + "\n" + `{"time":"2024-05-01T09:59:50Z","account":"d","ip":"192.0.2.3"}`
	const quarter = 250 * time.Millisecond
	rebased := []sent{
		{0, "a", 0, 2 * quarter}, {10*quarter + 125*time.Millisecond, "b", 10*quarter + 125*time.Millisecond, 0},
		{10*quarter + 125*time.Millisecond, "c", 4 * quarter, 0}, {10*quarter + 125*time.Millisecond, "d", -10 * quarter, 0},
	}
	synctest.Test(t, func(t *testing.T) {
		out, _, _, err := replayed(t, Config{Rebase: RebaseNow, Speed: 4}, strings.NewReader(in))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(rebased, out); diff != "" {
			t.Error(diff)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		out, values, _, err := replayed(t, Config{Speed: 4}, strings.NewReader(in))
		if err != nil || !strings.HasPrefix(input, values[0]) {
			t.Fatal(err)
		}
		for i := range out {
			if out[i].After != rebased[i].After {
				t.Errorf("event %d was sent after %v", i, out[i].After)
			}
		}
	})
}

// What a file gains while it is replayed is not sent: it would lie in the future.
func TestRebaseOfGrowingFile(t *testing.T) {
	t.Parallel()
	in := &growing{Reader: bytes.NewReader([]byte(input)), full: bytes.NewReader([]byte(input + "\n" + strings.ReplaceAll(input, "2024", "2025")))}
	out, _, summary, err := replayed(t, Config{Rebase: RebaseLast}, in)
	if err != nil || len(out) != 3 || summary.Lines != 6 {
		t.Errorf("%d events, %+v, %v", len(out), summary, err)
	}
}

// growing is longer once it has been rewound.
type growing struct {
	*bytes.Reader
	full *bytes.Reader
}

func (g *growing) Seek(offset int64, whence int) (int64, error) {
	if whence == io.SeekStart {
		g.Reader = g.full
	}
	return g.Reader.Seek(offset, whence)
}

func TestRebaseOfLongPipe(t *testing.T) {
	t.Parallel()
	_, _, _, err := replayed(t, Config{Rebase: RebaseLast, Buffer: 1 << 20}, io.MultiReader(strings.NewReader(strings.Repeat(" ", 1<<20+1))))
	if err == nil || !strings.Contains(err.Error(), "more than 1 MiB of a pipe are not kept: give a file") {
		t.Errorf("error %v", err)
	}
	_, _, summary, err := replayed(t, Config{Rebase: RebaseLast, Buffer: 1 << 20}, io.MultiReader(strings.NewReader(strings.Repeat(strings.Repeat("x", 1023)+"\n", 1<<10))))
	if err != nil || summary.Lines != 1<<10 {
		t.Errorf("%d lines, error %v", summary.Lines, err)
	}
}

func TestRebaseSSHD(t *testing.T) {
	t.Parallel()
	// A bubble begins on January 1 of 2000, so the second line is past the
	// ceiling: taken alone it would be of another year than the first.
	const log = "Jan  1 23:59:58 gate1 sshd[1]: Failed password for root from 192.0.2.1 port 22 ssh2\r\n" +
		"Jan  2 00:00:03 gate1 sshd[1]: Disconnected from authenticating user root 192.0.2.1 port 22 [preauth]\r\n"
	synctest.Test(t, func(t *testing.T) {
		out, _, summary, err := replayed(t, Config{Format: SSHD, Rebase: RebaseLast}, strings.NewReader(log))
		if err != nil || len(summary.Reasons) != 0 {
			t.Fatal(summary, err)
		}
		if diff := cmp.Diff([]sent{{0, "root", -5 * time.Second, 0}, {0, "root", 0, 0}}, out); diff != "" {
			t.Error(diff)
		}
	})
}

// What would be refused is not written, and counted under the decoder's reason.
func TestSSHDRefused(t *testing.T) {
	t.Parallel()
	line := func(host, account string) string {
		return "Feb 28 01:02:03 " + host + " sshd[1]: Failed password for " + account + " from 192.0.2.1 port 22 ssh2\n"
	}
	log := line("h", strings.Repeat("a", 129)) + line("h", "bell\a") + line(strings.Repeat("h", 129), "a") + line("h", `quote"`) + line("h", "\x80")
	out, _, summary, err := replayed(t, Config{Format: SSHD}, strings.NewReader(log))
	if err != nil || len(out) != 1 || out[0].Account != `quote"` {
		t.Errorf("%v %v", out, err)
	}
	if diff := cmp.Diff(map[string]int{"bad_account": 2, "bad_field": 1, "bad_utf8": 1}, summary.Reasons); diff != "" {
		t.Error(diff)
	}
}

func TestLines(t *testing.T) {
	t.Parallel()
	huge := strings.Repeat("x", 5*event.MaxSize)
	for _, in := range []string{"a\n\r\n" + huge + "\nb\r\n" + huge, "a\n\n" + huge + "\nb\n" + huge + "\r\n"} {
		l := newLines(iotest.HalfReader(strings.NewReader(in)))
		var got []string
		for {
			line, err := l.next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(line) > event.MaxSize {
				line = []byte("too long")
			}
			got = append(got, string(line))
		}
		if diff := cmp.Diff([]string{"a", "", "too long", "b", "too long"}, got); diff != "" {
			t.Error(diff)
		}
	}
	_, _, _, err := replayed(t, Config{}, iotest.ErrReader(io.ErrUnexpectedEOF))
	if !errors.Is(err, io.ErrUnexpectedEOF) || !strings.HasPrefix(err.Error(), "reading the input: ") {
		t.Errorf("error %v", err)
	}
}

// The end of the context ends a wait for the next event, and for a silent pipe.
func TestReplayIsInterrupted(t *testing.T) {
	t.Parallel()
	for name, in := range map[string]func() (io.Reader, func()){
		"pace": func() (io.Reader, func()) { return strings.NewReader(input), func() {} },
		"pipe": func() (io.Reader, func()) {
			r, w := io.Pipe()
			return r, func() { _ = w.Close() }
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			p, err := New(Config{Brokers: []string{"x"}, Topic: "x", Speed: 0.001}, Dependencies{})
			if err != nil {
				t.Fatal(err)
			}
			reader, done := in()
			defer done()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			begin := time.Now()
			_, err = p.replay(ctx, reader, func(context.Context, []byte) error { return nil })
			if !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != time.Minute {
				t.Errorf("%s: after %v: %v", name, time.Since(begin), err)
			}
		})
	}
}

func TestProgress(t *testing.T) {
	t.Parallel()
	for _, rebase := range []string{"", RebaseLast} {
		var told []int64
		p, err := New(Config{Brokers: []string{"x"}, Topic: "x", Rebase: rebase}, Dependencies{Progress: func(read int64) { told = append(told, read) }})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.replay(t.Context(), strings.NewReader(input), func(context.Context, []byte) error { return nil }); err != nil {
			t.Fatal(err)
		}
		if len(told) == 0 || told[len(told)-1] != int64(len(input)) {
			t.Errorf("told %v of %d", told, len(input))
		}
	}
	progress, done := Bar(os.Stderr, 5) // no terminal under go test
	progress(1)
	done()
}

func TestConfigErrors(t *testing.T) {
	t.Parallel()
	good := Config{Brokers: []string{"localhost:9092"}, Topic: "t"}
	for want, spoil := range map[string]func(*Config){
		"brokers: ":                             func(c *Config) { c.Brokers = nil },
		"topic: ":                               func(c *Config) { c.Topic = "" },
		`format: "nginx" is unknown`:            func(c *Config) { c.Format = "nginx" },
		`rebase: "then" is unknown`:             func(c *Config) { c.Rebase = "then" },
		"speed: must be 0":                      func(c *Config) { c.Speed = -1 },
		"buffer: ":                              func(c *Config) { c.Buffer = -1 },
		"zone: unknown time zone Mars/Olympus":  func(c *Config) { c.Zone = "Mars/Olympus" },
		`fields: "x" is no field`:               func(c *Config) { c.Fields = event.FieldMap{"x": "y"} },
		"fields: a field map is for JSON lines": func(c *Config) { c.Format, c.Fields = SSHD, event.FieldMap{"ip": "y"} },
		`rebase: with a speed`:                  func(c *Config) { c.Rebase, c.Speed = RebaseLast, 2 },
		"rebase: rebased events":                func(c *Config) { c.Rebase, c.Fields = RebaseNow, event.FieldMap{"ip": "y"} },
	} {
		c := good
		spoil(&c)
		if _, err := New(c, Dependencies{}); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("error %v, want %s", err, want)
		}
	}
	for _, format := range append(Formats, "") {
		c := good
		c.Format = format
		if _, err := New(c, Dependencies{}); err != nil {
			t.Error(err)
		}
	}
}

func BenchmarkReplay(b *testing.B) {
	for _, c := range []struct{ format, line string }{
		{JSON, `{"time":"2026-03-01T12:30:45.678Z","account":"user-1048576","ip":"203.0.113.207","port":50123,"event":"connect"}`},
		{SSHD, "Feb 28 01:02:03 gate1 sshd[917]: Failed password for invalid user bob from 192.0.2.1 port 4022 ssh2"},
	} {
		b.Run(c.format, func(b *testing.B) {
			p, err := New(Config{Brokers: []string{"x"}, Topic: "x", Format: c.format}, Dependencies{})
			if err != nil {
				b.Fatal(err)
			}
			const n = 1000
			text := strings.Repeat(c.line+"\n", n)
			for b.Loop() {
				if s, err := p.replay(b.Context(), strings.NewReader(text), func(context.Context, []byte) error { return nil }); err != nil || s.Skipped != 0 {
					b.Fatal(fmt.Sprint(s, err))
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/line")
		})
	}
}
