package config

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"
	"time"
	"unicode/utf8"

	"github.com/rogpeppe/go-internal/txtar"
)

// FuzzConfig loads any text, alone and included by a sound file. Whatever it
// is, there are settings or located errors, never both or neither.
func FuzzConfig(f *testing.F) {
	archives, err := filepath.Glob("testdata/mistakes/*.txtar")
	if err != nil || len(archives) == 0 {
		f.Fatalf("no archives: %v", err)
	}
	for _, path := range archives {
		archive, err := txtar.ParseFile(path)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range archive.Files {
			f.Add(file.Data)
		}
	}
	base, err := os.ReadFile("testdata/base.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(base)
	f.Fuzz(func(t *testing.T, text []byte) {
		stuck := time.AfterFunc(10*time.Second, func() { panic(fmt.Sprintf("takes for ever: %q", text)) })
		defer stuck.Stop()
		fsys := fstest.MapFS{
			"alone.yaml":    {Data: text},
			"base.yaml":     {Data: base},
			"included.yaml": {Data: []byte("include: [base.yaml, alone.yaml]\n")},
		}
		for _, name := range []string{"alone.yaml", "included.yaml"} {
			opt := Options{FS: fsys, Getenv: noEnv, AnyNode: true}
			s, warnings, err := Load(name, opt)
			if (s == nil) == (err == nil) {
				t.Fatalf("%s: settings %v, error %v", name, s, err)
			}
			inText(t, fsys, warnings)
			if err != nil {
				var errs Errors
				if !errors.As(err, &errs) || len(errs) == 0 {
					t.Fatalf("%s: error of another kind: %v", name, err)
				}
				inText(t, fsys, errs)
				continue
			}
			again, _, err := Load(name, opt)
			if err != nil || again.Digest() != s.Digest() {
				t.Fatalf("%s: the second time: %v", name, err)
			}
		}
	})
}

// inText checks that every place is one of the files.
func inText(t *testing.T, fsys fstest.MapFS, problems []Problem) {
	t.Helper()
	for _, p := range problems {
		if p.Text == "" {
			t.Fatalf("%v says nothing", p)
		}
		if p.Line == 0 {
			continue
		}
		lines := bytes.Split(fsys[p.File].Data, []byte("\n"))
		if p.Line > len(lines)+1 || p.Column < 1 {
			t.Fatalf("%v: there is no such place", p)
		}
		if p.Line <= len(lines) && p.Column > utf8.RuneCount(lines[p.Line-1])+1 {
			t.Fatalf("%v: the line is %q", p, lines[p.Line-1])
		}
	}
}
