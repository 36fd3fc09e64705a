package dnsserver

import (
	"encoding/binary"
	"net/netip"

	"github.com/miekg/dns"

	"github.com/scloudstack/pharos/policy"
)

// slowPath answers what is unusual, and all that the fast path leaves.
type slowPath struct {
	c      composer
	opt    ednsQuery
	client netip.Addr // whom the answer is for: the source, or its client subnet
}

// respond answers the packet in buf[:n] in place; it has a whole header and is
// no response.
func (s *slowPath) respond(r *responder, v *view, buf []byte, n int) int {
	defer s.c.release()
	q := &r.q
	q.edns, q.do, q.qtype, q.end = false, false, 0, headerLen
	s.opt = ednsQuery{}
	if buf[2]&opcodeMask != 0 {
		return s.refuse(r, buf, dns.RcodeNotImplemented)
	}
	sections, ok := s.read(q, buf, n)
	if !ok {
		return s.refuse(r, buf, dns.RcodeFormatError)
	}
	q.limit = maxMessage
	if r.via == udp {
		q.limit = minUDPSize
	}
	s.client = q.client()
	trusted := false
	if sections.opt != nil {
		trusted = v.set.trusts(s.client)
		q.setEDNS(int(binary.BigEndian.Uint16(sections.opt[3:])), sections.opt[7]&0x80 != 0, r.via, v.set.udpSize)
		if sections.opt[6] != 0 {
			return s.finish(r, v, buf, dns.RcodeBadVers, 0)
		}
		if !s.opt.read(sections.opt[optLen:], trusted) {
			s.opt = ednsQuery{}
			return s.finish(r, v, buf, dns.RcodeFormatError, 0)
		}
		s.opt.respond(v.set)
		q.limit -= len(s.opt.answer)
	}
	if sections.tsig != nil {
		return s.badKey(r, v, buf, sections.tsig)
	}
	if s.opt.ecs && s.opt.prefix.Bits() > 0 {
		s.client = s.opt.prefix.Addr()
	}
	switch {
	case q.qclass == dns.ClassCHAOS:
		return s.chaos(r, v, buf)
	case q.qclass != dns.ClassINET && q.qclass != dns.ClassANY:
		return s.finish(r, v, buf, dns.RcodeRefused, 0)
	case q.qtype == dns.TypeAXFR || q.qtype == dns.TypeIXFR:
		return s.finish(r, v, buf, dns.RcodeRefused, 0)
	case isMeta(q.qtype) && q.qtype != dns.TypeANY:
		return s.finish(r, v, buf, dns.RcodeNotImplemented, 0)
	}
	o := s.c.compose(v, &q.name, q.qtype, q.qclass, q.limit)
	if o.end == endSteered {
		s.steer(r, v, o, binary.BigEndian.Uint16(buf))
	}
	var flags byte
	if o.aa && q.qclass == dns.ClassINET { // RFC 1034 §6.2.7: class ANY is never authoritative
		flags |= flagAA
	}
	if o.truncated {
		flags |= flagTC
	}
	q.end += copy(buf[q.end:], s.c.msg.buf[s.c.msg.start:])
	for i, n := range s.c.msg.count {
		binary.BigEndian.PutUint16(buf[6+2*i:], n)
	}
	return s.close(r, v, buf, o.rcode, flags)
}

// steer adds the addresses of the steered name that the chain ended at.
func (s *slowPath) steer(r *responder, v *view, o *outcome, id uint16) {
	m := &s.c.msg
	sp := v.steeredAt(o)
	owner, found := m.find(o.at.bytes())
	if sp == nil || !found || v.steered[sp.end].fail {
		m.clear()
		o.rcode, o.aa = dns.RcodeServerFailure, false
		return
	}
	st := v.steered[sp.end]
	k := pickKey{id: id, client: s.client}
	group := 0
	if st.grouped() {
		var scope int
		group, scope = v.groups.scope(s.client)
		s.opt.narrow(scope)
	}
	fams := []int{dns4}
	switch r.q.qtype {
	case dns.TypeAAAA:
		fams[0] = dns6
	case dns.TypeANY: // RFC 8482 §4.1: one RRset is enough
		fams = append(fams, dns6)
	}
	for _, fam := range fams {
		f, sel := st.pick(group, fam, k, r.counters)
		if f.total > 0 && st.pickBy == policy.PickByClient {
			s.opt.narrow(s.opt.prefix.Bits())
		}
		if n := sel.count; n > 0 {
			var ok bool
			if m.buf, ok = f.append(m.buf, sel, 0xC000|owner, m.limit); ok {
				m.count[answerSection] += uint16(n)
			} else {
				o.truncated = true
			}
			return
		}
	}
	s.c.negative(st.zone, st.negTTL)
}

// chaos answers what is asked of the server itself.
func (s *slowPath) chaos(r *responder, v *view, buf []byte) int {
	q := &r.q
	var text string
	switch string(q.name.bytes()) {
	case "\x07version\x04bind\x00", "\x07version\x06server\x00":
		text = v.set.version
	case "\x02id\x06server\x00", "\x08hostname\x04bind\x00":
		text = v.set.serverID
	}
	if text == "" {
		return s.finish(r, v, buf, dns.RcodeRefused, 0)
	}
	if q.qtype != dns.TypeTXT && q.qtype != dns.TypeANY {
		return s.finish(r, v, buf, dns.RcodeSuccess, flagAA)
	}
	if q.end+13+len(text) > q.limit {
		return s.finish(r, v, buf, dns.RcodeSuccess, flagAA|flagTC)
	}
	b := binary.BigEndian.AppendUint16(buf[:q.end], toQuestion)
	b = binary.BigEndian.AppendUint16(b, dns.TypeTXT)
	b = binary.BigEndian.AppendUint16(b, dns.ClassCHAOS)
	b = binary.BigEndian.AppendUint32(b, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(1+len(text)))
	b = append(append(b, byte(len(text))), text...)
	q.end = len(b)
	clear(buf[6:headerLen])
	buf[7] = 1
	return s.close(r, v, buf, dns.RcodeSuccess, flagAA)
}

// badKey refuses a signed question: there are no keys (RFC 8945 §5.2.1).
func (s *slowPath) badKey(r *responder, v *view, buf []byte, t *dns.TSIG) int {
	n := s.finish(r, v, buf, dns.RcodeNotAuth, 0)
	t.MAC, t.MACSize, t.OtherData, t.OtherLen, t.Error = "", 0, "", 0, dns.RcodeBadKey
	t.Hdr = dns.RR_Header{Name: t.Hdr.Name, Rrtype: dns.TypeTSIG, Class: dns.ClassANY}
	room := buf[n:min(len(buf), n+r.q.limit)]
	l, err := dns.PackRR(t, room, 0, nil, false)
	if err != nil {
		return n
	}
	binary.BigEndian.PutUint16(buf[10:], binary.BigEndian.Uint16(buf[10:])+1)
	return n + l
}

// refuse answers with the header alone.
func (s *slowPath) refuse(r *responder, buf []byte, rcode int) int {
	buf[2] = flagQR | buf[2]&(opcodeMask|flagRD)
	buf[3] = byte(rcode)
	clear(buf[4:headerLen])
	r.q.qtype = 0
	r.count(rcode)
	return headerLen
}

// finish answers with the question and an rcode.
func (s *slowPath) finish(r *responder, v *view, buf []byte, rcode int, flags byte) int {
	clear(buf[6:headerLen])
	return s.close(r, v, buf, rcode, flags)
}

// close writes the flags, and the OPT with its options behind the records.
func (s *slowPath) close(r *responder, v *view, buf []byte, rcode int, flags byte) int {
	q := &r.q
	n := r.finish(v, buf, q.end, flags, rcode)
	if q.edns {
		buf[3] = byte(rcode & 0xF)
		buf[q.end+5] = byte(rcode >> 4)
		s.opt.scoped()
		binary.BigEndian.PutUint16(buf[n-2:], uint16(len(s.opt.answer)))
		n += copy(buf[n:], s.opt.answer)
	}
	return n
}
