package policy

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Status tells everything that is held true at now.
func (s *State) Status(now time.Time) Status {
	st := Status{
		Now: now, Cluster: s.ix.cfg.Cluster, Node: s.ix.cfg.Self,
		Revision: s.rev.Number, Digest: hex.EncodeToString(s.rev.Digest[:]), Made: s.rev.Made,
		Suspects: s.suspects(), Held: s.Held(), Contact: s.majorityText(now), Members: s.members(now), Blocks: s.blockStatus(),
		Sites: make([]SiteStatus, 0, len(s.ix.sites)), Services: make([]ServiceStatus, 0, len(s.ix.services)),
		Overrides: []OverrideStatus{}, Drains: []DrainStatus{}, Gates: []GateStatus{}, Suspended: []SuspendedStatus{},
	}
	for i := range s.ix.sites {
		st.Sites = append(st.Sites, s.siteStatus(i))
	}
	for i := range s.ix.services {
		st.Services = append(st.Services, s.serviceStatus(i))
	}
	for _, v := range s.orders.overrides {
		st.Overrides = append(st.Overrides, s.overrideStatus(v, now))
	}
	for _, d := range s.orders.drains {
		st.Drains = append(st.Drains, DrainStatus{
			Key: d.Key, Stamp: d.Stamp, Author: d.Author, Reason: d.Reason, Given: d.Stamp.Time(),
			Age: now.Sub(d.Stamp.Time()), Expires: d.Expires, Suspended: d.suspended != "",
		})
	}
	for _, r := range s.ix.cfg.Rules {
		if r.Service == "" {
			st.Gates = append(st.Gates, s.gateStatus(r))
		}
	}
	for _, o := range s.orders.suspended {
		st.Suspended = append(st.Suspended, SuspendedStatus{
			Kind: o.Kind, Key: o.Key, Stamp: o.Stamp, Author: o.Author, Why: o.suspended, Way: o.way,
		})
	}
	st.Alarms = s.alarmStatus()
	st.Next = nextCommands(st)
	return st
}

func (s *State) suspects() string {
	if s.suspect.IsZero() {
		return ""
	}
	return "none of its probes succeeds since " + s.suspect.UTC().Format(time.DateTime)
}

func (s *State) siteStatus(i int) SiteStatus {
	site := s.ix.sites[i]
	health, _ := s.siteHealth(i)
	st := SiteStatus{
		Site: site.ID, Metro: site.Metro, Role: site.Role, Health: health,
		Drained: s.orders.siteOff[site.ID], Lost: s.IsLost(site.ID),
		Loss: s.paths[i].loss(), Fall: s.paths[i].fall(),
	}
	if l := s.orders.lost[site.ID]; st.Lost && l != nil {
		st.LostBy = wordOf(l.Entry)
	}
	for _, stand := range s.standings() {
		if stand.site == i {
			st.Votes, st.Heard, st.Silent, st.Abstains = true, stand.silent.IsZero(), stand.silent, !stand.blind.IsZero()
		}
	}
	for _, k := range s.ix.required[i] {
		r := RequirementStatus{s.ix.needs[k].name, s.targetStatus(s.ix.needs[k].target)}
		r.Target.Health, r.Target.Since = s.needs[k].state, s.needs[k].since
		r.Target.Votes = s.voteStatus(s.ix.needs[k].target, i)
		st.Requires = append(st.Requires, r)
	}
	return st
}

func (s *State) targetStatus(i int) TargetStatus {
	t := &s.targets[i]
	st := TargetStatus{
		Target: s.ix.targets[i].ID, Label: s.ix.targets[i].Label, Health: s.verdicts[i].state, Detail: s.targetDetail(i),
		Since: s.verdicts[i].since, Here: s.here[i], Seen: t.seen, Latency: t.latency, Reason: t.reason,
	}
	if !st.Here {
		st.Reason = s.told(i)
	} else if t.aside(s.ix.targets[i]) {
		st.Reason = "" // of a result that is no longer the newest word
	}
	return st
}

func wordOf(e Entry) WordStatus {
	return WordStatus{Author: e.Author, Reason: e.Reason, Given: e.Stamp.Time()}
}

func (s *State) serviceStatus(svc int) ServiceStatus {
	in := &s.ix.services[svc]
	b, c := s.mainBound(s.orders, svc), s.svcs[svc].main
	st := ServiceStatus{
		Service: in.ID, Steer: in.Steer, ActiveMetro: b.metro, Epoch: b.stamp,
		Endpoints: s.endpointStatus(svc, b, c), Waiting: s.waiting(svc),
	}
	if e, ok := s.entries[EntryKey{KindActiveMetro, string(in.ID)}]; ok && e.Stamp == b.stamp {
		st.MovedBy = wordOf(e)
	}
	if c.move != nil {
		st.Move, st.Cause, st.Moved, st.NoneUp = c.move.Number, c.move.Cause, c.move.Start, c.move.NoneUp
		st.Pending = !c.at.IsZero()
	}
	for n := range in.Names {
		st.Names = append(st.Names, s.nameStatus(svc, n))
	}
	return st
}

// endpointStatus lists a service's endpoints, the preferred first.
func (s *State) endpointStatus(svc int, b bound, c chain) []EndpointStatus {
	in := &s.ix.services[svc]
	views := s.look(svc, b, c)
	list := make([]EndpointStatus, 0, len(in.eps))
	for _, e := range in.preference() {
		ep, v := &in.eps[e], &views[e]
		st := EndpointStatus{
			Endpoint: ep.ID, Weight: ep.Weight, Health: v.health, Since: v.since, Candidate: v.eligible, InSet: v.inSet,
			Targets: []TargetStatus{},
		}
		if !v.inside && v.off == "" { // its health is shown all the same
			st.Health, st.Since = s.anyHealth(ep)
		}
		if percent := s.percent(in, c.mark(ep.ID)); v.inSet && percent < 100 {
			st.Percent = percent
		}
		st.Why = s.whyNot(in, ep, b, v)
		for _, a := range ep.Addresses {
			st.Addresses = append(st.Addresses, a.String())
		}
		var details []string
		for _, at := range ep.at {
			st.Sites = append(st.Sites, s.ix.sites[at.site].ID)
			if health, _ := s.siteHealth(at.site); health == Down {
				details = append(details, "site "+string(s.ix.sites[at.site].ID)+" is down: "+s.failedRequirements(at.site))
			}
			for _, t := range at.targets {
				if t >= 0 {
					st.Targets = append(st.Targets, s.targetStatus(t))
					details = append(details, s.targetDetail(t))
				}
			}
		}
		st.Detail = strings.Join(slices.Compact(details), "; ")
		if st.Detail == "" {
			st.Detail = "not checked, counts as up"
		}
		list = append(list, st)
	}
	return list
}

// whyNot says why an endpoint is no candidate inside a bound.
func (s *State) whyNot(in *serviceInfo, ep *endpointInfo, b bound, v *view) string {
	switch {
	case v.eligible:
		return ""
	case v.off != "":
		return v.off
	case b.override != nil:
		return "outside site " + string(b.override.Override.Site) + " of override " + b.override.Key
	}
	site := s.ix.sites[ep.at[0].site]
	if off := s.orders.offReason(in, ep, site.ID); off != "" {
		return off
	}
	if site.Metro != b.metro {
		return fmt.Sprintf("site %s is outside the active metro %s", site.ID, b.metro)
	}
	return fmt.Sprintf("site %s is a %s site", site.ID, site.Role)
}

// waiting lists the endpoints that are up and would be chosen if nothing held them back.
func (s *State) waiting(svc int) []WaitStatus {
	in := &s.ix.services[svc]
	var list []WaitStatus
	views := s.look(svc, s.mainBound(s.orders, svc), s.svcs[svc].main)
	for _, e := range in.preference() {
		v := &views[e]
		if !v.eligible || v.inSet || v.health != Up || v.ready || !v.wanted {
			continue
		}
		site := in.eps[e].At[0].Site
		w := WaitStatus{
			Endpoint: in.eps[e].ID, Site: site, Until: v.until, Why: v.why,
			Command: fmt.Sprintf("pharos return %s --to %s --reason ...", in.ID, site),
		}
		if v.gate != "" {
			w.Command = "pharos gate open " + v.gate + " --reason ..."
		}
		list = append(list, w)
	}
	return list
}

func (s *State) nameStatus(svc, n int) NameStatus {
	a := s.svcs[svc].answers[n]
	d := s.decisionFor(svc, n)
	st := NameStatus{Name: a.Name, Answer: s.answerText(a), Fail: a.Fail, TTL: a.TTL, Rule: d.rule}
	if !a.Fail {
		st.A, st.AAAA = addresses(a.Choices[0])
	}
	if d.override != nil {
		st.Override = d.override.Key
	}
	return st
}

// addresses are those of a choice, by family.
func addresses(c Choice) (v4, v6 []string) {
	v4, v6 = []string{}, []string{}
	for _, m := range c.A {
		for _, a := range m.Addrs {
			v4 = append(v4, a.String())
		}
	}
	for _, m := range c.AAAA {
		for _, a := range m.Addrs {
			v6 = append(v6, a.String())
		}
	}
	return v4, v6
}

// decisionFor is how a name's answer came about.
func (s *State) decisionFor(svc, n int) decision {
	d := s.decisionOf(svc, n, s.overrideFor(svc, n, nil), func(v *override) decision {
		b, c := s.mainBound(s.orders, svc), s.svcs[svc].main
		if v != nil {
			b, c = bound{override: v}, s.svcs[svc].inside[v.Stamp]
		}
		d := s.resolve(svc, b, c, s.look(svc, b, c))
		d.pending = s.pendingWhy(svc, d)
		return d
	})
	if s.hold != nil {
		d.rule = "held"
	}
	return d
}

func (s *State) overrideStatus(v *override, now time.Time) OverrideStatus {
	st := OverrideStatus{
		Key: v.Key, Override: v.Override, Stamp: v.Stamp, Author: v.Author, Reason: v.Reason, Given: v.Stamp.Time(),
		Expires: v.Expires, Expired: v.over(now), Suspended: v.suspended != "", Names: []string{},
	}
	if v.stray != "" {
		st.Misses = []string{"reaches nothing: " + v.stray}
	}
	if !v.followed() {
		return st
	}
	for svc := range s.ix.services {
		for n, name := range s.ix.services[svc].Names {
			if s.overrideFor(svc, n, nil) == v {
				st.Names = append(st.Names, name)
			}
		}
	}
	st.Misses = s.misses(v)
	return st
}

func (s *State) gateStatus(r Rule) GateStatus {
	st := GateStatus{Gate: r.Name, Open: s.orders.gates[r.Name]}
	if e, ok := s.entries[EntryKey{KindGate, r.Name}]; ok && !e.Deleted {
		st.Moved, st.Author, st.Reason = e.Stamp.Time(), e.Author, e.Reason
	}
	return st
}

func (s *State) alarmStatus() []AlarmStatus {
	list := make([]AlarmStatus, 0, len(s.raised))
	for _, cause := range s.alarmCauses() {
		r := s.raised[cause]
		if _, worse := s.raised["majority"]; worse && cause == "margin" { // of another view, or about to be cleared
			continue
		}
		st := AlarmStatus{Cause: cause, Text: r.Text, Way: r.Way, Since: r.Since}
		if e, ok := s.acked(cause); ok {
			st.Acknowledged, st.AckedBy, st.AckedAt, st.AckReason = true, e.Author, e.Stamp.Time(), e.Reason
		}
		list = append(list, st)
	}
	return list
}

// nextCommands are the ways out of what is wrong, each once, the urgent first.
func nextCommands(st Status) []string {
	var urgent, later []string
	for _, a := range st.Alarms {
		switch {
		case a.Acknowledged:
		case strings.HasPrefix(a.Cause, conflictCause): // it was decided, and is to be read
			later = append(later, a.Way)
		case !slices.Contains(urgent, a.Way):
			urgent = append(urgent, a.Way)
		}
	}
	return append(append([]string{}, urgent...), later...)
}
