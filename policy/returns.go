package policy

import (
	"fmt"
	"time"
)

const (
	// quietDay is after how long without leaving again an endpoint's failed returns are forgotten.
	quietDay = 24 * time.Hour
	// longestHold bounds how far failed returns raise a hold.
	longestHold = time.Hour
	// rampSteps is in how many steps a ramp rises.
	rampSteps = 10
)

// readmission is whether an endpoint that is up and out of the set may enter it.
type readmission struct {
	ready  bool
	until  time.Time // when its hold ends; zero: not by time
	byHand bool      // a person has to end it
	wanted bool      // it would be chosen if it were ready
	why    string
	gate   string // the closed gate that holds it back
}

// readmit judges an endpoint that is up, a candidate, and not in the set.
func (s *State) readmit(in *serviceInfo, e int, b bound, c chain, views []view) readmission {
	ep, m := &in.eps[e], c.mark(in.eps[e].ID)
	r := readmission{wanted: in.wanted(e, views)}
	readmitted := s.orders.readmittedAt(ep)
	freed, _ := s.orders.freedAt(in, ep)
	if s.ordered(in, ep, m, readmitted) {
		r.ready = true
		return r
	}
	// An endpoint that never left has nothing to prove, unless failover would leave
	// another place, that stands, for it.
	at := in.current(views)
	newcomer := m.Left.IsZero() && (in.Steer != Failover || at == ep.place || at == len(in.places))
	switch {
	case m.SiteLoss && !in.Return.AfterSiteLossSame:
		r.byHand, r.why = true, "its whole site was down or lost, and return after that is manual"
	case readmitted.After(m.Left):
		r.byHand, r.why = true, "its site was readmitted, and return after that is manual"
	case newcomer && !freed.After(m.Left):
		r.ready = true
		return r
	case in.Return.Policy == ReturnManual:
		r.byHand, r.why = true, "return is manual"
	default:
		hold := in.holdFor(m, s.now)
		from := views[e].since
		if freed.After(from) {
			from = freed
		}
		if until := from.Add(hold); s.now.Before(until) {
			r.until, r.why = until, fmt.Sprintf("hold of %v", hold)
			return r
		}
		r.ready = true
	}
	if gate := s.closedGate(); gate != "" && r.ready {
		r.ready, r.gate, r.why = false, gate, "gate "+gate+" is closed"
	}
	return r
}

// ordered says whether a person's return names the endpoint and was given since it left.
func (s *State) ordered(in *serviceInfo, ep *endpointInfo, m Mark, readmitted time.Time) bool {
	order, ok := s.orders.returns[in.ID]
	if !ok || !order.given.After(m.Left.Truncate(time.Millisecond)) || order.given.Before(readmitted) {
		return false
	}
	site, ok := s.ix.siteOf[order.to]
	return ok && ep.inSite(site)
}

// holdFor is how long an endpoint must have been up: the configured hold, doubled
// with each return that did not last. A ramp has no hold until a return by it failed.
func (in *serviceInfo) holdFor(m Mark, now time.Time) time.Duration {
	hold, doublings := in.Return.Hold, m.failed(now)
	if in.Return.Policy == ReturnRamp && doublings > 0 {
		hold = max(hold, in.Return.Over)
		doublings--
	}
	limit := max(longestHold, hold)
	for ; doublings > 0 && 0 < hold && hold < limit; doublings-- { // there may be any number of them in a move of another node
		hold = min(2*hold, limit)
	}
	return hold
}

// failed is how many returns did not last, forgotten after a quiet day.
func (m Mark) failed(now time.Time) int {
	last := m.Left
	if m.Back.After(last) {
		last = m.Back
	}
	if now.Sub(last) >= quietDay {
		return 0
	}
	return m.Failed
}

// wanted says whether an endpoint would be chosen if nothing held it back.
func (in *serviceInfo) wanted(e int, views []view) bool {
	return in.Steer != Failover || in.eps[e].place <= in.current(views)
}

// current is the place that a failover service is answered from: the most preferred
// of those in the set that still stand. Without one it is after every place.
func (in *serviceInfo) current(views []view) int {
	for p, place := range in.places {
		for _, e := range place {
			if v := &views[e]; v.inSet && v.eligible && v.health != Down {
				return p
			}
		}
	}
	return len(in.places)
}

// percent is how much of its full weight an endpoint has.
func (s *State) percent(in *serviceInfo, m Mark) int {
	over := in.Return.Over
	switch {
	case !m.Ramp:
		return 100
	case m.Percent > 0:
		return min(m.Percent, 100)
	case over <= 0:
		return 100
	}
	run := max(s.now.Sub(m.Back), 0)
	if run >= over { // also where a clock jumped by years
		return 100
	}
	if n := int(run * rampSteps / over); n > 0 {
		return n * 100 / rampSteps
	}
	return 100 / rampSteps / 2
}

// nextStep is when a ramp rises next; zero when it is over or stopped.
func (s *State) nextStep(in *serviceInfo, m Mark) time.Time {
	if s.percent(in, m) >= 100 || m.Percent > 0 {
		return time.Time{}
	}
	n := max(s.now.Sub(m.Back), 0) * rampSteps / in.Return.Over
	// The first moment at which percent counts one step more.
	return m.Back.Add(((n+1)*in.Return.Over + rampSteps - 1) / rampSteps)
}
