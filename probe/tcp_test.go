package probe

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/scloudstack/pharos/policy"
)

func tcpTarget(port uint16, c TCP) Target {
	c.Port = port
	return Target{Check: Check{TCP: &c}, Interval: 200 * time.Millisecond, Timeout: 6 * time.Second}
}

func hold(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

func TestTCP(t *testing.T) {
	hello := func(c net.Conn) {
		_, _ = c.Write([]byte("220 mail.example"))
		line, _ := bufio.NewReader(c).ReadString('\n')
		if line == "PING\r\n" {
			_, _ = c.Write([]byte("+PO"))
			_, _ = c.Write([]byte("NG\r\n"))
		}
		hold(c)
	}
	for _, tc := range []struct {
		name   string
		port   func(t *testing.T) uint16
		check  TCP
		expect expectation
	}{
		{
			name: "connects", port: func(t *testing.T) uint16 { return listen(t, "tcp4", "127.0.0.1:0", hold) },
			expect: expectation{policy.Success, `connected to 127\.0\.0\.1:\d+ after [\d.]+ (µs|ms)`},
		},
		{name: "refused", port: closedPort, expect: expectation{policy.Refused, `connection refused by 127\.0\.0\.1:\d+ after .*`}},
		{name: "black hole", port: blackHole, expect: expectation{policy.Timeout, `no answer from 127\.0\.0\.1:\d+ within 300 ms \(3 attempts\)`}},
		{
			name: "expected banner", port: func(t *testing.T) uint16 { return listen(t, "tcp4", "127.0.0.1:0", hello) },
			check: TCP{Expect: "^220 "}, expect: expectation{policy.Success, `expected answer from .*`},
		},
		{
			name: "send and expect in pieces", port: func(t *testing.T) uint16 { return listen(t, "tcp4", "127.0.0.1:0", hello) },
			check: TCP{Send: "PING\r\n", Expect: `\+PONG`}, expect: expectation{policy.Success, `expected answer from .*`},
		},
		{
			name: "another banner", port: func(t *testing.T) uint16 { return listen(t, "tcp4", "127.0.0.1:0", hello) },
			check: TCP{Expect: "^SSH"}, expect: expectation{policy.Timeout, `no answer from .* within 300 ms \(3 attempts\): got "220 mail.example"`},
		},
		{
			name: "accepts and says nothing", port: func(t *testing.T) uint16 { return listen(t, "tcp4", "127.0.0.1:0", hold) },
			check: TCP{Expect: "220"}, expect: expectation{policy.Timeout, `no answer from .* within 300 ms \(3 attempts\)`},
		},
		{
			name: "another banner, then the end", port: func(t *testing.T) uint16 {
				return listen(t, "tcp4", "127.0.0.1:0", func(c net.Conn) { _, _ = c.Write([]byte("550 go away")) })
			},
			check: TCP{Expect: "^220"}, expect: expectation{policy.Refused, `connection closed by .* after .*: got "550 go away"`},
		},
		{
			name: "reset", port: func(t *testing.T) uint16 { return listen(t, "tcp4", "127.0.0.1:0", reset) },
			check: TCP{Expect: "220"}, expect: expectation{policy.Refused, `connection reset by .* after .*`},
		},
		{
			name: "endless noise", port: func(t *testing.T) uint16 {
				return listen(t, "tcp4", "127.0.0.1:0", func(c net.Conn) {
					noise := make([]byte, 4096)
					for {
						if _, err := c.Write(noise); err != nil {
							return
						}
					}
				})
			},
			check: TCP{Expect: "220"}, expect: expectation{policy.Refused, `unexpected answer from .*: got "\\x00.*\.\.\.`},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.expect.check(t, once(t, tc.expect.in(tcpTarget(tc.port(t), tc.check))))
		})
	}
}

func TestTCPOverIPv6(t *testing.T) {
	if !inNetns(t) {
		return
	}
	port := listen(t, "tcp6", "[::1]:0", hold)
	target := tcpTarget(port, TCP{})
	target.Address = netip.IPv6Loopback()
	expectation{policy.Success, `connected to \[::1\]:\d+ after .*`}.check(t, once(t, target))
}

// No route is the network's word, not the target's.
func TestTCPWithoutRoute(t *testing.T) {
	if !inNetns(t) {
		return
	}
	check := func(address, reason string) {
		t.Helper()
		target := tcpTarget(80, TCP{})
		target.Address = netip.MustParseAddr(address)
		target.Timeout = 300 * time.Millisecond
		expectation{policy.Timeout, `no answer from .*:80 within \d+ ms \(3 attempts\): ` + reason}.check(t, once(t, target))
	}
	check("192.0.2.1", "network is unreachable")
	// The kernel may look for a source address before a route, and say the same
	// as where no port is left.
	if err := os.WriteFile("/proc/sys/net/ipv6/conf/lo/disable_ipv6", []byte("1"), 0); err != nil {
		t.Fatal(err)
	}
	check("2001:db8::1", "(network is unreachable|cannot assign requested address)")
}

func TestTCPWithTLS(t *testing.T) {
	ca, dir := newTestCA(t), t.TempDir()
	files := ca.write(t, dir, "lb.example")
	secure := serveTLS(t, files, &tls.Config{})
	plain := listen(t, "tcp4", "127.0.0.1:0", func(c net.Conn) { _, _ = c.Write([]byte("SSH-2.0-OpenSSH\r\n")); hold(c) })
	for _, tc := range []struct {
		name   string
		port   uint16
		tls    TLS
		expect expectation
	}{
		{"good", secure, TLS{CAFile: files.ca, ServerName: "lb.example"}, expectation{policy.Success, "connected to .*"}},
		{"unknown CA", secure, TLS{ServerName: "lb.example"}, expectation{policy.Refused, "TLS fails with .*: certificate signed by unknown authority"}},
		{"another name", secure, TLS{CAFile: files.ca, ServerName: "other.example"}, expectation{policy.Refused, "TLS fails with .*: certificate is valid for lb.example, not other.example"}},
		{"no name, so the address", secure, TLS{CAFile: files.ca}, expectation{policy.Refused, "TLS fails with .*: cannot validate certificate for 127.0.0.1 .*"}},
		{"not looked at", secure, TLS{SkipVerify: true}, expectation{policy.Success, "connected to .*"}},
		{"no TLS there", plain, TLS{SkipVerify: true}, expectation{policy.Refused, "TLS fails with .*: no TLS spoken"}},
		{"handshake unanswered", listen(t, "tcp4", "127.0.0.1:0", hold), TLS{SkipVerify: true}, expectation{policy.Timeout, `no answer from .* within 300 ms \(3 attempts\)`}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.expect.check(t, once(t, tc.expect.in(tcpTarget(tc.port, TCP{TLS: &tc.tls}))))
		})
	}
}

// serveTLS makes TLS connections and keeps them open.
func serveTLS(t *testing.T, files certFiles, config *tls.Config) uint16 {
	cert, err := tls.LoadX509KeyPair(files.cert, files.key)
	if err != nil {
		t.Fatal(err)
	}
	config.Certificates = []tls.Certificate{cert}
	return listen(t, "tcp4", "127.0.0.1:0", func(c net.Conn) { hold(tls.Server(c, config)) })
}

// A check leaves no port in TIME_WAIT, whose number is limited: its connection
// ends with a reset.
func TestTCPEndsWithReset(t *testing.T) {
	var resets atomic.Int32
	port := listen(t, "tcp4", "127.0.0.1:0", func(c net.Conn) {
		if _, err := c.Read(make([]byte, 1)); err != nil && err != io.EOF {
			resets.Add(1)
		}
	})
	several(t, tcpTarget(port, TCP{}), 3)
	if resets.Load() < 2 {
		t.Errorf("%d of at least 2 connections ended with a reset", resets.Load())
	}
}
