package wan

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

const (
	// MaxDelay bounds Delay and Jitter.
	MaxDelay = 30 * time.Second

	defaultQueue = 100 * time.Millisecond
	minHoldBack  = time.Millisecond
)

// Impairment is what one direction of a wire does to frames. The zero value
// passes them on at once.
type Impairment struct {
	Delay  time.Duration `json:"delay,omitempty"`
	Jitter time.Duration `json:"jitter,omitempty"` // Delay varies evenly by as much up and down

	// Shares of the frames, 0 to 1, each drawn by itself.
	Loss      float64 `json:"loss,omitempty"`
	Duplicate float64 `json:"duplicate,omitempty"`
	Reorder   float64 `json:"reorder,omitempty"` // held back by half of Delay, at least 1 ms, and overtaken

	Bandwidth int64         `json:"bandwidth,omitempty"` // bit/s; 0: no limit
	Queue     time.Duration `json:"queue,omitempty"`     // a frame that would wait longer for Bandwidth is lost; 0: 100 ms
}

// Validate says all that is wrong.
func (i Impairment) Validate() error {
	var errs []error
	for _, d := range []struct {
		name string
		is   time.Duration
	}{{"delay", i.Delay}, {"jitter", i.Jitter}, {"queue", i.Queue}} {
		if d.is < 0 || d.is > MaxDelay {
			errs = append(errs, fmt.Errorf("%s %s: expected 0 to %s", d.name, d.is, MaxDelay))
		}
	}
	for _, s := range []struct {
		name string
		is   float64
	}{{"loss", i.Loss}, {"duplicate", i.Duplicate}, {"reorder", i.Reorder}} {
		if !(s.is >= 0 && s.is <= 1) {
			errs = append(errs, fmt.Errorf("%s %g: expected 0 to 1", s.name, s.is))
		}
	}
	if i.Bandwidth < 0 {
		errs = append(errs, fmt.Errorf("bandwidth %d bit/s: expected 0 or more", i.Bandwidth))
	}
	return errors.Join(errs...)
}

// fate is what becomes of a frame.
type fate int

const (
	passed   fate = iota
	lost          // by Loss
	cut           // while the direction was cut
	overflow      // no room in the queue for Bandwidth
)

// line is the state of one direction. Times are nanoseconds of the kernel's
// clock (CLOCK_REALTIME), as its stamps are.
type line struct {
	Impairment
	cut   bool
	last  int64 // when the last frame in order leaves
	clear int64 // when the last bit that bandwidth let pass is out
}

// set takes an impairment; frames that are on their way keep theirs.
func (l *line) set(i Impairment) { l.Impairment, l.last, l.clear = i, 0, 0 }

// judge decides what becomes of a frame that came at stamp, and when it leaves.
func (l *line) judge(rng *rand.Rand, stamp int64, octets int) (f fate, leaves int64, held bool) {
	if l.cut {
		return cut, 0, false
	}
	if l.Loss > 0 && rng.Float64() < l.Loss {
		return lost, 0, false
	}
	leaves = stamp
	if l.Bandwidth > 0 {
		queue := l.Queue
		if queue == 0 {
			queue = defaultQueue
		}
		start := max(stamp, l.clear)
		if start-stamp > int64(queue) {
			return overflow, 0, false
		}
		l.clear = start + int64(octets)*8*int64(time.Second)/l.Bandwidth
		leaves = l.clear
	}
	delay := int64(l.Delay)
	if l.Jitter > 0 {
		delay = max(0, delay+rng.Int64N(2*int64(l.Jitter)+1)-int64(l.Jitter))
	}
	leaves += delay
	if l.Reorder > 0 && rng.Float64() < l.Reorder {
		return passed, leaves + max(int64(l.Delay)/2, int64(minHoldBack)), true
	}
	l.last = max(l.last, leaves)
	return passed, l.last, false
}
