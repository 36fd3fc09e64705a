package config

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

var update = flag.Bool("update", false, "write what was found into the golden files")

// TestMistakes loads every file at the root of each archive and compares what
// is said about it with the archive's last file, "want".
func TestMistakes(t *testing.T) {
	archives, err := filepath.Glob("testdata/mistakes/*.txtar")
	if err != nil || len(archives) == 0 {
		t.Fatalf("no archives: %v", err)
	}
	for _, path := range archives {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			cases, want := archive.Files, ""
			if last := cases[len(cases)-1]; last.Name == "want" {
				cases, want = cases[:len(cases)-1], string(last.Data)
			}
			got := said(t, cases)
			if *update {
				archive.Files = append(cases, txtar.File{Name: "want", Data: []byte(got)})
				if err := os.WriteFile(path, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("messages differ (-want +got):\n%s", diff)
			}
		})
	}
}

// said loads each file of the root and returns all that was said.
func said(t *testing.T, files []txtar.File) string {
	t.Helper()
	base, err := os.ReadFile("testdata/base.yaml")
	if err != nil {
		t.Fatal(err)
	}
	fsys := fstest.MapFS{"base.yaml": {Data: base}}
	for _, f := range files {
		fsys[f.Name] = &fstest.MapFile{Data: f.Data}
	}
	var b strings.Builder
	for _, f := range files {
		if strings.Contains(f.Name, "/") {
			continue
		}
		b.WriteString("# " + f.Name + "\n")
		_, warnings, err := Load(f.Name, Options{FS: fsys, Getenv: noEnv})
		if err != nil {
			b.WriteString(err.Error() + "\n")
		}
		if len(warnings) > 0 {
			b.WriteString("warnings:\n" + warnings.String() + "\n")
		}
	}
	return b.String()
}

func noEnv(string) string { return "" }
