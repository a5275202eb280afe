package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The help gives the role the same access lists as the files that are shipped.
func TestCompactHelpHasItsAccessLists(t *testing.T) {
	t.Parallel()
	var shipped, told []string
	for _, name := range []string{"data.acl", "keyring.acl"} {
		list, err := os.ReadFile(filepath.Join("..", "..", "deploy", name))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(list)) {
			if rules, ours := strings.CutPrefix(line, "user compactor on resetpass resetkeys resetchannels "); ours {
				shipped = append(shipped, strings.Fields(rules)...)
			}
		}
	}
	for _, word := range strings.Fields(CompactCmd{}.Help()) {
		if strings.ContainsAny(word[:1], "+~%") || word == "-@all" {
			told = append(told, word)
		}
	}
	if diff := cmp.Diff(slices.Sorted(slices.Values(shipped)), slices.Sorted(slices.Values(told))); diff != "" || len(told) == 0 {
		t.Error(diff)
	}
}
