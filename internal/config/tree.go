package config

import (
	"strconv"
	"strings"
)

// kind of a node.
type kind uint8

const (
	null kind = iota
	scalar
	list
	mapping
)

// node is one located value of the files: goccy's syntax tree less the
// differences of style, with the values of all files merged.
type node struct {
	kind   kind
	at     place
	up     *node  // nil at the root
	name   string // the key in its mapping, or "[2]" in its list
	text   string // of a scalar
	quoted bool   // a quoted or block scalar: never a number or a truth value
	items  []*node
	fields []field
}

// field is one key of a mapping and its value.
type field struct {
	key   string
	at    place // of the key
	value *node
}

// get is the value of a key, or nil.
func (n *node) get(key string) *node {
	if n == nil {
		return nil
	}
	for i := range n.fields {
		if n.fields[i].key == key {
			return n.fields[i].value
		}
	}
	return nil
}

// has says whether a key is there.
func (n *node) has(key string) bool { return n.get(key) != nil }

// path names the node from the root: services.shop.endpoints[0].address.
func (n *node) path() string {
	var names []string
	for m := n; m != nil && m.up != nil; m = m.up {
		names = append(names, m.name)
	}
	var b strings.Builder
	for i := len(names) - 1; i >= 0; i-- {
		if b.Len() > 0 && !strings.HasPrefix(names[i], "[") {
			b.WriteByte('.')
		}
		b.WriteString(names[i])
	}
	return b.String()
}

// describe says for a message what was found.
func (n *node) describe() string {
	switch n.kind {
	case null:
		return "nothing"
	case list:
		return "a list"
	case mapping:
		return "a mapping"
	}
	if n.quoted {
		return strconv.Quote(short(n.text))
	}
	return short(n.text)
}

// short keeps one message on one line, whatever a file holds.
func short(s string) string {
	const most = 60
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "..."
	}
	return strings.Map(func(r rune) rune {
		if !strconv.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}

// walk calls f for n and everything below it.
func (n *node) walk(f func(*node)) {
	f(n)
	for _, m := range n.items {
		m.walk(f)
	}
	for i := range n.fields {
		n.fields[i].value.walk(f)
	}
}
