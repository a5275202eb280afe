package lookup

import (
	"bytes"
	"encoding/csv"
	"errors"
	"slices"
	"strconv"
	"strings"
)

// Format is how a batch is written.
type Format string

// The formats of batches.
const (
	CSV       Format = "csv"
	JSONLines Format = "jsonl"
)

// columns are what a CSV header may name, and what a line of JSON may hold.
var columns = []string{"ip", "prefix", "account", "port", "at", "tolerance", "from", "to", "limit"}

// parseBatch splits a batch into lines. Blank lines count but are no subjects.
func parseBatch(format Format, body []byte) ([]line, error) {
	if len(body) > MaxBatchBytes {
		return nil, refuse("", "a batch has at most %d bytes", MaxBatchBytes)
	}
	body = bytes.TrimPrefix(body, []byte("\ufeff")) // as spreadsheets write it
	read := readJSONLine
	var header []string
	var lines []line
	number := 0
	for text := range bytes.Lines(body) {
		number++
		text = bytes.TrimSpace(text)
		if len(text) == 0 {
			continue
		}
		if format == CSV && header == nil {
			var err error
			if header, err = readHeader(text); err != nil {
				return nil, err
			}
			read = func(text []byte) (Request, error) { return readCSVLine(header, text) }
			continue
		}
		if len(lines) == MaxSubjects {
			return nil, refuse("", "a batch has at most %d subjects", MaxSubjects)
		}
		r, err := read(text)
		lines = append(lines, line{number: number, request: r, err: err})
	}
	if len(lines) == 0 {
		return nil, refuse("", "the batch has no subject")
	}
	return lines, nil
}

func readJSONLine(text []byte) (Request, error) {
	r, err := DecodeRequest(text)
	switch {
	case errors.Is(err, ErrSyntax):
		return Request{}, refuse("", "must be one JSON object with some of %s", strings.Join(columns, ", "))
	case err != nil:
		return Request{}, err
	case r.Case != "" || r.Reason != "":
		return Request{}, refuse("case", "a batch has one case and one reason for all its lines")
	}
	return r, nil
}

// readHeader reads the first line of CSV. A header that was forgotten is a line
// with an address in it, so the error quotes nothing.
func readHeader(text []byte) ([]string, error) {
	header, err := readFields(text)
	for i := range header {
		header[i] = strings.ToLower(strings.TrimSpace(header[i]))
		if !slices.Contains(columns, header[i]) || slices.Contains(header[:i], header[i]) {
			err = errors.New("unknown or repeated column")
		}
	}
	if err != nil {
		return nil, refuse("", "the first line must name the columns, each once, separated by commas: some of %s", strings.Join(columns, ", "))
	}
	return header, nil
}

func readCSVLine(header []string, text []byte) (Request, error) {
	fields, err := readFields(text)
	if err != nil || len(fields) != len(header) {
		return Request{}, refuse("", "must have %d fields separated by commas, as the first line has", len(header))
	}
	var r Request
	for i, name := range header {
		if err := r.set(name, strings.TrimSpace(fields[i])); err != nil {
			return Request{}, err
		}
	}
	return r, nil
}

func readFields(text []byte) ([]string, error) {
	return csv.NewReader(bytes.NewReader(text)).Read()
}

// set gives one of columns a value; an empty one is not given.
func (r *Request) set(name, value string) error {
	if value == "" {
		return nil
	}
	switch name {
	case "ip":
		r.IP = value
	case "prefix":
		r.Prefix = value
	case "account":
		r.Account = value
	case "at":
		r.At = value
	case "tolerance":
		r.Tolerance = value
	case "from":
		r.From = value
	case "to":
		r.To = value
	case "port", "limit":
		n, err := strconv.Atoi(value)
		if err != nil {
			return refuse(name, "must be a whole number")
		}
		if name == "limit" {
			r.Limit = n
			break
		}
		r.Port = &n
	}
	return nil
}
