package zones

import (
	"bytes"
	"hash/maphash"
	"math/bits"
)

// index finds nodes by their names below the apex: an open-addressed hash
// table with linear probing. A tag is one octet of the hash; comparing tags
// first leaves a search that finds nothing within one or two cache lines.
type index struct {
	slots []uint32 // offset of the node plus one; 0: free
	tags  []uint8
}

// seed is the process's own, so that nobody can choose names that collide.
var seed = maphash.MakeSeed()

// newIndex makes a table for n nodes, filled to four fifths.
func newIndex(n int) index {
	size := n + n/4 + 1
	return index{slots: make([]uint32, size), tags: make([]uint8, size)}
}

func (x *index) start(rel []byte) (slot uint64, tag uint8) {
	h := maphash.Bytes(seed, rel)
	slot, _ = bits.Mul64(h, uint64(len(x.slots)))
	return slot, uint8(h)
}

// add enters a node that is not yet in the table.
func (x *index) add(rel []byte, off uint32) {
	i, tag := x.start(rel)
	for x.slots[i] != 0 {
		if i++; i == uint64(len(x.slots)) {
			i = 0
		}
	}
	x.slots[i], x.tags[i] = off+1, tag
}

// get returns the node's offset in data.
func (x *index) get(data, rel []byte) (off uint32, ok bool) {
	i, tag := x.start(rel)
	for x.slots[i] != 0 {
		if x.tags[i] == tag {
			off := x.slots[i] - 1
			d := data[off:]
			if int(d[0]) == len(rel) && bytes.Equal(d[1:1+len(rel)], rel) {
				return off, true
			}
		}
		if i++; i == uint64(len(x.slots)) {
			i = 0
		}
	}
	return 0, false
}
