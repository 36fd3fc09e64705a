package integration

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/scloudstack/pharos/zones"
)

// TestZoneTypesOfPeers spoils the data of every record type, field by field:
// what all peers refuse is refused, what all load is loaded.
func TestZoneTypesOfPeers(t *testing.T) {
	text, err := os.ReadFile("../zones/testdata/types.zone")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		words := strings.Fields(line)
		if len(words) < 3 || strings.ContainsAny(line[:1], ";$@") || words[1] == "AAAA" {
			continue
		}
		t.Run(words[1], func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if loads, _ := askAll(t, dir, line); loads == 0 {
				return // a type that none of them knows
			}
			spoiled := []string{line + " zzz", strings.Join(words[:len(words)-1], " ")}
			for i := 2; i < len(words); i++ {
				w := strings.Fields(line)
				w[i] = "zzz"
				spoiled = append(spoiled, strings.Join(w, " "))
			}
			for _, line := range spoiled {
				loads, err := askAll(t, dir, line)
				if loads == 0 && err == nil {
					t.Errorf("loads what all peers refuse: %s", line)
				}
				if loads == len(zoneCheckers) && err != nil {
					t.Errorf("refuses what all peers load: %v", err)
				}
			}
		})
	}
}

// askAll counts the peers that load a record, and gives the error of Pharos.
func askAll(t *testing.T, dir, line string) (loads int, err error) {
	t.Helper()
	file := filepath.Join(dir, "zone")
	if err := os.WriteFile(file, []byte(zoneHead+line+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range zoneCheckers {
		if v, _ := ask(t, c.name, c.usual, dir, c.args(file)...); v != refuses {
			loads++
		}
	}
	_, _, err = zones.ParseFile("example.com.", file, zones.Options{})
	if err != nil && !errors.As(err, new(zones.Problems)) {
		t.Fatalf("the error is no list of problems: %v", err)
	}
	return loads, err
}
