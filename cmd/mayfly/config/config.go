// Package config is everything that can be set, and where it comes from: one walk
// over one struct reads the file, the environment and the flags, and writes the
// documentation, the example and the dump.
package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"mayfly/abuse"
	"mayfly/pipeline"
	"mayfly/pipeline/event"
	"mayfly/pipeline/kafkain"
	"mayfly/pipeline/relay"
	"mayfly/retention"
	"mayfly/retention/canary"
	"mayfly/retention/compactor"
	"mayfly/retention/keyring"
	"mayfly/retention/receipts"
	"mayfly/retention/redisconn"
	"mayfly/retention/warden"
)

// Config is everything that can be set. A section is a struct of the package
// it configures: yaml and help tags on each field, and a Validate that names
// the setting that is wrong. The file, the environment, the documentation and
// the dump all follow from this struct.
type Config struct {
	Kafka    kafkain.Config     `yaml:"kafka"`
	Redis    redisconn.Config   `yaml:"redis"`
	Keyring  keyring.Config     `yaml:"keyring"`
	Policies retention.Policies `yaml:"policies" help:"retention policies, tried in order, the first that matches an event wins; each has name, match (field: [globs]), window, epoch (default window/96), basis (the legal basis) and keep (fields to store besides the usual)"`
	Fields   event.FieldMap     `yaml:"fields" help:"where the topic's JSON has the event's fields (time, account, ip, port, port_end, event, session, since, server, transport, client, outcome, rtt_ms): a key, keys with dots between, or a JSON Pointer; the rest keep their own names"`
	Ingest   pipeline.Config    `yaml:"ingest"`
	Relay    relay.Config       `yaml:"relay"`
	Compact  compactor.Config   `yaml:"compact"`
	Warden   warden.Config      `yaml:"warden"`
	Canary   canary.Config      `yaml:"canary"`
	Desk     abuse.Config       `yaml:"desk"`
	Receipts receipts.Config    `yaml:"receipts"`
	Log      Log                `yaml:"log"`
}

// Default holds no policy: how long addresses are kept, and why, is for
// the operator to say.
func Default() Config {
	return Config{
		Kafka:    kafkain.DefaultConfig(),
		Redis:    redisconn.DefaultConfig(),
		Keyring:  keyring.DefaultConfig(),
		Ingest:   pipeline.DefaultConfig(),
		Relay:    relay.DefaultConfig(),
		Compact:  compactor.DefaultConfig(),
		Warden:   warden.DefaultConfig(),
		Canary:   canary.DefaultConfig(),
		Desk:     abuse.DefaultConfig(),
		Receipts: receipts.DefaultConfig(),
		Log:      Log{Level: "info", Format: "json"},
	}
}

// validator is what a section with rules implements.
type validator interface{ Validate() error }

// Validate asks the named sections, or all of them, and joins what they say.
func (c *Config) Validate(sections ...string) error {
	var problems []error
	for field, section := range reflect.ValueOf(c).Elem().Fields() {
		v, ok := section.Addr().Interface().(validator)
		if ok && (len(sections) == 0 || slices.Contains(sections, key(field))) {
			problems = append(problems, v.Validate())
		}
	}
	uses := func(name string) bool { return len(sections) == 0 || slices.Contains(sections, name) }
	if uses("policies") {
		problems = append(problems, c.validateBasis())
	}
	if uses("keyring") && uses("policies") {
		problems = append(problems, c.validateSlots())
	}
	if uses("kafka") && c.Kafka.Guard == "enforce" && !c.Kafka.Exclusive {
		problems = append(problems, errors.New("kafka.guard: enforce deletes records, so it needs kafka.exclusive: true, which says that nobody else reads the topics"))
	}
	if uses("receipts") && c.Receipts.Mirror != "" && filepath.Clean(c.Receipts.Mirror) == filepath.Clean(c.Desk.ReceiptsDir) {
		problems = append(problems, errors.New("receipts.mirror: must be another folder than desk.receipts_dir: a log is no copy of itself"))
	}
	return errors.Join(problems...)
}

// validateBasis sees to it that every policy says why addresses are kept: receipts and
// the auditor's report repeat it.
func (c *Config) validateBasis() error {
	for i := range c.Policies {
		if p := &c.Policies[i]; strings.TrimSpace(p.Basis) == "" {
			return fmt.Errorf("policies: %s: basis: say on what legal basis addresses are kept", p.Name)
		}
	}
	return nil
}

// validateSlots sees to it that every deadline ends a slot of the key-encryption key
// in a transit engine: the key of another deadline could not be wrapped.
func (c *Config) validateSlots() error {
	slot := c.Keyring.Transit.Slot
	if c.Keyring.KEK != "transit" || slot <= 0 {
		return nil
	}
	for i := range c.Policies {
		p := &c.Policies[i]
		if p.Window%slot != 0 || p.EpochLength()%slot != 0 {
			return fmt.Errorf("policies: %s: window %v and epoch %v must be multiples of keyring.transit.slot, %v: change policies or keyring.transit.slot",
				p.Name, p.Window, p.EpochLength(), slot)
		}
	}
	return nil
}

// Flags are the configuration of every command that needs one. A flag
// with a setting tag is nil unless it was given, so that it never masks the
// environment or the file; it reads as the setting's variable does.
type Flags struct {
	File     string  `name:"config" short:"c" env:"MAYFLY_CONFIG" placeholder:"FILE" help:"YAML configuration file."`
	Brokers  *string `setting:"kafka.brokers" placeholder:"HOST:PORT,…" help:"Kafka brokers."`
	Topic    *string `setting:"kafka.topics" placeholder:"NAME,…" help:"Topics to read."`
	Group    *string `setting:"kafka.group" placeholder:"NAME" help:"Consumer group."`
	Redis    *string `setting:"redis.addrs" placeholder:"HOST:PORT,…" help:"Redis servers of the data."`
	Keyring  *string `setting:"keyring.nodes" placeholder:"URL,…" help:"Redis servers of the keyring."`
	KEKFile  *string `name:"kek-file" setting:"keyring.kek_file" placeholder:"FILE" help:"State of the key-encryption key."`
	Listen   *string `setting:"desk.listen" placeholder:"HOST:PORT" help:"Where the desk, or metrics and health, listen."`
	LogLevel *string `setting:"log.level" placeholder:"LEVEL" help:"debug, info, warn or error."`
}

// Load builds the configuration and validates the sections that the command
// uses; all of them where it names none.
func (f Flags) Load(sections ...string) (Config, error) {
	c, _, err := f.read(os.LookupEnv)
	if err != nil {
		return Config{}, err
	}
	if err := c.Validate(sections...); err != nil {
		return Config{}, fmt.Errorf("configuration: %w", err)
	}
	return *c, nil
}

// read builds the configuration, not validated, and the settings that point into it.
func (f Flags) read(lookup func(variable string) (string, bool)) (*Config, []*setting, error) {
	c := Default()
	all := settings(&c)
	if f.File != "" {
		if err := readFile(&c, all, f.File); err != nil {
			return nil, nil, err
		}
	}
	err := errors.Join(readEnvironment(all, lookup), readFlags(all, f))
	return &c, all, err
}
