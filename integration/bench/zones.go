package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"time"
)

// benchZones loads a large zone, and then many small ones, into knotd, nsd and
// pharos in turn, and watches pharos answer while it loads the large one again.
func benchZones(ctx context.Context, o options) error {
	dir, err := os.MkdirTemp("", "bench-zones-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	large, err := largeZone(dir, o.records)
	if err != nil {
		return err
	}
	small, err := smallZones(dir, o.zones)
	if err != nil {
		return err
	}
	empty, err := smallZones(filepath.Join(dir, "one"), 1)
	if err != nil {
		return err
	}
	fmt.Printf("medians of %d rounds; servers on core %s\n", o.rounds, o.cpus[0])
	if err := loadTable(ctx, o, dir, fmt.Sprintf("one zone of %d records", o.records), large, empty, o.records); err != nil {
		return err
	}
	if err := loadTable(ctx, o, dir, fmt.Sprintf("%d zones of 5 records", o.zones), small, empty, 5*o.zones); err != nil {
		return err
	}
	if !o.peer("pharos") {
		return nil
	}
	return reloadPause(ctx, o, dir, large)
}

// benchReload is the last part of benchZones alone.
func benchReload(ctx context.Context, o options) error {
	dir, err := os.MkdirTemp("", "bench-reload-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	large, err := largeZone(dir, o.records)
	if err != nil {
		return err
	}
	return reloadPause(ctx, o, dir, large)
}

func loadTable(ctx context.Context, o options, dir, title string, w, empty workload, records int) error {
	fmt.Printf("\n%s\n  %-8s %12s %16s\n", title, "server", "load s", "bytes a record")
	for _, s := range servers {
		if s.name == "gdnsd" || !o.peer(s.name) {
			continue
		}
		var seconds, bytes []float64
		for round := range o.rounds {
			base := filepath.Join(dir, fmt.Sprintf("%d-%d", records, round))
			idle, _, err := start(ctx, o, s.name, base+"-empty", empty)
			if err != nil {
				return err
			}
			floor, err := idle.memory()
			idle.stop()
			if err != nil {
				return err
			}
			srv, took, err := start(ctx, o, s.name, base, w)
			if err != nil {
				return err
			}
			mem, err := settled(ctx, srv)
			srv.stop()
			if err != nil {
				return err
			}
			seconds = append(seconds, took.Seconds())
			bytes = append(bytes, float64(mem-floor)/float64(records))
			_ = os.RemoveAll(base)
		}
		fmt.Printf("  %-8s %12.2f %16.0f\n", s.name, median(seconds), median(bytes))
	}
	return nil
}

// settled is the server's memory once it has not changed by 1 % for three seconds, a minute at most:
// pharos is writing copies of the zones meanwhile.
func settled(ctx context.Context, s *server) (int64, error) {
	last, since := int64(0), time.Now()
	for begin := time.Now(); time.Since(begin) < time.Minute && time.Since(since) < 3*time.Second; {
		m, err := s.memory()
		if err != nil {
			return 0, err
		}
		if d := m - last; d > last/100 || -d > last/100 {
			last, since = m, time.Now()
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
	return last, nil
}

// reloadPause asks pharos a steady 2,000 questions a second, timed by the
// kernel on both ends, before and while it loads the large zone again.
func reloadPause(ctx context.Context, o options, dir string, w workload) error {
	base := filepath.Join(dir, "reload")
	// As deployed: not pinned, the node has every core of the machine.
	free := o
	free.cpus[0] = o.cpus[0] + "," + o.cpus[1]
	srv, _, err := start(ctx, free, "pharos", base, w)
	if err != nil {
		return err
	}
	defer srv.stop()
	fmt.Printf("\nanswers of pharos beside a reload of the large zone (2,000 questions a second), µs\n  %-6s %10s %12s %10s %10s %12s %14s %10s %6s\n",
		"round", "steady p99", "worst", "unasked", "reload p99", "worst", "beyond the p99", "unasked", "lost")
	for round := range o.rounds {
		steady, err := ask(ctx, srv, 5*time.Second, nil)
		if err != nil {
			return err
		}
		if err := touch(w.zones[0].path); err != nil {
			return err
		}
		var tr *trace
		if o.trace {
			if tr, err = startTrace(filepath.Join(dir, "trace")); err != nil {
				return err
			}
		}
		reload := exec.CommandContext(ctx, o.pharos, "zone", "reload", "--data-dir", filepath.Join(srv.dir, "data"))
		var out []byte
		var rerr error
		done := make(chan struct{})
		go func() { out, rerr = reload.CombinedOutput(); close(done) }()
		during, err := ask(ctx, srv, 2*time.Minute, done)
		if err != nil {
			return err
		}
		<-done
		if rerr != nil {
			return fmt.Errorf("reload: %w\n%s", rerr, out)
		}
		p99, worst := percentile(steady.took, 99), percentile(during.took, 100)
		fmt.Printf("  %-6d %10.0f %12.0f %10.0f %10.0f %12.0f %14.0f %10.0f %6d\n", round+1,
			p99, percentile(steady.took, 100), steady.gap, percentile(during.took, 99), worst, worst-p99, during.gap, len(steady.lost)+len(during.lost))
		if len(during.lost) > 0 {
			fmt.Printf("         lost beside the reload: the questions %v of %d\n", during.lost, len(during.took)+len(during.lost))
		}
		if tr != nil {
			turns, err := tr.stop(ctx)
			if err != nil {
				return err
			}
			fmt.Printf("         worst, less what the server waited behind other programs: %d µs\n", worstOwn(turns, srv.cmd.Process.Pid, during.slow, toMonotonic()).Microseconds())
		}
	}
	return nil
}

// touch raises the zone's serial, so that the reload is a change.
func touch(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var head string
	var serial int
	if _, err := fmt.Sscanf(string(b[:200]), "$TTL 300\n@ IN SOA ns1 hostmaster %d", &serial); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	old := fmt.Sprintf("$TTL 300\n@ IN SOA ns1 hostmaster %010d", serial)
	head = fmt.Sprintf("$TTL 300\n@ IN SOA ns1 hostmaster %010d", serial+1)
	return os.WriteFile(path, append([]byte(head), b[len(old):]...), 0o644)
}

func percentile(v []float64, p int) float64 {
	if len(v) == 0 {
		return 0
	}
	s := append([]float64(nil), v...)
	sort.Float64s(s)
	return s[min(len(s)-1, len(s)*p/100)]
}

func largeZone(dir string, records int) (workload, error) {
	path := filepath.Join(dir, "large.zone")
	f, err := os.Create(path)
	if err != nil {
		return workload{}, err
	}
	defer f.Close()
	b := bufio.NewWriterSize(f, 1<<20)
	fmt.Fprintf(b, "$TTL 300\n@ IN SOA ns1 hostmaster %010d 3600 600 86400 300\n@ IN NS ns1\nns1 IN A 192.0.2.1\n", 1)
	for i := range records - 3 {
		fmt.Fprintf(b, "host%d.customer%d A 10.%d.%d.%d\n", i, i%1000, i>>16&255, i>>8&255, i&255)
	}
	return workload{zones: []zoneFile{{benchZone, path}}}, b.Flush()
}

func smallZones(dir string, n int) (workload, error) {
	if err := os.MkdirAll(filepath.Join(dir, "small"), 0o755); err != nil {
		return workload{}, err
	}
	var w workload
	for i := range n {
		path := filepath.Join(dir, "small", fmt.Sprintf("z%d.zone", i))
		text := "$TTL 300\n@ IN SOA ns1 hostmaster 1 3600 600 86400 300\n@ IN NS ns1\nns1 IN A 192.0.2.1\nwww IN A 192.0.2.2\n@ IN MX 10 www\n"
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return w, err
		}
		w.zones = append(w.zones, zoneFile{fmt.Sprintf("z%d.example.", i), path})
	}
	return w, nil
}
