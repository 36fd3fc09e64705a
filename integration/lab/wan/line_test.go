package wan

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

const ms = int64(time.Millisecond)

func TestJudge(t *testing.T) {
	const frames = 20_000
	tests := []struct {
		name  string
		to    Impairment
		every int64 // ns between frames
		want  map[fate][2]float64
		delay [2]int64 // of those that pass
	}{
		{"nothing", Impairment{}, ms, map[fate][2]float64{passed: {1, 1}}, [2]int64{0, 0}},
		{"delay", Impairment{Delay: 2 * time.Millisecond}, ms, map[fate][2]float64{passed: {1, 1}}, [2]int64{2 * ms, 2 * ms}},
		{"loss", Impairment{Loss: 0.3}, ms, map[fate][2]float64{lost: {0.28, 0.32}}, [2]int64{0, 0}},
		{"all lost", Impairment{Loss: 1}, ms, map[fate][2]float64{lost: {1, 1}}, [2]int64{0, 0}},
		{"jitter", Impairment{Delay: 10 * time.Millisecond, Jitter: 4 * time.Millisecond}, 20 * ms, map[fate][2]float64{passed: {1, 1}}, [2]int64{6 * ms, 14 * ms}},
		{"more jitter than delay", Impairment{Jitter: 4 * time.Millisecond}, 20 * ms, map[fate][2]float64{passed: {1, 1}}, [2]int64{0, 4 * ms}},
		// 1000 octets every ms are 8 Mbit/s.
		{"bandwidth to spare", Impairment{Bandwidth: 16e6}, ms, map[fate][2]float64{passed: {1, 1}}, [2]int64{ms / 2, ms / 2}},
		{"half the bandwidth", Impairment{Bandwidth: 4e6, Queue: 50 * time.Millisecond}, ms, map[fate][2]float64{overflow: {0.48, 0.52}}, [2]int64{2 * ms, 53 * ms}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.to.Validate(); err != nil {
				t.Fatal(err)
			}
			var l line
			l.set(tt.to)
			rng := rand.New(rand.NewPCG(1, 2))
			count := map[fate]float64{}
			least, most := int64(1<<62), int64(0)
			for i := range int64(frames) {
				stamp := i * tt.every
				what, leaves, _ := l.judge(rng, stamp, 1000)
				count[what]++
				if what == passed {
					least, most = min(least, leaves-stamp), max(most, leaves-stamp)
				}
			}
			for what, bound := range tt.want {
				if share := count[what] / frames; share < bound[0] || share > bound[1] {
					t.Errorf("fate %d: %g of the frames, want %v", what, share, bound)
				}
			}
			if count[passed] > 0 && (least < tt.delay[0] || most > tt.delay[1]) {
				t.Errorf("delays %d to %d, want within %v", least, most, tt.delay)
			}
		})
	}
}

func TestCutLine(t *testing.T) {
	l := line{cut: true}
	l.set(Impairment{Delay: time.Millisecond}) // setting does not mend
	if what, _, _ := l.judge(nil, 0, 64); what != cut {
		t.Errorf("fate %d", what)
	}
}

// TestOrder holds that whatever a direction does, frames that are not held back
// leave in the order in which they came, and none before it came.
func TestOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var l line
		l.set(Impairment{
			Delay: time.Duration(rapid.Int64Range(0, 50*ms).Draw(t, "delay")), Jitter: time.Duration(rapid.Int64Range(0, 50*ms).Draw(t, "jitter")),
			Reorder: rapid.Float64Range(0, 1).Draw(t, "reorder"), Bandwidth: rapid.Int64Range(0, 10e6).Draw(t, "bandwidth"), Queue: MaxDelay,
		})
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		stamp, last := int64(0), int64(0)
		for range 200 {
			stamp += rapid.Int64Range(0, 3*ms).Draw(t, "gap")
			what, leaves, held := l.judge(rng, stamp, 100)
			if what != passed {
				continue
			}
			if leaves < stamp {
				t.Fatalf("came at %d, leaves at %d", stamp, leaves)
			}
			if !held && leaves < last {
				t.Fatalf("leaves at %d, the one before it at %d", leaves, last)
			}
			if !held {
				last = leaves
			}
		}
	})
}

func TestQueue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		times := rapid.SliceOf(rapid.Int64Range(0, 20)).Draw(t, "times")
		var q queue
		for i, at := range times {
			q.push(&frame{leaves: at, number: uint64(i)})
		}
		slices.Sort(times)
		var before *frame
		for _, at := range times {
			f := q.pop()
			if f.leaves != at || before != nil && before.leaves == at && before.number > f.number {
				t.Fatalf("got %d (number %d), want %d", f.leaves, f.number, at)
			}
			before = f
		}
	})
}

func TestValidate(t *testing.T) {
	for _, bad := range []Impairment{
		{Delay: -1},
		{Delay: time.Hour},
		{Jitter: -1},
		{Loss: 1.5},
		{Duplicate: -0.1},
		{Reorder: 2},
		{Bandwidth: -1},
	} {
		if bad.Validate() == nil {
			t.Errorf("%+v is taken", bad)
		}
	}
}
