package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
)

// network is memberlist's transport over UDP and TCP on one address. Unlike memberlist's own it reads into one buffer instead
// of one of 64 KiB for each packet, dials from the address that it is bound to, keeps away addresses that are blocked,
// bounds the streams that are open, and closes those that are left when it ends.
type network struct {
	addr     netip.AddrPort
	udp      *net.UDPConn
	tcp      *net.TCPListener
	packets  chan *memberlist.Packet
	incoming chan net.Conn
	blocked  *atomic.Pointer[blockList]
	log      *slog.Logger
	stats    *counters

	ctx   context.Context // ends with the network
	close context.CancelFunc
	once  sync.Once
	wg    sync.WaitGroup

	mu      sync.Mutex // guards streams
	streams map[net.Conn]struct{}
}

const (
	maxStreams = 512
	maxUDP     = 65535
	udpBuffer  = 4 << 20
	errorPause = 100 * time.Millisecond // udpBuffer holds what comes meanwhile
)

func listen(addr netip.AddrPort, blocked *atomic.Pointer[blockList], stats *counters, log *slog.Logger) (*network, error) {
	udp, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(addr))
	if err != nil {
		return nil, fmt.Errorf("gossip: %w", err)
	}
	bound := udp.LocalAddr().(*net.UDPAddr).AddrPort()
	tcp, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(bound))
	if err != nil {
		udp.Close()
		return nil, fmt.Errorf("gossip: %w", err)
	}
	if err := udp.SetReadBuffer(udpBuffer); err != nil {
		log.Debug("gossip receive buffer", "err", err)
	}
	n := &network{
		addr: unmapped(bound), udp: udp, tcp: tcp, blocked: blocked, log: log, stats: stats,
		packets: make(chan *memberlist.Packet, 256), incoming: make(chan net.Conn),
		streams: map[net.Conn]struct{}{},
	}
	n.ctx, n.close = context.WithCancel(context.Background())
	n.wg.Add(2)
	go n.readPackets()
	go n.accept()
	return n, nil
}

func (n *network) readPackets() {
	defer n.wg.Done()
	buf := make([]byte, maxUDP)
	for {
		size, from, err := n.udp.ReadFromUDPAddrPort(buf)
		at := time.Now()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil: // of an earlier packet that nobody took, or of the socket, where it comes again at once
			n.log.Warn("gossip packet not read", "err", err)
			if !n.pause() {
				return
			}
			continue
		case size == 0 || n.blocked.Load().hasAddr(from):
			continue
		}
		n.stats.received.Add(uint64(size))
		p := &memberlist.Packet{Buf: append([]byte(nil), buf[:size]...), From: net.UDPAddrFromAddrPort(from), Timestamp: at}
		select {
		case n.packets <- p:
		case <-n.ctx.Done():
			return
		}
	}
}

func (n *network) accept() {
	defer n.wg.Done()
	for {
		conn, err := n.tcp.AcceptTCP()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // no file descriptors: they come back
			n.log.Warn("gossip stream not accepted", "err", err)
			if !n.pause() {
				return
			}
			continue
		}
		from := conn.RemoteAddr().(*net.TCPAddr).AddrPort()
		s, ok := n.track(conn)
		if !ok || n.blocked.Load().hasAddr(from) {
			s.Close()
			continue
		}
		select {
		case n.incoming <- s:
		case <-n.ctx.Done():
			s.Close()
			return
		}
	}
}

// pause lets a moment pass after an error, so that one that stays costs nothing. It is false when the network ends.
func (n *network) pause() bool {
	select {
	case <-time.After(errorPause):
		return true
	case <-n.ctx.Done():
		return false
	}
}

// stream is a connection that the network knows of until it is closed.
type stream struct {
	net.Conn
	n    *network
	once sync.Once
}

// track has a connection closed at the end; ok is false where there are too many or the end has come.
func (n *network) track(conn net.Conn) (s *stream, ok bool) {
	s = &stream{Conn: conn, n: n}
	n.mu.Lock()
	defer n.mu.Unlock()
	select {
	case <-n.ctx.Done():
		return s, false
	default:
	}
	if len(n.streams) >= maxStreams {
		return s, false
	}
	n.streams[conn] = struct{}{}
	n.wg.Add(1)
	return s, true
}

func (s *stream) Close() error {
	s.once.Do(func() {
		s.n.mu.Lock()
		if _, tracked := s.n.streams[s.Conn]; tracked {
			delete(s.n.streams, s.Conn)
			s.n.wg.Done()
		}
		s.n.mu.Unlock()
	})
	return s.Conn.Close()
}

func (s *stream) Read(b []byte) (int, error) {
	n, err := s.Conn.Read(b)
	s.n.stats.received.Add(uint64(n))
	return n, err
}

func (s *stream) Write(b []byte) (int, error) {
	n, err := s.Conn.Write(b)
	s.n.stats.sent.Add(uint64(n))
	return n, err
}

// FinalAdvertiseAddr is memberlist's question for the address to tell others.
func (n *network) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return n.addr.Addr().AsSlice(), int(n.addr.Port()), nil
}

// WriteTo sends a datagram.
func (n *network) WriteTo(b []byte, addr string) (time.Time, error) {
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return time.Time{}, err
	}
	if n.blocked.Load().hasAddr(to) {
		return time.Now(), nil
	}
	_, err = n.udp.WriteToUDPAddrPort(b, to)
	n.stats.sent.Add(uint64(len(b)))
	return time.Now(), err
}

// PacketCh is where datagrams arrive.
func (n *network) PacketCh() <-chan *memberlist.Packet { return n.packets }

// DialTimeout opens a stream.
func (n *network) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, err
	}
	if n.blocked.Load().hasAddr(to) {
		return nil, errBlocked
	}
	d := net.Dialer{Timeout: timeout}
	if !n.addr.Addr().IsUnspecified() {
		d.LocalAddr = &net.TCPAddr{IP: n.addr.Addr().AsSlice()}
	}
	conn, err := d.DialContext(n.ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	s, ok := n.track(conn)
	if !ok {
		conn.Close()
		return nil, errors.New("too many gossip streams are open")
	}
	return s, nil
}

// StreamCh is where streams arrive.
func (n *network) StreamCh() <-chan net.Conn { return n.incoming }

// Shutdown closes everything and waits for what reads it.
func (n *network) Shutdown() error {
	n.once.Do(func() {
		n.close()
		n.udp.Close()
		n.tcp.Close()
		n.mu.Lock()
		for conn := range n.streams {
			conn.Close()
		}
		n.mu.Unlock()
	})
	n.wg.Wait()
	return nil
}
