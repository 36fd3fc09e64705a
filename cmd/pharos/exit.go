package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/scloudstack/pharos/internal/api"
	"github.com/scloudstack/pharos/internal/config"
	"github.com/scloudstack/pharos/policy"
)

// The exit codes.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
	exitPart   = 3
)

// usageError is a command line that makes no sense.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func usagef(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

// partError is a thing that was done in part: what was done has been printed.
type partError struct{ text string }

func (e *partError) Error() string { return e.text }

// saidError is a failure whose text has been printed.
type saidError struct{}

func (saidError) Error() string { return "" }

// ranError marks what a command's own work returned: every other error of
// cobra's is a command line that could not be understood.
type ranError struct{ err error }

func (e *ranError) Error() string { return e.err.Error() }
func (e *ranError) Unwrap() error { return e.err }

func markRuns(cmd *cobra.Command) {
	if work := cmd.RunE; work != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			if err := work(cmd, args); err != nil {
				return &ranError{err}
			}
			return nil
		}
	}
	for _, c := range cmd.Commands() {
		markRuns(c)
	}
}

// finish prints an error with what to do about it, and picks the exit code.
func (a *app) finish(cmd *cobra.Command, err error) int {
	var (
		ran   *ranError
		usage *usageError
		part  *partError
		said  saidError
	)
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &usage), !errors.As(err, &ran):
		fmt.Fprintf(a.err, "pharos: %s\nSee '%s --help'.\n", showLines(err), cmd.CommandPath())
		return exitUsage
	case errors.As(err, &part):
		fmt.Fprintf(a.err, "pharos: done in part: %s\n", escaped{err})
		return exitPart
	case errors.As(err, &said):
		return exitFailed
	case errors.Is(err, context.Canceled):
		return exitFailed // Ctrl-C: whoever pressed it knows
	default:
		a.printError(cmd, err)
		return exitFailed
	}
}

func (a *app) printError(cmd *cobra.Command, err error) {
	var (
		sent  *api.Error
		wrong config.Errors
	)
	isSent := errors.As(err, &sent)
	if a.output == "json" {
		if !isSent {
			sent = &api.Error{}
			sent.Detail = err.Error()
		}
		enc := json.NewEncoder(a.err)
		enc.SetIndent("", "  ")
		_ = enc.Encode(sent)
		return
	}
	switch {
	case isSent:
		fmt.Fprintf(a.err, "pharos: %s\n", escaped{sent})
		for _, p := range sent.Problems {
			fmt.Fprintf(a.err, "  %s\n", escaped{p})
		}
		a.printWayOut(cmd, sent)
	case errors.As(err, &wrong):
		fmt.Fprintf(a.err, "%s\n", showLines(wrong))
	default:
		fmt.Fprintf(a.err, "pharos: %s\n", showLines(err))
	}
}

// showLines is an error of this program, which may have several lines.
func showLines(err error) shown {
	lines := strings.Split(err.Error(), "\n")
	for i := range lines {
		lines[i] = policy.Printable(lines[i])
	}
	return shown(strings.Join(lines, "\n"))
}

func (a *app) printWayOut(cmd *cobra.Command, e *api.Error) {
	switch {
	case e.Rule != "" && e.BreakGlass:
		fmt.Fprintf(a.err, "  Refused by the rule %s. To do it all the same: --break-glass %s\n", e.Rule, e.Rule)
	case e.Rule != "":
		fmt.Fprintf(a.err, "  Refused by the rule %s.\n", e.Rule)
	case e.Status == 403:
		fmt.Fprintf(a.err, "  Who has which role stands under api in the node's configuration.\n")
	case e.Status == 401:
		fmt.Fprintf(a.err, "  Give --token-file FILE, or --cert FILE and --key FILE.\n")
	case e.Status == 404 && strings.HasPrefix(cmd.CommandPath(), "pharos zone"):
		fmt.Fprintf(a.err, "  'pharos zone list' shows the zones.\n")
	}
}

// doubtful is the error of a change that was asked for: where no answer came, it may have been made all the same.
func doubtful(err error) error {
	var u *api.Unreachable
	if !errors.As(err, &u) || !u.Sent {
		return err
	}
	text := u.Error()
	if errors.Is(err, context.Canceled) {
		text = "interrupted before the answer of " + u.Where + " came" // whoever did it does not know what became of it
	}
	return errors.New(text + "\nThe node may have taken it all the same: see 'pharos audit list' before you give it again.")
}

// unreachable adds to the error of a node that does not answer what was tried
// and what helps.
func (a *app) unreachable(err error) error {
	var u *api.Unreachable
	if !errors.As(err, &u) {
		return err
	}
	var hint string
	switch {
	case errors.Is(err, context.Canceled), u.Sent:
		return err
	case a.remote.URL != "":
		hint = "Is the address right, does api.listen open it, does --ca name the node's authority?"
	case errors.Is(err, fs.ErrPermission):
		hint = "The socket is open to the node's user and group. Use sudo, or have yourself added to the group that owns it (ls -l " + u.Where + ")."
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		hint = "The node is not running there. Start it with 'pharos serve', or name another with --data-dir, --socket or --server."
		dir, saidSo := a.folder()
		if nodes := nodesIn(dir); len(nodes) > 1 && a.socket == "" {
			hint += "\n" + dir + " holds the nodes " + strings.Join(nodes, ", ") + ": name one with --node"
		}
		if !saidSo && a.socket == "" && demoAround() {
			hint += "\nA demo is running: add --data-dir " + demoFolder()
		}
	}
	return fmt.Errorf("%w\n%s", err, hint)
}
