package zones

import (
	"errors"
	"math"
	"strings"

	"github.com/miekg/dns"
)

// maxTTL is the largest TTL there is (RFC 2181 §8).
const maxTTL = math.MaxInt32

// fields splits an entry into words: parted by blanks, quotes taken off,
// escapes kept as they are, comments left out. There is at least one.
func fields(text []byte) ([]string, error) {
	var (
		words  []string
		word   []byte
		quoted bool
		begun  bool
	)
	end := func() {
		if begun {
			words = append(words, string(word))
		}
		word, begun = word[:0], false
	}
scan:
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\' && i+1 < len(text) && text[i+1] != '\n':
			word = append(word, c, text[i+1])
			begun = true
			i++
		case c == '"':
			quoted = !quoted
			begun = true
		case quoted:
			word = append(word, c)
		case c == ';':
			for i < len(text) && text[i] != '\n' {
				i++
			}
			if i == len(text) {
				break scan
			}
			end()
		case c == ' ', c == '\t', c == '\r', c == '\n', c == '(', c == ')':
			end()
		default:
			word = append(word, c)
			begun = true
		}
	}
	end()
	if len(words) == 0 {
		return nil, errors.New("found nothing: expected a record or a directive")
	}
	return words, nil
}

// absoluteName completes a name in presentation form by the origin, which has
// the final dot.
func absoluteName(name, origin string) (string, bool) {
	if name == "@" {
		return origin, true
	}
	if name == "" || strings.ContainsAny(name, " \t\r\n()\";") {
		return "", false
	}
	if !dns.IsFqdn(name) {
		if origin == "." {
			name += "."
		} else {
			name += "." + origin
		}
	}
	_, err := NameToWire(name)
	return name, err == nil
}

// parseTTL reads seconds, or numbers with units: 3600, 1h30m, 1W.
func parseTTL(s string) (uint32, bool) {
	var total, n uint64
	digits := false
	for i := range len(s) {
		c := s[i] | 0x20
		switch {
		case '0' <= s[i] && s[i] <= '9':
			n = n*10 + uint64(s[i]-'0')
			digits = true
		case !digits:
			return 0, false
		default:
			unit := map[byte]uint64{'s': 1, 'm': 60, 'h': 3600, 'd': 86400, 'w': 604800}[c]
			if unit == 0 {
				return 0, false
			}
			total += n * unit
			n, digits = 0, false
		}
		if total > maxTTL || n > maxTTL {
			return 0, false
		}
	}
	total += n
	return uint32(total), s != "" && total <= maxTTL
}
