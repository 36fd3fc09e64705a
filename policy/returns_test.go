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
