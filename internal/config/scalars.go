package config

import (
	"cmp"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// text reads any scalar as it is written.
func (d *decoder) text(dst *string) reader {
	return func(n *node) {
		switch {
		case n.kind != scalar:
			d.expected(n, "a text")
		case n.text == "":
			d.errorf(n, "is empty")
		default:
			*dst = n.text
		}
	}
}

// boolean reads true or false.
func (d *decoder) boolean(dst *bool) reader {
	return func(n *node) {
		switch {
		case n.kind == scalar && !n.quoted && n.text == "true":
			*dst = true
		case n.kind == scalar && !n.quoted && n.text == "false":
			*dst = false
		default:
			d.expected(n, "true or false")
		}
	}
}

// integer reads a whole number from least to most.
func integer[T ~int | ~uint8 | ~uint16 | ~uint32](d *decoder, dst *T, least, most int) reader {
	return func(n *node) {
		what := fmt.Sprintf("a whole number from %d to %d", least, most)
		if n.kind != scalar || n.quoted {
			d.expected(n, what)
			return
		}
		v, err := strconv.Atoi(n.text)
		if err != nil || v < least || v > most {
			d.expected(n, what)
			return
		}
		if plain := strconv.Itoa(v); plain != n.text { // 0443 is octal to some readers of YAML
			d.expected(n, "it written as "+plain)
			return
		}
		*dst = T(v)
	}
}

// word is one of the values that a key may have.
type word[T any] struct {
	text  string
	value T
}

// oneOf reads one of a few words.
func oneOf[T any](d *decoder, dst *T, words ...word[T]) reader {
	return func(n *node) {
		texts := make([]string, len(words))
		for i, w := range words {
			texts[i] = w.text
			if n.kind == scalar && n.text == w.text {
				*dst = w.value
				return
			}
		}
		if n.kind == scalar {
			if w := nearest(n.text, texts); w != "" {
				d.errorf(n, "found %s, expected %s: did you mean %q?", n.describe(), anyOf(texts), w)
				return
			}
		}
		d.expected(n, anyOf(texts))
	}
}

// units of a duration. The month is missing, since its length is not known.
var units = []struct {
	name string
	size time.Duration
}{
	{"ms", time.Millisecond},
	{"s", time.Second},
	{"m", time.Minute},
	{"h", time.Hour},
	{"d", 24 * time.Hour},
}

// duration reads a time with its unit, from least to most.
func (d *decoder) duration(dst *time.Duration, least, most time.Duration) reader {
	return func(n *node) {
		if n.kind != scalar {
			d.expected(n, "a duration such as 500ms, 10s or 5m")
			return
		}
		v, err := ParseDuration(n.text)
		switch {
		case err != nil:
			d.errorf(n, "%v", err)
		case v < least || v > most:
			d.errorf(n, "found %s, expected a duration from %s to %s", n.describe(), since(least), since(most))
		default:
			*dst = v
		}
	}
}

// seconds reads a duration that DNS can say: of whole seconds.
func (d *decoder) seconds(dst *time.Duration, least, most time.Duration) reader {
	return func(n *node) {
		before := len(d.errors)
		d.duration(dst, least, most)(n)
		if len(d.errors) == before && *dst%time.Second != 0 {
			d.errorf(n, "found %s, expected whole seconds: DNS counts TTLs in them", n.describe())
			*dst = dst.Truncate(time.Second)
		}
	}
}

// ParseDuration reads a length of time as the configuration has it: 10s, 1h30m, 500ms, 1.5s, 2d.
func ParseDuration(text string) (time.Duration, error) {
	const form = "expected a number and ms, s, m, h or d, such as 500ms, 10s or 5m"
	var sum time.Duration
	rest := text
	for {
		digits := strings.IndexFunc(rest, func(r rune) bool { return r != '.' && (r < '0' || r > '9') })
		if digits < 0 {
			digits = len(rest)
		}
		number, err := strconv.ParseFloat(rest[:digits], 64)
		if err != nil || !strings.ContainsAny(rest[:1], "0123456789") {
			return 0, fmt.Errorf("found %s, %s", quote(text), form)
		}
		rest = rest[digits:]
		letters := strings.IndexFunc(rest, func(r rune) bool { return !unicode.IsLetter(r) })
		if letters < 0 {
			letters = len(rest)
		}
		unit := rest[:letters]
		rest = rest[letters:]
		if unit == "" && rest == "" {
			return 0, fmt.Errorf("found %s, which has no unit: %s", quote(text), form)
		}
		if unit == "" {
			return 0, fmt.Errorf("found %s, %s", quote(text), form)
		}
		size, ok := time.Duration(0), false
		for _, u := range units {
			if u.name == unit {
				size, ok = u.size, true
			}
		}
		if !ok {
			return 0, fmt.Errorf("found %s, which has the unit %q: %s", quote(text), short(unit), form)
		}
		v := number * float64(size)
		if v+float64(sum) > math.MaxInt64/2 {
			return 0, fmt.Errorf("found %s, which is too long", quote(text))
		}
		sum += time.Duration(math.Round(v))
		if rest == "" {
			return sum, nil
		}
	}
}

func quote(s string) string { return strconv.Quote(short(s)) }

// since writes a duration as a person does: 5m, not 5m0s.
func since(v time.Duration) string {
	if v >= 24*time.Hour && v%(24*time.Hour) == 0 {
		return fmt.Sprintf("%dd", v/(24*time.Hour))
	}
	s := v.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// address reads an IP address.
func (d *decoder) address(dst *netip.Addr) reader {
	return func(n *node) {
		const what = "an IP address"
		if n.kind != scalar {
			d.expected(n, what+quotesHint(n))
			return
		}
		a, err := netip.ParseAddr(n.text)
		switch {
		case err != nil && isPrefix(n.text):
			d.expected(n, "an address, not a prefix")
		case err != nil && isAddrPort(n.text):
			d.expected(n, "an address without a port")
		case err != nil:
			d.expected(n, what+", such as 192.0.2.1 or 2001:db8::1")
		case a.Is4In6():
			d.errorf(n, "found %s, expected it written as IPv4: %s", n.describe(), a.Unmap())
		case a.Zone() != "":
			d.expected(n, "an address without a zone")
		case a.IsUnspecified(), a.IsMulticast(), a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
			d.expected(n, "the address of one host")
		default:
			*dst = a
		}
	}
}

func isPrefix(s string) bool   { _, err := netip.ParsePrefix(s); return err == nil }
func isAddrPort(s string) bool { _, err := netip.ParseAddrPort(s); return err == nil }

// quotesHint explains why an address was read as something else: inside braces the
// parser takes any colon for the end of a key, also in brackets that stand there.
func quotesHint(n *node) string {
	if n.kind == mapping {
		return " (inside braces an address with a colon in it, of IPv6 or with a port, has to be in quotes)"
	}
	return ""
}

// prefix reads a network whose host bits are zero.
func (d *decoder) prefix(dst *netip.Prefix) reader {
	return func(n *node) {
		const what = "a network such as 10.1.0.0/16"
		if n.kind != scalar {
			d.expected(n, what+quotesHint(n))
			return
		}
		p, err := netip.ParsePrefix(n.text)
		switch a, aerr := netip.ParseAddr(n.text); {
		case err != nil && aerr == nil:
			d.errorf(n, "found %s, expected %s: did you mean %s/%d?", n.describe(), what, a, a.BitLen())
		case err != nil:
			d.expected(n, what)
		case p.Addr().Is4In6():
			d.errorf(n, "found %s, expected it written as IPv4", n.describe())
		case p != p.Masked():
			d.errorf(n, "found %s, which has bits set beyond its length: did you mean %s?", n.describe(), p.Masked())
		default:
			*dst = p
		}
	}
}

// addrPort reads address:port; without a port it has the given one, if any.
func (d *decoder) addrPort(dst *netip.AddrPort, port uint16) reader {
	return func(n *node) {
		example := cmp.Or(port, 8443)
		what := fmt.Sprintf(`an address and port, such as 192.0.2.1:%d or "[2001:db8::1]:%d"`, example, example)
		if n.kind != scalar {
			d.expected(n, what+quotesHint(n))
			return
		}
		ap, err := netip.ParseAddrPort(n.text)
		if err != nil {
			if a, aerr := netip.ParseAddr(strings.Trim(n.text, "[]")); aerr == nil && port != 0 {
				ap, err = netip.AddrPortFrom(a, port), nil
			}
		}
		switch {
		case err != nil:
			d.expected(n, what)
		case ap.Addr().Zone() != "":
			d.expected(n, "an address without a zone")
		default:
			*dst = netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
		}
	}
}

// percent reads a share such as 0.1%.
func (d *decoder) percent(dst *float64) reader {
	return func(n *node) {
		text, ok := strings.CutSuffix(n.text, "%")
		v, err := strconv.ParseFloat(text, 64)
		if n.kind != scalar || !ok || err != nil || v < 0 || v > 100 {
			d.expected(n, "a share from 0% to 100%, such as 0.1%")
			return
		}
		*dst = v / 100
	}
}

// bandwidth reads bits a second, such as 400Mbit/s.
func (d *decoder) bandwidth(dst *uint64) reader {
	return func(n *node) {
		const what = "a bandwidth such as 100kbit/s, 400Mbit/s or 1Gbit/s"
		for unit, size := range map[string]float64{"kbit/s": 1e3, "Mbit/s": 1e6, "Gbit/s": 1e9} {
			if text, ok := strings.CutSuffix(n.text, unit); ok && n.kind == scalar {
				v, err := strconv.ParseFloat(text, 64)
				if err != nil || v*size < 1000 || v*size > 1e13 {
					break
				}
				*dst = uint64(v * size)
				return
			}
		}
		d.expected(n, what)
	}
}
