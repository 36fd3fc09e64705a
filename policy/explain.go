package policy

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Explanation is the whole reasoning behind what a name answers one client.
type Explanation struct {
	Name       string           `json:"name"`
	Service    ServiceID        `json:"service"`
	Client     string           `json:"client,omitempty"` // as asked
	Group      SiteID           `json:"group,omitempty"`  // the client's group; "": none
	Now        time.Time        `json:"now"`
	Revision   uint64           `json:"revision"`
	Digest     string           `json:"digest"`
	Answer     string           `json:"answer"` // "203.0.113.10 (city-a, up)"
	Fail       bool             `json:"fail,omitempty"`
	A          []string         `json:"a"`
	AAAA       []string         `json:"aaaa"`
	Weights    []WeightStatus   `json:"weights,omitempty"` // where one member is picked for each answer
	TTL        uint32           `json:"ttl"`
	TTLWhy     string           `json:"ttl_why"` // "as configured", "ttl_floor: 2 of 3 failures counted for ..."
	Rule       string           `json:"rule"`
	Steps      []string         `json:"steps"` // the reasoning, a sentence each, in the order of precedence
	Override   *OverrideStatus  `json:"override,omitempty"`
	Steer      Steering         `json:"steer"`
	Metro      MetroID          `json:"active_metro"`
	Epoch      Stamp            `json:"epoch,omitzero"`
	Move       *Move            `json:"move,omitempty"` // the entry that the answer rests on
	Candidates []EndpointStatus `json:"candidates"`     // every endpoint of the service, in order of preference
	Waiting    []WaitStatus     `json:"waiting,omitempty"`
	Suspects   string           `json:"suspects,omitempty"`
	Held       string           `json:"held,omitempty"`
	Contact    string           `json:"contact,omitempty"` // which part of the electorate is silent
	Rests      *Entry           `json:"rests,omitempty"`   // the entry that the answer rests on; nil: none yet
}

// WeightStatus is the share of answers that one member gets.
type WeightStatus struct {
	Site   SiteID `json:"site"`
	Weight uint32 `json:"weight"`
	Of     uint32 `json:"of"` // the sum of all weights
}

// Explain tells why a name answers what it answers. An unknown name is an
// error that names the nearest known one.
func (s *State) Explain(q Query, now time.Time) (Explanation, error) {
	name := canonical(q.Name)
	ref, ok := s.ix.nameOf[name]
	if !ok {
		return Explanation{}, unknown("steered name", name, s.names())
	}
	in := &s.ix.services[ref.svc]
	a := s.svcs[ref.svc].answers[ref.name]
	d := s.decisionFor(ref.svc, ref.name)
	b, c := s.mainBound(s.orders, ref.svc), s.svcs[ref.svc].main
	ex := Explanation{
		Name: name, Service: in.ID, Now: now, Revision: s.rev.Number, Digest: hex.EncodeToString(s.rev.Digest[:]),
		Fail: a.Fail, A: []string{}, AAAA: []string{}, TTL: a.TTL, Rule: d.rule, Steer: in.Steer,
		Metro: b.metro, Epoch: b.stamp, Waiting: s.waiting(ref.svc), Suspects: s.suspects(),
		Move: d.chain.move, Held: s.Held(), Contact: s.majorityText(now), Rests: s.restsOn(d),
	}
	group := s.groupOf(q.Client)
	if q.Client.IsValid() {
		ex.Client = q.Client.String()
	}
	if group > 0 {
		ex.Group = s.ix.groups[group-1].Site
	}
	ex.Answer = "SERVFAIL"
	if !a.Fail {
		choice := a.Choices[0]
		if group < len(a.Choices) {
			choice = a.Choices[group]
		}
		ex.Answer = s.choiceText(a, choice)
		ex.A, ex.AAAA = addresses(choice)
		ex.Weights = weights(choice)
	}
	ex.TTLWhy = s.ttlWhy(in, a, d)
	if d.override != nil {
		st := s.overrideStatus(d.override, now)
		ex.Override = &st
	}
	if d.bound.override != nil {
		b, c = d.bound, d.chain
	}
	ex.Candidates = s.endpointStatus(ref.svc, b, c)
	for i := range ex.Candidates {
		ex.Candidates[i].InSet = s.answered(in, a, d, in.epOf[ex.Candidates[i].Endpoint])
		for k := range ex.Candidates[i].Targets {
			t := &ex.Candidates[i].Targets[k]
			t.Votes = s.voteStatus(s.ix.targetOf[t.Target], -1)
		}
	}
	ex.Steps = s.steps(ref, a, d, group)
	return ex, nil
}

// answered says whether an endpoint belongs to what a name is answered with: by its addresses where they are pinned, else
// to the decided set, of which one client may get a part.
func (s *State) answered(in *serviceInfo, a *Answer, d decision, e int) bool {
	if d.override == nil || d.override.site >= 0 {
		return !a.Fail && d.set != nil && d.set[e]
	}
	return slices.ContainsFunc(a.Choices, func(c Choice) bool {
		return slices.ContainsFunc(slices.Concat(c.A, c.AAAA), func(m Member) bool {
			return slices.ContainsFunc(m.Addrs, func(addr netip.Addr) bool { return in.endpointAt(addr) == e })
		})
	})
}

// groupOf is the group whose longest prefix holds a client: its index plus one, 0 for none.
func (s *State) groupOf(client netip.Addr) int {
	best, bits := 0, -1
	client = client.Unmap()
	for i, g := range s.ix.groups {
		for _, p := range g.Prefixes {
			if client.IsValid() && p.Contains(client) && p.Bits() > bits {
				best, bits = i+1, p.Bits()
			}
		}
	}
	return best
}

func weights(c Choice) []WeightStatus {
	list := c.A
	if len(list) == 0 {
		list = c.AAAA
	}
	var of uint32
	for _, m := range list {
		of += m.Weight
	}
	if of == 0 {
		return nil
	}
	var out []WeightStatus
	for _, m := range list {
		out = append(out, WeightStatus{m.Site, m.Weight, of})
	}
	return out
}

func (s *State) ttlWhy(in *serviceInfo, a *Answer, d decision) string {
	if why := s.pendingFor(d); why != "" && a.TTL == seconds(in.TTLFloor) && in.TTLFloor < in.TTL {
		return "ttl_floor: " + why
	}
	if d.override != nil && d.override.TTL > 0 {
		return "of override " + d.override.Key
	}
	return "as configured"
}

// steps is the reasoning in sentences, in the order of precedence.
func (s *State) steps(ref nameRef, a *Answer, d decision, group int) []string {
	in := &s.ix.services[ref.svc]
	var list []string
	say := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	if why := s.Held(); why != "" {
		say("This node is held: %s. It answers no steered name until it has merged with the others.", why)
	}
	if why := s.majorityText(s.now); why != "" {
		say("%s.", sentence(why))
	}
	if why := s.suspects(); why != "" {
		say("This node suspects itself: %s. It moves nothing.", why)
	}
	for _, o := range s.orders.suspended {
		say("%s of %s is suspended: %s.", sentence(OrderText([]Entry{o.Entry})), o.Author, o.suspended)
	}
	other := ""
	for ; d.override != nil && d.override.site < 0; d = *d.without {
		v := d.override
		say("Override %s of %s (%s) pins the answer.", v.Key, v.Author, v.Reason)
		if d.without == nil {
			return list
		}
		family := "A"
		if v.Addresses[0].Unmap().Is4() {
			family = "AAAA"
		}
		say("It keeps the other family (keep-other): %s is answered as without it.", family)
		other = "other "
	}
	if v := d.override; v == nil {
		say("No %soverride reaches the name.", other)
	} else {
		say("Override %s of %s (%s) keeps the answer inside site %s.", v.Key, v.Author, v.Reason, v.Override.Site)
	}
	if d.override == nil {
		say("The active metro of service %s is %s, %s.", in.ID, d.bound.metro, s.epochText(in.ID, d.bound))
	}
	if d.chain.move == nil {
		if d.fallback == "" {
			say("No endpoint may be answered.")
		} else {
			say("%s.", sentence(d.fallback))
		}
		return list
	}
	m := d.chain.move
	say("The newest move, number %d at %s, answers %s: %s.", m.Number, m.Start.UTC().Format(time.DateTime), in.setName(d.chain), m.Cause)
	if !d.chain.at.IsZero() {
		say("It is answered by, and no entry yet: another node is the first to write it, this one would at %s.", d.chain.due.UTC().Format(time.TimeOnly))
	}
	if strings.HasPrefix(d.rule, "all_down") {
		say("That move says that none is up, so %s applies.", d.rule)
	}
	if d.fallback != "" {
		say("%s.", sentence(d.fallback))
	}
	if !a.Fail && d.by == in.Steer && d.rule != "all_down: primary" && d.fallback == "" {
		say("%s", s.steerText(in, a, group))
	}
	for _, w := range s.waiting(ref.svc) {
		until := ""
		if !w.Until.IsZero() {
			until = " until " + w.Until.UTC().Format(time.DateTime)
		}
		say("%s (%s) is up and waits%s: %s.", w.Endpoint, w.Site, until, w.Why)
	}
	return list
}

// sentence begins a text with a capital.
func sentence(text string) string { return strings.ToUpper(text[:1]) + text[1:] }

// restsOn is the entry that a decision rests on: the override that pins it, or the newest move.
func (s *State) restsOn(d decision) *Entry {
	switch {
	case d.override != nil && d.override.site < 0:
		e := d.override.Entry
		return &e
	case d.chain.move == nil || !d.chain.at.IsZero():
		return nil
	}
	e, ok := s.entries[EntryKey{KindMove, moveKey(d.chain.move)}]
	if !ok {
		return nil
	}
	return &e
}

func (s *State) epochText(id ServiceID, b bound) string {
	if b.stamp == (Stamp{}) {
		return "as configured"
	}
	text := "by a person's word of " + b.stamp.Time().Format(time.DateTime)
	if e := s.entries[EntryKey{KindActiveMetro, string(id)}]; e.Stamp == b.stamp {
		text += fmt.Sprintf(" (%s: %s)", e.Author, e.Reason)
	}
	return text
}

func (s *State) steerText(in *serviceInfo, a *Answer, group int) string {
	switch in.Steer {
	case ActiveActive:
		return "Active-active: every endpoint of the set, rotating."
	case Weighted:
		return "Weighted: one endpoint of the set an answer, by weight."
	case Nearest:
		if group == 0 {
			return "Nearest: the client is in no site's networks, so the first site of the set by order."
		}
		site := s.ix.groups[group-1].Site
		choice := a.Choices[min(group, len(a.Choices)-1)]
		if slices.ContainsFunc(slices.Concat(choice.A, choice.AAAA), func(m Member) bool { return m.Site == site }) {
			return fmt.Sprintf("Nearest: the client is in the networks of site %s, which is in the set.", site)
		}
		return fmt.Sprintf("Nearest: the client is in the networks of site %s, which is not in the set, so the first by order.", site)
	}
	return "Failover: the first site of the set by order."
}
