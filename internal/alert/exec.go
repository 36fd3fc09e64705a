package alert

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// linger is how long the output of a dead program is waited for, where one that
// left its process group holds it open.
const linger = 100 * time.Millisecond

// program is run for each event, which it reads as JSON from its input.
type program struct{ argv []string }

func (program) close() {}

// send runs the program; exit status 0 is a delivery. When its time is over it
// is killed with its process group.
func (p program) send(ctx context.Context, e Event) error {
	content, err := json.Marshal(e)
	if err != nil {
		return refusal{err}
	}
	var out excerpt
	cmd := exec.Cmd{
		Path: p.argv[0],
		Args: p.argv,
		Env: []string{
			"PATH=" + os.Getenv("PATH"),
			"PHAROS_CAUSE=" + e.Cause, "PHAROS_STATE=" + string(e.State), "PHAROS_CLUSTER=" + e.Cluster,
		},
		Dir:         "/",
		Stdin:       bytes.NewReader(append(content, '\n')),
		Stdout:      &out,
		Stderr:      &out,
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true},
		WaitDelay:   linger,
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%s can't be run: %w", p.argv[0], err)
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
	if ctx.Err() != nil {
		return fmt.Errorf("%s was killed: it took too long%s", p.argv[0], after(": ", out.String()))
	}
	if err == nil || errors.Is(err, exec.ErrWaitDelay) {
		return nil
	}
	return fmt.Errorf("%s: %w%s", p.argv[0], err, after(": ", out.String()))
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
	x.text = append(x.text, p[:min(len(p), maxExcerpt-len(x.text))]...)
	return len(p), nil
}

// String is the beginning on one line.
func (x *excerpt) String() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return strings.Join(strings.Fields(strings.ToValidUTF8(string(x.text), "?")), " ")
}
