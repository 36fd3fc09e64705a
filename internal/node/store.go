package node

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/scloudstack/pharos/cluster"
	"github.com/scloudstack/pharos/internal/bounded"
	"github.com/scloudstack/pharos/policy"
)

// The database file. Each value outside meta has a CRC-32C (4 octets, big endian)
// before it, so that a flipped bit is found before it is obeyed.
//
//	bucket  key             value
//	sealed  kind NUL key    cluster.Sealed
//	health  target          policy.HealthEntry
//	meta    "format"        one octet, 2
//	meta    "stamp"         when the node last said that it serves (RFC 3339)
//	meta    "incarnation"   of the last start (8 octets, big endian)
//	meta    "chain"         name of the node's audit chain
//	meta    "refilling"     there while the node is filled from its peers
//	meta    "keys"          public keys that nodes had in the configurations, this one too (JSON: node, keys in base64)
//	meta    "told"          the node's own alarms that a receiver was told of (JSON: list of alert.Event)
//
// Format 1, of a node that knew no others, had a bucket entries of unsigned
// policy.Entry. They are sealed at the first start of this release.
const (
	storeFile   = "state.db"
	storeFormat = 2
)

var (
	bucketSealed   = []byte("sealed")
	bucketUnsigned = []byte("entries") // of format 1
	bucketHealth   = []byte("health")
	bucketMeta     = []byte("meta")
	keyFormat      = []byte("format")
	keyStamp       = []byte("stamp")
	keyIncarnation = []byte("incarnation")
	keyChain       = []byte("chain")
	keyKeys        = []byte("keys")
	keyRefilling   = []byte("refilling")
	keyTold        = []byte("told")

	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

// errCorrupt marks a database file that can't be read as one.
var errCorrupt = errors.New("the file is damaged")

// errNewer marks a database file of a later release. It is not set aside: a
// person who went back by mistake wants the orders in it.
var errNewer = errors.New("the file was written by a later release")

// contents is everything that the file holds.
type contents struct {
	entries  map[policy.EntryKey]*cluster.Sealed
	unsigned []policy.Entry // of format 1
	health   map[policy.TargetID]policy.HealthEntry
	stamped  time.Time
	marks    marks
	spoilt   int // values that were left out because their checksum or form is wrong
}

func newContents() contents {
	return contents{entries: map[policy.EntryKey]*cluster.Sealed{}, health: map[policy.TargetID]policy.HealthEntry{}}
}

// batch is what one transaction writes.
type batch struct {
	entries []*cluster.Sealed
	health  []policy.HealthEntry
	forget  []policy.EntryKey // entries to remove, before entries are written
	stamp   time.Time         // zero: leave it
	marks   marks             // what is zero in it: leave it
}

func (b *batch) empty() bool {
	return len(b.entries)+len(b.health)+len(b.forget) == 0 && b.stamp.IsZero() && b.marks.none()
}

func dbKey(k policy.EntryKey) []byte { return []byte(string(k.Kind) + "\x00" + k.Key) }

// store is the open database file. One goroutine uses it: see disk.
type store struct {
	path string
	db   *bolt.DB
	info os.FileInfo // of the open file, to notice that the path no longer leads to it
	hurt bool        // a fault was caught inside of it: it may hold its own locks for ever
}

// opening is what a database file is opened for.
type opening uint8

const (
	toRead  opening = iota
	toWrite         // a file that is there
	toMake          // one that is not
)

// openStore opens the file and reads all of it. Every fault on the way, also one
// of the memory map, comes back as an error.
func openStore(path string, how opening) (s *store, c contents, err error) {
	defer catchFault(&err, nil)()
	db, err := bolt.Open(path, 0o640, boltOptions(how))
	if err != nil {
		return nil, c, classify("open", path, err)
	}
	s = &store{path: path, db: db}
	if c, err = s.read(); err == nil {
		s.info, err = os.Stat(path)
	}
	if err == nil && how != toRead {
		err = s.write(&batch{})
	}
	if err != nil {
		s.close()
		return nil, c, err
	}
	return s, c, nil
}

func boltOptions(how opening) *bolt.Options {
	return &bolt.Options{
		// The folder's lock keeps other nodes away; this one is for foreign tools.
		Timeout:      time.Second,
		ReadOnly:     how == toRead,
		FreelistType: bolt.FreelistMapType,
		OpenFile: func(path string, flag int, mode os.FileMode) (*os.File, error) {
			return openFile(path, flag, mode, how)
		},
	}
}

// openFile keeps bbolt from waiting for a FIFO, and from taking a file that lost
// its content for a new one: what was in it would be gone without a word.
func openFile(path string, flag int, mode os.FileMode, how opening) (*os.File, error) {
	flag &^= os.O_CREATE
	if how == toMake {
		flag |= os.O_CREATE | os.O_EXCL
	}
	f, err := bounded.Open(path, flag, mode)
	if err != nil || how == toMake {
		return f, err
	}
	info, err := f.Stat()
	if err == nil && info.Size() == 0 {
		err = errors.New("it is empty")
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// classify tells damage from a disk that does not do what it is told.
func classify(op, path string, err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) || errors.Is(err, bolterrors.ErrTimeout) || errors.Is(err, bounded.ErrIrregular) {
		return fmt.Errorf("%s %s: %w", op, path, err)
	}
	return fmt.Errorf("%s %s: %w: %w", op, path, errCorrupt, err)
}

// catchFault makes a panic of the calling goroutine, also the SIGBUS of a file
// that was truncated under its memory map, into an error, and sets hurt, if
// given. Use as defer catchFault(&err, &hurt)().
func catchFault(err *error, hurt *bool) func() {
	old := debug.SetPanicOnFault(true)
	return func() {
		debug.SetPanicOnFault(old)
		if p := recover(); p != nil {
			*err = fmt.Errorf("%w: %s", errCorrupt, faultText(p))
			if hurt != nil {
				*hurt = true
			}
		}
	}
}

// faultText is what a person makes of a panic: the runtime calls every fault of
// memory a nil pointer.
func faultText(p any) string {
	if f, ok := p.(interface{ Addr() uintptr }); ok {
		return fmt.Sprintf("reading it failed at address %#x: was it truncated, or can its disk not be read?", f.Addr())
	}
	return fmt.Sprint(p)
}

func (s *store) read() (contents, error) {
	c := newContents()
	err := s.db.View(func(tx *bolt.Tx) error {
		meta := tx.Bucket(bucketMeta)
		if meta == nil {
			return nil // a new file
		}
		if f := meta.Get(keyFormat); len(f) != 1 || f[0] > storeFormat {
			return fmt.Errorf("open %s: format %x: %w", s.path, f, errNewer)
		}
		if err := c.stamped.UnmarshalText(meta.Get(keyStamp)); err != nil {
			c.stamped = time.Time{} // never stamped
		}
		c.marks.read(meta)
		if err := c.readEntries(tx); err != nil {
			return err
		}
		if b := tx.Bucket(bucketHealth); b != nil {
			return b.ForEach(func(k, v []byte) error {
				var h policy.HealthEntry
				if !unseal(v, &h) || string(h.Target) != string(k) {
					c.spoilt++
					return nil
				}
				c.health[h.Target] = h
				return nil
			})
		}
		return nil
	})
	return c, err
}

// unsignedEntry is an entry as format 1 has it: its value in base64.
type unsignedEntry struct {
	policy.Entry
	Value []byte `json:"value"`
}

// readEntries reads what is signed, or in a file of format 1 is not yet.
func (c *contents) readEntries(tx *bolt.Tx) error {
	if b := tx.Bucket(bucketUnsigned); b != nil {
		if err := b.ForEach(func(k, v []byte) error {
			var e unsignedEntry
			if !unseal(v, &e) || !bytes.Equal(dbKey(e.EntryKey()), k) {
				c.spoilt++
				return nil
			}
			e.Entry.Value = e.Value
			c.unsigned = append(c.unsigned, e.Entry)
			return nil
		}); err != nil {
			return err
		}
	}
	b := tx.Bucket(bucketSealed)
	if b == nil {
		return nil
	}
	return b.ForEach(func(k, v []byte) error {
		raw, ok := checked(v)
		if !ok {
			c.spoilt++
			return nil
		}
		s, err := cluster.DecodeSealed(raw)
		if err != nil || !bytes.Equal(dbKey(s.Entry.EntryKey()), k) {
			c.spoilt++
			return nil
		}
		c.entries[s.Entry.EntryKey()] = s
		return nil
	})
}

// write makes one transaction and has it on the disk when it returns nil.
func (s *store) write(b *batch) (err error) {
	defer catchFault(&err, &s.hurt)()
	err = s.db.Update(func(tx *bolt.Tx) error {
		meta, err := tx.CreateBucketIfNotExists(bucketMeta)
		if err != nil {
			return err
		}
		if err := writeMeta(meta, b); err != nil {
			return err
		}
		if err := writeEntries(tx, b); err != nil {
			return err
		}
		return writeHealth(tx, b)
	})
	if err != nil {
		return fmt.Errorf("write %s: %w", s.path, err)
	}
	return nil
}

// writeMeta also raises the format of an older file. What that file has unsigned goes
// with the first batch that seals it.
func writeMeta(meta *bolt.Bucket, b *batch) error {
	if f := meta.Get(keyFormat); len(f) != 1 || f[0] != storeFormat {
		if err := meta.Put(keyFormat, []byte{storeFormat}); err != nil {
			return err
		}
	}
	if !b.stamp.IsZero() {
		text, err := b.stamp.UTC().MarshalText()
		if err != nil {
			return err
		}
		if err := meta.Put(keyStamp, text); err != nil {
			return err
		}
	}
	return b.marks.write(meta)
}

func writeEntries(tx *bolt.Tx, b *batch) error {
	bucket, err := tx.CreateBucketIfNotExists(bucketSealed)
	if err != nil {
		return err
	}
	for _, k := range b.forget {
		if err := bucket.Delete(dbKey(k)); err != nil {
			return err
		}
	}
	for _, s := range b.entries {
		key := dbKey(s.Entry.EntryKey())
		if raw, ok := checked(bucket.Get(key)); ok {
			if held, err := cluster.DecodeSealed(raw); err == nil && held.Beats(s) {
				continue
			}
		}
		if err := bucket.Put(key, sum(s.Bytes())); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	if b.marks.incarnation > 0 && tx.Bucket(bucketUnsigned) != nil { // the first batch of this start holds them sealed
		return tx.DeleteBucket(bucketUnsigned)
	}
	return nil
}

func writeHealth(tx *bolt.Tx, b *batch) error {
	bucket, err := tx.CreateBucketIfNotExists(bucketHealth)
	if err != nil {
		return err
	}
	for i := range b.health {
		h := &b.health[i]
		if err := put(bucket, []byte(h.Target), h); err != nil {
			return fmt.Errorf("health of %s: %w", h.Target, err)
		}
	}
	return nil
}

// moved tells whether the path no longer leads to the open file: somebody
// removed or replaced it, and what is written would be lost.
func (s *store) moved() error {
	info, err := os.Stat(s.path)
	switch {
	case err != nil:
		return fmt.Errorf("the database file is gone: %w", err)
	case !os.SameFile(info, s.info):
		return fmt.Errorf("the database file %s was replaced by another", s.path)
	}
	return nil
}

// close gives the file back. A hurt one is left to the end of the process,
// since closing it may wait for ever.
func (s *store) close() {
	if s.hurt {
		return
	}
	var err error
	defer catchFault(&err, nil)()
	_ = s.db.Close() // every write was synced before
}

// rebuildStore writes c into a new file and puts it in the place of path, as
// one step: a crash leaves the old file or the new one.
func rebuildStore(path string, c *contents) (*store, error) {
	temp := path + ".new"
	if err := os.Remove(temp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	s, _, err := openStore(temp, toMake)
	if err != nil {
		return nil, err
	}
	b := batch{stamp: c.stamped, marks: c.marks}
	for _, e := range c.entries {
		b.entries = append(b.entries, e)
	}
	for _, h := range c.health {
		b.health = append(b.health, h)
	}
	if err = s.write(&b); err == nil {
		err = os.Rename(temp, path)
	}
	if err == nil {
		s.path = path
		s.info, err = os.Stat(path)
	}
	if err == nil {
		err = syncFolder(filepath.Dir(path))
	}
	if err != nil {
		s.close()
		_ = os.Remove(temp)
		return nil, err
	}
	return s, nil
}

// syncFolder makes a rename in the folder last.
func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

func put(b *bolt.Bucket, key []byte, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return b.Put(key, sum(text))
}

// sum puts the checksum before a value.
func sum(text []byte) []byte {
	summed := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(text)), crc32.Checksum(text, castagnoli))
	return append(summed, text...)
}

// checked is a value without its checksum; false: there is none, or it is damaged.
func checked(summed []byte) ([]byte, bool) {
	if len(summed) < 4 || binary.BigEndian.Uint32(summed) != crc32.Checksum(summed[4:], castagnoli) {
		return nil, false
	}
	return summed[4:], true
}

func unseal(summed []byte, v any) bool {
	text, ok := checked(summed)
	return ok && json.Unmarshal(text, v) == nil
}
