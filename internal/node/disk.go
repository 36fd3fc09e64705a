package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/scloudstack/pharos/cluster"
	"github.com/scloudstack/pharos/policy"
)

const (
	stampEvery = 10 * time.Second       // how often a serving node says so on its disk
	retryEvery = 2 * time.Second        // how often a disk that does not write is tried again
	gatherFor  = 100 * time.Millisecond // how long the machine's writes wait for others to be written with
)

var errStopping = errors.New("the node is stopping")

// disk keeps entries and health in the data folder. Its goroutine (run) alone
// touches the database; everything that is on the disk is in memory too, so
// that a damaged or lost file is written anew from there.
//
// A disk that does not write stops nobody: what the machine wants to keep waits
// in memory, and each order is told that it was not stored.
type disk struct {
	dir    string
	path   string
	log    *slog.Logger
	soon   chan struct{} // something of the machine's waits
	urgent chan struct{} // an order waits

	mu      sync.Mutex
	entries map[policy.EntryKey]*cluster.Sealed // wait to be written
	marks   marks                               // the same
	aside   bool                                // the file is to be copied before it is written again
	forget  map[policy.EntryKey]bool            // wait to be removed
	health  map[policy.TargetID]policy.HealthEntry
	orders  []storedOrder
	serving bool
	began   bool // serving began since the last write
	state   DiskState

	// Of the goroutine.
	lock   *os.File
	store  *store // nil: nothing that can be written
	held   contents
	loaded bool // what the folder held at the start was read, or there was none
	opened bool // the start is over: what is on the disk is in memory too
}

// storedOrder is an order that waits to be on the disk.
type storedOrder struct {
	entries []*cluster.Sealed
	done    func(error) // called once, from the disk's goroutine
}

// stored is what a node starts from.
type stored struct {
	policy.Stored // without Entries: the replica has them
	sealed        []*cluster.Sealed
	unsigned      []policy.Entry // of format 1: to be sealed by this node
	marks         marks
}

// DiskState is how the data folder does.
type DiskState struct {
	Path    string
	Failing error // why nothing can be written; nil: it can
	Since   time.Time
	Damaged string // what was found damaged, and where it was put aside; "" if nothing
	Lossy   bool   // it was found at the start: what it held is not in memory
	Rebuilt bool   // it was found later, and all of it was written anew from memory
	Found   time.Time
	Entries map[policy.Kind]int
	Pending int       // writes that wait
	Busy    time.Time // since when a write is under way; zero: none is. A long one is a disk that hangs
	Size    int64
}

// hangAfter is how long a write may be under way before the disk counts as hanging.
const hangAfter = 4 * time.Second

// hangs says since when a write has not come back; nil: none is that late.
func (s DiskState) hangs() error {
	if s.Busy.IsZero() || since(s.Busy) < hangAfter {
		return nil
	}
	return fmt.Errorf("the disk hangs: a write to %s has been under way for %v", s.Path, since(s.Busy).Round(time.Second))
}

// trouble says why nothing gets to the disk; nil: it does.
func (s DiskState) trouble() error {
	if err := s.hangs(); err != nil {
		return err
	}
	return s.Failing
}

// openDisk takes the data folder and reads what is in it. It fails only where
// going on would do harm: another node uses the folder, or a later release
// wrote it. A folder that can't be used otherwise is a disk that is failing.
func openDisk(dir string, log *slog.Logger) (*disk, stored, error) {
	d := &disk{
		dir: dir, path: filepath.Join(dir, storeFile), log: log,
		soon: make(chan struct{}, 1), urgent: make(chan struct{}, 1),
		held: newContents(),
	}
	d.nothingWaits()
	d.state = DiskState{Path: d.path, Since: clock()}
	if err := d.load(); err != nil {
		if errors.Is(err, ErrInUse) || errors.Is(err, errNewer) {
			d.release()
			return nil, stored{}, err
		}
		d.fail(err)
	}
	d.report()
	d.opened = true
	return d, d.stored(), nil
}

// load takes the folder and reads the file in it, also one that it can't write.
func (d *disk) load() error {
	if err := os.MkdirAll(d.dir, 0o750); err != nil {
		return fmt.Errorf("data folder: %w", err)
	}
	if err := d.take(); err != nil {
		return err
	}
	s, c, err := openStore(d.path, toWrite)
	switch {
	case errors.Is(err, errCorrupt):
		if err := d.setAside(err); err != nil {
			return err
		}
		d.loaded = true
		c = newContents()
		s, err = rebuildStore(d.path, &c)
	case errors.Is(err, fs.ErrNotExist):
		d.noteMissing()
		c = newContents()
		s, err = rebuildStore(d.path, &c) // as one step: a new file that is cut off by a crash would be damage
	}
	if err == nil {
		d.store, d.held, d.loaded = s, c, true
		d.noteSpoilt(c.spoilt)
		return nil
	}
	if r, c, rerr := openStore(d.path, toRead); rerr == nil {
		r.close()
		d.held, d.loaded = c, true
		d.noteSpoilt(c.spoilt)
	}
	return err
}

// take locks the folder, again where somebody removed the lock's file.
func (d *disk) take() error {
	if d.lock != nil {
		mine, err := d.lock.Stat()
		if err != nil {
			return err
		}
		if there, err := os.Stat(d.lock.Name()); err == nil && os.SameFile(mine, there) {
			return nil
		}
		d.lock.Close()
		d.lock = nil
	}
	f, err := lockFolder(d.dir)
	if err != nil {
		return err
	}
	d.lock = f
	return nil
}

func (d *disk) release() {
	if d.store != nil {
		d.store.close()
		d.store = nil
	}
	if d.lock != nil {
		d.lock.Close()
		d.lock = nil
	}
}

// stored is what the node starts from.
func (d *disk) stored() stored {
	s := stored{unsigned: d.held.unsigned, marks: d.held.marks}
	s.Stamped = d.held.stamped
	for _, e := range d.held.entries {
		s.sealed = append(s.sealed, e)
	}
	for _, h := range d.held.health {
		s.Health = append(s.Health, h)
	}
	return s
}

// setAside moves the damaged file out of the way and keeps it for people.
func (d *disk) setAside(why error) error {
	aside := fmt.Sprintf("%s.damaged-%s", d.path, clock().UTC().Format("20060102T150405"))
	if err := os.Rename(d.path, aside); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("set the damaged %s aside: %w", d.path, err)
	}
	d.noteDamage(fmt.Sprintf("%v; it was set aside as %s", why, aside))
	return nil
}

func (d *disk) noteSpoilt(n int) {
	if n > 0 {
		d.noteDamage(fmt.Sprintf("%d entries in %s have a wrong checksum and were left out", n, d.path))
	}
}

// noteMissing tells of a folder that was used before and has lost its file. A key
// alone is no sign of use: people make it before the first start.
func (d *disk) noteMissing() {
	signs, _ := filepath.Glob(filepath.Join(d.dir, "zones", "*.zone"))
	if _, err := os.Lstat(filepath.Join(d.dir, keptFile)); err == nil {
		signs = []string{filepath.Join(d.dir, keptFile)}
	}
	if len(signs) > 0 {
		d.noteDamage(fmt.Sprintf("%s is not there, though this node ran before (it left %s): orders that no other node holds are gone, "+
			"unless a copy of the file is put back while the node is stopped", d.path, signs[0]))
	}
}

func (d *disk) noteDamage(text string) {
	d.log.Error("the data folder was damaged", "damage", text)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.state.Damaged, d.state.Found = text, clock()
	d.state.Lossy = d.state.Lossy || !d.opened
}

// Keep has the machine's entries and health written, and what it drops
// removed, within a moment or as soon as the disk writes again. It never waits.
func (d *disk) Keep(entries []*cluster.Sealed, drop []policy.EntryKey, health []policy.HealthEntry) {
	if len(entries)+len(drop)+len(health) == 0 {
		return
	}
	d.mu.Lock()
	d.wait(&batch{entries: entries, health: health})
	d.wait(&batch{forget: drop})
	d.mu.Unlock()
	signal(d.soon)
}

// wait adds to what waits to be written. d.mu is held.
func (d *disk) wait(b *batch) {
	for _, k := range b.forget {
		delete(d.entries, k)
		d.forget[k] = true // also where an entry follows: what is on the disk may be void, and later than that
	}
	for _, s := range b.entries {
		k := s.Entry.EntryKey()
		if held, ok := d.entries[k]; !ok || !held.Beats(s) {
			d.entries[k] = s
		}
	}
	for _, h := range b.health {
		d.health[h.Target] = h
	}
	d.marks.take(b.marks)
	d.state.Pending = d.waits()
}

// Mark has marks written, and with them, in one step, what is sealed of an older file.
func (d *disk) Mark(m marks, sealed []*cluster.Sealed) {
	d.mu.Lock()
	d.wait(&batch{entries: sealed, marks: m})
	d.mu.Unlock()
	signal(d.soon)
}

// SetAside has the file copied for people before anything more is written to it.
func (d *disk) SetAside() {
	d.mu.Lock()
	d.aside = true
	d.mu.Unlock()
}

func (d *disk) takeAside() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	aside := d.aside
	d.aside = false
	return aside
}

func (d *disk) waits() int {
	n := len(d.entries) + len(d.forget) + len(d.health)
	if !d.marks.none() {
		n++
	}
	return n
}

// nothingWaits empties what waits. d.mu is held.
func (d *disk) nothingWaits() {
	d.entries = map[policy.EntryKey]*cluster.Sealed{}
	d.marks = marks{}
	d.forget = map[policy.EntryKey]bool{}
	d.health = map[policy.TargetID]policy.HealthEntry{}
}

// waiting is what waits, as one batch. d.mu is held.
func (d *disk) waiting() batch {
	var b batch
	b.marks = d.marks
	for _, e := range d.entries {
		b.entries = append(b.entries, e)
	}
	for k := range d.forget {
		b.forget = append(b.forget, k)
	}
	for _, h := range d.health {
		b.health = append(b.health, h)
	}
	return b
}

// Store has an order written at once and calls done when it is on the disk, or
// with the reason why not. It does not wait.
func (d *disk) Store(entries []*cluster.Sealed, done func(error)) {
	d.mu.Lock()
	d.orders = append(d.orders, storedOrder{entries, done})
	d.mu.Unlock()
	signal(d.urgent)
}

// Serving says that the node answers, which the stamp on the disk then tells.
func (d *disk) Serving(yes bool) {
	d.mu.Lock()
	d.serving, d.began = yes, yes
	d.mu.Unlock()
	signal(d.soon)
}

// State returns how the disk does.
func (d *disk) State() DiskState {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.state
	s.Entries = maps.Clone(s.Entries)
	return s
}

// Run writes until ctx ends, then writes what still waits and gives the folder back.
func (d *disk) Run(ctx context.Context) error {
	defer d.release()
	tick := time.NewTimer(0)
	defer tick.Stop()
	gather := stoppedTimer()
	defer gather.Stop()
	gathers := false // what comes meanwhile does not begin it anew: it would never end
	for {
		stamp := false
		select {
		case <-ctx.Done():
			d.commit(true)
			d.refuseWaiting()
			return nil
		case <-d.soon:
			if d.store != nil && !gathers {
				gather.Reset(gatherFor)
				gathers = true
			}
			continue // else: at the next try
		case <-gather.C:
		case <-d.urgent:
		case <-tick.C:
			stamp = true
		}
		gathers = false
		d.commit(stamp)
		if d.store == nil {
			tick.Reset(retryEvery)
		} else if stamp {
			tick.Reset(stampEvery)
		}
	}
}

// commit writes everything that waits, in one transaction.
func (d *disk) commit(stamp bool) {
	machine, orders, all := d.collect(stamp)
	if all.empty() && d.store != nil {
		d.settle(machine, orders, nil)
		return
	}
	if d.takeAside() {
		d.copyAside()
	}
	err := d.write(&all)
	if err != nil {
		d.fail(err)
	} else {
		merge(&d.held, &all)
		d.mend()
		d.report()
	}
	d.settle(machine, orders, err)
}

// collect takes what waits, the orders last: one may rest on what the machine did.
func (d *disk) collect(stamp bool) (machine batch, orders []storedOrder, all batch) {
	d.mu.Lock()
	defer d.mu.Unlock()
	machine = d.waiting()
	orders = d.orders
	d.nothingWaits()
	d.orders = nil
	all = machine
	all.entries = slices.Clone(machine.entries)
	for _, o := range orders {
		all.entries = append(all.entries, o.entries...)
	}
	if d.serving && (stamp || d.began || len(all.entries) > 0) {
		all.stamp, d.began = clock(), false
	}
	d.state.Busy = clock()
	return machine, orders, all
}

// settle answers the orders, and lets what was not written wait on.
func (d *disk) settle(machine batch, orders []storedOrder, err error) {
	d.mu.Lock()
	d.state.Busy = time.Time{}
	if err != nil {
		since := d.waiting()
		d.nothingWaits()
		d.wait(&machine)
		d.wait(&since)
	}
	d.mu.Unlock()
	for _, o := range orders {
		o.done(err)
	}
}

// refuseWaiting answers orders that came while the disk was stopping.
func (d *disk) refuseWaiting() {
	d.mu.Lock()
	orders := d.orders
	d.orders = nil
	d.mu.Unlock()
	for _, o := range orders {
		o.done(errStopping)
	}
}

// write puts b on the disk, into a new file made from memory where the old one
// does not do: after an error nothing is known of what the old one holds.
func (d *disk) write(b *batch) error {
	if d.store != nil {
		err := d.store.moved()
		if err == nil {
			if err = d.store.write(b); err == nil {
				return nil
			}
		}
		d.log.Warn("the database file is written anew from memory", "error", err)
		d.store.close()
		d.store = nil
		if errors.Is(err, errCorrupt) {
			if err := d.setAside(err); err != nil {
				return err
			}
		}
	}
	if err := os.MkdirAll(d.dir, 0o750); err != nil {
		return fmt.Errorf("data folder: %w", err)
	}
	if err := d.take(); err != nil {
		return err
	}
	if !d.loaded {
		if _, err := os.Stat(d.path); !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("%s could not be read at the start and may hold orders: restart the node to take them up", d.path)
		}
	}
	next := d.held
	next.entries, next.health = maps.Clone(d.held.entries), maps.Clone(d.held.health)
	merge(&next, b)
	s, err := rebuildStore(d.path, &next)
	if err != nil {
		return err
	}
	d.store, d.loaded = s, true
	d.noteRebuilt()
	return nil
}

// fail notes that the disk does not write.
func (d *disk) fail(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.state.Failing == nil {
		d.state.Since = clock()
		d.log.Error("the disk does not write: orders are refused, everything else goes on", "error", err)
	}
	d.state.Failing = err
}

// mend notes that it writes.
func (d *disk) mend() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.state.Failing != nil {
		d.log.Info("the disk writes again", "after", since(d.state.Since).Round(time.Second))
		d.state.Failing, d.state.Since = nil, clock()
	}
}

// report counts what is held, for metrics and status.
func (d *disk) report() {
	counts := map[policy.Kind]int{}
	for key := range d.held.entries {
		counts[key.Kind]++
	}
	var size int64
	if info, err := os.Stat(d.path); err == nil {
		size = info.Size()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.state.Entries, d.state.Size = counts, size
	d.state.Pending = d.waits()
}

// noteRebuilt says of damage that was found in a running node that nothing was
// lost by it.
func (d *disk) noteRebuilt() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.state.Rebuilt = d.state.Damaged != "" && !d.state.Lossy
}

// merge adds b to c as the file would.
func merge(c *contents, b *batch) {
	for _, k := range b.forget {
		delete(c.entries, k)
	}
	for _, s := range b.entries {
		k := s.Entry.EntryKey()
		if held, ok := c.entries[k]; !ok || !held.Beats(s) {
			c.entries[k] = s
		}
	}
	for _, h := range b.health {
		c.health[h.Target] = h
	}
	if !b.stamp.IsZero() {
		c.stamped = b.stamp
	}
	if b.marks.incarnation > 0 {
		c.unsigned = nil
	}
	c.marks.take(b.marks)
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
