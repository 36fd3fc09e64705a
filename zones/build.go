package zones

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"math"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// builder collects a zone's records in any order, sorts and checks them, and
// lays them out as a Zone. Until then a record is, in a chunk,
//
//	length of the key, type (2 octets each), TTL (4), length of the rdata,
//	file (2 each), line (4), the key, the rdata
//
// the key being the owner's; see appendKey. All chunks but the first, which is
// small, are memory of their own that goes back to the system when the zone is
// built: a large zone is loaded beside its running version without doubling
// the heap, and the garbage collector has nothing to do with it.
type builder struct {
	apex   []byte
	pace   *pacer
	report report
	chunks [][]byte
	at     []uint32 // offsets of the records: chunk, then place in it
	key    []byte

	soa []byte // rdata
}

const (
	chunkBits  = 20
	chunkSize  = 1 << chunkBits
	smallChunk = 4096
	headSize   = 16
)

// newChunk makes room for records. The small one is of the heap.
func newChunk(small bool) ([]byte, error) {
	if small {
		return make([]byte, 0, smallChunk), nil
	}
	c, err := unix.Mmap(-1, 0, chunkSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	return c[:0], nil
}

// release gives the chunks back. Nothing that points into them may be left.
func (b *builder) release() {
	for _, c := range b.chunks {
		if cap(c) == chunkSize {
			_ = unix.Munmap(c[:chunkSize]) // fails only for what is no mapping
		}
	}
	b.chunks, b.at, b.soa = nil, nil, nil
}

func newBuilder(apex []byte, pace *pacer) *builder { return &builder{apex: apex, pace: pace} }

// held is a record in a chunk.
type held []byte

func (h held) keyLen() int { return int(binary.BigEndian.Uint16(h)) }
func (h held) typ() uint16 { return binary.BigEndian.Uint16(h[2:]) }
func (h held) ttl() uint32 { return binary.BigEndian.Uint32(h[4:]) }
func (h held) key() []byte { return h[headSize : headSize+h.keyLen()] }
func (h held) rdata() []byte {
	at := headSize + h.keyLen()
	return h[at : at+int(binary.BigEndian.Uint16(h[8:]))]
}

func (h held) place() place {
	return place{binary.BigEndian.Uint16(h[10:]), binary.BigEndian.Uint32(h[12:])}
}

func (b *builder) held(at uint32) held {
	return held(b.chunks[at>>chunkBits][at&(chunkSize-1):])
}

// add takes one record.
func (b *builder) add(r record, from place) {
	rel, ok := below(r.owner, b.apex)
	if !ok {
		b.report.warnf(from, "%s is not in the zone %s: the record is ignored", NameText(r.owner), NameText(b.apex))
		return
	}
	b.key = appendKey(b.key[:0], rel)
	size := headSize + len(b.key) + len(r.rdata)
	last := len(b.chunks) - 1
	for last < 0 || len(b.chunks[last])+size > cap(b.chunks[last]) {
		if len(b.chunks) == 1<<(32-chunkBits) {
			b.report.errorf(from, "the zone is larger than 4 GiB")
			return
		}
		c, err := newChunk(last < 0)
		if err != nil {
			b.report.errorf(from, "no memory for the zone: %v", err)
			return
		}
		b.chunks = append(b.chunks, c)
		last++
	}
	c := b.chunks[last]
	b.at = append(b.at, uint32(last)<<chunkBits|uint32(len(c)))
	c = binary.BigEndian.AppendUint16(c, uint16(len(b.key)))
	c = binary.BigEndian.AppendUint16(c, r.typ)
	c = binary.BigEndian.AppendUint32(c, r.ttl)
	c = binary.BigEndian.AppendUint16(c, uint16(len(r.rdata)))
	c = binary.BigEndian.AppendUint16(c, from.file)
	c = binary.BigEndian.AppendUint32(c, from.line)
	c = append(c, b.key...)
	b.chunks[last] = append(c, r.rdata...)
}

// build gives the zone, or nil when something was found wrong.
func (b *builder) build() *Zone {
	if b.report.full() {
		return nil
	}
	b.sort()
	c := checker{b: b}
	size, nodes := b.layout(&c, nil)
	if len(b.report.errors) == 0 {
		b.checkApex()
	}
	if len(b.report.errors) > 0 {
		return nil
	}
	if size > math.MaxUint32-1 {
		b.report.errorf(place{}, "the zone is larger than 4 GiB")
		return nil
	}
	z := &Zone{name: NameText(b.apex), apex: b.apex, data: make([]byte, 0, size), index: newIndex(nodes)}
	b.layout(nil, z)
	z.finish(b.pace)
	b.checkTargets(z)
	if len(b.report.errors) > 0 {
		return nil
	}
	return z
}

// sort orders the records by owner, type and rdata, equal ones as they came.
func (b *builder) sort() {
	slices.SortFunc(b.at, func(x, y uint32) int {
		b.pace.tick()
		p, q := b.held(x), b.held(y)
		if c := bytes.Compare(p.key(), q.key()); c != 0 {
			return c
		}
		if c := cmp.Compare(p.typ(), q.typ()); c != 0 {
			return c
		}
		if c := bytes.Compare(p.rdata(), q.rdata()); c != 0 {
			return c
		}
		return cmp.Compare(x, y)
	})
}

// group is the RRsets of one owner.
type group struct {
	key  []byte
	sets []groupSet
}

type groupSet struct {
	typ  uint16
	ttl  uint32
	recs []held // without duplicates
	size int    // octets of the records with their lengths
}

// layout goes through the sorted records, owner by owner, empty non-terminals
// among them. With a checker it checks; with a zone it fills it. It returns
// the octets and the nodes that the zone takes.
func (b *builder) layout(c *checker, z *Zone) (size uint64, nodes int) {
	var (
		prev  []byte
		g     group
		rel   []byte
		state occlusion
	)
	for i := 0; i < len(b.at); {
		i = b.group(&g, i, c)
		// Ancestors that own nothing: the key begins with theirs, and those
		// that the key before begins with as well have been seen.
		for n, same := 0, commonPrefix(prev, g.key); n < len(g.key)-1; n++ {
			if g.key[n] == 0 && n >= same {
				rel = appendRel(rel[:0], g.key[:n+1])
				empty := group{key: g.key[:n+1]}
				size += nodeSize(rel, &empty)
				nodes++
				if z != nil {
					z.appendNode(rel, state.flags(&empty, rel)|FlagEmpty, &empty)
				}
			}
		}
		rel = appendRel(rel[:0], g.key)
		flags := state.flags(&g, rel)
		if c != nil {
			c.check(&g, rel, flags)
		}
		size += nodeSize(rel, &g)
		nodes++
		if z != nil {
			z.appendNode(rel, flags, &g)
		}
		prev = g.key
		b.pace.tick()
	}
	return size, nodes
}

// group reads the records of one owner, from the i-th on, and returns where
// the next owner's begin.
func (b *builder) group(g *group, i int, c *checker) int {
	g.key, g.sets = b.held(b.at[i]).key(), g.sets[:0]
	for ; i < len(b.at); i++ {
		h := b.held(b.at[i])
		if !bytes.Equal(h.key(), g.key) {
			break
		}
		if n := len(g.sets); n == 0 || g.sets[n-1].typ != h.typ() {
			g.sets = slices.Grow(g.sets, 1)[:n+1]
			s := &g.sets[n]
			*s = groupSet{typ: h.typ(), recs: s.recs[:0]}
		}
		s := &g.sets[len(g.sets)-1]
		if n := len(s.recs); n > 0 && bytes.Equal(s.recs[n-1].rdata(), h.rdata()) {
			if c != nil {
				c.duplicate(h, s.recs[n-1])
			}
			if h.ttl() < s.recs[n-1].ttl() {
				s.recs[n-1] = h
			}
			continue
		}
		s.recs = append(s.recs, h)
		s.size += 2 + len(h.rdata())
	}
	for k := range g.sets {
		b.chooseTTL(&g.sets[k], c)
	}
	return i
}

// chooseTTL settles the one TTL of an RRset: the lowest, as a resolver has to
// (RFC 2181 §5.2); named takes the first, Knot the last, NSD all of them. A
// record without any has the SOA record's MINIMUM (RFC 1035 §3.3.13).
func (b *builder) chooseTTL(s *groupSet, c *checker) {
	ttl := func(h held) uint32 {
		if t := h.ttl(); t != noTTL {
			return t
		}
		return b.minimum()
	}
	s.ttl = ttl(s.recs[0])
	odd := -1
	for i, h := range s.recs {
		if t := ttl(h); t != s.ttl {
			s.ttl, odd = min(s.ttl, t), i
		}
	}
	if c != nil && odd > 0 {
		c.warnf(s.recs[odd], "%s records of %s with different TTLs: the lowest counts, %d (RFC 2181 §5.2)",
			typeText(s.typ), b.text(s.recs[odd]), s.ttl)
	}
}

// minimum is the SOA record's MINIMUM field.
func (b *builder) minimum() uint32 {
	if b.soa == nil && len(b.at) > 0 {
		b.soa = []byte{}
		for _, at := range b.at {
			h := b.held(at)
			if h.keyLen() > 0 || h.typ() > typeSOA {
				break
			}
			if h.typ() == typeSOA {
				b.soa = h.rdata()
				break
			}
		}
	}
	if len(b.soa) < 4 {
		return 0
	}
	return min(binary.BigEndian.Uint32(b.soa[len(b.soa)-4:]), maxTTL)
}

// occlusion follows, in canonical order, what lies below zone cuts and DNAMEs.
type occlusion struct {
	cut, dname []byte // keys of the latest
}

// flags gives a node's flags and remembers what it means for those after it.
func (o *occlusion) flags(g *group, rel []byte) NodeFlags {
	var f NodeFlags
	if len(g.key) == 0 {
		f |= FlagApex
	}
	if isWildcard(rel) {
		f |= FlagWildcard
	}
	if o.cut != nil && len(g.key) > len(o.cut) && bytes.HasPrefix(g.key, o.cut) {
		f |= FlagBelowCut
	}
	if o.dname != nil && len(g.key) > len(o.dname) && bytes.HasPrefix(g.key, o.dname) {
		f |= FlagBelowDNAME
	}
	for i := range g.sets {
		switch {
		case g.sets[i].typ == typeNS && f&(FlagApex|FlagBelowCut|FlagBelowDNAME) == 0:
			f |= FlagDelegation
			o.cut = g.key
		case g.sets[i].typ == typeDNAME && f&(FlagBelowCut|FlagBelowDNAME) == 0:
			f |= FlagHasDNAME
			o.dname = g.key
		}
	}
	return f
}

func commonPrefix(a, b []byte) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

func nodeSize(rel []byte, g *group) uint64 {
	n := 2 + len(rel) + uvarintLen(len(g.sets))
	for i := range g.sets {
		s := &g.sets[i]
		n += 6 + uvarintLen(len(s.recs)) + uvarintLen(s.size) + s.size
	}
	return uint64(n)
}

func uvarintLen(n int) int {
	l := 1
	for ; n >= 0x80; n >>= 7 {
		l++
	}
	return l
}

// appendNode writes a node; see node.go for the form.
func (z *Zone) appendNode(rel []byte, flags NodeFlags, g *group) {
	z.index.add(rel, uint32(len(z.data)))
	d := append(z.data, uint8(len(rel)))
	d = append(d, rel...)
	d = append(d, uint8(flags))
	d = binary.AppendUvarint(d, uint64(len(g.sets)))
	for i := range g.sets {
		s := &g.sets[i]
		d = binary.BigEndian.AppendUint16(d, s.typ)
		d = binary.BigEndian.AppendUint32(d, s.ttl)
		d = binary.AppendUvarint(d, uint64(len(s.recs)))
		d = binary.AppendUvarint(d, uint64(s.size))
		for _, h := range s.recs {
			rdata := h.rdata()
			d = binary.BigEndian.AppendUint16(d, uint16(len(rdata)))
			d = append(d, rdata...)
		}
		z.records += len(s.recs)
	}
	z.data = d
}

// finish works out what is asked for often, and the digest.
func (z *Zone) finish(pace *pacer) {
	soa := z.SOA()
	soa.Each(func(rdata []byte) bool {
		fixed := rdata[len(rdata)-20:]
		z.serial = binary.BigEndian.Uint32(fixed)
		z.negTTL = min(soa.TTL, binary.BigEndian.Uint32(fixed[16:]))
		return false
	})
	h := sha256.New()
	var head []byte
	z.Walk(func(owner []byte, sets []RRset, _ NodeFlags) bool {
		for _, s := range sets {
			s.Each(func(rdata []byte) bool {
				head = append(head[:0], owner...)
				head = binary.BigEndian.AppendUint16(head, s.Type)
				head = append(head, 0, 1) // class IN
				head = binary.BigEndian.AppendUint32(head, s.TTL)
				head = binary.BigEndian.AppendUint16(head, uint16(len(rdata)))
				h.Write(head)
				h.Write(rdata)
				pace.tick()
				return true
			})
		}
		return true
	})
	h.Sum(z.digest[:0])
}
