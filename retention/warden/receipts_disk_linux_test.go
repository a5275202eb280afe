package warden_test

import (
	"errors"
	"path/filepath"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"mayfly/retention/receipts/receiptstest"
)

// A full disk under the log, from one purge to the next: epochs end on time all the
// same, and once there is room the log says so of each.
func TestPurgesGoOnWithAFullDisk(t *testing.T) {
	t.Parallel()
	disk := receiptstest.SmallDisk(t, "8m")
	dir := filepath.Join(disk.Dir, "receipts")
	synctest.Test(t, func(t *testing.T) {
		p, log := written(t, dir)
		time.Sleep(policy.Window + time.Second)
		disk.Fill(t)
		time.Sleep(policy.Window)
		synctest.Wait()
		if due, _ := p.holding(); due != 0 || p.overdue(t) != 0 {
			t.Errorf("without room for receipts %d due epochs have keys, %v are overdue", due, p.overdue(t))
		}
		if err := p.Ready(); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("a warden without receipts: %v", err)
		}
		disk.Free(t)
		time.Sleep(policy.Window)
		synctest.Wait()
		if err := p.Ready(); err != nil {
			t.Errorf("with room again: %v", err)
		}
		p.stop()
		if err := audited(t, dir, log).Err(); err != nil {
			t.Errorf("purges that were written down late: %v", err)
		}
	})
}
