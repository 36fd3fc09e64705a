package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/scloudstack/pharos/internal/config"
	"github.com/scloudstack/pharos/policy"
)

func TestEveryCallReachesTheNode(t *testing.T) {
	b := &recorded{}
	s := serve(t, config.API{}, b)
	c := NewSocketClient(s.cfg.Socket)
	defer c.Close()
	me := userName(s.access.Load().uid)
	ctx := deadline(t)
	for _, tt := range []struct {
		call func() error
		want string
	}{
		{func() error { _, err := c.Status(ctx); return err }, "status"},
		{func() error { _, err := c.Alarms(ctx); return err }, "alarms"},
		{func() error { _, err := c.Zones(ctx); return err }, "zones"},
		{func() error {
			_, err := c.Explain(ctx, "WWW.shop.example", netip.MustParseAddr("2001:db8::1"))
			return err
		}, "explain www.shop.example. 2001:db8::1"},
		{func() error { _, err := c.Diff(ctx, ""); return err }, "diff "},
		{func() error { _, err := c.Diff(ctx, "/etc/other.yaml"); return err }, "diff /etc/other.yaml"},
		{func() error { _, err := c.Reload(ctx, ReloadRequest{Confirm: Duration(5 * time.Minute)}); return err }, "reload 5m by " + me},
		{func() error { _, err := c.Confirm(ctx); return err }, "confirm by " + me},
		{func() error { _, err := c.Cluster(ctx); return err }, "cluster"},
		{func() error {
			_, err := c.Audit(ctx, AuditQuery{Node: "edge-a1", Kind: "order", Since: time.Unix(1, 5).UTC(), Limit: 7})
			return err
		}, "audit {Node:edge-a1 Kind:order Since:1970-01-01 00:00:01.000000005 +0000 UTC Limit:7}"},
		{func() error { _, err := c.Audit(ctx, AuditQuery{Limit: 1}); return err }, "audit {Node: Kind: Since:0001-01-01 00:00:00 +0000 UTC Limit:1}"},
		{func() error { _, err := c.VerifyAudit(ctx); return err }, "verify"},
		{func() error { _, err := c.GossipKeys(ctx); return err }, "keys"},
		{func() error { _, err := c.AddGossipKeys(ctx); return err }, "keys add by " + me},
		{func() error { _, err := c.UseGossipKey(ctx, "3f9a2c1b77d0e1aa"); return err }, "keys use 3f9a2c1b77d0e1aa by " + me},
		{func() error { _, err := c.RemoveGossipKey(ctx, "3f9a2c1b77d0e1aa"); return err }, "keys remove 3f9a2c1b77d0e1aa by " + me},
		{func() error { _, err := c.ZoneDiff(ctx, "shop.example"); return err }, "zonediff shop.example."},
		{func() error { _, err := c.ZoneReload(ctx, "", false); return err }, `zonereload "" false by ` + me},
		{func() error { _, err := c.ZoneReload(ctx, "Shop.example", true); return err }, `zonereload "shop.example." true by ` + me},
		{func() error { _, err := c.ZoneRollback(ctx, "shop.example."); return err }, "rollback shop.example. by " + me},
		{func() error { return c.ZoneDump(ctx, "shop.example", &strings.Builder{}) }, "dump shop.example."},
	} {
		if err := tt.call(); err != nil || b.last() != tt.want {
			t.Errorf("got %q (%v), want %q", b.last(), err, tt.want)
		}
	}
	if v, err := c.Version(ctx); err != nil || v.Version != "1.2.3" {
		t.Errorf("version: %+v %v", v, err)
	}
}

func TestOrderArrivesWhole(t *testing.T) {
	b := &recorded{}
	s := serve(t, config.API{}, b)
	c := NewSocketClient(s.cfg.Socket)
	defer c.Close()
	addr := netip.MustParseAddr("203.0.113.20")
	_, err := c.Order(deadline(t), OrderRequest{
		Kind: policy.KindOverride, Key: "name/www.shop.example.", Reason: "INC-7", For: Duration(2 * time.Hour), DryRun: true,
		Override:   &OverrideBody{Addresses: []netip.Addr{addr}, TTL: Duration(5 * time.Second), KeepOther: true, Unlisted: true},
		BreakGlass: []string{"last-endpoint"},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := policy.Order{
		Kind: policy.KindOverride, Key: "name/www.shop.example.", Reason: "INC-7", For: 2 * time.Hour,
		Override:   &policy.Override{Addresses: []netip.Addr{addr}, TTL: 5 * time.Second, KeepOther: true, Unlisted: true},
		BreakGlass: []string{"last-endpoint"},
		Author:     userName(s.access.Load().uid),
	}
	if diff := cmp.Diff(want, b.orders[0], cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
	if want := (Giving{DryRun: true, Wait: WaitReachable, WaitFor: DefaultWaitFor}); b.given[0] != want {
		t.Errorf("given as %+v, want %+v", b.given[0], want)
	}
}

func TestOrderSaysWhoIsWaitedFor(t *testing.T) {
	b := &recorded{}
	s := serve(t, config.API{}, b)
	c := NewSocketClient(s.cfg.Socket)
	defer c.Close()
	_, err := c.Order(deadline(t), OrderRequest{
		Kind: policy.KindSiteLost, Key: "city-a", Also: []string{"city-b"}, Reason: "flood",
		Wait: WaitAll, WaitFor: Duration(10 * time.Second),
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := (Giving{Wait: WaitAll, WaitFor: 10 * time.Second}); b.given[0] != want {
		t.Errorf("given as %+v, want %+v", b.given[0], want)
	}
	want := policy.Order{
		Kind: policy.KindSiteLost, Sites: []policy.SiteID{"city-a", "city-b"}, Reason: "flood", Author: userName(s.access.Load().uid),
	}
	if diff := cmp.Diff(want, b.orders[0]); diff != "" {
		t.Error(diff)
	}
	for _, r := range []OrderRequest{
		{Kind: policy.KindDrain, Key: "site/city-a", WaitFor: Duration(31 * time.Second)},
		{Kind: policy.KindDrain, Key: "site/city-a", Wait: "everybody"},
		{Kind: policy.KindMove, Key: "shop"},
	} {
		var e *Error
		if _, err := c.Order(deadline(t), r); !errors.As(err, &e) || e.Status != 422 {
			t.Errorf("%+v: got %v, want a refusal", r, err)
		}
	}
	if len(b.orders) != 1 {
		t.Errorf("%d orders reached the node, want 1", len(b.orders))
	}
}

func TestFaultsOfTheNode(t *testing.T) {
	b := &recorded{}
	s := serve(t, config.API{}, b)
	c := NewSocketClient(s.cfg.Socket)
	defer c.Close()
	for _, tt := range []struct {
		err  error
		want Error
		text string
	}{
		{
			&policy.Refusal{Rule: "last-endpoint", Text: "it would take the last endpoint", Break: true},
			Error{Rule: "last-endpoint", BreakGlass: true},
			"409 it would take the last endpoint",
		},
		{
			fmt.Errorf("judge: %w", &policy.Refusal{Rule: "freeze", Text: "gate freeze is closed"}),
			Error{Rule: "freeze"},
			"409 gate freeze is closed",
		},
		{
			&Rejected{What: "configuration x.yaml", Problems: []Problem{{File: "x.yaml", Line: 3, Column: 7, Text: "unknown key"}}},
			Error{Problems: []Problem{{File: "x.yaml", Line: 3, Column: 7, Text: "unknown key"}}},
			"422 configuration x.yaml was refused; what ran before keeps running",
		},
		{fmt.Errorf("zone x.: %w", ErrNotFound), Error{}, "404 zone x.: not found"},
		{fmt.Errorf("%w: no such site", ErrInvalid), Error{}, "422 no such site"},
		{fmt.Errorf("%w: nothing to confirm", ErrConflict), Error{}, "409 nothing to confirm"},
		{fmt.Errorf("%w: disk", ErrDegraded), Error{}, "503 disk"},
		{context.DeadlineExceeded, Error{}, "503 the node did not answer in time: context deadline exceeded"},
		{errors.New("boom"), Error{}, "500 boom"},
	} {
		b.fail(tt.err)
		_, err := c.Order(deadline(t), OrderRequest{Kind: policy.KindDrain, Key: "site/x"})
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%v became %v", tt.err, err)
			continue
		}
		if got := fmt.Sprintf("%d %s", e.Status, e); got != tt.text {
			t.Errorf("%v became %q, want %q", tt.err, got, tt.text)
		}
		if e.Rule != tt.want.Rule || e.BreakGlass != tt.want.BreakGlass || !cmp.Equal(e.Problems, tt.want.Problems) {
			t.Errorf("%v became %+v", tt.err, e)
		}
	}
}

func TestBadRequests(t *testing.T) {
	b := &recorded{}
	s := serve(t, config.API{}, b)
	for _, tt := range []struct {
		name, request, body string
		code                int
		contains            string
	}{
		{"an author is no field", "POST /v1/orders", `{"kind":"drain","key":"site/a","author":"boss"}`, 422, "unexpected property"},
		{"unknown kind", "POST /v1/orders", `{"kind":"move","key":"site/a"}`, 422, "expected value to be one of"},
		{"no key", "POST /v1/orders", `{"kind":"drain"}`, 422, "key"},
		{"a bad duration", "POST /v1/orders", `{"kind":"drain","key":"site/a","for":"5"}`, 422, "duration"},
		{"no JSON", "POST /v1/orders", `{`, 400, "unexpected end"},
		{"too long", "POST /v1/orders", `{"reason":"` + strings.Repeat("x", maxBody) + `"}`, 413, "limit"},
		{"every zone is to be accepted", "POST /v1/zones/reload", `{"accept":true}`, 422, "expected with the zone"},
		{"a trial that is over before it begins", "POST /v1/reload", `{"confirm":"-5m"}`, 422, "confirm -5m"},
		{"a bad client", "GET /v1/explain?name=x&client=y", "", 422, "no IP address"},
		{"no name", "GET /v1/explain", "", 422, "name"},
		{"unknown parameter", "GET /v1/status?verbose=1", "", 422, "unknown query parameter"},
		{"a zone that is a path", "GET /v1/zones/..%2f..%2fetc/diff", "", 422, "invalid name"},
		{"no such operation", "GET /v1/nothing", "", 404, "/openapi.yaml"},
		{"wrong method", "DELETE /v1/status", "", 405, "does not take DELETE, but GET"},
		{"wrong method for an order", "GET /v1/orders", "", 405, "but POST"},
		{"wrong method for a zone", "PUT /v1/zones/a.example/dump", "", 405, "but GET"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, body, err := rawRequest(s.cfg.Socket, tt.request, tt.body)
			if err != nil {
				t.Fatal(err)
			}
			if code != tt.code || !strings.Contains(body, tt.contains) {
				t.Errorf("got %d %s, want %d with %q", code, body, tt.code, tt.contains)
			}
		})
	}
	if b.last() != "" {
		t.Errorf("a bad request reached the node: %s", b.last())
	}
}

func TestHealthReadinessAndMetrics(t *testing.T) {
	b := &recorded{ready: Readiness{Why: "held: waiting for city-b"}}
	s := serve(t, config.API{}, b)
	ask := func(path string, code int, contains string) {
		t.Helper()
		got, body, err := rawRequest(s.cfg.Socket, "GET "+path, "")
		if err != nil || got != code || !strings.Contains(body, contains) {
			t.Errorf("%s: %d %s (%v), want %d with %q", path, got, body, err, code, contains)
		}
	}
	ask("/healthz", http.StatusOK, "ok")
	ask("/readyz", http.StatusServiceUnavailable, "held: waiting for city-b")
	ask("/metrics", http.StatusOK, "pharos_test_gauge 0")
	b.become(Readiness{Ready: true})
	ask("/readyz", http.StatusOK, "ready")
}

func TestDump(t *testing.T) {
	b := &recorded{dumped: 20_000}
	s := serve(t, config.API{}, b)
	c := NewSocketClient(s.cfg.Socket)
	defer c.Close()
	var text strings.Builder
	if err := c.ZoneDump(deadline(t), "shop.example", &text); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(text.String(), "\n"); n != b.dumped {
		t.Errorf("%d lines", n)
	}
	b.fail(errors.New("zone went away"))
	if err := c.ZoneDump(deadline(t), "shop.example", &text); err == nil {
		t.Error("a dump that was cut off passes for whole")
	}
	b.dumped = 0
	b.fail(fmt.Errorf("zone shop.example.: %w", ErrNotFound))
	if err := c.ZoneDump(deadline(t), "shop.example", &text); statusOf(err) != http.StatusNotFound {
		t.Errorf("got %v", err)
	}
}

func TestNobodyAtTheSocket(t *testing.T) {
	path := filepath.Join(shortDir(t), SocketName)
	c := NewSocketClient(path)
	defer c.Close()
	_, err := c.Status(deadline(t))
	var gone *Unreachable
	if !errors.As(err, &gone) || gone.Sent || gone.Where != path || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v", err)
	}
}

func TestDurationText(t *testing.T) {
	for _, tt := range []struct {
		d    time.Duration
		want string
	}{{5 * time.Minute, "5m"}, {2 * time.Hour, "2h"}, {90 * time.Minute, "1h30m"}, {1500 * time.Millisecond, "1.5s"}, {10 * time.Second, "10s"}, {0, "0s"}} {
		if got := Duration(tt.d).String(); got != tt.want {
			t.Errorf("%s is %q, want %q", tt.d, got, tt.want)
		}
	}
	for text, want := range map[string]time.Duration{"2d": 48 * time.Hour, "1d12h": 36 * time.Hour, "-1.5s": -1500 * time.Millisecond, "12µs": 12 * time.Microsecond} {
		var got Duration
		if err := got.UnmarshalText([]byte(text)); err != nil || got != Duration(want) {
			t.Errorf("%q is read as %s (%v), want %s", text, got, err, want)
		}
	}
	if err := new(Duration).UnmarshalText([]byte("2w")); err == nil {
		t.Error("weeks are read")
	}
}
