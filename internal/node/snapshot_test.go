package node

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/scloudstack/pharos/internal/config"
)

func TestSnapshotReadsLikeTheDisk(t *testing.T) {
	dir := t.TempDir()
	var files []string
	for name, text := range map[string]string{
		"pharos.yaml": "main", "services.d/a.yaml": "a", "services.d/b.yaml": "b", "services.d/deep/c.yaml": "c",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		files = append(files, path)
	}
	var settings config.Settings
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		settings.Files, settings.Texts = append(settings.Files, path), append(settings.Texts, text)
	}
	s, err := takeSnapshot(&settings)
	if err != nil {
		t.Fatal(err)
	}
	for _, pattern := range []string{dir + "/services.d/*.yaml", dir + "/*/*.yaml", dir + "/p*.yaml", dir + "/none/*", dir + "/services.d/deep/c.yaml"} {
		fromDisk, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		fromCopy, err := fs.Glob(s, pattern)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(fromDisk, fromCopy); diff != "" {
			t.Errorf("%s: %s", pattern, diff)
		}
		for _, name := range fromDisk {
			text, err := fs.ReadFile(s, name[1:]) // without the first slash, as fs.FS has it
			if err != nil {
				t.Error(err)
			}
			want, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if string(text) != string(want) {
				t.Errorf("%s: %q, want %q", name, text, want)
			}
		}
	}
	if _, err := s.Open(dir + "/absent"); err == nil {
		t.Error("a file that is not there opens")
	}
	other := snapshot{}
	for name, text := range s {
		other[name] = text
	}
	if s.digest() != other.digest() {
		t.Error("the digest of equal copies differs")
	}
	other[files[0]] = append([]byte("x"), other[files[0]]...)
	if s.digest() == other.digest() {
		t.Error("the digest misses a change")
	}
}
