package api

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/scloudstack/pharos/internal/config"
)

const (
	headerTimeout = 5 * time.Second
	readTimeout   = 15 * time.Second
	writeTimeout  = time.Minute
	idleTimeout   = 2 * time.Minute
	drainTimeout  = 3 * time.Second // for requests under way when the server ends
	maxHeader     = 16 << 10
)

// Server is the API of one node.
type Server struct {
	log     *slog.Logger
	handler http.Handler
	access  atomic.Pointer[access]
	ready   chan struct{}
	opened  sync.Once // closes ready: Run may be called again after it failed

	mu     sync.Mutex // guards what follows
	cfg    config.API
	serves map[netip.AddrPort]*served // TLS listeners, by their configured address
	run    *errgroup.Group            // nil unless Run runs
}

// served is one open listener.
type served struct {
	listener net.Listener
	http     *http.Server
}

// New makes the API of a node; gatherer is what /metrics shows. Nothing is opened before Run.
func New(cfg config.API, b Backend, log *slog.Logger, gatherer prometheus.Gatherer) (*Server, error) {
	a, err := readAccess(cfg)
	if err != nil {
		return nil, err
	}
	s := &Server{log: log, cfg: cfg, ready: make(chan struct{}), serves: map[netip.AddrPort]*served{}}
	s.access.Store(a)
	s.handler = s.routes(b, gatherer)
	return s, nil
}

// Ready is closed when every listener is open.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// Run opens the listeners and serves until ctx ends, then lets requests under
// way finish for a while and joins every goroutine.
func (s *Server) Run(ctx context.Context) error {
	unix, err := listenUnix(s.cfg.Socket)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	local := &served{listener: unix, http: s.newHTTP()}
	s.mu.Lock()
	err = s.openTLS(s.cfg.Listen)
	if err == nil {
		s.run = group
		for _, sv := range s.serves {
			s.start(sv)
		}
		s.start(local)
	}
	s.mu.Unlock()
	if err != nil {
		return errors.Join(err, unix.Close())
	}
	s.opened.Do(func() { close(s.ready) })
	s.log.Info("api is open", "socket", unix.Addr().String(), "tls", fmt.Sprint(s.Addrs()))

	group.Go(func() error {
		<-ctx.Done()
		s.mu.Lock()
		s.run = nil
		open := append(slices.Collect(maps.Values(s.serves)), local)
		clear(s.serves)
		s.mu.Unlock() // a reload under way may want it
		for _, sv := range open {
			sv.close(s.log)
		}
		return nil
	})
	return group.Wait()
}

// Reconfigure takes other settings: whole or not at all. Listeners that stay
// are not reopened; certificates and tokens are read again.
func (s *Server) Reconfigure(cfg config.API) error {
	a, err := readAccess(cfg)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.run == nil {
		s.cfg = cfg
		s.access.Store(a)
		return nil
	}
	before := s.access.Load()
	s.access.Store(a) // listeners that open below need it
	if err := s.openTLS(cfg.Listen); err != nil {
		s.access.Store(before)
		return err
	}
	keep := map[netip.AddrPort]bool{}
	for _, at := range cfg.Listen {
		keep[at] = true
	}
	for at, sv := range s.serves {
		switch {
		case !keep[at]:
			// Not waited for: the reload may have come in over it.
			s.run.Go(func() error { sv.close(s.log); return nil })
			delete(s.serves, at)
		case sv.http == nil:
			s.start(sv)
		}
	}
	s.cfg = cfg
	return nil
}

// Addrs are the addresses of the open TLS listeners.
func (s *Server) Addrs() []netip.AddrPort {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []netip.AddrPort
	for _, at := range s.cfg.Listen {
		if sv := s.serves[at]; sv != nil {
			all = append(all, sv.listener.Addr().(*net.TCPAddr).AddrPort())
		}
	}
	return all
}

// openTLS opens the listeners that are not open yet, all or none. They do not
// serve before they are started.
func (s *Server) openTLS(want []netip.AddrPort) error {
	var opened []netip.AddrPort
	for _, at := range want {
		if s.serves[at] != nil {
			continue
		}
		l, err := net.Listen("tcp", at.String())
		if err != nil {
			for _, at := range opened {
				_ = s.serves[at].listener.Close()
				delete(s.serves, at)
			}
			return fmt.Errorf("listen on %s: %w", at, err)
		}
		s.serves[at] = &served{listener: limit(l)}
		opened = append(opened, at)
	}
	return nil
}

// start serves a listener in a goroutine of Run's group.
func (s *Server) start(sv *served) {
	if sv.http == nil {
		sv.http = s.newHTTP()
	}
	s.run.Go(func() error {
		var err error
		if _, ok := sv.listener.(*net.UnixListener); ok {
			err = sv.http.Serve(sv.listener)
		} else {
			sv.http.TLSConfig = s.tlsConfig()
			err = sv.http.ServeTLS(sv.listener, "", "")
		}
		if errors.Is(err, http.ErrServerClosed) {
			return nil
		}
		return fmt.Errorf("serve on %s: %w", sv.listener.Addr(), err)
	})
}

// tlsConfig is what a listener shows: at each handshake, what was read last.
func (s *Server) tlsConfig() *tls.Config {
	latest := func(*tls.ClientHelloInfo) (*tls.Config, error) { return s.access.Load().tls, nil }
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		Certificates:       s.access.Load().tls.Certificates, // ServeTLS asks for one here
		GetConfigForClient: latest,
	}
}

func (s *Server) newHTTP() *http.Server {
	return &http.Server{
		Handler:           s.handler,
		ConnContext:       withPeer,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
}

// close lets requests under way finish, then cuts what is left.
func (sv *served) close(log *slog.Logger) {
	ctx, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	if err := sv.http.Shutdown(ctx); err != nil {
		log.Warn("api requests were cut off", "listener", sv.listener.Addr().String(), "err", err)
		_ = sv.http.Close()
	}
}
