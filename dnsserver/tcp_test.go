package dnsserver

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
)

func dialTCP(t testing.TB, s *Server) net.Conn {
	t.Helper()
	c, err := net.DialTimeout("tcp", s.Addrs()[0].String(), 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

func framed(b []byte) []byte { return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...) }

func readFramed(c net.Conn) ([]byte, error) {
	var l [2]byte
	if _, err := io.ReadFull(c, l[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint16(l[:]))
	_, err := io.ReadFull(c, b)
	return b, err
}

func TestTCPPipelining(t *testing.T) {
	s := serve(t, Config{Listen: loopback[:1]}, smallData(t))
	c := dialTCP(t, s)
	const n = 3000
	var all []byte
	for i := range n {
		q := packed(t, "www.shop.example.", dns.TypeA)
		binary.BigEndian.PutUint16(q, uint16(i))
		all = append(all, framed(q)...)
	}
	go func() {
		// In pieces that cut through questions.
		for len(all) > 0 {
			k := min(777, len(all))
			if _, err := c.Write(all[:k]); err != nil {
				return
			}
			all = all[k:]
		}
	}()
	for i := range n {
		b, err := readFramed(c)
		if err != nil {
			t.Fatalf("answer %d: %v", i, err)
		}
		if got := binary.BigEndian.Uint16(b); got != uint16(i) || b[7] != 1 {
			t.Fatalf("answer %d: %x", i, b)
		}
	}
}

func closedByPeer(c net.Conn) bool {
	_, err := c.Read(make([]byte, 1))
	return err != nil && !errors.Is(err, os.ErrDeadlineExceeded)
}

func TestTCPIdle(t *testing.T) {
	s := serve(t, Config{Listen: loopback[:1], TCP: TCPConfig{Idle: 50 * time.Millisecond}}, smallData(t))
	c := dialTCP(t, s)
	if !closedByPeer(c) {
		t.Error("an idle connection stayed open")
	}
	// An octet now and then does not keep one.
	c = dialTCP(t, s)
	stop := time.Now().Add(5 * time.Second)
	q := framed(packed(t, strings.Repeat("a.", 100)+"shop.example.", dns.TypeA))
	for _, b := range q {
		if _, err := c.Write([]byte{b}); err != nil {
			return
		}
		if err := c.SetReadDeadline(time.Now().Add(10 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if closedByPeer(c) {
			return
		}
		if time.Now().After(stop) {
			break
		}
	}
	t.Error("a connection that dribbles stayed open")
}

// TestTCPSlowReader: who asks and does not read is cut off.
func TestTCPSlowReader(t *testing.T) {
	s := serve(t, Config{Listen: loopback[:1], TCP: TCPConfig{Idle: 100 * time.Millisecond}}, rulesData(t))
	c := dialTCP(t, s)
	q := framed(packed(t, "big.shop.example.", dns.TypeTXT))
	for range 1 << 20 {
		if _, err := c.Write(q); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatal("not cut off")
			}
			return
		}
	}
	t.Error("took everything")
}

func TestTCPGarbage(t *testing.T) {
	s := serve(t, Config{Listen: loopback[:1]}, smallData(t))
	c := dialTCP(t, s)
	if _, err := c.Write([]byte{0, 3, 1, 2, 3}); err != nil {
		t.Fatal(err)
	}
	if !closedByPeer(c) {
		t.Error("stayed open")
	}
	// What was asked before it is answered.
	c = dialTCP(t, s)
	if _, err := c.Write(append(framed(packed(t, "www.shop.example.", dns.TypeA)), 0, 3, 1, 2, 3)); err != nil {
		t.Fatal(err)
	}
	if b, err := readFramed(c); err != nil || b[7] != 1 {
		t.Errorf("%x %v", b, err)
	}
	if !closedByPeer(c) {
		t.Error("stayed open")
	}
	// A whole message that is malformed is answered.
	c = dialTCP(t, s)
	if _, err := c.Write(framed(make([]byte, 12))); err != nil {
		t.Fatal(err)
	}
	if b, err := readFramed(c); err != nil || b[3] != dns.RcodeFormatError {
		t.Errorf("%x %v", b, err)
	}
}

// busy says whether a connection is between its question and its answer.
func (t *tcpServer) busy() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for c := range t.conns {
		if c.idle.Load() == 0 {
			return true
		}
	}
	return false
}

func TestTCPLimits(t *testing.T) {
	s := serve(t, Config{Listen: loopback[:1], TCP: TCPConfig{MaxConns: 3, MaxPerSource: 2}}, smallData(t))
	from := func(ip string) net.Conn {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}, Timeout: 5 * time.Second}
		c, err := d.Dial("tcp", s.Addrs()[0].String())
		if errors.Is(err, syscall.ECONNRESET) {
			return nil
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		return c
	}
	works := func(c net.Conn) bool {
		if c == nil {
			return false // refused before the dialler knew
		}
		if _, err := c.Write(framed(packed(t, "www.shop.example.", dns.TypeA))); err != nil {
			return false
		}
		if _, err := readFramed(c); err != nil {
			return false
		}
		// The connection counts as idle a moment after its answer came.
		for s.tcp.busy() {
			runtime.Gosched()
		}
		return true
	}
	oldest, second := from("127.0.0.2"), from("127.0.0.2")
	if !works(oldest) || !works(second) {
		t.Fatal("two connections of one source do not work")
	}
	if works(from("127.0.0.2")) {
		t.Error("a third connection of one source works")
	}
	if !works(second) || !works(from("127.0.0.3")) {
		t.Error("connections of two sources do not work")
	}
	if !works(from("127.0.0.4")) {
		t.Error("a fourth connection in all takes no other's place")
	}
	if !closedByPeer(oldest) {
		t.Error("the longest idle one stayed open")
	}
	if !works(second) {
		t.Error("one that was busier was closed")
	}
	if n := s.tcp.count(); n > 3 {
		t.Errorf("%d connections", n)
	}
}
