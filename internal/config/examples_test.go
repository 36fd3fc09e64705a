package config

import (
	"path/filepath"
	"testing"

	"github.com/scloudstack/pharos/zones"
)

// TestExamples loads every example, with its zones, as each of its nodes.
func TestExamples(t *testing.T) {
	paths, err := filepath.Glob("../../examples/*/pharos.yaml")
	if err != nil || len(paths) < 2 {
		t.Fatalf("examples: %v, %v", paths, err)
	}
	for _, path := range paths {
		t.Run(filepath.Base(filepath.Dir(path)), func(t *testing.T) {
			first := load(t, path, Options{Getenv: noEnv})
			for _, node := range first.Nodes {
				s := load(t, path, Options{Node: string(node.Name), Getenv: noEnv})
				if s.Digest() != first.Digest() {
					t.Errorf("node %s has another digest", node.Name)
				}
				checkZones(t, s)
			}
		})
	}
}

func load(t *testing.T, path string, opt Options) *Settings {
	t.Helper()
	s, warnings, err := Load(path, opt)
	if err != nil {
		t.Fatal(err)
	}
	if len(warnings) > 0 {
		t.Fatalf("warnings:\n%v", warnings)
	}
	return s
}

func checkZones(t *testing.T, s *Settings) {
	t.Helper()
	var loaded []*zones.Zone
	for _, spec := range s.Zones {
		z, problems, err := zones.ParseFile(spec.Name, spec.File, zones.Options{})
		if err != nil || len(problems) > 0 {
			t.Fatalf("%s: %v, %v", spec.File, problems, err)
		}
		loaded = append(loaded, z)
	}
	warnings, err := CheckZones(s, loaded)
	if err != nil || len(warnings) > 0 {
		t.Fatalf("zones: %v, %v", warnings, err)
	}
}
