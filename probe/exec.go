package probe

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	maxOutput = 4 << 10 // of a program, kept for the reason
	// linger is how long the output of a dead program is waited for, where one
	// that left its process group holds it open.
	linger = 100 * time.Millisecond
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
	var out output
	cmd := exec.Cmd{
		Path:        c.argv[0],
		Args:        c.argv,
		Env:         []string{"PATH=" + os.Getenv("PATH"), "PHAROS_ADDRESS=" + c.address.String()},
		Dir:         "/",
		Stdout:      &out,
		Stderr:      &out,
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true},
		WaitDelay:   linger,
	}
	if err := cmd.Start(); err != nil {
		f := faultOf(err)
		switch {
		case errors.Is(err, syscall.EAGAIN): // of fork
			f = faultProcesses
		case errors.Is(err, syscall.EPERM): // of the program itself, which is the check
			f = ""
		}
		return unasked(f, "can't be run: "+errorText(err))
	}
	group := cmd.Process.Pid
	stop := context.AfterFunc(ctx, func() { _ = unix.Kill(-group, unix.SIGKILL) })
	// The program is left a zombie until its group is killed, so that its
	// number can't have become another's.
	for waitid(group) == unix.EINTR {
	}
	stop()
	_ = unix.Kill(-group, unix.SIGKILL)
	err := cmd.Wait()
	if ctx.Err() != nil {
		return noAnswer(detail("killed", out.String()))
	}
	return judgeExec(err, c.argv[0], out.String())
}

// waitid waits until the child has ended.
func waitid(pid int) error {
	return unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
}

func judgeExec(err error, program, out string) result {
	var exit *exec.ExitError
	switch {
	case err == nil, errors.Is(err, exec.ErrWaitDelay):
		return success("exit status 0 of " + program)
	case errors.As(err, &exit):
		return refused(exit.String()+" of "+program, out)
	}
	return noAnswer(errorText(err))
}

func detail(what, more string) string {
	if more == "" {
		return what
	}
	return what + ", output: " + more
}

// output keeps the beginning of what is written to it.
type output struct {
	mu   sync.Mutex
	text []byte
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text = append(o.text, p[:min(len(p), maxOutput-len(o.text))]...)
	return len(p), nil
}

// String is the output on one line, fit for a reason.
func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	const most = 200
	line := strings.Join(strings.Fields(strings.ToValidUTF8(string(o.text), "?")), " ")
	line = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return '?'
		}
		return r
	}, line)
	if runes := []rune(line); len(runes) > most {
		return string(runes[:most]) + "..."
	}
	return line
}
