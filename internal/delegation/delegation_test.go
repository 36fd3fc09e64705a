package delegation

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
	"go.uber.org/goleak"

	"github.com/scloudstack/pharos/zones"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The parent, as knotd serves it. A server that has the zone of the parent's
// name servers too does for a resolver.
const parentZone = `$TTL 60
@        IN SOA ns hostmaster 1 3600 600 86400 60
@        IN NS  ns
ns       IN A   127.0.0.1
good     IN NS  ns1.good
good     IN NS  ns.elsewhere.test.
ns1.good IN A   192.0.2.1
ns1.good IN AAAA 2001:db8::1
bad      IN NS  ns1.bad
bad      IN NS  old.bad
bad      IN NS  bare.bad
ns1.bad  IN A   192.0.2.9
old.bad  IN A   192.0.2.10
bare.bad IN A   192.0.2.11
`

func TestAgainstKnot(t *testing.T) {
	resolver := startKnot(t, map[string]string{"example": parentZone})
	r := Resolver{Address: resolver, Port: resolver.Port()}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for _, tt := range []struct {
		zone, text string
		want       []string
	}{
		{"good.example.", `
@   IN NS ns1
@   IN NS ns.elsewhere.test.
ns1 IN A 192.0.2.1
ns1 IN AAAA 2001:db8::1
`, nil},
		{"bad.example.", `
@    IN NS ns1
@    IN NS bare
@    IN NS new
ns1  IN A 192.0.2.1
new  IN A 192.0.2.2
bare IN A 192.0.2.11
bare IN AAAA 2001:db8::11
`, []string{
			"NS new.bad.example. is in the zone, not at the parent",
			"NS old.bad.example. is at the parent, not in the zone",
			"bare.bad.example. is 192.0.2.11 2001:db8::11 in the zone, 192.0.2.11 at the parent",
			"ns1.bad.example. is 192.0.2.1 in the zone, 192.0.2.9 at the parent",
		}},
	} {
		t.Run(tt.zone, func(t *testing.T) {
			report := r.Check(ctx, parse(t, tt.zone, tt.text))
			if report.Error != "" || report.Parent != "example." || len(report.Servers) != 1 {
				t.Fatalf("%+v", report)
			}
			if diff := cmp.Diff(tt.want, sortedWords(report.Findings)); diff != "" {
				t.Error(diff)
			}
		})
	}
	t.Run("a parent that does not delegate", func(t *testing.T) {
		report := r.Check(ctx, parse(t, "absent.example.", "@ IN NS ns.elsewhere.test.\n"))
		if !strings.Contains(report.Error, "does not delegate absent.example.: NXDOMAIN") {
			t.Errorf("%+v", report)
		}
	})
	t.Run("no parent to be found", func(t *testing.T) {
		report := r.Check(ctx, parse(t, "shop.test.", "@ IN NS ns.elsewhere.test.\n"))
		if !strings.Contains(report.Error, "REFUSED") {
			t.Errorf("%+v", report)
		}
	})
}

func TestMissingGlue(t *testing.T) {
	own := referral{hosts: []string{"ns1.shop.example."}, glue: map[string][]netip.Addr{"ns1.shop.example.": {netip.MustParseAddr("192.0.2.1")}}}
	theirs := referral{hosts: own.hosts, glue: map[string][]netip.Addr{}}
	want := []string{"ns1.shop.example. has no glue at the parent: nobody can find it"}
	if diff := cmp.Diff(want, compare("shop.example.", own, theirs)); diff != "" {
		t.Error(diff)
	}
}

func TestNobodyAnswers(t *testing.T) {
	closed, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := closed.LocalAddr().(*net.UDPAddr).AddrPort()
	_ = closed.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	report := Resolver{Address: at}.Check(ctx, parse(t, "shop.example.", "@ IN NS ns.elsewhere.test.\n"))
	if !strings.Contains(report.Error, at.String()) {
		t.Errorf("%+v", report)
	}
}

func sortedWords(s []string) []string { return slices.Sorted(slices.Values(s)) }

func parse(t *testing.T, origin, records string) *zones.Zone {
	t.Helper()
	text := "$TTL 60\n@ IN SOA ns hostmaster 1 3600 600 86400 60\n" + records
	z, _, err := zones.Parse(origin, strings.NewReader(text), "test", zones.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return z
}

// startKnot runs knotd with zones until the test ends.
func startKnot(t *testing.T, served map[string]string) netip.AddrPort {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "ph") // short, for the sockets in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	at := freeAddress(t)
	conf := fmt.Sprintf("server:\n  rundir: %s\n  listen: %s@%d\ndatabase:\n  storage: %s\ntemplate:\n- id: default\n  storage: %s\n  zonefile-load: whole\n  journal-content: none\nzone:\n",
		dir, at.Addr(), at.Port(), dir, dir)
	for name, text := range served {
		file := filepath.Join(dir, name+".zone")
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		conf += fmt.Sprintf("- domain: %s\n  file: %s\n", name, file)
	}
	path := filepath.Join(dir, "knot.conf")
	if err := os.WriteFile(path, []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	cmd := exec.Command("knotd", "-c", path)
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(said.String())
		}
	})
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); <-time.After(20 * time.Millisecond) {
		m, err := ask(context.Background(), at, "example.", dns.TypeSOA, false)
		if err == nil && m.Rcode == dns.RcodeSuccess {
			return at
		}
	}
	t.Fatalf("knotd does not answer:\n%s", said.String())
	return at
}

func freeAddress(t *testing.T) netip.AddrPort {
	t.Helper()
	u, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = u.Close() }()
	return u.LocalAddr().(*net.UDPAddr).AddrPort()
}
