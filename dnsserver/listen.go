package dnsserver

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxThreads bounds the UDP sockets of one listener.
const maxThreads = 256

// listener is one configured address: a TCP socket and a group of UDP sockets.
type listener struct {
	at    netip.AddrPort // as configured
	bound netip.AddrPort
	tcp   *tcpListener
	udp   *udpGroup
}

// udpGroup is the UDP sockets of one listener and their threads.
type udpGroup struct {
	at     netip.AddrPort
	fds    []int
	stop   int         // an eventfd, readable when the threads are to end
	ending atomic.Bool // the same
	wg     sync.WaitGroup
}

// openListener opens all sockets of an address. alone demands that nobody has
// the address yet, which SO_REUSEPORT would not tell.
func openListener(at netip.AddrPort, cfg Config, alone bool) (*listener, error) {
	const tries = 16 // a free TCP port may be taken for UDP
	for try := 1; ; try++ {
		l, err := openOnce(at, cfg, alone)
		if err == nil || at.Port() != 0 || try == tries {
			return l, err
		}
	}
}

func openOnce(at netip.AddrPort, cfg Config, alone bool) (*listener, error) {
	if alone && at.Port() != 0 {
		probe, err := listenTCP(at, false)
		if err != nil {
			return nil, err
		}
		probe.Close()
	}
	ln, err := listenTCP(at, true)
	if err != nil {
		return nil, err
	}
	bound := netip.AddrPortFrom(at.Addr(), uint16(ln.Addr().(*net.TCPAddr).Port))
	l := &listener{at: at, bound: bound, tcp: &tcpListener{Listener: ln, stop: make(chan struct{}), done: make(chan struct{})}}
	if alone {
		err = probeUDP(bound)
	}
	if err == nil {
		l.udp, err = openGroup(bound, cfg)
	}
	if err != nil {
		ln.Close()
		return nil, err
	}
	return l, nil
}

func listenTCP(at netip.AddrPort, share bool) (net.Listener, error) {
	network := "tcp4"
	if at.Addr().Is6() {
		network = "tcp6"
	}
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	if share {
		lc.Control = func(_, _ string, c syscall.RawConn) (err error) {
			if cerr := c.Control(func(fd uintptr) {
				err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
			}); cerr != nil {
				return cerr
			}
			return os.NewSyscallError("setsockopt", err)
		}
	}
	ln, err := lc.Listen(context.Background(), network, at.String())
	if err != nil {
		return nil, fmt.Errorf("tcp %v: %w", at, err)
	}
	return ln, nil
}

// probeUDP says whether an address is free.
func probeUDP(at netip.AddrPort) error {
	network := "udp4"
	if at.Addr().Is6() {
		network = "udp6"
	}
	c, err := net.ListenUDP(network, net.UDPAddrFromAddrPort(at))
	if err != nil {
		return fmt.Errorf("udp %v: %w", at, err)
	}
	return c.Close()
}

func openGroup(at netip.AddrPort, cfg Config) (*udpGroup, error) {
	g := &udpGroup{at: at, stop: -1}
	for range cfg.Threads {
		fd, err := openUDP(at, cfg.EDNSSize)
		if err != nil {
			g.closeAll()
			return nil, err
		}
		g.fds = append(g.fds, fd)
	}
	stop, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		g.closeAll()
		return nil, os.NewSyscallError("eventfd", err)
	}
	g.stop = stop
	return g, nil
}

// closeAll closes what no thread owns.
func (g *udpGroup) closeAll() {
	for _, fd := range g.fds {
		unix.Close(fd)
	}
	if g.stop >= 0 {
		unix.Close(g.stop)
	}
}

func (g *udpGroup) start(s *Server, wildcard bool) {
	lendP(len(g.fds))
	for i, fd := range g.fds {
		t := newUDPThread(s, g, fd, i, wildcard)
		g.wg.Go(t.run)
	}
}

// end ends the threads, which close their sockets, and waits for them.
func (g *udpGroup) end() {
	one := [8]byte{1}
	g.ending.Store(true)
	_, _ = unix.Write(g.stop, one[:])
	g.wg.Wait()
	unix.Close(g.stop)
	lendP(-len(g.fds))
}

var lending sync.Mutex

// lendP gives the Go scheduler n Ps more, or takes them back: as many as there
// are threads that wait in the kernel with one in hand. All others still have
// one for each core, and the kernel shares the cores out.
func lendP(n int) {
	lending.Lock()
	defer lending.Unlock()
	runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + n)
}

func (l *listener) start(s *Server) {
	l.udp.start(s, l.at.Addr().IsUnspecified())
	go l.tcp.accept(s.tcp)
}

// discard closes a listener that was not started.
func (l *listener) discard() {
	l.tcp.Close()
	l.udp.closeAll()
}

func (l *listener) end(s *Server) {
	l.tcp.close(s.tcp)
	l.udp.end()
}
