package config

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Bounds of one file. They are far above what a person writes. goccy's parser
// recurses for each level and for each key of a block mapping, takes time with
// the square of the keys of one and of the empty lines in a row, and keeps a
// path for each node: past these, a file could end the process.
const (
	maxFileSize = 4 << 20
	maxDepth    = 16
	maxIndent   = 200   // columns before a block key
	maxKey      = 100   // bytes
	maxKeys     = 20000 // entries of one mapping or list
	maxEmpty    = 100   // empty lines in a row
)

// file is one file of the configuration.
type file struct {
	name  string // for people: as reached from the path given to Load
	order int    // among the files of one Load
	text  []byte // as it was read
}

// parse turns the text of a file into a tree. It returns nil and reports why
// where the text is no YAML that is accepted here.
func (d *decoder) parse(f *file, text []byte) *node {
	fail := func(line, column int, format string, args ...any) *node {
		d.errors = append(d.errors, finding{place{f, line, column}, fmt.Sprintf(format, args...)})
		return nil
	}
	if len(text) > maxFileSize {
		return fail(0, 0, "is larger than %d MiB", maxFileSize>>20)
	}
	if line, column, what := badText(text); what != "" {
		return fail(line, column, "%s", what)
	}
	// goccy counts a comment's CRLF as two lines.
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	text = bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))

	tokens := lexer.Tokenize(string(text))
	if tk, what := refused(tokens); tk != nil {
		return fail(tk.Position.Line, tk.Position.Column, "%s", what)
	}
	tree, err := parseTokens(tokens)
	if err != nil {
		var located yaml.Error
		if errors.As(err, &located) && located.GetToken() != nil {
			p := located.GetToken().Position
			return fail(p.Line, max(1, p.Column), "is no YAML: %s", hinted(oneLine(located.GetMessage())))
		}
		return fail(0, 0, "is no YAML: %s", oneLine(err.Error()))
	}
	root := &node{kind: null, at: place{f, 1, 1}}
	if len(tree.Docs) > 1 {
		for _, doc := range tree.Docs[1:] {
			if doc.Body == nil {
				continue
			}
			tk := doc.Body.GetToken()
			if doc.Start != nil {
				tk = doc.Start
			}
			return fail(tk.Position.Line, max(1, tk.Position.Column), "a second document begins here: a file holds one")
		}
	}
	if len(tree.Docs) > 0 && tree.Docs[0].Body != nil {
		d.convert(f, root, tree.Docs[0].Body, 0)
	}
	return root
}

// parseTokens keeps a fault of the parser from ending a node that runs: a bad
// file is refused, whatever is in it.
func parseTokens(tokens token.Tokens) (tree *ast.File, err error) {
	defer func() {
		if r := recover(); r != nil {
			tree, err = nil, fmt.Errorf("the parser failed on it (%v)", r)
		}
	}()
	return parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
}

// hinted adds to what the parser says what is mostly meant by it.
func hinted(s string) string {
	switch {
	case strings.Contains(s, `'\t'`):
		return "a tab stands here, and YAML is indented with spaces"
	case strings.HasSuffix(s, "must be specified"):
		return s + ` (is a bracket not closed? a text with { } [ ] or , in it has to be in quotes here)`
	case strings.HasSuffix(s, "value is not allowed in this context"):
		return s + ` (is the line indented as those around it? a text with ": " in it has to be in quotes)`
	}
	return s
}

func oneLine(s string) string {
	s = strings.ReplaceAll(s, "\t", `\t`)
	return strings.Join(strings.Fields(s), " ")
}

// badText finds the first character that is no text.
func badText(text []byte) (line, column int, what string) {
	line, column = 1, 1
	empty, blank := 0, true // lines in a row; so far, this one
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		switch {
		case r == utf8.RuneError && size == 1:
			return line, column, "is no UTF-8 text"
		case r == '\r' && len(text) > 1 && text[1] == '\n':
		case r < ' ' && r != '\n' && r != '\t', r == 0x7f, r == '\u0085', r == '\u2028', r == '\u2029':
			return line, column, fmt.Sprintf("holds the control character %U", r)
		}
		column++
		blank = blank && (r == ' ' || r == '\t' || r == '\r' || r == '\n')
		if r == '\n' {
			if !blank {
				empty = 0
			} else if empty++; empty > maxEmpty {
				return line, 1, fmt.Sprintf("holds more than %d empty lines in a row", maxEmpty)
			}
			line, column, blank = line+1, 1, true
		}
		text = text[size:]
	}
	return 0, 0, ""
}

// refused finds the first thing that YAML has and a configuration does without,
// and what would make the parser recurse too deeply.
func refused(tokens token.Tokens) (*token.Token, string) {
	flow, dashes, line := 0, 0, 0
	tooMany := func(tk *token.Token, n int) (*token.Token, string) {
		return tk, fmt.Sprintf("is entry %d of one mapping or list: at most %d are taken; cut it into several files and include them", n, maxKeys)
	}
	var entries [maxDepth + 2]int // of the flow collections that are open
	var keys [maxIndent + 1]int   // by column, since the last entry further left
	for _, tk := range tokens {
		p := tk.Position
		if p.Line != line {
			line, dashes = p.Line, 0
		}
		switch tk.Type {
		case token.AnchorType, token.AliasType:
			return tk, "anchors and aliases (& and *) are not accepted: write the value out (or put it in quotes)"
		case token.MergeKeyType:
			return tk, "merge keys (<<) are not accepted: write the keys out"
		case token.TagType:
			return tk, "tags (!) are not accepted: write the plain value (or put it in quotes)"
		case token.MappingKeyType:
			return tk, "explicit keys (?) are not accepted: write KEY: VALUE"
		case token.DirectiveType:
			return tk, "directives (%) are not accepted"
		case token.MappingStartType, token.SequenceStartType:
			flow++
			entries[min(flow, maxDepth+1)] = 1
		case token.MappingEndType, token.SequenceEndType:
			flow--
		case token.CollectEntryType: // a comma, which may be the last
			if at := min(max(flow, 0), maxDepth+1); !endsFlow(tk.NextType()) {
				if entries[at]++; entries[at] > maxKeys {
					return tooMany(tk, entries[at])
				}
			}
		case token.SequenceEntryType:
			dashes++
		}
		key := tk.NextType() == token.MappingValueType
		block := flow == 0 && (key || tk.Type == token.SequenceEntryType)
		if flow > maxDepth || dashes > maxDepth || block && p.Column > maxIndent {
			return tk, fmt.Sprintf("is nested too deeply (at most %d levels)", maxDepth)
		}
		if key && len(tk.Value) > maxKey {
			return tk, fmt.Sprintf("the key is longer than %d characters", maxKey)
		}
		if block {
			column := min(max(p.Column, 0), maxIndent)
			clear(keys[column+1:])
			if keys[column]++; keys[column] > maxKeys {
				return tooMany(tk, keys[column])
			}
		}
	}
	return nil, ""
}

func endsFlow(t token.Type) bool { return t == token.SequenceEndType || t == token.MappingEndType }

// convert fills n from a syntax tree.
func (d *decoder) convert(f *file, n *node, from ast.Node, depth int) {
	n.at = startOf(f, from)
	if depth > maxDepth {
		d.errorf(n, "is nested too deeply (at most %d levels)", maxDepth)
		return
	}
	switch v := from.(type) {
	case *ast.NullNode:
		n.kind = null
	case *ast.MappingNode:
		n.kind = mapping
		for _, value := range v.Values {
			d.convertField(f, n, value, depth)
		}
	case *ast.MappingValueNode:
		n.kind = mapping
		d.convertField(f, n, v, depth)
	case *ast.SequenceNode:
		n.kind = list
		for i, item := range v.Values {
			m := &node{up: n, name: fmt.Sprintf("[%d]", i), at: n.at}
			if item != nil {
				d.convert(f, m, item, depth+1)
			}
			n.items = append(n.items, m)
		}
	case *ast.StringNode:
		n.kind, n.text = scalar, v.Value
		n.quoted = v.Token.Type == token.SingleQuoteType || v.Token.Type == token.DoubleQuoteType
	case *ast.LiteralNode:
		n.kind, n.text, n.quoted = scalar, v.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		n.kind, n.text = scalar, from.GetToken().Value
	default:
		d.errorf(n, "this form of YAML (%s) is not accepted", from.Type())
	}
}

// startOf is where a value begins. goccy has a block mapping begin at its first
// colon; people look for the first key.
func startOf(f *file, from ast.Node) place {
	tk := from.GetToken()
	switch v := from.(type) {
	case *ast.MappingNode:
		if !v.IsFlowStyle && len(v.Values) > 0 {
			tk = v.Values[0].Key.GetToken()
		}
	case *ast.MappingValueNode:
		tk = v.Key.GetToken()
	}
	return place{f, tk.Position.Line, max(1, tk.Position.Column)}
}

func (d *decoder) convertField(f *file, n *node, from *ast.MappingValueNode, depth int) {
	tk := from.Key.GetToken()
	at := place{f, tk.Position.Line, max(1, tk.Position.Column)}
	key := tk.Value
	value := &node{up: n, name: key, at: at}
	if from.Value != nil {
		d.convert(f, value, from.Value, depth+1)
	}
	if value.kind == null {
		value.at = at // an implied null has no place of its own
	}
	n.fields = append(n.fields, field{key: key, at: at, value: value})
}
