package zones

import (
	"math"
	"strings"

	"github.com/miekg/dns"
)

// checkHead looks at the words between the owner and the type of a record. It
// says whether there is a TTL, and gives the word that is a bad one: miekg's
// parser takes "www" for no weeks, and 2^64 + 1 for 1.
func checkHead(text []byte) (hasTTL bool, bad string) {
	i := 0
	if !isBlank(text[0]) {
		_, i = word(text, 0)
	}
	for range 2 {
		var w []byte
		if w, i = word(text, i); len(w) == 0 || isClass(w) {
			continue
		}
		ttl, like := readTTL(w)
		if !like || dns.StringToType[strings.ToUpper(string(w))] != 0 { // DS and MD look like units
			return hasTTL, ""
		}
		if ttl > math.MaxUint32 {
			return hasTTL, string(w)
		}
		hasTTL = true
	}
	return hasTTL, ""
}

// word returns the word at or after i, and where it ends.
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
	if i == start && i < len(text) { // a comment inside parentheses, or a quote
		for i < len(text) && text[i] != '\n' {
			i++
		}
		if text[start] == ';' && i < len(text)-1 {
			return word(text, i)
		}
		return nil, i
	}
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

// badSOANumber gives the number of an SOA record that is none, for the same reasons.
func badSOANumber(text []byte) string {
	words, _ := fields(text)
	for i, w := range words {
		if strings.EqualFold(w, "SOA") && i+3 < len(words) {
			for _, n := range words[i+3:] {
				if ttl, like := readTTL([]byte(n)); like && ttl > math.MaxUint32 {
					return n
				}
			}
			break
		}
	}
	return ""
}
