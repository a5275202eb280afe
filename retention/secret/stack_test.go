package secret_test

import (
	"bufio"
	"os/exec"
	"path/filepath"
	"testing"

	"mayfly/retention/secret/residue"
)

// TestStacksKeepNothing looks through the memory of a process, built as Mayfly is released, whose
// goroutines have had a text on their stacks: some wait, some have ended, all have needed more
// stack on the way, and a collection came between. Without GrowStack, WipeStack and
// the release's setting a copy is left. That others leave some says that the search finds them.
func TestStacksKeepNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a program")
	}
	t.Parallel()
	program := filepath.Join(t.TempDir(), "stacks")
	build := exec.Command("../../.ci/build", program, "./retention/secret/testdata/stacks")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building: %v\n%s", err, out)
	}
	text := make([]byte, 64)
	for i := range text {
		text[i] = byte(i*i)*31 ^ 0xa7 + byte(i)
	}
	if n := leftBy(t, text, program, "bare"); n == 0 {
		t.Error("nothing is left by who erases nothing: the search is blind")
	}
	if n := leftBy(t, text, program); n > 0 {
		t.Errorf("%d copies are left on stacks", n)
	}
}

// leftBy runs a program until it says that it is done, and counts what is in its memory.
func leftBy(t *testing.T, text []byte, program string, args ...string) int {
	t.Helper()
	child := exec.Command(program, args...)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	end, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = child.Wait() }()
	defer end.Close()
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "done\n" {
		t.Fatalf("it says %q, %v", line, err)
	}
	n, err := residue.Needles{text}.Memory(child.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
