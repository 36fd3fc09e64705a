package cluster

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
)

// memNet is a network in memory for many nodes in one process: every receiver has a buffer, and a full one loses datagrams as
// a socket does.
type memNet struct {
	mu    sync.RWMutex
	nodes map[netip.AddrPort]*memTransport
}

func newMemNet() *memNet { return &memNet{nodes: map[netip.AddrPort]*memTransport{}} }

type memTransport struct {
	net     *memNet
	addr    netip.AddrPort
	packets chan *memberlist.Packet
	streams chan net.Conn
	closed  chan struct{}
	once    sync.Once
	sent    atomic.Uint64
	lost    atomic.Uint64
}

func (m *memNet) open(addr netip.AddrPort) *memTransport {
	t := &memTransport{
		net: m, addr: addr, packets: make(chan *memberlist.Packet, 4096),
		streams: make(chan net.Conn, 512), closed: make(chan struct{}),
	}
	m.mu.Lock()
	m.nodes[addr] = t
	m.mu.Unlock()
	return t
}

func (m *memNet) find(addr string) *memTransport {
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.nodes[to]
}

func (t *memTransport) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return t.addr.Addr().AsSlice(), int(t.addr.Port()), nil
}

func (t *memTransport) WriteTo(b []byte, addr string) (time.Time, error) {
	now := time.Now()
	t.sent.Add(uint64(len(b)) + 28) // with the headers of IP and UDP
	to := t.net.find(addr)
	if to == nil {
		return now, nil
	}
	select {
	case to.packets <- &memberlist.Packet{Buf: append([]byte(nil), b...), From: net.UDPAddrFromAddrPort(t.addr), Timestamp: now}:
	default:
		to.lost.Add(1)
	}
	return now, nil
}

func (t *memTransport) PacketCh() <-chan *memberlist.Packet { return t.packets }
func (t *memTransport) StreamCh() <-chan net.Conn           { return t.streams }

// memConn counts what is written.
type memConn struct {
	net.Conn
	t *memTransport
}

func (c memConn) Write(b []byte) (int, error) {
	c.t.sent.Add(uint64(len(b)) + 40)
	return c.Conn.Write(b)
}

func (c memConn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.t.addr) }

func (t *memTransport) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	to := t.net.find(addr)
	if to == nil {
		return nil, errors.New("connection refused")
	}
	near, far := net.Pipe()
	t.sent.Add(6 * 40) // SYN, FIN and what acknowledges them
	select {
	case to.streams <- memConn{far, to}:
		return memConn{near, t}, nil
	case <-to.closed:
	case <-time.After(timeout):
	}
	near.Close()
	far.Close()
	return nil, errors.New("connection timed out")
}

func (t *memTransport) Shutdown() error {
	t.once.Do(func() {
		t.net.mu.Lock()
		delete(t.net.nodes, t.addr)
		t.net.mu.Unlock()
		close(t.closed)
	})
	return nil
}
