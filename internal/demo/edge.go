package demo

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/scloudstack/pharos/internal/api"
	"github.com/scloudstack/pharos/policy"
)

const (
	startWithin    = 20 * time.Second       // for a node to be ready
	quickDeath     = 5 * time.Second        // a node that dies sooner is not started again for ever
	maxQuickDeaths = 3                      // in a row
	followEvery    = 200 * time.Millisecond // how often what it answers is looked at
	cutReason      = "the demo's links"     // by which the demo knows its own drills
)

// edge is the node of one site, and what keeps it running.
type edge struct {
	site
	d *Demo

	mu     sync.Mutex
	killed bool   // it is not to run
	child  *child // nil: it does not run
	told   bool   // the child knows which links are cut
	turned chan struct{}
}

func newEdge(d *Demo, s site, killed bool) *edge {
	return &edge{site: s, d: d, killed: killed, turned: make(chan struct{}, 1)}
}

func (e *edge) dir() string { return e.d.nodeDir(e.node) }

// set kills the node, or lets it run again.
func (e *edge) set(killed bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.killed = killed
	if killed && e.child != nil {
		_ = syscall.Kill(e.child.pid, syscall.SIGKILL)
	}
	select {
	case e.turned <- struct{}{}:
	default:
	}
}

// start starts the node unless it is killed; nil: it is.
func (e *edge) start(ctx context.Context) (*child, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.killed {
		return nil, nil
	}
	c, err := startChild(ctx, e.d.Program, e.d.Dir, e.dir(), e.node)
	e.child = c
	return c, err
}

// ended says whether the child that is gone was killed on purpose.
func (e *edge) ended() (onPurpose bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.child, e.told = nil, false
	return e.killed
}

// keep runs the node, and starts it again when it dies: orders and health are on
// its disk. One that was killed on purpose waits to be revived.
func (e *edge) keep(ctx context.Context) error {
	deaths := 0
	for ctx.Err() == nil {
		begun := time.Now()
		node, err := e.start(ctx)
		if err != nil {
			return err
		}
		if node == nil {
			select {
			case <-ctx.Done():
			case <-e.turned:
			}
			continue
		}
		err = e.follow(ctx, node)
		<-node.ended
		onPurpose := e.ended()
		if err != nil || ctx.Err() != nil {
			return err
		}
		if onPurpose {
			deaths = 0
			continue
		}
		if deaths++; time.Since(begun) > quickDeath {
			deaths = 1
		}
		if deaths >= maxQuickDeaths {
			return fmt.Errorf("%s died %d times (%s); the end of %s:\n%s", e.node, deaths, node.how(), filepath.Join(e.dir(), logFile), lastLines(e.dir(), 5))
		}
		e.sayf("died (%s). It is started again from its folder, where orders and health are kept.", node.how())
	}
	return nil
}

// follow says what the node answers, whenever that changes, until it ends.
func (e *edge) follow(ctx context.Context, node *child) error {
	client := api.NewSocketClient(api.SocketPath(e.dir()))
	defer client.Close()
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	var last string
	begun := time.Now()
	for speaks, ready := false, false; ; {
		select {
		case <-node.ended:
			return nil
		case <-tick.C:
		}
		s, err := client.Status(ctx)
		if err == nil && !speaks { // a held node, which is not ready, is behind a cut link like any other
			speaks = true
			e.d.tellCuts(ctx, e, s.Decision.Blocks)
		}
		switch {
		case err != nil && !ready && ctx.Err() == nil && time.Since(begun) > startWithin:
			return fmt.Errorf("%s is not ready after %s: %w; see %s", e.node, startWithin, err, filepath.Join(e.dir(), logFile))
		case err != nil || (!ready && !s.Node.Readiness.Ready):
			continue
		case !ready:
			ready = true
			e.sayf("is ready (process %d).", node.pid)
			e.d.oneReady()
		}
		if now := answers(s); now != last {
			e.sayf("%s", now)
			last = now
		}
	}
}

func (e *edge) sayf(format string, args ...any) {
	e.d.sayf("%s  %-6s  %s\n", clock(), e.node, fmt.Sprintf(format, args...))
}

// block has the node take no notice of some sites, and of others again. A node that
// does not speak yet is told when it does.
func (e *edge) block(ctx context.Context, far, back []string) error {
	e.mu.Lock()
	told := e.told
	e.mu.Unlock()
	if !told {
		return nil
	}
	client := api.NewSocketClient(api.SocketPath(e.dir()))
	defer client.Close()
	var all error
	give := func(r api.OrderRequest) {
		r.Kind, r.Reason, r.Wait = policy.KindBlock, cutReason, api.WaitLocal
		if _, err := client.Order(ctx, r); err != nil {
			all = errors.Join(all, fmt.Errorf("%s: %w", e.node, err))
		}
	}
	for _, s := range far {
		give(api.OrderRequest{Key: s, For: api.Duration(policy.MaxBlock)})
	}
	for _, s := range back {
		give(api.OrderRequest{Key: s, Clear: true})
	}
	return all
}

// answers is what each name answers, and why.
func answers(s api.Status) string {
	var lines []string
	for _, svc := range s.Decision.Services {
		for _, n := range svc.Names {
			why := n.Rule
			if n.Override == "" && svc.Move > 1 {
				why = svc.Cause
			}
			lines = append(lines, fmt.Sprintf("%s → %s  [%s]", n.Name, n.Answer, why))
		}
	}
	return strings.Join(lines, "; ")
}
