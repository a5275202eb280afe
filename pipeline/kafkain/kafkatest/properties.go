package kafkatest

import (
	"bytes"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
)

// Option changes the configuration of a real broker.
type Option func(properties map[string]string)

// QuickPurge makes retention act within seconds: segments are judged each
// second from the start on, deleted files unlinked a second later (Kafka's
// defaults: each 5 min, first after 30 s, and 60 s).
func QuickPurge() Option {
	return func(properties map[string]string) {
		properties["log.retention.check.interval.ms"] = "1000"
		properties["log.segment.delete.delay.ms"] = "1000"
		properties["log.initial.task.delay.ms"] = "1000"
	}
}

// With sets one broker property.
func With(name, value string) Option {
	return func(properties map[string]string) { properties[name] = value }
}

// serverProperties are the settings of one node that is broker and controller
// at once. What differs from Kafka's defaults is what one node needs and what
// makes tests short; automatic creation of topics stays on, as in many clusters.
func serverProperties(s *jvm, options []Option) []byte {
	properties := map[string]string{
		"process.roles":                                    "broker,controller",
		"node.id":                                          "1",
		"controller.quorum.voters":                         "1@" + s.controller,
		"listeners":                                        "PLAINTEXT://" + s.broker + ",CONTROLLER://" + s.controller,
		"advertised.listeners":                             "PLAINTEXT://" + s.broker,
		"controller.listener.names":                        "CONTROLLER",
		"log.dirs":                                         filepath.Join(s.folder, "data"),
		"num.partitions":                                   "1",
		"default.replication.factor":                       "1",
		"offsets.topic.num.partitions":                     "1",
		"offsets.topic.replication.factor":                 "1",
		"transaction.state.log.num.partitions":             "1",
		"transaction.state.log.replication.factor":         "1",
		"transaction.state.log.min.isr":                    "1",
		"share.coordinator.state.topic.num.partitions":     "1",
		"share.coordinator.state.topic.replication.factor": "1",
		"share.coordinator.state.topic.min.isr":            "1",
		"group.initial.rebalance.delay.ms":                 "0",
		"group.min.session.timeout.ms":                     "1000",
	}
	for _, option := range options {
		option(properties)
	}
	var file bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(properties)) {
		fmt.Fprintf(&file, "%s=%s\n", name, properties[name])
	}
	return file.Bytes()
}
