package receipts

import (
	"errors"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"mayfly/retention/receipts/receiptstest"
)

// While the disk is full nothing is acknowledged; the log can still be opened, for
// the sake of the purges, and once there is room it recovers without being asked
// to write.
func TestAFullDisk(t *testing.T) {
	t.Parallel()
	disk := receiptstest.SmallDisk(t, "256k")
	dir := filepath.Join(disk.Dir, "receipts")
	l := open(t, dir)
	acknowledged := fill(t, l, 20)
	disk.Fill(t)
	for refused := 0; refused < 3; { // what has been allocated takes some more
		id, err := l.Append(t.Context(), sample())
		switch {
		case err == nil:
			acknowledged = append(acknowledged, id)
		case !errors.Is(err, syscall.ENOSPC):
			t.Fatal(err)
		default:
			refused++
		}
	}
	if err := l.Ready(); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("with a full disk it is ready: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(t, dir)
	if _, err := l.Append(t.Context(), sample()); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("an append to a full disk gave %v", err)
	}
	disk.Free(t)
	if err := l.Ready(); err != nil {
		t.Errorf("with room again: %v", err)
	}
	acknowledged = append(acknowledged, appendOne(t, l))
	var found []string
	for _, e := range read(t, dir) {
		found = append(found, e.ID)
	}
	// An entry whose write was refused half way is not in it.
	if strings.Join(found, " ") != strings.Join(acknowledged, " ") {
		t.Errorf("the log holds %d entries, %d were acknowledged", len(found), len(acknowledged))
	}
}
