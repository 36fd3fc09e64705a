package simulation

import (
	"container/heap"
	"time"
)

// epoch is when every schedule begins.
var epoch = time.Date(2031, 3, 1, 12, 0, 0, 0, time.UTC)

// clock is the virtual time, and what is to happen at which.
type clock struct {
	now    time.Duration
	queue  queue
	serial uint64
}

type event struct {
	at     time.Duration
	serial uint64 // of what happens at one time the earlier planned goes first
	do     func()
}

// after plans something.
func (c *clock) after(d time.Duration, do func()) {
	c.serial++
	heap.Push(&c.queue, event{c.now + max(d, 0), c.serial, do})
}

// next does what is planned next, up to a time; false: nothing is.
func (c *clock) next(until time.Duration) bool {
	if len(c.queue) == 0 || c.queue[0].at > until {
		c.now = until
		return false
	}
	e := heap.Pop(&c.queue).(event)
	c.now = e.at
	e.do()
	return true
}

type queue []event

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].serial < q[j].serial
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(event)) }
func (q *queue) Pop() any {
	old := *q
	e := old[len(old)-1]
	old[len(old)-1] = event{}
	*q = old[:len(old)-1]
	return e
}
