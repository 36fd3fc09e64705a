package probe

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/scloudstack/pharos/policy"
)

func execTarget(argv ...string) Target {
	return Target{
		Address: netip.MustParseAddr("192.0.2.7"), Check: Check{Exec: &Exec{Argv: argv}},
		Interval: 10 * time.Second, Timeout: 10 * time.Second,
	}
}

func TestExec(t *testing.T) {
	t.Setenv("PHAROS_SECRET", "x")
	t.Setenv("PATH", "/usr/bin:/bin")
	for _, tc := range []struct {
		name   string
		argv   []string
		expect expectation
	}{
		{"success", []string{"/bin/true"}, expectation{policy.Success, `exit status 0 of /bin/true after .*`}},
		{"failure", []string{"/bin/false"}, expectation{policy.Refused, `exit status 1 of /bin/false after .*`}},
		{"output in the reason", []string{"/bin/sh", "-c", "echo pool is; echo empty >&2; exit 3"}, expectation{policy.Refused, `exit status 3 of /bin/sh after .*: pool is empty`}},
		{"output bounded", []string{"/bin/sh", "-c", "head -c 1000000 /dev/zero | tr '\\0' x; exit 1"}, expectation{policy.Refused, `exit status 1 of /bin/sh after .*: x{200}\.\.\.`}},
		{"control characters", []string{"/bin/sh", "-c", `printf 'a\033[2Jb\377'; exit 1`}, expectation{policy.Refused, `.*: a\?\[2Jb\?`}},
		{"no shell", []string{"/usr/bin/test", "$HOME;*", "=", "$HOME;*"}, expectation{policy.Success, `exit status 0 of .*`}},
		{"address in an argument", []string{"/usr/bin/test", "{address}", "=", "192.0.2.7"}, expectation{policy.Success, `exit status 0 of .*`}},
		{"environment", []string{"/bin/sh", "-c", `/usr/bin/env | sort | tr '\n' ' '; exit 1`}, expectation{policy.Refused, `.*: PATH=/usr/bin:/bin PHAROS_ADDRESS=192\.0\.2\.7 PWD=/`}},
		{"killed by itself", []string{"/bin/sh", "-c", "kill -SEGV $$"}, expectation{policy.Refused, `signal: segmentation fault.* of /bin/sh after .*`}},
		{"input is empty", []string{"/bin/cat"}, expectation{policy.Success, `exit status 0 of .*`}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.expect.check(t, once(t, execTarget(tc.argv...)))
		})
	}
	t.Run("gone since", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "check")
		target := execTarget(path)
		c := newExecChecker(target)
		expectation{policy.Timeout, ""}.check(t, policy.Observation{Outcome: c.attempt(t.Context(), 1).outcome})
		if got := c.attempt(t.Context(), 1).detail; got != "can't be run: no such file or directory" {
			t.Error(got)
		}
	})
}

// The whole process group dies at the timeout, however it resists.
func TestExecIsKilled(t *testing.T) {
	pids := filepath.Join(t.TempDir(), "pids")
	script := fmt.Sprintf(`trap "" TERM INT HUP; echo starting; (trap "" TERM; sleep 1000 & echo $! >>%[1]s; wait) & echo $$ >>%[1]s; wait`, pids)
	target := execTarget("/bin/sh", "-c", script)
	target.Timeout = 2 * time.Second
	o := once(t, target)
	expectation{policy.Timeout, `no answer from /bin/sh within 2000 ms: killed, output: starting`}.check(t, o)
	if o.Latency > 9*time.Second {
		t.Errorf("took %v", o.Latency)
	}
	allDead(t, pids, 2)
}

// What a program leaves in its group dies with it.
func TestExecLeavesNothing(t *testing.T) {
	pids := filepath.Join(t.TempDir(), "pids")
	o := once(t, execTarget("/bin/sh", "-c", fmt.Sprintf("sleep 1000 & echo $! >%s", pids)))
	expectation{policy.Success, `exit status 0 of .*`}.check(t, o)
	if o.Latency > 9*time.Second {
		t.Errorf("waited %v for a grandchild", o.Latency)
	}
	allDead(t, pids, 1)
}

// A program that left the group, and holds the output open, is not waited for.
func TestExecEscape(t *testing.T) {
	pids := filepath.Join(t.TempDir(), "pids")
	o := once(t, execTarget("/bin/sh", "-c", fmt.Sprintf("setsid sh -c 'echo $$ >%s; exec sleep 1000' & while ! test -s %s; do :; done", pids, pids)))
	expectation{policy.Success, `exit status 0 of .*`}.check(t, o)
	for _, pid := range readPids(t, pids, 1) {
		_ = unix.Kill(pid, unix.SIGKILL)
	}
}

func readPids(t *testing.T, path string, n int) []int {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for line := range strings.FieldsSeq(string(text)) {
		pid, err := strconv.Atoi(line)
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	if len(pids) != n {
		t.Fatalf("%d processes were started, expected %d", len(pids), n)
	}
	return pids
}

// allDead waits until the processes are gone, or zombies that wait for init.
func allDead(t *testing.T, path string, n int) {
	t.Helper()
	for _, pid := range readPids(t, path, n) {
		poll(t, fmt.Sprintf("process %d to die", pid), func() bool {
			stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
			return errors.Is(err, os.ErrNotExist) || strings.Contains(string(stat), ") Z ") || errors.Is(err, unix.ESRCH)
		})
	}
}

func poll(t testing.TB, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(30 * time.Second)
	for !done() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// A program that hangs delays no other target.
func TestExecHangsAlone(t *testing.T) {
	port := listen(t, "tcp4", "127.0.0.1:0", hold)
	well := tcpTarget(port, TCP{})
	well.ID, well.Address, well.Interval = "well", netip.MustParseAddr("127.0.0.1"), 100*time.Millisecond
	targets := []Target{well}
	for i := range 20 {
		stuck := execTarget("/bin/sh", "-c", `trap "" TERM; sleep 1000`)
		stuck.ID, stuck.Timeout = policy.TargetID(fmt.Sprint(i)), 30*time.Second
		targets = append(targets, stuck)
	}
	seen := make(chan time.Time, 100)
	p := New(Config{}, func(o policy.Observation) {
		if o.Target == "well" && o.Outcome == policy.Success {
			select {
			case seen <- time.Now():
			default:
			}
		}
	}, discard(), nil)
	p.Set(targets)
	began := time.Now()
	stop := start(t, p)
	for range 10 {
		<-seen
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("10 checks at 100 ms took %v", took)
	}
	began = time.Now()
	stop()
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("20 hanging programs held up the end by %v", took)
	}
}
