package process

import "testing"

func TestBinaryDigest(t *testing.T) {
	t.Parallel()
	if got := binaryDigest(); len(got) != 64 {
		t.Errorf("the program's digest is %q", got)
	}
}
