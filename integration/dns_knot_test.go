package integration

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/scloudstack/pharos/dnsserver"
	"github.com/scloudstack/pharos/zones"
)

const knotd = "/usr/sbin/knotd"

// startKnot runs knotd with one zone until the test ends.
func startKnot(t *testing.T, zone, file string) netip.AddrPort {
	t.Helper()
	dir := t.TempDir()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := ln.Addr().(*net.TCPAddr).AddrPort()
	ln.Close()
	conf := filepath.Join(dir, "knot.conf")
	text := fmt.Sprintf(`server:
  listen: 127.0.0.1@%[1]d
  rundir: %[2]s
  identity: ""
database:
  storage: %[2]s
log:
- target: stderr
  any: warning
template:
- id: default
  journal-content: none
  zonefile-sync: -1
  zonefile-load: whole
zone:
- domain: %[3]s
  file: %[4]s
`, at.Port(), dir, zone, file)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	cmd := exec.Command(knotd, "-c", conf)
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			_ = cmd.Process.Kill()
			<-ended
		}
	})
	c := dns.Client{Timeout: time.Second}
	for deadline := time.Now().Add(20 * time.Second); ; {
		r, _, err := c.Exchange(new(dns.Msg).SetQuestion(zone, dns.TypeSOA), at.String())
		if err == nil && r.Rcode == dns.RcodeSuccess {
			return at
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("knotd ended: %v\n%s", err, &log)
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatalf("knotd does not answer: %v %v\n%s", r, err, &log)
		}
	}
}

// peer is one server, over one TCP connection: nothing is truncated.
type dnsPeer struct {
	t    *testing.T
	at   netip.AddrPort
	conn *dns.Conn
}

func (p *dnsPeer) ask(name string, qtype uint16) *dns.Msg {
	p.t.Helper()
	q := new(dns.Msg).SetQuestion(name, qtype)
	q.RecursionDesired = false
	c := dns.Client{Net: "tcp", Timeout: 10 * time.Second}
	for try := 1; ; try++ {
		var err error
		if p.conn == nil {
			if p.conn, err = c.Dial(p.at.String()); err != nil {
				p.t.Fatal(err)
			}
			p.t.Cleanup(func() { p.conn.Close() })
		}
		r, _, err := c.ExchangeWithConn(q, p.conn)
		if err == nil {
			return r
		}
		p.conn.Close()
		p.conn = nil
		if try == 3 {
			p.t.Fatalf("%v: %s %s: %v", p.at, name, dns.TypeToString[qtype], err)
		}
	}
}

// lines writes records for comparing: RRsets stay in order, the records of one
// are sorted, names are in lower case. A record counts once: knotd goes around
// a loop of DNAMEs several times.
func lines(rrs []dns.RR) []string {
	var out []string
	seen := map[string]bool{}
	rrs = slices.DeleteFunc(slices.Clone(rrs), func(rr dns.RR) bool {
		l := strings.ToLower(rr.String())
		defer func() { seen[l] = true }()
		return seen[l]
	})
	start := 0
	for i, rr := range rrs {
		if rr.Header().Rrtype == dns.TypeOPT {
			continue
		}
		if i > 0 && (rr.Header().Rrtype != rrs[i-1].Header().Rrtype || !strings.EqualFold(rr.Header().Name, rrs[i-1].Header().Name)) {
			sort.Strings(out[start:])
			start = len(out)
		}
		out = append(out, strings.ToLower(rr.String()))
	}
	sort.Strings(out[start:])
	return out
}

// TestKnotAnswersTheSame asks knotd and our server for every name in a rich
// zone and around it, with every type.
func TestKnotAnswersTheSame(t *testing.T) {
	const origin = "rich.example."
	file, err := filepath.Abs("testdata/rich.zone")
	if err != nil {
		t.Fatal(err)
	}
	z, _, err := zones.ParseFile(origin, file, zones.Options{})
	if err != nil {
		t.Fatal(err)
	}
	knot := &dnsPeer{t: t, at: startKnot(t, origin, file)}
	ours := &dnsPeer{t: t, at: serveDNS(t, dnsserver.Config{}, dnsserver.Data{Zones: []*zones.Zone{z}})[0]}

	types := map[uint16]bool{}
	for _, t := range []uint16{
		dns.TypeA, dns.TypeAAAA, dns.TypeNS, dns.TypeSOA, dns.TypeCNAME, dns.TypeDNAME, dns.TypeMX, dns.TypeTXT,
		dns.TypeSRV, dns.TypePTR, dns.TypeDS, dns.TypeHTTPS, dns.TypeDNSKEY, dns.TypeNSEC, 65399,
	} {
		types[t] = true
	}
	names := map[string]bool{"example.": true, "other.example.": true, ".": true}
	rng := rand.New(rand.NewPCG(1, 2))
	z.Walk(func(owner []byte, sets []zones.RRset, _ zones.NodeFlags) bool {
		n := zones.NameText(owner)
		for _, around := range []string{n, "absent." + n, "a.b." + n, "*." + n, fmt.Sprintf("r%d.", rng.IntN(1e6)) + n, strings.ToUpper(n)} {
			if _, ok := dns.IsDomainName(around); ok {
				names[around] = true
			}
		}
		for _, s := range sets {
			types[s.Type] = true
		}
		return true
	})
	for range 200 {
		names[fmt.Sprintf("n%d.%s", rng.IntN(1e6), origin)] = true
	}

	asked := 0
	for name := range names {
		for typ := range types {
			asked++
			compareAnswers(t, name, typ, knot.ask(name, typ), ours.ask(name, typ))
		}
	}
	t.Logf("%d names, %d questions", len(names), asked)

	// A DNAME that would make the name too long is where knotd does not follow
	// RFC 6672 §2.2, but answers NXDOMAIN.
	if r := ours.ask(tooLong, dns.TypeA); r.Rcode != dns.RcodeYXDomain || len(r.Answer) != 1 {
		t.Errorf("%s: %v", tooLong, r)
	}
}

var tooLong = strings.Repeat("long.", 30) + "long.rich.example."

func compareAnswers(t *testing.T, name string, typ uint16, want, got *dns.Msg) {
	t.Helper()
	type part struct {
		Rcode             string
		AA, TC            bool
		Answer, Authority []string
	}
	of := func(m *dns.Msg) part {
		return part{dns.RcodeToString[m.Rcode], m.Authoritative, m.Truncated, lines(m.Answer), lines(m.Ns)}
	}
	if diff := cmp.Diff(of(want), of(got)); diff != "" {
		t.Errorf("%s %s (-knotd +ours):\n%s", name, dns.Type(typ), diff)
	}
	// Of the additional section, what a client can't do without: the addresses
	// of name servers below the cut. The rest may be there or not, but not be
	// other than knotd's.
	extra := map[string]bool{}
	for _, l := range lines(got.Extra) {
		extra[l] = true
	}
	theirs := map[string]bool{}
	for _, l := range lines(want.Extra) {
		theirs[l] = true
		owner := strings.ToLower(strings.Fields(l)[0])
		for _, ns := range want.Ns {
			if ns, ok := ns.(*dns.NS); ok && strings.EqualFold(ns.Ns, owner) && dns.IsSubDomain(strings.ToLower(ns.Hdr.Name), owner) && !extra[l] {
				t.Errorf("%s %s: without the glue %s", name, dns.Type(typ), l)
			}
		}
	}
	for l := range extra {
		if !theirs[l] {
			t.Errorf("%s %s: knotd does not add %s", name, dns.Type(typ), l)
		}
	}
}
