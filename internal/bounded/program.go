package bounded

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	maxOutput = 4 << 10 // bytes of output that are kept
	maxShown  = 200     // characters of it that are shown

	// linger is how long the output of a dead program is waited for, where one
	// that left its process group holds it open.
	linger = 100 * time.Millisecond
)

// Program is a program to run: without a shell, in the root folder, in a process
// group of its own.
type Program struct {
	Argv  []string // its path and arguments
	Env   []string // all of its environment besides PATH, as NAME=value
	Input []byte   // what it reads; nil: nothing
}

// StartError is why a program could not be started; it wraps the system's error.
type StartError struct{ Err error }

func (e *StartError) Error() string { return "can't be run: " + e.Err.Error() }
func (e *StartError) Unwrap() error { return e.Err }

// Run runs the program to its end, or to that of ctx, and kills what is then left
// of its process group. The output, of both streams, is the beginning of it on one
// line, some 200 characters at most, without control characters. The error is nil
// for exit status 0; else a StartError, ctx's where its end killed the program, an
// *exec.ExitError, or that of handing over input and output.
func (p Program) Run(ctx context.Context) (output string, err error) {
	var out excerpt
	cmd := exec.Cmd{
		Path:        p.Argv[0],
		Args:        p.Argv,
		Env:         append([]string{"PATH=" + os.Getenv("PATH")}, p.Env...),
		Dir:         "/",
		Stdout:      &out,
		Stderr:      &out,
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true},
		WaitDelay:   linger,
	}
	if p.Input != nil {
		cmd.Stdin = bytes.NewReader(p.Input)
	}
	if err := cmd.Start(); err != nil {
		return "", &StartError{err}
	}
	group := cmd.Process.Pid
	stop := context.AfterFunc(ctx, func() { _ = unix.Kill(-group, unix.SIGKILL) })
	// The program is left a zombie until its group is killed, so that its number
	// can't have become another's.
	for unix.Waitid(unix.P_PID, group, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
	}
	stop()
	_ = unix.Kill(-group, unix.SIGKILL)
	err = cmd.Wait()
	switch {
	case ctx.Err() != nil:
		err = ctx.Err()
	case errors.Is(err, exec.ErrWaitDelay): // it ended well, and what it left holds its output
		err = nil
	}
	return out.String(), err
}

// excerpt keeps the beginning of what is written to it.
type excerpt struct {
	mu   sync.Mutex
	text []byte
}

var _ io.Writer = (*excerpt)(nil)

func (x *excerpt) Write(p []byte) (int, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.text = append(x.text, p[:min(len(p), maxOutput-len(x.text))]...)
	return len(p), nil
}

// String is the beginning on one line, fit for a log or a terminal.
func (x *excerpt) String() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	line := strings.Join(strings.Fields(strings.ToValidUTF8(string(x.text), "?")), " ")
	line = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return '?'
		}
		return r
	}, line)
	if runes := []rune(line); len(runes) > maxShown {
		return string(runes[:maxShown]) + "..."
	}
	return line
}
