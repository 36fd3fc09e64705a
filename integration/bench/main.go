// Command bench measures Pharos beside its peers, on one machine in one run:
// CPU a DNS query, load times, memory. Figures that matter are ratios; the
// absolute ones depend on the machine. docs/measurements.md keeps the results.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

const usage = `usage: bench [flags] dns|zones|reload

  dns     server CPU a query and p99 latency of knotd, nsd, gdnsd and pharos
  zones   load time, memory and the answer times beside a reload
  reload  the answer times beside a reload alone
`

// options of a run.
type options struct {
	rounds  int
	seconds int
	pharos  string
	only    map[string]bool
	cpus    [2]string // server's, load's
	records int
	zones   int
	trace   bool
}

// peer reports whether a server takes part in this run.
func (o options) peer(name string) bool { return len(o.only) == 0 || o.only[name] }

func main() {
	var o options
	flag.IntVar(&o.rounds, "rounds", 5, "rounds; figures are medians over them")
	flag.IntVar(&o.seconds, "seconds", 4, "seconds of load a round, server and workload")
	flag.StringVar(&o.pharos, "pharos", "bin/pharos", "the binary to measure")
	flag.StringVar(&o.cpus[0], "server-cpu", "0", "the core that the servers are pinned to")
	flag.StringVar(&o.cpus[1], "load-cpu", "1", "the core that the load is pinned to")
	flag.IntVar(&o.records, "records", 1_000_000, "zones: records of the large zone")
	flag.IntVar(&o.zones, "zones", 10_000, "zones: number of small zones")
	flag.BoolVar(&o.trace, "trace", false, "zones, reload: tell from a trace of the scheduler (perf, root) what of the worst answer was spent behind other programs")
	only := flag.String("only", "", "take only these servers, comma-separated")
	flag.Usage = func() { fmt.Fprint(os.Stderr, usage); flag.PrintDefaults() }
	flag.Parse()
	if *only != "" {
		o.only = map[string]bool{}
		for _, name := range strings.Split(*only, ",") {
			o.only[name] = true
		}
	}

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	switch flag.Arg(0) {
	case "dns":
		err = benchDNS(ctx, o)
	case "zones":
		err = benchZones(ctx, o)
	case "reload":
		err = benchReload(ctx, o)
	default:
		flag.Usage()
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}
