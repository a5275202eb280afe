// Package output is how commands print results: text for people, or JSON.
package output

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode"
)

// Flag chooses how a result is printed.
type Flag struct {
	Output string `enum:"text,json" default:"text" help:"text or json."`
}

// JSON reports whether the result goes out as JSON.
func (f Flag) JSON() bool { return f.Output == "json" }

// JSON prints a result to standard output.
func JSON(value any) error {
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}

// Duration is a duration without the zero units that Go prints: "1h30m", not "1h30m0s".
func Duration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// Plural counts things: "1 event", "2 events".
func Plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}

// Printable keeps what an account or a session is named from steering the terminal.
func Printable(s string) string {
	return strings.Map(func(c rune) rune {
		if unicode.IsPrint(c) {
			return c
		}
		return unicode.ReplacementChar
	}, s)
}

// Row writes one row of a table, safely.
func Row(w io.Writer, cells ...string) {
	for i, cell := range cells {
		if cells[i] = Printable(cell); cell == "" {
			cells[i] = "-"
		}
	}
	fmt.Fprintln(w, strings.Join(cells, "\t"))
}
