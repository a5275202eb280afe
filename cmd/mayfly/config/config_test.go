package config

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v4"

	"mayfly/pipeline/event"
	"mayfly/retention"
	"mayfly/retention/receipts"
)

// build reads a configuration from a file with the given text, an
// environment of its own, and flags.
func build(t *testing.T, file string, environment map[string]string, flags Flags) (*Config, []*setting, error) {
	t.Helper()
	if file != "" {
		flags.File = filepath.Join(t.TempDir(), "mayfly.yaml")
		if err := os.WriteFile(flags.File, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return flags.read(func(variable string) (string, bool) {
		text, ok := environment[variable]
		return text, ok
	})
}

func TestPrecedence(t *testing.T) {
	t.Parallel()
	const file = "kafka:\n  group: from-file\n"
	environment := map[string]string{"MAYFLY_KAFKA_GROUP": "from-environment"}
	flags := Flags{Group: new("from-flag")}
	for name, test := range map[string]struct {
		file         string
		environment  map[string]string
		flags        Flags
		want, source string
	}{
		"default":                    {want: "mayfly", source: "default"},
		"file":                       {file: file, want: "from-file", source: "file"},
		"environment over default":   {environment: environment, want: "from-environment", source: "environment"},
		"environment over file":      {file: file, environment: environment, want: "from-environment", source: "environment"},
		"flag over default":          {flags: flags, want: "from-flag", source: "flag"},
		"flag over file":             {file: file, flags: flags, want: "from-flag", source: "flag"},
		"flag over environment":      {environment: environment, flags: flags, want: "from-flag", source: "flag"},
		"flag over all":              {file: file, environment: environment, flags: flags, want: "from-flag", source: "flag"},
		"an empty variable is unset": {file: file, environment: map[string]string{"MAYFLY_KAFKA_GROUP": ""}, want: "from-file", source: "file"},
		"an empty value is unset":    {file: "kafka:\n  group:\n", want: "mayfly", source: "default"},
		"an empty file":              {file: "# nothing yet\n", want: "mayfly", source: "default"},
		"an empty text is a value":   {file: "kafka: {group: ''}", want: "", source: "file"},
		"an empty flag is a value":   {file: file, flags: Flags{Group: new("")}, want: "", source: "flag"},
		"another flag masks nothing": {file: file, flags: Flags{Topic: new("x")}, want: "from-file", source: "file"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, all, err := build(t, test.file, test.environment, test.flags)
			if err != nil {
				t.Fatal(err)
			}
			i := indexSetting(all, "kafka.group")
			if c.Kafka.Group != test.want || all[i].source != test.source {
				t.Errorf("kafka.group is %q, set by %s; want %q, set by %s", c.Kafka.Group, all[i].source, test.want, test.source)
			}
		})
	}
}

// A mapping or a list of a higher rank takes the place of the lower one whole.
func TestNothingIsMerged(t *testing.T) {
	t.Parallel()
	c, _, err := build(t, "fields: {ip: a, port: b}\nkafka: {topics: [a, b]}\n", map[string]string{
		"MAYFLY_FIELDS":       "{ip: c}",
		"MAYFLY_KAFKA_TOPICS": "c, d",
		"MAYFLY_POLICIES":     "- name: short\n  window: 90s\n",
	}, Flags{})
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Fields = event.FieldMap{"ip": "c"}
	want.Kafka.Topics = []string{"c", "d"}
	want.Policies = retention.Policies{{Name: "short", Window: 90 * time.Second}}
	if diff := cmp.Diff(want, *c); diff != "" {
		t.Error(diff)
	}
}

func indexSetting(all []*setting, path string) int {
	for i, s := range all {
		if s.path == path {
			return i
		}
	}
	return -1
}

func TestFileErrors(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		file string
		want []string // "line: key: …"
	}{
		"unknown section":   {"kafka:\n  group: a\n\nkafak:\n  group: b\n", []string{"4: kafak: no such setting"}},
		"unknown key":       {"kafka:\n  # a comment\n  brokerz: [a:1]\n", []string{"3: kafka.brokerz: no such setting"}},
		"unknown deep key":  {"kafka:\n  tls:\n    enabled: true\n    ca: x\n", []string{"4: kafka.tls.ca: no such setting"}},
		"other case":        {"Kafka: {}\n", []string{"1: Kafka: no such setting"}},
		"key twice":         {"log:\n  level: info\n  level: warn\n", []string{"3: log.level: set twice, first in line 2"}},
		"merge key":         {"log:\n  <<: {level: warn}\n", []string{"2: log.<<: no such setting"}},
		"text for number":   {"kafka:\n  fetch_bytes: much\n", []string{"2: kafka.fetch_bytes: want a whole number"}},
		"fraction":          {"kafka:\n  fetch_bytes: 1.5\n", []string{"2: kafka.fetch_bytes: want a whole number"}},
		"number overflow":   {"kafka:\n  fetch_bytes: 99999999999999999999\n", []string{"2: kafka.fetch_bytes: want a whole number"}},
		"bare duration":     {"kafka:\n  fetch_wait: 500\n", []string{"2: kafka.fetch_wait: want a duration"}},
		"text for list":     {"kafka:\n  topics: a,b\n", []string{"2: kafka.topics: want a list"}},
		"number in list":    {"kafka:\n  topics:\n  - a\n  - 7\n", []string{"4: kafka.topics[1]: want text"}},
		"nothing in list":   {"kafka:\n  topics:\n  - a\n  -\n", []string{"4: kafka.topics[1]: want text"}},
		"bool for text":     {"kafka:\n  group: true\n", []string{"2: kafka.group: want text"}},
		"text for section":  {"\nlog: info\n", []string{"2: log: want a mapping"}},
		"list for mapping":  {"fields: [ip]\n", []string{"1: fields: want a mapping"}},
		"in a mapping":      {"fields:\n  ip: addr\n  port: [p]\n", []string{"3: fields.port: want text"}},
		"in a policy":       {"policies:\n- name: a\n  window: 5m\n  windw: 5m\n", []string{"4: policies[0].windw: no such setting"}},
		"deep in a policy":  {"policies:\n- name: a\n  match:\n    event:\n    - x\n    - {}\n", []string{"6: policies[0].match.event[1]: want text"}},
		"through an alias":  {"kafka:\n  topics: &t [a]\n  group: *t\n", []string{"2: kafka.group: want text"}},
		"several":           {"log:\n  level: 1\n  colour: red\n", []string{"2: log.level: want text", "3: log.colour: no such"}},
		"two documents":     {"log: {}\n---\nlog: {}\n", []string{"2: second document"}},
		"not YAML":          {"kafka:\n  group: a\n topics: b\n", []string{"3: not YAML"}},
		"not YAML, a quote": {"kafka:\n  group: 'a\n", []string{"3: not YAML"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, _, err := build(t, test.file, nil, Flags{})
			if err == nil {
				t.Fatal("accepted")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), "mayfly.yaml:"+want) {
					t.Errorf("got %q; want mayfly.yaml:%s", err, want)
				}
			}
		})
	}
}

// A configuration may hold passwords: an error says where and what kind, never what it read.
func TestErrorsHoldNoValues(t *testing.T) {
	t.Parallel()
	const secret = "hunter2hunter2"
	for _, file := range []string{
		"kafka:\n  fetch_bytes: " + secret + "\n",
		"kafka:\n  topics: " + secret + "\n",
		"log: " + secret + "\n",
		secret + "\n",
	} {
		_, _, err := build(t, file, nil, Flags{})
		if err == nil || strings.Contains(err.Error(), secret[:6]) {
			t.Errorf("error: %v", err)
		}
	}
	for variable, text := range map[string]string{
		"MAYFLY_KAFKA_FETCH_WAIT": secret,
		"MAYFLY_POLICIES":         "[{name: " + secret,
		"MAYFLY_FIELDS":           secret + ": [",
	} {
		_, _, err := build(t, "", map[string]string{variable: text}, Flags{})
		if err == nil || strings.Contains(err.Error(), secret[:6]) || !strings.Contains(err.Error(), variable) {
			t.Errorf("error: %v", err)
		}
	}
	if got := withoutPassword("rediss://user:" + secret + "@redis-1:6379/0"); strings.Contains(got, secret[:6]) || !strings.Contains(got, "redis-1") {
		t.Errorf("a URL prints as %q", got)
	}
	if got := withoutPassword("redis://user:" + secret + "@[bad"); strings.Contains(got, secret[:6]) {
		t.Errorf("a broken URL prints as %q", got)
	}
}

// What the environment and the dump are built on holds for every setting, also
// for those that a later section adds.
func TestEverySetting(t *testing.T) {
	t.Parallel()
	c := example()
	all := settings(&c)
	variables := map[string]string{}
	for _, s := range all {
		if s.help == "" {
			t.Errorf("%s has no help tag", s.path)
		}
		if strings.Contains("."+s.path+".", "..") {
			t.Errorf("%s: a field has no yaml tag", s.path)
		}
		if other := variables[s.variable()]; other != "" {
			t.Errorf("%s and %s share the variable %s", s.path, other, s.variable())
		}
		variables[s.variable()] = s.path
		want := reflect.ValueOf(s.value.Interface())
		text, err := s.text()
		if err != nil {
			t.Fatal(err)
		}
		if text == "" {
			continue // an empty variable counts as not set
		}
		if err := s.setText(text); err != nil {
			t.Errorf("%s: its own text %q: %v", s.path, text, err)
		}
		if diff := cmp.Diff(want.Interface(), s.value.Interface(), equateEmpty); diff != "" {
			t.Errorf("%s does not survive text and back:\n%s", s.path, diff)
		}
	}
	for field := range reflect.TypeFor[Flags]().Fields() {
		if path := field.Tag.Get("setting"); path != "" && indexSetting(all, path) < 0 {
			t.Errorf("flag %s sets %s, which does not exist", field.Name, path)
		}
	}
}

const exampleFile = "../../../deploy/mayfly.example.yaml"

// The shipped example names every setting and holds the defaults. "make example" writes it.
func TestExampleIsCurrent(t *testing.T) {
	t.Parallel()
	shipped, err := os.ReadFile(exampleFile)
	if err != nil {
		t.Fatal(err)
	}
	var current bytes.Buffer
	if err := WriteExample(&current); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(current.String(), string(shipped)); diff != "" {
		t.Errorf("run \"make example\":\n%s", diff)
	}
}

func TestExampleLoads(t *testing.T) {
	t.Parallel()
	c := Config{} // no defaults: the file alone must say everything
	all := settings(&c)
	if err := readFile(&c, all, exampleFile); err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		if s.source != "file" {
			t.Errorf("the example does not name %s", s.path)
		}
	}
	if diff := cmp.Diff(example(), c, equateEmpty); diff != "" {
		t.Error(diff)
	}
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
}

// equateEmpty compares empty and nil slices and maps as equal: in YAML they are.
var equateEmpty = cmp.FilterValues(func(a, b any) bool {
	x, y := reflect.ValueOf(a), reflect.ValueOf(b)
	return x.IsValid() && y.IsValid() && x.Type() == y.Type() &&
		(x.Kind() == reflect.Slice || x.Kind() == reflect.Map) && x.Len() == 0 && y.Len() == 0
}, cmp.Ignore())

// Every section's Validate is asked, and names its setting.
func TestValidate(t *testing.T) {
	t.Parallel()
	for want, spoil := range map[string]func(*Config){
		"kafka.brokers":                func(c *Config) { c.Kafka.Brokers = nil },
		"kafka.guard":                  func(c *Config) { c.Kafka.Guard, c.Kafka.Exclusive = "enforce", false },
		"kafka.topics":                 func(c *Config) { c.Kafka.Topics = []string{"a/b"} },
		"redis.addrs":                  func(c *Config) { c.Redis.Addrs = nil },
		"redis.db":                     func(c *Config) { c.Redis.DB = -1 },
		"keyring.nodes":                func(c *Config) { c.Keyring.Nodes = nil },
		"policies":                     func(c *Config) { c.Policies = nil },
		"policies: connections: basis": func(c *Config) { c.Policies[1].Basis = " " },
		"fields":                       func(c *Config) { c.Fields = map[string]string{"nose": "x"} },
		"log.level":                    func(c *Config) { c.Log.Level = "loud" },
		"log.format":                   func(c *Config) { c.Log.Format = "xml" },

		"receipts.quorum": func(c *Config) { c.Receipts.Quorum = 1 },
		"receipts.mirror": func(c *Config) { c.Receipts.Mirror = c.Desk.ReceiptsDir + "/" },
		"receipts.witnesses[0].key": func(c *Config) {
			c.Receipts.Witnesses = []receipts.Witness{{Name: "w", Key: "w.example+deadbeef+AA==", URL: "https://w.example"}}
		},
	} {
		c := example()
		if err := c.Validate(); err != nil {
			t.Fatal(err)
		}
		spoil(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s spoilt: %v", want, err)
		}
		section, _, _ := strings.Cut(strings.ReplaceAll(want, ":", "."), ".")
		if err := c.Validate(section); err == nil {
			t.Errorf("%s spoilt, and its section alone is valid", want)
		}
		if err := c.Validate("no such section"); err != nil {
			t.Errorf("%s spoilt: a section that was not asked for says %v", want, err)
		}
	}
}

// Deadlines that end no slot of a transit engine are found at the start.
func TestValidateSlots(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		kek                 string
		window, epoch, slot time.Duration
		valid               bool
	}{
		{"transit", time.Hour, 5 * time.Minute, time.Minute, true},
		{"transit", time.Hour, 90 * time.Second, time.Minute, false},
		{"transit", 90 * time.Second, time.Minute, time.Minute, false},
		{"transit", time.Hour, 0, time.Minute, false}, // the epochs that it gets then, of 37 s
		{"transit", time.Hour, 0, time.Second, true},
		{"file", time.Hour, 90 * time.Second, time.Minute, true},
	} {
		c := example()
		c.Keyring.KEK, c.Keyring.Transit.Slot, c.Keyring.Transit.TokenFile = test.kek, test.slot, "token"
		c.Policies = retention.Policies{{Name: "p", Window: test.window, Epoch: test.epoch, Basis: "test"}}
		err := c.Validate()
		if test.valid != (err == nil) {
			t.Errorf("%+v: %v", test, err)
		}
		if err != nil && (!strings.Contains(err.Error(), "keyring.transit.slot") || !strings.Contains(err.Error(), "policies")) {
			t.Errorf("%v does not name both settings", err)
		}
		if err := c.Validate("keyring"); err != nil {
			t.Errorf("without policies: %v", err)
		}
	}
}

// FuzzConfigFile: no file makes the reader panic, and what it accepts reads
// back the same after it was printed.
func FuzzConfigFile(f *testing.F) {
	example, err := os.ReadFile(exampleFile)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(example))
	f.Add("kafka: {brokers: [a:1, b:2], fetch_wait: 1h30m}\npolicies: [{name: a, window: 90s, match: {event: [x*]}}]")
	f.Add("a: &a [*a]\n")
	f.Add("log: &l {level: warn}\nkafka: *l\n")
	f.Fuzz(func(t *testing.T, file string) {
		parsed, err := parse(strings.NewReader(file))
		if err != nil || parsed == nil {
			return
		}
		c := Default()
		if decode(parsed.Content[0], reflect.ValueOf(&c).Elem(), "", nil) != nil {
			return
		}
		root, err := document(settings(&c), true)
		if err != nil {
			t.Fatal(err)
		}
		text, err := yaml.Dump(root)
		if err != nil {
			t.Fatal(err)
		}
		again, err := parse(bytes.NewReader(text))
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		back := Default()
		if err := decode(again.Content[0], reflect.ValueOf(&back).Elem(), "", nil); err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		if strings.Contains(string(text), "://") {
			return // URLs are printed without their passwords
		}
		if diff := cmp.Diff(c, back, equateEmpty); diff != "" {
			t.Fatalf("%s\n%s", diff, text)
		}
	})
}

// The digest in receipts is of the configuration without its passwords.
func TestDigest(t *testing.T) {
	t.Parallel()
	digest := func(change func(*Config)) string {
		c := Default()
		c.Keyring.Nodes = []string{"redis://user:secret@localhost:1/0"}
		change(&c)
		d, err := c.Digest()
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	same := digest(func(*Config) {})
	if got := digest(func(c *Config) { c.Keyring.Nodes[0] = "redis://user:another@localhost:1/0" }); got != same {
		t.Error("the digest tells passwords apart")
	}
	if got := digest(func(c *Config) { c.Warden.Shards++ }); got == same || len(got) != 64 {
		t.Errorf("another configuration has the digest %s", got)
	}
}
