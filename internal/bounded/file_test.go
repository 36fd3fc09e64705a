package bounded

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestReadFile(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string, mode fs.FileMode) string {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.WriteFile(path, []byte(text), 0o600), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	fifo, link := filepath.Join(dir, "fifo"), filepath.Join(dir, "link")
	good := file("good", "12345678", 0o640)
	if err := errors.Join(unix.Mkfifo(fifo, 0o600), os.Symlink(good, link)); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name      string
		path      string
		forbidden fs.FileMode
		want      string // of the error; empty: none
	}{
		{"as large as it may be", good, 0o027, ""},
		{"empty", file("empty", "", 0o600), 0o077, ""},
		{"by a link", link, 0o027, ""},
		{"any mode", file("open", "x", 0o666), 0, ""},
		{"a byte too large", file("large", "123456789", 0o600), 0, "found more than 8 bytes, expected no more"},
		{"read by others", file("others", "x", 0o644), 0o027, "found mode 0644, expected 0640 or stricter"},
		{"written by the group", file("group", "x", 0o620), 0o027, "found mode 0620, expected 0640 or stricter"},
		{"read by the group", good, 0o077, "found mode 0640, expected 0600 or stricter"},
		{"a FIFO", fifo, 0, "expected a regular file, found a FIFO"},
		{"a folder", dir, 0, "expected a regular file, found a folder"},
		{"without end", "/dev/zero", 0, "expected a regular file, found a device"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			text, err := ReadFile(tc.path, 8, tc.forbidden)
			if tc.want == "" {
				if want, _ := os.ReadFile(tc.path); err != nil || string(text) != string(want) {
					t.Errorf("got %q, %v", text, err)
				}
				return
			}
			if err == nil || len(text) > 0 || !strings.HasPrefix(err.Error(), tc.path+": ") || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %q, %v, want an error with the path and %q", text, err, tc.want)
			}
		})
	}
	if _, err := ReadFile(filepath.Join(dir, "none"), 8, 0); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}
