package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"
)

// quickExit spares each program under the race detector a second at its end,
// which would count as the node's.
const quickExit = "atexit_sleep_ms=0"

func TestMain(m *testing.M) {
	if err := os.Setenv("GORACE", quickExit); err != nil {
		panic(err)
	}
	testscript.Main(leakChecked{m}, map[string]func(){"pharos": main})
}

// leakChecked runs the tests and wants no goroutine to be left.
type leakChecked struct{ m *testing.M }

func (l leakChecked) Run() int {
	code := l.m.Run()
	if code != 0 {
		return code
	}
	if err := goleak.Find(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// TestScripts runs the scripts under testdata with the real program, its real
// sockets and real nodes. Each has a free DNS port in $PORT, one for gossip in $GOSSIP, and a data folder
// of its own in $PHAROS_DATA_DIR.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			for _, name := range []string{"PORT", "GOSSIP"} {
				port, err := freePort()
				if err != nil {
					return err
				}
				env.Setenv(name, strconv.Itoa(port))
			}
			env.Setenv("PHAROS_DATA_DIR", filepath.Join(env.WorkDir, "d"))
			env.Setenv("HOME", env.WorkDir)
			examples, err := filepath.Abs("../../examples")
			if err != nil {
				return err
			}
			env.Setenv("EXAMPLES", examples)
			env.Setenv("TZ", "UTC")
			env.Setenv("GORACE", quickExit)
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exits":     cmdExits,
			"until":     cmdUntil,
			"certs":     cmdCerts,
			"subst":     cmdSubst,
			"node-pid":  cmdNodePID,
			"kill-9":    cmdKill9,
			"different": cmdDifferent,
		},
	})
}

// freePort finds a port that is free for TCP and UDP on 127.0.0.1.
func freePort() (int, error) {
	var err error
	for range 20 {
		var l net.Listener
		if l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			continue
		}
		port := l.Addr().(*net.TCPAddr).Port
		var u net.PacketConn
		u, err = net.ListenPacket("udp", l.Addr().String())
		_ = l.Close()
		if err == nil {
			return port, u.Close()
		}
	}
	return 0, err
}

// cmdExits runs a command that has to end with a code: exits CODE CMD ARGS...
func cmdExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE CMD ARGS...")
	}
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if want := args[0]; strconv.Itoa(got) != want {
		ts.Fatalf("exit code %d, want %s", got, want)
	}
}

// cmdUntil runs a command again and again until its output matches: until
// DURATION REGEXP CMD ARGS...
func cmdUntil(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: until DURATION REGEXP CMD ARGS...")
	}
	within, err := time.ParseDuration(args[0])
	ts.Check(err)
	want, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	var out []byte
	for end := time.Now().Add(within); time.Now().Before(end); <-time.After(20 * time.Millisecond) {
		cmd := exec.Command(args[2], args[3:]...) // not ts.Exec, which logs every try
		cmd.Dir = ts.MkAbs(".")
		for _, name := range []string{"PATH", "HOME", "TZ", "GORACE", "PHAROS_DATA_DIR"} {
			cmd.Env = append(cmd.Env, name+"="+ts.Getenv(name))
		}
		if out, err = cmd.CombinedOutput(); err == nil && want.Match(out) {
			return
		}
	}
	ts.Fatalf("no %q within %s; the last output:\n%s", args[1], within, out)
}

// cmdSubst replaces words in a file: subst FILE OLD NEW... A NEW of @FILE is
// what stands in that file.
func cmdSubst(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 || len(args)%2 == 0 {
		ts.Fatalf("usage: subst FILE OLD NEW...")
	}
	text := ts.ReadFile(args[0])
	for i := 1; i < len(args); i += 2 {
		if !strings.Contains(text, args[i]) {
			ts.Fatalf("%s has no %q", args[0], args[i])
		}
		with := args[i+1]
		if from, ok := strings.CutPrefix(with, "@"); ok {
			with = strings.TrimSpace(ts.ReadFile(from))
		}
		text = strings.ReplaceAll(text, args[i], with)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o644))
}

// cmdNodePID puts the process number of the node with the data folder, or of
// one of several in it, into a variable: node-pid VAR [NODE]
func cmdNodePID(ts *testscript.TestScript, neg bool, args []string) {
	dir := filepath.Join(append([]string{ts.Getenv("PHAROS_DATA_DIR")}, args[1:]...)...)
	text, err := os.ReadFile(filepath.Join(dir, "lock"))
	ts.Check(err)
	ts.Setenv(args[0], strings.TrimSpace(string(text)))
}

// cmdKill9 kills a process and waits until it is gone: kill-9 PID
func cmdKill9(ts *testscript.TestScript, neg bool, args []string) {
	pid, err := strconv.Atoi(args[0])
	ts.Check(err)
	ts.Check(syscall.Kill(pid, syscall.SIGKILL))
	ts.Check(waitGone(pid, 10*time.Second))
}

// waitGone waits until a process is no more, or only its parent's to bury. Its first thread may be that before the
// others are, which hold its sockets open.
func waitGone(pid int, within time.Duration) error {
	for end := time.Now().Add(within); time.Now().Before(end); <-time.After(10 * time.Millisecond) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return nil
		}
		if _, rest, ok := strings.Cut(string(stat), ") "); ok && strings.HasPrefix(rest, "Z") {
			if threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid)); err != nil || len(threads) <= 1 {
				return nil
			}
		}
	}
	return fmt.Errorf("process %d is still there after %s", pid, within)
}

// cmdDifferent wants two words to differ: different A B
func cmdDifferent(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 || (args[0] == args[1]) != neg {
		ts.Fatalf("%q", args)
	}
}
