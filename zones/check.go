package zones

import (
	"bytes"
	"sort"

	"github.com/miekg/dns"
)

// The rule of all checks: what named, knotd and nsd refuse, each by its own
// checker, is refused; what one of them loads is loaded, with a warning where
// another refuses or warns. The exceptions are refused all the same: more SOA
// records than one or elsewhere than at the apex, no NS record at the apex,
// and text that one of them reads as something other than it says.

// checker looks at every owner's records before the zone is laid out.
type checker struct {
	b *builder
}

func (c *checker) errorf(h held, format string, args ...any) {
	c.b.report.errorf(h.place(), format, args...)
}

func (c *checker) warnf(h held, format string, args ...any) {
	c.b.report.warnf(h.place(), format, args...)
}

// text is a record's owner in presentation form.
func (b *builder) text(h held) string {
	return NameText(append(appendRel(nil, h.key()), b.apex...))
}

func (c *checker) duplicate(h, first held) {
	c.warnf(h, "%s record of %s stands twice, first in line %d: it counts once", typeText(h.typ()), c.b.text(h), first.place().line)
}

// check judges what stands together at one name.
func (c *checker) check(g *group, rel []byte, flags NodeFlags) {
	var cname, dname, ns, other, old *groupSet
	for i := range g.sets {
		s := &g.sets[i]
		switch s.typ {
		case typeCNAME:
			cname = s
			continue
		case typeDNAME:
			dname = s
		case typeNS:
			ns = s
		case typeSOA:
			c.checkSOA(s, flags)
		case dns.TypeRRSIG, dns.TypeNSEC: // may stand beside a CNAME, RFC 4035 §2.5
			continue
		case dns.TypeSIG, dns.TypeNXT, dns.TypeKEY: // might, RFC 2535 §2.3.5
			old = s
			continue
		}
		other = s
		c.checkSet(s, rel, flags)
	}
	for _, s := range []*groupSet{cname, dname} {
		if s != nil && len(s.recs) > 1 {
			c.errorf(s.recs[1], "another %s record of %s: expected one", typeText(s.typ), c.b.text(s.recs[0]))
		}
	}
	switch {
	case cname != nil && other != nil:
		c.errorf(cname.recs[0], "CNAME record of %s, which has %s records (line %d): expected no other data beside a CNAME (RFC 1034 §3.6.2)",
			c.b.text(cname.recs[0]), typeText(other.typ), other.recs[0].place().line)
	case cname != nil && old != nil:
		c.warnf(cname.recs[0], "CNAME record of %s beside %s records, which Knot and NSD refuse", c.b.text(cname.recs[0]), typeText(old.typ))
	case dname != nil && ns != nil && flags&FlagApex == 0:
		c.warnf(dname.recs[0], "DNAME record of %s beside NS records, which Knot refuses (RFC 6672 §2.3)", c.b.text(dname.recs[0]))
	}
	c.checkNode(g, rel, flags)
}

// checkNode judges where the name stands.
func (c *checker) checkNode(g *group, rel []byte, flags NodeFlags) {
	first := g.sets[0].recs[0]
	if flags&FlagBelowDNAME != 0 {
		c.warnf(first, "%s is below a DNAME record: it is never answered, and Knot and NSD refuse it (RFC 6672 §2.4)", c.b.text(first))
	}
	for i := 0; i < len(rel); i += 1 + int(rel[i]) {
		if i > 0 && isWildcard(rel[i:]) {
			c.warnf(first, "%s has an asterisk inside: that is no wildcard (RFC 4592 §2.1.1)", c.b.text(first))
			break
		}
	}
}

func (c *checker) checkSOA(s *groupSet, flags NodeFlags) {
	if flags&FlagApex == 0 {
		c.errorf(s.recs[0], "SOA record of %s: expected it at %s only", c.b.text(s.recs[0]), NameText(c.b.apex))
	} else if len(s.recs) > 1 {
		c.errorf(s.recs[1], "another SOA record of %s: expected one", NameText(c.b.apex))
	}
}

// maxAnswer is what a message of 65,535 octets holds of one RRset, beside its
// header, its question and EDNS.
const maxAnswer = 65535 - 1024

// checkSet warns of what one RRset should not be.
func (c *checker) checkSet(s *groupSet, rel []byte, flags NodeFlags) {
	h := s.recs[0]
	if size := s.size + 10*len(s.recs); size > maxAnswer { // owner (a pointer), type, class, TTL, length and rdata
		c.warnf(h, "%d %s records of %s, which take up to %d octets of an answer: one holds %d, and what does not fit is answered with no record (TC), over TCP too",
			len(s.recs), typeText(s.typ), c.b.text(h), size, maxAnswer)
	}
	switch s.typ {
	case typeA, typeAAAA, dns.TypeMX:
		if !isHostname(rel, true) {
			c.warnf(h, "%s record of %s: expected a host name of letters, digits and hyphens (RFC 1123 §2.1)", typeText(s.typ), c.b.text(h))
		}
	case typeNS:
		if flags&(FlagWildcard|FlagApex) == FlagWildcard {
			c.warnf(h, "NS record of the wildcard %s, which named refuses (RFC 4592 §4.2)", c.b.text(h))
		}
	case typeDS:
		if flags&FlagApex != 0 {
			c.warnf(h, "DS record of %s, which named refuses: expected it in the parent zone", c.b.text(h))
		}
		for _, h := range s.recs {
			if d := h.rdata(); len(d) > 4 {
				if want := map[uint8]int{1: 20, 2: 32, 4: 48}[d[3]]; want != 0 && len(d)-4 != want {
					c.warnf(h, "DS record of %s with a digest of %d octets, which named and Knot refuse: expected %d", c.b.text(h), len(d)-4, want)
				}
			}
		}
	}
}

// isHostname says whether a name has letters, digits and hyphens only, hyphens
// neither first nor last in a label. An owner may be a wildcard.
func isHostname(name []byte, owner bool) bool {
	if owner && isWildcard(name) {
		name = name[2:]
	}
	for len(name) > 0 && name[0] > 0 {
		n := 1 + int(name[0])
		label := name[1:n]
		for _, c := range label {
			if !('a' <= c && c <= 'z') && !isDigit(c) && c != '-' {
				return false
			}
		}
		if label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		name = name[n:]
	}
	return true
}

// checkApex wants an SOA and an NS record.
func (b *builder) checkApex() {
	var soa, ns bool
	for _, at := range b.at {
		h := b.held(at)
		if h.keyLen() > 0 {
			break
		}
		soa = soa || h.typ() == typeSOA
		ns = ns || h.typ() == typeNS
	}
	if !soa {
		b.report.errorf(place{}, "no SOA record: expected one at %s", NameText(b.apex))
	}
	if !ns {
		b.report.errorf(place{}, "no NS record at %s: expected at least one", NameText(b.apex))
	}
}

// checkTargets looks at the name servers, mail exchangers and services that
// the zone names, as far as they are in it.
func (b *builder) checkTargets(z *Zone) {
	t := targets{b: b, z: z}
	z.Walk(func(owner []byte, sets []RRset, flags NodeFlags) bool {
		b.pace.tick()
		if flags&(FlagBelowCut|FlagBelowDNAME) != 0 {
			return true
		}
		for _, s := range sets {
			skip := map[uint16]int{typeNS: 0, dns.TypeMX: 2, dns.TypeSRV: 6}
			at, ok := skip[s.Type]
			if !ok {
				continue
			}
			for rdata := range s.All() {
				if len(rdata) > at {
					t.check(s, flags, rdata, rdata[at:])
				}
			}
		}
		return true
	})
}

type targets struct {
	b *builder
	z *Zone
}

// check judges one target, in canonical wire form.
func (t targets) check(s RRset, flags NodeFlags, rdata, target []byte) {
	text := func() string {
		return typeText(s.Type) + " record of " + NameText(s.Owner) + " with " + NameText(target)
	}
	warnf := func(format string, args ...any) {
		t.b.report.warnf(t.b.find(s, t.z.apex, rdata), format, args...)
	}
	if !isHostname(target, false) {
		warnf("%s: expected a host name of letters, digits and hyphens (RFC 1123 §2.1)", text())
	}
	r := t.z.Lookup(target, typeA)
	aaaa := t.z.Lookup(target, typeAAAA)
	switch {
	case r.Kind == Outside, r.Kind == Success, aaaa.Kind == Success:
	case r.Kind == CNAME:
		warnf("%s, which is an alias: expected a name with addresses (RFC 2181 §10.3)", text())
	case r.Kind == DNAME && s.Type == typeNS && flags&FlagApex != 0:
		t.b.report.errorf(t.b.find(s, t.z.apex, rdata), "%s, which is below the DNAME record of %s: expected a name with addresses",
			text(), NameText(r.RRset.Owner))
	case r.Kind == DNAME:
		warnf("%s, which is below the DNAME record of %s: expected a name with addresses", text(), NameText(r.RRset.Owner))
	case r.Kind == Delegation:
		_, a := t.z.RRset(target, typeA)
		_, b := t.z.RRset(target, typeAAAA)
		if s.Type == typeNS && !a && !b {
			warnf("%s, without glue: expected its A or AAAA record here", text())
		}
	default:
		warnf("%s, which has no A or AAAA record in the zone", text())
	}
}

// find gives the place of a record that is in the zone.
func (b *builder) find(s RRset, apex, rdata []byte) place {
	rel, _ := below(s.Owner, apex)
	key := appendKey(nil, rel)
	i := sort.Search(len(b.at), func(i int) bool {
		h := b.held(b.at[i])
		c := bytes.Compare(h.key(), key)
		return c > 0 || c == 0 && (h.typ() > s.Type || h.typ() == s.Type && bytes.Compare(h.rdata(), rdata) >= 0)
	})
	if i == len(b.at) {
		return place{}
	}
	return b.held(b.at[i]).place()
}
