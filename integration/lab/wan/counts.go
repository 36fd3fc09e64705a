package wan

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// counts is what happened to the frames of one direction.
type counts struct {
	received, sent, lost, cut, overflow, duplicated, reordered, failed uint64

	applied *hdrhistogram.Histogram // from the kernel's stamp to the frame's being sent, µs
	late    *hdrhistogram.Histogram // sent later than it should have left, ns
}

// newHistograms are made with the ports: making one takes a while.
func (c *counts) newHistograms() {
	c.applied = hdrhistogram.New(1, int64(2*MaxDelay/time.Microsecond), 3)
	c.late = hdrhistogram.New(1, int64(time.Second), 3)
}

func (c *counts) reset() {
	applied, late := c.applied, c.late
	applied.Reset()
	late.Reset()
	*c = counts{applied: applied, late: late}
}

func (c *counts) left(f *frame, now int64) {
	c.sent++
	_ = c.applied.RecordValue(max(1, (now-f.stamp)/int64(time.Microsecond))) // beyond the range: not recorded
	_ = c.late.RecordValue(min(max(1, now-f.leaves), int64(time.Second)))
}

// Spread of recorded times.
type Spread struct {
	Min time.Duration `json:"min"`
	P50 time.Duration `json:"p50"`
	P99 time.Duration `json:"p99"`
	Max time.Duration `json:"max"`
}

func spreadOf(h *hdrhistogram.Histogram, unit time.Duration) Spread {
	at := func(q float64) time.Duration { return time.Duration(h.ValueAtQuantile(q)) * unit }
	return Spread{Min: time.Duration(h.Min()) * unit, P50: at(50), P99: at(99), Max: time.Duration(h.Max()) * unit}
}

// Stats are what happened to the frames of one direction since they were reset.
type Stats struct {
	Received   uint64 `json:"received"`
	Sent       uint64 `json:"sent"` // duplicates included
	Lost       uint64 `json:"lost"`
	Cut        uint64 `json:"cut"`
	Overflow   uint64 `json:"overflow"`
	Duplicated uint64 `json:"duplicated"`
	Reordered  uint64 `json:"reordered"`
	Failed     uint64 `json:"failed"` // longer than the MTU, or refused by the kernel
	Missed     uint64 `json:"missed"` // the kernel had no room

	Applied Spread `json:"applied"` // the delay that frames really had
	Late    Spread `json:"late"`    // how much of it was too much: the accuracy
}

func (p *port) stats() Stats {
	return Stats{
		Received: p.received, Sent: p.sent, Lost: p.counts.lost, Cut: p.counts.cut, Overflow: p.counts.overflow,
		Duplicated: p.duplicated, Reordered: p.reordered, Failed: p.failed, Missed: p.kernelMissed(),
		Applied: spreadOf(p.applied, time.Microsecond), Late: spreadOf(p.late, time.Nanosecond),
	}
}
