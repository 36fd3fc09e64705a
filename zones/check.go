package zones

import "github.com/miekg/dns"

// checker looks at every owner's records before the zone is laid out.
type checker struct{ b *builder }

func (c *checker) duplicate(h, first held) {
	c.b.report.warnf(h.place(), "%s record of %s stands twice, first in line %d: it counts once",
		typeText(h.typ()), c.b.text(h), first.place().line)
}

func (c *checker) otherTTL(h held, ttl uint32) {
	c.b.report.warnf(h.place(), "%s record of %s with the TTL %d: the RRset has %d, which holds (RFC 2181 §5.2)",
		typeText(h.typ()), c.b.text(h), h.ttl(), ttl)
}

// text is a record's owner in presentation form.
func (b *builder) text(h held) string {
	return NameText(append(appendRel(nil, h.key()), b.apex...))
}

// check judges what stands together at one name.
func (c *checker) check(g *group, rel []byte, flags NodeFlags) {
	var cname, dname, other *groupSet
	for i := range g.sets {
		s := &g.sets[i]
		switch s.typ {
		case typeSOA:
			if flags&FlagApex == 0 {
				c.b.report.errorf(s.recs[0].place(), "SOA record of %s: expected it at %s only", c.b.text(s.recs[0]), NameText(c.b.apex))
			} else if len(s.recs) > 1 {
				c.b.report.errorf(s.recs[1].place(), "another SOA record of %s: expected one", NameText(c.b.apex))
			}
			other = s
		case typeCNAME:
			cname = s
		case typeDNAME:
			dname = s
			other = s
		case dns.TypeRRSIG, dns.TypeNSEC, dns.TypeSIG, dns.TypeNXT, dns.TypeKEY: // RFC 4035 §2.5
		default:
			other = s
		}
	}
	for _, s := range []*groupSet{cname, dname} {
		if s != nil && len(s.recs) > 1 {
			c.b.report.errorf(s.recs[1].place(), "another %s record of %s: expected one", typeText(s.typ), c.b.text(s.recs[0]))
		}
	}
	if cname != nil && other != nil {
		c.b.report.errorf(cname.recs[0].place(), "CNAME record of %s, which has %s records (line %d): expected no other data beside a CNAME",
			c.b.text(cname.recs[0]), typeText(other.typ), other.recs[0].place().line)
	}
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

// checkTargets warns of name servers and mail exchangers that can't work.
func (b *builder) checkTargets(z *Zone) {}
