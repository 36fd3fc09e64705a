package integration

import (
	"bytes"
	"encoding/json"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const module = "github.com/scloudstack/pharos"

// mayImport says which of our packages each may import (ARCHITECTURE.md, "Imports
// point one way"). A package that is not listed fails the test, so that a new
// one is placed on purpose.
var mayImport = map[string][]string{
	"policy":              {},
	"zones":               {"policy"},
	"probe":               {"policy", "internal/bounded"},
	"cluster":             {"policy", "internal/bounded"},
	"dnsserver":           {"policy", "zones"},
	"internal/bounded":    {},
	"internal/config":     {"policy", "zones", "probe", "dnsserver"},
	"internal/api":        {"policy", "zones", "internal/bounded", "internal/config"},
	"internal/alert":      {"policy", "internal/bounded", "internal/config"},
	"internal/node":       {"policy", "zones", "probe", "dnsserver", "internal/bounded", "internal/config", "internal/api", "internal/alert", "cluster"},
	"internal/demo":       {"policy", "internal/config", "internal/api"},
	"internal/delegation": {"zones"},
	"cmd/pharos":          {"policy", "zones", "internal/config", "internal/api", "internal/node", "internal/demo", "internal/delegation"},
	"integration":         {},
	"integration/bench":   {},
	"integration/faults":  {},
	"integration/stories": {},

	"integration/simulation": {"policy", "cluster"},

	"integration/lab":      {"integration/lab/lab"},
	"integration/lab/wan":  {},
	"integration/lab/host": {},
	"integration/lab/lab":  {"integration/lab/host", "integration/lab/wan"},
}

// testsMayImport says what the tests of a package may import beside what the
// package itself may: those that run whole nodes look at the parts too. No test of
// a part needs another part.
var testsMayImport = map[string][]string{
	"integration":         {"policy", "zones", "dnsserver"},
	"integration/faults":  {"policy", "cluster", "internal/node", "integration/lab/host", "integration/lab/lab"},
	"integration/stories": {"integration/lab/lab", "integration/lab/wan"},
}

// buildTags are the sets of tags that packages are looked at with: each file
// belongs to one of them.
var buildTags = []string{"", "simulation", "skew"}

// imports is what go list says of a package.
type imports struct {
	ImportPath                         string
	Imports, TestImports, XTestImports []string
	IgnoredGoFiles                     []string
}

func TestImportsPointOneWay(t *testing.T) {
	ignored := map[string]int{} // how many sets of tags leave a file out
	for _, tags := range buildTags {
		seen := 0
		for _, p := range listImports(t, tags) {
			seen++
			for _, text := range against(p) {
				t.Errorf("with the tags %q: %s", tags, text)
			}
			for _, file := range p.IgnoredGoFiles {
				ignored[p.ImportPath+"/"+file]++
			}
		}
		if seen != len(mayImport) {
			t.Errorf("with the tags %q: %d packages listed, %d found", tags, len(mayImport), seen)
		}
	}
	for file, n := range ignored {
		if n == len(buildTags) {
			t.Errorf("%s is built with none of the tags %q, so that nobody looks at what it imports", file, buildTags)
		}
	}
}

func listImports(t *testing.T, tags string) []imports {
	t.Helper()
	out, err := exec.Command("go", "list", "-tags", tags, "-json=ImportPath,Imports,TestImports,XTestImports,IgnoredGoFiles", module+"/...").Output()
	if err != nil {
		t.Fatalf("go list -tags %q: %v", tags, err)
	}
	var all []imports
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p imports
		if err := d.Decode(&p); err == io.EOF {
			return all
		} else if err != nil {
			t.Fatalf("go list -tags %q: %v", tags, err)
		}
		all = append(all, p)
	}
}

// against says what a package imports against the arrows.
func against(p imports) []string {
	pkg := strings.TrimPrefix(p.ImportPath, module+"/")
	may, ok := mayImport[pkg]
	if !ok {
		return []string{"package " + pkg + " has no place in this test: which of ours may it import?"}
	}
	var found []string
	for _, imp := range p.Imports {
		if ours, is := strings.CutPrefix(imp, module+"/"); is && !slices.Contains(may, ours) {
			found = append(found, pkg+" imports "+ours+", against the arrows")
		}
		if pkg == "policy" && strings.Contains(strings.Split(imp, "/")[0], ".") {
			found = append(found, "policy imports "+imp+"; it may import only the standard library")
		}
	}
	may = slices.Concat(may, testsMayImport[pkg], []string{pkg})
	for _, imp := range slices.Concat(p.TestImports, p.XTestImports) {
		if ours, is := strings.CutPrefix(imp, module+"/"); is && !slices.Contains(may, ours) {
			found = append(found, "a test of "+pkg+" imports "+ours+", against the arrows")
		}
	}
	return found
}

func TestImportsAgainstTheArrows(t *testing.T) {
	path := func(pkg string) string { return module + "/" + pkg }
	for _, tc := range []struct {
		name string
		in   imports
		want []string
	}{
		{"as it should be", imports{Imports: []string{"fmt", path("policy")}, TestImports: []string{path("policy")}, XTestImports: []string{path("probe")}}, nil},
		{"a part another part", imports{Imports: []string{path("zones")}}, []string{"probe imports zones, against the arrows"}},
		{"a test another part", imports{TestImports: []string{path("zones")}}, []string{"a test of probe imports zones, against the arrows"}},
		{"a test from outside what is above", imports{XTestImports: []string{path("internal/node")}}, []string{"a test of probe imports internal/node, against the arrows"}},
		{"what tests may, not in a test", imports{ImportPath: path("integration"), Imports: []string{path("zones")}, TestImports: []string{path("zones")}}, []string{"integration imports zones, against the arrows"}},
		{"policy a library, its test too", imports{ImportPath: path("policy"), Imports: []string{"golang.org/x/sys/unix"}, TestImports: []string{"pgregory.net/rapid"}}, []string{"policy imports golang.org/x/sys/unix; it may import only the standard library"}},
		{"not placed", imports{ImportPath: path("util")}, []string{"package util has no place in this test: which of ours may it import?"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.in.ImportPath == "" {
				tc.in.ImportPath = path("probe")
			}
			if diff := cmp.Diff(tc.want, against(tc.in)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
