package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// alarm is a cause that is there now, with what to say of it.
type alarm struct {
	cause, text, way string
}

// raised is an alarm that is an entry.
type raised struct {
	Alarm
	stamp Stamp
}

// startAlarms takes over the alarms that were raised when the node stopped.
func (s *State) startAlarms() {
	for key, e := range s.entries {
		if key.Kind != KindAlarm || e.Deleted {
			continue
		}
		if a, ok := decode[Alarm](e); ok {
			s.raised[key.Key] = raised{a, e.Stamp}
		}
	}
}

// settleAll looks at every alarm again: after a start at those whose cause is gone, and when other
// nodes came or went at those that were theirs to raise and to clear.
func (t *turn) settleAll() {
	for _, cause := range slices.Sorted(maps.Keys(t.raised)) {
		t.settle(cause)
	}
	for _, cause := range slices.Sorted(maps.Keys(t.wanted)) {
		t.settle(cause)
	}
}

// settleDue looks again at the alarms that it was not this node's turn to write.
func (t *turn) settleDue() {
	if t.alarmDue.IsZero() || t.now.Before(t.alarmDue) {
		return
	}
	t.alarmDue = time.Time{}
	for _, cause := range slices.Sorted(maps.Keys(t.doubts)) {
		t.settle(cause)
	}
}

// raise says which alarms one source sees now, and saw before.
func (t *turn) raise(old, now []alarm) {
	for _, a := range now {
		t.wanted[a.cause] = a
		t.settle(a.cause)
	}
	for _, a := range old {
		if !slices.ContainsFunc(now, func(b alarm) bool { return a.cause == b.cause }) {
			delete(t.wanted, a.cause)
			t.settle(a.cause)
		}
	}
}

const (
	// reword is how often the text of an alarm may change where only numbers in it do, or another node wrote
	// it, and after how long a node raises again what another, which does not see its cause, has cleared.
	reword = time.Minute
	// rewordAhead is the same where it was cleared by a clock that is far ahead: nobody waits for its time, and
	// what a node is left with, such as a suspended order, is not without its alarm for longer than this.
	rewordAhead = 5 * time.Second
	// outOfSight is how long a node is silent before others clear what it said of its own view.
	outOfSight = 10 * time.Minute
	// settleIn is how long after its start a node writes no alarm but its own: it has not heard enough.
	settleIn = 5 * time.Second
)

// settle writes what an alarm's entry should say, if it does not, and if it is for this node to do. An
// alarm is raised once for all nodes, by the first in contact by name that sees its cause, and
// is then cleared and worded by the node that raised it, as long as that is in contact.
func (t *turn) settle(cause string) {
	if strings.HasPrefix(cause, conflictCause) {
		t.wantConflict(cause)
	}
	want, has := t.wanted[cause]
	r, is := t.raised[cause]
	at, calm := t.now, time.Duration(0)
	switch {
	case has && !is:
		at, calm = t.raiseAt(cause)
	case has && (r.Text != want.text || r.Way != want.way):
		if r.stamp.Node != t.ix.cfg.Self || wordless(r.Text) == wordless(want.text) && r.Way == want.way {
			at = later(at, r.stamp.Time().Add(reword))
		}
	case is && !has && strings.HasPrefix(cause, conflictCause):
		if _, acked := t.acked(cause); !acked {
			delete(t.doubts, cause)
			return
		}
	case is && !has:
	default:
		delete(t.doubts, cause)
		return
	}
	if _, own := ownerOf(cause); !own && len(t.ix.nodes) > 1 {
		at = later(at, t.started.Add(settleIn))
	}
	wait, from, mine := t.mayWrite(cause, r, is)
	at = later(at, from)
	if !mine {
		delete(t.doubts, cause)
		return
	}
	since, ok := t.doubts[cause]
	if !ok {
		since = t.now
	}
	if at = later(at, since.Add(max(wait, calm))); at.After(t.now) {
		t.doubts[cause] = since
		t.alarmDue = sooner(t.alarmDue, sooner(at, t.now.Add(reword))) // meanwhile its cause may be known to be gone
		return
	}
	delete(t.doubts, cause)
	if has {
		t.raiseNow(want, r, is)
	} else {
		t.clear(cause)
	}
}

// raiseAt is when an alarm may be raised, and for how long its cause is seen before that: what a node that is
// in contact does not see and has cleared comes and goes no faster than it can be read.
func (t *turn) raiseAt(cause string) (at time.Time, calm time.Duration) {
	e, ok := t.entries[EntryKey{KindAlarm, cause}]
	owner, own := ownerOf(cause)
	if !ok || !e.Deleted || e.Stamp.Node == t.ix.cfg.Self || own && owner == t.ix.cfg.Self {
		return t.now, 0
	}
	cleared := e.Stamp.Time()
	if cleared.After(t.now.Add(maxSkew)) {
		return t.now, rewordAhead
	}
	return later(t.now, cleared.Add(reword)), 0
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// mayWrite says whether an alarm's entry is for this node to write, from when on, and how long it waits
// for those before it.
func (t *turn) mayWrite(cause string, r raised, is bool) (wait time.Duration, from time.Time, mine bool) {
	if owner, own := ownerOf(cause); own {
		if n, there := t.ix.nodeOf[owner]; there && !t.lostNode(n) {
			return 0, from, n == t.ix.self
		}
	}
	if is && r.stamp.Node == t.ix.cfg.Self {
		return 0, from, true
	}
	if n, there := t.ix.nodeOf[r.stamp.Node]; is && there && !strings.HasPrefix(cause, conflictCause) {
		switch {
		case t.lostNode(n): // its word counts for nobody, so that it can't clear it
			from = r.stamp.Time().Add(silentFor)
		case t.peers[n].live:
			return 0, from, false
		case t.viewed(cause) && t.ix.nodes[n].site >= 0:
			from = t.peers[n].since.Add(outOfSight)
		}
	}
	before := 0
	for n := range t.peers {
		if n != t.ix.self && t.peers[n].live && t.ix.nodes[n].ID < t.ix.cfg.Self {
			before++
		}
	}
	return time.Duration(before) * turnAfter, from, true
}

// lostNode says that what a node writes counts for nothing here: its site is another, and declared lost.
func (s *State) lostNode(n int) bool {
	site := s.ix.nodes[n].site
	return site >= 0 && site != s.ix.ownSite() && s.IsLost(s.ix.sites[site].ID)
}

// viewed says that an alarm tells of what its node hears, so that another that sees no cause for it may
// just hear something else: two nodes cut from each other and not from a third would contradict one
// another for ever. That a site is down, or up again and waiting, is seen by those that know its health.
func (t *turn) viewed(cause string) bool {
	kind, rest, _ := strings.Cut(cause, "/")
	site, known := t.ix.siteOf[SiteID(rest[strings.LastIndexByte(rest, '/')+1:])]
	switch kind {
	case "majority", "margin", "divergence", "lost":
		return true
	case "site-down":
		if !known {
			return false
		}
		health, _ := t.siteHealth(site)
		return health == Unknown
	case "return":
		service, _, _ := strings.Cut(rest, "/")
		svc := slices.IndexFunc(t.ix.services, func(in serviceInfo) bool { return in.ID == ServiceID(service) })
		return known && svc >= 0 && slices.ContainsFunc(t.ix.services[svc].eps, func(ep endpointInfo) bool {
			health, _ := t.anyHealth(&ep)
			return ep.inSite(site) && health == Unknown
		})
	}
	return false
}

// ownerOf is the node that an alarm is the own of.
func ownerOf(cause string) (NodeID, bool) {
	kind, node, _ := strings.Cut(cause, "/")
	return NodeID(node), kind == "blind" || kind == "held" || kind == "mute"
}

// wordless is a text without its numbers: an alarm that counts is no other with every count.
func wordless(text string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return -1
		}
		return r
	}, text)
}

func (t *turn) raiseNow(want alarm, r raised, is bool) {
	if !is || strings.HasPrefix(want.cause, conflictCause) {
		r.Since = t.now
	}
	if !is {
		t.change("alarm "+want.cause, "clear", "raised", want.text)
	}
	r.Text, r.Way = want.text, want.way
	r.stamp = t.write(KindAlarm, want.cause, r.Alarm, false).Stamp
	t.raised[want.cause] = r
}

func (t *turn) clear(cause string) {
	var told any
	if strings.HasPrefix(cause, conflictCause) { // so that an order that comes again is known to be told of
		told = t.raised[cause].Alarm
	}
	delete(t.raised, cause)
	t.write(KindAlarm, cause, told, true)
	t.change("alarm "+cause, "raised", "clear", "its cause is gone")
	if len(t.lost[cause]) > 0 { // what it did not tell of
		t.settle(cause)
	}
}

// hearAlarm follows what another node has raised or cleared.
func (t *turn) hearAlarm(e Entry) {
	_, was := t.raised[e.Key]
	a, ok := decode[Alarm](e)
	switch {
	case e.Deleted:
		delete(t.raised, e.Key)
		t.forgetLosses(e.Key, a.Text)
		if was {
			t.heardOf(e, "raised", "clear", "its cause is gone")
		}
	case ok:
		t.raised[e.Key] = raised{a, e.Stamp}
		if !was {
			t.heardOf(e, "clear", "raised", a.Text)
		}
	}
	t.settle(e.Key)
}

// heardOf notes a change of an alarm by the node that wrote it.
func (t *turn) heardOf(e Entry, before, after, why string) {
	t.fx.Changes = append(t.fx.Changes, Change{Subject: "alarm " + e.Key, Before: before, After: after, Why: why, Heard: e.Stamp.Node})
}

// acked is the acknowledgement of an alarm, if it was given to this one and not to an earlier of its cause, whatever the clocks say.
func (s *State) acked(cause string) (Entry, bool) {
	r, ok := s.raised[cause]
	e, given := s.entries[EntryKey{KindAck, cause}]
	v, _ := decode[Ack](e)
	return e, ok && given && !e.Deleted && v.Since.Equal(r.Since)
}

// serviceAlarms are the alarms of a service inside one bound.
func (s *State) serviceAlarms(svc int, d decision, views []view) []alarm {
	in := &s.ix.services[svc]
	at, where := string(in.ID), ""
	if d.bound.override != nil {
		at += "/" + d.bound.override.Key
		where = fmt.Sprintf(" inside override %s (site %s)", d.bound.override.Key, d.bound.override.Override.Site)
	}
	var list []alarm
	switch {
	case d.rule == "no endpoint":
		list = append(list, alarm{"no-endpoint/" + at, fmt.Sprintf("%s%s has no endpoint that may be answered; SERVFAIL", in.ID, where), s.wayOut(in, d)})
	case d.fallback != "":
		list = append(list, alarm{"no-candidate/" + at, fmt.Sprintf("%s%s: %s", in.ID, where, d.fallback), s.wayBack(in, d)})
	}
	if d.chain.move != nil && d.chain.move.NoneUp {
		list = append(list, alarm{
			"all-down/" + at,
			fmt.Sprintf("%s%s: none of its endpoints is up; all_down is %s", in.ID, where, in.AllDown), s.wayOut(in, d),
		})
	}
	for _, site := range in.waitingByHand(views) {
		list = append(list, alarm{
			"return/" + at + "/" + string(site),
			fmt.Sprintf("%s%s: %s is up again and waits for a person", in.ID, where, site),
			fmt.Sprintf("pharos return %s --to %s --reason ...", in.ID, site),
		})
	}
	return list
}

// waitingByHand lists the sites whose endpoints only a person lets back.
func (in *serviceInfo) waitingByHand(views []view) []SiteID {
	var list []SiteID
	for e := range views {
		v := &views[e]
		site := in.eps[e].At[0].Site
		if v.eligible && !v.inSet && v.health == Up && v.byHand && v.wanted && !slices.Contains(list, site) {
			list = append(list, site)
		}
	}
	return list
}

// wayOut is the command that puts a service onto a site outside its bound, if it has one.
func (s *State) wayOut(in *serviceInfo, d decision) string {
	if d.bound.override != nil {
		return clearCommand(KindOverride, d.bound.override.Key)
	}
	for e := range in.eps {
		for _, at := range in.eps[e].at {
			site := s.ix.sites[at.site]
			if !d.bound.takes(s.ix, at.site) && site.Role != Witness && s.orders.offReason(in, &in.eps[e], site.ID) == "" {
				return fmt.Sprintf("pharos override set --service %s --site %s --reason ...", in.ID, site.ID)
			}
		}
	}
	return "pharos explain " + in.Names[0]
}

// wayBack is the command that ends the newest drain of a service's endpoints.
func (s *State) wayBack(in *serviceInfo, d decision) string {
	for _, dr := range slices.Backward(s.orders.drains) {
		a := span{kind: KindDrain, key: dr.Key}
		for e := range in.eps {
			for _, at := range in.eps[e].At {
				if dr.suspended == "" && a.covers(in, &in.eps[e], at.Site) {
					return clearCommand(KindDrain, dr.Key)
				}
			}
		}
	}
	if way := s.wayAcross(in, d); way != "" {
		return way
	}
	return s.wayOut(in, d)
}

// wayAcross is the command that hands a service, of whose active metro nothing is left,
// to another: unlike an override, it stands for sites that come back.
func (s *State) wayAcross(in *serviceInfo, d decision) string {
	if d.bound.override != nil {
		return ""
	}
	for e := range in.eps {
		for _, at := range in.eps[e].at {
			site := s.ix.sites[at.site]
			if site.Metro != d.bound.metro && site.Role != Witness && s.orders.offReason(in, &in.eps[e], site.ID) == "" {
				return fmt.Sprintf("pharos failover --service %s --to %s --reason ...", in.ID, site.Metro)
			}
		}
	}
	return ""
}

// clearCommand is the command that ends an order.
func clearCommand(kind Kind, key string) string {
	scope, rest, _ := strings.Cut(key, "/")
	switch {
	case kind == KindDrain:
		return "pharos undrain " + key
	case kind == KindSiteLost:
		return "pharos site readmit " + key
	case scope == "name":
		return "pharos override clear " + rest
	case scope == "service":
		return "pharos override clear --service " + rest
	}
	return "pharos override clear --all"
}

// blindFor is how long a node suspects itself before people are told: one lost check
// is enough where nothing else is up.
const blindFor = 3 * time.Second

// blindAlarm is when the node's suspicion of itself is worth an alarm; zero: it has none.
func (s *State) blindAlarm() time.Time {
	if s.suspect.IsZero() {
		return time.Time{}
	}
	return s.suspect.Add(blindFor)
}

// blindIsDue says that the node suspects itself for long enough and no alarm tells of it.
func (s *State) blindIsDue() bool {
	at := s.blindAlarm()
	_, told := s.raised["blind/"+string(s.ix.cfg.Self)]
	return !at.IsZero() && !at.After(s.now) && !told
}

// alarmGlobals brings up to date the alarms that are of no single service.
func (t *turn) alarmGlobals() {
	var now []alarm
	if at := t.blindAlarm(); !at.IsZero() && !at.After(t.now) {
		now = append(now, alarm{
			"blind/" + string(t.ix.cfg.Self),
			"none of this node's probes succeeds: it suspects itself, holds every target unknown and moves nothing; look at its own network",
			"pharos status",
		})
	}
	if e := t.orders.ahead; e != nil {
		now = append(now, alarm{
			"clock/" + string(e.Stamp.Node),
			fmt.Sprintf("%s of node %s is stamped %s, which is ahead of this node's clock: one of the clocks is wrong",
				OrderText([]Entry{*e}), e.Stamp.Node, e.Stamp.Time().Format(time.DateTime)),
			"timedatectl status",
		})
	}
	if t.hold != nil {
		now = append(now, t.holdAlarm())
	}
	if t.mute.Why != "" {
		now = append(now, alarm{
			"mute/" + string(t.ix.cfg.Self),
			fmt.Sprintf("no receiver of alarms takes anything from node %s, so that another node sends in its place: %s", t.ix.cfg.Self, t.mute.Why),
			"pharos cluster status",
		})
	}
	now = append(now, t.contactAlarms()...)
	for i, site := range t.ix.sites {
		if health, _ := t.siteHealth(i); health == Down {
			now = append(now, alarm{
				"site-down/" + string(site.ID), fmt.Sprintf("site %s is down: %s", site.ID, t.failedRequirements(i)), "pharos status",
			})
		}
	}
	for _, v := range t.orders.overrides {
		now = append(now, t.overrideAlarms(v)...)
	}
	now = append(now, t.drainAlarms()...)
	for _, o := range t.orders.suspended {
		now = append(now, alarm{
			"suspended/" + string(o.Kind) + "/" + o.Key,
			fmt.Sprintf("%s by %s is suspended: %s; clear it or give it again", OrderText([]Entry{o.Entry}), o.Author, o.suspended), o.way,
		})
	}
	t.raise(t.globals, now)
	t.globals = now
}

func (s *State) failedRequirements(site int) string {
	var parts []string
	for _, k := range s.ix.required[site] {
		if s.needs[k].state == Down {
			parts = append(parts, s.ix.needs[k].name+" is down")
		}
	}
	return strings.Join(parts, ", ")
}

// overrideAlarms warns of an expiry that is near, and of one that was not followed.
func (t *turn) overrideAlarms(v *override) []alarm {
	clear := clearCommand(v.Kind, v.Key)
	if v.stray != "" {
		return []alarm{{
			"override-stray/" + v.Key,
			fmt.Sprintf("the override %s of %s reaches nothing: %s; it is kept, and would apply again", v.Key, v.Author, v.stray), clear,
		}}
	}
	list := t.pinnedOff(v)
	if v.Expires.IsZero() || v.suspended != "" || t.now.Before(v.warnAt()) {
		return list
	}
	if t.now.Before(v.Expires) {
		return append(list, alarm{
			"override-expires/" + v.Key,
			fmt.Sprintf("the override %s of %s expires at %s; set it again to prolong it", v.Key, v.Author, v.Expires.UTC().Format(time.DateTime)),
			clear,
		})
	}
	why := t.holdsUp(v)
	switch {
	case why == "" && t.decides(): // it falls in a moment
		return list
	case why == "":
		why = "no majority of sites is heard"
	}
	return append(list, alarm{
		"override-stays/" + v.Key,
		fmt.Sprintf("the override %s of %s expired at %s and stays: %s; clear it, or set it again to prolong it", v.Key, v.Author, v.Expires.UTC().Format(time.DateTime), why),
		clear,
	})
}

// pinnedOff tells of a pin that answers with what takes no traffic: past the rule, or since the two met. Of a site
// override, the services inside it tell.
func (t *turn) pinnedOff(v *override) []alarm {
	if v.site >= 0 || !v.followed() {
		return nil
	}
	first, last := 0, len(t.ix.services)-1
	if v.svc >= 0 {
		first, last = v.svc, v.svc
	}
	for svc := first; svc <= last; svc++ {
		in := &t.ix.services[svc]
		if !t.reaches(v, svc) {
			continue
		}
		if ep, by := t.answersOff(in, v); by != nil {
			return []alarm{{
				"pinned-off/" + v.Key,
				fmt.Sprintf("the override %s of %s answers with %s of service %s, which takes no traffic: %s", v.Key, v.Author, in.endpointName(ep), in.ID, t.offWhy(in, ep)),
				clearCommand(v.Kind, v.Key),
			}}
		}
	}
	return nil
}
