package config

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/scloudstack/pharos/zones"
)

// Bounds of one configuration, all its files together.
const (
	maxFiles = 2000
	maxSize  = 32 << 20
)

// Load reads the configuration at path and what it includes. The error is
// Errors: everything that is wrong, in the order of the files. Warnings come
// with and without an error.
func Load(path string, opt Options) (*Settings, Warnings, error) {
	l := newLoader(opt)
	s := l.load(path)
	warnings := Warnings(sorted(l.warnings))
	if len(l.errors) > 0 {
		return nil, warnings, Errors(sorted(l.errors))
	}
	return s, warnings, nil
}

// Zones lists the zones that a configuration names, as far as they can be read
// of one with errors, so that those of their files are told together with its own.
func Zones(path string, opt Options) []zones.Spec {
	if s := newLoader(opt).load(path); s != nil {
		return s.Zones
	}
	return nil
}

func newLoader(opt Options) *loader {
	if opt.Getenv == nil {
		opt.Getenv = os.Getenv
	}
	return &loader{decoder: decoder{known: make(map[string]bool)}, opt: opt}
}

// loader reads the files of one configuration.
type loader struct {
	decoder
	opt   Options
	fsys  fs.FS
	dir   string // folder of the main file, for paths in the settings
	files []*file
	size  int
}

func (l *loader) load(path string) *Settings {
	name, base, err := l.open(path)
	if err != nil {
		l.errors = append(l.errors, finding{text: err.Error()})
		return nil
	}
	root := l.read(name, path)
	if root == nil {
		return nil
	}
	if root.kind != mapping {
		l.expected(root, "a mapping with node, dns, services ...")
		return nil
	}
	l.include(root, base, filepath.Dir(path))
	if len(l.errors) > 0 {
		return nil // what an unreadable file would have held is not "missing"
	}
	l.duplicates(root)
	s := &Settings{Path: path, names: make(map[string]place), digest: digest(root)}
	for _, f := range l.files {
		s.Files = append(s.Files, f.name)
		s.Texts = append(s.Texts, f.text)
	}
	r := &reading{decoder: &l.decoder, opt: l.opt, dir: l.dir, s: s}
	r.top(root)
	return s
}

// open says where path is inside l.fsys, and its folder there.
func (l *loader) open(path string) (name, base string, err error) {
	if l.opt.FS != nil {
		l.fsys = l.opt.FS
		name = filepath.ToSlash(filepath.Clean(path))
		l.dir = filepath.Dir(path)
		return name, filepath.ToSlash(filepath.Dir(name)), nil
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", "", fmt.Errorf("%s: %w", path, err)
	}
	l.fsys, l.dir = os.DirFS("/"), filepath.Dir(abs)
	name = strings.TrimPrefix(filepath.ToSlash(abs), "/")
	return name, filepath.ToSlash(filepath.Dir(name)), nil
}

// read parses one file; shown is its name for people.
func (l *loader) read(name, shown string) *node {
	f := &file{name: shown, order: len(l.files)}
	l.files = append(l.files, f)
	text, err := l.contents(name)
	if err != nil {
		l.errors = append(l.errors, finding{place{file: f}, err.Error()})
		return nil
	}
	f.text = text
	return l.parse(f, text)
}

func (l *loader) contents(name string) ([]byte, error) {
	// A FIFO would hold a node's reload for as long as nobody writes to it.
	if st, err := fs.Stat(l.fsys, name); err == nil && !st.Mode().IsRegular() && !st.IsDir() {
		return nil, errors.New("can't be read: expected a regular file")
	}
	in, err := l.fsys.Open(name)
	if err != nil {
		return nil, reason(err)
	}
	defer in.Close()
	text, err := io.ReadAll(io.LimitReader(in, maxFileSize+1))
	if err != nil {
		return nil, reason(err)
	}
	if l.size += len(text); l.size > maxSize {
		return nil, fmt.Errorf("makes the configuration larger than %d MiB", maxSize>>20)
	}
	return text, nil
}

// reason drops the operation and the path, which the message has already.
func reason(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return fmt.Errorf("can't be read: %w", p.Err)
	}
	return fmt.Errorf("can't be read: %w", err)
}

// include reads the files that the main one names and merges them into root.
func (l *loader) include(root *node, base, shownBase string) {
	at := root.get("include")
	if at == nil {
		return
	}
	l.known["include"] = true
	root.fields = slices.DeleteFunc(root.fields, func(f field) bool { return f.key == "include" })
	seen := map[string]bool{}
	l.each(at, "file names or patterns such as services.d/*.yaml", true, func(n *node) {
		var pattern string
		l.text(&pattern)(n)
		if pattern == "" {
			return
		}
		names, err := l.match(base, pattern)
		if err != nil {
			l.errorf(n, "found %s: %v", n.describe(), err)
			return
		}
		if len(names) == 0 {
			l.warnf(n, "no file matches %s", n.describe())
		}
		for _, name := range names {
			if seen[name] {
				continue
			}
			seen[name] = true
			if len(l.files) >= maxFiles {
				l.errorf(n, "includes more than %d files", maxFiles)
				return
			}
			l.merge(root, l.read(name, shownName(base, shownBase, name)))
		}
	})
}

// match lists the files of a pattern in the order of their names.
func (l *loader) match(base, pattern string) ([]string, error) {
	full := filepath.ToSlash(filepath.Join(base, filepath.FromSlash(pattern)))
	if filepath.IsAbs(pattern) {
		full = strings.TrimPrefix(filepath.ToSlash(filepath.Clean(pattern)), "/")
	}
	names, err := fs.Glob(l.fsys, full)
	if err != nil {
		return nil, errors.New("is no pattern: expected one such as services.d/*.yaml")
	}
	if len(names) == 0 && !strings.ContainsAny(pattern, `*?[\`) {
		return nil, errors.New("there is no such file")
	}
	return names, nil
}

// shownName is name as reached from the path that the user gave.
func shownName(base, shownBase, name string) string {
	rel, err := filepath.Rel(base, name)
	if err != nil || strings.HasPrefix(rel, "..") {
		return "/" + name
	}
	return filepath.Join(shownBase, rel)
}

// merge adds an included file to root: sections are merged, their entries are
// not. (What stands in both is found by duplicates.)
func (l *loader) merge(root, from *node) {
	if from == nil || from.kind == null {
		return
	}
	if from.kind != mapping {
		l.expected(from, "a mapping with services, sites ...")
		return
	}
	for _, f := range from.fields {
		if f.key == "include" {
			l.errors = append(l.errors, finding{f.at, "include may only stand in the main file"})
			continue
		}
		have := root.get(f.key)
		if have == nil || have.kind != mapping || f.value.kind != mapping {
			f.value.up = root
			root.fields = append(root.fields, f)
			continue
		}
		mergeSection(have, f.value, f.key)
	}
}

// mergeSection adds the entries of a section; the list dns.zones grows.
func mergeSection(have, from *node, section string) {
	for _, f := range from.fields {
		if section == "dns" && f.key == "zones" && f.value.kind == list {
			if zones := have.get(f.key); zones != nil && zones.kind == list {
				for _, item := range f.value.items {
					item.up, item.name = zones, fmt.Sprintf("[%d]", len(zones.items))
					zones.items = append(zones.items, item)
				}
				continue
			}
		}
		f.value.up = have
		have.fields = append(have.fields, f)
	}
}

// duplicates reports keys that a mapping has twice, with both places, and
// leaves the first.
func (l *loader) duplicates(root *node) {
	root.walk(func(n *node) {
		if len(n.fields) < 2 {
			return
		}
		first := make(map[string]place, len(n.fields))
		kept := n.fields[:0]
		for _, f := range n.fields {
			if at, twice := first[f.key]; twice {
				l.errors = append(l.errors, finding{f.at, prefixed(f.value, "is here for the second time: the first is at "+at.String())})
				continue
			}
			first[f.key] = f.at
			kept = append(kept, f)
		}
		n.fields = kept
	})
}

// digest covers what the files say in their order, less node.
func digest(root *node) [32]byte {
	h := sha256.New()
	var write func(n *node)
	write = func(n *node) {
		fmt.Fprintf(h, "(%d %q", n.kind, n.text)
		for _, m := range n.items {
			write(m)
		}
		for _, f := range n.fields {
			if n == root && f.key == "node" {
				continue
			}
			fmt.Fprintf(h, " %q:", f.key)
			write(f.value)
		}
		io.WriteString(h, ")")
	}
	write(root)
	return [32]byte(h.Sum(nil))
}
