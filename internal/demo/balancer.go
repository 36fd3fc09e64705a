package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// balancer is a load balancer that can be broken, when it answers 503, and killed,
// when nothing listens any more.
type balancer struct {
	site
	port   uint16
	broken atomic.Bool

	mu      sync.Mutex
	server  *http.Server // nil while killed
	serving sync.WaitGroup
}

// open listens; port 0 takes any, which close and open then keep.
func (b *balancer) open() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.server != nil {
		return nil
	}
	l, err := net.Listen("tcp", netip.AddrPortFrom(b.address, b.port).String())
	if err != nil {
		return fmt.Errorf("load balancer of %s: %w", b.name, err)
	}
	b.port = l.Addr().(*net.TCPAddr).AddrPort().Port()
	server := &http.Server{
		Handler:           http.HandlerFunc(b.serve),
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       time.Minute,
	}
	b.server = server
	b.serving.Go(func() { _ = server.Serve(l) }) // until it is closed
	return nil
}

// close stops listening and drops every connection.
func (b *balancer) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.server != nil {
		_ = b.server.Close()
		b.server = nil
	}
	b.serving.Wait()
}

func (b *balancer) serve(w http.ResponseWriter, r *http.Request) {
	switch {
	case b.broken.Load():
		http.Error(w, b.name+" is broken", http.StatusServiceUnavailable)
	case r.URL.Path == "/healthz":
		_, _ = io.WriteString(w, "ok\n")
	default:
		_, _ = fmt.Fprintf(w, "Hello from %s.\n", b.name)
	}
}

// openBalancers listens with one port on all addresses: the wanted one where it
// is free, else another.
func openBalancers(want uint16) ([]*balancer, uint16, error) {
	const tries = 20
	var err error
	for range tries {
		var all []*balancer
		if all, err = openAll(want); err == nil {
			return all, all[0].port, nil
		}
		want = 0
	}
	return nil, 0, err
}

func openAll(port uint16) ([]*balancer, error) {
	var all []*balancer
	for _, s := range sites {
		b := &balancer{site: s, port: port}
		if err := b.open(); err != nil {
			for _, b := range all {
				b.close()
			}
			return nil, err
		}
		all = append(all, b)
		port = b.port // where any would do, all get the first one's
	}
	return all, nil
}

// serveUntil serves until ctx ends, then closes everything at once: nobody
// waits for a demo's last answer.
func serveUntil(ctx context.Context, s *http.Server, l net.Listener) error {
	stop := context.AfterFunc(ctx, func() { _ = s.Close() })
	defer stop()
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
