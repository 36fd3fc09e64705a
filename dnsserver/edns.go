package dnsserver

import (
	"encoding/binary"
	"net/netip"

	"github.com/miekg/dns"
)

// sections is what a packet has beside its question.
type sections struct {
	opt  []byte // the OPT record; nil: none
	tsig *dns.TSIG
}

// read understands any packet that is a query, or finds it malformed.
func (s *slowPath) read(q *question, buf []byte, n int) (x sections, ok bool) {
	if binary.BigEndian.Uint16(buf[4:]) != 1 { // RFC 9619
		return x, false
	}
	end, ok := q.name.parse(buf, headerLen, n)
	if !ok || end+4 > n {
		return x, false
	}
	q.qtype = binary.BigEndian.Uint16(buf[end:])
	q.qclass = binary.BigEndian.Uint16(buf[end+2:])
	q.end = end + 4
	// A question has no answer. IXFR's has an SOA record in the authority section.
	an, ns := binary.BigEndian.Uint16(buf[6:]), binary.BigEndian.Uint16(buf[8:])
	if an != 0 || ns != 0 && (ns != 1 || q.qtype != dns.TypeIXFR) {
		return x, false
	}
	before, extra := int(ns), int(binary.BigEndian.Uint16(buf[10:]))
	off := q.end
	for i := range before + extra {
		start, typ := off, uint16(0)
		if off, typ, ok = skipRR(buf[:n], off); !ok {
			return x, false
		}
		if typ != dns.TypeOPT {
			continue
		}
		// RFC 6891 §6.1.1: one, in the additional section, at the root.
		if x.opt != nil || i < before || buf[start] != 0 {
			return x, false
		}
		x.opt = append([]byte(nil), buf[start:off]...)
	}
	if off != n {
		return x, false
	}
	if before+extra == 0 || before+extra == 1 && x.opt != nil {
		return x, true
	}
	var m dns.Msg
	if err := m.Unpack(buf[:n]); err != nil {
		return x, false
	}
	x.tsig = m.IsTsig()
	return x, x.tsig == nil || x.tsig.Algorithm != "" // which miekg/dns lets be missing with all else
}

// skipRR returns where the record at off ends.
func skipRR(b []byte, off int) (next int, typ uint16, ok bool) {
	for {
		if off >= len(b) {
			return 0, 0, false
		}
		l := int(b[off])
		off++
		if l == 0 {
			break
		}
		if l >= 0xC0 {
			off++
			break
		}
		if l > 63 {
			return 0, 0, false
		}
		off += l
	}
	if off+10 > len(b) {
		return 0, 0, false
	}
	typ = binary.BigEndian.Uint16(b[off:])
	next = off + 10 + int(binary.BigEndian.Uint16(b[off+8:]))
	return next, typ, next <= len(b)
}

// ednsQuery is the options of a question that are answered to.
type ednsQuery struct {
	nsid   bool
	ecs    bool         // a client subnet that is believed
	prefix netip.Prefix // it; of no family where the client gave none
	scope  int          // how much of it the answer depends on
	answer []byte       // the options of the answer
	ecsAt  int          // of the scope in it
}

// read takes the options. They are malformed where it returns false. A client
// subnet of an untrusted source is passed over (RFC 7871 §7.2.1).
func (e *ednsQuery) read(opts []byte, trusted bool) bool {
	for len(opts) > 0 {
		if len(opts) < 4 {
			return false
		}
		code, l := binary.BigEndian.Uint16(opts), int(binary.BigEndian.Uint16(opts[2:]))
		if 4+l > len(opts) {
			return false
		}
		data := opts[4 : 4+l]
		switch {
		case code == dns.EDNS0NSID:
			e.nsid = true
		case code == dns.EDNS0SUBNET && trusted && !e.ecs:
			if !e.readSubnet(data) {
				return false
			}
		}
		opts = opts[4+l:]
	}
	return true
}

// readSubnet is RFC 7871 §6 and §7.1.2.
func (e *ednsQuery) readSubnet(d []byte) bool {
	if len(d) < 4 {
		return false
	}
	family, bits, scope := binary.BigEndian.Uint16(d), int(d[2]), d[3]
	d = d[4:]
	var all [16]byte
	size := 0
	switch family {
	case 1:
		size = 4
	case 2:
		size = 16
	case 0:
		if bits != 0 {
			return false
		}
	default:
		return false
	}
	if scope != 0 || bits > 8*size || len(d) != (bits+7)/8 {
		return false
	}
	copy(all[:], d)
	addr, _ := netip.AddrFromSlice(all[:size])
	e.ecs = true
	if size > 0 {
		e.prefix = netip.PrefixFrom(addr, bits)
		return e.prefix == e.prefix.Masked()
	}
	return true
}

// respond prepares the options of the answer.
func (e *ednsQuery) respond(s *settings) {
	if e.nsid && s.nsid != "" {
		e.answer = binary.BigEndian.AppendUint16(e.answer, dns.EDNS0NSID)
		e.answer = binary.BigEndian.AppendUint16(e.answer, uint16(len(s.nsid)))
		e.answer = append(e.answer, s.nsid...)
	}
	if e.ecs {
		bits := max(e.prefix.Bits(), 0)
		family := uint16(0)
		if a := e.prefix.Addr(); a.Is4() {
			family = 1
		} else if a.Is6() {
			family = 2
		}
		e.answer = binary.BigEndian.AppendUint16(e.answer, dns.EDNS0SUBNET)
		e.answer = binary.BigEndian.AppendUint16(e.answer, uint16(4+(bits+7)/8))
		e.answer = binary.BigEndian.AppendUint16(e.answer, family)
		e.answer = append(e.answer, byte(bits), 0)
		e.ecsAt = len(e.answer) - 1
		e.answer = append(e.answer, e.prefix.Addr().AsSlice()[:(bits+7)/8]...)
	}
}

// narrow says that the answer depends on that many bits of the client's address.
func (e *ednsQuery) narrow(bits int) {
	// A client that gave no bits is answered by its resolver's address, and
	// that holds for all (RFC 7871 §7.2.1).
	if e.ecs && e.prefix.Bits() > 0 {
		e.scope = max(e.scope, bits)
	}
}

// scoped writes the scope into the answer.
func (e *ednsQuery) scoped() {
	if e.ecs {
		e.answer[e.ecsAt] = byte(e.scope)
	}
}
