package wan

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"sync"

	"golang.org/x/sync/errgroup"
)

// request is one line from a client. Side names the end that frames enter by,
// "a" or "b"; empty is both.
type request struct {
	Do     string      `json:"do"` // set, cut, mend, stats, reset
	Wire   string      `json:"wire,omitempty"`
	Side   string      `json:"side,omitempty"`
	Impair *Impairment `json:"impair,omitempty"`
}

// response is the line that answers it.
type response struct {
	Error string                      `json:"error,omitempty"`
	Stats map[string]map[string]Stats `json:"stats,omitempty"` // by wire, then side
}

// Emulate is the emulator's process: it moves frames as the file at path says
// (a Config in JSON) and takes a client's words, until ctx ends. It calls ready
// once both are done.
func Emulate(ctx context.Context, path string, ready func()) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("emulator: %w", err)
	}
	var c Config
	if err := json.Unmarshal(text, &c); err != nil {
		return fmt.Errorf("emulator: %s: %w", path, err)
	}
	// Nothing may keep the moving thread waiting: there is always a P for it,
	// and memory is used again by hand.
	runtime.GOMAXPROCS(max(4, runtime.NumCPU()))
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(256 << 20)

	e, err := newEmulator(c)
	if err != nil {
		return fmt.Errorf("emulator: %w", err)
	}
	defer func() { _ = e.close() }()
	l, err := net.Listen("unix", c.Socket)
	if err != nil {
		return fmt.Errorf("emulator: %w", err)
	}
	group, gctx := errgroup.WithContext(ctx)
	group.Go(func() error { return e.run(gctx) })
	group.Go(func() error { return e.serve(gctx, l) })
	ready()
	return group.Wait()
}

// serve takes clients until ctx ends.
func (e *emulator) serve(ctx context.Context, l net.Listener) error {
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	var clients sync.WaitGroup
	defer clients.Wait()
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("emulator: %w", err)
		}
		clients.Go(func() { e.converse(ctx, conn) })
	}
}

func (e *emulator) converse(ctx context.Context, conn net.Conn) {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	defer func() { _ = conn.Close() }()
	in, out := json.NewDecoder(conn), json.NewEncoder(conn)
	for {
		var q request
		if err := in.Decode(&q); errors.Is(err, io.EOF) || ctx.Err() != nil {
			return
		} else if err != nil {
			_ = out.Encode(response{Error: err.Error()})
			return
		}
		r, err := e.obey(q)
		if err != nil {
			r.Error = err.Error()
		}
		if out.Encode(r) != nil {
			return
		}
	}
}

func (e *emulator) obey(q request) (response, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch q.Do {
	case "stats":
		all := map[string]map[string]Stats{}
		for name, ends := range e.wires {
			all[name] = map[string]Stats{"a": ends[0].stats(), "b": ends[1].stats()}
		}
		return response{Stats: all}, nil
	case "reset":
		for _, p := range e.ports {
			p.kernelMissed()
			p.missed = 0
			p.counts.reset()
		}
		return response{}, nil
	}
	ports, err := e.directions(q)
	if err != nil {
		return response{}, err
	}
	for _, p := range ports {
		switch q.Do {
		case "cut":
			p.line.cut = true
		case "mend":
			p.line.cut = false
		case "set":
			if q.Impair == nil {
				return response{}, errors.New("set: impair is missing")
			}
			if err := q.Impair.Validate(); err != nil {
				return response{}, fmt.Errorf("wire %s: %w", q.Wire, err)
			}
			p.line.set(*q.Impair)
		default:
			return response{}, fmt.Errorf("do %q: expected set, cut, mend, stats or reset", q.Do)
		}
	}
	return response{}, nil
}

func (e *emulator) directions(q request) ([]*port, error) {
	ends, ok := e.wires[q.Wire]
	if !ok {
		return nil, fmt.Errorf("no wire %q", q.Wire)
	}
	switch q.Side {
	case "":
		return ends[:], nil
	case "a":
		return ends[:1], nil
	case "b":
		return ends[1:], nil
	}
	return nil, fmt.Errorf("side %q: expected a, b or none", q.Side)
}
