package receipts

import (
	"errors"
	"fmt"
	"net/url"
	"time"

	cosign "github.com/transparency-dev/formats/note"
)

// Config is who watches a log beside the process that writes it.
type Config struct {
	Witnesses       []Witness     `yaml:"witnesses" help:"C2SP witnesses that are asked to cosign the log's checkpoints, each with name (for logs and metrics), key (its verifier key) and url (below which add-checkpoint is)"`
	Quorum          int           `yaml:"quorum" help:"how many of the witnesses must have cosigned one checkpoint for the log to count as witnessed; 0 stands for all"`
	WitnessInterval time.Duration `yaml:"witness_interval" help:"how often the witnesses are asked; after a purge they are asked at once"`
	Mirror          string        `yaml:"mirror" help:"folder, on another volume best, to which the log is copied as it grows; empty: nowhere"`
}

// Witness is one C2SP witness (https://c2sp.org/tlog-witness).
type Witness struct {
	Name string `yaml:"name"`
	Key  string `yaml:"key"`
	URL  string `yaml:"url"`
}

// DefaultConfig has no witness: whom to ask is for the operator to say.
func DefaultConfig() Config { return Config{WitnessInterval: time.Minute} }

// Needed is how many cosignatures make a log witnessed.
func (c *Config) Needed() int {
	if c.Quorum == 0 {
		return len(c.Witnesses)
	}
	return c.Quorum
}

// Validate names the setting that is wrong.
func (c Config) Validate() error {
	names, keys := map[string]bool{}, map[string]bool{}
	for i, w := range c.Witnesses {
		at := fmt.Sprintf("receipts.witnesses[%d]", i)
		v, err := cosign.NewVerifierForCosignatureV1(w.Key)
		switch u, urlErr := url.Parse(w.URL); {
		case w.Name == "" || names[w.Name]:
			return fmt.Errorf("%s.name: each witness needs a name of its own", at)
		case err != nil:
			return fmt.Errorf("%s.key: not a verifier key (name+hash+base64)", at)
		case keys[v.Name()]:
			return fmt.Errorf("%s.key: this witness is there already: one witness has one voice", at)
		case urlErr != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
			return fmt.Errorf("%s.url: must be http or https, as https://witness.example/path", at)
		}
		names[w.Name], keys[v.Name()] = true, true
	}
	switch {
	case c.Quorum < 0 || c.Quorum > len(c.Witnesses):
		return fmt.Errorf("receipts.quorum: must be between 0 and the number of receipts.witnesses, %d", len(c.Witnesses))
	case c.WitnessInterval < time.Second || c.WitnessInterval > 24*time.Hour:
		return errors.New("receipts.witness_interval: must be between 1s and 24h")
	}
	return nil
}
