package process

import (
	"os"
	"runtime/debug"

	"mayfly/abuse"
	"mayfly/abuse/lookup"
	"mayfly/pipeline"
	"mayfly/pipeline/kafkain"
	"mayfly/retention"
	"mayfly/retention/compactor"
	"mayfly/retention/store"
	"mayfly/retention/warden"
)

// Roles are what one process does.
type Roles struct{ Ingest, Compact, Warden, Desk bool }

// Sections are the parts of the configuration that roles use.
func (r Roles) Sections() []string {
	sections := []string{"redis", "keyring", "policies", "log", "desk", "canary"}
	if r.Ingest {
		sections = append(sections, "kafka", "fields", "ingest")
	}
	if r.Compact {
		sections = append(sections, "compact")
	}
	if r.Warden {
		sections = append(sections, "warden")
	}
	if r.Warden || r.Desk {
		sections = append(sections, "receipts")
	}
	return sections
}

// All is every role in one process.
var All = Roles{Ingest: true, Compact: true, Warden: true, Desk: true}

func (p *Process) newIngest() (err error) {
	p.ingest, err = pipeline.New(p.Config.Ingest, pipeline.Dependencies{
		Policies: p.Config.Policies, Fields: p.Config.Fields, SealedOnly: p.Config.Kafka.Sealed,
		Writer: store.NewWriter(p.Keyring, p.store), Store: p.store,
		Log: p.log, Registerer: p.Registry,
	})
	if err != nil {
		return err
	}
	p.consumer, err = kafkain.New(p.Config.Kafka, kafkain.Dependencies{Log: p.log, Registerer: p.Registry})
	return err
}

// compactMemory is the soft limit of a process that only compacts, where GOMEMLIMIT
// does not say otherwise.
const compactMemory = 240 << 20

func (p *Process) newCompactor(r Roles) (err error) {
	if r == (Roles{Compact: true}) && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(compactMemory)
	}
	p.compact, err = compactor.New(p.Config.Compact, compactor.Dependencies{
		Policies: p.Config.Policies, Units: store.NewCompactor(p.reader), Log: p.log, Registerer: p.Registry,
	})
	return err
}

func (p *Process) newWarden() error {
	facts, err := p.purgeFacts()
	if err != nil {
		return err
	}
	p.Warden, err = warden.New(p.Config.Warden, warden.Dependencies{
		Policies: p.Config.Policies, Keyring: p.Keyring, KEK: p.KEK, Store: p.store,
		Tally:    p.tally,
		Forget:   func(epoch retention.Epoch) { p.opener.Forget(epoch) },
		Receipts: p.receipts, Facts: facts,
		Log: p.log, Registerer: p.Registry,
	})
	return err
}

func (p *Process) newGuard() (err error) {
	if p.examiner, err = NewExaminer(p.Config); err != nil {
		return err
	}
	p.examiner.enforce(p.log)
	p.sweeper, err = warden.NewSweeper(p.Config.Warden, warden.SweepDependencies{
		Warden: p.Warden, Data: p.redis, Nodes: p.nodes, Log: p.log, Registerer: p.Registry,
	})
	if err != nil {
		return err
	}
	p.Guard, err = warden.NewGuard(warden.GuardDependencies{
		Sources: append(append(p.examiner.sources(), p.sweeper.Source()), p.canarySource()...), Witnessed: p.witnesses.Witnessed,
		Log: p.log, Registerer: p.Registry,
	})
	return err
}

// What a process that only answers look-ups collects, where GOGC and GOMEMLIMIT do not say
// otherwise: when its heap has grown to five times what lives, as long as it is small. What
// lives is little and a look-up leaves 7 to 12 MB behind, so that it would collect once or twice for each,
// for 20 to 30 % of their CPU. What was found is erased no later: see secret.Scrub.
const (
	deskGarbage = 400 // percent
	deskMemory  = 512 << 20
)

func (p *Process) newDesk(r Roles) error {
	if r == (Roles{Desk: true}) && os.Getenv("GOGC") == "" && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetGCPercent(deskGarbage)
		debug.SetMemoryLimit(deskMemory)
	}
	lookups, err := lookup.New(lookup.Config{Policies: p.Config.Policies},
		lookup.Dependencies{Log: p.reader, Receipts: p.receipts, IsCanary: p.isCanary()})
	if err != nil {
		return err
	}
	p.desk, err = abuse.New(p.Config.Desk, abuse.Dependencies{
		Lookups: lookups, Retention: p.retention(), Ready: p.Ready, ReceiptLog: p.receipts.Handler(),
		Commitments: p.receipts, Probe: p.probe(),
		Gatherer: p.Registry, Registerer: p.Registry, Log: p.log,
	})
	return err
}

func (p *Process) newObserver() error {
	p.observer = &observer{listen: p.Config.Desk.Listen, gatherer: p.Registry, ready: p.Ready, probe: p.probe(), log: p.log}
	return nil
}
