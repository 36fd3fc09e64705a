package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

const stopWithin = 10 * time.Second // for the node to end by itself

// child is one run of the node.
type child struct {
	pid   int
	ended chan struct{} // closed when the process is gone
	err   error         // how it ended; read after ended
}

// startChild starts the node. It runs until ctx ends, and never longer than
// this process: the kernel kills it with its parent. That signal is tied to the
// thread that starts it (prctl(2), PR_SET_PDEATHSIG), which is therefore kept
// for as long as the child lives.
func startChild(ctx context.Context, program, demo, dir, name string) (*child, error) {
	log, err := os.OpenFile(filepath.Join(dir, logFile), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o640)
	if err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	cmd := exec.CommandContext(ctx, program, "serve", "--config", filepath.Join(demo, configFile), "--data-dir", dir, "--node", name)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = stopWithin
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Pdeathsig: syscall.SIGKILL,
		Setpgid:   true, // a Ctrl-C is the demo's; it stops the node in its turn
	}
	c := &child{ended: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(c.ended)
		defer func() { _ = log.Close() }()
		if err := cmd.Start(); err != nil {
			started <- err
			return
		}
		c.pid = cmd.Process.Pid
		started <- nil
		c.err = cmd.Wait()
	}()
	if err := <-started; err != nil {
		<-c.ended
		return nil, fmt.Errorf("start the node: %w", err)
	}
	return c, nil
}

// how the child ended, for people.
func (c *child) how() string {
	var exit *exec.ExitError
	if errors.As(c.err, &exit) {
		return exit.Error()
	}
	if c.err != nil {
		return c.err.Error()
	}
	return "ended by itself"
}

// lastLines is the end of the node's log.
func lastLines(dir string, n int) string {
	text, err := os.ReadFile(filepath.Join(dir, logFile))
	if err != nil {
		return err.Error()
	}
	lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	return string(bytes.Join(lines[max(0, len(lines)-n):], []byte("\n")))
}
