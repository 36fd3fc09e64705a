package dnsserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/bits"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/scloudstack/pharos/zones"
)

// Server answers DNS questions. Its methods may be called by any goroutine.
type Server struct {
	log      *slog.Logger
	counters *counters
	tcp      *tcpServer
	view     atomic.Pointer[view]
	ready    chan struct{}

	setting sync.Mutex // held while a new view is made

	mu        sync.Mutex // guards what follows
	cfg       Config
	listeners []*listener
	running   bool
}

// New checks the configuration and registers the server's metrics. It opens
// nothing.
func New(cfg Config, log *slog.Logger, reg prometheus.Registerer) (*Server, error) {
	cfg, err := cfg.filled()
	if err != nil {
		return nil, fmt.Errorf("dns: %w", err)
	}
	// A lane for each thread and one for TCP, as a power of two.
	lanes := 1 << bits.Len(uint(min(max(cfg.Threads, cores), 64)))
	s := &Server{log: log, cfg: cfg, counters: newCounters(lanes), ready: make(chan struct{})}
	s.tcp = newTCPServer(s)
	s.tcp.limits.Store(&cfg.TCP)
	s.view.Store(&view{set: newSettings(cfg), counters: s.counters, special: &specials{}})
	s.counters.view = s.view.Load
	s.counters.conns = s.tcp.count
	if reg != nil {
		if err := reg.Register(s.counters); err != nil {
			return nil, fmt.Errorf("dns: metrics: %w", err)
		}
	}
	return s, nil
}

// compileSlice is how long compiling keeps a core before it lets others have it.
const compileSlice = 200 * time.Microsecond

// Set answers from d from now on. Zones and answers that are the same pointers
// as before are not compiled again. It returns when the new data is served.
func (s *Server) Set(d Data) {
	s.setting.Lock()
	defer s.setting.Unlock()
	s.view.Store(s.view.Load().next(d, s.newYield()))
}

// Prepare compiles zones that a Set to come will have, so that it is quick.
// Meanwhile Set can be called for what is served now. What the next Set with
// other zones does not take is forgotten.
func (s *Server) Prepare(zs []*zones.Zone) {
	v := s.view.Load()
	served := make(map[*zones.Zone]bool, len(v.zones))
	for _, z := range v.zones {
		served[z.zone] = true
	}
	ahead := make(map[*zones.Zone]*zoneAnswers)
	yield := s.newYield()
	for _, z := range zs {
		if !served[z] {
			ahead[z] = compileZone(z, yield)
		}
	}
	s.setting.Lock()
	defer s.setting.Unlock()
	w := *s.view.Load()
	w.ahead = ahead
	s.view.Store(&w)
}

// newYield makes a function that lets others have the core once in
// compileSlice, where questions are answered meanwhile.
func (s *Server) newYield() func() {
	select {
	case <-s.ready:
	default:
		return func() {}
	}
	ticks, last := 0, time.Now()
	return func() {
		if ticks++; ticks%32 == 0 && time.Since(last) > compileSlice {
			zones.Pause()
			last = time.Now()
		}
	}
}

// Ready is closed when the sockets are open.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// Addrs lists the addresses that the server is bound to, in the order of
// Config.Listen. UDP and TCP have the same.
func (s *Server) Addrs() []netip.AddrPort {
	s.mu.Lock()
	defer s.mu.Unlock()
	addrs := make([]netip.AddrPort, len(s.listeners))
	for i, l := range s.listeners {
		addrs[i] = l.bound
	}
	return addrs
}

// Run opens the sockets and serves until ctx ends. Every thread, goroutine and
// socket has ended when it returns. It can be called once.
func (s *Server) Run(ctx context.Context) error {
	s.mu.Lock()
	select {
	case <-s.ready:
		s.mu.Unlock()
		return errors.New("dns: already run")
	default:
	}
	fresh, err := openListeners(s.cfg, nil)
	if err != nil {
		s.mu.Unlock()
		return fmt.Errorf("dns: %w", err)
	}
	s.listeners, s.running = fresh, true
	for _, l := range fresh {
		l.start(s)
		s.log.Info("answering", "address", l.bound, "threads", len(l.udp.fds))
	}
	close(s.ready)
	s.mu.Unlock()

	<-ctx.Done()

	s.mu.Lock()
	defer s.mu.Unlock()
	s.running = false
	for _, l := range s.listeners {
		l.end(s)
	}
	s.listeners = nil
	s.tcp.shut()
	return nil
}

// shut closes the connections that are left and waits for all.
func (t *tcpServer) shut() {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.drop(nil)
	t.wg.Wait()
}

// openListeners opens the listeners of a configuration that are not among old,
// and takes the others over. On an error everything is as before.
func openListeners(cfg Config, old []*listener) ([]*listener, error) {
	kept := map[*listener]bool{}
	all := make([]*listener, len(cfg.Listen))
	for i, at := range cfg.Listen {
		for _, l := range old {
			if l.at == at && !kept[l] {
				kept[l], all[i] = true, l
				break
			}
		}
	}
	var opened []*listener
	for i, at := range cfg.Listen {
		if all[i] != nil {
			continue
		}
		l, err := openListener(at, cfg, !overlaps(at, old))
		if err != nil {
			for _, o := range opened {
				o.discard()
			}
			return nil, err
		}
		opened = append(opened, l)
		all[i] = l
	}
	return all, nil
}

// overlaps says whether one of our own listeners has some of an address: then
// it can't be free.
func overlaps(at netip.AddrPort, ls []*listener) bool {
	for _, l := range ls {
		a, b := at.Addr(), l.bound.Addr()
		if l.bound.Port() == at.Port() && a.Is4() == b.Is4() && (a == b || a.IsUnspecified() || b.IsUnspecified()) {
			return true
		}
	}
	return false
}

// Reconfigure changes what the server listens on and says of itself. Listeners
// that stay are not touched. If a new one can't be opened, nothing changes.
func (s *Server) Reconfigure(cfg Config) error {
	cfg, err := cfg.filled()
	if err != nil {
		return fmt.Errorf("dns: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running {
		if err := s.relisten(cfg); err != nil {
			return fmt.Errorf("dns: %w", err)
		}
	}
	s.cfg = cfg
	s.tcp.limits.Store(&cfg.TCP)
	s.setting.Lock()
	defer s.setting.Unlock()
	v := *s.view.Load()
	v.set = newSettings(cfg)
	s.view.Store(&v)
	return nil
}

// relisten goes over to the listeners of cfg; mu is held.
func (s *Server) relisten(cfg Config) error {
	all, err := openListeners(cfg, s.listeners)
	if err != nil {
		return err
	}
	was := map[*listener]bool{}
	for _, l := range s.listeners {
		was[l] = true
	}
	groups := make([]*udpGroup, len(all)) // with another number of threads
	for i, l := range all {
		if was[l] && len(l.udp.fds) != cfg.Threads {
			if groups[i], err = openGroup(l.bound, cfg); err != nil {
				s.abandon(all, was, groups)
				return err
			}
		}
	}
	for _, l := range s.listeners {
		for _, fd := range l.udp.fds {
			if err := setFragments(fd, l.bound, cfg.EDNSSize); err != nil {
				s.log.Warn("fragments", "address", l.bound, "error", err)
			}
		}
	}
	for i, l := range all {
		switch {
		case !was[l]:
			l.start(s)
			s.log.Info("answering", "address", l.bound, "threads", len(l.udp.fds))
		case groups[i] != nil:
			groups[i].start(s, l.at.Addr().IsUnspecified())
			l.udp.end()
			l.udp = groups[i]
			s.log.Info("answering", "address", l.bound, "threads", len(l.udp.fds))
		}
		delete(was, l)
	}
	s.listeners = all
	for l := range was {
		l.end(s)
		s.log.Info("no longer answering", "address", l.bound)
	}
	return nil
}

// abandon closes what was opened for a change that is not made.
func (s *Server) abandon(all []*listener, was map[*listener]bool, groups []*udpGroup) {
	for i, l := range all {
		if !was[l] {
			l.discard()
		}
		if groups[i] != nil {
			groups[i].closeAll()
		}
	}
}
