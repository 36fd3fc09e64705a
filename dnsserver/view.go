package dnsserver

import (
	"slices"

	"github.com/miekg/dns"

	"github.com/scloudstack/pharos/policy"
	"github.com/scloudstack/pharos/zones"
)

// view is everything that answers are made from, at one time. It is never
// changed; what two views have in common they share.
type view struct {
	set      *settings
	counters *counters
	data     Data
	zones    []*zoneAnswers // those of data, then the failed ones
	index    zoneIndex
	special  *specials
	steered  []*steered // by number; see specials
	direct   []*steered // of a steered name's slot in special
	groups   *classifier
	ahead    map[*zones.Zone]*zoneAnswers // compiled and not served yet; see Server.Prepare
}

// find returns the deepest zone that a name is in, or nil. A question for DS at
// a zone's apex belongs to the parent zone (RFC 4035 §3.1.4.1).
func (v *view) find(n *name, qtype uint16) *zoneAnswers {
	z, _ := v.index.find(n, qtype)
	return z
}

// zoneIndex finds zones by name: an open-addressed table like that of a zone.
type zoneIndex struct {
	slots  []uint64 // upper half of the hash; number plus one, or 0: free
	zones  []*zoneAnswers
	nested []bool // another zone lies below
	depths [2]uint64
	top    int // labels of the deepest zone's name
}

func (x *zoneIndex) build(zs []*zoneAnswers) {
	x.zones = zs
	x.nested = make([]bool, len(zs))
	x.slots = make([]uint64, 2*len(zs)+1)
	var n name
	for i, z := range zs {
		n.set(z.apex)
		x.depths[n.labels/64] |= 1 << (n.labels % 64)
		x.top = max(x.top, n.labels)
		at := (n.hash[0] >> 32) * uint64(len(x.slots)) >> 32
		for x.slots[at] != 0 {
			if at++; at == uint64(len(x.slots)) {
				at = 0
			}
		}
		x.slots[at] = n.hash[0]&^0xFFFFFFFF | uint64(i+1)
	}
	for _, z := range zs {
		n.set(z.apex)
		for skip := 1; skip <= n.labels; skip++ {
			if i, ok := x.get(&n, skip); ok {
				x.nested[i] = true
			}
		}
	}
}

func (x *zoneIndex) get(n *name, skip int) (i int, ok bool) {
	h := n.hash[skip]
	for at := (h >> 32) * uint64(len(x.slots)) >> 32; ; {
		s := x.slots[at]
		if s == 0 {
			return 0, false
		}
		if s>>32 == h>>32 {
			i := int(uint32(s)) - 1
			if string(x.zones[i].apex) == string(n.suffix(skip)) {
				return i, true
			}
		}
		if at++; at == uint64(len(x.slots)) {
			at = 0
		}
	}
}

// find returns the zone and whether another one lies below it.
func (x *zoneIndex) find(n *name, qtype uint16) (z *zoneAnswers, nested bool) {
	for skip := max(0, n.labels-x.top); skip <= n.labels; skip++ {
		depth := n.labels - skip
		if x.depths[depth/64]&(1<<(depth%64)) == 0 {
			continue
		}
		i, ok := x.get(n, skip)
		if !ok {
			continue
		}
		if skip == 0 && qtype == dns.TypeDS {
			z, nested = x.zones[i], x.nested[i]
			continue
		}
		return x.zones[i], x.nested[i]
	}
	return z, nested
}

// specials are the names at which a zone alone does not know the answer:
// steered ones, and aliases of them or of names in other zones. They stay the
// same as long as the zones do; decisions only change what steered numbers mean.
type specials struct {
	slots   []uint64  // like zoneIndex
	entries []special // the steered names first, by number
	names   []string  // theirs, canonical
}

// special is one such name.
type special struct {
	wire  []byte
	zone  *zoneAnswers // of the steered name; nil: composed each time
	alias *alias       // nil: it is the steered name itself
	end   int          // the steered name's number
	away  bool         // another zone has the rest of its types
}

// alias is the CNAMEs that lead to a steered name.
type alias struct {
	chain  []byte
	count  uint16
	owner  uint16 // the name that owns the addresses, as a compression pointer
	absent answer // the same CNAMEs and the SOA record, for NODATA
	ttlAt  int    // of the SOA record, in the records of absent
}

func (x *specials) start(h uint64) uint64 { return (h >> 32) * uint64(len(x.slots)) >> 32 }

func (x *specials) get(h uint64, wire []byte) *special {
	if len(x.entries) == 0 {
		return nil
	}
	for at := x.start(h); ; {
		s := x.slots[at]
		if s == 0 {
			return nil
		}
		if s>>32 == h>>32 {
			if e := &x.entries[uint32(s)-1]; string(e.wire) == string(wire) {
				return e
			}
		}
		if at++; at == uint64(len(x.slots)) {
			at = 0
		}
	}
}

// lookup is get, by a shorter way to a steered name.
func (v *view) lookup(n *name) (*steered, *special) {
	x := v.special
	if len(x.entries) == 0 {
		return nil, nil
	}
	h := n.hash[0]
	for at := x.start(h); ; {
		s := x.slots[at]
		if s == 0 {
			return nil, nil
		}
		if s>>32 == h>>32 {
			if d := v.direct[at]; d != nil {
				if string(d.wire) == string(n.bytes()) {
					return d, nil
				}
			} else if e := &x.entries[uint32(s)-1]; string(e.wire) == string(n.bytes()) {
				return nil, e
			}
		}
		if at++; at == uint64(len(x.slots)) {
			at = 0
		}
	}
}

// warmSteered is table.warm for steered names.
func (v *view) warmSteered(hashes []uint64) (sum byte) {
	if len(v.direct) == 0 {
		return 0
	}
	var all [batch]*steered
	for i, h := range hashes {
		at := v.special.start(h)
		all[i] = v.direct[at]
		sum += byte(v.special.slots[at])
	}
	for _, s := range all[:len(hashes)] {
		if s != nil {
			sum += s.room[0] + byte(s.turn)
		}
	}
	return sum
}

// star returns the special that is the wildcard below a name's ancestor.
func (x *specials) star(n *name, skip int) *special {
	if len(x.entries) == 0 {
		return nil
	}
	var buf [maxName + 2]byte
	wire := append(append(buf[:0], 1, '*'), n.suffix(skip)...)
	return x.get(wildcardHash(n.hash[skip]), wire)
}

// settle finds the specials of a view whose zones are known.
func (v *view) settle() *specials {
	x := &specials{}
	var n name
	var c composer
	for _, z := range v.zones {
		for _, wire := range z.steered {
			n.set(wire)
			if v.find(&n, dns.TypeA) != z {
				continue // a deeper zone has the name
			}
			x.entries = append(x.entries, special{wire: wire, zone: z, end: len(x.names)})
			x.names = append(x.names, zones.NameText(wire))
		}
	}
	x.fill()
	v.special = x
	var aliases []special
	for _, z := range v.zones {
		for _, l := range z.loose {
			if a, ok := v.settleAlias(&c, &n, z, l); ok {
				aliases = append(aliases, a)
			}
		}
	}
	x.entries = append(x.entries, aliases...)
	x.fill()
	return x
}

func (x *specials) fill() {
	x.slots = make([]uint64, 2*len(x.entries)+1)
	var n name
	for i := range x.entries {
		n.set(x.entries[i].wire)
		at := x.start(n.hash[0])
		for x.slots[at] != 0 {
			if at++; at == uint64(len(x.slots)) {
				at = 0
			}
		}
		x.slots[at] = n.hash[0]&^0xFFFFFFFF | uint64(i+1)
	}
}

// settleAlias follows a loose alias through all zones. ok is false where its
// own zone was right already.
func (v *view) settleAlias(c *composer, n *name, z *zoneAnswers, l loose) (s special, ok bool) {
	if l.target != nil {
		if n.set(l.target); v.find(n, dns.TypeA) == nil {
			return s, false
		}
	}
	n.set(l.name)
	if v.find(n, dns.TypeA) != z {
		return s, false // a deeper zone has the name
	}
	s.wire, s.away = l.name, l.target != nil
	o := c.compose(v, n, dns.TypeA, dns.ClassINET, maxMessage)
	isStar := l.name[0] == 1 && l.name[1] == '*'
	if o.end != endSteered || isStar {
		return s, true
	}
	end := v.steeredAt(o)
	if end == nil {
		return s, true
	}
	owner, found := c.msg.find(o.at.bytes())
	if !found {
		return s, true
	}
	s.zone, s.end = end.zone, end.end
	a := &alias{chain: slices.Clone(c.msg.buf[c.msg.start:]), count: c.msg.count[answerSection], owner: 0xC000 | owner}
	a.ttlAt = len(a.chain) + 6
	if len(end.zone.apex) == 1 {
		a.ttlAt-- // the root is written, not pointed at
	}
	c.negative(end.zone, end.zone.negTTL)
	a.absent = c.encode()
	s.alias = a
	return s, true
}

// steeredAt returns the special that a composed chain ended at.
func (v *view) steeredAt(o *outcome) *special {
	if !o.result.Wildcard {
		return v.special.get(o.at.hash[0], o.at.bytes())
	}
	var n name
	n.set(o.result.Encloser)
	return v.special.star(&n, 0)
}

// negativeTTL is that of a NODATA which a composed chain ended at: the decision's at a steered name, whatever the type,
// so that what a zone says for all its names does not outlast it.
func (v *view) negativeTTL(o *outcome) uint32 {
	if len(v.steered) > 0 {
		if sp := v.steeredAt(o); sp != nil && sp.alias == nil && sp.zone == o.zone {
			return v.steered[sp.end].negTTL
		}
	}
	return o.zone.negTTL
}

// next makes the view after this one, compiling what is new. yield is called
// every so often.
func (v *view) next(d Data, yield func()) *view {
	w := &view{set: v.set, counters: v.counters, data: d}
	if slices.Equal(d.Zones, v.data.Zones) && slices.Equal(d.Failed, v.data.Failed) && v.special != nil {
		w.zones, w.index, w.special, w.ahead = v.zones, v.index, v.special, v.ahead
	} else {
		w.zones = v.compileZones(d, yield)
		w.index.build(w.zones)
		w.special = w.settle()
	}
	var answers map[string]*policy.Answer
	var groups []policy.Group
	if d.Revision != nil {
		answers, groups = d.Revision.Answers, d.Revision.Groups
	}
	w.steered = v.compileAnswers(w.special, answers)
	w.direct = make([]*steered, len(w.special.slots))
	for at, s := range w.special.slots {
		if number := int(uint32(s)) - 1; number >= 0 && number < len(w.steered) {
			w.direct[at] = w.steered[number]
		}
	}
	if w.groups = v.groups; w.groups == nil || !sameGroups(groups, v.data.Revision) {
		w.groups = newClassifier(groups)
	}
	return w
}

func (v *view) compileZones(d Data, yield func()) []*zoneAnswers {
	old := make(map[*zones.Zone]*zoneAnswers, len(v.zones))
	for _, z := range v.zones {
		if z.zone != nil {
			old[z.zone] = z
		}
	}
	zs := make([]*zoneAnswers, 0, len(d.Zones)+len(d.Failed))
	seen := make(map[string]bool, cap(zs))
	for _, z := range d.Zones {
		if seen[z.Name()] {
			continue
		}
		seen[z.Name()] = true
		c := old[z]
		if c == nil {
			c = v.ahead[z]
		}
		if c == nil {
			c = compileZone(z, yield)
		}
		zs = append(zs, c)
	}
	for _, f := range d.Failed {
		if apex, err := zones.NameToWire(f); err == nil && !seen[f] {
			seen[f] = true
			zs = append(zs, failedZone(apex))
		}
	}
	return zs
}

// compileAnswers keeps the compiled form of each Answer that the view has
// under the same name already.
func (v *view) compileAnswers(x *specials, answers map[string]*policy.Answer) []*steered {
	old := func(i int) *steered {
		if i < len(v.steered) {
			return v.steered[i]
		}
		return nil
	}
	if v.special != x {
		was := make(map[*policy.Answer]*steered, len(v.steered))
		for _, s := range v.steered {
			was[s.from] = s
		}
		old = func(i int) *steered { return was[answers[x.names[i]]] }
	}
	all := make([]*steered, len(x.names))
	for i, n := range x.names {
		a, at := answers[n], &x.entries[i]
		if s := old(i); s != nil && s.from == a && s.zone == at.zone && string(s.wire) == string(at.wire) {
			all[i] = s
		} else {
			all[i] = compileSteered(at.wire, at.zone, a, v.counters)
		}
	}
	return all
}

func sameGroups(groups []policy.Group, old *policy.Revision) bool {
	if old == nil {
		return len(groups) == 0
	}
	return slices.EqualFunc(groups, old.Groups, func(a, b policy.Group) bool {
		return a.Site == b.Site && slices.Equal(a.Prefixes, b.Prefixes)
	})
}
