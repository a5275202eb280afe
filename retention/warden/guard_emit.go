package warden

import (
	"strconv"
	"strings"
)

// Manifest is a Kubernetes resource of the Strimzi operator, which reverts what
// is changed behind its back: there, a topic is mended by its manifest.
type Manifest struct {
	APIVersion string           `yaml:"apiVersion"`
	Kind       string           `yaml:"kind"`
	Metadata   ManifestMetadata `yaml:"metadata"`
	Spec       ManifestSpec     `yaml:"spec"`
}

// ManifestMetadata names a resource and its Kafka cluster.
type ManifestMetadata struct {
	Name   string            `yaml:"name"`
	Labels map[string]string `yaml:"labels"`
}

// ManifestSpec is a KafkaTopic's (the first four) or a KafkaUser's.
type ManifestSpec struct {
	TopicName      string            `yaml:"topicName,omitempty"`
	Partitions     int               `yaml:"partitions,omitempty"`
	Replicas       int               `yaml:"replicas,omitempty"`
	Config         map[string]string `yaml:"config,omitempty"`
	Authentication *ManifestType     `yaml:"authentication,omitempty"`
	Authorization  *ManifestACLs     `yaml:"authorization,omitempty"`
}

// ManifestType is how a user signs in.
type ManifestType struct {
	Type string `yaml:"type"`
}

// ManifestACLs are what a user may do.
type ManifestACLs struct {
	Type string        `yaml:"type"`
	ACLs []ManifestACL `yaml:"acls"`
}

// ManifestACL allows operations on one resource.
type ManifestACL struct {
	Resource   ManifestResource `yaml:"resource"`
	Operations []string         `yaml:"operations"`
}

// ManifestResource is a topic, a group or the cluster.
type ManifestResource struct {
	Type        string `yaml:"type"`
	Name        string `yaml:"name,omitempty"`
	PatternType string `yaml:"patternType,omitempty"`
}

// Emit gives the manifests under which JudgeTopic passes the topics' settings,
// and of two users: one that ingests, and the warden's, which may change nothing
// unless it enforces.
func Emit(topics []TopicFacts, e TopicExpectations, cluster string) []Manifest {
	metadata := func(name string) ManifestMetadata {
		return ManifestMetadata{Name: resourceName(name), Labels: map[string]string{"strimzi.io/cluster": cluster}}
	}
	const version = "kafka.strimzi.io/v1"
	var manifests []Manifest
	var reads, describes []ManifestACL
	for i := range topics {
		f := &topics[i]
		manifests = append(manifests, Manifest{version, "KafkaTopic", metadata(f.Name), ManifestSpec{
			TopicName: f.Name, Partitions: f.Partitions, Replicas: f.Replicas, Config: f.wanted(e),
		}})
		reads = append(reads, allow("topic", f.Name, "Describe", "Read"))
		operations := []string{"Describe", "DescribeConfigs"}
		if e.Enforce {
			operations = append(operations, "AlterConfigs", "Delete")
		}
		if e.Sealed {
			operations = append(operations, "Read")
		}
		describes = append(describes, allow("topic", f.Name, operations...))
	}
	reads = append(reads, allow("group", e.Group, "Read"))
	describes = append(describes, allow("group", "*", "Describe"),
		ManifestACL{ManifestResource{Type: "cluster"}, []string{"Describe", "DescribeConfigs"}})
	user := func(name string, acls []ManifestACL) Manifest {
		return Manifest{version, "KafkaUser", metadata(name), ManifestSpec{
			Authentication: &ManifestType{"scram-sha-512"}, Authorization: &ManifestACLs{"simple", acls},
		}}
	}
	return append(manifests, user("mayfly-ingest", reads), user("mayfly-warden", describes))
}

// wanted are the settings by which the topic forgets. A setting that the
// cluster does not have is left out: the operator would refuse it.
func (f *TopicFacts) wanted(e TopicExpectations) map[string]string {
	window := e.window(f.Name)
	config := map[string]string{
		"cleanup.policy":         "delete",
		"retention.ms":           strconv.FormatInt(window.Milliseconds(), 10),
		"segment.ms":             strconv.FormatInt(segment(window).Milliseconds(), 10),
		"message.timestamp.type": "LogAppendTime",
	}
	if f.Config["remote.storage.enable"] == "true" {
		// Kafka refuses to switch tiers off while it keeps what is in them.
		config["remote.storage.enable"], config["remote.log.delete.on.disable"] = "false", "true"
	}
	return config
}

func allow(kind, name string, operations ...string) ManifestACL {
	return ManifestACL{ManifestResource{kind, name, "literal"}, operations}
}

// resourceName makes a topic's name one that Kubernetes takes: lower-case
// letters, digits, '-' and '.', a letter or digit at both ends.
func resourceName(name string) string {
	mapped := strings.Map(func(c rune) rune {
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '.', c == '-':
			return c
		case c >= 'A' && c <= 'Z':
			return c + 'a' - 'A'
		}
		return '-'
	}, name)
	if mapped = strings.Trim(mapped, "-."); mapped == "" {
		return "topic"
	}
	return mapped
}
