package dnsserver

import (
	"context"
	"log/slog"
	"net/netip"
	"strings"
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
