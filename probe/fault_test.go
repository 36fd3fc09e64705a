package probe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/sys/unix"

	"github.com/scloudstack/pharos/policy"
)

func noFiles(context.Context, int) result { return unasked(faultFiles, "too many open files") }

func noRoute(context.Context, int) result { return noAnswer("no route to host") }

// What the attempts of a check say together, where this host kept some of them
// from asking.
func TestLocalFaultDecidesNothing(t *testing.T) {
	type ask = func(context.Context, int) result
	no := func(context.Context, int) result { return refused("no", "") }
	for _, tc := range []struct {
		name   string
		asks   []ask
		expect string // outcome of the check; empty: none
	}{
		{"all", []ask{noFiles, noFiles, noFiles}, ""},
		{"then success", []ask{noFiles, noFiles, yes}, "success"},
		{"then refused", []ask{noFiles, no, noFiles}, "refused"},
		{"then a broken path", []ask{noFiles, noRoute, noFiles}, "timeout"},
		{"after a broken path", []ask{noRoute, noFiles, noFiles}, "timeout"},
		{"then less than the timeout of silence", []ask{noFiles, silent, silent}, ""},
		{"beside silence for the whole timeout", []ask{silent, noFiles, noFiles}, "timeout"},
		{"success beside it", []ask{silent, noFiles, yes}, "success"},
		{"the only attempt", []ask{noFiles}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStage(Config{}, map[policy.TargetID]*script{"a": {ask: func(ctx context.Context, n int) result { return tc.asks[n-1](ctx, n) }}})
				target := plainTarget("a")
				target.Attempts, target.Interval = len(tc.asks), time.Minute
				s.Set([]Target{target})
				stop := start(t, s.Prober)
				time.Sleep(5 * time.Second)
				got := ""
				for _, o := range s.observed("a") {
					got += outcomes[o.Outcome]
				}
				if got != tc.expect {
					t.Errorf("observed %q, expected %q", got, tc.expect)
				}
				blind := 0.0
				if tc.expect == "" {
					blind = 1
				}
				if len(s.unmade) != int(blind) {
					t.Errorf("%+v, expected %v", s.unmade, blind)
				}
				for _, o := range s.unmade {
					if o.Target != "a" || o.At.IsZero() || !strings.HasPrefix(o.Reason, "too many open files: raise the limit") {
						t.Errorf("unable: %+v", o)
					}
				}
				if got := testutil.ToFloat64(s.metrics.faults[faultFiles]); got != blind {
					t.Errorf("%v checks counted, expected %v", got, blind)
				}
				if got := testutil.ToFloat64(s.metrics.running); got != 0 {
					t.Errorf("%v checks under way, expected none", got)
				}
				stop()
			})
		})
	}
}

// Each fault is told of once a minute, and the checks go on.
func TestLocalFaultIsLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var text bytes.Buffer
		ports := func(context.Context, int) result { return unasked(faultPorts, "cannot assign requested address") }
		s := newStage(Config{Workers: 1}, map[policy.TargetID]*script{"a": {ask: noFiles}, "b": {ask: noFiles}, "c": {ask: ports}})
		s.faults.log = slog.New(slog.NewTextHandler(&text, nil))
		s.Set([]Target{plainTarget("a"), plainTarget("b"), plainTarget("c")})
		stop := start(t, s.Prober)
		time.Sleep(119 * time.Second)
		stop()
		for _, f := range []fault{faultFiles, faultPorts} {
			if n := strings.Count(text.String(), "fault="+string(f)); n != 2 {
				t.Errorf("%s logged %d times in two minutes, expected 2:\n%s", f, n, text.String())
			}
		}
		if !strings.Contains(text.String(), "level=WARN") || !strings.Contains(text.String(), "LimitNOFILE=") {
			t.Errorf("no warning with a remedy:\n%s", text.String())
		}
		if n := testutil.ToFloat64(s.metrics.faults[faultFiles]); n < 150 {
			t.Errorf("%v checks counted, expected some 180", n)
		}
	})
}

// Blind tells of what a host can't check, and whether that is all.
func TestBlind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mended atomic.Bool
		files := func(ctx context.Context, n int) result {
			if mended.Load() {
				return yes(ctx, n)
			}
			return noFiles(ctx, n)
		}
		s := newStage(Config{}, map[policy.TargetID]*script{"a": {ask: files}, "b": {ask: noFiles}, "c": {ask: yes}})
		s.Set([]Target{plainTarget("a"), plainTarget("b"), plainTarget("c")})
		stop := start(t, s.Prober)
		want := func(labels string, all bool) {
			t.Helper()
			time.Sleep(time.Minute + time.Millisecond)
			got := ""
			list, is := s.Blind()
			for _, b := range list {
				got += b.Target
				if b.Reason != "too many open files" || !strings.Contains(b.Remedy, "LimitNOFILE=") {
					t.Errorf("%+v", b)
				}
			}
			if got != labels || is != all {
				t.Errorf("blind to %q, all %v; expected %q, %v", got, is, labels, all)
			}
		}
		want("ab", false)
		s.Set([]Target{plainTarget("a"), plainTarget("b")})
		want("ab", true)
		if list, _ := s.Blind(); time.Since(list[0].Since) < 100*time.Second {
			t.Errorf("after two minutes: %+v", list)
		}
		mended.Store(true)
		want("b", false)
		s.Set(nil)
		want("", false)
		stop()
	})
}

// A single check that could not be made is no blindness.
func TestBlindOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		files := func(ctx context.Context, n int) result {
			if asked.Add(1) == 3 {
				return noFiles(ctx, n)
			}
			return yes(ctx, n)
		}
		s := newStage(Config{}, map[policy.TargetID]*script{"a": {ask: files}})
		target := plainTarget("a")
		target.Attempts = 1
		s.Set([]Target{target})
		stop := start(t, s.Prober)
		for range 100 {
			time.Sleep(50 * time.Millisecond)
			if list, _ := s.Blind(); list != nil {
				t.Fatalf("%+v", list)
			}
		}
		stop()
		if len(s.unmade) != 1 {
			t.Errorf("%+v, expected one", s.unmade)
		}
	})
}

func TestFaultOf(t *testing.T) {
	for _, tc := range []struct {
		err    error
		expect fault
	}{
		{os.NewSyscallError("socket", syscall.EMFILE), faultFiles},
		{&net.OpError{Op: "dial", Err: os.NewSyscallError("socket", syscall.ENFILE)}, faultFiles},
		{os.NewSyscallError("connect", syscall.ENOBUFS), faultMemory},
		{&handshakeError{os.NewSyscallError("write", syscall.ENOMEM)}, faultMemory},
		{&net.DNSError{Err: "dial udp 192.0.2.53:53: socket: too many open files", Name: "lb.example"}, faultFiles},
		{&net.DNSError{Err: "no such host", Name: "lb.example"}, ""},
		{&net.OpError{Op: "write", Err: os.NewSyscallError("sendto", syscall.EPERM)}, faultFilter},
		{&net.DNSError{Err: "write udp 192.0.2.1:40000->192.0.2.53:53: write: operation not permitted", Name: "lb.example"}, faultFilter},
		{os.NewSyscallError("connect", syscall.ENETUNREACH), ""},
		{os.NewSyscallError("connect", syscall.EHOSTUNREACH), ""},
		{os.NewSyscallError("connect", syscall.EACCES), ""},
		{os.NewSyscallError("connect", syscall.EADDRNOTAVAIL), ""}, // no source address
		{errors.New("x"), ""},
	} {
		r := judge(tc.err, "peer")
		if r.fault != tc.expect || r.outcome != policy.Timeout {
			t.Errorf("%v: got %+v, expected fault %q", tc.err, r, tc.expect)
		}
	}
}

// agree answers every question with nothing.
func agree(w dns.ResponseWriter, q *dns.Msg) { _ = w.WriteMsg(new(dns.Msg).SetReply(q)) }

// watch checks targets all the time and keeps the newest observation of each.
type watch struct {
	p    *Prober
	mu   sync.Mutex
	seen map[policy.TargetID][]policy.Observation
}

func watchAll(t *testing.T, targets []Target) *watch {
	w := &watch{seen: map[policy.TargetID][]policy.Observation{}}
	w.p = New(Config{}, func(o policy.Observation) {
		if o.Outcome == policy.Unable {
			return
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.seen[o.Target] = append(w.seen[o.Target], o)
	}, slog.New(slog.NewTextHandler(t.Output(), nil)), prometheus.NewRegistry())
	w.p.Set(targets)
	start(t, w.p)
	return w
}

func (w *watch) count(id policy.TargetID) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.seen[id])
}

func (w *watch) blind(f fault) float64 { return testutil.ToFloat64(w.p.metrics.faults[f]) }

// fails reports the failures that were observed.
func (w *watch) fails(t *testing.T) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for id, seen := range w.seen {
		for _, o := range seen {
			if o.Outcome != policy.Success {
				t.Errorf("%s: %s: %s", id, outcomes[o.Outcome], o.Reason)
			}
		}
	}
}

// Without a file descriptor left, no target fails, whatever the check; with one
// again, they go on.
func TestNoFileDescriptorLeft(t *testing.T) {
	if !inNetns(t) {
		return
	}
	port := startServer(t, "http", certFiles{}) // a process with descriptors of its own
	targets := []Target{
		{ID: "tcp", Check: Check{TCP: &TCP{Port: port}}},
		{ID: "tcp send", Check: Check{TCP: &TCP{Port: port, Send: "x"}}},
		{ID: "http", Check: Check{HTTP: &HTTP{URL: fmt.Sprintf("http://{address}:%d/", port), NewConnection: true}}},
		{ID: "dns", Check: Check{DNS: &DNS{Port: nameServer(t, agree), Name: "shop.example."}}},
		{ID: "exec", Check: Check{Exec: &Exec{Argv: []string{"/bin/true"}}}},
		{ID: "icmp", Check: Check{ICMP: &ICMP{}}}, // opens its socket only after the others
	}
	for i := range targets {
		targets[i].Address = netip.MustParseAddr("127.0.0.1")
		targets[i].Interval, targets[i].Timeout = 100*time.Millisecond, 6*time.Second
	}
	w := watchAll(t, targets[:5])
	for _, target := range targets[:5] {
		poll(t, "a success of "+string(target.ID), func() bool { return w.count(target.ID) > 0 })
	}

	give := takeFiles(t)
	defer give()
	w.p.Set(targets)
	before := w.blind(faultFiles)
	poll(t, "checks without a descriptor", func() bool { return w.blind(faultFiles) > before+18 })
	if n := w.count("icmp"); n > 0 {
		t.Errorf("%d observations of icmp without a socket", n)
	}
	give()
	after := map[policy.TargetID]int{}
	for _, target := range targets {
		after[target.ID] = w.count(target.ID)
	}
	for _, target := range targets {
		poll(t, "another success of "+string(target.ID), func() bool { return w.count(target.ID) > after[target.ID]+1 })
	}
	w.fails(t)
}

// takeFiles leaves this process no file descriptor until give is called.
func takeFiles(t *testing.T) (give func()) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	lowered := limit
	lowered.Cur = 0 // those that are open stay
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &lowered); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			t.Fatal(err)
		}
	}
}

// Without a local port left, no target fails.
func TestNoLocalPortLeft(t *testing.T) {
	if !inNetns(t) {
		return
	}
	tcp := listen(t, "tcp4", "127.0.0.1:0", hold)
	dnsPort := nameServer(t, agree)
	targets := []Target{
		{ID: "tcp", Check: Check{TCP: &TCP{Port: tcp}}},
		{ID: "udp", Check: Check{DNS: &DNS{Port: dnsPort, Name: "shop.example."}}},
		{ID: "dns over tcp", Check: Check{DNS: &DNS{Port: tcp, Name: "shop.example.", TCP: true}}},
	}
	for i := range targets {
		targets[i].Address = netip.MustParseAddr("127.0.0.1")
		targets[i].Interval, targets[i].Timeout = 100*time.Millisecond, 3*time.Second
	}
	const first, last = 61000, 61003
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_local_port_range", fmt.Appendf(nil, "%d %d", first, last), 0); err != nil {
		t.Fatal(err)
	}
	var held []net.Conn
	release := func() {
		for _, c := range held {
			if c, ok := c.(*net.TCPConn); ok {
				_ = c.SetLinger(0) // else the port stays in TIME_WAIT
			}
			_ = c.Close()
		}
		held = nil
	}
	defer release()
	for port := first; port <= last; port++ {
		for _, at := range []struct {
			network string
			local   net.Addr
			to      uint16
		}{
			{"tcp4", &net.TCPAddr{Port: port}, tcp},
			{"udp4", &net.UDPAddr{Port: port}, dnsPort},
		} {
			c, err := (&net.Dialer{LocalAddr: at.local}).Dial(at.network, fmt.Sprintf("127.0.0.1:%d", at.to))
			if err != nil {
				t.Fatal(err)
			}
			held = append(held, c)
		}
	}

	var ws []*watch
	for _, target := range targets {
		ws = append(ws, watchAll(t, []Target{target}))
	}
	for i, target := range targets {
		w := ws[i]
		poll(t, "checks without a port: "+string(target.ID), func() bool { return w.blind(faultPorts) >= 1 })
		if n := w.count(target.ID); n > 0 {
			t.Errorf("%d observations of %s without a port: %s", n, target.ID, w.seen[target.ID][0].Reason)
		}
	}
	release()
	for i, w := range ws[:2] { // nobody speaks DNS at the third
		poll(t, "a success of "+string(targets[i].ID), func() bool { return w.count(targets[i].ID) > 0 })
		w.fails(t)
	}
}

// Without the right to an ICMP socket, no target fails.
func TestNoRightToICMP(t *testing.T) {
	if !inNetnsUnprivileged(t) {
		return
	}
	target := icmpTarget("127.0.0.1", 0)
	target.ID, target.Timeout = "icmp", 300*time.Millisecond
	w := watchAll(t, []Target{target})
	poll(t, "checks without a socket", func() bool { return w.blind(faultRights) >= 2 })
	if n := w.count("icmp"); n > 0 {
		t.Errorf("%d observations without a socket: %s", n, w.seen["icmp"][0].Reason)
	}
}
