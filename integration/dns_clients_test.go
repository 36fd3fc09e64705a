package integration

import (
	"fmt"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/scloudstack/pharos/dnsserver"
	"github.com/scloudstack/pharos/policy"
	"github.com/scloudstack/pharos/zones"
)

// TestClients asks with dig and kdig, over IPv4 and IPv6, UDP and TCP.
func TestClients(t *testing.T) {
	file, err := filepath.Abs("testdata/rich.zone")
	if err != nil {
		t.Fatal(err)
	}
	z, _, err := zones.ParseFile("rich.example.", file, zones.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if z, err = z.WithNames("near.rich.example."); err != nil {
		t.Fatal(err)
	}
	member := func(a string) []policy.Member { return []policy.Member{{Addrs: []netip.Addr{netip.MustParseAddr(a)}}} }
	d := dnsserver.Data{Zones: []*zones.Zone{z}, Revision: &policy.Revision{
		Groups: []policy.Group{{Site: "a", Prefixes: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}}},
		Answers: map[string]*policy.Answer{"near.rich.example.": {
			Name: "near.rich.example.", TTL: 10, NegTTL: 10,
			Choices: []policy.Choice{{A: member("203.0.113.1")}, {A: member("203.0.113.2")}},
		}},
	}}
	addrs := serveDNS(t, dnsserver.Config{
		Version: "pharos test", ServerID: "edge-a1", NSID: "edge-a1",
		ECSTrusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")},
	}, d)

	for _, tt := range []struct {
		tool string
		args string
		want []string
		not  []string
	}{
		{"dig", "www.rich.example A +noedns", []string{"status: NOERROR", "flags: qr aa rd;", "ANSWER: 3", "192.0.2.80"}, []string{"OPT"}},
		{"dig", "WwW.rich.example A +norec", []string{"flags: qr aa;", "WwW.rich.example.", "udp: 1232"}, nil},
		{"dig", "www.rich.example A +nsid", []string{"NSID: 65 64 67 65 2d 61 31"}, nil},
		{"dig", "long-txt.rich.example TXT +ignore +noedns", []string{"flags: qr aa tc rd;", "ANSWER: 0"}, nil},
		{"dig", "long-txt.rich.example TXT", []string{"status: NOERROR", "ANSWER: 2"}, []string{" tc "}},
		{"dig", "many.rich.example A +bufsize=512", []string{"ANSWER: 60", "(TCP)"}, nil}, // asked again over TCP
		{"dig", "www.rich.example A +edns=1 +noednsnegotiation", []string{"status: BADVERS"}, nil},
		{"dig", "near.rich.example A +subnet=10.1.2.0/24", []string{"203.0.113.2", "CLIENT-SUBNET: 10.1.2.0/24/16"}, nil},
		{"dig", "near.rich.example A +subnet=192.0.2.0/24", []string{"203.0.113.1"}, nil},
		{"dig", "near.rich.example AAAA", []string{"status: NOERROR", "ANSWER: 0", "10\tIN\tSOA"}, nil},
		{"dig", "absent.rich.example A", []string{"status: NXDOMAIN", "600\tIN\tSOA"}, nil},
		{"dig", "www.example.net A", []string{"status: REFUSED"}, nil},
		{"dig", "CH TXT version.bind", []string{`"pharos test"`}, nil},
		{"dig", "CH TXT id.server", []string{`"edge-a1"`}, nil},
		{"dig", "rich.example AXFR", []string{"Transfer failed"}, nil},
		{"dig", "www.rich.example A +opcode=4", []string{"status: NOTIMP"}, nil},
		{"dig", "host.sub.rich.example A", []string{"flags: qr rd;", "AUTHORITY: 3", "ns1.sub.rich.example.\t3600\tIN\tA\t192.0.2.53"}, nil},
		{"dig", "host.old.rich.example A +tcp +keepopen", []string{"DNAME\tnew.rich.example.", "192.0.2.61"}, nil},
		{"kdig", "www.rich.example A", []string{"NOERROR", "192.0.2.79"}, nil},
		{"kdig", "+edns +nsid www.rich.example A", []string{`"edge-a1"`}, nil},
		{"kdig", "+tcp many.rich.example A", []string{"ANSWER: 60"}, nil},
		{"kdig", "+edns +subnet=10.1.2.0/24 near.rich.example A", []string{"203.0.113.2", "10.1.2.0/24/16"}, nil},
		{"kdig", "+dnssec www.rich.example A", []string{"Flags: qr aa rd;", "flags: do;"}, nil},
		{"kdig", "_sip._tcp.rich.example SRV", []string{"ANSWER: 2", "mail.rich.example."}, nil},
		{"kdig", "rich.example HTTPS", []string{"alpn=h2,h3"}, nil},
	} {
		for _, at := range addrs {
			for _, tcp := range []string{"", "+tcp"} {
				name := fmt.Sprintf("%s %s %v %s", tt.tool, tt.args, at.Addr(), tcp)
				if tcp != "" && (strings.Contains(tt.args, "+ignore") || strings.Contains(tt.args, "+bufsize")) {
					continue // about UDP alone
				}
				args := append([]string{"@" + at.Addr().String(), "-p", fmt.Sprint(at.Port())}, strings.Fields(tt.args+" "+tcp)...)
				out, err := exec.Command(tt.tool, args...).CombinedOutput()
				if err != nil && len(out) == 0 {
					t.Errorf("%s: %v", name, err)
					continue
				}
				for _, w := range tt.want {
					if !strings.Contains(string(out), w) {
						t.Errorf("%s: no %q in\n%s", name, w, out)
					}
				}
				for _, n := range tt.not {
					if strings.Contains(string(out), n) {
						t.Errorf("%s: %q in\n%s", name, n, out)
					}
				}
			}
		}
	}
}
