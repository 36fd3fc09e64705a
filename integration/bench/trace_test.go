package main

import (
	"testing"
	"time"
)

func TestReadTurn(t *testing.T) {
	for line, want := range map[string]turn{
		"    1417.170545 [0001]  pharos[23778/22825]   19.306      7.500      0.500 ": {
			1, 23778, 22825, 1417162545000, 1417170045000, 1417170545000,
		},
		"    1417.170545 [0000]  tmux: server[12]   0.000      0.000      1.000 ": {
			0, 12, 12, 1417169545000, 1417169545000, 1417170545000,
		},
	} {
		if got, ok := readTurn(line); !ok || got != want {
			t.Errorf("%q: %+v, %v", line, got, ok)
		}
	}
	for _, line := range []string{"", "           time    cpu  task name                       wait time  sch delay   run time", "--------------- ------  ---- --- --- ---"} {
		if got, ok := readTurn(line); ok {
			t.Errorf("%q: %+v", line, got)
		}
	}
}

// An answer of 10 ms, for 6 of which another program had the core that a
// thread of the server was ready on, and for 1 another thread of the server.
func TestWorstOwn(t *testing.T) {
	const ms = int64(time.Millisecond)
	const now, ahead = int64(time.Hour), int64(time.Minute)
	at := func(m int64) int64 { return now + m*ms }
	turns := []turn{
		{cpu: 0, tid: 9, pid: 9, ready: at(0), start: at(0), stop: at(6)},
		{cpu: 0, tid: 11, pid: 10, ready: at(6), start: at(6), stop: at(7)},
		{cpu: 0, tid: 10, pid: 10, ready: at(0), start: at(7), stop: at(8)},
		{cpu: 1, tid: 9, pid: 9, ready: at(0), start: at(0), stop: at(9)},
	}
	asked := now - ahead
	own := worstOwn(turns, 10, []slow{{asked, 10 * time.Millisecond}, {asked, time.Millisecond}}, ahead)
	if own != 4*time.Millisecond {
		t.Errorf("%v of 10 ms are the server's, expected 4 ms", own)
	}
}
