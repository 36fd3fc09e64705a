package policy

import (
	"testing"
	"time"
)

// A ramp's share stays between nothing and all, however the clock jumps.
func TestPercent(t *testing.T) {
	in := &serviceInfo{Service: &Service{Return: Return{Policy: ReturnRamp, Over: 10 * time.Minute}}}
	back := epochStart
	for _, tt := range []struct {
		name string
		mark Mark
		at   time.Duration
		want int
	}{
		{"at once", Mark{Ramp: true, Back: back}, 0, 5},
		{"the first step", Mark{Ramp: true, Back: back}, time.Minute, 10},
		{"before the last", Mark{Ramp: true, Back: back}, 10*time.Minute - 1, 90},
		{"over", Mark{Ramp: true, Back: back}, 10 * time.Minute, 100},
		{"a clock that goes back", Mark{Ramp: true, Back: back}, -time.Hour, 5},
		{"a clock years ahead", Mark{Ramp: true, Back: back}, 50 * 365 * 24 * time.Hour, 100},
		{"since ever", Mark{Ramp: true}, 0, 100},
		{"stopped", Mark{Ramp: true, Back: back, Percent: 30}, time.Hour, 30},
		{"stopped beyond all", Mark{Ramp: true, Back: back, Percent: 250}, 0, 100},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &State{now: back.Add(tt.at)}
			if got := s.percent(in, tt.mark); got != tt.want {
				t.Errorf("%d %%, want %d", got, tt.want)
			}
		})
	}
}

// A person's return counts also where the endpoint left by a clock that was ahead.
func TestReturnAfterClockAhead(t *testing.T) {
	cfg := bigConfig(1)
	cfg.Services[0].Return = Return{Policy: ReturnManual}
	cfg.Services[0].Endpoints = cfg.Services[0].Endpoints[:2]
	a, b := cfg.Services[0].Endpoints[0].At[0].Targets[0], cfg.Services[0].Endpoints[1].At[0].Targets[0]
	s, now := upState(cfg)
	now = now.Add(24 * time.Hour)
	var stored Stored
	for range 3 {
		fx := Step(s, Observed{{Target: a, At: now, Outcome: Refused}, {Target: b, At: now}}, now)
		stored.Entries = append(stored.Entries, fx.Store...)
	}
	now = epochStart.Add(time.Minute) // the clock was set right while the node was down
	s, _ = Start(cfg, stored, now)
	Step(s, Observed{{Target: a, At: now}, {Target: b, At: now}}, now)
	p, err := s.Judge(Order{Kind: KindReturn, Key: "s0000", Author: "ann", Reason: "test"}, now)
	if err != nil {
		t.Fatal(err)
	}
	Step(s, Ordered(p.Entries), now)
	if got, want := s.answerText(s.rev.Answers["s0000.example."]), "10.0.0.0 (city-a, up)"; got != want || !p.Names[0].Changed {
		t.Errorf("answers %s, want %s; dry run %+v", got, want, p.Names)
	}
}
