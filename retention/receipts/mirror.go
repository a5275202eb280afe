package receipts

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	formats "github.com/transparency-dev/formats/log"
	"go.uber.org/zap"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"mayfly/retention/receipts/tiles"
)

// Mirror keeps a copy of what other eyes may see of a log, in a folder that should
// be on another volume. An auditor can check it as it lies there, at any moment: a
// checkpoint comes after all that it covers. What fails costs a warning and a
// metric; nothing waits for it. A copy that the log does not continue is left as it
// is: it is evidence.
type Mirror struct {
	log    *Log
	dir    string
	logger *zap.Logger
	behind prometheus.Gauge
	failed bool
}

// NewMirror makes nothing yet. Without a registerer the metric is kept unseen.
func NewMirror(log *Log, dir string, logger *zap.Logger, r prometheus.Registerer) (*Mirror, error) {
	m := &Mirror{log: log, dir: dir, logger: logger, behind: prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "mayfly_receipts_mirror_behind_entries", Help: "Entries of this process's receipt log that its mirror lacks; -1: it can't be told.",
	})}
	if r == nil {
		return m, nil
	}
	return m, r.Register(m.behind)
}

// mirrorEvery is how often a mirror catches up at most, and at least tries to.
const (
	mirrorGap   = time.Second
	mirrorEvery = 30 * time.Second
)

// Run copies until ctx ends.
func (m *Mirror) Run(ctx context.Context) error {
	grown := m.log.Watch()
	for {
		m.note(m.Copy())
		gap, rest := time.NewTimer(mirrorGap), time.NewTimer(mirrorEvery)
		select {
		case <-ctx.Done():
			return nil
		case <-gap.C:
		}
		select {
		case <-ctx.Done():
			return nil
		case <-rest.C:
		case <-grown:
		}
	}
}

func (m *Mirror) note(err error) {
	switch {
	case err != nil && !m.failed:
		m.logger.Warn("the receipt log's mirror does not follow; trying again", zap.Error(err))
	case err == nil && m.failed:
		m.logger.Info("the receipt log's mirror follows again")
	}
	m.failed = err != nil
}

var errMirror = errors.New("receipts.mirror: what is there is not the beginning of this log: keep it, compare the two, and name another folder")

// Copy brings the mirror to the log's present head.
func (m *Mirror) Copy() error {
	m.behind.Set(-1)
	head := m.log.Head()
	have, root, err := m.head(tiles.Checkpoint)
	if err != nil {
		return err
	}
	m.behind.Set(float64(head.Size - have))
	if have > head.Size || have == head.Size && have > 0 && root != head.Root {
		return errMirror
	}
	if have > 0 && have < head.Size {
		proof, err := m.log.Prove(have, head)
		if err != nil {
			return err
		}
		if tlog.CheckTree(proof, head.Size, head.Root, have, root) != nil {
			return errMirror
		}
	}
	if err := m.copyTiles(have, head.Size); err != nil {
		return err
	}
	if err := m.put(tiles.Checkpoint, head.Text); err != nil {
		return err
	}
	m.behind.Set(0)
	return m.copyWitnessed(head.Size)
}

// head reads a checkpoint of the mirror; none is the empty one.
func (m *Mirror) head(name string) (size int64, root tlog.Hash, err error) {
	text, err := os.ReadFile(filepath.Join(m.dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, tlog.Hash{}, nil
	}
	if err != nil {
		return 0, tlog.Hash{}, fmt.Errorf("receipts.mirror: %w", err)
	}
	return m.log.parse(text)
}

func (l *Log) parse(text []byte) (size int64, root tlog.Hash, err error) {
	verifier, err := note.NewVerifier(l.identity.Verifier)
	if err != nil {
		return 0, tlog.Hash{}, fmt.Errorf("reading the receipts' verifier key: %w", err)
	}
	head, _, _, err := formats.ParseCheckpoint(text, l.identity.Signer.Name(), verifier)
	if err != nil || len(head.Hash) != tlog.HashSize {
		return 0, tlog.Hash{}, errMirror
	}
	return int64(head.Size), tlog.Hash(head.Hash), nil
}

func (m *Mirror) copyTiles(have, size int64) error {
	from := tiles.Folder(m.log.folder())
	for _, tile := range tlog.NewTiles(tiles.Height, have, size) {
		data, err := from.ReadTiles([]tlog.Tile{tile})
		if err != nil {
			return err
		}
		if err := m.put(tiles.Path(tile), data[0]); err != nil {
			return err
		}
	}
	if have == size {
		return nil
	}
	for n := have / tiles.Width; n*tiles.Width < size; n++ {
		width := int(min(size-n*tiles.Width, tiles.Width))
		bundle, err := from.Read(tiles.EntriesPath(n, width), tiles.EntriesPath(n, tiles.Width))
		if err != nil {
			return err
		}
		if bundle, err = tiles.FirstEntries(bundle, width); err != nil {
			return err
		}
		if err := m.put(tiles.EntriesPath(n, width), bundle); err != nil {
			return err
		}
	}
	return nil
}

// copyWitnessed copies what witnesses have cosigned, if the mirror has all of it.
func (m *Mirror) copyWitnessed(size int64) error {
	text, err := os.ReadFile(filepath.Join(m.log.folder(), tiles.Witnessed))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the receipt log: %w", err)
	}
	if covered, _, err := m.log.parse(text); err != nil || covered > size {
		return err
	}
	return m.put(tiles.Witnessed, text)
}

// put writes a file of the mirror so that it, and its name, survive a power cut.
func (m *Mirror) put(name string, data []byte) error {
	dir := filepath.Join(m.dir, filepath.FromSlash(path.Dir(name)))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("receipts.mirror: %w", err)
	}
	if err := writeDurably(dir, path.Base(name), data); err != nil {
		return fmt.Errorf("receipts.mirror: %w", err)
	}
	return nil
}
