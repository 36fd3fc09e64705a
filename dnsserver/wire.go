package dnsserver

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"

	"github.com/miekg/dns"
)

const (
	headerLen  = 12
	maxName    = 255 // octets, RFC 1035 §2.3.4
	maxLabels  = 127
	maxMessage = 65535
	optLen     = 11 // an OPT record without options
	inTable    = 0  // pseudo type: what an entry answers to types it does not list
)

// Octets 2 and 3 of the header, RFC 1035 §4.1.1.
const (
	flagQR     = 0x80
	opcodeMask = 0x78
	flagAA     = 0x04
	flagTC     = 0x02
	flagRD     = 0x01
)

// name is a domain name in canonical wire form with what it takes to look up
// it and each of its ancestors.
type name struct {
	wire   [maxName + 9]byte // the slack takes the last whole word
	len    int               // octets, the root's included
	labels int               // without the root's
	at     [maxLabels + 1]uint8
	hash   [maxLabels + 1]uint64 // of the suffix that starts with each label; the last is the root's
}

// bytes is the name in wire form, valid until the next parse.
func (n *name) bytes() []byte { return n.wire[:n.len] }

// suffix is the ancestor that lacks the first skip labels.
func (n *name) suffix(skip int) []byte { return n.wire[n.at[skip]:n.len] }

// hashSeed is the process's own, so that nobody can choose names that collide.
var hashSeed = rand.Uint64() | 1

const (
	mulA = 0x9e3779b97f4a7c15
	mulB = 0xd6e8feb86659fd93
)

func mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}

// parse reads the uncompressed name at b[off:end], in any letter case, and
// returns where it ends. It may read past end, never past b. Names with
// pointers, too long, or cut off are not ok.
func (n *name) parse(b []byte, off, end int) (next int, ok bool) {
	w, labels := 0, 0
	for {
		if off >= end {
			return 0, false
		}
		l := int(b[off])
		if l == 0 {
			break
		}
		if l > 63 || off+1+l >= end || w+l+2 > maxName {
			return 0, false
		}
		n.at[labels] = uint8(w)
		n.wire[w] = byte(l)
		w++
		off++
		h := hashSeed + uint64(l)
		for i := 0; i < l; i += 8 {
			x := load64(b, off+i)
			if rest := l - i; rest < 8 {
				x &= 1<<(uint(rest)*8) - 1
			}
			x = lower8(x)
			binary.LittleEndian.PutUint64(n.wire[w+i:], x)
			h = mix(h^x, mulA)
		}
		n.hash[labels] = h
		labels++
		w += l
		off += l
	}
	n.wire[w] = 0
	n.at[labels] = uint8(w)
	n.len, n.labels = w+1, labels
	h := hashSeed
	n.hash[labels] = h
	for i := labels - 1; i >= 0; i-- {
		h = mix(h^n.hash[i], mulB)
		n.hash[i] = h
	}
	return off + 1, true
}

// set reads a name in canonical wire form.
func (n *name) set(wire []byte) {
	if _, ok := n.parse(wire, 0, len(wire)); !ok {
		panic("dnsserver: not a name in wire form")
	}
}

// wildcardHash is the hash of the name that has an asterisk below one with the
// hash given.
func wildcardHash(parent uint64) uint64 {
	star := mix((hashSeed+1)^'*', mulA)
	return mix(parent^star, mulB)
}

// load64 reads eight octets, those past the end of b as zero.
func load64(b []byte, off int) uint64 {
	if off+8 <= len(b) {
		return binary.LittleEndian.Uint64(b[off:])
	}
	var x uint64
	for i := len(b) - 1; i >= off; i-- {
		x = x<<8 | uint64(b[i])
	}
	return x
}

// lower8 turns eight octets into lower case at once.
func lower8(x uint64) uint64 {
	const ones = 0x0101010101010101
	low := x & (0x7f * ones)
	from := low + (0x80-'A')*ones
	past := low + (0x7f-'Z')*ones
	upper := (from ^ past) &^ x & (0x80 * ones)
	return x | upper>>2
}

// compressible says which octets of rdata are names that RFC 1035 lets be
// compressed (RFC 3597 §4 lets no others): n names after skip octets.
func compressible(typ uint16) (skip, n int) {
	switch typ {
	case dns.TypeNS, dns.TypeMD, dns.TypeMF, dns.TypeCNAME, dns.TypeMB, dns.TypeMG, dns.TypeMR, dns.TypePTR:
		return 0, 1
	case dns.TypeSOA, dns.TypeMINFO:
		return 0, 2
	case dns.TypeMX:
		return 2, 1
	}
	return 0, 0
}

// uncompressed says where rdata of a type has a name that is written whole but
// may be pointed at by names after it.
func uncompressed(typ uint16) (skip, n int) {
	switch typ {
	case dns.TypeDNAME:
		return 0, 1
	case dns.TypeSRV:
		return 6, 1
	}
	return 0, 0
}

// wireNameLen is the length of the uncompressed name at the start of b.
func wireNameLen(b []byte) int {
	i := 0
	for b[i] != 0 {
		i += 1 + int(b[i])
	}
	return i + 1
}
