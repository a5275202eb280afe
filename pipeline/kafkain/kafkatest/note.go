package kafkatest

import (
	"fmt"
	"os"
	"sync"
	"testing"
)

// noted holds what the file of notes has been told by this process.
var noted sync.Map

// note says that a test ran without the real Kafka, and why: in the test's
// log and in the file that MAYFLY_TEST_NOTES names. Where CI is "true" a
// missing Kafka fails the test.
func note(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("Apache Kafka is needed here: %s", why)
	}
	t.Logf("runs on the embedded broker, not on Apache Kafka: %s", why)
	path := os.Getenv("MAYFLY_TEST_NOTES")
	if _, again := noted.LoadOrStore(t.Name()+why, true); again || path == "" {
		return
	}
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatalf("opening the file of test notes: %v", err)
	}
	defer file.Close()
	// One write per line: several test processes append to this file.
	if _, err := fmt.Fprintf(file, "%s: not run on Apache Kafka (embedded broker instead): %s\n", t.Name(), why); err != nil {
		t.Fatalf("writing the test note: %v", err)
	}
}
