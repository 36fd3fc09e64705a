package zones

import "encoding/binary"

// A node is stored as
//
//	length of the owner's name below the apex (1 octet)
//	that name: wire form, without the apex and the root
//	flags (1 octet)
//	number of RRsets (varint)
//	the RRsets, by rising type, each as
//	    type (2 octets), TTL (4 octets)
//	    number of records (varint), octets of all records (varint)
//	    the records, in canonical order: length (2 octets), rdata
//
// and the next node follows. Node offsets are 32 bits wide.
type node struct {
	rel   []byte
	flags NodeFlags
	sets  int
	data  []byte // the RRsets, and whatever follows them
}

// nodeAt reads the head of the node at an offset.
func nodeAt(data []byte, off uint32) node {
	d := data[off:]
	n := 1 + int(d[0])
	sets, w := binary.Uvarint(d[n+1:])
	return node{rel: d[1:n:n], flags: NodeFlags(d[n]), sets: int(sets), data: d[n+1+w:]}
}

// readSet reads the RRset at the head of d and returns what follows it.
func readSet(d []byte) (RRset, []byte) {
	s := RRset{Type: binary.BigEndian.Uint16(d), TTL: binary.BigEndian.Uint32(d[2:])}
	count, w1 := binary.Uvarint(d[6:])
	size, w2 := binary.Uvarint(d[6+w1:])
	d = d[6+w1+w2:]
	s.count, s.data = int(count), d[:size:size]
	return s, d[size:]
}

// find returns the node's RRset of a type.
func (n node) find(typ uint16) (RRset, bool) {
	d := n.data
	for range n.sets {
		var s RRset
		if s, d = readSet(d); s.Type >= typ {
			return s, s.Type == typ
		}
	}
	return RRset{}, false
}

// skip returns what follows the node: the next one.
func (n node) skip() []byte {
	d := n.data
	for range n.sets {
		_, d = readSet(d)
	}
	return d
}
