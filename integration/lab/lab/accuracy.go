package lab

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"slices"
	"time"

	"github.com/scloudstack/pharos/integration/lab/wan"
)

// accuracyDelay is what is asked of the emulator.
const accuracyDelay = 2 * time.Millisecond

// Accuracy measures how exactly the emulator holds 2 ms, in each mode, on an
// idle machine and beside two busy processes for each processor, and writes a
// table. It takes some 40 seconds with 5,000 datagrams.
func Accuracy(ctx context.Context, datagrams int, out io.Writer) error {
	_, _ = fmt.Fprintf(out, "%d datagrams, one a millisecond, over a link of %s; microseconds\n\n", datagrams, accuracyDelay)
	_, _ = fmt.Fprintln(out, "mode     machine  applied by the emulator            from socket to socket         without the emulator's 2 ms")
	_, _ = fmt.Fprintln(out, "                     p50     p99     max            p50     p99     max            p50     p99     max")
	for _, mode := range []wan.Mode{wan.Precise, wan.Coarse} {
		for _, loaded := range []bool{false, true} {
			if err := accuracyOf(ctx, mode, loaded, datagrams, out); err != nil {
				return err
			}
		}
	}
	return nil
}

func accuracyOf(ctx context.Context, mode wan.Mode, loaded bool, datagrams int, out io.Writer) error {
	topology := Default()
	topology.Silent, topology.Solo, topology.Mode = true, true, mode
	topology.Sites, topology.Links = topology.Sites[:2], topology.Links[:1]
	stage := NewStage(topology, nil, func(format string, args ...any) { _, _ = fmt.Fprintf(out, format+"\n", args...) })
	err := catch(func() error {
		return measureAccuracy(ctx, New(stage.t, topology), loaded, datagrams, out)
	})
	return errors.Join(err, stage.Close(false))
}

func measureAccuracy(ctx context.Context, l *Lab, loaded bool, datagrams int, out io.Writer) error {
	machine := "idle"
	if loaded {
		machine = "loaded"
		for range 2 * runtime.NumCPU() {
			cmd := exec.CommandContext(ctx, "sh", "-c", "while :; do :; done")
			p, err := l.internet.Start(cmd)
			if err != nil {
				return err
			}
			defer func() { _ = p.Kill() }()
		}
	}
	a, b := l.Site("city-a"), l.Site("city-b")
	load := Load{Count: datagrams, Octets: 100, Every: time.Millisecond, Wait: time.Second}
	measure := func(delay time.Duration) ([]Arrival, wan.Stats, error) {
		l.Link("dwdm").Set(Impairment{Delay: delay})
		l.ResetStats()
		arrivals, err := Traverse(ctx, a.Clients(), b.Clients(), b.spec.clients(), load)
		if err == nil && len(arrivals) != datagrams {
			err = fmt.Errorf("%d of %d datagrams arrived", len(arrivals), datagrams)
		}
		return arrivals, l.Link("dwdm").Stats("city-a"), err
	}
	with, stats, err := measure(accuracyDelay)
	if err != nil {
		return err
	}
	without, _, err := measure(0)
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(out, "%-8s %-8s%s        %s        %s\n", l.topology.Mode, machine,
		microseconds(stats.Applied), microseconds(spread(with)), microseconds(spread(without)))
	return nil
}

func microseconds(s wan.Spread) string {
	return fmt.Sprintf("%7d %7d %7d", s.P50.Microseconds(), s.P99.Microseconds(), s.Max.Microseconds())
}

func spread(arrivals []Arrival) wan.Spread {
	s := slices.SortedFunc(slices.Values(arrivals), func(a, b Arrival) int { return cmp.Compare(a.Delay, b.Delay) })
	n := len(s)
	return wan.Spread{Min: s[0].Delay, P50: s[n/2].Delay, P99: s[n*99/100].Delay, Max: s[n-1].Delay}
}
