package probe

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/scloudstack/pharos/policy"
)

func icmpTarget(address string, size int) Target {
	return Target{
		Address: netip.MustParseAddr(address), Check: Check{ICMP: &ICMP{Size: size}},
		Interval: 100 * time.Millisecond, Timeout: 6 * time.Second,
	}
}

func TestICMP(t *testing.T) {
	if !inNetns(t) {
		return
	}
	for _, tc := range []struct {
		address string
		size    int
		expect  expectation
	}{
		{"127.0.0.1", 0, expectation{policy.Success, `echo reply from 127\.0\.0\.1 after .*`}},
		{"127.0.0.9", 24, expectation{policy.Success, `echo reply from 127\.0\.0\.9 after .*`}},
		{"::1", 0, expectation{policy.Success, `echo reply from ::1 after .*`}},
		{"::1", 1400, expectation{policy.Success, `echo reply from ::1 after .*`}},
		{"192.0.2.1", 0, expectation{policy.Timeout, `no answer from 192\.0\.2\.1 within \d+ ms \(3 attempts\): network is unreachable`}},
		{"2001:db8::1", 0, expectation{policy.Timeout, `no answer from 2001:db8::1 within \d+ ms \(3 attempts\): (network is unreachable|cannot assign requested address)`}},
	} {
		t.Run(fmt.Sprintf("%s of %d", tc.address, tc.size), func(t *testing.T) {
			for _, o := range several(t, tc.expect.in(icmpTarget(tc.address, tc.size)), 3) {
				tc.expect.check(t, o)
			}
		})
	}
	t.Run("ping sockets", testPingSockets)
	t.Run("nobody answers", func(t *testing.T) {
		if err := os.WriteFile("/proc/sys/net/ipv4/icmp_echo_ignore_all", []byte("1"), 0); err != nil {
			t.Fatal(err)
		}
		e := expectation{policy.Timeout, `no answer from 127\.0\.0\.1 within 300 ms \(3 attempts\)`}
		e.check(t, once(t, e.in(icmpTarget("127.0.0.1", 0))))
	})
}

// Without the right to raw sockets, ping sockets do the same.
func testPingSockets(t *testing.T) {
	if err := os.WriteFile("/proc/sys/net/ipv4/ping_group_range", []byte("0 0"), 0); err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{"127.0.0.1", "::1"} {
		p := New(Config{}, nil, discard(), nil)
		addr := netip.MustParseAddr(address)
		s, err := listenPing(addr.Is6(), false)
		if err != nil {
			t.Fatal(err)
		}
		p.pings.adopt(s)
		c := &icmpChecker{p.pings, addr, stdPayload}
		if r := c.attempt(t.Context(), 1); r.outcome != policy.Success {
			t.Errorf("%s: %+v", address, r)
		}
		p.pings.close()
		p.wg.Wait()
	}
}

// All targets of a family share a socket.
func TestICMPSharesASocket(t *testing.T) {
	if !inNetns(t) {
		return
	}
	const n = 200
	seen := make(chan policy.Observation, n)
	p := New(Config{}, func(o policy.Observation) { seen <- o }, discard(), prometheus.NewRegistry())
	var targets []Target
	for i := range n {
		target := icmpTarget(fmt.Sprintf("127.1.0.%d", i+1), 0)
		target.Interval, target.Timeout = time.Minute, 10*time.Second
		target.ID = target.Hash(1, 1)
		targets = append(targets, target)
	}
	before := openFiles(t)
	p.Set(targets)
	stop := start(t, p)
	for range n {
		if o := <-seen; o.Outcome != policy.Success {
			t.Error(o.Reason)
		}
	}
	if more := openFiles(t) - before; more > 1 {
		t.Errorf("%d sockets for %d targets", more, n)
	}
	stop()
}

func openFiles(t *testing.T) int {
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(files)
}

// testSocket is a socket that only expects.
func testSocket(six, raw bool) *pingSocket {
	return &pingSocket{six: six, raw: raw, id: 0x1234, cookie: [16]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}, expected: map[uint64]*echo{}}
}

// reply is the echo reply to a request.
func reply(s *pingSocket, e *echo) []byte {
	m := bytes.Clone(e.message)
	m[0] = 0
	if s.six {
		m[0] = 129
	}
	return m
}

func TestOnlyTheReplyCounts(t *testing.T) {
	addr := netip.MustParseAddr("192.0.2.1")
	for _, tc := range []struct {
		name  string
		raw   bool
		spoil func(m []byte) []byte
		from  netip.Addr
		taken bool
	}{
		{"the reply", true, func(m []byte) []byte { return m }, addr, true},
		{"another address", true, func(m []byte) []byte { return m }, netip.MustParseAddr("192.0.2.2"), false},
		{"the request", true, func(m []byte) []byte { m[0] = 8; return m }, addr, false},
		{"a code", true, func(m []byte) []byte { m[1] = 1; return m }, addr, false},
		{"another id", true, func(m []byte) []byte { m[4]++; return m }, addr, false},
		{"another id on a ping socket", false, func(m []byte) []byte { m[4]++; return m }, addr, true},
		{"another sequence", true, func(m []byte) []byte { m[7]++; return m }, addr, false},
		{"another payload", true, func(m []byte) []byte { m[len(m)-1]++; return m }, addr, false},
		{"another token", true, func(m []byte) []byte { m[echoHeader+23]++; return m }, addr, false},
		{"cut", true, func(m []byte) []byte { return m[:len(m)-1] }, addr, false},
		{"too long", true, func(m []byte) []byte { return append(m, 0) }, addr, false},
		{"short", true, func(m []byte) []byte { return m[:7] }, addr, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := testSocket(false, tc.raw)
			e := s.expect(addr, stdPayload)
			s.take(tc.spoil(reply(s, e)), tc.from)
			select {
			case <-e.replied:
				if !tc.taken {
					t.Error("taken for the reply")
				}
			default:
				if tc.taken {
					t.Error("not taken for the reply")
				}
			}
		})
	}
}

func TestChecksum(t *testing.T) {
	// An echo request as ping(8) sends it; its checksum makes the sum zero.
	m := []byte{8, 0, 0, 0, 0x12, 0x34, 0, 1, 'a', 'b', 'c'}
	sum := checksum(m)
	m[2], m[3] = byte(sum>>8), byte(sum)
	if got := checksum(m); got != 0 {
		t.Errorf("checksum over a message with its checksum is %#x, expected 0", got)
	}
}
