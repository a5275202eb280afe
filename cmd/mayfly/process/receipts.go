package process

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"mayfly/retention"
	"mayfly/retention/receipts"
	"mayfly/retention/receipts/witness"
	"mayfly/retention/tally"
)

// openReceipts opens this process's own log. A desk's is in desk.receipts_dir; a
// process that is a warden alone has it in a folder below, because each process
// signs for itself and both may run with one configuration on one host.
func (p *Process) openReceipts(r Roles) (err error) {
	dir := p.Config.Desk.ReceiptsDir
	if !r.Desk {
		dir = filepath.Join(dir, "warden")
	}
	if p.receipts, err = receipts.Open(dir); err != nil {
		return fmt.Errorf("desk.receipts_dir: %w", err)
	}
	return p.Registry.Register(p.receipts)
}

// newMirror has the log copied, where that is wanted: below the folder as the log
// itself is.
func (p *Process) newMirror(r Roles) (err error) {
	dir := p.Config.Receipts.Mirror
	if dir == "" {
		return nil
	}
	if !r.Desk {
		dir = filepath.Join(dir, "warden")
	}
	p.mirror, err = receipts.NewMirror(p.receipts, dir, p.log, p.Registry)
	return err
}

// newWitnesses has the log cosigned.
func (p *Process) newWitnesses() (err error) {
	p.witnesses, err = witness.New(p.Config.Receipts, witness.Dependencies{Log: p.receipts, Logger: p.log, Registerer: p.Registry})
	return err
}

// purgeFacts are what the receipts of purges say of this process. The level is the
// guard's at that moment.
func (p *Process) purgeFacts() (func() receipts.Facts, error) {
	facts := receipts.Facts{Method: receipts.MethodSealed, Binary: binaryDigest()}
	var err error
	if facts.Config, err = p.Config.Digest(); err != nil {
		return nil, err
	}
	return func() receipts.Facts {
		facts := facts
		facts.Assurance = "unattested"
		if p.Guard != nil {
			facts.Assurance = strconv.Itoa(p.Guard.Assurance().Level)
		}
		return facts
	}, nil
}

// tally is what a living epoch has, for the receipt of its purge. A topic that is not
// configured here keeps its UUID and loses its name: entries are permanent, and a name
// is what another process has said.
func (p *Process) tally(ctx context.Context, epoch retention.Epoch) (tally.Sum, error) {
	sum, err := p.reader.Tally(ctx, epoch)
	for i := range sum.Topics {
		if !slices.Contains(p.Config.Kafka.Topics, sum.Topics[i].Name) {
			sum.Topics[i].Name = ""
		}
	}
	return sum, err
}

// binaryDigest is the SHA-256 of this program's file; empty where it can't be read.
func binaryDigest() string {
	path, err := os.Executable()
	if err != nil {
		return ""
	}
	file, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer file.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, file); err != nil {
		return ""
	}
	return hex.EncodeToString(sum.Sum(nil))
}
