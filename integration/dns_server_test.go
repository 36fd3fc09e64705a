package integration

import (
	"context"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"github.com/scloudstack/pharos/dnsserver"
)

var dnsLoopback = []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0"), netip.MustParseAddrPort("[::1]:0")}

// serveDNS runs our server on free ports of both loopback addresses until the
// test ends, and returns what it is bound to.
func serveDNS(t *testing.T, cfg dnsserver.Config, d dnsserver.Data) []netip.AddrPort {
	t.Helper()
	cfg.Listen = dnsLoopback
	s, err := dnsserver.New(cfg, slog.New(slog.DiscardHandler), nil)
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
	case <-time.After(10 * time.Second):
		t.Fatal("the server is not ready")
	}
	return s.Addrs()
}
