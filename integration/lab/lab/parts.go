package lab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"github.com/scloudstack/pharos/integration/lab/host"
	"github.com/scloudstack/pharos/integration/lab/wan"
)

const (
	// partVariable says as which part of a lab a process was started.
	partVariable = "PHAROS_LAB_PART"

	partEmulator = "emulator" // FILE
	partBalancer = "balancer" // NAME ADDRESS
	partKeeper   = "keeper"   // FOLDER
	partDisk     = "disk"     // FOLDER SIZE

	partsLog = "parts.log"

	readyWord   = "ready"
	readyWithin = 20 * time.Second
)

// RunPart runs the part of a lab as which this process was started, and exits.
// It returns where it was started as none.
func RunPart() {
	part := os.Getenv(partVariable)
	if part == "" {
		return
	}
	if err := runPart(part, os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "lab: %s: %v\n", part, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func runPart(part string, args []string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	switch {
	case part == partEmulator && len(args) == 1:
		return wan.Emulate(ctx, args[0], func() { fmt.Println(readyWord) })
	case part == partBalancer && len(args) == 2:
		return runBalancer(ctx, args[0], args[1])
	case part == partKeeper && len(args) == 1:
		return keep(args[0])
	case part == partDisk && len(args) == 2:
		return runDisk(args[0], args[1])
	}
	return fmt.Errorf("no such part, or other arguments than these: %q", args)
}

// partCommand is this program, to be started as a part.
func (l *Lab) partCommand(part string, args ...string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, args...)
	cmd.Env = append(l.environment(), partVariable+"="+part)
	return cmd, nil
}

// part is a part that takes words and answers each by one line.
type part struct {
	*host.Process
	in  io.WriteCloser
	out *bufio.Reader
	log io.Closer
}

// startPart starts a part on a host and waits until it says that it is ready.
func (l *Lab) startPart(h *host.Host, name string, args ...string) (*part, error) {
	cmd, err := l.partCommand(name, args...)
	if err != nil {
		return nil, err
	}
	log, err := os.OpenFile(l.path(partsLog), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	cmd.Stderr = log
	if name == partDisk {
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	}
	p := &part{log: log}
	var out io.ReadCloser
	if p.in, err = cmd.StdinPipe(); err == nil {
		out, err = cmd.StdoutPipe()
	}
	if err == nil {
		p.Process, err = h.Start(cmd)
	}
	if err != nil {
		return nil, errors.Join(err, log.Close())
	}
	p.out = bufio.NewReader(out)
	if err := p.expect(readyWord); err != nil {
		text, _ := os.ReadFile(l.path(partsLog))
		return nil, errors.Join(fmt.Errorf("%s %q: %w: %s", name, args, err, text), p.Kill(), log.Close())
	}
	return p, nil
}

// tell says a word and waits until it is done.
func (p *part) tell(word string) error {
	if _, err := io.WriteString(p.in, word+"\n"); err != nil {
		return err
	}
	return p.expect(word)
}

// expect reads the line that confirms a word.
func (p *part) expect(word string) error {
	late := time.AfterFunc(readyWithin, func() { _ = p.Signal(syscall.SIGKILL) })
	defer late.Stop()
	line, err := p.out.ReadString('\n')
	if err != nil {
		return fmt.Errorf("it ended before it said %q", word)
	}
	if line != word+"\n" {
		return fmt.Errorf("it said %q, not %q", line, word)
	}
	return nil
}

// end kills it.
func (p *part) end() error {
	err := p.Kill()
	_ = p.in.Close()
	_ = p.log.Close()
	return err
}

// keep removes the folder once the lab has ended, however it did: then the pipe
// that is standard input has no other end. Programs of the lab that the kernel
// is still killing may write to the folder meanwhile.
func keep(dir string) error {
	signal.Ignore(syscall.SIGINT, syscall.SIGHUP, syscall.SIGTERM)
	_, _ = io.Copy(io.Discard, os.Stdin)
	var err error
	for range 50 {
		if err = os.RemoveAll(dir); err == nil {
			return nil
		}
		<-time.After(pollEvery)
	}
	return err
}

// startKeeper starts the keeper of a folder; closing what it returns ends it.
func (l *Lab) startKeeper() (stop func() error, err error) {
	cmd, err := l.partCommand(partKeeper, l.dir)
	if err != nil {
		return nil, err
	}
	cmd.Env = append(os.Environ(), partVariable+"="+partKeeper) // not the lab's: it may outlive it for a moment
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return func() error { return errors.Join(in.Close(), cmd.Wait()) }, nil
}
