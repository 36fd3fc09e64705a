package dnsserver

import (
	"encoding/binary"
	"net/netip"

	"github.com/miekg/dns"
)

// responder answers packets, one at a time. Each thread and each TCP
// connection's turn has one of its own.
type responder struct {
	counters *lane
	via      transport
	q        question
	slow     *slowPath    // made when it is first needed
	zone     *zoneAnswers // that the fast path found last
	steering bool         // it answered a steered name last

	// The last kind of answer and how many there were: most answers are like
	// the one before, and one addition counts them all.
	last *counter
	run  uint64
}

// question is a packet as the fast path understands it.
type question struct {
	name   name
	qtype  uint16
	qclass uint16
	end    int // of the question section
	limit  int // of the answer, its OPT not included
	edns   bool
	do     bool
	from   *sockaddr
}

// respond answers the packet in buf[:n] in place, and returns the length of the
// answer, or 0 if there is to be none. buf has room for the longest one.
func (r *responder) respond(v *view, buf []byte, n int, from *sockaddr) int {
	if n < headerLen {
		r.counters.drops[dropShort].Add(1)
		return 0
	}
	if buf[2]&flagQR != 0 {
		r.counters.drops[dropResponse].Add(1)
		return 0
	}
	r.q.from = from
	if r.q.read(buf, n, r.via, v.set.udpSize) && r.q.qclass == dns.ClassINET && !isRare(r.q.qtype) {
		if n, ok := r.fast(v, buf); ok {
			return n
		}
	}
	r.counters.slow.Add(1)
	if r.slow == nil {
		r.slow = &slowPath{}
	}
	return r.slow.respond(r, v, buf, n)
}

// isRare says of a type that it is answered by rules of its own.
func isRare(t uint16) bool { return isMeta(t) || besideCNAME(t) }

// besideCNAME says of a type that it may stand beside a CNAME, so that no CNAME
// is followed for it (RFC 4035 §2.5).
func besideCNAME(t uint16) bool { return t == dns.TypeRRSIG || t == dns.TypeNSEC }

// isMeta says of a type that no zone holds it.
func isMeta(t uint16) bool {
	return t == dns.TypeOPT || t >= dns.TypeTKEY && t <= dns.TypeANY
}

// read understands a plain question, with or without a plain OPT. Whatever
// else there is, is not ok.
func (q *question) read(buf []byte, n int, via transport, udpSize int) bool {
	counts := binary.BigEndian.Uint64(buf[4:])
	if buf[2]&opcodeMask != 0 || counts&^1 != 1<<48 {
		return false
	}
	end, ok := q.name.parse(buf, headerLen, n)
	if !ok || end+4 > n {
		return false
	}
	q.qtype = binary.BigEndian.Uint16(buf[end:])
	q.qclass = binary.BigEndian.Uint16(buf[end+2:])
	q.end = end + 4
	q.edns, q.do = false, false
	q.limit = maxMessage
	if via == udp {
		q.limit = minUDPSize
	}
	if counts&1 == 0 {
		return q.end == n
	}
	return q.readOPT(buf[q.end:n], via, udpSize)
}

// readOPT understands an OPT (RFC 6891 §6.1.2) of version 0 without the options
// that are answered to.
func (q *question) readOPT(opt []byte, via transport, udpSize int) bool {
	if len(opt) < optLen || opt[0] != 0 || binary.BigEndian.Uint16(opt[1:]) != dns.TypeOPT || opt[6] != 0 ||
		len(opt)-optLen != int(binary.BigEndian.Uint16(opt[9:])) {
		return false
	}
	for o := opt[optLen:]; len(o) > 0; {
		if len(o) < 4 {
			return false
		}
		code, l := binary.BigEndian.Uint16(o), int(binary.BigEndian.Uint16(o[2:]))
		if code == dns.EDNS0NSID || code == dns.EDNS0SUBNET || 4+l > len(o) {
			return false
		}
		o = o[4+l:]
	}
	q.setEDNS(int(binary.BigEndian.Uint16(opt[3:])), opt[7]&0x80 != 0, via, udpSize)
	return true
}

// setEDNS takes what the client says it can take.
func (q *question) setEDNS(size int, do bool, via transport, udpSize int) {
	q.edns, q.do = true, do
	if via == udp {
		q.limit = min(max(size, minUDPSize), udpSize)
	}
	q.limit -= optLen
}

// client is the source's address.
func (q *question) client() netip.Addr { return q.from.addr() }

// fast answers from compiled data alone. It is not ok where there is none, or
// where that has to be shortened.
func (r *responder) fast(v *view, buf []byte) (n int, ok bool) {
	q := &r.q
	nm := &q.name
	addresses := q.qtype == dns.TypeA || q.qtype == dns.TypeAAAA
	s, sp := v.lookup(nm)
	switch {
	case s != nil && addresses:
		return r.steer(v, s, nil, buf)
	case sp == nil:
	case sp.zone == nil:
		return 0, false
	case addresses:
		return r.steer(v, v.steered[sp.end], sp.alias, buf)
	case sp.away:
		return 0, false
	}
	z, nested := v.index.find(nm, q.qtype)
	if z == nil {
		return r.empty(v, buf, dns.RcodeRefused), true
	}
	if z.zone == nil {
		return r.empty(v, buf, dns.RcodeServerFailure), true
	}
	r.zone, r.steering = z, false
	rel := nm.len - len(z.apex)
	if e := z.table.get(nm.hash[0], nm.wire[:rel]); e != nil {
		f := e.flags()
		if f&isSlow != 0 || nested && f&isAlias != 0 {
			return 0, false
		}
		a, found := e.answer(q.qtype)
		switch {
		case found && sp != nil && sp.alias != nil && a.negative():
			return r.absent(v, v.steered[sp.end], sp.alias, buf)
		case found:
			return r.copy(v, buf, a, 0)
		case s != nil && s.zone == z:
			return r.missing(v, z, buf, dns.RcodeSuccess, s.negTTL)
		}
		return r.missing(v, z, buf, dns.RcodeSuccess, z.negTTL)
	}
	return r.fastBelow(v, z, nested, rel, buf)
}

// fastBelow answers for a name that is not in its zone: from the closest
// encloser, RFC 4592 §3.3.1.
func (r *responder) fastBelow(v *view, z *zoneAnswers, nested bool, rel int, buf []byte) (n int, ok bool) {
	nm := &r.q.name
	for skip := 1; skip <= nm.labels; skip++ {
		at := int(nm.at[skip])
		if at > rel {
			break
		}
		e := z.table.get(nm.hash[skip], nm.wire[at:rel])
		if e == nil {
			continue
		}
		f := e.flags()
		switch {
		case f&isDNAME != 0:
			return 0, false
		case f&isCut != 0:
			a, _ := e.answer(inTable)
			if a.clashes(nm.hash[skip-1]) {
				return 0, false
			}
			return r.copy(v, buf, a, at)
		case f&hasStar != 0:
			return r.fastStar(v, z, nested, rel, skip, buf)
		}
		return r.missing(v, z, buf, dns.RcodeNameError, z.negTTL)
	}
	return 0, false
}

// fastStar answers from the wildcard below the encloser that is left when skip
// labels are taken away.
func (r *responder) fastStar(v *view, z *zoneAnswers, nested bool, rel, skip int, buf []byte) (n int, ok bool) {
	q := &r.q
	nm := &q.name
	at := int(nm.at[skip])
	var star [maxName + 2]byte
	star[0], star[1] = 1, '*'
	e := z.table.get(wildcardHash(nm.hash[skip]), star[:2+copy(star[2:], nm.wire[at:rel])])
	if e == nil {
		return 0, false
	}
	f := e.flags()
	if f&isSlow != 0 || nested && f&isAlias != 0 {
		return 0, false
	}
	negTTL := z.negTTL
	if f&isLoose != 0 {
		if s := v.special.star(nm, skip); s != nil {
			if s.zone == nil || s.alias != nil {
				return 0, false
			}
			if q.qtype == dns.TypeA || q.qtype == dns.TypeAAAA {
				return r.steer(v, v.steered[s.end], nil, buf)
			}
			if s.zone == z {
				negTTL = v.steered[s.end].negTTL
			}
		}
	}
	a, found := e.answer(q.qtype)
	if !found {
		return r.missing(v, z, buf, dns.RcodeSuccess, negTTL)
	}
	if a.clashes(nm.hash[skip-1]) {
		return 0, false
	}
	return r.copy(v, buf, a, at-2)
}

// copy puts a compiled answer behind the question. delta is by how much the
// question is longer than the one that it was compiled for.
func (r *responder) copy(v *view, buf []byte, a answer, delta int) (n int, ok bool) {
	q := &r.q
	if len(a) == 0 {
		return 0, false
	}
	records := a.records()
	if q.end+len(records) > q.limit {
		return 0, false
	}
	copy(buf[q.end:], records)
	if delta != 0 && a[1] != 0 {
		a.relocate(buf[q.end:], delta)
	}
	copy(buf[6:headerLen], a[3:answerHead])
	return r.finish(v, buf, q.end+len(records), a[0]>>2&flagAA, int(a[0]&0xF)), true
}

// missing puts the zone's SOA record behind the question.
func (r *responder) missing(v *view, z *zoneAnswers, buf []byte, rcode int, ttl uint32) (n int, ok bool) {
	q := &r.q
	if above := q.name.labels - z.labels; above > 0 {
		for _, h := range z.clash {
			if h == q.name.hash[above-1] {
				return 0, false
			}
		}
	}
	a := z.missing
	if len(a) == 0 {
		return 0, false
	}
	records := a.records()
	if q.end+len(records) > q.limit {
		return 0, false
	}
	copy(buf[q.end:], records)
	a.relocate(buf[q.end:], q.name.len-len(z.apex))
	binary.BigEndian.PutUint32(buf[q.end+z.ttlAt:], ttl)
	copy(buf[6:headerLen], a[3:answerHead])
	return r.finish(v, buf, q.end+len(records), flagAA, rcode), true
}

// steer answers with the addresses that the decision gives; a is the alias that
// led to the steered name, or nil.
func (r *responder) steer(v *view, s *steered, a *alias, buf []byte) (n int, ok bool) {
	q := &r.q
	r.steering = true
	if s.fail {
		return r.empty(v, buf, dns.RcodeServerFailure), true
	}
	at, count, owner := q.end, 0, uint16(toQuestion)
	if a != nil {
		at, count, owner = at+len(a.chain), int(a.count), a.owner
		if at > q.limit || q.end+len(a.absent) > q.limit {
			return 0, false
		}
	}
	fam := dns4
	if q.qtype == dns.TypeAAAA {
		fam = dns6
	}
	k := pickKey{id: binary.BigEndian.Uint16(buf)}
	group := 0
	if s.wantsClient() {
		k.client = q.client()
		if s.grouped() {
			group = v.groups.group(k.client)
		}
	}
	f, sel := s.pick(group, fam, k, r.counters)
	if sel.count == 0 {
		return r.absent(v, s, a, buf)
	}
	if a != nil {
		copy(buf[q.end:], a.chain)
	}
	flags := byte(flagAA)
	b, ok := f.append(buf[:at], sel, owner, q.limit)
	if ok {
		count += sel.count
	} else {
		flags |= flagTC
	}
	binary.BigEndian.PutUint16(buf[6:], uint16(count))
	clear(buf[8:headerLen])
	return r.finish(v, buf, len(b), flags, dns.RcodeSuccess), true
}

// absent answers that a steered name has no address of the family.
func (r *responder) absent(v *view, s *steered, a *alias, buf []byte) (n int, ok bool) {
	if a == nil {
		return r.missing(v, s.zone, buf, dns.RcodeSuccess, s.negTTL)
	}
	n, ok = r.copy(v, buf, a.absent, 0)
	if ok {
		binary.BigEndian.PutUint32(buf[r.q.end+a.ttlAt:], s.negTTL)
	}
	return n, ok
}

// empty answers with nothing but an rcode.
func (r *responder) empty(v *view, buf []byte, rcode int) int {
	clear(buf[6:headerLen])
	return r.finish(v, buf, r.q.end, 0, rcode)
}

// finish writes the flags, and the OPT behind buf[:n].
func (r *responder) finish(v *view, buf []byte, n int, flags byte, rcode int) int {
	buf[2] = flagQR | flags | buf[2]&flagRD
	buf[3] = byte(rcode)
	if r.q.edns {
		copy(buf[n:], v.set.opt[:])
		if r.q.do {
			buf[n+7] = 0x80
		}
		n += optLen
		binary.BigEndian.PutUint16(buf[10:], binary.BigEndian.Uint16(buf[10:])+1)
	}
	r.count(rcode)
	return n
}

// count counts an answer; flush makes it visible.
func (r *responder) count(rcode int) {
	c := &r.counters.queries[r.via][countedType(r.q.qtype)][rcodeIndex[rcode&31]]
	if c != r.last {
		r.flush()
		r.last = c
	}
	r.run++
}

func (r *responder) flush() {
	if r.run > 0 {
		r.last.Add(r.run)
		r.run = 0
	}
}
