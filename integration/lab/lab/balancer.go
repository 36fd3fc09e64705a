package lab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// Words that a balancer takes on its standard input.
const (
	wordWell   = "well"   // answers 200
	wordBroken = "broken" // answers 503
)

// balancerPorts are where a balancer listens, plain HTTP on each.
var balancerPorts = []uint16{80, 443}

// runBalancer is a balancer's process: HTTP at an address until standard input
// ends.
func runBalancer(ctx context.Context, name, address string) error {
	addr, err := netip.ParseAddr(address)
	if err != nil {
		return err
	}
	var broken atomic.Bool
	server := &http.Server{
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       time.Minute,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if broken.Load() {
				http.Error(w, name+" is broken", http.StatusServiceUnavailable)
				return
			}
			_, _ = fmt.Fprintln(w, name)
		}),
	}
	ctx, end := context.WithCancel(ctx)
	defer end()
	group, ctx := errgroup.WithContext(ctx)
	for _, port := range balancerPorts {
		l, err := net.Listen("tcp", netip.AddrPortFrom(addr, port).String())
		if err != nil {
			return errors.Join(err, server.Close())
		}
		group.Go(func() error {
			if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return nil
		})
	}
	group.Go(func() error {
		<-ctx.Done()
		return server.Close()
	})
	group.Go(func() error {
		defer end()
		return obey(os.Stdin, os.Stdout, &broken)
	})
	return group.Wait()
}

// obey takes words until there are no more.
func obey(in io.Reader, out io.Writer, broken *atomic.Bool) error {
	if _, err := fmt.Fprintln(out, readyWord); err != nil {
		return err
	}
	for words := bufio.NewScanner(in); words.Scan(); {
		switch words.Text() {
		case wordWell:
			broken.Store(false)
		case wordBroken:
			broken.Store(true)
		default:
			return fmt.Errorf("%q: expected %s or %s", words.Text(), wordWell, wordBroken)
		}
		if _, err := fmt.Fprintln(out, words.Text()); err != nil {
			return err
		}
	}
	return nil
}

// balancer is one balancer of a site, running or not.
type balancer struct {
	name    string
	address netip.Addr
	running *part // nil: killed
}

func (b *balancer) start(s *Site) error {
	if b.running != nil {
		return b.running.tell(wordWell)
	}
	var err error
	b.running, err = s.lab.startPart(s.balancerHost, partBalancer, b.name, b.address.String())
	return err
}

func (b *balancer) kill() error {
	if b.running == nil {
		return nil
	}
	err := b.running.end()
	b.running = nil
	return err
}

func (b *balancer) breakIt() error {
	if b.running == nil {
		return fmt.Errorf("balancer %s is dead: it can't answer 503", b.name)
	}
	return b.running.tell(wordBroken)
}
