package audit

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"strconv"
	"strings"
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
	"count":   grouped,
	"gaps":    gapList,
	"first":   func(p []PartitionResult) []PartitionResult { return p[:min(len(p), mostRows)] },
	"rest":    func(p []PartitionResult) int { return max(0, len(p)-mostRows) },
}).Parse(reportPage))

// mostRows bounds the list of exceptions in a page.
const mostRows = 1000

// grouped writes 1234567 as 1,234,567.
func grouped(n int64) string {
	text := strconv.FormatInt(n, 10)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// mostGaps bounds those listed of a partition.
const mostGaps = 10

func gapList(gaps []Offset) string {
	var texts []string
	for i, gap := range gaps {
		if i == mostGaps {
			texts = append(texts, fmt.Sprintf("and %d more", len(gaps)-i))
			break
		}
		texts = append(texts, gap.String())
	}
	return strings.Join(texts, ", ")
}

// WriteHTML writes the result as one page that loads nothing.
func WriteHTML(w io.Writer, r *Result, made time.Time) error {
	rows := r.Findings[:min(len(r.Findings), mostRows)]
	due := int64(0)
	for _, p := range r.Policies {
		due += p.Epochs
	}
	err := reportTemplate.Execute(w, map[string]any{
		"R": r, "Rows": rows, "More": len(r.Findings) - len(rows), "Made": made, "Due": due,
	})
	if err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}
