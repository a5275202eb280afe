package receipts

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"mayfly/retention/receipts/tiles"
)

// The log is served, and nothing beside it.
func TestHandler(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, dir)
	fill(t, l, 300)
	if err := os.Symlink(filepath.Join(dir, KeyFile), filepath.Join(dir, tiles.Dir, "tile", "0", "007")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, tiles.Dir, "notes.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	get := func(path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.URL.Path = path
		l.Handler().ServeHTTP(w, r)
		return w
	}
	if w := get("checkpoint"); w.Code != 200 || !strings.HasPrefix(w.Body.String(), l.identity.Signer.Name()+"\n300\n") {
		t.Errorf("the checkpoint: %d %s", w.Code, w.Body)
	}
	for path, want := range map[string]int{"tile/0/000": 256 * 32, "tile/0/001.p/44": 44 * 32, "tile/1/000.p/1": 32, "tile/entries/000": -1, "tile/entries/001.p/44": -1} {
		if w := get(path); w.Code != 200 || want >= 0 && w.Body.Len() != want {
			t.Errorf("%s: %d, %d bytes", path, w.Code, w.Body.Len())
		}
	}
	for _, path := range []string{
		"", "receipts.key", "../receipts.key", "tile/../../receipts.key", "tile/0/002", "tile/0", "tile/0/007", "journal", "/etc/passwd", "checkpoint.tmp", "notes.txt",
	} {
		if w := get(path); w.Code == 200 || strings.Contains(w.Body.String(), "PRIVATE") {
			t.Errorf("%q: %d %s", path, w.Code, w.Body)
		}
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	l := open(t, t.TempDir())
	fill(t, l, 3)
	r := prometheus.NewRegistry()
	r.MustRegister(l)
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range families[0].GetMetric() {
		if got, kind := m.GetCounter().GetValue(), m.GetLabel()[0].GetValue(); got != map[string]float64{TypeLookup: 3}[kind] {
			t.Errorf("%s: %v", kind, got)
		}
	}
}
