package policy

import (
	"strings"
	"testing"
)

func TestPrintable(t *testing.T) {
	for text, want := range map[string]string{
		"":                          "",
		"INC-7: disks → city-b, 🔥":  "INC-7: disks → city-b, 🔥",
		"x\n2026-11-26  c1/99 root": `x\u000a2026-11-26  c1/99 root`,
		"x\x1b[2J":                  `x\u001b[2J`,
		"a\u2028b\u202ec\u200b":     `a\u2028b\u202ec\u200b`,
		"\U000e0001":                `\U000e0001`,
		"\xff\ufffd":                `\xff` + "\ufffd",
	} {
		if got := Printable(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// TestOrderThatWouldForgeALine gives orders whose words would be more than one line, or move a terminal's cursor.
func TestOrderThatWouldForgeALine(t *testing.T) {
	good := Order{Kind: KindDrain, Key: "endpoint/shop/city-a", Author: "ann", Reason: "INC-7: Strömung → city-b \n"}
	for name, tt := range map[string]struct {
		order func(o *Order)
		want  string
	}{
		"a line":         {func(o *Order) { o.Reason = "x\n2026-11-26 15:00:00  c1/99" }, "reason (--reason): character 2 is U+000A, which is not printable"},
		"an escape":      {func(o *Order) { o.Reason = "ö\x1b[2J" }, "reason (--reason): character 2 is U+001B"},
		"a tab":          {func(o *Order) { o.Reason = "a\tb" }, "character 2 is U+0009"},
		"a separator":    {func(o *Order) { o.Reason = "x\u2028y" }, "U+2028"},
		"an override":    {func(o *Order) { o.Reason = "x\u202ey" }, "U+202E"},
		"no UTF-8":       {func(o *Order) { o.Reason = "x\xff" }, "octet 0xFF, where character 2 should be"},
		"author":         {func(o *Order) { o.Author = "a\rb" }, "author: character 2 is U+000D"},
		"key":            {func(o *Order) { o.Key = "site/city-a\n" }, "key: character 12 is U+000A"},
		"one of sites":   {func(o *Order) { o.Kind, o.Key, o.Sites = KindSiteLost, "", []SiteID{"city-a", "b\x7f"} }, "site: character 2 is U+007F"},
		"override":       {func(o *Order) { o.Override = &Override{Site: "\x00"} }, "site: character 1 is U+0000"},
		"rule":           {func(o *Order) { o.BreakGlass = []string{"last\n"} }, "rule (--break-glass): character 5"},
		"reason to end":  {func(o *Order) { o.Clear, o.Reason = true, "x\ny" }, "reason (--reason): character 2"},
		"metro, site to": {func(o *Order) { o.Metro, o.ReturnTo = "", "\n" }, "site: character 1"},
	} {
		t.Run(name, func(t *testing.T) {
			s := judgeStory(t)
			o := good
			tt.order(&o)
			p, err := s.state.Judge(o, s.now)
			if err == nil || !strings.Contains(err.Error(), tt.want) || len(p.Entries) != 0 {
				t.Errorf("error %v and %d entries, want %q", err, len(p.Entries), tt.want)
			}
		})
	}
	s := judgeStory(t)
	if _, err := s.state.Judge(good, s.now); err != nil {
		t.Errorf("a good one: %v", err)
	}
}
