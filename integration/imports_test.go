package integration

import (
	"os/exec"
	"strings"
	"testing"
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

func TestImportsPointOneWay(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, module+"/...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	seen := 0
	for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		f := strings.Fields(line)
		pkg := strings.TrimPrefix(f[0], module+"/")
		allowed, ok := mayImport[pkg]
		if !ok {
			t.Errorf("package %s has no place in this test: which of ours may it import?", pkg)
			continue
		}
		seen++
		may := map[string]bool{}
		for _, a := range allowed {
			may[a] = true
		}
		for _, imp := range f[1:] {
			ours, is := strings.CutPrefix(imp, module+"/")
			if is && !may[ours] {
				t.Errorf("%s imports %s, against the arrows", pkg, ours)
			}
			if pkg == "policy" && strings.Contains(strings.Split(imp, "/")[0], ".") {
				t.Errorf("policy imports %s; it may import only the standard library", imp)
			}
		}
	}
	if seen != len(mayImport) {
		t.Errorf("%d packages listed, %d found", len(mayImport), seen)
	}
}
