package zones

import "bytes"

// maxDiff bounds the records that a Difference lists on either side.
const maxDiff = 10000

// Difference is what turns one zone into another. A record whose TTL changed
// is removed and added.
type Difference struct {
	From         uint32   `json:"from"` // serials
	To           uint32   `json:"to"`
	Removed      []string `json:"removed,omitempty"` // lines of a master file in canonical order, the first 10,000
	Added        []string `json:"added,omitempty"`
	RemovedCount int      `json:"removed_count"` // all of them
	AddedCount   int      `json:"added_count"`
}

// Diff compares the records of two zones; steered names do not count. With a
// nil every record of b is added, and From is 0.
func Diff(a, b *Zone) Difference {
	d := Difference{To: b.serial}
	if a != nil {
		d.From = a.serial
	}
	x, y := newCursor(a), newCursor(b)
	for x.ok || y.ok {
		switch c := x.compare(y); {
		case c < 0:
			d.remove(x)
			x.next()
		case c > 0:
			d.add(y)
			y.next()
		default:
			if x.set.TTL != y.set.TTL {
				d.remove(x)
				d.add(y)
			}
			x.next()
			y.next()
		}
	}
	return d
}

func (d *Difference) remove(c *cursor) {
	if d.RemovedCount++; d.RemovedCount <= maxDiff {
		d.Removed = append(d.Removed, c.text())
	}
}

func (d *Difference) add(c *cursor) {
	if d.AddedCount++; d.AddedCount <= maxDiff {
		d.Added = append(d.Added, c.text())
	}
}

// cursor goes through a zone's records in canonical order.
type cursor struct {
	z     *Zone
	rest  []byte // nodes to come
	sets  int    // of the present node, to come
	data  []byte // of the present node, to come
	recs  []byte // of the present RRset, to come
	key   []byte
	rel   []byte
	set   RRset
	rdata []byte
	ok    bool
}

func newCursor(z *Zone) *cursor {
	c := &cursor{z: z}
	if z != nil {
		c.rest = z.data
	}
	c.next()
	return c
}

func (c *cursor) next() {
	for len(c.recs) == 0 {
		for c.sets == 0 {
			if len(c.rest) == 0 {
				c.ok = false
				return
			}
			n := nodeAt(c.rest, 0)
			c.rel, c.sets, c.data, c.rest = n.rel, n.sets, n.data, n.skip()
			c.key = appendKey(c.key[:0], n.rel)
		}
		c.set, c.data = readSet(c.data)
		c.sets--
		c.recs = c.set.data
	}
	n := 2 + int(c.recs[0])<<8 + int(c.recs[1])
	c.rdata, c.recs, c.ok = c.recs[2:n], c.recs[n:], true
}

// compare orders two records by owner, type and rdata; the end is last.
func (c *cursor) compare(o *cursor) int {
	switch {
	case !c.ok:
		return 1
	case !o.ok:
		return -1
	}
	if d := bytes.Compare(c.key, o.key); d != 0 {
		return d
	}
	if c.set.Type != o.set.Type {
		return int(c.set.Type) - int(o.set.Type)
	}
	return bytes.Compare(c.rdata, o.rdata)
}

func (c *cursor) text() string {
	return RecordText(c.z.absolute(c.rel), c.set.Type, c.set.TTL, c.rdata)
}
