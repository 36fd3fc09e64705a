package zones

import "time"

// slice is how long loading keeps a core before it yields.
const slice = 200 * time.Microsecond

// pacer calls yield about every slice of work.
type pacer struct {
	yield func()
	last  time.Time
	ticks uint
}

func newPacer(yield func()) *pacer { return &pacer{yield: yield, last: time.Now()} }

// tick is called once for a record or so; one costs up to a few µs.
func (p *pacer) tick() {
	if p.ticks++; p.ticks%16 != 0 || p.yield == nil {
		return
	}
	if time.Since(p.last) >= slice {
		p.yield()
		p.last = time.Now()
	}
}

// Pause is a yield for loading beside threads that answer. It sleeps, for
// runtime.Gosched would be handed the core back before the scheduler has asked
// the network poller who else could run; a sleep shorter than this ends before
// it has asked.
func Pause() { time.Sleep(100 * time.Microsecond) }
