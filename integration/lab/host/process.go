package host

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Process is a program that runs on a host.
type Process struct {
	PID   int
	name  string
	cmd   *exec.Cmd
	ended chan struct{} // closed when it has
	err   error         // how it ended; read after ended
}

// Start starts a program on the host. It never lives longer than this process:
// the kernel kills it with its parent. That signal is tied to the thread that
// starts it (prctl(2), PR_SET_PDEATHSIG), so the thread is kept for as long.
func (h *Host) Start(cmd *exec.Cmd) (*Process, error) { return h.StartIn(nil, cmd) }

// StartIn is Start in a mount namespace, an open /proc/PID/ns/mnt; nil is that
// of this process.
func (h *Host) StartIn(mounts *os.File, cmd *exec.Cmd) (*Process, error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	// A session of its own: a Ctrl-C is for the lab, which stops what it started
	// in its turn, and the kernel gives it a processor's share of its own, as a
	// service has one (sched(7), autogroup), whatever the test's neighbours do.
	cmd.SysProcAttr.Setsid = true
	p := &Process{name: h.name + ": " + cmd.String(), cmd: cmd, ended: make(chan struct{})}
	started := make(chan error, 1)
	spendThread(func() {
		defer close(p.ended)
		err := enterMounts(mounts)
		if err == nil {
			err = netns.Set(h.ns)
		}
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			started <- err
			return
		}
		p.PID = cmd.Process.Pid
		started <- nil
		p.err = cmd.Wait()
	})
	if err := <-started; err != nil {
		<-p.ended
		return nil, fmt.Errorf("start on host %s: %w", p.name, err)
	}
	return p, nil
}

// enterMounts puts the calling thread into a mount namespace.
func enterMounts(mounts *os.File) error {
	if mounts == nil {
		return nil
	}
	if err := unix.Unshare(unix.CLONE_FS); err != nil { // threads share their root otherwise
		return os.NewSyscallError("unshare", err)
	}
	return os.NewSyscallError("setns", unix.Setns(int(mounts.Fd()), unix.CLONE_NEWNS))
}

// Run runs a program on the host to its end, and returns what it wrote.
func (h *Host) Run(ctx context.Context, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	var out []byte
	err := h.Do(func() error {
		var err error
		out, err = cmd.CombinedOutput()
		return err
	})
	if err != nil {
		return string(out), fmt.Errorf("%s: %s: %w: %s", h.name, cmd.String(), err, out)
	}
	return string(out), nil
}

// Ended is closed when the program has ended.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// How it ended: nil is status 0. It waits for the end.
func (p *Process) How() error {
	<-p.ended
	return p.err
}

// Running reports whether it has not ended.
func (p *Process) Running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// Signal sends a signal; that the program has ended is no error.
func (p *Process) Signal(s syscall.Signal) error {
	err := p.cmd.Process.Signal(s)
	if err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal %s to %s: %w", s, p.name, err)
	}
	return nil
}

// Kill ends it as it can't defend itself against, and waits until it is gone.
func (p *Process) Kill() error {
	if err := p.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-p.ended
	return nil
}

// Stop asks it to end, and waits; then it kills it, and that is an error.
func (p *Process) Stop(within time.Duration) error {
	if err := p.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-p.ended:
		return nil
	case <-time.After(within):
		return errors.Join(fmt.Errorf("%s did not end within %s of SIGTERM", p.name, within), p.Kill())
	}
}

// Dial connects from the host.
func (h *Host) Dial(ctx context.Context, network, address string) (conn net.Conn, err error) {
	err = h.Do(func() error {
		// An address needs no resolver, whose goroutines would be elsewhere; nor is there a race of two families.
		conn, err = (&net.Dialer{FallbackDelay: -1}).DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

// Listen listens on the host.
func (h *Host) Listen(network, address string) (l net.Listener, err error) {
	err = h.Do(func() error {
		l, err = net.Listen(network, address)
		return err
	})
	return l, err
}

// ListenPacket opens a datagram socket on the host.
func (h *Host) ListenPacket(network, address string) (c net.PacketConn, err error) {
	err = h.Do(func() error {
		c, err = net.ListenPacket(network, address)
		return err
	})
	return c, err
}
