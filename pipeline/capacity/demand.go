package capacity

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"mayfly/retention"
)

// Demand is what a service asks for.
type Demand struct {
	Rate     float64       `help:"Events a second, the mean of a day." default:"174000"`
	Peak     float64       `help:"The busiest seconds, as a multiple of the mean; processes are sized for it." default:"1.6"`
	Window   time.Duration `help:"How long an address may be known." default:"24h"`
	Epoch    time.Duration `help:"Length of an epoch. Default: a 96th of the window."`
	IDs      string        `name:"ids" help:"What account ids look like: short8 (8 characters) or uuid." default:"short8"`
	Sessions bool          `help:"Events have a session id." default:"true" negatable:""`
	Cold     bool          `help:"Epochs that are over are compacted." default:"true" negatable:""`
	Replicas int           `help:"Replicas of each data node." default:"1"`

	Partitions   int           `help:"Partitions of the topic. Default: as many as the rate needs."`
	KafkaCopies  int           `help:"Replication factor of the topic." default:"3"`
	NodeGB       float64       `name:"node-gb" help:"Memory of a data node, in 10^9 bytes." default:"64"`
	KeyringNodes int           `help:"Keyring nodes." default:"3"`
	Lookups      float64       `help:"Look-ups a second, of one address over the whole window." default:"5"`
	Linger       time.Duration `help:"As ingest.linger." default:"1s"`
}

// Validate names the flag that is wrong.
func (d *Demand) Validate() error {
	if d.Epoch == 0 {
		p := retention.Policy{Window: d.Window}
		d.Epoch = p.EpochLength()
	}
	switch {
	case !(d.Rate >= 1 && d.Rate <= 1e8):
		return errors.New("--rate: must be between 1 and 100,000,000 events a second")
	case !(d.Peak >= 1 && d.Peak <= 100):
		return errors.New("--peak: must be between 1 and 100")
	case d.Window < retention.MinEpoch || d.Window > retention.MaxWindow || d.Window%retention.MinEpoch != 0:
		return fmt.Errorf("--window: must be whole seconds, at most %v", retention.MaxWindow)
	case d.Epoch < retention.MinEpoch || d.Epoch > d.Window || d.Epoch%retention.MinEpoch != 0:
		return errors.New("--epoch: must be whole seconds, at most the window")
	case d.Window/d.Epoch > retention.MaxEpochs:
		return fmt.Errorf("--epoch: a window has at most %d epochs: make it longer", retention.MaxEpochs)
	case d.Replicas < 0 || d.Replicas > 5:
		return errors.New("--replicas: must be between 0 and 5")
	case d.Partitions < 0 || d.Partitions > 100_000:
		return errors.New("--partitions: must be between 0 and 100,000")
	case d.KafkaCopies < 1 || d.KafkaCopies > 7:
		return errors.New("--kafka-copies: must be between 1 and 7")
	case !(d.NodeGB >= 0.1 && d.NodeGB <= 24_000):
		return errors.New("--node-gb: must be between 0.1 and 24,000")
	case d.KeyringNodes < 2 || d.KeyringNodes > 9:
		return errors.New("--keyring-nodes: must be between 2 and 9")
	case !(d.Lookups >= 0 && d.Lookups <= 1e6):
		return errors.New("--lookups: must be between 0 and 1,000,000 a second")
	case d.Linger < time.Millisecond || d.Linger > time.Minute:
		return errors.New("--linger: must be between 1ms and 1m")
	}
	return nil
}

// knows reports whether the ids that a demand has were measured.
func (m *Measured) knows(d Demand) error {
	var ids []string
	for _, t := range m.Curve.Tiers {
		if !slices.Contains(ids, t.IDs) {
			ids = append(ids, t.IDs)
		}
	}
	if !slices.Contains(ids, d.IDs) {
		return fmt.Errorf("--ids: must be one of %s, which were measured", strings.Join(ids, ", "))
	}
	return nil
}

// stored is how many events a second a window's memory has to be counted with: a
// window of a day has seen quiet hours too, a shorter one may have seen none.
func (d Demand) stored() float64 {
	if d.Window >= 24*time.Hour {
		return d.Rate
	}
	return d.Rate * d.Peak
}

// epochs that live at a time: those of the window, and the one that is being written.
func (d Demand) epochs() float64 { return d.Window.Seconds()/d.Epoch.Seconds() + 1 }
