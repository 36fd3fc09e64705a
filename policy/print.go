package policy

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Printable is a text as it may be shown: what is not printable stands in it as an escape, so that a text that came
// from elsewhere can neither forge a line nor move a terminal's cursor.
func Printable(text string) string {
	var b strings.Builder
	for i, r := range text {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(text[i:], string(utf8.RuneError)):
			fmt.Fprintf(&b, `\x%02x`, text[i])
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r > 0xffff:
			fmt.Fprintf(&b, `\U%08x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// checkPrintable refuses a text with a character that is not printable, and says which and where.
func checkPrintable(what, text string) error {
	n := 0
	for i, r := range text {
		n++
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(text[i:], string(utf8.RuneError)):
			return fmt.Errorf("%s: octet 0x%02X, where character %d should be, is not UTF-8", what, text[i], n)
		case !unicode.IsPrint(r):
			return fmt.Errorf("%s: character %d is U+%04X, which is not printable", what, n, r)
		}
	}
	return nil
}

// CheckText refuses an order of whose words one is not printable: they are shown to people, and kept.
func (o Order) CheckText() error {
	type word struct{ what, text string }
	words := []word{
		{"author", o.Author},
		{"reason (--reason)", strings.TrimSpace(o.Reason)},
		{"kind", string(o.Kind)},
		{"metro", string(o.Metro)},
		{"site", string(o.ReturnTo)},
	}
	if !o.Clear { // which names what is there, whatever its name is
		words = append(words, word{"key", o.Key})
	}
	for _, id := range o.Sites {
		words = append(words, word{"site", string(id)})
	}
	if o.Override != nil {
		words = append(words, word{"site", string(o.Override.Site)})
	}
	for _, rule := range o.BreakGlass {
		words = append(words, word{"rule (--break-glass)", rule})
	}
	for _, w := range words {
		if err := checkPrintable(w.what, w.text); err != nil {
			return err
		}
	}
	return nil
}
