package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"
)

// part is something that runs as long as the node does.
type part struct {
	name  string
	run   func(context.Context) error
	ready <-chan struct{} // the next part starts when it is closed; nil: at once
	// stopWithin bounds how long its end is waited for; 0: it always ends.
	stopWithin time.Duration
}

// hooks are what runParts does between starting and stopping.
type hooks struct {
	started  func() // every part is ready
	stopping func()
	log      *slog.Logger
}

// runParts starts the parts in their order and, when ctx ends or one of them
// does, stops them in the opposite order, each joined before the next is told.
// The error is that of the part which died.
func runParts(ctx context.Context, parts []part, h hooks) error {
	var group errgroup.Group
	died := make(chan error, len(parts))
	type running struct {
		part
		stop context.CancelFunc
		done chan struct{}
	}
	var up []running
	start := func(p part) {
		pctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		r := running{p, cancel, make(chan struct{})}
		up = append(up, r)
		group.Go(func() error {
			defer close(r.done)
			err := p.run(pctx)
			if err == nil && pctx.Err() == nil {
				err = errors.New("ended by itself")
			}
			if err == nil {
				return nil
			}
			err = fmt.Errorf("%s: %w", p.name, err)
			h.log.Error("a part of the node failed", "part", p.name, "error", err)
			died <- err
			return err
		})
	}
	var err error
	for _, p := range parts {
		start(p)
		if p.ready != nil {
			select {
			case <-p.ready:
			case <-ctx.Done():
			case err = <-died:
			}
		}
		if err != nil || ctx.Err() != nil {
			break
		}
	}
	if err == nil && ctx.Err() == nil {
		h.started()
		select {
		case <-ctx.Done():
		case err = <-died:
		}
	}
	h.stopping()
	hangs := false
	for i := len(up) - 1; i >= 0; i-- {
		up[i].stop()
		if up[i].stopWithin == 0 {
			<-up[i].done
			continue
		}
		limit := time.NewTimer(up[i].stopWithin)
		select {
		case <-up[i].done:
		case <-limit.C:
			hangs = true
			err = errors.Join(err, fmt.Errorf("%s: did not end within %v and was left behind", up[i].name, up[i].stopWithin))
		}
		limit.Stop()
	}
	if hangs {
		return err
	}
	return errors.Join(err, notSame(group.Wait(), err))
}

// notSame returns the group's error unless it is reported already.
func notSame(err, reported error) error {
	if err == nil || errors.Is(reported, err) {
		return nil
	}
	return err
}
