package main

import (
	"errors"
	"strings"
	"testing"
	"time"

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

// What another node's clock stamped may be ahead of this one's, and is not said to be past.
func TestTimesAhead(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		at         time.Time
		ago, since string
	}{
		{now.Add(-75 * time.Second), "1m15s ago", "1m15s"},
		{now, "0ms ago", "0ms"},
		{now.Add(300 * time.Millisecond), "0ms ago", "0ms"},
		{now.Add(59*time.Minute + 59*time.Second), "59m59s ahead of this clock", "0s, stamped 59m59s ahead of this clock"},
		{time.Date(9000, 1, 1, 0, 0, 0, 0, time.UTC), "106751d23h ahead of this clock", "0s, stamped 106751d23h ahead of this clock"},
	} {
		if a, s := ago(now, tt.at), since(now, tt.at); a != tt.ago || s != tt.since {
			t.Errorf("%v: %q, %q, want %q, %q", tt.at.Sub(now), a, s, tt.ago, tt.since)
		}
	}
	if s := since(now, time.Time{}); s != "" {
		t.Errorf("never: %q", s)
	}
	if s := byWhom("root", "test", now.Add(time.Hour), now.Add(2*time.Hour), now, false, false).text; s != "by root 1h ahead of this clock, ends in 2h: test" {
		t.Errorf("%q", s)
	}
}
