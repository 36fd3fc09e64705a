package zones

import (
	"math"
	"strconv"
	"strings"

	"github.com/miekg/dns"
)

// head is what stands before the data of a record.
type head struct {
	hasTTL bool
	bad    string // a word that is no good TTL: miekg's parser takes "www" for no weeks, and 2^64 + 1 for 1
	alone  bool   // there is nothing after the owner; miekg's parser takes that for a type
	typ    uint16 // 0: none that is known
	end    int    // where the type ends
}

// readHead looks at the words between the owner and the data of a record.
func readHead(text []byte) (h head) {
	i := 0
	if !isBlank(text[0]) {
		_, i = word(text, 0)
	}
	for n := range 3 {
		var w []byte
		if w, i = word(text, i); len(w) == 0 {
			h.alone = n == 0
			return h
		}
		if h.typ = readType(w); h.typ != 0 { // before TTLs: DS and MD look like units
			h.end = i
			return h
		}
		if isClass(w) {
			continue
		}
		ttl, like := readTTL(w)
		if !like {
			return h
		}
		if ttl > math.MaxUint32 {
			h.bad = string(w)
			return h
		}
		h.hasTTL = true
	}
	return h
}

// readType reads the name of a type, TYPE65280 too; 0: it is none.
func readType(w []byte) uint16 {
	var up [16]byte
	if len(w) > len(up) {
		return 0
	}
	for i, c := range w {
		if up[i] = c; 'a' <= c && c <= 'z' {
			up[i] = c - 'a' + 'A'
		}
	}
	if typ, ok := dns.StringToType[string(up[:len(w)])]; ok {
		return typ
	}
	if digits, ok := strings.CutPrefix(string(up[:len(w)]), "TYPE"); ok {
		n, _ := strconv.ParseUint(digits, 10, 16)
		return uint16(n)
	}
	return 0
}

// word returns the word at or after i on a line, and where it ends.
func word(text []byte, i int) ([]byte, int) {
	for i < len(text) && strings.IndexByte(" \t\r\n()", text[i]) >= 0 {
		i++
	}
	start := i
	for i < len(text) && strings.IndexByte(" \t\r\n();\"", text[i]) < 0 {
		if text[i] == '\\' {
			i++
		}
		i++
	}
	i = min(i, len(text))
	return text[start:i], i
}

func isClass(w []byte) bool {
	if len(w) == 2 {
		_, ok := dns.StringToClass[strings.ToUpper(string(w))]
		return ok
	}
	return len(w) > 5 && strings.EqualFold(string(w[:5]), "CLASS")
}

// noNumber is readTTL's for a word that only looks like a TTL.
const noNumber = math.MaxUint64

// readTTL reads seconds, or numbers with units: 3600, 1h30m, 1W. like says
// whether miekg's parser would take the word for a TTL at all; ttl is beyond
// 32 bits for what must not be taken for one.
func readTTL(w []byte) (ttl uint64, like bool) {
	var total, n uint64
	digits, good := false, true
	for _, c := range w {
		var unit uint64
		switch c {
		case 's', 'S':
			unit = 1
		case 'm', 'M':
			unit = 60
		case 'h', 'H':
			unit = 3600
		case 'd', 'D':
			unit = 86400
		case 'w', 'W':
			unit = 604800
		default:
			if !isDigit(c) {
				return 0, false
			}
			n, digits = min(n*10+uint64(c-'0'), 1<<33), true
			continue
		}
		good = good && digits
		total += n * unit
		n, digits = 0, false
	}
	if total += n; !good || len(w) > 40 {
		total = noNumber
	}
	return total, len(w) > 0
}
