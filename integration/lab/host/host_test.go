package host

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newHost(t *testing.T, name string) *Host {
	t.Helper()
	h, err := New(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

func TestTwoHostsReachEachOther(t *testing.T) {
	a, b := newHost(t, "a"), newHost(t, "b")
	ends := [2]End{{a, "left"}, {b, "right"}}
	addresses := [2]netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.99.0.1")}
	if err := Cable(1, ends[0], ends[1]); err != nil {
		t.Fatal(err)
	}
	for i, end := range ends {
		other := addresses[1-i]
		hw, err := ends[1-i].Address()
		if err != nil {
			t.Fatal(err)
		}
		for _, err := range []error{
			end.NoOffloads(),
			end.Host.AddAddress(end.Device, addresses[i]),
			end.Neighbour(other, hw),
			end.Host.Route(netip.PrefixFrom(other, 32), end.Device, other, addresses[i]),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	l, err := b.Listen("tcp", "10.99.0.1:80")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	conn, err := a.Dial(ctx, "tcp", "10.99.0.1:80")
	if err != nil {
		t.Fatal(err)
	}
	if got := conn.LocalAddr().String(); !strings.HasPrefix(got, "10.0.0.1:") {
		t.Errorf("came from %s", got)
	}
	_ = conn.Close()

	if err := a.Unroute(netip.PrefixFrom(addresses[1], 32)); err != nil {
		t.Error(err)
	}
	if conn, err := a.Dial(ctx, "tcp", "10.99.0.1:80"); err == nil {
		_ = conn.Close()
		t.Error("reached without a route")
	}
}

// TestNoThreadStaysInANamespace looks at all threads of this process after many
// were in one, the first thread among them if it was free.
func TestNoThreadStaysInANamespace(t *testing.T) {
	h := newHost(t, "a")
	for range 50 {
		if err := h.Do(func() error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	inside, err := os.Readlink(h.Path())
	if err != nil {
		t.Fatal(err)
	}
	within := func() string {
		threads, _ := filepath.Glob("/proc/self/task/*/ns/net")
		for _, thread := range threads {
			if at, err := os.Readlink(thread); err == nil && at == inside {
				return thread
			}
		}
		return ""
	}
	left := ""
	for range 100 { // a thread ends a moment after its work
		if left = within(); left == "" {
			return
		}
		<-time.After(10 * time.Millisecond)
	}
	t.Errorf("%s is still in %s", left, inside)
}

func TestProcess(t *testing.T) {
	h := newHost(t, "a")
	p, err := h.Start(exec.Command("sleep", "60"))
	if err != nil {
		t.Fatal(err)
	}
	if !p.Running() {
		t.Error("it does not run")
	}
	if err := p.Kill(); err != nil {
		t.Error(err)
	}
	if p.Running() || p.How() == nil {
		t.Errorf("it has ended: %v", p.How())
	}
	if err := p.Kill(); err != nil {
		t.Errorf("killed again: %v", err)
	}
	if _, err := h.Start(exec.Command("/does/not/exist")); err == nil || !strings.Contains(err.Error(), "host a") {
		t.Errorf("got %v", err)
	}
	out, err := h.Run(t.Context(), "cat", "/proc/net/dev")
	if err != nil || !strings.Contains(out, "lo:") || strings.Contains(out, "eth0") {
		t.Errorf("%v: %s", err, out)
	}
}

func TestWrongWishesAreNamed(t *testing.T) {
	h := newHost(t, "a")
	for _, tt := range []struct {
		err  error
		want string
	}{
		{h.AddAddress("eth9", netip.MustParseAddr("10.0.0.1")), "host a: address 10.0.0.1 on eth9"},
		{h.Set(map[string]string{"net/ipv4/no_such_thing": "1"}), "host a: set net.ipv4.no_such_thing"},
		{h.Route(netip.MustParsePrefix("10.0.0.0/8"), "eth9", netip.Addr{}, netip.Addr{}), "host a: route 10.0.0.0/8: eth9"},
		{End{h, "eth9"}.NoOffloads(), "host a: eth9: offloads off"},
	} {
		if tt.err == nil || !strings.HasPrefix(tt.err.Error(), tt.want) {
			t.Errorf("got %v, want %s", tt.err, tt.want)
		}
	}
}

// TestNamespaceIsNoOther makes namespaces until the kernel gives one the inode of one that
// has ended: it is another all the same.
func TestNamespaceIsNoOther(t *testing.T) {
	seen := map[uint64]Namespace{}
	for begun := time.Now(); time.Since(begun) < 20*time.Second; {
		h, err := New("one of many")
		if err != nil {
			t.Fatal(err)
		}
		n, err := h.Namespace()
		if err := errors.Join(err, h.Close()); err != nil {
			t.Fatal(err)
		}
		if before, again := seen[n.Inode]; again {
			if before == n {
				t.Errorf("%v is taken for one that has ended", n)
			}
			return
		}
		seen[n.Inode] = n
	}
	t.Errorf("no inode came twice among %d namespaces", len(seen))
}
