package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// TestKilledWhileOrdersAreGiven kills a node with SIGKILL at random moments,
// also while it starts, and starts it again: no order that was acknowledged is
// lost, none is there that nobody gave, and DNS answers by them.
//
// PHAROS_KILLS is the number of kills (make soak-crash), PHAROS_SEED repeats
// a run's moments.
func TestKilledWhileOrdersAreGiven(t *testing.T) {
	kills, seed := number(t, "PHAROS_KILLS", 5), number(t, "PHAROS_SEED", int(time.Now().UnixNano()&0xffffff))
	t.Logf("PHAROS_KILLS=%d PHAROS_SEED=%d", kills, seed)
	chance := rand.New(rand.NewPCG(uint64(seed), 1))
	const givers = 4
	n := newCrashNode(t, givers)
	var all []*orders
	for i := range givers {
		all = append(all, &orders{node: n, name: fmt.Sprintf("host%d.shop.example.", i)})
	}
	early := 0
	for range kills {
		n.start()
		if chance.IntN(4) == 0 {
			early++
			after(t, time.Duration(chance.IntN(60))*time.Millisecond)
			n.kill()
			n.start()
		}
		n.await()
		n.check(all)
		ctx, cancel := context.WithCancel(t.Context())
		var giving sync.WaitGroup
		for _, o := range all {
			giving.Go(func() { o.give(ctx) })
		}
		after(t, time.Duration(50+chance.IntN(700))*time.Millisecond)
		n.kill()
		cancel()
		giving.Wait()
	}
	n.start()
	n.await()
	n.check(all)
	n.kill()

	acknowledged := 0
	for _, o := range all {
		acknowledged += o.acknowledged
	}
	if acknowledged < kills {
		t.Errorf("only %d orders were acknowledged in %d rounds", acknowledged, kills)
	}
	t.Logf("%d kills and %d more during the start: %d orders acknowledged", kills, early, acknowledged)
}

func number(t *testing.T, name string, otherwise int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s=%q: expected a number from 1 up", name, text)
	}
	return n
}

// after is the random moment of a kill.
func after(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
		t.Fatal(t.Context().Err())
	}
}

// orders are those about one name, by one giver.
type orders struct {
	node         *crashNode
	name         string
	given        []string // the address that each pins, "" for one that clears; acknowledged or not
	sure         int      // how many of given there are up to the last acknowledged one
	acknowledged int
}

// give gives one order after another until ctx ends. Every fourth clears.
func (o *orders) give(ctx context.Context) {
	for ctx.Err() == nil {
		n := len(o.given) + 1
		args, address := []string{"clear", o.name}, ""
		if n%4 != 0 {
			address = fmt.Sprintf("198.18.%d.%d", n>>8, n&255)
			args = []string{"set", o.name, address, "--unlisted"}
		}
		o.given = append(o.given, address)
		_, err := o.node.pharos(append(append([]string{"override"}, args...), "--reason", fmt.Sprintf("order %d", n))...)
		if err == nil {
			o.sure, o.acknowledged = len(o.given), o.acknowledged+1
		}
	}
}

// holds says whether a name may be pinned to an address: by the last
// acknowledged order, or by one that was given later and not acknowledged.
func (o *orders) holds(address string) bool {
	if o.sure == 0 && address == "" {
		return true
	}
	return slices.Contains(o.given[max(0, o.sure-1):], address)
}

// crashNode is a node that is killed and started again with the same data.
type crashNode struct {
	t      *testing.T
	binary string
	dir    string
	dns    string
	cmd    *exec.Cmd
}

func newCrashNode(t *testing.T, names int) *crashNode {
	t.Helper()
	binary, err := filepath.Abs("../bin/pharos")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(binary); err != nil {
		t.Fatalf("%v; make build makes it", err)
	}
	n := &crashNode{t: t, binary: binary, dir: t.TempDir(), dns: freeDNSPort(t)}
	var list []string
	for i := range names {
		list = append(list, fmt.Sprintf("host%d.shop.example.", i))
	}
	n.write("shop.zone", "$TTL 60\n@ IN SOA ns1 hostmaster 1 3600 600 86400 60\n@ IN NS ns1\nns1 IN A 192.0.2.1\n")
	n.write("pharos.yaml", fmt.Sprintf(`
node: {name: a1, data_dir: %s}
sites: {city-a: {metro: city}}
nodes: {a1: {site: city-a}}
dns: {listen: ["%s"], zones: [{name: shop.example., file: shop.zone}]}
services:
  shop:
    names: [%s]
    endpoints: [{site: city-a, address: 192.0.2.10, check_address: 127.0.0.1}]
    check: {tcp: {port: 1}}
`, filepath.Join(n.dir, "data"), n.dns, strings.Join(list, ", ")))
	t.Cleanup(n.kill)
	return n
}

func freeDNSPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (n *crashNode) write(name, text string) {
	n.t.Helper()
	if err := os.WriteFile(filepath.Join(n.dir, name), []byte(text), 0o600); err != nil {
		n.t.Fatal(err)
	}
}

// pharos runs a command on the node.
func (n *crashNode) pharos(args ...string) ([]byte, error) {
	return exec.Command(n.binary, append(args, "--data-dir", filepath.Join(n.dir, "data"))...).Output()
}

func (n *crashNode) start() {
	n.t.Helper()
	log, err := os.OpenFile(filepath.Join(n.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		n.t.Fatal(err)
	}
	defer log.Close()
	n.cmd = exec.Command(n.binary, "serve", "--config", filepath.Join(n.dir, "pharos.yaml"))
	n.cmd.Stdout, n.cmd.Stderr = log, log
	if err := n.cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
}

func (n *crashNode) kill() {
	if n.cmd == nil {
		return
	}
	_ = n.cmd.Process.Signal(syscall.SIGKILL)
	_ = n.cmd.Wait()
	n.cmd = nil
}

// await waits until the node takes orders.
func (n *crashNode) await() {
	n.t.Helper()
	for end := time.Now().Add(30 * time.Second); ; {
		_, err := n.pharos("status")
		if err == nil {
			return
		}
		if time.Now().After(end) {
			log, _ := os.ReadFile(filepath.Join(n.dir, "log"))
			n.t.Fatalf("the node does not come back: %v\n%s", err, log[max(0, len(log)-4000):])
		}
		after(n.t, 20*time.Millisecond)
	}
}

// check compares what the node holds and answers with what it was told.
func (n *crashNode) check(all []*orders) {
	n.t.Helper()
	out, err := n.pharos("override", "list", "-o", "json")
	if err != nil {
		n.t.Fatal(err)
	}
	var list []struct {
		Key      string
		Override struct{ Addresses []string }
	}
	if err := json.Unmarshal(out, &list); err != nil {
		n.t.Fatalf("%v in %s", err, out)
	}
	held := map[string]string{}
	for _, o := range list {
		held[o.Key] = strings.Join(o.Override.Addresses, " ")
	}
	for _, o := range all {
		address := held["name/"+o.name]
		delete(held, "name/"+o.name)
		if !o.holds(address) {
			n.t.Errorf("%s is pinned to %q after a restart; acknowledged was %q, given since %q", o.name, address, o.given[max(0, o.sure-1)], o.given[o.sure:])
		}
		if address == "" {
			address = "192.0.2.10"
		}
		if got := n.ask(o.name); got != address {
			n.t.Errorf("%s answers %s after a restart, its order is %s", o.name, got, address)
		}
	}
	if len(held) > 0 {
		n.t.Errorf("overrides that nobody gave: %v", held)
	}
	if out, err := n.pharos("alarm", "list"); err != nil || strings.Contains(string(out), "disk") {
		n.t.Errorf("alarms after a restart: %v\n%s", err, out)
	}
}

func (n *crashNode) ask(name string) string {
	n.t.Helper()
	c := dns.Client{Timeout: 5 * time.Second}
	r, _, err := c.Exchange(new(dns.Msg).SetQuestion(name, dns.TypeA), n.dns)
	if err != nil || len(r.Answer) != 1 {
		n.t.Fatalf("%s: %v %v", name, r, err)
	}
	return r.Answer[0].(*dns.A).A.String()
}
