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
			end()
			quoted = !quoted
			begun = quoted
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
