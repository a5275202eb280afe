package secret_test

import (
	"fmt"
	"os"
	"os/exec"
	"testing"

	"mayfly/retention/secret"
)

// Harden changes the whole process, so it is done in one of its own.
func TestHarden(t *testing.T) {
	t.Parallel()
	if os.Getenv("MAYFLY_TEST_HARDEN") != "" {
		fmt.Fprintln(os.Stderr, secret.Hardened(), secret.Harden(), secret.Hardened())
		os.Exit(0)
	}
	child := exec.Command(os.Args[0], "-test.run", "^TestHarden$")
	child.Env = append(os.Environ(), "MAYFLY_TEST_HARDEN=1")
	out, err := child.CombinedOutput()
	if want := "false <nil> true\n"; err != nil || string(out) != want {
		t.Errorf("%q, %v; want %q", out, err, want)
	}
}

func TestDoRunsAndPanicsThrough(t *testing.T) {
	t.Parallel()
	ran := false
	func() {
		defer func() { _ = recover() }()
		secret.Do(func() {
			ran = true
			panic("out")
		})
		t.Error("the panic was swallowed")
	}()
	if !ran {
		t.Error("it was not run")
	}
	secret.Collect()
	secret.Collect()
}
