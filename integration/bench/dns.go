package main

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sort"
	"strconv"
	"strings"

	"github.com/miekg/dns"
)

const (
	benchZone = "bench.example."
	hosts     = 10_000
	steering  = 100
	queries   = 50_000
)

// benchDNS asks every server the same questions in turn, several rounds, and
// prints the CPU that the server spent on each.
func benchDNS(ctx context.Context, o options) error {
	dir, err := os.MkdirTemp("", "bench-dns-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	w, closeBalancers, err := dnsWorkload(dir)
	if err != nil {
		return err
	}
	defer closeBalancers()
	loads, err := questionFiles(dir, w)
	if err != nil {
		return err
	}

	var running []*server
	for _, s := range servers {
		if !o.peer(s.name) {
			continue
		}
		srv, _, err := start(ctx, o, s.name, dir, w)
		if err != nil {
			return err
		}
		defer srv.stop()
		if err := srv.await(ctx, w.steered[0].name+"."+benchZone, dns.TypeA); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		running = append(running, srv)
	}
	fmt.Printf("%d rounds of %d s a server and workload; each server on core %s alone, the load on core %s; EDNS on\n", o.rounds, o.seconds, o.cpus[0], o.cpus[1])
	for _, load := range loads {
		if err := measure(ctx, o, running, load); err != nil {
			return err
		}
	}
	return nil
}

// load is one file of questions.
type load struct{ name, path string }

type result struct {
	cpu  []float64 // µs a query
	rate []float64 // answers a second
	busy []float64 // share of the server's core
	p99  []float64 // µs, at 70 % of the median rate
}

func measure(ctx context.Context, o options, running []*server, l load) error {
	results := map[string]*result{}
	for _, s := range running {
		results[s.name] = &result{}
		if _, err := dnsperf(ctx, o, s, l, "-l", "1"); err != nil { // warm-up
			return err
		}
	}
	for round := range o.rounds {
		for i := range running {
			s := running[(i+round)%len(running)] // not always the same one first
			before, err := s.cpu()
			if err != nil {
				return err
			}
			got, err := dnsperf(ctx, o, s, l, "-l", strconv.Itoa(o.seconds))
			if err != nil {
				return err
			}
			after, err := s.cpu()
			if err != nil {
				return err
			}
			r := results[s.name]
			r.cpu = append(r.cpu, float64((after-before).Microseconds())/float64(got.completed))
			r.rate = append(r.rate, got.rate)
			r.busy = append(r.busy, (after-before).Seconds()/got.seconds)
		}
	}
	for _, s := range running {
		r := results[s.name]
		for range min(o.rounds, 3) {
			rate := int(0.7 * median(r.rate))
			got, err := dnsperf(ctx, o, s, l, "-l", "2", "-Q", strconv.Itoa(rate), "-v")
			if err != nil {
				return err
			}
			r.p99 = append(r.p99, got.p99*1e6)
		}
	}
	printResults(l.name, running, results)
	return nil
}

func printResults(name string, running []*server, results map[string]*result) {
	best, peer := 0.0, ""
	for _, s := range running {
		if c := median(results[s.name].cpu); s.name != "pharos" && (peer == "" || c < best) {
			best, peer = c, s.name
		}
	}
	fmt.Printf("\n%s\n  %-8s %14s %10s %12s %10s %14s\n", name, "server", "CPU µs/query", "to best", "answers/s", "core", "p99 at 70 %")
	for _, s := range running {
		r := results[s.name]
		ratio := "-"
		if peer != "" {
			ratio = fmt.Sprintf("%.2f", median(r.cpu)/best)
		}
		rate := "-" // the load was the limit
		if median(r.busy) > 0.95 {
			rate = fmt.Sprintf("%.0f", median(r.rate))
		}
		fmt.Printf("  %-8s %14.3f %10s %12s %9.0f%% %11.0f µs\n", s.name, median(r.cpu), ratio, rate, 100*median(r.busy), median(r.p99))
	}
}

// dnsWorkload writes the zone and opens the balancers that the steered names' checks connect to.
func dnsWorkload(dir string) (workload, func(), error) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return workload{}, nil, err
	}
	port := ln.Addr().(*net.TCPAddr).Port
	_ = ln.Close()
	lns := []net.Listener{}
	closeAll := func() {
		for _, l := range lns {
			_ = l.Close()
		}
	}
	w := workload{checkPort: port}
	addrs := [2]string{"127.0.1.1", "127.0.2.1"}
	for _, a := range addrs {
		l, err := net.Listen("tcp4", net.JoinHostPort(a, strconv.Itoa(port)))
		if err != nil {
			closeAll()
			return w, nil, err
		}
		lns = append(lns, l)
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				_ = c.Close()
			}
		}()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "$ORIGIN %[1]s\n$TTL 300\n@ IN SOA ns1 hostmaster 1 3600 600 86400 300\n@ IN NS ns1\n@ IN NS ns2\nns1 IN A 192.0.2.1\nns2 IN A 192.0.2.2\n@ IN MX 10 mail\nmail IN A 192.0.2.3\n", benchZone)
	for i := range hosts {
		fmt.Fprintf(&b, "h%d IN A 10.%d.%d.%d\n", i, i>>16&255, i>>8&255, i&255)
	}
	for i := range steering {
		s := steered{name: fmt.Sprintf("s%d", i), addrs: addrs}
		w.steered = append(w.steered, s)
		fmt.Fprintf(&b, "%s IN A %s\n", s.name, addrs[0])
	}
	path := filepath.Join(dir, "bench.zone")
	w.zones = []zoneFile{{benchZone, path}}
	if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
		closeAll()
		return w, nil, err
	}
	return w, closeAll, nil
}

func questionFiles(dir string, w workload) ([]load, error) {
	rng := rand.New(rand.NewPCG(1, 2))
	loads := []struct {
		name     string
		question func() string
	}{
		{"static", func() string { return fmt.Sprintf("h%d.%s A", rng.IntN(hosts), benchZone) }},
		{"steered", func() string { return fmt.Sprintf("s%d.%s A", rng.IntN(len(w.steered)), benchZone) }},
		{"negative", func() string { return fmt.Sprintf("x%d.%s A", rng.IntN(hosts), benchZone) }},
	}
	var out []load
	for _, l := range loads {
		path := filepath.Join(dir, l.name+".questions")
		f, err := os.Create(path)
		if err != nil {
			return nil, err
		}
		buf := bufio.NewWriter(f)
		for range queries {
			fmt.Fprintln(buf, l.question())
		}
		if err := buf.Flush(); err != nil {
			return nil, err
		}
		if err := f.Close(); err != nil {
			return nil, err
		}
		out = append(out, load{l.name, path})
	}
	return out, nil
}

// perfResult is what one run of dnsperf reported.
type perfResult struct {
	completed int
	seconds   float64
	rate      float64
	p99       float64 // seconds; only of a run with -v
}

var (
	completedRE = regexp.MustCompile(`Queries completed:\s+(\d+)`)
	lostRE      = regexp.MustCompile(`Queries lost:\s+(\d+)`)
	secondsRE   = regexp.MustCompile(`Run time \(s\):\s+([\d.]+)`)
	rateRE      = regexp.MustCompile(`Queries per second:\s+([\d.]+)`)
)

func dnsperf(ctx context.Context, o options, s *server, l load, args ...string) (perfResult, error) {
	argv := append([]string{
		"-c", o.cpus[1], "dnsperf", "-s", "127.0.0.1", "-p", strconv.Itoa(s.port), "-d", l.path,
		"-e", "-c", "8", "-T", "1", "-q", "200", "-t", "2",
	}, args...)
	out, err := exec.CommandContext(ctx, "taskset", argv...).Output()
	if err != nil {
		return perfResult{}, fmt.Errorf("dnsperf against %s: %w", s.name, err)
	}
	var r perfResult
	number := func(re *regexp.Regexp) float64 {
		m := re.FindSubmatch(out)
		if m == nil {
			err = fmt.Errorf("dnsperf against %s: no %s in its output", s.name, re)
			return 0
		}
		v, _ := strconv.ParseFloat(string(m[1]), 64)
		return v
	}
	r.completed, r.seconds, r.rate = int(number(completedRE)), number(secondsRE), number(rateRE)
	if lost := number(lostRE); err == nil && lost > 0.001*float64(r.completed) {
		fmt.Printf("  (%s lost %.0f of %d queries)\n", s.name, lost, r.completed)
	}
	if err == nil && r.completed == 0 {
		err = fmt.Errorf("%s answered nothing", s.name)
	}
	var latencies []float64
	for _, line := range strings.Split(string(out), "\n") {
		// "> NOERROR h1.bench.example A 0.000123"
		if f := strings.Fields(line); len(f) == 5 && f[0] == ">" {
			if v, err := strconv.ParseFloat(f[4], 64); err == nil {
				latencies = append(latencies, v)
			}
		}
	}
	if len(latencies) > 0 {
		sort.Float64s(latencies)
		r.p99 = latencies[len(latencies)*99/100]
	}
	return r, err
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	s := append([]float64(nil), v...)
	sort.Float64s(s)
	return s[len(s)/2]
}
