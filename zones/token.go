package zones

import (
	"math"
	"strings"

	"github.com/miekg/dns"
)

// maxTTL is the largest TTL there is (RFC 2181 §8).
const maxTTL = math.MaxInt32

// textWord is a word of an entry: escapes are kept as they are.
type textWord struct {
	text   string // without quotes
	quoted bool
}

// splitWords splits an entry into words, parted by blanks, parentheses and
// quotes. Comments are left out.
func splitWords(text []byte) []textWord {
	var (
		words  []textWord
		word   []byte
		quoted bool
		begun  bool
	)
	end := func(quoted bool) {
		if begun {
			words = append(words, textWord{string(word), quoted})
		}
		word, begun = word[:0], false
	}
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\' && i+1 < len(text) && text[i+1] != '\n':
			word = append(word, c, text[i+1])
			begun = true
			i++
		case c == '"':
			end(quoted)
			quoted = !quoted
			begun = quoted
		case quoted:
			word = append(word, c)
		case c == ';':
			for i+1 < len(text) && text[i+1] != '\n' {
				i++
			}
		case c == ' ', c == '\t', c == '\r', c == '\n', c == '(', c == ')':
			end(false)
		default:
			word = append(word, c)
			begun = true
		}
	}
	end(quoted)
	return words
}

// fields is splitWords without the quotes.
func fields(text []byte) []string {
	var fs []string
	for _, w := range splitWords(text) {
		fs = append(fs, w.text)
	}
	return fs
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
