package dnsserver

import (
	"bytes"

	"github.com/miekg/dns"

	"github.com/scloudstack/pharos/zones"
)

// maxChain bounds the CNAMEs and DNAMEs that are followed in one answer.
const maxChain = 16

// maxAdditional bounds the names that one answer brings addresses for.
const maxAdditional = 32

// composer makes the answer to a question from the zones: RFC 1034 §4.3.2, and
// over the bounds of one zone. Everything that is answered was made here,
// either when it was compiled or when it was asked for.
type composer struct {
	msg message
	cur name // the name that a chain has come to
	out outcome

	seen    [maxChain + 1]uint64 // hashes of the names that own a CNAME in the answer
	targets [][]byte             // names whose addresses are in the additional section
	owner   [maxName + 1]byte
}

// outcome is how composing ended.
type outcome struct {
	rcode     int
	aa        bool
	truncated bool
	end       ending

	// For endSteered, and where the last name was looked up in a zone at all.
	zone   *zoneAnswers
	result zones.Result
	at     *name // the name that the chain has come to
	hops   int
}

type ending uint8

const (
	endWhole   ending = iota // the message is complete
	endSteered               // at is steered: its addresses are still to be added
	endLeft                  // at, the target of the last CNAME, is in none of the zones
)

// compose answers a question that names a type which zones can hold. The
// records are in c.msg afterwards, limited to limit octets with the question.
func (c *composer) compose(v *view, q *name, qtype, qclass uint16, limit int) *outcome {
	c.msg.begin(q.bytes(), qtype, qclass, limit)
	c.out = outcome{aa: true, at: q}
	for c.step(v, qtype) {
	}
	return &c.out
}

// release lets go of the zones that the last answer was made from.
func (c *composer) release() {
	clear(c.targets[:cap(c.targets)])
	c.out = outcome{}
}

// step answers what the chain has come to. It returns true when that was a
// CNAME to follow.
func (c *composer) step(v *view, qtype uint16) bool {
	o := &c.out
	z := v.find(o.at, qtype)
	if z == nil || z.zone == nil {
		switch {
		case o.hops > 0:
			o.end = endLeft
		case z == nil:
			o.rcode, o.aa = dns.RcodeRefused, false
		default:
			o.rcode, o.aa = dns.RcodeServerFailure, false
		}
		return false
	}
	o.zone = z
	n := o.at.bytes()
	o.result = z.zone.Lookup(n, qtype)
	r := &o.result
	switch r.Kind {
	case zones.Success:
		c.positive(z, n, r.RRset)
	case zones.NoData:
		c.negative(z, v.negativeTTL(o))
	case zones.NXDomain:
		o.rcode = dns.RcodeNameError
		c.negative(z, z.zone.NegativeTTL())
	case zones.Delegation:
		o.aa = o.hops > 0
		c.referral(z, r.RRset)
	case zones.CNAME:
		if besideCNAME(qtype) {
			c.negative(z, z.zone.NegativeTTL())
			return false
		}
		return c.follow(r.RRset, nil)
	case zones.DNAME:
		return c.redirect(r.RRset, qtype)
	case zones.Steered:
		o.end = endSteered
	default:
		o.rcode, o.aa = dns.RcodeServerFailure, false
	}
	return false
}

// put adds an RRset that the answer is not whole without.
func (c *composer) put(s section, owner []byte, ttl uint32, set zones.RRset) bool {
	if c.msg.set(s, owner, ttl, set) {
		return true
	}
	c.out.truncated = true
	return false
}

func (c *composer) positive(z *zoneAnswers, owner []byte, set zones.RRset) {
	if c.put(answerSection, owner, set.TTL, set) {
		c.additional(z, set)
	}
}

// negative adds the zone's SOA record with what the answer may be cached for
// as its TTL (RFC 2308 §3).
func (c *composer) negative(z *zoneAnswers, ttl uint32) {
	c.put(authoritySection, z.apex, ttl, z.zone.SOA())
}

// follow adds a CNAME, or a DNAME's synthesized one, and goes to its target.
func (c *composer) follow(set zones.RRset, synthesized []byte) bool {
	o := &c.out
	target := synthesized
	if target == nil {
		if !c.put(answerSection, o.at.bytes(), set.TTL, set) {
			return false
		}
		set.Each(func(rdata []byte) bool { target = rdata; return false })
	} else if !c.msg.one(answerSection, o.at.bytes(), dns.TypeCNAME, set.TTL, target) {
		o.truncated = true
		return false
	}
	c.seen[o.hops] = o.at.hash[0]
	c.cur.set(target)
	o.at = &c.cur
	for _, h := range c.seen[:o.hops+1] {
		if h == c.cur.hash[0] {
			return false
		}
	}
	o.hops++
	return o.hops <= maxChain
}

// redirect is RFC 6672 §3.2: the DNAME, a CNAME made of it, and on.
func (c *composer) redirect(set zones.RRset, qtype uint16) bool {
	o := &c.out
	n := o.at.bytes()
	if !c.put(answerSection, set.Owner, set.TTL, set) {
		return false
	}
	var target []byte
	set.Each(func(rdata []byte) bool { target = rdata; return false })
	keep := len(n) - len(set.Owner)
	if keep+len(target) > maxName {
		o.rcode = dns.RcodeYXDomain
		return false
	}
	made := append(append(c.owner[:0], n[:keep]...), target...)
	return c.follow(set, made) && qtype != dns.TypeCNAME
}

// referral names the servers of a delegated zone, with their addresses. Those
// below the cut can't be found otherwise, so the answer is not whole without
// them (RFC 9471).
func (c *composer) referral(z *zoneAnswers, ns zones.RRset) {
	if !c.put(authoritySection, ns.Owner, ns.TTL, ns) {
		return
	}
	c.targets = c.targets[:0]
	for _, inside := range [...]bool{true, false} {
		ns.Each(func(target []byte) bool {
			if bytes.HasSuffix(target, ns.Owner) != inside || !c.once(target) {
				return true
			}
			for _, typ := range [...]uint16{dns.TypeA, dns.TypeAAAA} {
				set, ok := z.zone.RRset(target, typ)
				if ok && !c.msg.set(additionalSection, target, set.TTL, set) && inside {
					c.out.truncated = true
				}
			}
			return true
		})
	}
}

// additional adds the addresses of the names that a set's records point to, as
// far as they are in this zone and there is room (RFC 1034 §4.3.2 step 6).
func (c *composer) additional(z *zoneAnswers, set zones.RRset) {
	skip := 0
	switch set.Type {
	case dns.TypeNS:
	case dns.TypeMX:
		skip = 2
	case dns.TypeSRV:
		skip = 6
	default:
		return
	}
	c.targets = c.targets[:0]
	set.Each(func(rdata []byte) bool {
		target := rdata[skip:]
		if !c.once(target) {
			return true
		}
		for _, typ := range [...]uint16{dns.TypeA, dns.TypeAAAA} {
			a, ok := z.zone.RRset(target, typ)
			if ok && set.Type != dns.TypeNS {
				// Glue is no data of this zone.
				f, _ := z.zone.Flags(target)
				ok = f&(zones.FlagBelowCut|zones.FlagDelegation|zones.FlagBelowDNAME) == 0
			}
			if ok {
				c.msg.set(additionalSection, target, a.TTL, a)
			}
		}
		return true
	})
}

// once says whether a target is met for the first time, and not one too many.
func (c *composer) once(target []byte) bool {
	if len(c.targets) == maxAdditional {
		return false
	}
	for _, t := range c.targets {
		if bytes.Equal(t, target) {
			return false
		}
	}
	c.targets = append(c.targets, target)
	return true
}
