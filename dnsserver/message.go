package dnsserver

import (
	"bytes"
	"encoding/binary"

	"github.com/scloudstack/pharos/zones"
)

// section of a message.
type section uint8

const (
	answerSection section = iota
	authoritySection
	additionalSection
)

// message writes a DNS message: whole RRsets, with names compressed (RFC 1035
// §4.1.4) as miekg/dns does it, as long as there is room.
type message struct {
	buf   []byte // header, question with the name in lower case, records
	start int    // where the records start
	limit int    // of buf's length
	count [3]uint16

	// Names that may be pointed at. The first one written wins.
	names  [maxTargets]target
	nnames int

	// What compiling has to know: all names written, and where pointers stand.
	track    bool
	written  []byte // names in wire form, one after another
	pointers []uint16
}

// maxTargets bounds the names that others may point at, and with it the time
// that compressing takes.
const maxTargets = 256

type target struct {
	off uint16
	len uint16 // of the name, uncompressed
}

// begin starts the answer to a question; qname is in lower case.
func (m *message) begin(qname []byte, qtype, qclass uint16, limit int) {
	m.buf = append(m.buf[:0], make([]byte, headerLen)...)
	m.nnames, m.count, m.pointers = 0, [3]uint16{}, m.pointers[:0]
	m.name(qname, true)
	m.buf = binary.BigEndian.AppendUint16(m.buf, qtype)
	m.buf = binary.BigEndian.AppendUint16(m.buf, qclass)
	m.start = len(m.buf)
	m.limit = limit
	m.written = m.written[:0]
}

// clear takes back all records.
func (m *message) clear() {
	m.buf = m.buf[:m.start]
	m.count = [3]uint16{}
}

// name appends a name in wire form. Its suffixes become targets.
func (m *message) name(wire []byte, compress bool) {
	if m.track {
		m.written = append(m.written, wire...)
	}
	for len(wire) > 1 {
		if off, ok := m.find(wire); ok {
			if compress {
				if m.track {
					m.pointers = append(m.pointers, uint16(len(m.buf)))
				}
				m.buf = binary.BigEndian.AppendUint16(m.buf, 0xC000|off)
				return
			}
		} else if len(m.buf) < 0x4000 && m.nnames < maxTargets {
			m.names[m.nnames] = target{off: uint16(len(m.buf)), len: uint16(len(wire))}
			m.nnames++
		}
		n := 1 + int(wire[0])
		m.buf = append(m.buf, wire[:n]...)
		wire = wire[n:]
	}
	m.buf = append(m.buf, 0)
}

// find returns where a name stands already.
func (m *message) find(wire []byte) (off uint16, ok bool) {
	for i := range m.nnames {
		if t := m.names[i]; int(t.len) == len(wire) && m.equal(int(t.off), wire) {
			return t.off, true
		}
	}
	return 0, false
}

func (m *message) equal(off int, wire []byte) bool {
	for {
		l := int(m.buf[off])
		if l >= 0xC0 {
			off = int(binary.BigEndian.Uint16(m.buf[off:]) & 0x3FFF)
			continue
		}
		if !bytes.Equal(m.buf[off:off+1+l], wire[:1+l]) {
			return false
		}
		if l == 0 {
			return true
		}
		off += 1 + l
		wire = wire[1+l:]
	}
}

// mark remembers a place to come back to.
type mark struct{ len, names, written, pointers int }

func (m *message) mark() mark {
	return mark{len(m.buf), m.nnames, len(m.written), len(m.pointers)}
}

func (m *message) reset(k mark) {
	m.buf, m.nnames = m.buf[:k.len], k.names
	m.written, m.pointers = m.written[:k.written], m.pointers[:k.pointers]
}

// rr appends one record without counting it. class is always IN here.
func (m *message) rr(owner []byte, typ uint16, ttl uint32, rdata []byte) {
	k := len(m.written)
	m.name(owner, true)
	if binary.BigEndian.Uint16(m.buf[len(m.buf)-2:]) == toQuestion {
		m.written = m.written[:k] // whatever the question is, its records own its name
	}
	m.buf = binary.BigEndian.AppendUint16(m.buf, typ)
	m.buf = binary.BigEndian.AppendUint16(m.buf, 1)
	m.buf = binary.BigEndian.AppendUint32(m.buf, ttl)
	m.buf = append(m.buf, 0, 0)
	at := len(m.buf)
	m.rdata(typ, rdata)
	binary.BigEndian.PutUint16(m.buf[at-2:], uint16(len(m.buf)-at))
}

func (m *message) rdata(typ uint16, rdata []byte) {
	skip, n := compressible(typ)
	compress := n > 0
	if !compress {
		skip, n = uncompressed(typ)
	}
	m.buf = append(m.buf, rdata[:skip]...)
	rdata = rdata[skip:]
	for ; n > 0; n-- {
		l := wireNameLen(rdata)
		m.name(rdata[:l], compress)
		rdata = rdata[l:]
	}
	m.buf = append(m.buf, rdata...)
}

// set appends a whole RRset under the owner and TTL given, or, where it does
// not fit, nothing.
func (m *message) set(s section, owner []byte, ttl uint32, set zones.RRset) bool {
	k := m.mark()
	set.Each(func(rdata []byte) bool {
		m.rr(owner, set.Type, ttl, rdata)
		return len(m.buf) <= m.limit
	})
	if len(m.buf) > m.limit {
		m.reset(k)
		return false
	}
	m.count[s] += uint16(set.Len())
	return true
}

// one is set for a single record.
func (m *message) one(s section, owner []byte, typ uint16, ttl uint32, rdata []byte) bool {
	k := m.mark()
	m.rr(owner, typ, ttl, rdata)
	if len(m.buf) > m.limit {
		m.reset(k)
		return false
	}
	m.count[s]++
	return true
}
