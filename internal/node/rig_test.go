package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/goleak"

	"github.com/scloudstack/pharos/internal/api"
	"github.com/scloudstack/pharos/internal/config"
	"github.com/scloudstack/pharos/policy"
)

// TestMain wants every goroutine to end. Those of memberlist end up to some seconds after it was shut down.
func TestMain(m *testing.M) {
	code := m.Run()
	deadline := time.Now().Add(10 * time.Second)
	left := goleak.Find()
	for left != nil && time.Now().Before(deadline) {
		left = goleak.Find()
	}
	if left != nil && code == 0 {
		fmt.Fprintln(os.Stderr, left)
		code = 1
	}
	os.Exit(code)
}

const (
	addrA, addrB, addrR = "203.0.113.10", "203.0.113.20", "198.51.100.10"

	rigInterval = 100 * time.Millisecond
	rigFall     = 3
	rigRise     = 5
)

const rigZone = `$ORIGIN shop.example.
$TTL 300
@    IN SOA ns1 hostmaster %d 3600 600 604800 60
     IN NS  ns1
     IN MX  10 mail
ns1  IN A   192.0.2.53
mail IN A   192.0.2.25
%s`

// balancer is the load balancer of one site: a real HTTP server.
type balancer struct {
	down   atomic.Bool
	closes atomic.Bool // the connection after each answer
	asks   atomic.Int64
}

func (b *balancer) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	b.asks.Add(1)
	if b.closes.Load() {
		w.Header().Set("Connection", "close")
	}
	if b.down.Load() {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
}

// rig is a node with the balancers of two cities and a remote site, and what
// a test does with it.
type rig struct {
	t                    *testing.T
	dir                  string // of the configuration
	data                 string
	cityA, cityB, remote balancer
	port                 int
	opt                  Options

	// What the configuration says; a test changes it before it writes it.
	listen, extraNames, extra string

	node *Node
	stop func() error
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir(), listen: "127.0.0.1:0"}
	r.data = filepath.Join(r.dir, "data")
	r.opt = Options{Log: quiet(t), Version: api.Version{Version: "test"}}
	r.openBalancers()
	r.writeZone(1, "")
	r.writeConfig()
	return r
}

// openBalancers gives the three sites one port.
func (r *rig) openBalancers() {
	r.t.Helper()
	servers := []*balancer{&r.cityA, &r.cityB, &r.remote}
	for try := 0; ; try++ {
		var open []net.Listener
		port := 0
		for i := range servers {
			l, err := net.Listen("tcp", fmt.Sprintf("127.61.%d.1:%d", i+1, port))
			if err != nil {
				break // somebody has the port
			}
			port = l.Addr().(*net.TCPAddr).Port
			open = append(open, l)
		}
		if len(open) < len(servers) {
			for _, l := range open {
				l.Close()
			}
			if try == 100 {
				r.t.Fatal("no port is free on three addresses")
			}
			continue
		}
		r.port = port
		for i, l := range open {
			server := &http.Server{Handler: servers[i], ReadHeaderTimeout: time.Second}
			go server.Serve(l)
			r.t.Cleanup(func() { server.Close() })
		}
		return
	}
}

func (r *rig) write(name, text string) {
	r.t.Helper()
	if err := os.WriteFile(filepath.Join(r.dir, name), []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) writeZone(serial int, more string) {
	r.t.Helper()
	r.write("shop.zone", fmt.Sprintf(rigZone, serial, more))
}

func (r *rig) configPath() string { return filepath.Join(r.dir, "pharos.yaml") }

func (r *rig) writeConfig() {
	r.t.Helper()
	r.write("pharos.yaml", fmt.Sprintf(`
node: {name: a1, data_dir: %s}
sites:
  city-a: {metro: city}
  city-b: {metro: city}
  remote: {metro: far, role: standby}
nodes:
  a1: {site: city-a}
dns:
  listen: ["%s"]
  zones: [{name: shop.example., file: shop.zone}]
services:
  shop:
    names: [www.shop.example.%s]
    ttl: 10s
    endpoints:
      - {site: city-a, address: %s, check_address: 127.61.1.1}
      - {site: city-b, address: %s, check_address: 127.61.2.1}
      - {site: remote, address: %s, check_address: 127.61.3.1}
    check: {http: {url: "http://{address}:%d/healthz"}, interval: %v, timeout: 90ms, fall: %d, rise: %d}
    return: {policy: hold, hold: 0s}
%s`, r.data, r.listen, r.extraNames, addrA, addrB, addrR, r.port, rigInterval, rigFall, rigRise, r.extra))
}

func (r *rig) make() (*Node, error) {
	settings, _, err := config.Load(r.configPath(), r.opt.Load)
	if err != nil {
		return nil, err
	}
	return New(settings, r.opt)
}

// start runs a node until stop, and waits until everything is open.
func (r *rig) start() {
	r.t.Helper()
	n, err := r.make()
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	ended := false
	r.node = n
	r.stop = func() error {
		cancel()
		if ended {
			return nil
		}
		ended = true
		return <-done
	}
	r.t.Cleanup(func() {
		if err := r.stop(); err != nil {
			r.t.Errorf("the node ended with %v", err)
		}
	})
	select {
	case <-n.Opened():
	case err := <-done:
		ended = true
		r.t.Fatalf("the node ended with %v", err)
	case <-time.After(20 * time.Second):
		r.t.Fatal("the node does not open")
	}
}

func (r *rig) restart() {
	r.t.Helper()
	if err := r.stop(); err != nil {
		r.t.Fatal(err)
	}
	r.start()
}

// ask asks the node over the network.
func (r *rig) ask(name string, qtype uint16) *dns.Msg {
	r.t.Helper()
	q := new(dns.Msg)
	q.SetQuestion(name, qtype)
	client := &dns.Client{Timeout: 5 * time.Second}
	reply, _, err := client.Exchange(q, r.node.Addrs()[0].String())
	if err != nil {
		r.t.Fatalf("%s: %v", name, err)
	}
	return reply
}

// answer is the addresses of www.shop.example, or the rcode.
func (r *rig) answer() string {
	r.t.Helper()
	return liveText(r.ask("www.shop.example.", dns.TypeA), dns.TypeA)
}

func (r *rig) wantAnswer(want string) {
	r.t.Helper()
	if got := r.answer(); got != want {
		r.t.Errorf("www.shop.example answers %s, want %s", got, want)
	}
}

func (r *rig) order(o policy.Order) (api.OrderResult, error) {
	o.Author, o.Reason = "root", "test"
	return r.node.Order(r.t.Context(), o, api.Giving{Wait: api.WaitReachable, WaitFor: api.DefaultWaitFor})
}

func (r *rig) override(site policy.SiteID) {
	r.t.Helper()
	if _, err := r.order(policy.Order{Kind: policy.KindOverride, Key: "service/shop", Override: &policy.Override{Site: site}}); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) status() api.Status {
	r.t.Helper()
	s, err := r.node.Status(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

func (r *rig) alarms() []string {
	r.t.Helper()
	var causes []string
	for _, a := range r.status().Alarms {
		causes = append(causes, a.Cause)
	}
	return causes
}

func (r *rig) wantAlarm(cause string, want bool) {
	r.t.Helper()
	if got := slices.Contains(r.alarms(), cause); got != want {
		r.t.Errorf("alarm %s is there: %v, want %v (all: %v)", cause, got, want, r.alarms())
	}
}

// endpoint is the status of the endpoint in a site.
func (r *rig) endpoint(site policy.SiteID) policy.EndpointStatus {
	r.t.Helper()
	for _, s := range r.status().Decision.Services {
		for _, e := range s.Endpoints {
			if slices.Contains(e.Sites, site) {
				return e
			}
		}
	}
	r.t.Fatalf("no endpoint in %s", site)
	return policy.EndpointStatus{}
}

// rejected is the error of input that was refused, as one text.
func rejected(t *testing.T, err error) string {
	t.Helper()
	var r *api.Rejected
	if !errors.As(err, &r) {
		t.Fatalf("error %v is no refusal of input", err)
	}
	var lines []string
	for _, p := range r.Problems {
		lines = append(lines, p.String())
	}
	return strings.Join(lines, "\n")
}

// lockedBuffer is a log that is read while it is written.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
