package zones

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/miekg/dns"
)

// mend brings the data of a few types into the one form that miekg's parser
// reads, and refuses what it would read as something else. data begins after
// the type; mended is empty where nothing has to change, odd is to be warned of.
func mend(typ uint16, data []byte) (mended, odd string, err error) {
	words := splitWords(data)
	if len(words) > 0 && words[0].text == `\#` {
		return "", "", nil
	}
	want := map[uint16]int{typeSOA: 7, dns.TypeHINFO: 2, dns.TypeUINFO: 1, dns.TypeNAPTR: 6}[typ]
	if want != 0 && len(words) != want {
		return "", "", fmt.Errorf("found %d fields: expected %s", len(words), rdataForm(typ))
	}
	switch typ {
	case typeSOA:
		for _, w := range words[2:] {
			if ttl, like := readTTL([]byte(w.text)); !like || ttl > math.MaxUint32 {
				return "", "", fmt.Errorf("found %q: expected %s, numbers of at most 4294967295", w.text, rdataForm(typ))
			}
		}
		return "", "", nil
	case dns.TypeNAPTR:
		for i := 2; i < 5; i++ {
			words[i].quoted = true
		}
	case dns.TypeDNSKEY, dns.TypeCDNSKEY, dns.TypeKEY, dns.TypeRKEY:
		if len(words) > 2 {
			if n, ok := dns.StringToAlgorithm[strings.ToUpper(words[2].text)]; ok {
				words[2].text = strconv.Itoa(int(n))
			}
		}
	case dns.TypeX25, dns.TypeGPOS:
		for i := range words {
			if words[i].quoted && typ == dns.TypeGPOS {
				odd = "GPOS data in quotes, which Knot and NSD refuse"
			}
			words[i].quoted = false
		}
	case dns.TypeCAA:
		if len(words) > 1 && words[1].quoted {
			words[1].quoted, odd = false, "a CAA tag in quotes, which named refuses"
		}
	case dns.TypeURI:
		if len(words) == 3 && !words[2].quoted {
			odd = "a URI without quotes, which named refuses"
		}
	case dns.TypeSPF:
		odd = "an SPF record, which nobody asks for: expected a TXT record (RFC 7208 §3.1)"
	case dns.TypeL64, dns.TypeNID:
		if len(words) == 2 {
			if full := fullGroups(words[1].text); full != words[1].text {
				words[1].text, odd = full, "groups of less than four digits, which Knot refuses"
			}
		}
	}
	var b strings.Builder
	for _, w := range words {
		b.WriteByte(' ')
		if w.quoted {
			b.WriteString(`"` + w.text + `"`)
		} else {
			b.WriteString(w.text)
		}
	}
	b.WriteByte('\n')
	return b.String(), odd, nil
}

// fragile are the types that mend looks at.
func fragile(typ uint16) bool {
	switch typ {
	case typeSOA, dns.TypeHINFO, dns.TypeUINFO, dns.TypeNAPTR, dns.TypeDNSKEY, dns.TypeCDNSKEY, dns.TypeKEY,
		dns.TypeRKEY, dns.TypeX25, dns.TypeGPOS, dns.TypeCAA, dns.TypeURI, dns.TypeSPF, dns.TypeL64, dns.TypeNID:
		return true
	}
	return false
}

// fullGroups fills the groups between colons up to four digits.
func fullGroups(s string) string {
	groups := strings.Split(s, ":")
	for i, g := range groups {
		if len(g) < 4 && g != "" {
			groups[i] = "0000"[len(g):] + g
		}
	}
	return strings.Join(groups, ":")
}

// flatten puts an entry in parentheses on one line: parentheses and comments
// are left out, line ends become blanks. miekg's parser reads neither nested
// parentheses nor every comment inside them.
func flatten(flat, text []byte) []byte {
	quoted := false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\' && i+1 < len(text) && text[i+1] != '\n':
			flat = append(flat, c, text[i+1])
			i++
		case c == '"':
			quoted = !quoted
			flat = append(flat, c)
		case quoted:
			flat = append(flat, c)
		case c == ';':
			for i+1 < len(text) && text[i+1] != '\n' {
				i++
			}
		case c == '(', c == ')', c == '\n', c == '\r':
			flat = append(flat, ' ')
		default:
			flat = append(flat, c)
		}
	}
	return append(flat, '\n')
}

// checkSvcParams judges what packing does not mind: a mandatory key that is
// missing or named twice (RFC 9460 §8), no-default-alpn without alpn (§7.1.1).
func checkSvcParams(rdata []byte) (odd string, err error) {
	d := rdata[min(2, len(rdata)):]
	for len(d) > 0 && d[0] != 0 {
		d = d[min(1+int(d[0]), len(d)):]
	}
	params := map[uint16][]byte{}
	for d = d[min(1, len(d)):]; len(d) >= 4; {
		n := 4 + (int(d[2])<<8 | int(d[3]))
		params[uint16(d[0])<<8|uint16(d[1])] = d[4:min(n, len(d))]
		d = d[min(n, len(d)):]
	}
	var last uint16 // mandatory itself is none
	for m := params[0]; len(m) >= 2; m = m[2:] {
		key := uint16(m[0])<<8 | uint16(m[1])
		if _, ok := params[key]; !ok || key <= last {
			return "", fmt.Errorf("the parameter mandatory with %s: expected each key once, and among the other parameters", dns.SVCBKey(key))
		}
		last = key
	}
	_, bare := params[uint16(dns.SVCB_NO_DEFAULT_ALPN)]
	if _, alpn := params[uint16(dns.SVCB_ALPN)]; bare && !alpn {
		odd = "no-default-alpn without alpn, which named refuses"
	}
	return odd, nil
}
