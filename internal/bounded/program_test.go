package bounded

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func shell(script string) Program { return Program{Argv: []string{"/bin/sh", "-c", script}} }

func TestProgram(t *testing.T) {
	t.Setenv("PHAROS_SECRET", "x")
	t.Setenv("PATH", "/usr/bin:/bin")
	input := bytes.Repeat([]byte("x"), 1<<20) // more than a pipe holds
	for _, tc := range []struct {
		name   string
		p      Program
		output string
		status int
	}{
		{"success", Program{Argv: []string{"/bin/true"}}, "", 0},
		{"failure", Program{Argv: []string{"/bin/false"}}, "", 1},
		{"both streams on one line", shell("echo pool is; echo empty >&2; exit 3"), "pool is empty", 3},
		{"long output", shell(`head -c 1000000 /dev/zero | tr '\0' x`), strings.Repeat("x", 200) + "...", 0},
		{"control characters", shell(`printf 'a\033[2Jb\377'`), "a?[2Jb?", 0},
		{"no shell", Program{Argv: []string{"/bin/echo", "$HOME;*"}}, "$HOME;*", 0},
		{"environment", Program{Argv: []string{"/usr/bin/env"}, Env: []string{"A=b"}}, "PATH=/usr/bin:/bin A=b", 0},
		{"folder", Program{Argv: []string{"/bin/pwd"}}, "/", 0},
		{"no input", Program{Argv: []string{"/bin/cat"}}, "", 0},
		{"input", Program{Argv: []string{"/usr/bin/wc", "-c"}, Input: input}, "1048576", 0},
		{"input that is not read", Program{Argv: []string{"/bin/true"}, Input: input}, "", 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			output, err := tc.p.Run(t.Context())
			var exit *exec.ExitError
			status := 0
			if errors.As(err, &exit) {
				status = exit.ExitCode()
			} else if err != nil {
				t.Fatal(err)
			}
			if output != tc.output || status != tc.status {
				t.Errorf("got %q, status %d, want %q, %d", output, status, tc.output, tc.status)
			}
		})
	}
}

func TestProgramThatIsNotThere(t *testing.T) {
	_, err := Program{Argv: []string{filepath.Join(t.TempDir(), "none")}}.Run(t.Context())
	var start *StartError
	if !errors.As(err, &start) || !errors.Is(err, fs.ErrNotExist) || !strings.HasPrefix(err.Error(), "can't be run: ") {
		t.Errorf("got %v", err)
	}
}

// The whole process group dies when the context ends, however it resists.
func TestProgramIsKilled(t *testing.T) {
	pids := filepath.Join(t.TempDir(), "pids")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		defer cancel()
		for range time.Tick(5 * time.Millisecond) {
			if text, _ := os.ReadFile(pids); bytes.Count(text, []byte("\n")) == 2 || t.Context().Err() != nil {
				return
			}
		}
	}()
	output, err := shell(fmt.Sprintf(`trap "" TERM INT; echo starts; (trap "" TERM; sleep 1000 & echo $! >>%[1]s; wait) & echo $$ >>%[1]s; wait`, pids)).Run(ctx)
	if !errors.Is(err, context.Canceled) || output != "starts" {
		t.Errorf("got %q, %v, want that it was cancelled", output, err)
	}
	wantDead(t, pids, 2)
}

// What a program leaves in its group dies with it.
func TestProgramLeavesNothing(t *testing.T) {
	pids := filepath.Join(t.TempDir(), "pids")
	if _, err := shell(fmt.Sprintf("sleep 1000 & echo $! >%s", pids)).Run(t.Context()); err != nil {
		t.Error(err)
	}
	wantDead(t, pids, 1)
}

// One that left the group and holds the output open is not waited for.
func TestProgramThatLeftItsGroup(t *testing.T) {
	pids := filepath.Join(t.TempDir(), "pids")
	output, err := shell(fmt.Sprintf("echo ends; setsid sh -c 'echo $$ >%[1]s; exec sleep 1000' & while ! test -s %[1]s; do :; done", pids)).Run(t.Context())
	if err != nil || output != "ends" {
		t.Errorf("got %q, %v", output, err)
	}
	for _, pid := range started(t, pids, 1) {
		_ = unix.Kill(pid, unix.SIGKILL)
	}
}

func started(t *testing.T, path string, n int) []int {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for word := range strings.FieldsSeq(string(text)) {
		pid, err := strconv.Atoi(word)
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

// wantDead waits until the processes are gone, or zombies that wait for init.
func wantDead(t *testing.T, path string, n int) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(30 * time.Second)
	for _, pid := range started(t, path, n) {
		for {
			stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
			if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) || strings.Contains(string(stat), ") Z ") {
				break
			}
			select {
			case <-tick.C:
			case <-deadline:
				t.Fatalf("process %d lives on", pid)
			}
		}
	}
}
