package cluster

import (
	"bytes"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/scloudstack/pharos/policy"
)

func moves(g *rig, n *node, count, epoch int) []policy.Entry {
	var list []policy.Entry
	for i := range count {
		e := g.entry(n, policy.KindMove, fmt.Sprintf("service-%d/0", i), fmt.Sprintf("%0250d", i))
		e.Rank = uint64(epoch)
		list = append(list, e)
	}
	return list
}

// What the loop's goroutine pays for 1,000 moves: making, decoding (on the transport's goroutines), taking in.
func BenchmarkThousandMoves(b *testing.B) {
	g := newRig(b, 2, 1)
	g.fill(stock(b, g, 100_000, 200), "n2")
	x, y := g.nodes["n1"], g.nodes["n2"]
	var write, decode, receive time.Duration
	round := 1
	for b.Loop() {
		list := moves(g, x, 1000, round)
		round++
		at := time.Now()
		out, err := x.r.Write(list, g.now)
		if err != nil {
			b.Fatal(err)
		}
		write += time.Since(at)
		for _, p := range out.Send {
			at = time.Now()
			m, err := y.decoder.Decode(p.Data)
			if err != nil {
				b.Fatal(err)
			}
			decode += time.Since(at)
			at = time.Now()
			if got := y.r.Receive(m, g.now); len(got.Merged) == 0 {
				b.Fatal("nothing merged")
			}
			receive += time.Since(at)
		}
	}
	b.ReportMetric(float64(write.Microseconds())/float64(b.N), "µs/write")
	b.ReportMetric(float64(decode.Microseconds())/float64(b.N), "µs/decode")
	b.ReportMetric(float64(receive.Microseconds())/float64(b.N), "µs/receive")
}

func BenchmarkVote(b *testing.B) {
	g := newRig(b, 2, 1)
	g.upAll()
	g.run(time.Second)
	x, y := g.nodes["n1"], g.nodes["n2"]
	value := bytes.Repeat([]byte{0xa5}, 250) // 1,000 targets
	var set, decode, receive time.Duration
	for b.Loop() {
		at := time.Now()
		out, _ := x.r.SetVote(value, g.now)
		set += time.Since(at)
		at = time.Now()
		m, err := y.decoder.Decode(out.Send[0].Data)
		if err != nil {
			b.Fatal(err)
		}
		decode += time.Since(at)
		at = time.Now()
		if got := y.r.Receive(m, g.now); len(got.Votes) != 1 {
			b.Fatal("it does not count")
		}
		receive += time.Since(at)
	}
	b.ReportMetric(float64(set.Nanoseconds())/float64(b.N)/1000, "µs/set")
	b.ReportMetric(float64(decode.Nanoseconds())/float64(b.N)/1000, "µs/decode")
	b.ReportMetric(float64(receive.Nanoseconds())/float64(b.N)/1000, "µs/receive")
}

// What an entry takes in memory, sealed in batches and by itself.
func BenchmarkMemory(b *testing.B) {
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	for b.Loop() {
		g := newRig(b, 1, 1)
		before := heap()
		r := g.nodes["n1"].r
		for _, s := range stock(b, g, 100_000, 200) {
			back, err := DecodeSealed(s.Bytes()) // as from the disk
			if err != nil {
				b.Fatal(err)
			}
			r.load(back)
		}
		b.ReportMetric(float64(heap()-before)/100_000, "B/entry")
		runtime.KeepAlive(r)
	}
}
