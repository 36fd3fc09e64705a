package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"
)

// site is one of the three: a load balancer on an address of its own.
type site struct {
	name    string
	address netip.Addr
	role    string
	metro   string
}

var sites = []site{
	{"city-a", netip.MustParseAddr("127.0.1.1"), "production", "city"},
	{"city-b", netip.MustParseAddr("127.0.2.1"), "production", "city"},
	{"remote", netip.MustParseAddr("127.0.3.1"), "standby", "far"},
}

func siteNamed(name string) (site, bool) {
	for _, s := range sites {
		if s.name == name {
			return s, true
		}
	}
	return site{}, false
}

// balancer is a load balancer that can be broken: then it answers 503.
type balancer struct {
	site
	broken   atomic.Bool
	listener net.Listener
	http     *http.Server
}

func newBalancer(s site, port uint16) (*balancer, error) {
	b := &balancer{site: s}
	l, err := net.Listen("tcp", netip.AddrPortFrom(s.address, port).String())
	if err != nil {
		return nil, fmt.Errorf("load balancer of %s: %w", s.name, err)
	}
	b.listener = l
	b.http = &http.Server{
		Handler:           http.HandlerFunc(b.serve),
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       time.Minute,
	}
	return b, nil
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

// run serves until ctx ends.
func (b *balancer) run(ctx context.Context) error {
	return serveUntil(ctx, b.http, b.listener)
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

// openBalancers listens with one port on all addresses: the wanted one where it
// is free, else another.
func openBalancers(want uint16) ([]*balancer, uint16, error) {
	const tries = 20
	port := want
	var err error
	for range tries {
		var all []*balancer
		if all, err = openAll(port); err == nil {
			return all, all[0].listener.Addr().(*net.TCPAddr).AddrPort().Port(), nil
		}
		port = 0
	}
	return nil, 0, err
}

func openAll(port uint16) ([]*balancer, error) {
	var all []*balancer
	for _, s := range sites {
		b, err := newBalancer(s, port)
		if err != nil {
			for _, b := range all {
				_ = b.listener.Close()
			}
			return nil, err
		}
		all = append(all, b)
		port = b.listener.Addr().(*net.TCPAddr).AddrPort().Port() // where any would do, all get the first one's
	}
	return all, nil
}
