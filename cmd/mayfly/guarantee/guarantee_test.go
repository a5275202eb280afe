package guarantee

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"mayfly/pipeline/kafkain/kafkatest"
)

// TestMain builds mayfly as it is released. Most of a case is waiting for deadlines, so
// far more of them run at once than there are cores.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "64"); err != nil {
		panic(err)
	}
	folder, err := build()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(folder)
	os.Exit(code)
}

// mayfly is the path of the binary under test.
var mayfly string

const root = "../../.."

func build() (folder string, err error) {
	if folder, err = os.MkdirTemp("", "mayfly-guarantee-"); err != nil {
		return "", err
	}
	mayfly = filepath.Join(folder, "mayfly")
	command := exec.Command(".ci/build", mayfly)
	command.Dir = root
	if out, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building mayfly: %w\n%s", err, out)
	}
	return folder, nil
}

// lookAtSources lets the cache of test results know what the binary is made of: go
// test remembers which files of the module a test looks at.
func lookAtSources() error {
	return filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() && entry.Name() == ".git" {
			return fs.SkipDir
		}
		if err == nil && !entry.IsDir() {
			_, err = os.Stat(path)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
}

// guaranteed is one case. Those with a window share one system, in which each has a
// policy, a topic and an ingest of its own; the others break what they use and have a
// system each.
type guaranteed struct {
	name   string
	window time.Duration
	test   func(t *testing.T, l *lab)
}

// TestGuarantee runs the cases on one Kafka, whose segments go within seconds.
func TestGuarantee(t *testing.T) {
	t.Parallel()
	if err := lookAtSources(); err != nil { // a look before the tests run is not remembered
		t.Fatal(err)
	}
	l := newLab(t, kafkatest.StartOwn(t, kafkatest.QuickPurge()))
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.test(t, l)
		})
	}
}
