package kafkatest

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

const kafkaVersion = "4.3.1"

//go:embed pom.xml
var pom []byte

// findJars gives the folder of Kafka's jars: KAFKA_HOME/libs, else the cache
// folder, which Maven fills at the first use (about 44 MB).
func findJars() (string, error) {
	if home := os.Getenv("KAFKA_HOME"); home != "" {
		libs := filepath.Join(home, "libs")
		if !holdsJars(libs) {
			return "", errors.New("KAFKA_HOME/libs holds no jars")
		}
		return libs, nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("finding the cache folder: %w", err)
	}
	parent := filepath.Join(cache, "mayfly")
	libs := filepath.Join(parent, "kafka-"+kafkaVersion)
	if holdsJars(libs) {
		return libs, nil
	}
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return "", fmt.Errorf("making the cache folder: %w", err)
	}
	unlock, err := lockFile(filepath.Join(parent, "kafka.lock"))
	if err != nil {
		return "", fmt.Errorf("locking the cache folder: %w", err)
	}
	defer unlock()
	if holdsJars(libs) { // another process was first
		return libs, nil
	}
	return libs, fillCache(parent, libs)
}

func holdsJars(folder string) bool {
	jars, _ := filepath.Glob(filepath.Join(folder, "kafka_*.jar"))
	return len(jars) > 0
}

// fillCache lets Maven copy the jars beside libs and renames the folder when
// it is whole, so that a cut-off download is never taken for Kafka.
func fillCache(parent, libs string) error {
	maven, err := exec.LookPath("mvn")
	if err != nil {
		return errors.New("neither KAFKA_HOME nor Maven (mvn) is there to get Kafka's jars from")
	}
	work, err := os.MkdirTemp(parent, "filling-")
	if err != nil {
		return fmt.Errorf("making a folder for the jars: %w", err)
	}
	defer os.RemoveAll(work)
	if err := os.WriteFile(filepath.Join(work, "pom.xml"), pom, 0o644); err != nil {
		return fmt.Errorf("writing pom.xml: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, maven, "--batch-mode", "--quiet", "dependency:copy-dependencies",
		"-DincludeScope=runtime", "-DoutputDirectory=libs")
	command.Dir = work
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("getting Kafka's jars with Maven: %w: %s", err, lastLine(output))
	}
	if !holdsJars(filepath.Join(work, "libs")) {
		return errors.New("getting Kafka's jars with Maven: it brought none")
	}
	if err := os.Rename(filepath.Join(work, "libs"), libs); err != nil {
		return fmt.Errorf("moving the jars to the cache: %w", err)
	}
	return nil
}
