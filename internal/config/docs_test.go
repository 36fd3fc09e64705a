package config

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestDocs compares the keys that the parser knows with docs/config.md: every
// one is documented, and nothing else. A key that no file in testdata uses
// would not be known here, so every-key.yaml has them all.
func TestDocs(t *testing.T) {
	text, err := os.ReadFile("testdata/every-key.yaml")
	if err != nil {
		t.Fatal(err)
	}
	l := newLoader(Options{Getenv: noEnv, FS: os.DirFS("testdata")})
	l.load("every-key.yaml")
	// sites: needs two sites, which the rest of the file does without.
	delete(l.known, "services.NAME.endpoints.sites")
	for _, e := range l.errors {
		t.Errorf("%v %s", e.at, e.text)
	}
	for key := range l.known {
		word := key[strings.LastIndex(key, ".")+1:]
		if !regexp.MustCompile(`[ {\n]` + word + `:`).Match(text) {
			t.Errorf("every-key.yaml does without %s", key)
		}
	}
	l.known["services.NAME.endpoints.sites"] = true
	if diff := cmp.Diff(slices.Sorted(maps.Keys(l.known)), documented(t)); diff != "" {
		t.Errorf("known keys and docs/config.md differ (-known +documented):\n%s", diff)
	}
}

// documented lists the first columns of the tables below the headings that name
// a mapping; those of the heading Sections are the top level.
func documented(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("../../docs/config.md")
	if err != nil {
		t.Fatal(err)
	}
	heading := regexp.MustCompile("^##+ `(.*)`$")
	row := regexp.MustCompile("^\\| `([a-z_]+)` \\|")
	schema, in := "", false
	var keys []string
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "#") {
			m := heading.FindStringSubmatch(line)
			in = m != nil || line == "## Sections"
			schema = ""
			if m != nil {
				schema = m[1] + "."
			}
			continue
		}
		m := row.FindStringSubmatch(line)
		if m == nil || !in {
			continue
		}
		keys = append(keys, schema+m[1])
		if columns := strings.Count(strings.ReplaceAll(line, `\|`, ""), "|") - 1; columns != 5 {
			t.Errorf("%s%s: %d columns, want key, type, default, meaning, example", schema, m[1], columns)
		}
	}
	slices.Sort(keys)
	return keys
}
