package lab

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// victimVariable says how a process of this test ends that has a lab.
const victimVariable = "PHAROS_LAB_VICTIM"

// loner is a TB without a test: what fails ends the process.
type loner struct{ cleanups []func() }

func (l *loner) Helper()               {}
func (l *loner) Failed() bool          { return false }
func (l *loner) Cleanup(f func())      { l.cleanups = append(l.cleanups, f) }
func (l *loner) Errorf(string, ...any) {}
func (l *loner) Logf(string, ...any)   {}
func (l *loner) Fatalf(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
	os.Exit(1)
}

// beVictim brings up a lab, tells who it is, and ends badly.
func beVictim(how string) {
	t := &loner{}
	l := New(t, solo())
	if err := json.NewEncoder(os.Stdout).Encode(l.Identity()); err != nil {
		t.Fatalf("%v", err)
	}
	if how == "panic" {
		panic("as ordered")
	}
	select {} // until it is killed
}

func TestNothingIsLeft(t *testing.T) {
	for _, how := range []string{"panic", "kill"} {
		t.Run(how, func(t *testing.T) {
			runtime.LockOSThread() // whose end is the victim's, see Pdeathsig
			defer runtime.UnlockOSThread()
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), victimVariable+"="+how)
			cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			line, readErr := bufio.NewReader(out).ReadBytes('\n')
			if readErr == nil && how == "kill" {
				var id Identity
				if err := json.Unmarshal(line, &id); err != nil {
					t.Error(err)
				}
				if traces := id.Traces(); len(traces) < 10 {
					t.Errorf("while it runs, it leaves only these traces: %q", traces)
				}
				if err := cmd.Process.Kill(); err != nil {
					t.Error(err)
				}
			}
			_ = cmd.Wait() // it ended badly
			var id Identity
			if err := json.Unmarshal(line, &id); err != nil {
				t.Fatalf("the victim's lab: %v, %v", readErr, err)
			}
			if traces := id.awaitNone(); len(traces) > 0 {
				t.Errorf("left:\n%s", strings.Join(traces, "\n"))
			}
		})
	}
}

func TestTwoLabsSideBySide(t *testing.T) {
	one, two := New(t, solo()), New(t, solo())
	for _, l := range []*Lab{one, two} {
		l.Eventually(10*time.Second, l.Answers(steered, "203.0.113.10"))
	}
	one.Site("city-a").KillBalancers()
	one.Eventually(10*time.Second, one.Answers(steered, "203.0.113.20"))
	if err := two.Answers(steered, "203.0.113.10")(); err != nil {
		t.Error(err)
	}
	if a, b := one.Identity(), two.Identity(); a.Name == b.Name || a.Namespaces[0] == b.Namespaces[0] {
		t.Errorf("%+v and %+v", a, b)
	}
}
