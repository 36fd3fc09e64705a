package faults

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/scloudstack/pharos/integration/lab/lab"
)

const thousand = 1000

// TestThousandServicesMove kills the balancer of 1,000 services in city-a and has it back. Measured is
// the time from the vote that decides, which is the moves' own start, until a node answers all of
// them anew. PHAROS_RUNS is the number of times; with it the machine is taken for a quiet one, and held to a second.
func TestThousandServicesMove(t *testing.T) {
	topology := lab.Default()
	topology.Check = lab.Check{Interval: 2 * time.Second, Timeout: 500 * time.Millisecond, Fall: 3, Rise: 3}
	var text strings.Builder
	text.WriteString("services:\n")
	var names []string
	for i := range thousand {
		names = append(names, fmt.Sprintf("s%d.shop.example.", i))
		fmt.Fprintf(&text, "  s%d: {names: [%s], ttl: 5s, return: {policy: hold, hold: 0s}, endpoints: [", i, names[i])
		fmt.Fprintf(&text, "{site: city-a, address: 203.0.113.10, check_address: 10.1.8.10}, {site: city-b, address: 203.0.113.20, check_address: 10.2.8.10}], ")
		text.WriteString("check: {http: {url: \"http://{address}/healthz\", host: www.shop.example, expect: 200}, interval: 2s, timeout: 500ms, fall: 3, rise: 3}}\n")
	}
	topology.Extra = text.String()
	l := lab.New(t, topology)
	l.Eventually(30*time.Second, l.Answers(names[thousand-1], "203.0.113.10"))
	l.Eventually(30*time.Second, calm(l))

	var all []time.Duration
	for range number(t, "PHAROS_RUNS", 2) {
		all = append(all, moved(t, l, names, "203.0.113.20", l.Site("city-a").KillBalancers)...)
		all = append(all, moved(t, l, names, "203.0.113.10", l.Site("city-a").HealBalancers)...)
		l.Eventually(20*time.Second, agree(l))
	}
	slices.Sort(all)
	t.Logf("1,000 services, from the vote that decides to all of a node's answers: median %s, worst of %d %s", all[len(all)/2], len(all), all[len(all)-1])
	most := 5 * time.Second
	if os.Getenv("PHAROS_RUNS") != "" {
		most = time.Second
	}
	if worst := all[len(all)-1]; worst > most {
		t.Errorf("a node took %s to answer 1,000 moved services anew, at most %s expected", worst, most)
	}
	verified(t, l)
}

// moved makes something happen, waits until all nodes answer all names with an address, and
// returns how long after the moves' start each did.
func moved(t *testing.T, l *lab.Lab, names []string, address string, happen func()) []time.Duration {
	t.Helper()
	want := netip.MustParseAddr(address)
	done := make([]time.Time, len(l.Nodes()))
	var sweeping sync.WaitGroup
	for i, n := range l.Nodes() {
		sweeping.Go(func() {
			var err error
			if done[i], err = sweep(n, names, want, 30*time.Second); err != nil {
				t.Error(err)
			}
		})
	}
	happen()
	sweeping.Wait()
	if t.Failed() {
		t.FailNow()
	}
	first, last := starts(t, l.Nodes()[0])
	if first != last {
		t.Errorf("the 1,000 services did not move at once: the last move began %s after the first", last.Sub(first))
	}
	var took []time.Duration
	for i, n := range l.Nodes() {
		took = append(took, done[i].Sub(first).Round(time.Millisecond))
		t.Logf("%s answers all with %s %s after the vote that decides", n.Name(), address, took[i])
	}
	return took
}

// starts are when the newest moves of the 1,000 services began.
func starts(t *testing.T, n *lab.Node) (first, last time.Time) {
	t.Helper()
	var s struct {
		Decision struct {
			Services []struct {
				Service string
				Moved   time.Time
			}
		}
	}
	if err := read(n, &s, "status"); err != nil {
		t.Fatal(err)
	}
	for _, x := range s.Decision.Services {
		if x.Service == "shop" {
			continue
		}
		if first.IsZero() || x.Moved.Before(first) {
			first = x.Moved
		}
		if x.Moved.After(last) {
			last = x.Moved
		}
	}
	return first, last
}

// sweep asks a node for names until each was answered with an address, and returns when the
// last one was. Until one changes it asks for a single name, so that it is no load.
func sweep(n *lab.Node, names []string, want netip.Addr, within time.Duration) (time.Time, error) {
	conn, err := n.Site().Clients().ListenPacket("udp4", ":0")
	if err != nil {
		return time.Time{}, err
	}
	defer conn.Close()
	to := net.UDPAddrFromAddrPort(netip.AddrPortFrom(n.Access(), 53))
	pending := slices.Clone(names)
	begun := time.Now()
	for {
		ask := pending[:min(len(pending), 100)]
		if len(pending) == len(names) {
			ask = pending[:1]
		}
		got, err := answered(conn, to, ask, want)
		now := time.Now()
		if err != nil {
			return now, err
		}
		pending = slices.DeleteFunc(pending, func(name string) bool { return got[name] })
		switch {
		case len(pending) == 0:
			return now, nil
		case now.Sub(begun) > within:
			return now, fmt.Errorf("%s still answers %d names otherwise than with %s", n.Name(), len(pending), want)
		case len(got) == 0:
			<-time.After(5 * time.Millisecond)
		}
	}
}

// answered asks for some names at once, and says which are answered with an address.
func answered(conn net.PacketConn, to net.Addr, names []string, want netip.Addr) (map[string]bool, error) {
	for _, name := range names {
		packet, err := new(dns.Msg).SetQuestion(name, dns.TypeA).Pack()
		if err != nil {
			return nil, err
		}
		if _, err := conn.WriteTo(packet, to); err != nil {
			return nil, err
		}
	}
	got := map[string]bool{}
	if err := conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		return nil, err
	}
	buffer := make([]byte, dns.MaxMsgSize)
	for range names {
		size, _, err := conn.ReadFrom(buffer)
		if err != nil {
			break // what is lost is asked again
		}
		m := new(dns.Msg)
		if m.Unpack(buffer[:size]) != nil || len(m.Question) != 1 || len(m.Answer) != 1 {
			continue
		}
		if a, ok := m.Answer[0].(*dns.A); ok && a.A.String() == want.String() {
			got[m.Question[0].Name] = true
		}
	}
	return got, nil
}
