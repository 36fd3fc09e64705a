package integration

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestReloadsLeaveNothing reloads a node again and again, between configurations
// that differ in listeners, zones, services, probes and receivers of alarms: it
// has no more descriptors and goroutines than before, and keeps no more memory.
//
// PHAROS_RELOADS is the number of reloads (make soak-reload).
func TestReloadsLeaveNothing(t *testing.T) {
	reloads := number(t, "PHAROS_RELOADS", 20)
	n := newCrashNode(t, 1)
	n.write("more.zone", "$TTL 60\n@ IN SOA ns1 hostmaster 1 3600 600 86400 60\n@ IN NS ns1\nns1 IN A 192.0.2.1\n")
	configs := []string{reloadConfig(n, false, ""), reloadConfig(n, true, freeDNSPort(t))}
	n.write("pharos.yaml", configs[0])
	n.start()
	n.await()

	const first = 10 // reloads after which all has been used once
	var before usage
	for i := range first + reloads {
		if i == first+reloads%2 { // with the configuration that it ends with
			before = usageOf(n)
		}
		n.write("pharos.yaml", configs[(i+1)%2])
		if out, err := n.pharos("reload"); err != nil {
			t.Fatalf("reload %d: %v: %s", i+1, err, out)
		}
	}
	// What a reload replaces may end a little later.
	now := usageOf(n)
	for end := time.Now().Add(30 * time.Second); !now.within(before) && time.Now().Before(end); now = usageOf(n) {
		after(t, 200*time.Millisecond)
	}
	t.Logf("%d reloads: %v → %v", reloads, before, now)
	if !now.within(before) {
		t.Errorf("%d reloads left something behind: %v → %v", reloads, before, now)
	}
}

// reloadConfig is a configuration of the node; one with more has another zone,
// service, check, listener and receiver of alarms.
func reloadConfig(n *crashNode, more bool, listen string) string {
	zone, services, listener, alarms := "", "", "", ""
	if more {
		listener, zone = fmt.Sprintf(", %q", listen), ", {name: more.example., file: more.zone}"
		services = `
  more:
    names: [www.more.example.]
    endpoints: [{site: city-a, address: 192.0.2.11, check_address: 127.0.0.1}]
    check: {exec: {argv: [/bin/true]}, interval: 100ms, timeout: 90ms}`
		alarms = "\nalarms: {exec: [/bin/true], webhook: \"http://127.0.0.1:1/\"}"
	}
	return fmt.Sprintf(`
node: {name: a1, data_dir: %s}
sites: {city-a: {metro: city}}
nodes: {a1: {site: city-a}}
dns: {listen: [%q%s], zones: [{name: shop.example., file: shop.zone}%s]}
services:
  shop:
    names: [www.shop.example.]
    endpoints: [{site: city-a, address: 192.0.2.10, check_address: 127.0.0.1}]
    check: {http: {url: "http://{address}:1/"}, interval: 100ms, timeout: 90ms}%s%s
`, filepath.Join(n.dir, "data"), n.dns, listener, zone, services, alarms)
}

// usage is what a node has open.
type usage struct{ descriptors, goroutines, heap float64 } // heap in bytes

func (u usage) String() string {
	return fmt.Sprintf("%.0f descriptors, %.0f goroutines, %.1f MiB of heap", u.descriptors, u.goroutines, u.heap/(1<<20))
}

// within leaves room for what is at work at the moment: connections, probes, garbage.
func (u usage) within(before usage) bool {
	return u.descriptors <= before.descriptors+4 && u.goroutines <= before.goroutines+8 && u.heap <= 2*before.heap+8<<20
}

// usageOf asks the node's metrics.
func usageOf(n *crashNode) usage {
	n.t.Helper()
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(n.dir, "data", "pharos.sock"))
		},
	}}
	resp, err := client.Get("http://node/metrics")
	if err != nil {
		n.t.Fatal(err)
	}
	defer resp.Body.Close()
	found := map[string]float64{}
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		name, text, _ := strings.Cut(lines.Text(), " ")
		if value, err := strconv.ParseFloat(text, 64); err == nil {
			found[name] = value
		}
	}
	u := usage{found["process_open_fds"], found["go_goroutines"], found["go_memstats_heap_alloc_bytes"]}
	if u.descriptors == 0 || u.goroutines == 0 || u.heap == 0 {
		n.t.Fatalf("the metrics of the node lack one of its descriptors, goroutines and heap: %v", u)
	}
	return u
}
