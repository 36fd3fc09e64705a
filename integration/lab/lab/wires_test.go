package lab

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/scloudstack/pharos/integration/lab/host"
	"github.com/scloudstack/pharos/integration/lab/wan"
)

// between sends datagrams from the clients of one site to those of another.
func between(t *testing.T, l *Lab, from, to string, load Load) []Arrival {
	t.Helper()
	if load.Octets == 0 {
		load.Octets = 100
	}
	if load.Wait == 0 {
		load.Wait = 300 * time.Millisecond
	}
	dst := l.Site(to)
	arrivals, err := Traverse(t.Context(), l.Site(from).Clients(), dst.Clients(), dst.spec.clients(), load)
	if err != nil {
		t.Fatal(err)
	}
	return arrivals
}

func share(arrivals []Arrival, load Load) float64 {
	return float64(len(arrivals)) / float64(load.Count)
}

func median(arrivals []Arrival) time.Duration {
	if len(arrivals) == 0 {
		return 0
	}
	s := slices.SortedFunc(slices.Values(arrivals), func(a, b Arrival) int { return cmp.Compare(a.Delay, b.Delay) })
	return s[len(s)/2].Delay
}

// within is a bound that is not tight: the machine may be busy.
func within(t *testing.T, what string, got, least, most time.Duration) {
	t.Helper()
	if got < least || got > most {
		t.Errorf("%s: %s, want %s to %s", what, got, least, most)
	}
}

// TestWire holds every impairment to what it really does to datagrams.
func TestWire(t *testing.T) {
	l := New(t, bare())
	dwdm := l.Link("dwdm")
	steady := Load{Count: 300, Every: time.Millisecond}
	tests := []struct {
		name  string
		set   func()
		check func(t *testing.T)
	}{
		{"delay of the default", func() {}, func(t *testing.T) {
			within(t, "delay over dwdm", median(between(t, l, "city-a", "city-b", steady)), time.Millisecond, 5*time.Millisecond)
			within(t, "delay over lease-1", median(between(t, l, "city-a", "remote", steady)), 20*time.Millisecond, 25*time.Millisecond)
		}},
		{"delay of one direction", func() { dwdm.SetFrom("city-a", Impairment{Delay: 30 * time.Millisecond}) }, func(t *testing.T) {
			within(t, "there", median(between(t, l, "city-a", "city-b", steady)), 30*time.Millisecond, 36*time.Millisecond)
			within(t, "back", median(between(t, l, "city-b", "city-a", steady)), time.Millisecond, 5*time.Millisecond)
		}},
		{"jitter", func() { dwdm.Set(Impairment{Delay: 20 * time.Millisecond, Jitter: 10 * time.Millisecond}) }, func(t *testing.T) {
			got := between(t, l, "city-a", "city-b", Load{Count: 100, Every: 5 * time.Millisecond})
			slices.SortFunc(got, func(a, b Arrival) int { return cmp.Compare(a.Delay, b.Delay) })
			within(t, "least", got[0].Delay, 10*time.Millisecond, 14*time.Millisecond)
			within(t, "most", got[len(got)-1].Delay, 25*time.Millisecond, 40*time.Millisecond)
		}},
		{"loss", func() { dwdm.Set(Impairment{Loss: 0.3}) }, func(t *testing.T) {
			load := Load{Count: 1000, Every: 200 * time.Microsecond}
			if s := share(between(t, l, "city-a", "city-b", load), load); s < 0.6 || s > 0.8 {
				t.Errorf("%g arrived, want 0.7", s)
			}
		}},
		{"duplicates", func() { dwdm.Set(Impairment{Duplicate: 0.5}) }, func(t *testing.T) {
			load := Load{Count: 1000, Every: 200 * time.Microsecond}
			if s := share(between(t, l, "city-a", "city-b", load), load); s < 1.4 || s > 1.6 {
				t.Errorf("%g arrived, want 1.5", s)
			}
		}},
		{"reordering", func() { dwdm.Set(Impairment{Delay: 10 * time.Millisecond, Reorder: 0.2}) }, func(t *testing.T) {
			got := between(t, l, "city-a", "city-b", steady)
			late := 0
			for i, a := range got {
				if i > 0 && a.Number < got[i-1].Number {
					late++
				}
			}
			if len(got) != steady.Count || late < 10 {
				t.Errorf("%d arrived, %d of them out of order", len(got), late)
			}
		}},
		// 1,000 frames of 1,042 octets are 8.3 Mbit: a second at 8.3 Mbit/s.
		{"bandwidth", func() { dwdm.Set(Impairment{Bandwidth: 8_336_000, Queue: 10 * time.Second}) }, func(t *testing.T) {
			load := Load{Count: 1000, Octets: 1000, Every: 100 * time.Microsecond, Wait: 1500 * time.Millisecond}
			got := between(t, l, "city-a", "city-b", load)
			if len(got) != load.Count {
				t.Fatalf("%d of %d arrived", len(got), load.Count)
			}
			within(t, "the last one's delay", got[len(got)-1].Delay, 700*time.Millisecond, 1100*time.Millisecond)
		}},
		{"bandwidth with a short queue", func() { dwdm.Set(Impairment{Bandwidth: 8_336_000, Queue: 20 * time.Millisecond}) }, func(t *testing.T) {
			load := Load{Count: 1000, Octets: 1000, Every: 100 * time.Microsecond}
			got := between(t, l, "city-a", "city-b", load)
			if s := share(got, load); s > 0.6 {
				t.Errorf("%g arrived", s)
			}
			if lost := dwdm.Stats("city-a").Overflow; int(lost)+len(got) != load.Count {
				t.Errorf("%d lost, %d arrived", lost, len(got))
			}
		}},
		{"cut", dwdm.Cut, func(t *testing.T) {
			for _, from := range []string{"city-a", "city-b"} {
				to := map[string]string{"city-a": "city-b", "city-b": "city-a"}[from]
				if got := between(t, l, from, to, steady); len(got) > 0 {
					t.Errorf("%d arrived from %s", len(got), from)
				}
			}
			if got := between(t, l, "city-a", "remote", steady); len(got) != steady.Count {
				t.Errorf("%d arrived at remote", len(got))
			}
		}},
		{"cut one way", func() { dwdm.CutFrom("city-b") }, func(t *testing.T) {
			if got := between(t, l, "city-b", "city-a", steady); len(got) > 0 {
				t.Errorf("%d arrived from city-b", len(got))
			}
			if got := between(t, l, "city-a", "city-b", steady); len(got) != steady.Count {
				t.Errorf("%d arrived from city-a", len(got))
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dwdm.Mend()
			dwdm.Restore()
			l.ResetStats()
			tt.set()
			tt.check(t)
		})
	}
}

// TestTCPThroughAWire carries what offloads would spoil: more than a segment,
// both ways.
func TestTCPThroughAWire(t *testing.T) {
	l := New(t, bare())
	a, b := l.Site("city-a"), l.Site("city-b")
	listener, err := b.Clients().Listen("tcp4", netip.AddrPortFrom(b.spec.clients(), 9000).String())
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	echoed := make(chan error, 1)
	go func() { echoed <- echo(listener) }()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	conn, err := a.Clients().Dial(ctx, "tcp4", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	const size = 1 << 20
	go func() { _, _ = conn.Write(make([]byte, size)) }()
	if n, err := io.CopyN(io.Discard, conn, size); err != nil {
		t.Errorf("%d of %d octets came back: %v", n, size, err)
	}
	_ = conn.Close()
	if err := <-echoed; err != nil {
		t.Error(err)
	}
}

func echo(l net.Listener) error {
	conn, err := l.Accept()
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = io.Copy(conn, conn)
	return err
}

// reaches reports whether one TCP connection opens in time.
func reaches(t *testing.T, from *host.Host, to netip.Addr) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	conn, err := from.Dial(ctx, "tcp4", netip.AddrPortFrom(to, 80).String())
	if err != nil {
		return err
	}
	return conn.Close()
}

func TestWays(t *testing.T) {
	for _, reroute := range []bool{false, true} {
		t.Run(fmt.Sprintf("reroute %t", reroute), func(t *testing.T) {
			topology := bare()
			topology.Reroute = reroute
			l := New(t, topology)
			a, b := l.Site("city-a"), l.Site("city-b")
			if err := reaches(t, a.Clients(), b.Balancer(0)); err != nil {
				t.Error(err)
			}
			l.Link("dwdm").Cut()
			err := reaches(t, a.Clients(), b.Balancer(0))
			if (err == nil) != reroute {
				t.Errorf("with dwdm cut: %v", err)
			}
			if reroute {
				got := between(t, l, "city-a", "city-b", Load{Count: 50, Every: time.Millisecond})
				within(t, "the way round", median(got), 40*time.Millisecond, 50*time.Millisecond)
			}
			a.CutOff()
			if err := reaches(t, a.Clients(), b.Balancer(0)); err == nil {
				t.Error("reached with every link cut")
			}
			b.Reconnect()
			if err := reaches(t, a.Clients(), b.Balancer(0)); err != nil {
				t.Errorf("with dwdm mended: %v", err)
			}
		})
	}
}

// TestSiteWires cuts what hangs at one site: its uplink, its balancers, a node.
func TestSiteWires(t *testing.T) {
	l := New(t, bare())
	s := l.Site("city-a")
	n := s.Nodes()[0]
	uplink := func() error {
		got, err := Traverse(t.Context(), n.Host(), l.Internet(), s.spec.outside(), Load{Count: 5, Octets: 100, Wait: 200 * time.Millisecond})
		if err == nil && len(got) != 5 {
			err = errors.New("the Internet is silent")
		}
		return err
	}
	balancers := func() error { return reaches(t, n.Host(), s.Balancer(0)) }
	far := func() error { return reaches(t, n.Host(), l.Site("city-b").Balancer(0)) }
	want := func(when string, up, lb, other bool) {
		t.Helper()
		for _, c := range []struct {
			name string
			err  error
			want bool
		}{{"uplink", uplink(), up}, {"balancers", balancers(), lb}, {"other site", far(), other}} {
			if (c.err == nil) != c.want {
				t.Errorf("%s: %s: %v", when, c.name, c.err)
			}
		}
	}
	want("at first", true, true, true)
	s.Uplink().Cut()
	want("uplink cut", false, true, true)
	s.Uplink().Mend()
	s.SilenceBalancers()
	want("balancers silent", true, false, true)
	s.HealBalancers()
	n.Isolate()
	want("node isolated", false, false, false)
	n.Rejoin()
	want("healed", true, true, true)
	s.KillBalancers()
	want("balancers killed", true, false, true)
	s.HealBalancers()
	n.Mute()
	want("node mute", false, false, false)
	n.Rejoin()
	n.Deafen()
	if uplink() != nil || balancers() == nil {
		t.Error("a deaf node is to be heard, and to hear nothing")
	}
}

// TestPreciseMode is TestWire's first case by the better mode, two nodes a site.
func TestPreciseMode(t *testing.T) {
	topology := bare().WithNodes(2)
	topology.Mode = wan.Precise
	l := New(t, topology)
	if len(l.Nodes()) != 6 || l.Node("edge-r2").Address() != netip.MustParseAddr("10.9.0.6") {
		t.Errorf("nodes: %d, edge-r2 at %s", len(l.Nodes()), l.Node("edge-r2").Address())
	}
	within(t, "delay", median(between(t, l, "city-a", "city-b", Load{Count: 300, Every: time.Millisecond})), time.Millisecond, 3*time.Millisecond)
	late := l.Link("dwdm").Stats("city-a").Late
	t.Logf("late by %s, %s at the 99th percentile", late.P50, late.P99)
	if late.P50 <= 0 || late.P50 > time.Millisecond {
		t.Errorf("late by %s", late.P50)
	}
}
