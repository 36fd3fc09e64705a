package zones

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/miekg/dns"
)

// shape is what the data of a type must look like before miekg's parser gets
// it, where that parser would take less, more or something else.
type shape struct {
	least, most int // words; no most: 0
	// mend brings the words into the one form that the parser reads, warns or refuses.
	mend func(words []textWord) (odd string, err error)
}

var shapes = map[uint16]shape{
	typeSOA:            {least: 7, most: 7, mend: mendSOA},
	typeDS:             {least: 4},
	dns.TypeCAA:        {least: 3, mend: mendCAA},
	dns.TypeCDNSKEY:    {least: 4, mend: mendAlgorithm},
	dns.TypeCDS:        {least: 4},
	dns.TypeCERT:       {least: 4},
	dns.TypeCSYNC:      {least: 2, mend: typesFrom(2)},
	dns.TypeDLV:        {least: 4},
	dns.TypeDNSKEY:     {least: 4, mend: mendAlgorithm},
	dns.TypeEUI48:      {least: 1},
	dns.TypeEUI64:      {least: 1},
	dns.TypeGID:        {least: 1},
	dns.TypeGPOS:       {least: 3, most: 3, mend: mendGPOS},
	dns.TypeHINFO:      {least: 2, most: 2},
	dns.TypeISDN:       {least: 1, most: 2},
	dns.TypeKEY:        {least: 4, mend: mendAlgorithm},
	dns.TypeL64:        {least: 2, mend: mendGroups},
	dns.TypeLOC:        {least: 1, most: 12},
	dns.TypeMD:         {least: 1, mend: warnOf("an MD record, which named and Knot refuse: expected MX (RFC 1035 §3.3.4)")},
	dns.TypeMF:         {least: 1, mend: warnOf("an MF record, which named and Knot refuse: expected MX (RFC 1035 §3.3.5)")},
	dns.TypeNAPTR:      {least: 6, most: 6, mend: mendNAPTR},
	dns.TypeNID:        {least: 2, mend: mendGroups},
	dns.TypeNSEC:       {least: 1, mend: typesFrom(1)},
	dns.TypeNSEC3:      {least: 5, mend: typesFrom(5)},
	dns.TypeNSEC3PARAM: {least: 4, most: 4},
	dns.TypeNXT:        {least: 1, mend: typesFrom(1)},
	dns.TypeRKEY:       {least: 4, mend: mendAlgorithm},
	dns.TypeRRSIG:      {least: 9, mend: mendTimes},
	dns.TypeSIG:        {least: 9, mend: mendTimes},
	dns.TypeSMIMEA:     {least: 4},
	dns.TypeSPF:        {least: 1, mend: warnOf("an SPF record, which nobody asks for: expected TXT (RFC 7208 §3.1)")},
	dns.TypeSSHFP:      {least: 3},
	dns.TypeTA:         {least: 4},
	dns.TypeTLSA:       {least: 4},
	dns.TypeUID:        {least: 1},
	dns.TypeUINFO:      {least: 1, most: 1},
	dns.TypeURI:        {least: 3, most: 3, mend: mendURI},
	dns.TypeX25:        {least: 1, most: 1, mend: mendX25},
	dns.TypeZONEMD:     {least: 4},
}

// mend brings the data of a record into the shape of its type. data begins
// after the type; mended is empty where nothing has to change, odd is to be
// warned of.
func mend(typ uint16, data []byte) (mended, odd string, err error) {
	sh, ok := shapes[typ]
	if !ok {
		return "", "", nil
	}
	words := splitWords(data)
	if len(words) > 0 && words[0].text == `\#` {
		return "", "", nil
	}
	if len(words) < sh.least || sh.most > 0 && len(words) > sh.most {
		return "", "", fmt.Errorf("found %d fields: expected %s", len(words), rdataForm(typ))
	}
	if sh.mend == nil {
		return "", "", nil
	}
	if odd, err = sh.mend(words); err != nil {
		return "", "", err
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

func warnOf(what string) func([]textWord) (string, error) {
	return func([]textWord) (string, error) { return what, nil }
}

// mendSOA refuses numbers that the parser would wrap, and words for numbers.
func mendSOA(words []textWord) (string, error) {
	for _, w := range words[2:] {
		if ttl, like := readTTL([]byte(w.text)); !like || ttl > math.MaxUint32 {
			return "", fmt.Errorf("found %q: expected %s, numbers of at most 4294967295", w.text, rdataForm(typeSOA))
		}
	}
	return "", nil
}

func mendNAPTR(words []textWord) (string, error) {
	for i := 2; i < 5; i++ {
		words[i].quoted = true
	}
	return "", nil
}

// mendAlgorithm turns the name of a key's algorithm into its number.
func mendAlgorithm(words []textWord) (string, error) {
	if n, ok := dns.StringToAlgorithm[strings.ToUpper(words[2].text)]; ok {
		words[2].text = strconv.Itoa(int(n))
	}
	return "", nil
}

func mendGPOS(words []textWord) (odd string, _ error) {
	for i := range words {
		if words[i].quoted {
			words[i].quoted, odd = false, "GPOS data in quotes, which Knot and NSD refuse"
		}
	}
	return odd, nil
}

func mendX25(words []textWord) (string, error) {
	words[0].quoted = false
	if strings.Trim(words[0].text, "0123456789") != "" {
		return "", fmt.Errorf("found %q: expected digits", words[0].text)
	}
	return "", nil
}

func mendCAA(words []textWord) (odd string, _ error) {
	if words[1].quoted {
		words[1].quoted, odd = false, "a CAA tag in quotes, which named refuses"
	}
	for _, c := range []byte(words[1].text) {
		if !isDigit(c) && (c|0x20 < 'a' || c|0x20 > 'z') {
			odd = "a CAA tag of more than letters and digits, which named and NSD refuse (RFC 8659 §4.1)"
		}
	}
	return odd, nil
}

func mendURI(words []textWord) (odd string, _ error) {
	if !words[2].quoted {
		odd = "a URI without quotes, which named refuses"
	}
	return odd, nil
}

func mendGroups(words []textWord) (odd string, _ error) {
	if full := fullGroups(words[1].text); full != words[1].text {
		words[1].text, odd = full, "groups of less than four digits, which Knot refuses"
	}
	return odd, nil
}

// mendTimes wants times as RFC 4034 §3.2 has them: YYYYMMDDHHmmSS or seconds.
func mendTimes(words []textWord) (string, error) {
	for _, w := range words[4:6] {
		if n := len(w.text); n != 14 && n != 10 {
			return "", fmt.Errorf("found the time %q: expected YYYYMMDDHHmmSS, or seconds in ten digits", w.text)
		}
	}
	return "", nil
}

// typesFrom wants names of types from the n-th word on. The parser reads any
// word as TYPEn that has a number after its fourth octet.
func typesFrom(n int) func([]textWord) (string, error) {
	return func(words []textWord) (string, error) {
		for _, w := range words[min(n, len(words)):] {
			if readType([]byte(w.text)) == 0 {
				return "", fmt.Errorf("found %q: expected a record type", w.text)
			}
		}
		return "", nil
	}
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
