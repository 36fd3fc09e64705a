package node

import (
	"errors"
	"net"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/scloudstack/pharos/internal/api"
	"github.com/scloudstack/pharos/policy"
)

// observing is a node in mode observe beside the live servers.
func observing(t *testing.T, servers ...string) *rig {
	t.Helper()
	r := newRig(t)
	r.extra = "mode: observe\nobserve: {compare: [\"" + strings.Join(servers, `", "`) + "\"]}\n"
	r.writeConfig()
	r.start()
	return r
}

// compareNow compares without waiting for the next round.
func (r *rig) compareNow() api.ObserveStatus {
	r.t.Helper()
	r.node.observer.compare(r.t.Context())
	return *r.status().Observe
}

func TestObserveBesideAnotherNode(t *testing.T) {
	live := newRig(t)
	live.start()
	server := live.node.Addrs()[0].String()
	r := observing(t, server)
	if got := r.node.Addrs(); len(got) != 0 {
		t.Errorf("a node that observes listens on %v", got)
	}
	eventually(t, "both have seen city-a", func() bool {
		return r.endpoint("city-a").Health == policy.Up && live.endpoint("city-a").Health == policy.Up
	})
	s := r.compareNow()
	want := []api.ObservedServer{{Address: server}}
	if diff := cmp.Diff(want, s.Servers); diff != "" || len(s.Differ) != 0 || s.Names != 1 || s.Compared.IsZero() {
		t.Errorf("where both agree: %+v", s)
	}

	live.override("city-b")
	s = r.compareNow()
	differ := []api.Difference{{Server: server, Name: "www.shop.example.", Type: "A", Live: addrB, Ours: addrA}}
	if diff := cmp.Diff(differ, s.Differ); diff != "" {
		t.Error(diff)
	}
	// It takes orders and decides as any other, and shows what would change.
	r.override("city-b")
	if s = r.compareNow(); len(s.Differ) != 0 {
		t.Errorf("after the same override: %+v", s.Differ)
	}

	if err := live.stop(); err != nil {
		t.Fatal(err)
	}
	if s = r.compareNow(); len(s.Servers) != 1 || s.Servers[0].Error == "" {
		t.Errorf("the live server is gone: %+v", s)
	}
}

// Knot serves the same zone with static addresses, as a site does before it moves.
func TestObserveBesideKnot(t *testing.T) {
	dir := t.TempDir()
	zone := strings.Replace(rigZone, "%d", "1", 1)
	zone = strings.Replace(zone, "%s", "www IN A "+addrA+"\nwww IN A "+addrB+"\n", 1)
	r := &rig{t: t, dir: dir}
	r.write("shop.zone", zone)
	server := startKnot(t, r)
	o := observing(t, server)
	s := o.compareNow()
	want := []api.Difference{{Server: server, Name: "www.shop.example.", Type: "A", Live: addrA + " " + addrB, Ours: addrA}}
	if diff := cmp.Diff(want, s.Differ); diff != "" {
		t.Error(diff)
	}
}

// startKnot runs knotd on a port of its own with the zone of the rig's folder.
func startKnot(t *testing.T, r *rig) string {
	t.Helper()
	path, err := exec.LookPath("knotd")
	if err != nil {
		t.Fatalf("knotd is needed (Debian package knot): %v", err)
	}
	probe, err := net.ListenPacket("udp", "127.61.9.4:0")
	if err != nil {
		t.Fatal(err)
	}
	at := probe.LocalAddr().String()
	probe.Close()
	host, port, err := net.SplitHostPort(at)
	if err != nil {
		t.Fatal(err)
	}
	r.write("knot.conf", `
server:
  rundir: "`+r.dir+`"
  listen: `+host+"@"+port+`
database:
  storage: "`+r.dir+`"
zone:
  - domain: shop.example
    storage: "`+r.dir+`"
    file: shop.zone
    zonefile-sync: -1
    journal-content: none
`)
	cmd := exec.Command(path, "-c", filepath.Join(r.dir, "knot.conf"))
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		var exit *exec.ExitError
		if err := cmd.Wait(); err != nil && !errors.As(err, &exit) {
			t.Error(err)
		}
		if t.Failed() {
			t.Log(out.String())
		}
	})
	q := new(dns.Msg)
	q.SetQuestion("shop.example.", dns.TypeSOA)
	client := &dns.Client{Timeout: 100 * time.Millisecond}
	eventually(t, "knotd answers", func() bool {
		reply, _, err := client.Exchange(q, at)
		return err == nil && reply.Rcode == dns.RcodeSuccess && len(reply.Answer) == 1
	})
	return at
}

func TestExpect(t *testing.T) {
	addr := netip.MustParseAddr
	a1, a2, v6 := addr("192.0.2.1"), addr("192.0.2.2"), addr("2001:db8::1")
	rev := &policy.Revision{Groups: []policy.Group{
		{Site: "a", Prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}},
		{Site: "b", Prefixes: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}},
	}}
	member := func(weight uint32, addrs ...netip.Addr) policy.Member {
		return policy.Member{Weight: weight, Addrs: addrs}
	}
	choice := func(a ...policy.Member) policy.Choice { return policy.Choice{A: a} }
	tests := []struct {
		name    string
		answer  policy.Answer
		qtype   uint16
		client  string
		rcode   int
		live    []string
		agrees  bool
		written string
	}{
		{"union, any order", policy.Answer{Choices: []policy.Choice{choice(member(0, a1), member(0, a2))}}, dns.TypeA, "192.0.2.9", 0, []string{"192.0.2.2", "192.0.2.1"}, true, "192.0.2.1 192.0.2.2"},
		{"part of a union", policy.Answer{Choices: []policy.Choice{choice(member(0, a1), member(0, a2))}}, dns.TypeA, "192.0.2.9", 0, []string{"192.0.2.2"}, false, "192.0.2.1 192.0.2.2"},
		{"one by weight", policy.Answer{Choices: []policy.Choice{choice(member(1, a1), member(3, a2))}}, dns.TypeA, "192.0.2.9", 0, []string{"192.0.2.2"}, true, "192.0.2.1 or 192.0.2.2"},
		{"weight zero", policy.Answer{Choices: []policy.Choice{choice(member(0, a1), member(3, a2))}}, dns.TypeA, "192.0.2.9", 0, []string{"192.0.2.1"}, false, "192.0.2.2"},
		{"no data", policy.Answer{Choices: []policy.Choice{choice(member(0, a1))}}, dns.TypeAAAA, "192.0.2.9", 0, nil, true, "no addresses"},
		{"data where none is due", policy.Answer{Choices: []policy.Choice{choice(member(0, a1))}}, dns.TypeAAAA, "192.0.2.9", 0, []string{"2001:db8::1"}, false, "no addresses"},
		{"no data by weight", policy.Answer{Choices: []policy.Choice{{A: []policy.Member{member(1, a1), member(3, a2)}, AAAA: []policy.Member{member(1), member(3)}}}}, dns.TypeAAAA, "192.0.2.9", 0, []string{"2001:db8::1"}, false, "no addresses"},
		{"IPv6", policy.Answer{Choices: []policy.Choice{{AAAA: []policy.Member{member(0, v6)}}}}, dns.TypeAAAA, "192.0.2.9", 0, []string{"2001:db8::1"}, true, "2001:db8::1"},
		{"servfail", policy.Answer{Fail: true}, dns.TypeA, "192.0.2.9", dns.RcodeServerFailure, nil, true, "SERVFAIL"},
		{"unexpected rcode", policy.Answer{Choices: []policy.Choice{choice(member(0, a1))}}, dns.TypeA, "192.0.2.9", dns.RcodeNameError, nil, false, "192.0.2.1"},
		{"the longest prefix's group", policy.Answer{Choices: []policy.Choice{choice(member(0, a1)), choice(member(0, a1)), choice(member(0, a2))}}, dns.TypeA, "10.1.2.3", 0, []string{"192.0.2.2"}, true, "192.0.2.2"},
	}
	for _, tc := range tests {
		reply := new(dns.Msg)
		reply.Rcode = tc.rcode
		for _, l := range tc.live {
			a := addr(l)
			if a.Is4() {
				reply.Answer = append(reply.Answer, &dns.A{A: a.AsSlice()})
			} else {
				reply.Answer = append(reply.Answer, &dns.AAAA{AAAA: a.AsSlice()})
			}
		}
		e := expect(rev, &tc.answer, tc.qtype, addr(tc.client))
		if got := e.agrees(reply, tc.qtype); got != tc.agrees {
			t.Errorf("%s: agrees %v, want %v", tc.name, got, tc.agrees)
		}
		if e.String() != tc.written {
			t.Errorf("%s: expected is written %q, want %q", tc.name, e, tc.written)
		}
	}
}
