package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

const tricky = "\ufeff# a comment\n" + `
a: {b: "é x", ç: y,
    z:  1, list: [a, 'b''c',
  d]}   # behind
"quoted key": |
  block
   text

folded: >-
  more
  text
-dash: -no-list
url: "https://{address}:8443/x#y"
plain: https://example.org/#x
multi: word
  and more
list:
- a
-   b: c
    d:
    - e
    -   - f

        - "g: h"
# comment
    # another
empty:
tilde: ~
ipv6: 2001:db8::1
flow: {ipv6: 2001:db8::1, q: "2001:db8::2", e: }
esc: "a\tb\u00e9\
  c"
last: x`

// TestPlaces compares the place of every value and key with the text there.
func TestPlaces(t *testing.T) {
	texts := map[string][]byte{
		"tricky":      []byte(tricky),
		"tricky CRLF": []byte(strings.ReplaceAll(tricky, "\n", "\r\n")),
	}
	for _, pattern := range []string{"../../examples/*/*.yaml", "../../examples/*/*/*.yaml", "testdata/*.yaml"} {
		paths, _ := filepath.Glob(pattern)
		for _, path := range paths {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			texts[path] = text
		}
	}
	archives, _ := filepath.Glob("testdata/mistakes/*.txtar")
	for _, path := range archives {
		archive, err := txtar.ParseFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range archive.Files {
			texts[path+" "+f.Name] = f.Data
		}
	}
	for name, text := range texts {
		t.Run(name, func(t *testing.T) {
			d := &decoder{known: make(map[string]bool)}
			root := d.parse(&file{name: name}, text)
			if root == nil {
				if strings.HasPrefix(name, "tricky") {
					t.Fatal(d.errors)
				}
				return // no YAML
			}
			lines := strings.Split(strings.TrimPrefix(string(text), "\ufeff"), "\n")
			found := func(at place, want string) {
				rest := ""
				if at.line <= len(lines) && at.column <= len([]rune(lines[at.line-1])) {
					rest = string([]rune(lines[at.line-1])[at.column-1:])
				}
				if want == "" || !strings.HasPrefix(rest, want) && !strings.ContainsAny(rest[:min(1, len(rest))], `"'|>`) {
					t.Errorf("%v: the text there is %q, want %q", at, rest, want)
				}
			}
			root.walk(func(n *node) {
				if n.kind == scalar && n.text != "" {
					found(n.at, strings.Fields(n.text)[0])
				}
				for _, f := range n.fields {
					found(f.at, f.key)
				}
			})
		})
	}
}
