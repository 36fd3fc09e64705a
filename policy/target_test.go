package policy

import (
	"strings"
	"testing"
	"time"
)

func TestTarget(t *testing.T) {
	const o, r, x = Success, Refused, Timeout
	cfg := Target{Fall: 3, Rise: 2}
	for _, tt := range []struct {
		name    string
		results []Outcome
		fall    int // of the path
		blind   bool
		want    HealthState
	}{
		{"the first success decides", []Outcome{o}, 0, false, Up},
		{"the first failure decides", []Outcome{x}, 0, false, Down},
		{"not where nothing succeeds", []Outcome{x, x, x, x}, 0, true, Unknown},
		{"failing is not down", []Outcome{o, x, r}, 0, false, Up},
		{"fall in a row", []Outcome{o, x, r, x}, 0, false, Down},
		{"a success between", []Outcome{o, x, x, o, x, x}, 0, false, Up},
		{"answers again is unknown", []Outcome{o, x, x, x, o}, 0, false, Unknown},
		{"rise in a row", []Outcome{o, x, x, x, o, o}, 0, false, Up},
		{"rise is in a row", []Outcome{o, x, x, x, o, x, o}, 0, false, Unknown},
		{"back down only by fall", []Outcome{o, x, x, x, o, x, x}, 0, false, Unknown},
		{"back down by fall", []Outcome{o, x, x, x, o, x, x, x}, 0, false, Down},
		{"loss raises fall", []Outcome{o, x, x, x, x, x}, 6, false, Up},
		{"to what the path asks", []Outcome{o, x, x, x, x, x, x}, 6, false, Down},
		{"a refusal is no loss", []Outcome{o, x, r, x, r, r}, 6, false, Down},
		{"a clean path asks for no less than configured", []Outcome{o, x, x}, 1, false, Up},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var tg target
			for i, out := range tt.results {
				at := epochStart.Add(time.Duration(i) * time.Second)
				tg.take(Observation{Outcome: out, At: at}, cfg, tt.fall, tt.blind)
			}
			if tg.state != tt.want {
				t.Errorf("%v, want %v", tg.state, tt.want)
			}
		})
	}
}

func TestPathLoss(t *testing.T) {
	cfg := Target{Fall: 3, Rise: 2}
	// play lets a target see results, as observeOne does.
	play := func(p *path, tg *target, results string) {
		for _, c := range results {
			o := Observation{At: epochStart, Outcome: map[rune]Outcome{'.': Success, 'x': Timeout, 'r': Refused}[c]}
			if o.Outcome == Success {
				p.note(tg.missing)
			}
			tg.take(o, cfg, p.fall(), false)
		}
	}
	many := func(n int, s string) string { return strings.Repeat(s, n) }
	for _, tt := range []struct {
		name    string
		results string
		loss    float64
		fall    int
	}{
		{"clean", many(20, "."), 0, 0},
		{"death is not loss", many(10, ".") + many(10, "x"), 0, 0},
		{"what comes back is", many(10, ".") + "xx.", 0.2, 6},
		{"ended by a refusal it is not", many(10, ".") + "xxr.", 0, 0},
		{"nor where the target was found down", many(10, ".") + many(60, "x") + many(4, "."), 0, 0},
		{"but what follows is", many(10, ".") + many(60, "x") + "..xx.", 0.2, 6},
		{"the worse of 10 and 50", ".x.x.x.x" + many(20, "."), 4.0 / 28, 5},
		{"few results count as ten", ".x.", 0.1, 4},
		{"half", ".x.x.x.x.x.x.x.x.x.x.x.x.x.x.x.x.x.x.x.x.x.x.x.x.x.x.x.", 0.5, 14},
		{"most", ".x.x.xx.xx.xx.xxx.xxx.xxxx.xxxx.xxxxx.xxxxx.xxxxxx.", 0.8, 15},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var p path
			play(&p, new(target), tt.results)
			if got := p.loss(); got < tt.loss-0.001 || got > tt.loss+0.001 {
				t.Errorf("loss %.3f, want %.3f", got, tt.loss)
			}
			if got := p.fall(); got != tt.fall {
				t.Errorf("fall %d, want %d", got, tt.fall)
			}
		})
	}
	t.Run("of all targets of the path", func(t *testing.T) {
		var p path
		play(&p, new(target), ".xxx") // dead
		play(&p, new(target), "....")
		play(&p, new(target), ".x.x.")
		if got := p.loss(); got != 0.2 {
			t.Errorf("loss %.3f", got)
		}
	})
	t.Run("however many there are", func(t *testing.T) {
		var p path
		targets := make([]target, 500)
		for _, c := range "..x..x..x." {
			for i := range targets {
				o := "."
				if i%4 == 0 {
					o = string(c)
				}
				play(&p, &targets[i], o)
			}
		}
		if p.fall() < 5 {
			t.Errorf("fall %d, loss %.2f", p.fall(), p.loss())
		}
	})
}
