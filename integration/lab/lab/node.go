package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/scloudstack/pharos/integration/lab/host"
)

const (
	stopWithin    = 20 * time.Second
	answerWithin  = 20 * time.Second // from the start of a node
	commandWithin = time.Minute
)

// Node is one node: a program that may run or not, and its folder, which stays.
type Node struct {
	lab     *Lab
	site    *Site
	spec    NodeSpec
	host    *host.Host
	address netip.Addr // what the other nodes know
	access  netip.Addr // what its site's clients know
	wire    *Link
	public  string // its key's public half; empty in a Solo lab
	keyFile string // the private one

	disk   *part    // nil: the data folder is one of the machine
	mounts *os.File // the namespace that the disk is mounted in

	mu      sync.Mutex    // guards what follows
	process *host.Process // of the last start
}

// Name is the node's.
func (n *Node) Name() string { return n.spec.Name }

// Site is the node's.
func (n *Node) Site() *Site { return n.site }

// Host is the node's network namespace.
func (n *Node) Host() *host.Host { return n.host }

// Address is that by which other nodes know it.
func (n *Node) Address() netip.Addr { return n.address }

// Access is the address by which the clients of its site ask it, over a cable
// that Isolate leaves alone.
func (n *Node) Access() netip.Addr { return n.access }

// Dir is the node's folder: pharos.yaml, extra.yaml, zones, log.
func (n *Node) Dir() string { return n.lab.path(n.Name()) }

// DataDir is the node's data folder, as this process reaches it.
func (n *Node) DataDir() string {
	if n.disk == nil {
		return n.ownDataDir()
	}
	return fmt.Sprintf("/proc/%d/root%s", n.disk.PID, n.ownDataDir())
}

// ownDataDir is the data folder as the node reaches it.
func (n *Node) ownDataDir() string { return filepath.Join(n.Dir(), "data") }

// Config is the node's configuration file.
func (n *Node) Config() string { return filepath.Join(n.Dir(), "pharos.yaml") }

func (n *Node) logFile() string { return filepath.Join(n.Dir(), "log") }

func (n *Node) program() string {
	if n.spec.Program != "" {
		return n.spec.Program
	}
	return n.lab.topology.Program
}

// Start starts the node and waits until it answers questions, be it SERVFAIL.
func (n *Node) Start(args ...string) {
	n.lab.t.Helper()
	n.Launch(args...)
	n.lab.must(n.awaitAnswer())
}

// Launch starts the node without waiting. Arguments are added to those of serve.
func (n *Node) Launch(args ...string) {
	n.lab.t.Helper()
	n.lab.must(n.launch(args...))
}

func (n *Node) launch(args ...string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.process != nil && n.process.Running() {
		return nil
	}
	log, err := os.OpenFile(n.logFile(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	args = append([]string{"serve", "--config", n.Config(), "--data-dir", n.ownDataDir(), "--node", n.Name()}, args...)
	cmd := exec.Command(n.program(), args...)
	cmd.Env = n.lab.environment(n.spec.Env...)
	cmd.Stdout, cmd.Stderr = log, log
	n.process, err = n.host.StartIn(n.mounts, cmd)
	return err
}

func (n *Node) awaitAnswer() error {
	var err error
	for begun := time.Now(); time.Since(begun) < answerWithin; <-time.After(pollEvery) {
		if !n.Running() {
			return fmt.Errorf("node %s has ended (%w):\n%s", n.Name(), n.process.How(), n.log())
		}
		if _, err = n.Ask("shop.example."); err == nil {
			return nil
		}
	}
	return fmt.Errorf("node %s does not answer: %w", n.Name(), err)
}

// Running reports whether the node's process is there, be it paused.
func (n *Node) Running() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.process != nil && n.process.Running()
}

// PID of the node's last start; 0 before the first.
func (n *Node) PID() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.process == nil {
		return 0
	}
	return n.process.PID
}

// Kill9 ends the node by SIGKILL, and waits until it is gone.
func (n *Node) Kill9() {
	n.lab.t.Helper()
	n.lab.must(n.kill())
}

func (n *Node) kill() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.process == nil {
		return nil
	}
	return n.process.Kill()
}

// Stop ends the node by SIGTERM, and waits until it is gone.
func (n *Node) Stop() {
	n.lab.t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.process != nil {
		n.lab.must(n.process.Stop(stopWithin))
	}
}

// Pause stops the node's process where it is (SIGSTOP), and waits until it has.
func (n *Node) Pause() {
	n.lab.t.Helper()
	n.Signal(syscall.SIGSTOP)
	n.lab.Eventually(stopWithin, func() error { return stopped(n.PID()) })
}

// stopped wants every thread of a process to be stopped: they take the signal
// one by one.
func stopped(pid int) error {
	states, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil {
		return err
	}
	for _, file := range states {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		// The state comes after the name, which may hold anything, in brackets (proc(5)).
		if _, rest, ok := bytes.Cut(text, []byte(") ")); ok && rest[0] != 'T' {
			return fmt.Errorf("%s: state %c", file, rest[0])
		}
	}
	return nil
}

// Resume lets it go on.
func (n *Node) Resume() {
	n.lab.t.Helper()
	n.Signal(syscall.SIGCONT)
}

// Signal sends the node a signal.
func (n *Node) Signal(s syscall.Signal) {
	n.lab.t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.process != nil {
		n.lab.must(n.process.Signal(s))
	}
}

// Isolate cuts the node off from everything but the clients of its site.
func (n *Node) Isolate() {
	n.lab.t.Helper()
	n.wire.Cut()
}

// Deafen has what is sent to the node vanish; it can still send.
func (n *Node) Deafen() {
	n.lab.t.Helper()
	n.wire.CutFrom(n.site.Name())
}

// Mute has what the node sends vanish; it still hears.
func (n *Node) Mute() {
	n.lab.t.Helper()
	n.wire.CutFrom(n.Name())
}

// Rejoin ends Isolate, Deafen and Mute.
func (n *Node) Rejoin() {
	n.lab.t.Helper()
	n.wire.Mend()
}

// Cable is the wire between the node and its router.
func (n *Node) Cable() *Link { return n.wire }

// EmptyDataDir takes away all that the node has kept; it must not run.
func (n *Node) EmptyDataDir() {
	n.lab.t.Helper()
	if n.Running() {
		n.lab.t.Fatalf("lab: node %s runs: its data folder is in use", n.Name())
	}
	files, err := os.ReadDir(n.DataDir())
	n.lab.must(err)
	for _, f := range files {
		n.lab.must(os.RemoveAll(filepath.Join(n.DataDir(), f.Name())))
	}
}

// Log is all that the node has logged, over its starts.
func (n *Node) Log() string { return n.log() }

func (n *Node) log() string {
	text, err := os.ReadFile(n.logFile())
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// Output is what a command wrote, and its exit status.
type Output struct {
	Stdout, Stderr string
	Code           int
}

// CLI runs a command of pharos that speaks to the node over its socket.
func (n *Node) CLI(args ...string) Output {
	n.lab.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), commandWithin)
	defer cancel()
	cmd := exec.CommandContext(ctx, n.program(), append(args, "--data-dir", n.DataDir())...)
	cmd.Env = n.lab.environment(n.spec.Env...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	var status *exec.ExitError
	if err != nil && !errors.As(err, &status) {
		n.lab.must(err)
	}
	if ctx.Err() != nil {
		n.lab.t.Fatalf("lab: node %s: %s takes longer than %s", n.Name(), cmd, commandWithin)
	}
	return Output{out.String(), errOut.String(), cmd.ProcessState.ExitCode()}
}

// JSON runs a command that speaks to the node, with -o json, and reads what it writes.
func (n *Node) JSON(into any, args ...string) error {
	n.lab.t.Helper()
	out := n.CLI(append(args, "-o", "json")...)
	if out.Code != 0 {
		return fmt.Errorf("node %s: %s: exit %d: %s", n.Name(), strings.Join(args, " "), out.Code, out.Stderr)
	}
	if err := json.Unmarshal([]byte(out.Stdout), into); err != nil {
		return fmt.Errorf("node %s: %s: %w", n.Name(), strings.Join(args, " "), err)
	}
	return nil
}
