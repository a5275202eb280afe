package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"mayfly/retention/receipts"
	"mayfly/retention/receipts/audit"
	"mayfly/retention/receipts/tiles"
)

// auditor is an outsider who took the log's key home at the beginning, and since
// then has kept every signed checkpoint that the desk gave out.
type auditor struct {
	url  string
	key  string
	kept [][]byte
}

var errNoCheckpoint = errors.New("the auditor never got a checkpoint, so the check proves nothing")

// auditEvery is how often the auditor fetches a checkpoint.
const auditEvery = time.Second

func newAuditor(url, folder string) (*auditor, error) {
	key, err := os.ReadFile(filepath.Join(folder, receipts.PubFile))
	if err != nil {
		return nil, fmt.Errorf("giving the auditor the log's key: %w", err)
	}
	return &auditor{url: url, key: strings.TrimSpace(string(key))}, nil
}

// begin lets the auditor keep checkpoints until the auditor goes home.
func (a *auditor) begin(ctx context.Context) (goHome func()) {
	ctx, stop := context.WithCancel(ctx)
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		for sleepUntil(ctx, time.Now().Add(auditEvery)) {
			if checkpoint, err := a.fetch(ctx); err == nil {
				a.kept = append(a.kept, checkpoint)
			}
		}
	}()
	return func() { stop(); <-gone }
}

func (a *auditor) fetch(ctx context.Context) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, a.url+"/v1/log/"+tiles.Checkpoint, nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, errors.New(response.Status)
	}
	return io.ReadAll(io.LimitReader(response.Body, 64<<10))
}

// verify checks the log in folder as "mayfly audit verify" does, up to a time.
func (a *auditor) verify(folder string, to time.Time) error {
	if len(a.kept) == 0 {
		return errNoCheckpoint
	}
	result, err := audit.Verify([]string{folder}, audit.Options{
		Keys: []string{a.key}, Checkpoints: a.kept, To: to.UTC(), Grace: time.Second,
	})
	if err != nil {
		return fmt.Errorf("the auditor: %w", err)
	}
	if err := result.Err(); err != nil {
		return fmt.Errorf("the auditor: %w", err)
	}
	return nil
}
