package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

func write(path string, text string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text), 0o644)
}

func knotd(_ options, dir string, port int, w workload) ([]string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "server:\n  listen: 127.0.0.1@%d\n  rundir: %s\n  udp-workers: 1\n  tcp-workers: 1\n  background-workers: 1\n", port, dir)
	fmt.Fprintf(&b, "database:\n  storage: %s\nlog:\n- target: stderr\n  any: warning\n", dir)
	fmt.Fprintf(&b, "template:\n- id: default\n  journal-content: none\n  zonefile-sync: -1\n  zonefile-load: whole\n  semantic-checks: off\nzone:\n")
	for _, z := range w.zones {
		fmt.Fprintf(&b, "- domain: %s\n  file: %s\n", z.name, z.path)
	}
	conf := filepath.Join(dir, "knot.conf")
	return []string{"knotd", "-c", conf}, write(conf, b.String())
}

func nsd(_ options, dir string, port int, w workload) ([]string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "server:\n  ip-address: 127.0.0.1@%d\n  server-count: 1\n  username: \"\"\n  database: \"\"\n  zonesdir: %[2]q\n"+
		"  pidfile: \"%[2]s/pid\"\n  xfrdfile: \"%[2]s/xfrd\"\n  xfrdir: %[2]q\n  zonelistfile: \"%[2]s/zonelist\"\n  minimal-responses: yes\n  rrl-ratelimit: 0\n  rrl-whitelist-ratelimit: 0\n  verbosity: 0\n", port, dir)
	fmt.Fprintf(&b, "remote-control:\n  control-enable: yes\n  control-interface: \"%s/ctl\"\n", dir)
	for _, z := range w.zones {
		fmt.Fprintf(&b, "zone:\n  name: %q\n  zonefile: %q\n", z.name, z.path)
	}
	conf := filepath.Join(dir, "nsd.conf")
	return []string{"nsd", "-d", "-c", conf}, write(conf, b.String())
}

// gdnsd reads <dir>/zones/NAME; a steered name there is DYNA simplefo.
func gdnsd(_ options, dir string, port int, w workload) ([]string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "options => {\n  listen => [ 127.0.0.1:%d ]\n  run_dir => %q\n  state_dir => %q\n  udp_threads => 1\n  tcp_threads => 1\n}\n", port, dir+"/run", dir+"/state")
	for _, d := range []string{"run", "state", "zones"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return nil, err
		}
	}
	if len(w.steered) > 0 {
		fmt.Fprintf(&b, "service_types => { lb => { plugin => tcp_connect, port => %d, interval => 10, timeout => 5 } }\n", w.checkPort)
		b.WriteString("plugins => { simplefo => { service_types => lb\n")
		for _, s := range w.steered {
			fmt.Fprintf(&b, "  %s => { primary => %s, secondary => %s }\n", s.name, s.addrs[0], s.addrs[1])
		}
		b.WriteString("} }\n")
	}
	dyna := map[string]string{}
	for _, s := range w.steered {
		dyna[s.name] = s.name + " 10 DYNA simplefo!" + s.name
	}
	for i, z := range w.zones {
		text, err := os.ReadFile(z.path)
		if err != nil {
			return nil, err
		}
		out := text
		if i == 0 && len(dyna) > 0 {
			lines := strings.Split(string(text), "\n")
			for j, l := range lines {
				if f := strings.Fields(l); len(f) > 0 && dyna[f[0]] != "" {
					lines[j] = dyna[f[0]]
				}
			}
			out = []byte(strings.Join(lines, "\n"))
		}
		if err := os.WriteFile(filepath.Join(dir, "zones", strings.TrimSuffix(z.name, ".")), out, 0o644); err != nil {
			return nil, err
		}
	}
	return []string{"gdnsd", "-c", dir, "start"}, write(filepath.Join(dir, "config"), b.String())
}

func pharos(o options, dir string, port int, w workload) ([]string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "node: {name: bench, roles: [dns, probe], data_dir: %s}\n", filepath.Join(dir, "data"))
	if len(w.steered) > 0 {
		b.WriteString("sites:\n  city-a: {metro: city, role: production}\n  city-b: {metro: city, role: production}\nnodes:\n  bench: {site: city-a, address: 127.0.0.1}\n")
	}
	fmt.Fprintf(&b, "dns:\n  listen: [\"127.0.0.1:%d\"]\n  threads: 1\n  zones:\n", port)
	for _, z := range w.zones {
		fmt.Fprintf(&b, "    - {name: %s, file: %s}\n", z.name, z.path)
	}
	if len(w.steered) > 0 {
		b.WriteString("services:\n")
	}
	for _, s := range w.steered {
		fmt.Fprintf(&b, "  %[1]s:\n    names: [%[1]s.%[2]s]\n    ttl: 10s\n    endpoints: [{site: city-a, address: %[3]s}, {site: city-b, address: %[4]s}]\n"+
			"    check: {tcp: {port: %[5]d}, interval: 10s, timeout: 5s}\n", s.name, w.zones[0].name, s.addrs[0], s.addrs[1], w.checkPort)
	}
	conf := filepath.Join(dir, "pharos.yaml")
	return []string{o.pharos, "serve", "--config", conf}, write(conf, b.String())
}
