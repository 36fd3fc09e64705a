package zones

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/miekg/dns"
)

const maxName = 255 // octets of a name in wire form (RFC 1035 §2.3.4)

// NameToWire turns a name in presentation form into canonical wire form: lower
// case, uncompressed, with the root's empty label.
func NameToWire(name string) ([]byte, error) {
	if name == "" || strings.ContainsAny(name, " \t\n") {
		return nil, fmt.Errorf("%q is not a domain name", name)
	}
	var buf [maxName + 1]byte
	n, err := dns.PackDomainName(dns.Fqdn(name), buf[:], 0, nil, false)
	if err != nil || n > maxName {
		return nil, fmt.Errorf("%q is not a domain name", name)
	}
	lower(buf[:n])
	return append([]byte(nil), buf[:n]...), nil // kept with each zone: no longer than it is
}

// NameText turns a name in wire form into presentation form, with the final dot.
func NameText(wire []byte) string {
	s, _, err := dns.UnpackDomainName(wire, 0)
	if err != nil {
		return fmt.Sprintf("%x", wire)
	}
	return s
}

// lower turns a name in wire form into lower case. Lengths of labels are below
// any letter, so every octet may be looked at alike.
func lower(wire []byte) {
	for i, c := range wire {
		if 'A' <= c && c <= 'Z' {
			wire[i] = c + 'a' - 'A'
		}
	}
}

// below says whether a name lies at or below apex, and returns its labels
// above it, without the root.
func below(name, apex []byte) (rel []byte, ok bool) {
	n := len(name) - len(apex)
	if n < 0 || !bytes.Equal(name[n:], apex) {
		return nil, false
	}
	for i := 0; i < n; {
		if i += 1 + int(name[i]); i > n {
			return nil, false
		}
	}
	return name[:n:n], true
}

// appendKey appends the sort key of a relative name: its labels from the apex
// down, each ended by a zero octet, with the octets 0 and 1 escaped. Keys
// compare as bytes in the order of RFC 4034 §6.1, and the key of a name begins
// with the keys of all its ancestors.
func appendKey(key, rel []byte) []byte {
	var at [128]uint8
	n := 0
	for i := 0; i < len(rel); i += 1 + int(rel[i]) {
		at[n] = uint8(i)
		n++
	}
	for n--; n >= 0; n-- {
		i := int(at[n])
		for _, c := range rel[i+1 : i+1+int(rel[i])] {
			if c <= 1 {
				key = append(key, 1)
				c++
			}
			key = append(key, c)
		}
		key = append(key, 0)
	}
	return key
}

// appendRel appends the relative name that a key was made of.
func appendRel(rel, key []byte) []byte {
	var at [129]uint16 // starts of labels in key
	n := 0
	for i, c := range key {
		if c == 0 {
			n++
			at[n] = uint16(i + 1)
		}
	}
	for ; n > 0; n-- {
		length := len(rel)
		rel = append(rel, 0)
		label := key[at[n-1] : at[n]-1]
		for i := 0; i < len(label); i++ {
			c := label[i]
			if c == 1 {
				i++
				c = label[i] - 1
			}
			rel = append(rel, c)
		}
		rel[length] = uint8(len(rel) - length - 1)
	}
	return rel
}

// isWildcard says whether the first label is an asterisk.
func isWildcard(rel []byte) bool { return len(rel) >= 2 && rel[0] == 1 && rel[1] == '*' }
