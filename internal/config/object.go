package config

import (
	"fmt"
	"slices"
	"strings"
)

// reader reads the value of a node into a variable that it was made for, and
// reports what is wrong with it.
type reader func(*node)

// key is one key that a mapping may hold.
type key struct {
	name string
	need bool
	read reader
}

// optional is a key that may be left out.
func optional(name string, read reader) key { return key{name: name, read: read} }

// required is a key that must be there.
func required(name string, read reader) key { return key{name: name, need: true, read: read} }

// decoder reads a tree and collects what is wrong with it.
type decoder struct {
	errors   []finding
	warnings []finding
	known    map[string]bool // every key of every mapping that was read: "check.http.url"
}

// errorf reports an error at a node.
func (d *decoder) errorf(n *node, format string, args ...any) {
	d.errors = append(d.errors, finding{n.at, prefixed(n, fmt.Sprintf(format, args...))})
}

// warnf reports a warning at a node.
func (d *decoder) warnf(n *node, format string, args ...any) {
	d.warnings = append(d.warnings, finding{n.at, prefixed(n, fmt.Sprintf(format, args...))})
}

func prefixed(n *node, text string) string {
	if p := n.path(); p != "" {
		return short(p) + ": " + text
	}
	return text
}

// expected reports that something else was found.
func (d *decoder) expected(n *node, what string) {
	d.errorf(n, "found %s, expected %s", n.describe(), what)
}

// unknown reports a word that is none of those known.
func (d *decoder) unknown(n *node, what, found string, words []string) {
	d.errorf(n, "%s", unknownText(what, found, words))
}

func unknownText(what, found string, words []string) string {
	text := fmt.Sprintf("unknown %s %q", what, short(found))
	if w := nearest(found, words); w != "" {
		return text + fmt.Sprintf(": did you mean %q?", w)
	}
	if len(words) == 0 {
		return text + ": none is configured"
	}
	return text + ": expected " + anyOf(words)
}

// anyOf lists words as "a, b or c".
func anyOf(words []string) string {
	const most = 24
	if len(words) > most {
		return strings.Join(words[:most], ", ") + " ..."
	}
	return series(words, "or")
}

// andOf lists words as "a, b and c".
func andOf(words []string) string { return series(words, "and") }

func series(words []string, last string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " " + last + " " + words[len(words)-1]
}

// object reads a mapping of fixed keys, in the order in which they are given
// here. schema names the mapping in docs/config.md. It says whether n is a
// mapping at all.
func (d *decoder) object(n *node, schema string, keys ...key) bool {
	names := make([]string, len(keys))
	for i, k := range keys {
		names[i] = k.name
		d.known[strings.TrimPrefix(schema+"."+k.name, ".")] = true
	}
	if n.kind != mapping {
		d.expected(n, "a mapping with "+andOf(names))
		return false
	}
	for _, k := range keys {
		v := n.get(k.name)
		switch {
		case v == nil && misspelt(n, k.name, names): // said below
		case v == nil && k.need:
			d.errorf(n, "%q is missing", k.name)
		case v == nil:
		case v.kind == null:
			d.errorf(v, "has no value")
		default:
			k.read(v)
		}
	}
	for _, f := range n.fields {
		if !slices.Contains(names, f.key) {
			d.errors = append(d.errors, finding{f.at, prefixed(n, unknownText("key", f.key, names))})
		}
	}
	return true
}

// misspelt says whether a key that is missing stands in n in another spelling, of which
// object tells already. names are all keys that n may have.
func misspelt(n *node, name string, names []string) bool {
	return !n.has(name) && slices.ContainsFunc(n.fields, func(f field) bool {
		return !slices.Contains(names, f.key) && nearest(f.key, names) == name
	})
}

// named reads a mapping whose keys are names that the user chose; each is
// called for every one, with the name already checked.
func (d *decoder) named(n *node, what string, each func(name string, value *node)) bool {
	if n.kind != mapping {
		d.expected(n, "a mapping of "+what+" names")
		return false
	}
	for _, f := range n.fields {
		if why := badName(f.key); why != "" {
			d.errors = append(d.errors, finding{f.at, prefixed(n, fmt.Sprintf("%q is no %s name: %s", short(f.key), what, why))})
			continue
		}
		if f.value.kind == null {
			d.errorf(f.value, "has no value")
			continue
		}
		each(f.key, f.value)
	}
	return true
}

// badName says what is wrong with a name that a user chose: it must fit in a
// command (drain endpoint/SERVICE/SITE), a metric's label and a file name.
func badName(s string) string {
	const longest = 63
	if s == "" {
		return "it is empty"
	}
	if len(s) > longest {
		return fmt.Sprintf("it is longer than %d characters", longest)
	}
	for i, r := range s {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
		case i > 0 && (r == '-' || r == '_' || r == '.'):
		default:
			return fmt.Sprintf("expected letters, digits, - _ . (and a letter or digit first), found %q", r)
		}
	}
	return ""
}

// each reads a list; where one is set, a single value stands for a list of one.
func (d *decoder) each(n *node, what string, one bool, read reader) {
	switch {
	case n.kind == list && len(n.items) == 0:
		d.errorf(n, "the list is empty, expected %s", what)
	case n.kind == list:
		for _, item := range n.items {
			if item.kind == null {
				d.errorf(item, "has no value")
				continue
			}
			read(item)
		}
	case one:
		read(n)
	default:
		d.expected(n, "a list of "+what)
	}
}
