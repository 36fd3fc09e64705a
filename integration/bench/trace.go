package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// traced is how many of the slowest answers are laid beside the trace.
const traced = 500

// trace is a record of what ran on every core (perf, as root), to tell what a
// server waited for: on a machine with other work, mostly that its thread is
// ready and another program has the core.
type trace struct {
	cmd  *exec.Cmd
	path string
}

func startTrace(path string) (*trace, error) {
	t := &trace{path: path}
	t.cmd = exec.Command("perf", "record", "-q", "-a", "-m", "4096", "-k", "CLOCK_MONOTONIC", "-e", "sched:sched_switch,sched:sched_wakeup", "-o", path)
	t.cmd.Stderr = os.Stderr
	if err := t.cmd.Start(); err != nil {
		return nil, fmt.Errorf("trace: %w", err)
	}
	// It records once it has written something.
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if f, err := os.Stat(path); err == nil && f.Size() > 0 {
			return t, nil
		}
	}
	_, err := t.stop(context.Background())
	return nil, errors.Join(errors.New("trace: perf records nothing"), err)
}

// stop ends the record and reads it.
func (t *trace) stop(ctx context.Context) ([]turn, error) {
	_ = t.cmd.Process.Signal(syscall.SIGTERM)
	_ = t.cmd.Wait() // it ends with the signal's code
	defer os.Remove(t.path)
	read := exec.CommandContext(ctx, "perf", "sched", "timehist", "-i", t.path)
	out, err := read.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := read.Start(); err != nil {
		return nil, fmt.Errorf("trace: %w", err)
	}
	var turns []turn
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if tn, ok := readTurn(lines.Text()); ok {
			turns = append(turns, tn)
		}
	}
	if err := read.Wait(); err != nil || len(turns) == 0 {
		return nil, fmt.Errorf("perf sched timehist read %d turns: %v", len(turns), err)
	}
	return turns, nil
}

// turn is one time of a thread on a core. Times are nanoseconds of the monotonic clock.
type turn struct {
	cpu         int
	tid, pid    int
	ready       int64 // when it could have run
	start, stop int64
}

// readTurn reads a line such as
//
//	1417.170545 [0000]  pharos[23778/22825]   19.306   7.941   0.018
//
// time, core, thread, and in ms how long it slept, waited for the core, and ran.
func readTurn(line string) (turn, bool) {
	f := strings.Fields(line)
	if len(f) < 6 || len(f[1]) < 3 {
		return turn{}, false
	}
	end, err1 := strconv.ParseFloat(f[0], 64)
	cpu, err2 := strconv.Atoi(strings.Trim(f[1], "[]"))
	waited, err3 := strconv.ParseFloat(f[len(f)-2], 64)
	ran, err4 := strconv.ParseFloat(f[len(f)-1], 64)
	name := strings.Join(f[2:len(f)-3], " ")
	open := strings.LastIndexByte(name, '[')
	if err1 != nil || err2 != nil || err3 != nil || err4 != nil || open < 0 {
		return turn{}, false
	}
	tid, pid, two := strings.Cut(strings.TrimSuffix(name[open+1:], "]"), "/")
	t := turn{cpu: cpu, stop: int64(end * 1e9)}
	t.tid, _ = strconv.Atoi(tid)
	if t.pid = t.tid; two {
		t.pid, _ = strconv.Atoi(pid)
	}
	t.start = t.stop - int64(ran*1e6)
	t.ready = t.start - int64(waited*1e6)
	return t, true
}

// worstOwn is the longest that an answer took beyond the time in which a thread
// of the server was ready and other programs had its core; answers are the
// slowest first.
// toMonotonic is what turns their clock into that of the turns.
func worstOwn(turns []turn, pid int, answers []slow, toMonotonic int64) time.Duration {
	cores := map[int][]turn{} // who ran, in order
	var waits []turn          // of the server
	for _, t := range turns {
		cores[t.cpu] = append(cores[t.cpu], t)
		if t.pid == pid && t.start-t.ready > int64(100*time.Microsecond) {
			waits = append(waits, t)
		}
	}
	for _, c := range cores {
		slices.SortFunc(c, func(a, b turn) int { return int(a.stop - b.stop) })
	}
	var worst time.Duration
	for i, a := range answers {
		if i == traced { // and no later one took longer
			return max(worst, a.took)
		}
		from := a.asked + toMonotonic
		to := from + int64(a.took)
		behind := map[int]time.Duration{} // by thread of the server
		for _, w := range waits {
			if w.ready < to && w.start > from {
				behind[w.tid] += others(cores[w.cpu], pid, max(from, w.ready), min(to, w.start))
			}
		}
		most := time.Duration(0)
		for _, d := range behind {
			most = max(most, d)
		}
		worst = max(worst, a.took-most)
	}
	return worst
}

// others is how much of a time other programs had a core.
func others(core []turn, pid int, from, to int64) (sum time.Duration) {
	first, _ := slices.BinarySearchFunc(core, from, func(t turn, at int64) int { return int(t.stop - at) })
	for _, t := range core[first:] {
		if t.start >= to {
			break
		}
		if t.pid != pid && t.tid != 0 {
			sum += time.Duration(max(0, min(to, t.stop)-max(from, t.start)))
		}
	}
	return sum
}

// toMonotonic is how far the monotonic clock is ahead of the time since 1970.
func toMonotonic() int64 {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t)
	return t.Nano() - time.Now().UnixNano()
}
