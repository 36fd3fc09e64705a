package node

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/scloudstack/pharos/internal/api"
	"github.com/scloudstack/pharos/policy"
)

// crew is three nodes, one a site, that share balancers and a folder of configuration.
type crew map[string]*rig

var crewSites = map[string]string{"a1": "city-a", "b1": "city-b", "r1": "remote"}

// newCrew writes what the three need. None is started.
func newCrew(t *testing.T) crew {
	t.Helper()
	base := &rig{t: t, dir: t.TempDir()}
	base.openBalancers()
	base.writeZone(1, "")
	key, _ := NewGossipKey()
	base.write("gossip.keys", key+"\n")
	c := crew{}
	var nodes []string
	port := freeGossipPort(t)
	for i, name := range []string{"a1", "b1", "r1"} {
		r := &rig{t: t, dir: base.dir, data: filepath.Join(base.dir, name), port: base.port}
		r.opt = Options{Log: quiet(t).With("node", name), Version: api.Version{Version: "test"}}
		r.opt.Load.Node, r.opt.Load.DataDir = name, r.data
		private, err := MakeIdentity(filepath.Join(r.data, "node.key"))
		if err != nil {
			t.Fatal(err)
		}
		nodes = append(nodes, fmt.Sprintf("  %s: {site: %s, address: 127.62.%d.1, public_key: %q}", name, crewSites[name], i+1, PublicText(private.Public().(ed25519.PublicKey))))
		c[name] = r
	}
	base.write("pharos.yaml", fmt.Sprintf(`
cluster: {name: crew, port: %d, keys_file: gossip.keys, drills: true}
sites:
  city-a: {metro: city}
  city-b: {metro: city}
  remote: {metro: far, role: standby}
nodes:
%s
dns:
  listen: ["{address}:0"]
  zones: [{name: shop.example., file: shop.zone}]
services:
  shop:
    names: [www.shop.example.]
    ttl: 10s
    endpoints:
      - {site: city-a, address: %s, check_address: 127.61.1.1}
      - {site: city-b, address: %s, check_address: 127.61.2.1}
      - {site: remote, address: %s, check_address: 127.61.3.1}
    check: {http: {url: "http://{address}:%d/healthz"}, interval: %v, timeout: 90ms, fall: %d, rise: %d}
    return: {policy: hold, hold: 0s, after_site_loss: same}
`, port, strings.Join(nodes, "\n"), addrA, addrB, addrR, base.port, rigInterval, rigFall, rigRise))
	return c
}

// freeGossipPort is one that is free on the three addresses.
func freeGossipPort(t *testing.T) int {
	t.Helper()
	for range 100 {
		first, err := net.Listen("tcp", "127.62.1.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := first.Addr().(*net.TCPAddr).Port
		open := []net.Listener{first}
		for i := 2; i <= 3 && err == nil; i++ {
			var l net.Listener
			if l, err = net.Listen("tcp", fmt.Sprintf("127.62.%d.1:%d", i, port)); err == nil {
				open = append(open, l)
			}
		}
		for _, l := range open {
			l.Close()
		}
		if err == nil {
			return port
		}
	}
	t.Fatal("no port is free on three addresses")
	return 0
}

// start starts nodes beside one another: each may wait for the others.
func (c crew) start(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		r := c[name]
		n, err := r.make()
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- n.Run(ctx) }()
		r.node = n
		ended := false
		r.stop = func() error {
			cancel()
			if ended {
				return nil
			}
			ended = true
			return <-done
		}
		t.Cleanup(func() {
			if err := r.stop(); err != nil {
				t.Errorf("%s ended with %v", name, err)
			}
		})
	}
	for _, name := range names {
		select {
		case <-c[name].node.Opened():
		case <-time.After(20 * time.Second):
			t.Fatalf("%s does not open", name)
		}
	}
}

func (c crew) all(t *testing.T, want string, names ...string) {
	t.Helper()
	for _, name := range names {
		eventually(t, name+" answers "+want, func() bool { return c[name].answer() == want })
	}
}

// TestCrew takes three nodes through a death, an order, a loss of contact and a return, and wants them
// to decide alike, to hold one another's orders, and to be counted.
func TestCrew(t *testing.T) {
	c := newCrew(t)
	c.start(t, "a1", "b1", "r1")
	everybody := []string{"a1", "b1", "r1"}
	c.all(t, addrA, everybody...)
	digest := func(name string) string { return c[name].status().Node.Revision.Digest }
	eventually(t, "one digest", func() bool { return digest("a1") == digest("b1") && digest("b1") == digest("r1") })

	// The balancers are those of all nodes' rigs: the first rig that was made has them.
	res, err := c["r1"].order(policy.Order{Kind: policy.KindOverride, Key: "service/shop", Override: &policy.Override{Site: "city-b"}})
	if err != nil || res.Partial != "" {
		t.Fatalf("%+v, %v", res, err)
	}
	holding := 0
	for _, h := range res.Nodes {
		if h.Holds {
			holding++
		}
	}
	if holding != 3 {
		t.Errorf("held by %+v", res.Nodes)
	}
	c.all(t, addrB, everybody...)

	// One node stops: the others say so, and an order on one of them is done in part.
	if err := c["a1"].stop(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "b1 misses a1", func() bool { return strings.Contains(c["b1"].status().Decision.Contact, "1 of 3 sites silent") })
	res, err = c["b1"].order(policy.Order{Kind: policy.KindOverride, Key: "service/shop", Clear: true})
	if err != nil || !strings.Contains(res.Partial, "a1 in city-a") {
		t.Errorf("an order with a node missing: %+v, %v", res, err)
	}
	c.all(t, addrA, "b1", "r1")
	text := c["b1"].metrics()
	for _, want := range []string{
		"pharos_cluster_majority 1", "pharos_cluster_margin 0", `pharos_cluster_node_heard{node="a1",site="city-a"} 0`,
		`pharos_cluster_node_heard{node="r1",site="remote"} 1`, `pharos_cluster_node_differs{node="r1",what="configuration"} 0`, "pharos_held 0",
		`pharos_gossip_bytes_total{direction="received"}`, `pharos_gossip_packets_total{result="good"}`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q among the metrics", want)
		}
	}

	// Other zones than another node has are told, and nothing stops for it.
	differ := func() bool { return strings.Contains(c["b1"].metrics(), `differs{node="r1",what="zones"} 1`) }
	c["b1"].writeZone(2, "")
	for _, name := range []string{"b1", "r1"} {
		if _, err := c[name].node.ZoneReload(t.Context(), "shop.example.", false, "root"); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the zones of b1 and r1 differ, and then not", func() bool { return differ() == (name == "b1") })
		c.all(t, addrA, "b1", "r1")
	}

	// It comes back, and knows what was ordered.
	c.start(t, "a1")
	c["a1"].wantAnswer(addrA)
	if list := c["a1"].status().Decision.Overrides; len(list) > 0 {
		t.Errorf("it still holds %+v", list)
	}
}

// TestFormerKey wants a node whose key is another than before to keep what it ordered.
func TestFormerKey(t *testing.T) {
	r := newRig(t)
	r.start()
	r.override("city-b")
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(r.data, "node.key")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	r.start()
	r.wantAnswer(addrB)
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	r.start() // once more: it was kept under the new key
	r.wantAnswer(addrB)
	if v, err := r.node.VerifyAudit(t.Context()); err != nil || !v.Good || len(v.Chains) != 1 {
		t.Errorf("the audit: %+v, %v", v, err)
	}
}

// TestIdentityIsComparedAtEveryReload wants the alarm identity to come with a configuration that names another key for the
// node, and with a file that holds another, and to go with what mends it.
func TestIdentityIsComparedAtEveryReload(t *testing.T) {
	c := newCrew(t)
	a := c["a1"]
	right, err := os.ReadFile(a.configPath())
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(a.data, "node.key")
	key, err := LoadIdentity(file)
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(a.dir, "other.key")
	strange, err := MakeIdentity(other)
	if err != nil {
		t.Fatal(err)
	}
	public := func(k ed25519.PrivateKey) string { return PublicText(k.Public().(ed25519.PublicKey)) }
	wrong := strings.Replace(string(right), public(key), public(strange), 1)
	reload := func(config string, want ...string) {
		t.Helper()
		a.write("pharos.yaml", config)
		if err := a.reload(0); err != nil {
			t.Fatal(err)
		}
		a.wantAlarm("identity", len(want) > 0)
		for _, alarm := range a.status().Alarms {
			for _, text := range want {
				if alarm.Cause == "identity" && !strings.Contains(alarm.Text, text) {
					t.Errorf("the alarm says %q, want %q in it", alarm.Text, text)
				}
			}
		}
	}
	a.write("pharos.yaml", wrong)
	c.start(t, "a1")
	a.wantAlarm("identity", true)
	reload(string(right))
	reload(wrong, "nodes.a1.public_key is "+public(strange), public(key))
	reload(string(right))

	if err := os.Rename(other, file); err != nil {
		t.Fatal(err)
	}
	reload(string(right), "is "+public(strange), "signs with "+public(key), "restart it")
	if err := os.Remove(file); err != nil { // the node writes its own again
		t.Fatal(err)
	}
	reload(string(right))
	if kept, err := LoadIdentity(file); err != nil || !kept.Equal(key) {
		t.Errorf("the file holds another key than the node's: %v", err)
	}
}

// TestAuditTellsWhoOrdered wants orders, moves and health in the audit of a node.
func TestAuditTellsWhoOrdered(t *testing.T) {
	r := newRig(t)
	r.start()
	r.override("city-b")
	eventually(t, "the order is in the audit", func() bool {
		page, err := r.node.Audit(t.Context(), api.AuditQuery{Limit: 100})
		return err == nil && slices.ContainsFunc(page.Records, func(a api.AuditRecord) bool {
			return a.Kind == "order" && a.Author == "root" && a.Subject == "override set service shop site city-b" && a.Why == "test"
		})
	})
}

// TestAuditTellsWhatWasLoaded wants in the audit who loaded which configuration and zone, what that changed, that a
// trial went back, and who acknowledged an alarm of the node's own.
func TestAuditTellsWhatWasLoaded(t *testing.T) {
	r := newRig(t)
	r.start()
	r.writeZone(2, "new IN A 192.0.2.7\n")
	if _, err := r.node.ZoneReload(t.Context(), "shop.example.", true, "ann"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.node.ZoneRollback(t.Context(), "shop.example.", "bob"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.order(policy.Order{Kind: policy.KindAck, Key: "zone/shop.example."}); err != nil {
		t.Fatal(err)
	}
	r.extraNames = ", new.shop.example."
	r.writeConfig()
	if err := r.reload(100 * time.Millisecond); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the configuration goes back", func() bool { return slices.Contains(r.alarms(), "went-back") })

	of := func(kind, author, subject, why string) *api.AuditRecord {
		page, err := r.node.Audit(t.Context(), api.AuditQuery{Limit: 100})
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(page.Records, func(a api.AuditRecord) bool {
			return a.Kind == kind && a.Author == author && a.Subject == subject && strings.Contains(a.Why, why)
		})
		if i < 0 {
			return nil
		}
		return &page.Records[i]
	}
	for _, tt := range []struct{ kind, author, subject, why, before, after string }{
		{"zone", "ann", "shop.example.", "accepted", "shop.example. serial 1 (", "shop.example. serial 2 ("},
		{"zone", "bob", "shop.example.", "rolled back", "shop.example. serial 2 (", "shop.example. serial 1 ("},
		{"order", "root", "alarm ack zone/shop.example.", "test", "", ""},
		{"configuration", "root", r.configPath(), "on trial until", "new.shop.example. ", "new.shop.example. " + addrA},
		{"configuration", "", r.configPath(), "not confirmed", "new.shop.example. " + addrA, "new.shop.example. "},
	} {
		eventually(t, tt.kind+" by "+tt.author+" is in the audit", func() bool { return of(tt.kind, tt.author, tt.subject, tt.why) != nil })
		if a := of(tt.kind, tt.author, tt.subject, tt.why); !strings.HasPrefix(a.Before, tt.before) || !strings.HasPrefix(a.After, tt.after) {
			t.Errorf("%s by %q: %s → %s", tt.kind, tt.author, a.Before, a.After)
		}
	}
}

// TestRolesStartOnlyTheirParts wants a node to open no DNS socket without the role dns, and to check nothing without the
// role probe.
func TestRolesStartOnlyTheirParts(t *testing.T) {
	for _, tt := range []struct {
		roles       string
		dns, probes bool
	}{{"[dns]", true, false}, {"[probe]", false, true}, {"[replicate]", false, false}} {
		t.Run(tt.roles, func(t *testing.T) {
			r := newRig(t)
			text, err := os.ReadFile(r.configPath())
			if err != nil {
				t.Fatal(err)
			}
			r.write("pharos.yaml", strings.Replace(string(text), "a1: {site: city-a}", "a1: {site: city-a, roles: "+tt.roles+"}", 1))
			r.start()
			if open := len(r.node.Addrs()) > 0; open != tt.dns {
				t.Errorf("DNS is open: %v", open)
			}
			if tt.dns {
				r.wantAnswer(addrA)
			}
			if there := r.node.prober != nil; there != tt.probes {
				t.Errorf("there is a prober: %v", there)
			}
			eventually(t, "what the role says is probed", func() bool { return !tt.probes || r.cityA.asks.Load() > 1 })
			if n := r.cityA.asks.Load(); n > 0 && !tt.probes {
				t.Errorf("the balancer was asked %d times", n)
			}
			if a := r.status().Node.Roles; !slices.Equal(a, strings.Split(strings.Trim(tt.roles, "[]"), ",")) {
				t.Errorf("its roles are %v", a)
			}
		})
	}
}

// TestAuditGoesToSyslog wants each record of the audit at the receiver that the configuration names, from the reload on that
// names it.
func TestAuditGoesToSyslog(t *testing.T) {
	receiver, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer receiver.Close()
	r := newRig(t)
	r.start()
	r.extra = fmt.Sprintf("audit: {syslog: %q}\n", receiver.LocalAddr())
	r.writeConfig()
	if err := r.reload(0); err != nil {
		t.Fatal(err)
	}
	r.override("city-b")
	if err := receiver.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	const want = " root order override set service shop site city-b: www.shop.example. "
	buffer := make([]byte, 64<<10)
	for heard := []string{}; ; {
		n, _, err := receiver.ReadFrom(buffer)
		if err != nil {
			t.Fatalf("no %q among %q: %v", want, heard, err)
		}
		text := string(buffer[:n])
		if heard = append(heard, text); strings.Contains(text, want) {
			if !strings.HasPrefix(text, "<110>1 ") || !strings.HasSuffix(text, " · test") { // log audit, informational (RFC 5424 6.2.1)
				t.Errorf("heard %q", text)
			}
			return
		}
	}
}

// TestAuditGoesToSyslogFromFirstToLast wants what a node records as it is built, and what it still obeys while it stops, at
// the receiver as in the audit.
func TestAuditGoesToSyslogFromFirstToLast(t *testing.T) {
	receiver, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer receiver.Close()
	r := newRig(t)
	r.extra = fmt.Sprintf("audit: {syslog: %q}\n", receiver.LocalAddr())
	r.writeConfig()
	r.start()
	recorded := map[string]bool{}
	note := func() {
		page, err := r.node.Audit(t.Context(), api.AuditQuery{Limit: 1000})
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range page.Records {
			recorded[fmt.Sprintf(" audit - %s/%d ", a.Chain, a.Number)] = true
		}
	}
	// A connection that says nothing has the API wait, so that the node obeys while it stops.
	open, err := net.Dial("unix", filepath.Join(r.data, "pharos.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	ended := make(chan error, 1)
	go func() { ended <- r.stop() }()
	eventually(t, "the node stops", func() bool { return r.node.situation().stopping })
	for _, site := range []policy.SiteID{"city-b", "city-a", "city-b"} {
		r.override(site)
		note()
	}
	open.Close()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(slices.Collect(maps.Keys(recorded)), func(s string) bool { return strings.HasSuffix(s, "/1 ") }) {
		t.Errorf("no first record in the audit: %v", recorded)
	}
	buffer := make([]byte, 64<<10)
	for len(recorded) > 0 {
		if err := receiver.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
		n, _, err := receiver.ReadFrom(buffer)
		if err != nil {
			t.Fatalf("syslog was not sent %v: %v", slices.Collect(maps.Keys(recorded)), err)
		}
		maps.DeleteFunc(recorded, func(s string, _ bool) bool { return strings.Contains(string(buffer[:n]), s) })
	}
}

// TestVoidOrderStaysVoid has a lost site's node take a later order than the others, which is void for them: once it is
// readmitted and filled, it answers as they do, also after a restart.
func TestVoidOrderStaysVoid(t *testing.T) {
	c := newCrew(t)
	c.start(t, "a1", "b1", "r1")
	c.all(t, addrA, "a1", "b1", "r1")
	stop := func(names ...string) {
		for _, name := range names {
			if err := c[name].stop(); err != nil {
				t.Fatal(err)
			}
		}
	}
	give := func(on string, o policy.Order) {
		if _, err := c[on].order(o); err != nil {
			t.Fatalf("%s: %v", on, err)
		}
	}
	stop("a1")
	give("b1", policy.Order{Kind: policy.KindSiteLost, Key: "city-a"})
	give("b1", policy.Order{Kind: policy.KindOverride, Key: "service/shop", Override: &policy.Override{Site: "city-b"}})
	c.all(t, addrB, "b1", "r1")
	stop("b1", "r1")
	c.start(t, "a1")
	give("a1", policy.Order{Kind: policy.KindOverride, Key: "service/shop", Override: &policy.Override{Site: "city-a"}})
	c["a1"].wantAnswer(addrA)
	c.start(t, "b1", "r1")
	give("b1", policy.Order{Kind: policy.KindSiteLost, Key: "city-a", Clear: true})
	c.all(t, addrB, "a1", "b1", "r1")
	stop("a1")
	c.start(t, "a1")
	c["a1"].wantAnswer(addrB)
	if list := c["a1"].status().Decision.Overrides; len(list) != 1 || list[0].Override.Site != "city-b" {
		t.Errorf("a1 holds %+v", list)
	}
}
