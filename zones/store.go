package zones

import (
	"bufio"
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Version is one kept version of a zone.
type Version struct {
	Number  uint64    `json:"number"` // rises by one
	Serial  uint32    `json:"serial"`
	Records int       `json:"records"`
	Digest  [32]byte  `json:"-"`
	Taken   time.Time `json:"taken"` // when it began to be served
	File    string    `json:"file"`  // where it came from

	path    string
	read    bool       // the head has been read: what stands above but Number, and
	refuses [][32]byte // contents that were rolled back from
	copyOf  uint64     // of a rollback: the number of the version that it serves again; 0: it is none
	before  uint64     // no version above this number was served before it
	damaged bool       // the head can't be read
}

// keepVersions is how many versions of a zone stay on disk. The copy that a
// rollback serves is not counted: it goes with the next version.
const keepVersions = 5

// store keeps versions of zones as master files in one folder, named
// ZONE@NUMBER.zone, with a comment on top:
//
//	; pharos zone version 1
//	; serial 2026112301
//	; records 1204
//	; digest 9f86d0...
//	; taken 2026-11-23T16:41:07Z
//	; file /etc/pharos/shop.example.zone
//	; refuses 60303a...     (after a rollback: a content rolled back from)
//	; copy 12               (of a rollback: the number of the version that is served again)
//	; before 11             (the version before has this number or less; without: the one below)
//
// A version is written aside, synced and renamed, so it is whole or not there.
type store struct{ dir string }

type header struct {
	Taken   time.Time
	File    string
	Refuses [][32]byte
	rolledBack
}

// rolledBack is what a rollback leaves behind.
type rolledBack struct {
	copyOf, before uint64 // as in Version
}

// saving is a version to be written.
type saving struct {
	zone   *Zone
	kept   []Version
	header header
	err    error // why it is not kept
}

// fileName is a zone's name as part of a file's.
func fileName(zone string) string {
	var b strings.Builder
	for i := range len(zone) {
		switch c := zone[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_', c == '.':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02x", c)
		}
	}
	name := strings.TrimSuffix(b.String(), ".")
	if name == "" {
		name = "%2e" // the root
	}
	return name
}

func (s store) path(zone string, number uint64) string {
	return filepath.Join(s.dir, fmt.Sprintf("%s@%06d.zone", fileName(zone), number))
}

// list finds all versions, by fileName, the newest first. Their heads are read
// where they are needed: there may be thousands.
func (s store) list() (map[string][]Version, error) {
	entries, err := os.ReadDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	found := map[string][]Version{}
	for _, e := range entries {
		zone, number, ok := strings.Cut(strings.TrimSuffix(e.Name(), ".zone"), "@")
		n, nerr := strconv.ParseUint(number, 10, 64)
		if !ok || nerr != nil || !strings.HasSuffix(e.Name(), ".zone") {
			continue
		}
		found[zone] = append(found[zone], Version{Number: n, before: max(n, 1) - 1, path: filepath.Join(s.dir, e.Name())})
	}
	for _, vs := range found {
		slices.SortFunc(vs, func(a, b Version) int { return int(int64(b.Number) - int64(a.Number)) })
	}
	if err != nil {
		err = fmt.Errorf("list kept zone versions: %w", err)
	}
	return found, err
}

// head reads the comment on top of a version, once.
func (v *Version) head() *Version {
	if !v.read {
		v.read = true
		v.readHead()
	}
	return v
}

func (v *Version) readHead() {
	v.damaged = true
	f, err := openFile(v.path)
	if err != nil {
		return
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	if !lines.Scan() || lines.Text() != "; pharos zone version 1" {
		return
	}
	var digest, refuses [32]byte
	for lines.Scan() && strings.HasPrefix(lines.Text(), "; ") {
		key, value, _ := strings.Cut(lines.Text()[2:], " ")
		var err error
		switch key {
		case "serial":
			var n uint64
			n, err = strconv.ParseUint(value, 10, 32)
			v.Serial = uint32(n)
		case "records":
			v.Records, err = strconv.Atoi(value)
		case "digest":
			_, err = hex.Decode(digest[:], []byte(value[:min(len(value), 64)]))
			v.Digest, v.damaged = digest, len(value) != 64
		case "taken":
			v.Taken, err = time.Parse(time.RFC3339, value)
		case "file":
			v.File, err = strconv.Unquote(value)
		case "refuses":
			_, err = hex.Decode(refuses[:], []byte(value[:min(len(value), 64)]))
			v.refuses = append(v.refuses, refuses)
		case "copy":
			v.copyOf, err = strconv.ParseUint(value, 10, 64)
		case "before":
			v.before, err = strconv.ParseUint(value, 10, 64)
		}
		if err != nil {
			v.damaged = true
			return
		}
	}
}

// holds says whether a version is what would be written of a zone.
func (v *Version) holds(l *Loaded) bool {
	v.head()
	return !v.damaged && v.Digest == l.Zone.digest && len(l.refuses) <= len(v.refuses)
}

// open reads a version and compares it with its digest.
func (s store) open(name string, v *Version, opt Options) (*Zone, error) {
	z, _, err := ParseFile(name, v.path, opt)
	if err != nil {
		return nil, fmt.Errorf("kept version %d of %s: %w", v.Number, name, err)
	}
	if v.head().damaged || z.digest != v.Digest {
		return nil, fmt.Errorf("kept version %d of %s is damaged: its content is not what its digest says", v.Number, name)
	}
	return z, nil
}

// fewSavings is up to how many files are synced one by one; more are synced
// together with their file system.
const fewSavings = 16

// save writes versions and removes those that are too old. What fails is noted:
// a full disk must not keep a good zone from being served.
func (s store) save(ctx context.Context, all []*saving, listErr error) {
	if len(all) == 0 {
		return
	}
	fail := func(v *saving, err error) {
		if err != nil && v.err == nil {
			v.err = fmt.Errorf("no copy of the zone is kept: %w", err)
		}
	}
	err := cmp.Or(listErr, os.MkdirAll(s.dir, 0o750))
	written := map[*saving]string{}
	for _, v := range all {
		tmp, err := "", cmp.Or(err, ctx.Err())
		if err == nil {
			tmp, err = s.writeAside(v, len(all) <= fewSavings)
		}
		if err != nil {
			fail(v, err)
			continue
		}
		written[v] = tmp
	}
	dir, err := os.Open(s.dir)
	if err == nil {
		defer dir.Close()
		if len(all) > fewSavings {
			err = unix.Syncfs(int(dir.Fd()))
		}
	}
	for v, tmp := range written {
		next := uint64(1)
		if len(v.kept) > 0 {
			next = v.kept[0].Number + 1
		}
		err := err
		if err == nil {
			err = os.Rename(tmp, s.path(v.zone.name, next))
		}
		if fail(v, err); err != nil {
			os.Remove(tmp)
			continue
		}
		for _, old := range obsolete(v.kept, v.header.rolledBack) {
			if err := os.Remove(old.path); err != nil {
				v.err = fmt.Errorf("an old copy of the zone stays: %w", err)
			}
		}
	}
	if err == nil {
		err = dir.Sync()
	}
	for v := range written {
		fail(v, err)
	}
}

// obsolete lists the kept versions, the newest first, that go when another is
// written: copies that a rollback made, and where it is no such copy itself,
// those beyond keepVersions. What can be gone back to stays longest.
func obsolete(kept []Version, next rolledBack) []Version {
	var line, aside, gone []Version
	limit := next.before
	for _, v := range kept {
		switch v.head(); {
		case v.copyOf != 0:
			gone = append(gone, v)
		case v.Number <= limit:
			line, limit = append(line, v), v.before
		default:
			aside = append(aside, v)
		}
	}
	if next.copyOf != 0 {
		return gone
	}
	stay := append(line, aside...)
	return append(gone, stay[min(len(stay), keepVersions-1):]...)
}

// writeAside writes a version under a name that list does not find.
func (s store) writeAside(v *saving, sync bool) (tmp string, err error) {
	tmp = filepath.Join(s.dir, fileName(v.zone.name)+".tmp")
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o640)
	if err != nil {
		return "", err
	}
	z, h := v.zone, v.header
	_, err = fmt.Fprintf(f, "; pharos zone version 1\n; serial %d\n; records %d\n; digest %x\n; taken %s\n; file %s\n",
		z.serial, z.records, z.digest, h.Taken.UTC().Format(time.RFC3339), strconv.Quote(h.File))
	for _, digest := range h.Refuses {
		if err == nil {
			_, err = fmt.Fprintf(f, "; refuses %x\n", digest)
		}
	}
	if err == nil && h.copyOf != 0 {
		_, err = fmt.Fprintf(f, "; copy %d\n", h.copyOf)
	}
	if err == nil {
		_, err = fmt.Fprintf(f, "; before %d\n", h.before)
	}
	if err == nil {
		_, err = z.write(f, newPacer(Pause))
	}
	if err == nil && sync {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		os.Remove(tmp)
		return "", err
	}
	return tmp, nil
}
