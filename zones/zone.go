package zones

import "iter"

// Spec is one configured zone.
type Spec struct {
	Name string `json:"name"` // canonical: lower case, with the final dot
	File string `json:"file"` // the master file; relative to the working directory where it is not absolute
}

// Zone is one immutable, checked zone. It keeps its nodes in canonical order
// (RFC 4034 §6.1) in one array of bytes, and finds them by a hash table of
// offsets, so that the garbage collector has nothing to walk.
//
// Owner names, and the names inside the rdata of the types that RFC 4034 §6.2
// lists, are in lower case; RRsets are in canonical order, without duplicates.
type Zone struct {
	name    string
	apex    []byte // wire form, lower case
	data    []byte // the nodes; see node.go
	index   index
	records int
	serial  uint32
	negTTL  uint32
	digest  [32]byte
	overlay *overlay // nil: no steered names
}

// Name is the zone's name in canonical presentation form: "shop.example.".
func (z *Zone) Name() string { return z.name }

// Apex is the zone's name in canonical wire form. It must not be changed.
func (z *Zone) Apex() []byte { return z.apex }

// Serial is the SOA record's.
func (z *Zone) Serial() uint32 { return z.serial }

// Records counts the resource records, steered ones not included.
func (z *Zone) Records() int { return z.records }

// Digest is the SHA-256 of the zone's records in canonical form and order (as
// RFC 8976 §3.3.1, without its exceptions). Files that differ only in how they
// are written (comments, order, letter case, TTL units) have the same digest.
// Steered names are not part of it.
func (z *Zone) Digest() [32]byte { return z.digest }

// NegativeTTL is how long a negative answer may be cached: the lesser of the
// SOA record's TTL and its MINIMUM field (RFC 2308 §5), in seconds.
func (z *Zone) NegativeTTL() uint32 { return z.negTTL }

// SOA is the zone's SOA record, with its own TTL.
func (z *Zone) SOA() RRset {
	s, _ := z.RRset(z.apex, typeSOA)
	return s
}

// NodeFlags says what kind of node an owner name is.
type NodeFlags uint8

const (
	FlagApex       NodeFlags = 1 << iota // the zone's own name
	FlagDelegation                       // NS below the apex: the top of a zone cut
	FlagBelowCut                         // below a delegation: glue, or occluded data
	FlagHasDNAME                         // owns a DNAME record: names below it are redirected (RFC 6672)
	FlagBelowDNAME                       // below a node with a DNAME record: occluded
	FlagWildcard                         // the first label is an asterisk (RFC 4592)
	FlagEmpty                            // an empty non-terminal (RFC 4592 §2.2.2): neither records nor steering
	FlagSteered                          // one of WithNames: A and AAAA come from steering
)

// RRset is a set of records of one owner and type. It is a view into a Zone:
// nothing in it may be changed.
type RRset struct {
	Owner []byte // canonical wire form. From Lookup and Zone.RRset it is (part of) the name that was asked for
	Type  uint16
	TTL   uint32 // seconds
	count int
	data  []byte // count times: length in two octets, rdata
}

// Len is the number of records.
func (s RRset) Len() int { return s.count }

// Each calls f with the rdata of each record in uncompressed wire form, in
// canonical order, until f returns false.
func (s RRset) Each(f func(rdata []byte) bool) {
	for d := s.data; len(d) > 0; {
		n := 2 + int(d[0])<<8 + int(d[1])
		if !f(d[2:n:n]) {
			return
		}
		d = d[n:]
	}
}

// All ranges over what Each calls with.
func (s RRset) All() iter.Seq[[]byte] { return s.Each }
