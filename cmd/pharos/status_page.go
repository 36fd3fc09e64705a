package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/scloudstack/pharos/internal/api"
	"github.com/scloudstack/pharos/policy"
)

// status is the node at a glance: what is wrong first, what to do last.
func (p *page) status(s api.Status) {
	p.node(s.Node, s.Decision.Held != "")
	now := s.Node.Now
	p.standing(s.Decision)
	if len(s.Alarms) > 0 {
		p.heading("ALARMS")
		p.alarms(s.Alarms, now)
	}
	p.observe(s.Observe, now)
	p.sites(s.Decision)
	if len(s.Decision.Members) > 1 {
		p.members(members(s.Decision), now)
	}
	p.drills(s.Decision.Blocks, now)
	for _, svc := range s.Decision.Services {
		p.service(svc, now)
	}
	p.orders(s.Decision, now)
	if len(s.Zones) > 0 {
		p.heading("ZONES")
		p.zones(s.Zones)
	}
	p.next(s)
}

func (p *page) node(n api.NodeStatus, held bool) {
	state := p.paint(green, "serving")
	switch {
	case held && n.Mode != "observe":
		state = p.paint(red, "held")
	case !n.Readiness.Ready:
		state = p.paint(red, "not ready: "+n.Readiness.Why)
	case n.Mode == "observe":
		state = p.paint(yellow, "observing, answers nothing")
	}
	where := ""
	if n.Site != "" {
		where = " in " + n.Site
	}
	p.linef("%s%s · %s · up %s", p.paint(bold, n.Name), where, state, since(n.Now, n.Started))
	var at []string
	for _, l := range n.Listen {
		at = append(at, l.String())
	}
	if len(at) > 0 {
		p.linef("answers at %s", strings.Join(at, ", "))
	}
	p.linef("revision %d (%s) of %s · configuration %s of %s", n.Revision.Number, short(n.Revision.Digest),
		clock(n.Now, n.Revision.Made), n.Config, clock(n.Now, n.Loaded))
	if !n.ConfirmBy.IsZero() {
		p.linef("%s", p.paint(yellow, fmt.Sprintf("The configuration goes back in %s unless confirmed: pharos reload confirm", length(n.ConfirmBy.Sub(n.Now)))))
	}
	if f := n.LastReload; f != nil {
		p.linef("%s", p.paint(red, fmt.Sprintf("The last reload, %s, was refused; what ran before runs on:", ago(n.Now, f.At))))
		for _, problem := range f.Problems {
			p.linef("  %s", problem)
		}
	}
}

// standing says what keeps the node from deciding, or from answering.
func (p *page) standing(d policy.Status) {
	if d.Held != "" {
		p.linef("%s", p.paint(red, "held, answers no steered name: "+d.Held))
	}
	if d.Suspects != "" {
		p.linef("%s", p.paint(yellow, "suspects itself and abstains: "+d.Suspects))
	}
	if d.Contact != "" {
		p.linef("%s", p.paint(red, d.Contact))
	}
}

// alarms lists the unacknowledged ones first.
func (p *page) alarms(all []policy.AlarmStatus, now time.Time) {
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b policy.AlarmStatus) int {
		switch {
		case a.Acknowledged == b.Acknowledged:
			return b.Since.Compare(a.Since)
		case a.Acknowledged:
			return 1
		default:
			return -1
		}
	})
	for _, al := range all {
		look, mark := red, "!"
		if al.Acknowledged {
			look, mark = dim, "·"
		}
		text := p.wrap(fmt.Sprintf("%s (for %s)", al.Text, since(now, al.Since)), 6+utf8.RuneCountInString(al.Cause), 4)
		p.linef("  %s %s  %s", p.paint(look, mark), p.paint(look, al.Cause), text)
		if al.Acknowledged {
			p.linef("    acknowledged by %s %s%s", al.AckedBy, ago(now, al.AckedAt), quoted(": ", al.AckReason))
		} else if al.Way != "" {
			p.linef("    → %s", al.Way)
		}
	}
}

func (p *page) observe(o *api.ObserveStatus, now time.Time) {
	if o == nil {
		return
	}
	p.heading("OBSERVED")
	for _, s := range o.Servers {
		if s.Error != "" {
			p.linef("  %s  %s", s.Address, p.paint(red, s.Error))
		}
	}
	switch {
	case o.Compared.IsZero():
		p.linef("  not compared yet")
	case len(o.Differ) == 0:
		p.linef("  %s", p.paint(green, fmt.Sprintf("%s answered as this node would, %s", count(o.Names, "name"), ago(now, o.Compared))))
	default:
		t := &table{indent: "  "}
		t.head("NAME", "TYPE", "SERVER", "LIVE", "OURS")
		for _, d := range o.Differ {
			t.add(c(d.Name), c(d.Type), c(d.Server), cs(yellow, d.Live), c(d.Ours))
		}
		p.table(t)
	}
}

func (p *page) sites(d policy.Status) {
	if len(d.Sites) == 0 {
		return
	}
	p.heading("SITES")
	t := &table{indent: "  "}
	t.head("SITE", "METRO", "ROLE", "STATE", "ENDPOINTS", "")
	for _, s := range d.Sites {
		t.add(c(string(s.Site)), c(string(s.Metro)), c(s.Role.String()), siteState(s, d.Now), endpointsUp(d.Services, s.Site), c(siteNotes(s, d.Drains)))
	}
	p.table(t)
}

// endpointsUp counts a site's endpoints over all services.
func endpointsUp(services []policy.ServiceStatus, site policy.SiteID) cell {
	up, unknown, all := 0, 0, 0
	for _, svc := range services {
		for _, e := range svc.Endpoints {
			if slices.Contains(e.Sites, site) {
				all++
				switch e.Health {
				case policy.Up:
					up++
				case policy.Unknown:
					unknown++
				}
			}
		}
	}
	switch {
	case all == 0:
		return cs(dim, "none")
	case up == all:
		return cs(green, fmt.Sprintf("%d up", up))
	case unknown == all:
		return cs(yellow, fmt.Sprintf("%d unknown", all))
	case up == 0:
		return cs(red, fmt.Sprintf("0 of %d up", all))
	default:
		return cs(yellow, fmt.Sprintf("%d of %d up", up, all))
	}
}

// siteState is what is most to be known of a site. One that requires nothing is judged by its endpoints
// alone, so it is told how its nodes are heard.
func siteState(s policy.SiteStatus, now time.Time) cell {
	switch {
	case s.Lost:
		return cs(red, "lost")
	case s.Drained:
		return cs(yellow, "drained")
	case s.Health == policy.Down:
		return health(s.Health)
	case s.Votes && !s.Heard:
		return cs(red, "silent"+quoted(" for ", since(now, s.Silent)))
	case s.Abstains:
		return cs(yellow, "suspects itself")
	case len(s.Requires) > 0:
		return health(s.Health)
	case s.Votes:
		return cs(green, "heard")
	}
	return cs(dim, "not judged") // no node of its votes, and it requires nothing
}

func siteNotes(s policy.SiteStatus, drains []policy.DrainStatus) string {
	var notes []string
	for _, r := range s.Requires {
		if r.Target.Health != policy.Up {
			notes = append(notes, r.Name+": "+or(r.Target.Reason, r.Target.Detail))
		}
	}
	for _, d := range drains {
		if d.Key == "site/"+string(s.Site) {
			notes = append(notes, fmt.Sprintf("by %s for %s: %s", d.Author, length(d.Age), d.Reason))
		}
	}
	if s.Loss >= 0.01 {
		notes = append(notes, fmt.Sprintf("%.0f %% loss on the path: fall is %d", s.Loss*100, s.Fall))
	}
	return strings.Join(notes, "; ")
}

// service prints what its names answer, then its endpoints. * marks what the
// machine has chosen.
func (p *page) service(s policy.ServiceStatus, now time.Time) {
	head := p.paint(bold, "SERVICE "+string(s.Service))
	p.linef("\n%s · %s%s", head, s.Steer, quoted(" · active metro ", string(s.ActiveMetro)))
	names := &table{indent: "  "}
	for _, n := range s.Names {
		answer := c(n.Answer)
		if n.Fail || s.NoneUp {
			answer.style = red
		}
		names.add(cs(bold, n.Name), c("→"), answer, cf("ttl %ds", n.TTL), cs(dim, n.Rule))
	}
	p.table(names)
	t := &table{indent: "  "}
	t.head(" ", "ENDPOINT", "SITE", "HEALTH", "SINCE", "")
	for _, e := range s.Endpoints {
		mark := c(" ")
		if answered(s.Names, e.Addresses) {
			mark = cs(green, "*")
		}
		t.add(mark, c(strings.Join(e.Addresses, " ")), c(siteList(e.Sites)), health(e.Health), c(since(now, e.Since)), c(endpointNotes(e)))
	}
	p.table(t)
	for _, w := range s.Waiting {
		until := ""
		if !w.Until.IsZero() {
			until = ", returns in " + length(w.Until.Sub(now))
		}
		p.linef("  %s waits to return: %s%s", p.paint(yellow, string(w.Site)), w.Why, until)
		if w.Command != "" {
			p.linef("    → %s", w.Command)
		}
	}
}

func endpointNotes(e policy.EndpointStatus) string {
	var notes []string
	if e.Why != "" {
		notes = append(notes, e.Why)
	}
	if e.Percent > 0 && e.Percent < 100 {
		notes = append(notes, fmt.Sprintf("ramp at %d %%", e.Percent))
	}
	switch {
	case e.Detail == "" || e.Detail == e.Health.String():
	case e.Detail == policy.Up.String() || e.Detail == policy.Down.String(): // what this node alone sees
		notes = append(notes, e.Detail+" for this node")
	default:
		notes = append(notes, e.Detail)
	}
	return strings.Join(notes, " · ")
}

// orders lists what people said. Why one is not followed stands among the
// alarms.
func (p *page) orders(d policy.Status, now time.Time) {
	t := &table{indent: "  "}
	for _, s := range d.Sites {
		if w := s.LostBy; s.Lost {
			t.add(cs(red, "site lost"), c(string(s.Site)), c(""), byWhom(w.Author, w.Reason, w.Given, time.Time{}, now, false, false))
		}
	}
	for _, s := range d.Services {
		if w := s.MovedBy; !w.Given.IsZero() {
			t.add(cs(yellow, "failover"), c("service/"+string(s.Service)), c("to "+string(s.ActiveMetro)), byWhom(w.Author, w.Reason, w.Given, time.Time{}, now, false, false))
		}
	}
	for _, o := range d.Overrides {
		t.add(cs(yellow, "override"), c(o.Key), c(overrideWord(o.Override)), byWhom(o.Author, o.Reason, o.Given, o.Expires, now, o.Suspended, o.Expired))
	}
	for _, o := range d.Drains {
		t.add(cs(yellow, "drain"), c(o.Key), c(""), byWhom(o.Author, o.Reason, o.Given, o.Expires, now, o.Suspended, false))
	}
	for _, g := range d.Gates {
		t.add(c("gate"), c(g.Gate), gateState(g), gateBy(g, now))
	}
	if len(t.rows) > 0 {
		p.heading("ORDERS")
		p.table(t)
	}
}

func (p *page) next(s api.Status) {
	next := slices.DeleteFunc(slices.Clone(s.Decision.Next), func(n string) bool { return n == "pharos status" })
	if !s.Node.ConfirmBy.IsZero() {
		next = append([]string{"pharos reload confirm"}, next...)
	}
	p.nextCommands(next)
}

func (p *page) nextCommands(next []string) {
	if len(next) == 0 {
		return
	}
	p.linef("")
	for i, n := range next {
		label := "Next:"
		if i > 0 {
			label = "     "
		}
		p.linef("%s %s", p.paint(bold, label), n)
	}
}

// answered says whether a name is answered with one of the addresses now.
func answered(names []policy.NameStatus, addresses []string) bool {
	return slices.ContainsFunc(addresses, func(a string) bool {
		return slices.ContainsFunc(names, func(n policy.NameStatus) bool {
			return slices.Contains(n.A, a) || slices.Contains(n.AAAA, a)
		})
	})
}
