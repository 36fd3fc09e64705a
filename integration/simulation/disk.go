package simulation

import (
	"time"

	"github.com/scloudstack/pharos/cluster"
	"github.com/scloudstack/pharos/policy"
)

// stampEvery and gatherFor are as in internal/node.
const (
	stampEvery = 10 * time.Second
	gatherFor  = 100 * time.Millisecond
)

// disk is what outlives a crash: what was written, and nothing that still waits.
type disk struct {
	entries     map[policy.EntryKey]*cluster.Sealed
	health      map[policy.TargetID]policy.HealthEntry
	stamped     time.Time
	incarnation uint64
}

func newDisk() *disk {
	return &disk{entries: map[policy.EntryKey]*cluster.Sealed{}, health: map[policy.TargetID]policy.HealthEntry{}}
}

// write is one thing that waits to be written.
type write struct {
	keep        []*cluster.Sealed
	forget      []policy.EntryKey
	health      []policy.HealthEntry
	incarnation uint64
	done        func() // nil: nobody waits for it
}

// writer writes to a disk in batches, in order. It belongs to one life of a node: its end is a crash.
type writer struct {
	n       *node
	waiting []write
	planned bool    // a commit of the machine's writes is planned
	busy    bool    // a transaction is under way
	urgent  bool    // another has to follow it at once
	flight  []write // what it writes
	stamp   bool    // the next transaction stamps the disk
	serving bool
}

// keep has things written, soon.
func (w *writer) keep(x write) {
	if len(x.keep)+len(x.forget)+len(x.health) == 0 && x.incarnation == 0 {
		return
	}
	w.waiting = append(w.waiting, x)
	if !w.planned {
		w.planned = true
		w.n.after(gatherFor, func() {
			w.planned = false
			w.commit()
		})
	}
}

// store has entries written at once, and done called once they are.
func (w *writer) store(keep []*cluster.Sealed, done func()) {
	w.waiting = append(w.waiting, write{keep: keep, done: done})
	w.commit()
}

// tick stamps the disk of a node that serves, as long as it runs.
func (w *writer) tick() {
	w.stamp = true
	w.commit()
	w.n.after(stampEvery, w.tick)
}

func (w *writer) commit() {
	if w.busy {
		w.urgent = true
		return
	}
	if len(w.waiting) == 0 && !w.stamp {
		return
	}
	w.busy, w.flight, w.waiting = true, w.waiting, nil
	took := time.Millisecond + time.Duration(w.n.w.rand.Int64N(int64(4*time.Millisecond)))
	if w.n.w.rand.IntN(30) == 0 {
		took += time.Duration(w.n.w.rand.Int64N(int64(400 * time.Millisecond)))
	}
	w.n.after(max(took, w.n.stalled-w.n.w.now), func() {
		w.land()
		flight := w.flight
		w.busy, w.flight = false, nil
		for _, x := range flight {
			if x.done != nil {
				x.done()
			}
		}
		if w.urgent {
			w.urgent = false
			w.commit()
		}
	})
}

// land puts on the disk what is under way.
func (w *writer) land() {
	d := w.n.disk
	entries := false
	for _, x := range w.flight {
		for _, key := range x.forget {
			delete(d.entries, key)
		}
		for _, s := range x.keep {
			entries = true
			if held, ok := d.entries[s.Entry.EntryKey()]; !ok || !held.Beats(s) {
				d.entries[s.Entry.EntryKey()] = s
			}
		}
		for _, h := range x.health {
			if h.State == policy.Unknown && h.Seen.IsZero() {
				delete(d.health, h.Target)
			} else {
				d.health[h.Target] = h
			}
		}
		d.incarnation = max(d.incarnation, x.incarnation)
	}
	if w.serving && (w.stamp || entries) {
		d.stamped = w.n.time()
	}
	w.stamp = false
}

// crash loses what waits. What was under way may have reached the disk and was acknowledged to nobody.
func (w *writer) crash() {
	if w.busy && w.n.w.rand.IntN(2) == 0 {
		w.land()
	}
}
