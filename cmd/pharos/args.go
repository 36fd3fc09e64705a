package main

import (
	"strings"

	"github.com/spf13/cobra"
)

// exactly wants one argument for each of the words, and names them in the
// error.
func exactly(words ...string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		switch {
		case len(args) < len(words):
			return usagef("expected %s", strings.Join(words[len(args):], " "))
		case len(args) > len(words):
			return usagef("unexpected %q", strings.Join(args[len(words):], " "))
		default:
			return nil
		}
	}
}
