package kafkain

import (
	"errors"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

var errUnknownMechanism = errors.New("kafka.sasl.mechanism: must be plain, scram-sha-256 or scram-sha-512")

// Config says which topics to read and as whom.
type Config struct {
	Brokers []string `yaml:"brokers" help:"Kafka brokers, host:port"`
	Topics  []string `yaml:"topics" help:"topics to read"`
	Group   string   `yaml:"group" help:"consumer group"`
	// Sealed refuses plain events: a topic that only edges write to holds no address.
	Sealed bool `yaml:"sealed" help:"refuse messages that were not sealed at the edge (mayfly relay), and count them: the topics are to hold no address"`
	// Guard says whether the warden may change the topics, and Exclusive that nobody else reads them.
	Guard     string `yaml:"guard" help:"observe: the warden only looks; emit: it looks, and mayfly doctor --emit prints manifests for an operator to apply; enforce: it sets what the topics need to forget in time and deletes their records; it needs exclusive"`
	Exclusive bool   `yaml:"exclusive" help:"nobody but Mayfly reads the topics: records may be deleted a minute after they were stored"`
	// Uncommitted also reads records of open and aborted transactions.
	Uncommitted bool `yaml:"uncommitted" help:"also read records of open and aborted transactions"`
	// FetchBytes bounds one partition's share of a fetch; a single larger record batch still arrives.
	FetchBytes int `yaml:"fetch_bytes" help:"most bytes per partition and fetch; of more than 32 partitions each gets a share of 32 MB"`
	// FetchWait is how long the broker may wait for half of FetchBytes, where nothing older is left to read.
	FetchWait time.Duration `yaml:"fetch_wait" help:"longest wait of the broker until new records fill half a fetch: longer costs less, and finds events later"`
	TLS       TLSConfig     `yaml:"tls"`
	SASL      SASLConfig    `yaml:"sasl"`
}

// TLSConfig is off until Enabled.
type TLSConfig struct {
	Enabled  bool   `yaml:"enabled" help:"connect with TLS"`
	CAFile   string `yaml:"ca_file" help:"PEM file of trusted authorities; empty: the system's"`
	CertFile string `yaml:"cert_file" help:"PEM file of the client certificate"`
	KeyFile  string `yaml:"key_file" help:"PEM file of the client key"`
}

// SASLConfig is off until Mechanism is set.
type SASLConfig struct {
	Mechanism    string `yaml:"mechanism" help:"plain, scram-sha-256 or scram-sha-512; empty: none"`
	Username     string `yaml:"username" help:"SASL user"`
	PasswordFile string `yaml:"password_file" help:"file that holds the SASL password"`
}

// DefaultConfig reads the topic "connections" on this machine's broker.
func DefaultConfig() Config {
	return Config{
		Brokers:    []string{"localhost:9092"},
		Topics:     []string{"connections"},
		Group:      "mayfly",
		Guard:      "observe",
		FetchBytes: 1 << 20,
		FetchWait:  500 * time.Millisecond,
	}
}

// Validate names the setting that is wrong.
func (c Config) Validate() error {
	switch {
	case len(c.Brokers) == 0:
		return errors.New("kafka.brokers: name at least one broker, host:port")
	case slices.ContainsFunc(c.Brokers, func(b string) bool { return !isHostPort(b) }):
		return errors.New("kafka.brokers: each is one broker, host:port")
	case len(c.Topics) == 0:
		return errors.New("kafka.topics: name at least one topic")
	case c.Group == "":
		return errors.New("kafka.group: a consumer group is needed")
	case c.FetchBytes < 1<<10 || c.FetchBytes > 1<<28:
		return errors.New("kafka.fetch_bytes: must be between 1 KiB and 256 MiB")
	case c.FetchWait < time.Millisecond || c.FetchWait > 10*time.Second:
		return errors.New("kafka.fetch_wait: must be between 1ms and 10s")
	case !slices.Contains([]string{"observe", "emit", "enforce"}, c.Guard):
		return errors.New("kafka.guard: must be observe, emit or enforce")
	case !namesTopics(c.Topics):
		return errors.New("kafka.topics: a topic has 1 to 249 of A-Z, a-z, 0-9, '.', '_' and '-', and is more than one or two dots")
	case hasTwice(c.Topics):
		return errors.New("kafka.topics: names a topic twice")
	case (c.TLS.CertFile == "") != (c.TLS.KeyFile == ""):
		return errors.New("kafka.tls: cert_file and key_file go together")
	case c.SASL.Mechanism != "" && (c.SASL.Username == "" || c.SASL.PasswordFile == ""):
		return errors.New("kafka.sasl: username and password_file are needed")
	case !slices.Contains([]string{"", "plain", "scram-sha-256", "scram-sha-512"}, c.SASL.Mechanism):
		return errUnknownMechanism
	}
	return nil
}

func isHostPort(broker string) bool {
	host, port, err := net.SplitHostPort(broker)
	_, bad := strconv.ParseUint(port, 10, 16)
	return err == nil && bad == nil && host != "" && !strings.ContainsAny(host, " ,/")
}

var topicShape = regexp.MustCompile(`^[A-Za-z0-9._-]{1,249}$`)

// namesTopics reports whether all are names that Kafka gives topics.
func namesTopics(topics []string) bool {
	return !slices.ContainsFunc(topics, func(t string) bool { return t == "." || t == ".." || !topicShape.MatchString(t) })
}

func hasTwice(topics []string) bool {
	sorted := slices.Sorted(slices.Values(topics))
	return len(slices.Compact(sorted)) != len(topics)
}
