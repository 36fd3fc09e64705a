package node

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/scloudstack/pharos/internal/config"
)

// snapshot is the text of every file of one configuration, by absolute path.
// It is a file system that holds nothing else, so that a configuration can be
// loaded again when its files on the disk say something different.
type snapshot map[string][]byte

// takeSnapshot copies the files of a configuration as they were when it was
// loaded: those on the disk may say something else by now, which nobody judged.
func takeSnapshot(settings *config.Settings) (snapshot, error) {
	s := snapshot{}
	for i, name := range settings.Files {
		abs, err := filepath.Abs(name)
		if err != nil {
			return nil, fmt.Errorf("copy the configuration: %w", err)
		}
		s[abs] = settings.Texts[i]
	}
	return s, nil
}

// digest is the same for the same files with the same text.
func (s snapshot) digest() string {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(s)) {
		fmt.Fprintf(h, "%q %d ", name, len(s[name]))
		h.Write(s[name])
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Open implements fs.FS. Names are absolute; the first slash may be missing.
func (s snapshot) Open(name string) (fs.File, error) {
	full := path.Clean("/" + name)
	if text, ok := s[full]; ok {
		return &snapshotFile{name: path.Base(full), text: text}, nil
	}
	entries, _ := s.ReadDir(full)
	if len(entries) == 0 {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return &snapshotFile{name: path.Base(full), dir: true}, nil
}

// ReadDir implements fs.ReadDirFS.
func (s snapshot) ReadDir(name string) ([]fs.DirEntry, error) {
	dir := strings.TrimSuffix(path.Clean("/"+name), "/") + "/"
	found := map[string]*snapshotFile{}
	for full, text := range s {
		rest, below := strings.CutPrefix(full, dir)
		if !below {
			continue
		}
		first, _, deeper := strings.Cut(rest, "/")
		found[first] = &snapshotFile{name: first, text: text, dir: deeper}
	}
	if len(found) == 0 {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: fs.ErrNotExist}
	}
	var entries []fs.DirEntry
	for _, f := range found {
		entries = append(entries, fs.FileInfoToDirEntry(f))
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries, nil
}

// snapshotFile is one open file of a snapshot, and what is known of it.
type snapshotFile struct {
	name string
	text []byte
	dir  bool
	read int
}

func (f *snapshotFile) Stat() (fs.FileInfo, error) { return f, nil }
func (f *snapshotFile) Close() error               { return nil }
func (f *snapshotFile) Name() string               { return f.name }
func (f *snapshotFile) Size() int64                { return int64(len(f.text)) }
func (f *snapshotFile) ModTime() time.Time         { return time.Time{} }
func (f *snapshotFile) IsDir() bool                { return f.dir }
func (f *snapshotFile) Sys() any                   { return nil }

func (f *snapshotFile) Mode() fs.FileMode {
	if f.dir {
		return fs.ModeDir | 0o555
	}
	return 0o444
}

func (f *snapshotFile) Read(p []byte) (int, error) {
	if f.dir {
		return 0, fs.ErrInvalid
	}
	n := copy(p, f.text[f.read:])
	f.read += n
	if n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return n, nil
}
