package bench

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"mayfly/pipeline/kafkain/kafkatest"
)

// machine is what the figures hold for.
type machine struct {
	CPU   string `json:"cpu"`
	Cores int    `json:"cores"`
	OS    string `json:"os"`
	Go    string `json:"go"`
	Kafka string `json:"kafka"`
	Redis string `json:"redis"`
}

func describeMachine(t testing.TB, kafka *kafkatest.Cluster, s *servers) machine {
	t.Helper()
	m := machine{
		CPU: processor(), Cores: runtime.NumCPU(), OS: runtime.GOOS + "/" + runtime.GOARCH,
		Go: runtime.Version(), Redis: s.info(t, "redis_version"), Kafka: "embedded broker in the harness (no Apache Kafka to be had)",
	}
	if kafka.Real() {
		m.Kafka = "Apache Kafka " + jarVersion()
	}
	return m
}

func processor() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown processor"
}

// jarVersion reads the version off the name of the jar that kafkatest starts:
// kafka_2.13-4.3.1.jar.
func jarVersion() string {
	folder := filepath.Join(os.Getenv("KAFKA_HOME"), "libs")
	if os.Getenv("KAFKA_HOME") == "" {
		cache, _ := os.UserCacheDir()
		folder = filepath.Join(cache, "mayfly", "kafka-*")
	}
	jars, _ := filepath.Glob(filepath.Join(folder, "kafka_*.jar"))
	if len(jars) != 1 {
		return "of unknown version"
	}
	_, version, _ := strings.Cut(strings.TrimSuffix(filepath.Base(jars[0]), ".jar"), "-")
	return version
}
