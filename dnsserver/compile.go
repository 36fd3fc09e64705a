package dnsserver

import (
	"encoding/binary"

	"github.com/miekg/dns"

	"github.com/scloudstack/pharos/zones"
)

// zoneAnswers is the compiled form of one zone. It knows no other zone and no
// decision, so it lasts as long as the zone's pointer.
type zoneAnswers struct {
	zone   *zones.Zone // nil: every question fails
	apex   []byte
	labels int
	table  table

	// missing is the answer for names and types that are not there. It holds
	// the SOA record alone, for a question that is the apex.
	missing answer
	ttlAt   int    // of the SOA record, in the records of missing
	negTTL  uint32 // its value
	clash   []uint64

	steered [][]byte // names whose addresses a decision gives
	loose   []loose  // names with a CNAME that leads to a steered name or out of the zone
}

// loose is an alias whose answer needs more than its zone.
type loose struct {
	name   []byte
	target []byte // where the chain leaves the zone; nil: it ends at a steered name
}

// compiler compiles one zone.
type compiler struct {
	composer
	z    *zoneAnswers
	lone *view // sees nothing but the zone
	name name
	buf  []byte // the entry
	star bool   // it is a wildcard's

	stars []star
}

// star is the name that a wildcard lies below.
type star struct {
	hash uint64
	rel  string
}

// unlistedType is one that no zone holds: what is answered to it is answered
// to every type that a name lacks.
const unlistedType = 0xFF00 - 1

// compileZone makes a zone ready. yield is called every so often.
func compileZone(zone *zones.Zone, yield func()) *zoneAnswers {
	z := &zoneAnswers{zone: zone, apex: zone.Apex(), negTTL: zone.NegativeTTL()}
	c := &compiler{z: z}
	c.name.set(z.apex)
	z.labels = c.name.labels
	c.lone = &view{}
	c.lone.index.build([]*zoneAnswers{z})
	c.msg.track = true
	c.compileMissing()
	z.table.yield = yield
	z.table.resize(zone.Records()*4/3 + 8)
	zone.Walk(func(owner []byte, sets []zones.RRset, flags zones.NodeFlags) bool {
		if flags&(zones.FlagBelowCut|zones.FlagBelowDNAME) == 0 {
			c.node(owner, sets, flags)
		}
		yield()
		return true
	})
	for _, s := range c.stars {
		if parent := z.table.get(s.hash, []byte(s.rel)); parent != nil {
			parent.setFlag(hasStar)
		}
	}
	z.table.trim()
	z.table.yield = nil
	return z
}

// failedZone answers SERVFAIL to everything below its name.
func failedZone(apex []byte) *zoneAnswers {
	var n name
	n.set(apex)
	return &zoneAnswers{apex: apex, labels: n.labels}
}

func (c *compiler) compileMissing() {
	z := c.z
	c.msg.begin(z.apex, dns.TypeSOA, dns.ClassINET, maxMessage)
	c.negative(z, z.negTTL)
	c.out = outcome{aa: true}
	z.missing = c.template(nil, z.labels)
	z.ttlAt = wireNameLen(z.apex)
	if z.ttlAt > 1 {
		z.ttlAt = 2 // a pointer
	}
	z.ttlAt += 4
	for w := c.msg.written; len(w) > 0; w = w[wireNameLen(w):] {
		if h, ok := below(w, z.apex, z.labels); ok {
			z.clash = append(z.clash, h)
		}
	}
}

// below returns the hash of the ancestor of n that lies one label below apex.
func below(n, apex []byte, apexLabels int) (h uint64, ok bool) {
	var w name
	w.parse(n, 0, len(n))
	if skip := w.labels - apexLabels; skip > 0 && string(w.suffix(skip)) == string(apex) {
		return w.hash[skip-1], true
	}
	return 0, false
}

// node compiles one name.
func (c *compiler) node(owner []byte, sets []zones.RRset, flags zones.NodeFlags) {
	z := c.z
	c.name.set(owner)
	rel := owner[:len(owner)-len(z.apex)]
	head := append(append(c.buf[:0], byte(len(rel))), rel...)
	c.buf = append(head, 0, 0, 0)
	c.star = len(rel) > 1 && rel[0] == 1 && rel[1] == '*'
	c.msg.track = c.star || flags&zones.FlagDelegation != 0
	e := entry(c.buf)
	if c.star {
		c.stars = append(c.stars, star{c.name.hash[1], string(rel[2:])})
	}
	if flags&zones.FlagSteered != 0 {
		z.steered = append(z.steered, append([]byte(nil), owner...))
		e.setFlag(isLoose)
	}
	switch {
	case flags&zones.FlagDelegation != 0 && c.star:
		e.setFlag(isSlow | isCut)
	case flags&zones.FlagDelegation != 0:
		e.setFlag(isCut)
		c.exact(dns.TypeDS, dns.TypeDS)
		c.compose(c.lone, &c.name, dns.TypeA, dns.ClassINET, maxMessage)
		c.list(inTable, c.template(nil, c.name.labels))
	case len(sets) > 0 && hasType(sets, dns.TypeCNAME):
		c.alias(sets)
	default:
		for _, s := range sets {
			c.plain(owner, s)
		}
		switch steered := flags&zones.FlagSteered != 0; {
		case !c.negativeClashes():
		case steered: // its TTL is the decision's
			c.list(inTable, nil)
		default:
			c.exact(unlistedType, inTable)
		}
	}
	e = entry(c.buf)
	if flags&zones.FlagHasDNAME != 0 {
		e.setFlag(isDNAME)
	}
	if len(e) > maxEntry {
		c.buf = append(c.buf[:len(head)], e.flags()|isSlow, 0, 0)
	}
	z.table.add(c.name.hash[0], c.buf)
}

func hasType(sets []zones.RRset, typ uint16) bool {
	for _, s := range sets {
		if s.Type == typ {
			return true
		}
	}
	return false
}

// negativeClashes says whether the shared negative answer can't be used.
func (c *compiler) negativeClashes() bool {
	skip := c.name.labels - c.z.labels
	if skip > 0 {
		for _, h := range c.z.clash {
			if h == c.name.hash[skip-1] {
				return true
			}
		}
	}
	return false
}

// plain adds the answer that is one RRset of the name.
func (c *compiler) plain(owner []byte, s zones.RRset) {
	c.msg.begin(owner, s.Type, dns.ClassINET, maxMessage)
	c.out = outcome{aa: true}
	c.positive(c.z, owner, s)
	c.add(s.Type)
}

// exact adds, as what is answered to the type as, what is composed for typ.
func (c *compiler) exact(typ, as uint16) {
	c.compose(c.lone, &c.name, typ, dns.ClassINET, maxMessage)
	c.add(as)
}

// add adds the answer just composed.
func (c *compiler) add(as uint16) {
	if c.star {
		c.list(as, c.template(c.name.bytes(), c.name.labels-1))
	} else {
		c.list(as, c.encode())
	}
}

// alias adds the answers of a name with a CNAME: for each type at the end of
// the chain, and for all others.
func (c *compiler) alias(sets []zones.RRset) {
	entry(c.buf).setFlag(isAlias)
	for _, s := range sets {
		c.plain(c.name.bytes(), s)
	}
	o := c.compose(c.lone, &c.name, dns.TypeA, dns.ClassINET, maxMessage)
	var types []uint16
	switch {
	case o.end == endLeft:
		c.loosen(append([]byte(nil), o.at.bytes()...))
	case o.result.Kind == zones.Delegation:
		types = append(types, dns.TypeDS)
	case o.result.Kind == zones.Success, o.result.Kind == zones.NoData, o.result.Kind == zones.Steered:
		if o.end == endSteered {
			c.loosen(nil)
			c.list(dns.TypeA, nil)
			c.list(dns.TypeAAAA, nil)
		}
		atApex := string(o.at.bytes()) == string(c.z.apex)
		if atApex {
			c.list(dns.TypeDS, nil) // the parent's, if that is served
		}
		o.result.Each(func(s zones.RRset) bool {
			if s.Type != dns.TypeCNAME && !(atApex && s.Type == dns.TypeDS) {
				types = append(types, s.Type)
			}
			return true
		})
	}
	for _, t := range types {
		c.exact(t, t)
	}
	c.exact(unlistedType, inTable)
}

func (c *compiler) loosen(target []byte) {
	entry(c.buf).setFlag(isLoose)
	c.z.loose = append(c.z.loose, loose{append([]byte(nil), c.name.bytes()...), target})
}

// encode turns the composed message into an answer, or nil if it is too large.
func (c *composer) encode() answer {
	m := &c.msg
	if c.out.truncated || len(m.buf) > maxMessage-1024 {
		return nil
	}
	meta := byte(c.out.rcode)
	if c.out.aa {
		meta |= answerAA
	}
	a := make(answer, answerHead, answerHead+len(m.buf)-m.start)
	a[0] = meta
	for i, n := range m.count {
		binary.BigEndian.PutUint16(a[3+2*i:], n)
	}
	return append(a, m.buf[m.start:]...)
}

// template encodes the composed message for questions that are longer than the
// one it was composed for, and share the last base labels with it. self is a
// wildcard's own name, which stands for the question's.
func (c *compiler) template(self []byte, base int) answer {
	m := &c.msg
	a := c.encode()
	if a == nil || len(m.buf) > 0x3000 {
		return nil // pointers could no longer reach
	}
	var relocs []uint16
	for _, at := range m.pointers {
		if self == nil || binary.BigEndian.Uint16(m.buf[at:]) != toQuestion {
			relocs = append(relocs, at-uint16(m.start))
		}
	}
	var clashes []uint32
	ancestor := c.name.suffix(c.name.labels - base)
	for rest := m.written; len(rest) > 0; {
		w := rest[:wireNameLen(rest)]
		rest = rest[len(w):]
		if h, ok := below(w, ancestor, base); ok {
			if self != nil && h == c.name.hash[0] {
				return nil // the wildcard, or below it
			}
			clashes = append(clashes, uint32(h>>32))
		}
	}
	if len(relocs) > 255 || len(clashes) > 255 {
		return nil
	}
	a[1], a[2] = byte(len(relocs)), byte(len(clashes))
	for _, r := range relocs {
		a = binary.LittleEndian.AppendUint16(a, r)
	}
	for _, h := range clashes {
		a = binary.LittleEndian.AppendUint32(a, h)
	}
	return a
}

// list adds an answer to the entry.
func (c *compiler) list(typ uint16, a answer) {
	if len(a) > 0xFFFF {
		a = nil
	}
	c.buf = binary.LittleEndian.AppendUint16(c.buf, typ)
	c.buf = binary.LittleEndian.AppendUint16(c.buf, uint16(len(a)))
	c.buf = append(c.buf, a...)
	n := c.buf[2+int(c.buf[0]):]
	binary.LittleEndian.PutUint16(n, binary.LittleEndian.Uint16(n)+1)
}
