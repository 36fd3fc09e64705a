package zones

import "github.com/miekg/dns"

const (
	typeA     = dns.TypeA
	typeNS    = dns.TypeNS
	typeCNAME = dns.TypeCNAME
	typeSOA   = dns.TypeSOA
	typeAAAA  = dns.TypeAAAA
	typeDNAME = dns.TypeDNAME
	typeDS    = dns.TypeDS
	typeANY   = dns.TypeANY
)

// Kind is what a lookup came to.
type Kind uint8

const (
	Outside    Kind = iota // the name is not in the zone
	Success                // RRset is the answer; for ANY, Each gives all of them
	NoData                 // the name exists, without that type (RFC 2308 §2.2)
	NXDomain               // the name does not exist (RFC 2308 §2.1)
	Delegation             // RRset is the NS set of the zone cut at or above the name: not authoritative
	CNAME                  // RRset is the name's CNAME, to be followed
	DNAME                  // RRset is the DNAME of an ancestor, to be followed (RFC 6672)
	Steered                // one of WithNames, asked for A, AAAA or ANY; for ANY, Each gives the static rest
)

// Result is what Lookup found. It is a view into the zone and the name asked for.
type Result struct {
	Kind Kind
	// RRset is the answer, the NS set of the cut, the CNAME or the DNAME. Its
	// Owner is (part of) the name asked for, also where a wildcard matched.
	RRset RRset
	// Wildcard says that the answer (or the NODATA) comes from a wildcard, the
	// asterisk label below Encloser (RFC 4592 §3.3.1): the name itself is not
	// in the zone.
	Wildcard bool
	// Encloser is the closest encloser (RFC 4592 §3.3.1): the longest existing
	// ancestor, or the name itself; part of the name asked for. Nil for Outside.
	Encloser []byte

	node    node
	steered bool
}

// Each calls f with every RRset at the node that matched, steered types not
// included, until f returns false. It is of use for Success, NoData and Steered.
func (r *Result) Each(f func(RRset) bool) {
	d := r.node.data
	for range r.node.sets {
		var s RRset
		s, d = readSet(d)
		s.Owner = r.RRset.Owner
		if r.steered && isAddress(s.Type) {
			continue
		}
		if !f(s) {
			return
		}
	}
}

func isAddress(typ uint16) bool { return typ == typeA || typ == typeAAAA }

// spot is a place in the tree: a node of the file, a steered name, an empty
// non-terminal over a steered name, or several of these at once.
type spot struct {
	node
	flags NodeFlags
}

// spot finds a name; ok says whether it exists.
func (z *Zone) spot(rel []byte) (s spot, ok bool) {
	if off, found := z.index.get(z.data, rel); found {
		s.node = nodeAt(z.data, off)
		s.flags, ok = s.node.flags, true
	}
	if z.overlay != nil {
		if steered, found := z.overlay.names[string(rel)]; found {
			ok = true
			if steered {
				s.flags = s.flags&^FlagEmpty | FlagSteered
			} else if s.sets == 0 {
				s.flags |= FlagEmpty
			}
		}
	}
	return s, ok
}

// Lookup finds the answer to a question by the rules of RFC 1034 §4.3.2 with
// RFC 4592, RFC 6672 and RFC 2308. The name must be in canonical wire form
// (lower case, uncompressed). It follows no CNAME and allocates nothing.
func (z *Zone) Lookup(qname []byte, qtype uint16) Result {
	rel, ok := below(qname, z.apex)
	if !ok {
		return Result{}
	}
	// The closest encloser: the name itself or its longest existing ancestor.
	at := 0
	s, ok := z.spot(rel)
	for !ok && at < len(rel) {
		at += 1 + int(rel[at])
		s, ok = z.spot(rel[at:])
	}
	exact := at == 0
	switch {
	case s.flags&(FlagBelowCut|FlagBelowDNAME) != 0,
		s.flags&FlagDelegation != 0 && (!exact || qtype != typeDS),
		s.flags&FlagHasDNAME != 0 && !exact:
		return z.redirected(qname, rel)
	case exact:
		return answer(qname, s, qtype, Result{Encloser: qname})
	}
	r := Result{Kind: NXDomain, Encloser: qname[at:]}
	var buf [maxName]byte
	star := append(append(buf[:0], 1, '*'), rel[at:]...)
	s, ok = z.spot(star)
	if !ok {
		r.RRset.Owner = qname
		return r
	}
	r.Wildcard = true
	return answer(qname, s, qtype, r)
}

// answer is step 3a of RFC 1034 §4.3.2, for a node that matches the name.
func answer(qname []byte, s spot, qtype uint16, r Result) Result {
	r.node, r.steered = s.node, s.flags&FlagSteered != 0
	r.RRset.Owner = qname
	switch {
	case s.flags&FlagDelegation != 0 && qtype != typeDS: // NS at a wildcard, RFC 4592 §4.2
		r.Kind = Delegation
		r.RRset, _ = s.find(typeNS)
	case r.steered && (isAddress(qtype) || qtype == typeANY):
		r.Kind = Steered
		return r
	case qtype == typeANY:
		r.Kind = NoData
		if s.sets > 0 {
			r.Kind = Success
			r.RRset, _ = readSet(s.data)
		}
	default:
		r.Kind = Success
		if set, ok := s.find(qtype); ok {
			r.RRset = set
		} else if set, ok := s.find(typeCNAME); ok {
			r.Kind, r.RRset = CNAME, set
		} else {
			r.Kind = NoData
		}
	}
	r.RRset.Owner = qname
	return r
}

// redirected finds the uppermost zone cut or DNAME at or above a name that is
// known to have one: whatever lies below it is occluded.
func (z *Zone) redirected(qname, rel []byte) Result {
	var at [129]uint8 // starts of the labels, and the apex
	n := 0
	for i := 0; i < len(rel); i += 1 + int(rel[i]) {
		at[n] = uint8(i)
		n++
	}
	at[n] = uint8(len(rel))
	for ; n >= 0; n-- {
		i := at[n]
		s, _ := z.spot(rel[i:])
		r := Result{Encloser: qname[i:]}
		switch {
		case s.flags&FlagDelegation != 0:
			r.Kind = Delegation
			r.RRset, _ = s.find(typeNS)
		case s.flags&FlagHasDNAME != 0 && i > 0:
			r.Kind = DNAME
			r.RRset, _ = s.find(typeDNAME)
		default:
			continue
		}
		r.RRset.Owner = r.Encloser
		return r
	}
	return Result{}
}

// RRset is the RRset of exactly that owner and type, also below zone cuts, as
// is needed for glue. Addresses of a steered name are not found.
func (z *Zone) RRset(owner []byte, typ uint16) (RRset, bool) {
	rel, ok := below(owner, z.apex)
	if !ok {
		return RRset{}, false
	}
	s, ok := z.spot(rel)
	if !ok || s.flags&FlagSteered != 0 && isAddress(typ) {
		return RRset{}, false
	}
	set, ok := s.find(typ)
	set.Owner = owner
	return set, ok
}

// Flags says what kind of node a name is; ok, whether the name exists. It
// knows no wildcards.
func (z *Zone) Flags(name []byte) (flags NodeFlags, ok bool) {
	rel, ok := below(name, z.apex)
	if !ok {
		return 0, false
	}
	s, ok := z.spot(rel)
	return s.flags, ok
}
