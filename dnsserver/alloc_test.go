package dnsserver

import (
	"fmt"
	"math"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"
)

// TestNoAllocationsOnTheWire counts what the process allocates while questions
// are received, answered and sent by a running server: one at a time, and so many
// that they are received in batches. Some of its goroutines may have other work
// now and then, so that it is the best of several rounds that has to be zero: one
// allocation a question, a batch or a sampled batch would show in each.
func TestNoAllocationsOnTheWire(t *testing.T) {
	listen := []netip.AddrPort{
		netip.MustParseAddrPort("127.0.0.1:0"), netip.MustParseAddrPort("[::1]:0"),
		netip.MustParseAddrPort("0.0.0.0:0"), netip.MustParseAddrPort("[::]:0"),
	}
	s := serve(t, Config{Listen: listen, Threads: 1}, benchData(t))
	for i, at := range s.Addrs() {
		c := dialRaw(t, at)
		for _, burst := range []int{1, batch / 2} {
			t.Run(fmt.Sprintf("%v, %d at a time", listen[i], burst), func(t *testing.T) {
				for _, q := range benchQuestions {
					p := prepare(t, q.qname, q.qtype)
					if n := c.leastAllocations(t, p.ask, perRound/burst, burst, 0); n != 0 {
						t.Errorf("%s: %d allocations in %d questions", q.name, n, perRound)
					}
				}
			})
		}
	}
	t.Run("with pauses, in which the thread gives its P back", func(t *testing.T) {
		const questions = 50
		p := prepare(t, "www.shop.example.", dns.TypeA)
		if n := dialRaw(t, s.Addrs()[0]).leastAllocations(t, p.ask, questions, 1, 10*recvWait); n != 0 {
			t.Errorf("%d allocations in %d questions", n, questions)
		}
	})
	for i := range s.counters.lanes {
		if n := s.counters.lanes[i].slow.Load(); n != 0 {
			t.Errorf("%d questions took the slow path", n)
		}
	}
}

const perRound = 64 * sampleEvery // questions: a batch of each round is timed, however full they are

// rawClient is a connected UDP socket that is used without allocating.
type rawClient struct {
	fd  int
	buf [maxUDPSize]byte
}

func dialRaw(t *testing.T, at netip.AddrPort) *rawClient {
	t.Helper()
	if at.Addr().IsUnspecified() {
		host := netip.MustParseAddr("127.0.0.1")
		if at.Addr().Is6() {
			host = netip.IPv6Loopback()
		}
		at = netip.AddrPortFrom(host, at.Port())
	}
	family := unix.AF_INET
	if at.Addr().Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	tv := unix.NsecToTimeval(int64(30 * time.Second))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
		t.Fatal(err)
	}
	to, err := bindAddress(at)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Connect(fd, to); err != nil {
		t.Fatal(err)
	}
	return &rawClient{fd: fd}
}

// exchange sends a question n times and reads as many answers.
func (c *rawClient) exchange(ask []byte, n int) error {
	for range n {
		if _, err := unix.Write(c.fd, ask); err != nil {
			return err
		}
	}
	for range n {
		for {
			if _, err := unix.Read(c.fd, c.buf[:]); err == nil {
				break
			} else if err != unix.EINTR {
				return err
			}
		}
	}
	return nil
}

// leastAllocations is the least number of objects that the process allocated in a
// round of so many bursts of the question, with a pause after each.
func (c *rawClient) leastAllocations(t *testing.T, ask []byte, bursts, burst int, pause time.Duration) uint64 {
	t.Helper()
	least := uint64(math.MaxUint64)
	var before, after runtime.MemStats
	for range 10 {
		runtime.ReadMemStats(&before)
		for range bursts {
			if err := c.exchange(ask, burst); err != nil {
				t.Fatal(err)
			}
			time.Sleep(pause)
		}
		runtime.ReadMemStats(&after)
		if least = min(least, after.Mallocs-before.Mallocs); least == 0 {
			break
		}
	}
	return least
}
