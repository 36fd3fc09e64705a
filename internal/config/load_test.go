package config

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/scloudstack/pharos/policy"
	"github.com/scloudstack/pharos/probe"
	"github.com/scloudstack/pharos/zones"
)

// fromText loads one file, which has to be right.
func fromText(t *testing.T, text string, opt Options) *Settings {
	t.Helper()
	s, err := tryText(text, opt)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func tryText(text string, opt Options) (*Settings, error) {
	opt.FS = fstest.MapFS{"pharos.yaml": {Data: []byte(text)}}
	if opt.Getenv == nil {
		opt.Getenv = noEnv
	}
	s, _, err := Load("pharos.yaml", opt)
	return s, err
}

const twoSites = `
node: {name: a1, data_dir: /data}
sites:
  a: {metro: m, requires: {wan: {icmp: 192.0.2.1, interval: 2s, timeout: 1s, jitter: 0s, fall: 2, rise: 4}}}
  b: {metro: m, requires: {wan: {icmp: 192.0.2.9}}}
nodes:
  a1: {site: a, address: 10.1.0.5}
  b1: {site: b}
dns: {listen: "127.0.0.1:5300", zones: [{name: Shop.Example, file: shop.zone}], nsid: "{node}"}
services:
  shop:
    names: [WWW.shop.example]
    endpoints:
      - {site: a, address: 203.0.113.1, check_address: 10.1.8.1}
      - {site: b, addresses: [203.0.113.2, "2001:db8::2"]}
    check: {tcp: {port: 443}, jitter: 20%}
`

func TestSettings(t *testing.T) {
	s := fromText(t, twoSites, Options{})
	tcp := probe.Check{TCP: &probe.TCP{Port: 443}}
	target := func(label, address string, c probe.Check, interval, timeout, jitter time.Duration, fall, rise int) (probe.Target, policy.TargetID) {
		t := probe.Target{Label: label, Address: netip.MustParseAddr(address), Check: c, Interval: interval, Timeout: timeout, Jitter: jitter, Attempts: 3}
		t.ID = t.Hash(fall, rise)
		return t, t.ID
	}
	wan, wanID := target("icmp 192.0.2.1", "192.0.2.1", probe.Check{ICMP: &probe.ICMP{}}, 2*time.Second, time.Second, 0, 2, 4)
	a, aID := target("tcp 10.1.8.1:443", "10.1.8.1", tcp, time.Second, time.Second/2, time.Second/5, 3, 10)
	b4, b4ID := target("tcp 203.0.113.2:443", "203.0.113.2", tcp, time.Second, time.Second/2, time.Second/5, 3, 10)
	b6, b6ID := target("tcp [2001:db8::2]:443", "2001:db8::2", tcp, time.Second, time.Second/2, time.Second/5, 3, 10)
	if diff := cmp.Diff([]probe.Target{wan, a, b4, b6}, s.Targets, cmp.Comparer(same)); diff != "" {
		t.Errorf("targets (-want +got):\n%s", diff)
	}
	want := policy.Service{
		ID: "shop", Names: []string{"www.shop.example."},
		TTL: 10 * time.Second, TTLFloor: 2 * time.Second, MinHealthy: 1,
		Return: policy.Return{Hold: 5 * time.Minute},
		Endpoints: []policy.Endpoint{
			{
				ID: "203.0.113.1", Weight: 1, Addresses: []netip.Addr{netip.MustParseAddr("203.0.113.1")},
				At: []policy.EndpointSite{{Site: "a", Targets: []policy.TargetID{aID}}},
			},
			{
				ID: "203.0.113.2", Weight: 1, Addresses: []netip.Addr{netip.MustParseAddr("203.0.113.2"), netip.MustParseAddr("2001:db8::2")},
				At: []policy.EndpointSite{{Site: "b", Targets: []policy.TargetID{b4ID, b6ID}}},
			},
		},
	}
	if diff := cmp.Diff([]policy.Service{want}, s.Policy.Services, cmp.Comparer(same)); diff != "" {
		t.Errorf("services (-want +got):\n%s", diff)
	}
	if got := s.Policy.Targets[wanID]; got.Site != "a" || got.Fall != 2 || got.Rise != 4 || got.Interval != 2*time.Second {
		t.Errorf("target of the requirement: %+v", got)
	}
	if len(s.Policy.Targets) != 5 {
		t.Errorf("%d targets in all, want 5: those of the other site's requires too", len(s.Policy.Targets))
	}
	if diff := cmp.Diff([]zones.Spec{{Name: "shop.example.", File: "shop.zone"}}, s.Zones); diff != "" {
		t.Errorf("zones (-want +got):\n%s", diff)
	}
	if s.DNS.NSID != "a1" || s.API.Socket != "/data/pharos.sock" || s.Node.Site != "a" || s.Policy.Self != "a1" {
		t.Errorf("nsid %q, socket %q, site %q, self %q", s.DNS.NSID, s.API.Socket, s.Node.Site, s.Policy.Self)
	}
}

func same(a, b netip.Addr) bool { return a == b }

func TestWithoutProbeRole(t *testing.T) {
	s := fromText(t, strings.Replace(twoSites, "address: 10.1.0.5", "roles: [dns]", 1), Options{})
	if len(s.Targets) != 0 || s.Policy.Nodes[0].Probes || !s.Policy.Nodes[1].Probes {
		t.Errorf("targets %v, nodes %+v", s.Targets, s.Policy.Nodes)
	}
}

// One address that both sites require is reached over each site's own uplink.
func TestSharedRequirement(t *testing.T) {
	text := strings.NewReplacer("192.0.2.9", "192.0.2.1", ", interval: 2s, timeout: 1s, jitter: 0s, fall: 2, rise: 4", "").Replace(twoSites)
	for node, site := range map[string]policy.SiteID{"a1": "a", "b1": "b"} {
		s := fromText(t, text, Options{Node: node})
		id := s.Policy.Sites[0].Requires[0].Target
		if id != s.Policy.Sites[1].Requires[0].Target || s.Policy.Targets[id].Site != site {
			t.Errorf("node %s: target of the site %q, want %q", node, s.Policy.Targets[id].Site, site)
		}
	}
}

func TestWhichNode(t *testing.T) {
	const nameless = "sites: {a: {metro: m}}\nnodes: {a1: {site: a}, a2: {site: a}}\n"
	const named = "node: {name: a1, data_dir: state}\n" + nameless
	tests := []struct {
		name, text       string
		opt              Options
		env              map[string]string
		node, data, fail string
	}{
		{name: "file", text: named, node: "a1", data: "state"},
		{name: "environment", text: named, env: map[string]string{"PHAROS_NODE": "a2", "PHAROS_DATA_DIR": "/env"}, node: "a2", data: "/env"},
		{
			name: "flag", text: named, opt: Options{Node: "a2", DataDir: "/flag"},
			env: map[string]string{"PHAROS_NODE": "a1", "PHAROS_DATA_DIR": "/env"}, node: "a2", data: "/flag",
		},
		{name: "default folder", text: nameless, opt: Options{Node: "a1"}, node: "a1", data: DefaultDataDir},
		{name: "any", text: nameless, opt: Options{AnyNode: true}, node: "a1", data: DefaultDataDir},
		{name: "any, but named", text: named, opt: Options{AnyNode: true, Node: "a2"}, node: "a2", data: "state"},
		{name: "none", text: nameless, fail: "pharos.yaml:1:1: node.name is missing: which node is this? (or give --node NAME, or PHAROS_NODE)"},
		{name: "unknown flag", text: named, opt: Options{Node: "a3"}, fail: `--node: unknown node "a3": did you mean "a1"?`},
		{name: "unknown environment", text: named, env: map[string]string{"PHAROS_NODE": "edge"}, fail: `PHAROS_NODE: unknown node "edge": expected a1 or a2`},
		{name: "bad flag", text: named, opt: Options{Node: "a/b"}, fail: `--node: "a/b" is no node name: expected letters, digits, - _ . (and a letter or digit first), found '/'`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.opt.Getenv = func(key string) string { return tt.env[key] }
			s, err := tryText(tt.text, tt.opt)
			if tt.fail != "" {
				if err == nil || err.Error() != tt.fail {
					t.Fatalf("error:\n%v\nwant:\n%v", err, tt.fail)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if string(s.Node.Name) != tt.node || s.DataDir != tt.data {
				t.Errorf("node %s in %s, want %s in %s", s.Node.Name, s.DataDir, tt.node, tt.data)
			}
		})
	}
}

func TestDigest(t *testing.T) {
	digest := func(files fstest.MapFS, opt Options) [32]byte {
		t.Helper()
		opt.FS, opt.Getenv = files, noEnv
		s, _, err := Load("pharos.yaml", opt)
		if err != nil {
			t.Fatal(err)
		}
		return s.Digest()
	}
	one := func(text string) fstest.MapFS { return fstest.MapFS{"pharos.yaml": {Data: []byte(text)}} }
	want := digest(one(twoSites), Options{})
	head, services, _ := strings.Cut(twoSites, "services:")
	alike := map[string][32]byte{
		"another node":     digest(one(twoSites), Options{Node: "b1"}),
		"another folder":   digest(one(strings.Replace(twoSites, "data_dir: /data", "data_dir: /else", 1)), Options{}),
		"without node":     digest(one(strings.Replace(twoSites, "node: {name: a1, data_dir: /data}", "", 1)), Options{Node: "a1"}),
		"comments, quotes": digest(one(strings.NewReplacer("site: a,", `"site": 'a',`, "nodes:", "nodes: # all").Replace(twoSites)), Options{}),
		"line ends":        digest(one(strings.ReplaceAll(twoSites, "\n", "\r\n")), Options{}),
		"two files": digest(fstest.MapFS{
			"pharos.yaml":  {Data: []byte(head + "include: '*/shop.yaml'\n")},
			"d/shop.yaml":  {Data: []byte("services:" + services)},
			"d/other.yaml": {Data: []byte("{")},
		}, Options{}),
	}
	for name, got := range alike {
		if got != want {
			t.Errorf("%s: another digest", name)
		}
	}
	if digest(one(strings.Replace(twoSites, "port: 443", "port: 444", 1)), Options{}) == want {
		t.Error("another port: the same digest")
	}
}

func TestPlainServer(t *testing.T) {
	s := fromText(t, "node: {name: ns1}\ndns: {zones: [{name: plain.example., file: z}]}\n", Options{})
	want := &policy.Config{
		Cluster: "pharos", Self: "ns1",
		Sites:       []policy.Site{{ID: "local", Metro: "local"}},
		Nodes:       []policy.Node{{ID: "ns1", Site: "local", Probes: true}},
		Targets:     map[policy.TargetID]policy.Target{},
		RejoinAfter: 10 * time.Minute, VoteTTL: 3 * time.Second, Observers: 2, Digest: s.Policy.Digest,
	}
	if diff := cmp.Diff(want, s.Policy); diff != "" {
		t.Errorf("policy (-want +got):\n%s", diff)
	}
	listen := []netip.AddrPort{netip.MustParseAddrPort("0.0.0.0:53"), netip.MustParseAddrPort("[::]:53")}
	if fmt.Sprint(s.DNS.Listen) != fmt.Sprint(listen) {
		t.Errorf("listen %v, want %v", s.DNS.Listen, listen)
	}
}

// On the machine's own files: relative paths begin at the folder of the main
// file, and messages name files as they are reached from where one stands.
func TestFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	write("etc/pharos.yaml", "node: {name: a}\ninclude: d/*.yaml\napi: {socket: s}\n")
	write("etc/d/zones.yaml", "dns: {zones: [{name: a.example., file: ../a.zone}]}\n")
	s, warnings, err := Load("etc/pharos.yaml", Options{Getenv: noEnv})
	if err != nil || len(warnings) > 0 {
		t.Fatal(err, warnings)
	}
	if want := []string{"etc/pharos.yaml", "etc/d/zones.yaml"}; !cmp.Equal(s.Files, want) {
		t.Errorf("files %v, want %v", s.Files, want)
	}
	if want := filepath.Join(dir, "a.zone"); s.Zones[0].File != want {
		t.Errorf("zone file %s, want %s", s.Zones[0].File, want)
	}
	if want := filepath.Join(dir, "etc/s"); s.API.Socket != want {
		t.Errorf("socket %s, want %s", s.API.Socket, want)
	}

	write("etc/d/zones.yaml", "dns: {zone: []}\n")
	_, _, err = Load("etc/pharos.yaml", Options{Getenv: noEnv})
	if want := `etc/d/zones.yaml:1:7: dns: unknown key "zone": did you mean "zones"?`; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
	_, _, err = Load("etc/nothing.yaml", Options{Getenv: noEnv})
	if want := "etc/nothing.yaml: can't be read: no such file or directory"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}

	// A check whose files are not there can't succeed, except where it is only looked at.
	write("etc/pharos.yaml", strings.Replace(twoSites, "{tcp: {port: 443}", "{tcp: {port: 443, tls: {ca_file: ca.pem}}", 1))
	_, _, err = Load("etc/pharos.yaml", Options{Getenv: noEnv})
	if err == nil || !strings.Contains(err.Error(), "etc/pharos.yaml:16:45: services.shop.check.tcp.tls.ca_file: ") {
		t.Errorf("error %v, want one at the file's place", err)
	}
	_, warnings, err = Load("etc/pharos.yaml", Options{Getenv: noEnv, AnyNode: true})
	if err != nil || !strings.Contains(warnings.String(), "ca_file: ") {
		t.Errorf("error %v, warnings %v; want a warning", err, warnings)
	}
}

// Files of other programs, or worse, cost little and end nothing.
func TestBounds(t *testing.T) {
	tests := map[string]struct{ text, want string }{
		"size":    {strings.Repeat("#", maxFileSize+1), "pharos.yaml: is larger than 4 MiB"},
		"keys":    {strings.Repeat("a:\n", 30_000), "pharos.yaml:20001:1: is entry 20001 of one mapping or list: at most 20000 are taken; cut it into several files and include them"},
		"list":    {"a: [" + strings.Repeat("1,\n", 20_000) + "1]\n", "pharos.yaml:20000:2: is entry 20001 of one mapping or list: at most 20000 are taken; cut it into several files and include them"},
		"mapping": {"a: [{b: 1}, {" + strings.Repeat("c: 1, ", 20_000) + "c: 1}]\n", "pharos.yaml:1:120012: is entry 20001 of one mapping or list: at most 20000 are taken; cut it into several files and include them"},
		"flow":    {"a: " + strings.Repeat("[", 100_000), "pharos.yaml:1:20: is nested too deeply (at most 16 levels)"},
		"dashes":  {strings.Repeat("- ", 100_000), "pharos.yaml:1:33: is nested too deeply (at most 16 levels)"},
		"indent":  {"a:\n" + strings.Repeat(" ", 300) + "b: 1\n", "pharos.yaml:2:301: is nested too deeply (at most 16 levels)"},
		"levels":  {nested(17), "pharos.yaml:18:18: a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a: is nested too deeply (at most 16 levels)"},
		"key":     {strings.Repeat("k", maxKey+1) + ": 1\n", "pharos.yaml:1:1: the key is longer than 100 characters"},
		"empty":   {"a: |\n" + strings.Repeat("\n", 100_000), "pharos.yaml:102:1: holds more than 100 empty lines in a row"},
		"control": {"node: {name: \"a\x00\"}", "pharos.yaml:1:16: holds the control character U+0000"},
		"utf-8":   {"node: {name: \xff}", "pharos.yaml:1:14: is no UTF-8 text"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := tryText(tt.text, Options{})
			if err == nil || err.Error() != tt.want {
				t.Errorf("error %.300v, want %s", err, tt.want)
			}
		})
	}
	// As many as are taken, in one list after the other, with a comma behind the last.
	list := strings.Repeat("a: ["+strings.Repeat("1,", 20_000)+"]\n", 2)
	if _, err := tryText(list, Options{}); err == nil || strings.Contains(err.Error(), "at most") {
		t.Errorf("error %.300v, want others", err)
	}
	var many strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&many, "key%d: 1\n", i)
	}
	_, err := tryText(many.String(), Options{})
	var errs Errors
	if !errors.As(err, &errs) || len(errs) != maxProblems+1 || errs[maxProblems].Text != "and 801 more" {
		t.Errorf("%d errors, want %d and how many more", len(errs), maxProblems)
	}
}

func nested(levels int) string {
	var b strings.Builder
	for i := range levels {
		b.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	return b.String() + strings.Repeat(" ", levels) + "b: 1\n"
}

func TestNearest(t *testing.T) {
	words := []string{"failover", "active-active", "weighted", "nearest", "ttl", "ttl_floor"}
	for found, want := range map[string]string{
		"failvoer": "failover", "Failover": "failover", "fail-over": "failover", "active_active": "active-active",
		"wieghted": "weighted", "near": "", "tll": "ttl", "ttlfloor": "ttl_floor", "x": "", "": "", "round-robin": "",
		strings.Repeat("a", 1000): "",
	} {
		if got := nearest(found, words); got != want {
			t.Errorf("nearest(%.20q) = %q, want %q", found, got, want)
		}
	}
}

// TestOwnAddress reads one file as two nodes that share a machine.
func TestOwnAddress(t *testing.T) {
	const text = "sites: {a: {metro: m}}\nnodes: {a1: {site: a, address: 127.0.0.1}, a2: {site: a, address: 127.0.0.2}}\ndns: {listen: [\"{address}:5300\", \"[::1]:53\"]}\n"
	for name, want := range map[string]string{"a1": "127.0.0.1:5300", "a2": "127.0.0.2:5300"} {
		s, _, err := Load("p.yaml", Options{Node: name, Getenv: noEnv, FS: fstest.MapFS{"p.yaml": {Data: []byte(text)}}})
		if err != nil {
			t.Fatal(err)
		}
		if got := s.DNS.Listen[0].String(); got != want || s.DNS.Listen[1].String() != "[::1]:53" {
			t.Errorf("%s listens on %v, want %s first", name, s.DNS.Listen, want)
		}
	}
}

// A service has as many addresses as its answers hold.
func TestAddressesOfAService(t *testing.T) {
	base, err := os.ReadFile("testdata/base.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		v4, v6 int
		want   string
	}{
		{256, 256, ""},
		{257, 1, "pharos.yaml:5:16: services.big.endpoints: found 257 IPv4 and 1 IPv6 addresses, expected at most 256 of a family: an answer has to hold them"},
		{1, 257, "pharos.yaml:5:16: services.big.endpoints: found 1 IPv4 and 257 IPv6 addresses, expected at most 256 of a family: an answer has to hold them"},
	} {
		var list []string
		for i := range tt.v4 {
			list = append(list, fmt.Sprintf("10.0.%d.%d", i/256, i%256))
		}
		for i := range tt.v6 {
			list = append(list, fmt.Sprintf("'2001:db8::%x'", i))
		}
		text := "include: base.yaml\nservices:\n  big:\n    names: [www.shop.example.]\n    endpoints: [{site: city-a, addresses: [" + strings.Join(list, ", ") + "]}]\n"
		_, _, err := Load("pharos.yaml", Options{Getenv: noEnv, FS: fstest.MapFS{"base.yaml": {Data: base}, "pharos.yaml": {Data: []byte(text)}}})
		if got := fmt.Sprint(err); err != nil && got != tt.want || (err == nil) != (tt.want == "") {
			t.Errorf("%d and %d: %v, want %q", tt.v4, tt.v6, err, tt.want)
		}
	}
}
