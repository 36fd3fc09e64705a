package main

import (
	"errors"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/scloudstack/pharos/internal/api"
	"github.com/scloudstack/pharos/policy"
)

// TestEntriesForgeNoLine prints what a peer wrote that judges no orders: no word of it makes a line, or reaches the terminal.
func TestEntriesForgeNoLine(t *testing.T) {
	const forged = "x\n2026-11-26 15:00:00  c1/99  root  order \x1b[2J\u202e"
	const want = `x\u000a2026-11-26 15:00:00  c1/99  root  order \u001b[2J\u202e`
	now := noon
	for name, show := range map[string]func(p *page){
		"audit": func(p *page) {
			p.audit(api.AuditPage{Records: []api.AuditRecord{{Node: "c1", Kind: "order", At: now, Why: forged}}})
		},
		"overrides": func(p *page) {
			p.overrides([]policy.OverrideStatus{{Key: "all", Author: "root", Reason: forged, Given: now}}, now)
		},
		"alarms": func(p *page) {
			p.alarms([]policy.AlarmStatus{{Cause: "c", Text: forged, Since: now, Acknowledged: true, AckReason: forged}}, now)
		},
		"status": func(p *page) {
			p.status(api.Status{Decision: policy.Status{Now: now, Drains: []policy.DrainStatus{{Key: "site/city-a", Reason: forged}}}})
		},
		"explain": func(p *page) {
			p.explanation(policy.Explanation{Now: now, Steps: []string{forged}, Move: &policy.Move{Cause: forged, Start: now}})
		},
		"a painted word": func(p *page) { p.linef("%s", p.paint(red, forged)) },
		"an error":       func(p *page) { p.linef("%v and %d", errors.New(forged), 1) },
	} {
		for _, p := range []page{{}, {color: true, width: 120}} {
			var b strings.Builder
			p.w = &b
			show(&p)
			if text := b.String(); !strings.Contains(strings.ReplaceAll(text, "\n      ", " "), want) && !p.color || strings.Contains(text, "\x1b[2J") ||
				strings.Contains(text, "\u202e") || strings.Contains(text, "\n2026-11-26") {
				t.Errorf("%s: got\n%q", name, text)
			}
		}
	}
}

// TestErrorsForgeNoLine prints errors whose text came from a node: what a peer wrote may stand in it.
func TestErrorsForgeNoLine(t *testing.T) {
	sent := &api.Error{Problems: []api.Problem{{File: "f", Text: "p\nq"}}}
	sent.Detail = "site b is declared lost already, by root (x\npharos: done\x1b[2J)"
	for name, tt := range map[string]struct {
		err  error
		want string
	}{
		"of the node":     {sent, "pharos: site b is declared lost already, by root (x\\u000apharos: done\\u001b[2J)\n  f: p\\u000aq\n"},
		"done in part":    {&partError{"x\ny"}, "pharos: done in part: x\\u000ay\n"},
		"of this program": {errors.New("x\x1b[2J\nhint"), "pharos: x\\u001b[2J\nhint\n"},
	} {
		var b strings.Builder
		a := &app{err: &b}
		a.finish(&cobra.Command{}, &ranError{tt.err})
		if b.String() != tt.want {
			t.Errorf("%s: got %q, want %q", name, b.String(), tt.want)
		}
	}
}
