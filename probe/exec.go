package probe

import (
	"context"
	"errors"
	"net/netip"
	"os/exec"
	"strings"
	"syscall"

	"github.com/scloudstack/pharos/internal/bounded"
)

// execChecker runs a program.
type execChecker struct {
	argv    []string
	address netip.Addr
}

func newExecChecker(t Target) *execChecker {
	c := &execChecker{address: t.Address}
	for _, arg := range t.Check.Exec.Argv {
		c.argv = append(c.argv, strings.ReplaceAll(arg, "{address}", t.Address.String()))
	}
	return c
}

func (c *execChecker) peer() string { return c.argv[0] }
func (c *execChecker) close()       {}

func (c *execChecker) attempt(ctx context.Context, _ int) result {
	if ctx.Err() != nil {
		return noAnswer("")
	}
	out, err := bounded.Program{Argv: c.argv, Env: []string{"PHAROS_ADDRESS=" + c.address.String()}}.Run(ctx)
	return judgeExec(err, c.argv[0], out)
}

func judgeExec(err error, program, out string) result {
	var (
		start *bounded.StartError
		exit  *exec.ExitError
	)
	switch {
	case err == nil:
		return success("exit status 0 of " + program)
	case errors.As(err, &start):
		return unasked(execFault(err), "can't be run: "+errorText(start.Err))
	case timedOut(err):
		return noAnswer(detail("killed", out))
	case errors.As(err, &exit):
		return refused(exit.String()+" of "+program, out)
	}
	return noAnswer(errorText(err))
}

// execFault is the fault of this host for which a program could not be started.
func execFault(err error) fault {
	switch {
	case errors.Is(err, syscall.EAGAIN): // of fork
		return faultProcesses
	case errors.Is(err, syscall.EPERM): // of the program itself, which is the check
		return ""
	}
	return faultOf(err)
}

func detail(what, more string) string {
	if more == "" {
		return what
	}
	return what + ", output: " + more
}
