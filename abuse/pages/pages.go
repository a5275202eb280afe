// Package pages holds the desk's page: a form for look-ups and a strip that
// shows every epoch with the time it has left. Package abuse serves it.
//
// The page loads nothing from elsewhere, sends subjects in request bodies only,
// and takes answers off the screen when their window ends.
package pages

import (
	"bytes"
	"embed"
	"html/template"
	"net/http"

	"mayfly/abuse/lookup"
	"mayfly/retention/receipts"
)

//go:embed desk.html
var source string

//go:embed assets
var assets embed.FS

// Handler serves the page at "/" and what it loads below "/assets/".
func Handler() http.Handler {
	var page bytes.Buffer
	data := map[string]any{"Reasons": receipts.Reasons, "Tolerance": lookup.DefaultTolerance}
	if err := template.Must(template.New("desk").Parse(source)).Execute(&page, data); err != nil {
		panic("the desk's page does not fit its data: " + err.Error())
	}
	mux := http.NewServeMux()
	mux.Handle("GET /assets/", http.FileServerFS(assets))
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write(page.Bytes())
	})
	return mux
}
