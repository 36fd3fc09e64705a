package main

import (
	"strings"
	"testing"

	"github.com/scloudstack/pharos/policy"
)

// TestEvidenceOfOthers wants a target that this node leaves to others not to be called never probed.
func TestEvidenceOfOthers(t *testing.T) {
	line := func(s policy.TargetStatus) string {
		return printed(func(p *page) { p.table(&table{rows: [][]cell{evidence(s, noon)}}) })
	}
	theirs := policy.TargetStatus{Label: "tcp x", Health: policy.Down, Detail: "not probed by this node: down for city-b", Reason: "503, says edge-b"}
	if got, want := line(theirs), "tcp x  down  not probed by this node: down for city-b    503, says edge-b\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := line(policy.TargetStatus{Label: "tcp x", Detail: "never probed", Here: true}); !strings.Contains(got, "never probed  never\n") {
		t.Errorf("got %q", got)
	}
}
