package guarantee

import (
	"bytes"
	"flag"
	"fmt"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

var (
	mutantsFlag   = flag.String("mutants", "", "run the mutants whose name matches: a regular expression")
	abreastFlag   = flag.Int("mutants-abreast", 2, "mutants that run at the same time")
	mutantAbreast chan struct{}
)

// mutant is Mayfly with one protection taken out. Its file says which in words; its sections are
// pairs, "old FILE" and "new": what to replace, once, and by what.
type mutant struct {
	name, protection string
	changes          []change
}

type change struct{ file, old, new string }

// mutants reads testdata/mutants, one file each, named after its case.
func mutants(t *testing.T) (all []mutant) {
	t.Helper()
	names, err := filepath.Glob("testdata/mutants/*.txtar")
	if err != nil || len(names) == 0 {
		t.Fatalf("no mutants: %v", err)
	}
	for _, name := range names {
		archive, err := txtar.ParseFile(name)
		if err != nil {
			t.Fatal(err)
		}
		m := mutant{name: strings.TrimSuffix(filepath.Base(name), ".txtar"), protection: strings.TrimSpace(string(archive.Comment))}
		for i := 0; i+1 < len(archive.Files); i += 2 {
			file, ok := strings.CutPrefix(archive.Files[i].Name, "old ")
			if !ok || archive.Files[i+1].Name != "new" {
				t.Fatalf("%s: sections are pairs, old FILE and new", name)
			}
			m.changes = append(m.changes, change{file, string(archive.Files[i].Data), string(archive.Files[i+1].Data)})
		}
		all = append(all, m)
	}
	return all
}

// apply changes the files below folder.
func (m mutant) apply(folder string) error {
	for _, c := range m.changes {
		path := filepath.Join(folder, c.file)
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if n := bytes.Count(text, []byte(c.old)); n != 1 {
			return fmt.Errorf("%s has %d places to change, want one", c.file, n)
		}
		text = bytes.Replace(text, []byte(c.old), []byte(c.new), 1)
		if filepath.Ext(path) == ".go" {
			if _, err := parser.ParseFile(token.NewFileSet(), path, text, 0); err != nil {
				return err
			}
		}
		if err := os.WriteFile(path, text, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// TestMutantsApply keeps the mutants in step with the code: every case has one at least, and each
// still finds what it takes out.
func TestMutantsApply(t *testing.T) {
	t.Parallel()
	having := map[string]bool{}
	for _, m := range mutants(t) {
		having[m.name[:2]] = true
		folder := t.TempDir()
		for _, c := range m.changes {
			text, err := os.ReadFile(filepath.Join(root, c.file))
			if err == nil {
				err = os.MkdirAll(filepath.Join(folder, filepath.Dir(c.file)), 0o700)
			}
			if err == nil {
				err = os.WriteFile(filepath.Join(folder, c.file), text, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := m.apply(folder); err != nil {
			t.Errorf("%s: %v", m.name, err)
		}
	}
	for _, c := range cases {
		if !having[c.name[:2]] {
			t.Errorf("case %s has no mutant: nothing shows that it can fail", c.name)
		}
	}
}

// TestMutants takes each protection out of a copy and runs its case there: it must fail. That
// takes most of half an hour, so it runs only where it is asked for: make mutants.
func TestMutants(t *testing.T) {
	if *mutantsFlag == "" {
		return
	}
	chosen := regexp.MustCompile(*mutantsFlag)
	mutantAbreast = make(chan struct{}, *abreastFlag)
	for _, m := range mutants(t) {
		if !chosen.MatchString(m.name) {
			continue
		}
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			mutantAbreast <- struct{}{}
			defer func() { <-mutantAbreast }()
			m.mustDie(t)
		})
	}
}

func (m mutant) mustDie(t *testing.T) {
	t.Helper()
	copied := t.TempDir()
	files := exec.Command("sh", "-c", `git ls-files -z | xargs -0 cp --parents -t "$0"`, copied)
	files.Dir = root
	if out, err := files.CombinedOutput(); err != nil {
		t.Fatalf("copying the module: %v\n%s", err, out)
	}
	if err := m.apply(copied); err != nil {
		t.Fatal(err)
	}
	run := exec.Command("go", "test", "-trimpath", "-timeout", "5m", "-run", "^TestGuarantee$/^"+m.name[:2]+"_", "./cmd/mayfly/guarantee")
	run.Dir = copied
	out, err := run.CombinedOutput()
	failed := regexp.MustCompile(`(?m)^ +--- FAIL: TestGuarantee/` + m.name[:2] + `.*$\n +(.*)`).FindSubmatch(out)
	switch {
	case err == nil:
		fmt.Printf("SURVIVED  %-28s %s\n", m.name, m.protection)
		t.Errorf("survived: %s", m.protection)
	case failed == nil:
		t.Fatalf("the case did not run: %s", out)
	default:
		fmt.Printf("killed    %-28s %s\n          %s\n", m.name, m.protection, failed[1])
	}
}
