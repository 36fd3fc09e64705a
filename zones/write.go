package zones

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net/netip"
	"strconv"

	"github.com/miekg/dns"
)

// WriteTo writes the zone as a master file, in canonical order with the SOA
// record first, one record on a line, all names absolute. Parsed again it
// gives a zone of the same digest. Steered names are not part of it, static
// addresses that steering hides are.
func (z *Zone) WriteTo(w io.Writer) (int64, error) { return z.write(w, newPacer(nil)) }

func (z *Zone) write(w io.Writer, pace *pacer) (int64, error) {
	count := &countingWriter{w: w}
	out := bufio.NewWriterSize(count, 64<<10)
	var (
		line []byte
		err  error
	)
	put := func(s RRset, owner string) bool {
		for rdata := range s.All() {
			line = appendLine(line[:0], owner, s.Type, s.TTL, rdata)
			if _, err = out.Write(append(line, '\n')); err != nil {
				return false
			}
			pace.tick()
		}
		return true
	}
	put(z.SOA(), z.name)
	base := *z
	base.overlay = nil
	base.Walk(func(owner []byte, sets []RRset, flags NodeFlags) bool {
		if len(sets) == 0 {
			return err == nil
		}
		name := NameText(owner)
		for _, s := range sets {
			if s.Type == typeSOA && flags&FlagApex != 0 {
				continue
			}
			if err != nil || !put(s, name) {
				return false
			}
		}
		return true
	})
	if err == nil {
		err = out.Flush()
	}
	return count.n, err
}

type countingWriter struct {
	w io.Writer
	n int64
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// RecordText is one record as a line of a master file, without the line's end.
func RecordText(owner []byte, typ uint16, ttl uint32, rdata []byte) string {
	return string(appendLine(nil, NameText(owner), typ, ttl, rdata))
}

func appendLine(b []byte, owner string, typ uint16, ttl uint32, rdata []byte) []byte {
	if owner[0] == '$' || owner[0] == '@' && len(owner) > 1 && owner[1] == '.' {
		b = append(b, '\\') // no directive, not the origin
	}
	b = append(b, owner...)
	b = append(b, '\t')
	b = strconv.AppendUint(b, uint64(ttl), 10)
	b = append(b, "\tIN\t"...)
	b = append(b, typeText(typ)...)
	b = append(b, '\t')
	return appendRdata(b, typ, rdata)
}

// appendRdata appends the rdata as its type writes it. Where miekg's parser
// would read that back differently, it is written as RFC 3597 §5 has it.
func appendRdata(b []byte, typ uint16, rdata []byte) []byte {
	switch {
	case typ == typeA && len(rdata) == 4, typ == typeAAAA && len(rdata) == 16:
		addr, _ := netip.AddrFromSlice(rdata)
		if !addr.Is4In6() {
			return addr.AppendTo(b)
		}
	default:
		if text, ok := rdataText(typ, rdata); ok {
			return append(b, text...)
		}
	}
	b = fmt.Appendf(b, `\# %d`, len(rdata))
	if len(rdata) > 0 {
		b = hex.AppendEncode(append(b, ' '), rdata)
	}
	return b
}

// plain are the types that are known to be read back as they were written.
var plain = map[uint16]bool{
	typeNS: true, typeCNAME: true, typeSOA: true, dns.TypePTR: true, dns.TypeMX: true, dns.TypeSRV: true,
}

func rdataText(typ uint16, rdata []byte) (string, bool) {
	wire := make([]byte, 11, 11+len(rdata)) // the root's name, type, class, TTL, length
	binary.BigEndian.PutUint16(wire[1:], typ)
	wire[4] = dns.ClassINET
	binary.BigEndian.PutUint16(wire[9:], uint16(len(rdata)))
	wire = append(wire, rdata...)
	rr, n, err := dns.UnpackRR(wire, 0)
	if err != nil || n != len(wire) {
		return "", false
	}
	text := rr.String()[len(rr.Header().String()):]
	if plain[typ] {
		return text, true
	}
	if bytes.ContainsAny([]byte(text), "\r\n") {
		return "", false
	}
	buf := buffers.Get().(*buffer)
	defer buffers.Put(buf)
	rec, problem := newRecordParser(".", 0, buf.wire).parse(entry{text: []byte(". 0 IN " + typeText(typ) + " " + text + "\n")})
	return text, problem == nil && rec.typ == typ && bytes.Equal(rec.rdata, rdata)
}
