package probe

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

const (
	minPayload = 24 // cookie and token
	maxPayload = 1400
	stdPayload = 32

	echoHeader = 8
)

// icmpChecker sends echo requests through the socket that all targets of its
// family share.
type icmpChecker struct {
	pings *pings
	addr  netip.Addr
	size  int
}

func newICMPChecker(t Target, p *pings) *icmpChecker {
	c := &icmpChecker{p, t.Address, t.Check.ICMP.Size}
	if c.size == 0 {
		c.size = stdPayload
	}
	return c
}

func (c *icmpChecker) peer() string { return c.addr.String() }
func (c *icmpChecker) close()       {}

func (c *icmpChecker) attempt(ctx context.Context, _ int) result {
	s, err := c.pings.socket(c.addr.Is6())
	if err != nil {
		f := faultOf(err)
		if errors.Is(err, os.ErrPermission) {
			f = faultRights
		}
		return unasked(f, err.Error())
	}
	e := s.expect(c.addr, c.size)
	defer s.forget(e)
	if err := s.send(e); err != nil {
		return judge(err, c.addr.String())
	}
	select {
	case <-e.replied:
		return success("echo reply from " + c.addr.String())
	case <-ctx.Done():
		return noAnswer("")
	}
}

// pings owns the ICMP sockets, one a family, opened when first needed.
type pings struct {
	wg *sync.WaitGroup

	mu     sync.Mutex
	v4, v6 *pingSocket
	closed bool
}

// socket returns the socket of a family. A failure is tried again by the next
// attempt: rights may come later.
func (p *pings) socket(six bool) (*pingSocket, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.v4
	if six {
		s = p.v6
	}
	switch {
	case s != nil:
		return s, nil
	case p.closed:
		return nil, net.ErrClosed
	}
	opened, err := openPing(six)
	if err != nil {
		return nil, err
	}
	p.adopt(opened)
	return opened, nil
}

// adopt makes s the socket of its family.
func (p *pings) adopt(s *pingSocket) {
	if s.six {
		p.v6 = s
	} else {
		p.v4 = s
	}
	p.wg.Go(s.receive)
}

// close ends the receiving goroutines.
func (p *pings) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, s := range []*pingSocket{p.v4, p.v6} {
		if s != nil {
			_ = s.conn.Close()
		}
	}
}

// pingSocket sends echo requests and gives each reply to whoever expects it.
type pingSocket struct {
	conn   *icmp.PacketConn
	six    bool
	raw    bool   // else a ping socket, whose identifier is the kernel's business
	id     uint16 // of a raw socket's requests
	cookie [16]byte

	mu       sync.Mutex
	token    uint64 // of the last request; its low bits are the sequence number
	expected map[uint64]*echo
}

// echo is one request that a reply is expected to.
type echo struct {
	addr    netip.Addr
	message []byte // as sent; of a reply only type, checksum and a ping socket's id differ
	token   uint64
	replied chan struct{}
}

// openPing opens a raw socket, or a ping socket where that is not allowed.
func openPing(six bool) (*pingSocket, error) {
	s, err := listenPing(six, true)
	if errors.Is(err, os.ErrPermission) {
		s, err = listenPing(six, false)
	}
	return s, err
}

func listenPing(six, raw bool) (*pingSocket, error) {
	s := &pingSocket{six: six, raw: raw, expected: map[uint64]*echo{}}
	_, _ = rand.Read(s.cookie[:]) // never fails
	s.id = binary.BigEndian.Uint16(s.cookie[:])
	network := map[[2]bool]string{{false, true}: "ip4:icmp", {true, true}: "ip6:ipv6-icmp", {false, false}: "udp4", {true, false}: "udp6"}[[2]bool{six, raw}]
	unspecified := "0.0.0.0"
	if six {
		unspecified = "::"
	}
	var err error
	if s.conn, err = icmp.ListenPacket(network, unspecified); err != nil {
		return nil, err
	}
	if raw {
		err = s.filter()
	}
	if err != nil {
		_ = s.conn.Close()
		return nil, err
	}
	return s, nil
}

// filter lets only echo replies through: a raw socket gets all ICMP of the host.
func (s *pingSocket) filter() error {
	if s.six {
		var f ipv6.ICMPFilter
		f.SetAll(true)
		f.Accept(ipv6.ICMPTypeEchoReply)
		return s.conn.IPv6PacketConn().SetICMPFilter(&f)
	}
	var f ipv4.ICMPFilter
	f.SetAll(true)
	f.Accept(ipv4.ICMPTypeEchoReply)
	return s.conn.IPv4PacketConn().SetICMPFilter(&f)
}

// expect prepares a request to addr and awaits its reply.
func (s *pingSocket) expect(addr netip.Addr, size int) *echo {
	e := &echo{addr: addr, message: make([]byte, echoHeader+size), replied: make(chan struct{})}
	s.mu.Lock()
	s.token++
	e.token = s.token
	s.expected[e.token] = e
	s.mu.Unlock()

	m := e.message
	m[0] = byte(ipv4.ICMPTypeEcho)
	if s.six {
		m[0] = byte(ipv6.ICMPTypeEchoRequest)
	}
	binary.BigEndian.PutUint16(m[4:], s.id)
	binary.BigEndian.PutUint16(m[6:], uint16(e.token))
	copy(m[echoHeader:], s.cookie[:])
	binary.BigEndian.PutUint64(m[echoHeader+len(s.cookie):], e.token)
	for i := echoHeader + minPayload; i < len(m); i++ {
		m[i] = byte(i)
	}
	if !s.six { // the kernel fills in that of ICMPv6, which covers the addresses
		binary.BigEndian.PutUint16(m[2:], checksum(m))
	}
	return e
}

func (s *pingSocket) forget(e *echo) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.expected, e.token)
}

func (s *pingSocket) send(e *echo) error {
	var to net.Addr = &net.IPAddr{IP: e.addr.AsSlice(), Zone: e.addr.Zone()}
	if !s.raw {
		to = &net.UDPAddr{IP: e.addr.AsSlice(), Zone: e.addr.Zone()}
	}
	_, err := s.conn.WriteTo(e.message, to)
	return err
}

// receive hands out replies until the socket is closed.
func (s *pingSocket) receive() {
	buf := make([]byte, echoHeader+maxPayload+1)
	for {
		n, from, err := s.conn.ReadFrom(buf)
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			continue // an ICMP error that the kernel passes on to the socket
		}
		s.take(buf[:n], source(from))
	}
}

func source(a net.Addr) netip.Addr {
	var ip net.IP
	switch a := a.(type) {
	case *net.IPAddr:
		ip = a.IP
	case *net.UDPAddr:
		ip = a.IP
	}
	addr, _ := netip.AddrFromSlice(ip)
	return addr.Unmap()
}

// take gives a reply to the request that it answers, in every octet.
func (s *pingSocket) take(m []byte, from netip.Addr) {
	token, err := s.parse(m)
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.expected[token]
	if e == nil || from.WithZone("") != e.addr.WithZone("") || !bytes.Equal(m[6:], e.message[6:]) {
		return
	}
	delete(s.expected, token)
	close(e.replied)
}

var errNotOurs = errors.New("no reply to this socket")

// parse returns the token in an echo reply to one of the socket's requests.
func (s *pingSocket) parse(m []byte) (uint64, error) {
	want := byte(ipv4.ICMPTypeEchoReply)
	if s.six {
		want = byte(ipv6.ICMPTypeEchoReply)
	}
	switch {
	case len(m) < echoHeader+minPayload:
		return 0, fmt.Errorf("%w: %d octets", errNotOurs, len(m))
	case m[0] != want || m[1] != 0:
		return 0, fmt.Errorf("%w: type %d", errNotOurs, m[0])
	case s.raw && binary.BigEndian.Uint16(m[4:]) != s.id:
		return 0, fmt.Errorf("%w: identifier", errNotOurs)
	case !bytes.Equal(m[echoHeader:echoHeader+len(s.cookie)], s.cookie[:]):
		return 0, fmt.Errorf("%w: payload", errNotOurs)
	}
	return binary.BigEndian.Uint64(m[echoHeader+len(s.cookie):]), nil
}

// checksum is that of RFC 1071.
func checksum(m []byte) uint16 {
	var sum uint32
	for ; len(m) > 1; m = m[2:] {
		sum += uint32(binary.BigEndian.Uint16(m))
	}
	if len(m) == 1 {
		sum += uint32(m[0]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
