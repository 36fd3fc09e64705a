package dnsserver

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/scloudstack/pharos/zones"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func mustZone(t testing.TB, origin, text string) *zones.Zone {
	t.Helper()
	z, _, err := zones.Parse(origin, strings.NewReader(text), origin+"zone", zones.Options{})
	if err != nil {
		t.Fatalf("zone %s: %v", origin, err)
	}
	return z
}

// serve runs a server until the test ends.
func serve(t testing.TB, cfg Config, d Data) *Server {
	t.Helper()
	s, err := New(cfg, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	s.Set(d)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	select {
	case <-s.Ready():
	case err := <-done:
		done <- nil
		t.Fatal(err)
	case <-time.After(5 * time.Second):
		t.Fatal("not ready")
	}
	return s
}

var loopback = []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0"), netip.MustParseAddrPort("[::1]:0")}

const smallZone = `
$TTL 300
@ SOA ns1 hostmaster 1 3600 600 86400 60
@ NS ns1
ns1 A 192.0.2.1
www A 192.0.2.80
`

func TestServeUDPAndTCP(t *testing.T) {
	z := mustZone(t, "shop.example.", smallZone)
	s := serve(t, Config{Listen: loopback}, Data{Zones: []*zones.Zone{z}})
	for _, at := range s.Addrs() {
		for _, network := range []string{"udp", "tcp"} {
			m := new(dns.Msg).SetQuestion("WWW.shop.example.", dns.TypeA)
			c := dns.Client{Net: network, Timeout: 5 * time.Second}
			r, _, err := c.Exchange(m, at.String())
			if err != nil {
				t.Fatalf("%s %v: %v", network, at, err)
			}
			if r.Rcode != dns.RcodeSuccess || !r.Authoritative || len(r.Answer) != 1 || r.Question[0].Name != "WWW.shop.example." {
				t.Errorf("%s %v: %v", network, at, r)
			}
		}
	}
}

func packed(t testing.TB, name string, qtype uint16) []byte {
	t.Helper()
	b, err := new(dns.Msg).SetQuestion(name, qtype).Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func smallData(t testing.TB) Data {
	return Data{Zones: []*zones.Zone{mustZone(t, "shop.example.", smallZone)}}
}

// TestRepliesLeaveFromTheAddressAsked: the client's sockets are connected, so
// an answer from another address would not reach them.
func TestRepliesLeaveFromTheAddressAsked(t *testing.T) {
	all := []netip.AddrPort{netip.MustParseAddrPort("0.0.0.0:0"), netip.MustParseAddrPort("[::]:0")}
	s := serve(t, Config{Listen: all}, smallData(t))
	for i, addrs := range [][]string{{"127.0.0.1", "127.7.7.7", "127.0.0.53"}, {"::1"}} {
		for _, a := range addrs {
			at := netip.AddrPortFrom(netip.MustParseAddr(a), s.Addrs()[i].Port()).String()
			for _, network := range []string{"udp", "tcp"} {
				c := dns.Client{Net: network, Timeout: 5 * time.Second}
				r, _, err := c.Exchange(new(dns.Msg).SetQuestion("www.shop.example.", dns.TypeA), at)
				if err != nil || len(r.Answer) != 1 {
					t.Errorf("%s %s: %v %v", network, at, r, err)
				}
			}
		}
	}
}

// TestBatches sends more at once than one system call reads, with junk among.
func TestBatches(t *testing.T) {
	s := serve(t, Config{Listen: loopback[:1], Threads: 2}, smallData(t))
	c, err := net.Dial("udp", s.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	const burst = 150 // as much as the client's socket holds
	q := packed(t, "www.shop.example.", dns.TypeA)
	buf := make([]byte, 1500)
	seen := map[uint16]bool{}
	for len(seen) < 10*burst {
		for i := range burst {
			binary.BigEndian.PutUint16(q, uint16(len(seen)+i))
			if _, err := c.Write(q); err != nil {
				t.Fatal(err)
			}
			if i%7 == 0 {
				if _, err := c.Write(q[:5]); err != nil {
					t.Fatal(err)
				}
			}
		}
		for want := len(seen) + burst; len(seen) < want; {
			if _, err := c.Read(buf); err != nil {
				t.Fatalf("after %d answers: %v", len(seen), err)
			}
			if buf[3]&0xF != 0 || buf[7] != 1 {
				t.Fatalf("answer %x", buf[:12])
			}
			seen[binary.BigEndian.Uint16(buf)] = true
		}
	}
}

// exchange asks over UDP, or says why not.
func exchange(at netip.AddrPort) error {
	c := dns.Client{Timeout: 2 * time.Second}
	_, _, err := c.Exchange(new(dns.Msg).SetQuestion("www.shop.example.", dns.TypeA), at.String())
	return err
}

func TestReconfigure(t *testing.T) {
	s := serve(t, Config{Listen: loopback[:1], Threads: 1}, smallData(t))
	first := s.Addrs()[0]
	kept := dialTCP(t, s)

	// One more, by a port that is known to be free now.
	probe, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	taken := probe.Addr().(*net.TCPAddr).AddrPort()
	cfg := Config{Listen: []netip.AddrPort{loopback[0], loopback[1], taken}, Threads: 2}
	if err := s.Reconfigure(cfg); err == nil {
		t.Fatal("a change that can't be made was made")
	}
	if got := s.Addrs(); len(got) != 1 || got[0] != first {
		t.Fatalf("a refused change left %v", got)
	}
	if err := exchange(first); err != nil {
		t.Errorf("after a refused change: %v", err)
	}
	probe.Close()

	udpTaken, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(taken))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Reconfigure(cfg); err == nil {
		t.Fatal("took a UDP port that somebody has")
	}
	udpTaken.Close()

	cfg.NSID = "new"
	if err := s.Reconfigure(cfg); err != nil {
		t.Fatal(err)
	}
	addrs := s.Addrs()
	if len(addrs) != 3 || addrs[0] != first || addrs[2] != taken {
		t.Fatalf("listening on %v", addrs)
	}
	for _, a := range addrs {
		if err := exchange(a); err != nil {
			t.Errorf("%v: %v", a, err)
		}
	}
	if _, err := kept.Write(framed(packed(t, "www.shop.example.", dns.TypeA))); err != nil {
		t.Fatal(err)
	}
	if _, err := readFramed(kept); err != nil {
		t.Errorf("the connection of a listener that stayed: %v", err)
	}
	if s.view.Load().set.nsid != "new" {
		t.Error("settings did not change")
	}

	// From one address to all of them, on the same port.
	cfg.Listen = []netip.AddrPort{netip.AddrPortFrom(netip.IPv4Unspecified(), taken.Port())}
	if err := s.Reconfigure(cfg); err != nil {
		t.Fatal(err)
	}
	if err := exchange(netip.AddrPortFrom(netip.MustParseAddr("127.0.0.9"), taken.Port())); err != nil {
		t.Error(err)
	}
	if !closedByPeer(kept) {
		t.Error("the connection of a listener that went stayed open")
	}
	for _, bad := range []Config{{EDNSSize: 100}, {Threads: -1}, {Listen: []netip.AddrPort{{}}}, {Listen: []netip.AddrPort{taken, taken}}, {Version: strings.Repeat("v", 256)}} {
		if err := s.Reconfigure(bad); err == nil {
			t.Errorf("%+v was taken", bad)
		}
	}
}

// TestSetUnderLoad changes data and settings while questions come in.
func TestSetUnderLoad(t *testing.T) {
	d := manySteered(t, 10)
	s := serve(t, Config{Listen: loopback[:1], Threads: 2}, d)
	stop := make(chan struct{})
	var asking sync.WaitGroup
	for range 4 {
		asking.Go(func() {
			c := dns.Client{Timeout: 5 * time.Second}
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				r, _, err := c.Exchange(new(dns.Msg).SetQuestion(fmt.Sprintf("s%d.shop.example.", i%10), dns.TypeA), s.Addrs()[0].String())
				if err != nil || r.Rcode != dns.RcodeSuccess || len(r.Answer) == 0 {
					t.Errorf("%v %v", r, err)
					return
				}
			}
		})
	}
	for i := range 200 {
		d = changed(d, fmt.Sprintf("s%d.shop.example.", i%10), fmt.Sprintf("192.0.2.%d", i))
		s.Set(d)
		if i%50 == 0 {
			if err := s.Reconfigure(Config{Listen: loopback[:1], Threads: 1 + i/50%2, NSID: fmt.Sprint(i)}); err != nil {
				t.Error(err)
			}
		}
	}
	close(stop)
	asking.Wait()
}

// TestThreadsChangeWithoutLoss: packets on their way to a socket that closes
// are answered, and later ones go to those that stay.
func TestThreadsChangeWithoutLoss(t *testing.T) {
	for _, listen := range [][]netip.AddrPort{loopback[:1], loopback[1:], {netip.MustParseAddrPort("0.0.0.0:0")}} {
		s := serve(t, Config{Listen: listen, Threads: 3}, smallData(t))
		to := s.Addrs()[0]
		if to.Addr().IsUnspecified() {
			to = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), to.Port())
		}
		stop := make(chan struct{})
		var asking sync.WaitGroup
		for range 3 {
			asking.Go(func() {
				q := packed(t, "www.shop.example.", dns.TypeA)
				buf := make([]byte, 1500)
				for {
					select {
					case <-stop:
						return
					default:
					}
					// A new port each time, so that all sockets get some.
					c, err := net.Dial("udp", to.String())
					if err != nil {
						t.Error(err)
						return
					}
					_ = c.SetDeadline(time.Now().Add(5 * time.Second))
					_, err = c.Write(q)
					if err == nil {
						_, err = c.Read(buf)
					}
					c.Close()
					if err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		for i := range 40 {
			if err := s.Reconfigure(Config{Listen: listen, Threads: 1 + i%3}); err != nil {
				t.Error(err)
			}
		}
		close(stop)
		asking.Wait()
	}
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	s, err := New(Config{}, slog.New(slog.DiscardHandler), reg)
	if err != nil {
		t.Fatal(err)
	}
	d := rulesData(t)
	d.Revision.Made = time.Now().Add(-time.Minute)
	s.Set(d)
	r := responder{counters: &s.counters.lanes[0], via: udp}
	put := func(name string, qtype uint16, edit func([]byte)) {
		buf := make([]byte, bufSize)
		q := packed(t, name, qtype)
		n := copy(buf, q)
		if edit != nil {
			edit(buf)
		}
		var from sockaddr
		from.setAddr(netip.MustParseAddr("192.0.2.1"))
		r.respond(s.view.Load(), buf, n, &from)
	}
	put("www.shop.example.", dns.TypeA, nil)
	put("www.shop.example.", dns.TypeA, nil)
	put("absent.shop.example.", dns.TypeMX, nil)
	put("x.old.shop.example.", dns.TypeA, nil) // DNAME: slow
	put("steered.shop.example.", dns.TypeA, nil)
	put("www.shop.example.", dns.TypeA, func(b []byte) { b[2] |= flagQR })
	r.flush()
	r.counters.observe(3*time.Microsecond, 2)

	got := map[string]float64{}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.Metric {
			key := f.GetName()
			for _, l := range m.Label {
				key += " " + l.GetValue()
			}
			switch {
			case m.Counter != nil:
				got[key] = m.Counter.GetValue()
			case m.Gauge != nil:
				got[key] = m.Gauge.GetValue()
			case m.Histogram != nil:
				got[key] = float64(m.Histogram.GetSampleCount())
			}
		}
	}
	for key, want := range map[string]float64{
		"pharos_dns_queries_total NOERROR udp A":   4, // labels come in alphabetical order
		"pharos_dns_queries_total NXDOMAIN udp MX": 1,
		"pharos_dns_path_total fast":               4,
		"pharos_dns_path_total slow":               1,
		"pharos_dns_drops_total response":          1,
		"pharos_dns_service_answers_total s a":     1,
		"pharos_dns_revision":                      3,
		"pharos_dns_zones served":                  3,
		"pharos_dns_zones failed":                  1,
		"pharos_dns_tcp_connections":               0,
		"pharos_dns_answer_seconds":                2,
	} {
		if v, ok := got[key]; !ok || v != want {
			t.Errorf("%s = %v (%v), want %v", key, v, ok, want)
		}
	}
	if age := got["pharos_dns_revision_age_seconds"]; age < 59 || age > 120 {
		t.Errorf("revision age %v s, want a minute", age)
	}
}

func TestRunRefusesTakenPort(t *testing.T) {
	first := serve(t, Config{Listen: loopback[:1]}, Data{})
	s, err := New(Config{Listen: first.Addrs()}, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Run(t.Context()); err == nil {
		t.Error("two servers share a port")
	}
}
