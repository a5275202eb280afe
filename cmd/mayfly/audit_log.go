package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"mayfly/retention/receipts"
)

// openReceipts opens this process's own log. A desk's is in desk.receipts_dir; a
// process that is a warden alone has it in a folder below, because each process
// signs for itself and both may run with one configuration on one host.
func (p *process) openReceipts(r roles) (err error) {
	dir := p.config.Desk.ReceiptsDir
	if !r.desk {
		dir = filepath.Join(dir, "warden")
	}
	if p.receipts, err = receipts.Open(dir); err != nil {
		return fmt.Errorf("desk.receipts_dir: %w", err)
	}
	return p.registry.Register(p.receipts)
}

// purgeFacts are what the receipts of purges say of this process. The level is the
// guard's at that moment.
func (p *process) purgeFacts() (func() receipts.Facts, error) {
	facts := receipts.Facts{Method: receipts.MethodSealed, Binary: binaryDigest()}
	var err error
	if facts.Config, err = configDigest(p.config); err != nil {
		return nil, err
	}
	return func() receipts.Facts {
		facts := facts
		facts.Assurance = "unattested"
		if p.guard != nil {
			facts.Assurance = strconv.Itoa(p.guard.Assurance().Level)
		}
		return facts
	}, nil
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

// configDigest is the SHA-256 of the configuration as mayfly config prints it, with
// no password in it: a digest of one could be tried out.
func configDigest(c Config) (string, error) {
	root, err := document(settings(&c), false)
	if err != nil {
		return "", err
	}
	var text bytes.Buffer
	if err := printYAML(&text, root); err != nil {
		return "", err
	}
	sum := sha256.Sum256(text.Bytes())
	return hex.EncodeToString(sum[:]), nil
}
