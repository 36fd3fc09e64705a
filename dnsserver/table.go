package dnsserver

import "encoding/binary"

// table finds the compiled answers of one zone by name: an open-addressed hash
// table over entries in byte arenas. It holds few pointers, so a million names
// give the garbage collector nothing to walk, and grows without ever copying
// more than the slots.
//
// An entry is
//
//	length of the name below the apex (1 octet), that name in wire form without the apex
//	flags (1 octet), number of answers (2 octets)
//	the answers, each as type (2 octets), length (2 octets), answer
//
// where type 0 is the answer to all types not listed, and an answer of length
// zero is one that is composed each time. See answer for the rest.
type table struct {
	slots  []uint64 // upper half of the hash; place of the entry plus one, or 0: free
	chunks [][]byte
	n      int
	yield  func() // called every so often while the table is made
}

const (
	chunkBits = 20
	maxEntry  = 1 << 19
)

// Flags of an entry.
const (
	isCut   = 1 << iota // names below are delegated
	isDNAME             // names below are redirected
	hasStar             // there is a wildcard below
	isLoose             // steered, or a CNAME that leads to other data: the view may know more
	isAlias             // a CNAME's
	isSlow              // composed each time, whatever the type
)

// slot is where the search for a hash starts.
func (t *table) slot(h uint64) uint64 { return (h >> 32) * uint64(len(t.slots)) >> 32 }

// get returns the entry of a name (given without the apex), or nil.
func (t *table) get(h uint64, rel []byte) entry {
	if len(t.slots) == 0 {
		return nil
	}
	for i := t.slot(h); ; {
		s := t.slots[i]
		if s == 0 {
			return nil
		}
		if s>>32 == h>>32 {
			if e := t.at(uint32(s) - 1); string(e[1:1+int(e[0])]) == string(rel) {
				return e
			}
		}
		if i++; i == uint64(len(t.slots)) {
			i = 0
		}
	}
}

// warm touches the entries of names with those hashes. What it returns only
// keeps the compiler from leaving that out.
func (t *table) warm(hashes []uint64) (sum byte) {
	if len(t.slots) == 0 {
		return 0
	}
	for i, h := range hashes {
		hashes[i] = t.slots[t.slot(h)]
	}
	for _, s := range hashes {
		if place := uint32(s); place != 0 {
			sum += t.at(place - 1)[0]
		}
	}
	return sum
}

func (t *table) at(place uint32) entry {
	return entry(t.chunks[place>>chunkBits][place&(1<<chunkBits-1):])
}

// add copies an entry in. It fails when 4 GiB of entries are full.
func (t *table) add(h uint64, e []byte) bool {
	last := len(t.chunks) - 1
	if last < 0 || len(t.chunks[last])+len(e) > 1<<chunkBits {
		if last+1 == 1<<(32-chunkBits) {
			return false
		}
		t.chunks = append(t.chunks, nil)
		last++
	}
	place := uint32(last<<chunkBits | len(t.chunks[last]))
	t.chunks[last] = append(t.chunks[last], e...)
	if (t.n+1)*4 > len(t.slots)*3 {
		t.resize(2*len(t.slots) + 4)
	}
	t.put(h&^0xFFFFFFFF | uint64(place+1))
	t.n++
	return true
}

func (t *table) put(s uint64) {
	i := t.slot(s)
	for t.slots[i] != 0 {
		if i++; i == uint64(len(t.slots)) {
			i = 0
		}
	}
	t.slots[i] = s
}

// resize makes room for size slots. The index is taken from the half of the
// hash that slots hold, so entries need not be looked at.
func (t *table) resize(size int) {
	old := t.slots
	t.slots = make([]uint64, size)
	for i, s := range old {
		if s != 0 {
			t.put(s)
		}
		if i%1024 == 0 {
			t.yield()
		}
	}
}

// trim gives back what growing left over.
func (t *table) trim() {
	if size := t.n*4/3 + 1; size < len(t.slots) {
		t.resize(size)
	}
	if last := len(t.chunks) - 1; last >= 0 {
		t.chunks[last] = append(make([]byte, 0, len(t.chunks[last])), t.chunks[last]...)
	}
}

// size is what the table takes in memory.
func (t *table) size() int {
	n := 8 * len(t.slots)
	for _, c := range t.chunks {
		n += cap(c)
	}
	return n
}

// entry is one name's answers, and whatever lies after them.
type entry []byte

func (e entry) flags() byte { return e[1+int(e[0])] }

func (e entry) setFlag(f byte) { e[1+int(e[0])] |= f }

// answer returns what is answered to a type. found says whether the entry has
// a say at all; a found answer without octets has to be composed.
func (e entry) answer(typ uint16) (a answer, found bool) {
	at := 2 + int(e[0])
	n := binary.LittleEndian.Uint16(e[at:])
	e = e[at+2:]
	for ; n > 0; n-- {
		t := binary.LittleEndian.Uint16(e)
		end := 4 + int(binary.LittleEndian.Uint16(e[2:]))
		if t == typ || t == inTable {
			return answer(e[4:end:end]), true
		}
		e = e[end:]
	}
	return nil, false
}

// answer is a compiled message without header, question and OPT:
//
//	rcode (low 4 bits) and AA (bit 4); numbers of relocations r and of clashes c (1 octet each)
//	ANCOUNT, NSCOUNT, ARCOUNT
//	the records
//	r times 2 octets, c times 4 octets
//
// It was compiled for a question of the same length. To use it for another one
// (a name below a cut or a zone's apex, or one that a wildcard matches), each
// pointer at a relocation is moved by the difference, provided that the label
// below the ancestor in common is none of the clashes: names in the records
// that could be compressed further against this question.
type answer []byte

const (
	answerHead = 9
	answerAA   = 0x10
)

// records returns the part that is copied behind the question.
func (a answer) records() []byte {
	return a[answerHead : len(a)-2*int(a[1])-4*int(a[2])]
}

// negative says whether the answer has records of the authority section: that of an alias is then a NODATA.
func (a answer) negative() bool { return len(a) > 0 && binary.BigEndian.Uint16(a[5:]) > 0 }

// clashes says whether the answer can't be used for a question with that
// suffix: the name one label below the ancestor.
func (a answer) clashes(suffix uint64) bool {
	if len(a) == 0 {
		return true
	}
	for at := len(a) - 4*int(a[2]); at < len(a); at += 4 {
		if binary.LittleEndian.Uint32(a[at:]) == uint32(suffix>>32) {
			return true
		}
	}
	return false
}

// relocate moves the pointers of records that were copied to b.
func (a answer) relocate(b []byte, delta int) {
	end := len(a) - 4*int(a[2])
	for at := end - 2*int(a[1]); at < end; at += 2 {
		p := b[binary.LittleEndian.Uint16(a[at:]):]
		binary.BigEndian.PutUint16(p, binary.BigEndian.Uint16(p)+uint16(delta))
	}
}
