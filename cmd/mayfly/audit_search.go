package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"mayfly/cmd/mayfly/output"
	"mayfly/retention/canary/plant"
)

// searchResult is what was found in one file.
type searchResult struct {
	File string `json:"file"`
	plant.Hits
	// Chance is how many 4-byte hits random bytes of this size would have.
	Chance float64 `json:"four_byte_hits_by_chance"`
}

// search searches files for what was planted.
func (cmd *AuditCheckCmd) search(out io.Writer, plan *plant.Plan) error {
	s, err := plant.NewSearch(plan.Events)
	if err != nil {
		return err
	}
	addresses := map[string]bool{}
	for _, e := range plan.Events {
		if !strings.Contains(e.IP, ":") {
			addresses[e.IP] = true
		}
	}
	results := make([]searchResult, 0, len(cmd.Dump))
	var left int64
	for _, name := range cmd.Dump {
		file, err := os.Open(name)
		if err != nil {
			return fmt.Errorf("--dump: %w", err)
		}
		hits, err := s.Run(file)
		_ = file.Close()
		if err != nil {
			return fmt.Errorf("--dump: %s: %w", name, err)
		}
		left += hits.Certain()
		results = append(results, searchResult{name, hits, float64(hits.Bytes) * float64(len(addresses)) / (1 << 32)})
	}
	if cmd.JSON() {
		err = fprintJSON(out, results)
	} else {
		for _, r := range results {
			r.print(out)
		}
	}
	if err == nil && left > 0 {
		err = fmt.Errorf("what was planted is in the files: found %s", output.Plural(int(left), "time"))
	}
	return err
}

func (r searchResult) print(w io.Writer) {
	fmt.Fprintf(w, "%s: %d bytes: %s of addresses, %s of accounts\n", r.File, r.Bytes, counts(r.Addresses), counts(r.Accounts))
	if n := r.Addresses[plant.FourByte]; n > 0 {
		fmt.Fprintf(w, "  4-byte runs prove nothing alone: %.1f are expected by chance\n", r.Chance)
	}
}

func counts(hits map[string]int64) string {
	if len(hits) == 0 {
		return "no copy"
	}
	var parts []string
	for _, encoding := range slices.Sorted(maps.Keys(hits)) {
		parts = append(parts, fmt.Sprintf("%d as %s", hits[encoding], encoding))
	}
	return strings.Join(parts, ", ")
}
