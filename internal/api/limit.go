package api

import (
	"net"
	"net/netip"
	"sync"
)

// Bounds of the connections to one TLS listener. Anybody who reaches it can
// open them before it is known who they are, and each takes a file of those
// that the probes and DNS over TCP need too.
const (
	maxConns       = 256 // further ones wait in the kernel
	maxConnsSource = 64  // of one address; further ones are closed
)

// limited is a listener with those bounds.
type limited struct {
	net.Listener
	slots  chan struct{}
	closed chan struct{}
	once   sync.Once // closes closed

	mu   sync.Mutex
	from map[netip.Addr]int
}

func limit(l net.Listener) *limited {
	return &limited{Listener: l, slots: make(chan struct{}, maxConns), closed: make(chan struct{}), from: map[netip.Addr]int{}}
}

func (l *limited) Accept() (net.Conn, error) {
	for {
		select {
		case l.slots <- struct{}{}:
		case <-l.closed:
			return nil, net.ErrClosed
		}
		c, err := l.Listener.Accept()
		if err != nil {
			<-l.slots
			return nil, err
		}
		source := sourceOf(c)
		if !l.enter(source) {
			_ = c.Close()
			<-l.slots
			continue
		}
		return &limitedConn{Conn: c, leave: sync.OnceFunc(func() { l.leave(source) })}, nil
	}
}

func (l *limited) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

func (l *limited) enter(source netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.from[source] >= maxConnsSource {
		return false
	}
	l.from[source]++
	return true
}

func (l *limited) leave(source netip.Addr) {
	l.mu.Lock()
	if l.from[source]--; l.from[source] == 0 {
		delete(l.from, source)
	}
	l.mu.Unlock()
	<-l.slots
}

// sourceOf is what connections are counted by: an IPv4 address, an IPv6 /64.
func sourceOf(c net.Conn) netip.Addr {
	a, ok := c.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	source := a.AddrPort().Addr().Unmap().WithZone("")
	if source.Is6() {
		p, _ := source.Prefix(64)
		source = p.Addr()
	}
	return source
}

// limitedConn gives its place back when it is closed.
type limitedConn struct {
	net.Conn
	leave func()
}

func (c *limitedConn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}
