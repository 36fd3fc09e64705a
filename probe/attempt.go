package probe

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/scloudstack/pharos/policy"
)

// checker asks one target. Its attempts may run beside each other.
type checker interface {
	// attempt asks once and returns by the end of ctx. n counts the attempts of
	// a check from 1; a later one must not share the fate of an earlier.
	attempt(ctx context.Context, n int) result
	peer() string // what is asked, for people: "203.0.113.10:443"
	close()       // no attempt runs, and none will
}

func (p *Prober) newChecker(t Target) (checker, error) {
	if found := t.problems(); len(found) > 0 {
		return nil, found[0]
	}
	switch c := t.Check; {
	case c.HTTP != nil:
		return newHTTPChecker(t, &p.files)
	case c.TCP != nil:
		return newTCPChecker(t, &p.files)
	case c.ICMP != nil:
		return newICMPChecker(t, p.pings), nil
	case c.DNS != nil:
		return newDNSChecker(t)
	default:
		return newExecChecker(t), nil
	}
}

// grace is how long after the timeout an attempt may take to return.
const grace = 50 * time.Millisecond

// result is what came of one attempt. Timeout means that there was no answer,
// for whatever reason: it does not decide the check, the others may.
type result struct {
	outcome policy.Outcome
	what    string // "503 from 203.0.113.10:443"; not for Timeout
	detail  string // more, where there is more to say
	fault   fault  // of this host, why nothing was asked; only for Timeout
}

func success(what string) result         { return result{outcome: policy.Success, what: what} }
func refused(what, detail string) result { return result{policy.Refused, what, detail, ""} }
func noAnswer(detail string) result      { return result{outcome: policy.Timeout, detail: detail} }

// unasked is what came of an attempt that failed before it asked: a fault of
// this host, else no answer.
func unasked(f fault, detail string) result { return result{policy.Timeout, "", detail, f} }

func (r result) after(d time.Duration) string {
	s := r.what + " after " + duration(d)
	if r.detail != "" {
		s += ": " + r.detail
	}
	return s
}

// check is the check of one target that is under way: up to Target.Attempts
// attempts beside each other. The first that is answered decides it, success
// or not; where none is, the timeout does. Where a fault of this host kept the
// first from asking, the target had less than the timeout to answer: then the
// check ends without an observation, unless one decides it or finds the path
// broken. When nothing of it is left, the next check of the target uses it again.
type check struct {
	p *Prober
	t *target

	mu      sync.Mutex
	ctx     context.Context // of the attempts; ends when the check is over
	cancel  context.CancelFunc
	start   time.Time
	timer   *time.Timer // of the next step
	steps   int         // parts of the timeout that have passed; it has as many as Attempts
	made    int         // attempts started
	running int         // attempts that have not returned
	holds   int         // goroutines and an armed timer that use the check
	over    time.Time   // when it was decided or aborted; zero: it is not
	last    string      // what is known of why an attempt was not answered
	unasked result      // of the first attempt, where it met a fault of this host
	broken  bool        // an attempt found the path broken
}

// begin readies c for the call of run. Nobody else uses it.
func (c *check) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.start, c.over, c.last, c.unasked, c.broken = time.Time{}, time.Time{}, "", result{}, false
	c.steps, c.made, c.running, c.holds = 0, 1, 1, 1
}

// run makes the first attempt.
func (c *check) run() {
	c.mu.Lock()
	c.start = time.Now()
	if c.over.IsZero() {
		c.arm()
	}
	c.mu.Unlock()
	c.attempt(1)
}

// arm sets the timer, which is not set, for the next step. c.mu is held.
func (c *check) arm() {
	at := c.t.Timeout + grace
	if c.steps < c.t.Attempts {
		at = c.t.Timeout * time.Duration(c.steps+1) / time.Duration(c.t.Attempts)
	}
	c.holds++
	c.p.wg.Add(1)
	if d := at - time.Since(c.start); c.timer == nil {
		c.timer = time.AfterFunc(d, c.step)
	} else {
		c.timer.Reset(d)
	}
}

// step starts another attempt. At the timeout it ends them all, and the last to
// return decides the check, so that the reason has what it knows; should one
// not return, the check is decided without it.
func (c *check) step() {
	defer c.p.wg.Done()
	defer c.release()
	c.mu.Lock()
	if !c.over.IsZero() {
		c.mu.Unlock()
		return
	}
	c.steps++
	switch {
	case c.steps < c.t.Attempts && c.p.unrun.Load() >= backlog/2:
		c.arm() // this process is behind with its work; an attempt would not help
	case c.steps < c.t.Attempts:
		c.made++
		c.running++
		c.holds++
		n := c.made
		c.p.wg.Go(func() { c.attempt(n) })
		c.arm()
	case c.steps == c.t.Attempts:
		c.cancel()
		c.arm()
	default:
		c.mu.Unlock()
		c.giveUp()
		return
	}
	c.mu.Unlock()
}

// attempt makes the nth attempt.
func (c *check) attempt(n int) {
	defer c.release()
	start := time.Now()
	r := c.ask(n)
	latency := time.Since(start)

	c.mu.Lock()
	c.running--
	none := r.outcome == policy.Timeout
	if none && r.detail != "" {
		c.last = r.detail
	}
	switch {
	case !none:
	case r.fault != "" && n == 1:
		c.unasked = r
	case r.fault == "" && c.steps < c.t.Attempts:
		c.broken = true // it ended before its time
	}
	exhausted := c.running == 0 && (c.made == c.t.Attempts || c.steps >= c.t.Attempts)
	c.mu.Unlock()
	switch {
	case !none:
		c.decide(policy.Observation{Outcome: r.outcome, Latency: latency, Reason: r.after(latency)})
	case exhausted:
		c.giveUp()
	}
}

// ask has the checker ask once, unless a drill cuts the target off: then nothing is
// sent, and nothing comes.
func (c *check) ask(n int) result {
	if !c.p.isCut(c.t.ID) {
		return c.t.checker.attempt(c.ctx, n)
	}
	<-c.ctx.Done()
	return noAnswer("cut off by a drill")
}

// giveUp ends a check that nobody answered.
func (c *check) giveUp() {
	c.mu.Lock()
	r, broken := c.unasked, c.broken
	c.mu.Unlock()
	if r.fault == "" || broken {
		c.decide(c.unanswered())
		return
	}
	if c.finish() {
		c.p.unable(c.t, r.fault, r.detail)
		c.p.freeWorker()
		c.release()
	}
}

// unanswered is the observation of a check that nobody answered.
func (c *check) unanswered() policy.Observation {
	c.mu.Lock()
	defer c.mu.Unlock()
	d := time.Since(c.start)
	s := "no answer from " + c.t.checker.peer() + " within " + duration(min(d, c.t.Timeout))
	if c.made > 1 {
		s += fmt.Sprintf(" (%d attempts)", c.made)
	}
	if c.last != "" {
		s += ": " + c.last
	}
	return policy.Observation{Outcome: policy.Timeout, Latency: d, Reason: s}
}

// decide ends the check with an observation, unless it is over already.
func (c *check) decide(o policy.Observation) {
	if c.finish() {
		c.p.tell(c.t, o)
		c.p.freeWorker()
		c.release()
	}
}

// abort ends the check without an observation.
func (c *check) abort() {
	if c.finish() {
		c.p.freeWorker()
		c.release()
	}
}

// finish makes the check over and ends its attempts. The caller to whom it
// returns true holds the check until release.
func (c *check) finish() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.over.IsZero() {
		return false
	}
	c.over = time.Now()
	c.holds++
	if c.timer != nil && c.timer.Stop() {
		c.holds--
		c.p.wg.Done()
	}
	c.cancel()
	return true
}

// release gives up one hold; the last one frees the target.
func (c *check) release() {
	c.mu.Lock()
	c.holds--
	free := c.holds == 0 && !c.over.IsZero()
	c.mu.Unlock()
	if free {
		c.p.freeTarget(c.t)
	}
}

// hung reports that the next check is due while attempts of this one, long
// decided, have still not returned (a program in an uninterruptible wait).
func (c *check) hung() {
	c.mu.Lock()
	hangs := c.holds > 0 && !c.over.IsZero() && time.Since(c.over) >= c.t.Interval/2
	if hangs {
		c.holds++
	}
	c.mu.Unlock()
	if hangs {
		d := time.Since(c.start)
		c.p.tell(c.t, policy.Observation{
			Outcome: policy.Timeout, Latency: d,
			Reason: "no answer from " + c.t.checker.peer() + ": an earlier check hangs for " + duration(d),
		})
		c.release()
	}
}

// duration is a time for people, of two or three digits.
func duration(d time.Duration) string {
	switch {
	case d >= 10*time.Second:
		return strconv.FormatFloat(d.Seconds(), 'f', 0, 64) + " s"
	case d >= 10*time.Millisecond:
		return strconv.FormatInt((d+time.Millisecond/2).Milliseconds(), 10) + " ms"
	case d >= time.Millisecond:
		return strconv.FormatFloat(float64(d.Microseconds())/1000, 'f', 1, 64) + " ms"
	}
	return strconv.FormatInt(d.Microseconds(), 10) + " µs"
}
