package main

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// TestEveryCommandHelps wants each command described, with an example that
// names it, and --help to work.
func TestEveryCommandHelps(t *testing.T) {
	a := &app{getenv: func(string) string { return "" }}
	walk(a.root(), func(c *cobra.Command) {
		t.Run(c.CommandPath(), func(t *testing.T) {
			if c.Short == "" || strings.HasSuffix(c.Short, ".") {
				t.Errorf("short help %q", c.Short)
			}
			if !strings.Contains(c.Example, c.CommandPath()) {
				t.Errorf("the example does not show %q:\n%s", c.CommandPath(), c.Example)
			}
			var out, errs bytes.Buffer
			a := &app{out: &out, err: &errs, getenv: func(string) string { return "" }}
			code := a.execute(context.Background(), append(strings.Fields(c.CommandPath())[1:], "--help"))
			if code != exitDone || !strings.Contains(out.String(), "Examples:") || errs.Len() > 0 {
				t.Errorf("code %d\n%s%s", code, &out, &errs)
			}
			for line := range strings.Lines(out.String()) {
				if n := len([]rune(strings.TrimRight(line, "\n"))); n > 120 {
					t.Errorf("a line of the help has %d columns: %q", n, line)
				}
			}
			for line := range strings.Lines(c.Long) {
				if len([]rune(line)) > 82 {
					t.Errorf("a line of the long help has %d characters: %q", len([]rune(line)), line)
				}
			}
		})
	})
}

func walk(c *cobra.Command, f func(*cobra.Command)) {
	f(c)
	for _, sub := range c.Commands() {
		if sub.Name() != "help" {
			walk(sub, f)
		}
	}
}
