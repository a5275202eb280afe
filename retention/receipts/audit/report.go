package audit

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"time"
)

//go:embed report.html
var reportPage string

var reportTemplate = template.Must(template.New("report").Funcs(template.FuncMap{
	"when": func(t time.Time) string {
		if t.IsZero() {
			return "the beginning"
		}
		return t.UTC().Format("2006-01-02 15:04:05 MST")
	},
	"explain": func(kind string) string { return explanations[kind] },
}).Parse(reportPage))

// mostRows bounds the list of exceptions in a page.
const mostRows = 1000

// WriteHTML writes the result as one page that loads nothing.
func WriteHTML(w io.Writer, r *Result, made time.Time) error {
	rows := r.Findings[:min(len(r.Findings), mostRows)]
	err := reportTemplate.Execute(w, map[string]any{
		"R": r, "Rows": rows, "More": len(r.Findings) - len(rows), "Made": made,
	})
	if err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}
