package policy

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Judge is the dry run of an order: what it would change, and whether a rule
// refuses it (a *Refusal) or it makes no sense (any other error, for the person who
// gave it). Nothing is changed; Preview.Entries are what to store, and then
// to tell with Step(Ordered(...)).
func (s *State) Judge(o Order, now time.Time) (Preview, error) {
	if err := o.CheckText(); err != nil {
		return Preview{}, err
	}
	base := s.fork()
	Step(base, Tick{}, now) // what time alone changes is no effect of the order
	list, notes, err := base.entriesOf(o)
	if err != nil {
		return Preview{}, err
	}
	for _, rule := range o.BreakGlass {
		if err := base.knownRule(rule); err != nil {
			return Preview{}, err
		}
	}
	dry := slices.Clone(list)
	for i := range dry {
		dry[i].BreakGlass = builtinRules // so that the effect is seen of an order that would be suspended
	}
	after := base.fork()
	Step(after, Ordered(dry), now)
	var scope []nameRef
	for _, e := range list {
		scope = append(scope, base.scopeOf(e)...)
	}
	p := Preview{Names: base.compare(after, scope), Warnings: notes}
	var passed []string
	for _, e := range list {
		if e.Kind == KindBlock && !e.Deleted { // such an order is one entry
			p.Cuts = base.cuts(e)
		}
		for _, w := range base.warnings(e, after) {
			if !slices.Contains(p.Warnings, w) {
				p.Warnings = append(p.Warnings, w)
			}
		}
		for _, broken := range base.violations(e, after) {
			if !slices.Contains(o.BreakGlass, broken.Rule) {
				return p, broken
			}
			if !slices.Contains(passed, broken.Rule) {
				passed = append(passed, broken.Rule)
			}
		}
	}
	p.Warnings = append(p.Warnings, base.suspendWarnings(after, list)...)
	p.Warnings = append(p.Warnings, after.ownWarnings()...)
	for _, rule := range o.BreakGlass {
		if !slices.Contains(passed, rule) {
			p.Warnings = append(p.Warnings, "rule "+rule+" does not stand in the way: --break-glass was not needed")
		}
	}
	for i := range list {
		for _, rule := range passed {
			if !slices.Contains(list[i].BreakGlass, rule) {
				list[i].BreakGlass = append(list[i].BreakGlass, rule)
			}
		}
	}
	p.Entries = list
	return p, nil
}

// entry checks what an order says and makes it the entry to store.
func (s *State) entry(o Order) (Entry, error) {
	e := Entry{Kind: o.Kind, Author: o.Author, Reason: strings.TrimSpace(o.Reason), Deleted: o.Clear}
	if o.Author == "" {
		return e, errors.New("an order needs an author")
	}
	if e.Reason == "" && !o.Clear && o.Kind != KindAck {
		return e, fmt.Errorf("%s needs a reason (--reason)", o.Kind)
	}
	if o.For < 0 || o.For > 0 && o.For < time.Second {
		return e, fmt.Errorf("--for %v: want one second or longer", o.For)
	}
	if o.For > 0 && (o.Clear || o.Kind != KindOverride && o.Kind != KindDrain && o.Kind != KindBlock) {
		return e, fmt.Errorf("--for goes with setting an override, a drain or a block only")
	}
	var err error
	switch o.Kind {
	case KindOverride:
		err = s.overrideEntry(o, &e)
	case KindDrain:
		err = s.drainEntry(o, &e)
	case KindReturn:
		err = s.returnEntry(o, &e)
	case KindGate:
		err = s.gateEntry(o, &e)
	case KindAck:
		err = s.ackEntry(o, &e)
	case KindSiteLost:
		err = s.siteLostEntry(o, &e)
	case KindActiveMetro:
		err = s.activeMetroEntry(o, &e)
	case KindRejoin:
		err = s.rejoinEntry(o, &e)
	case KindBlock:
		err = s.blockEntry(o, &e)
	case KindGossipKeys:
		err = keysEntry(o, &e)
	default:
		err = fmt.Errorf("no order of kind %q: want override, drain, return, gate, ack, site-lost, active-metro, rejoin or block", o.Kind)
	}
	if err != nil {
		return e, err
	}
	e.Stamp = s.stamp(e.EntryKey(), s.now)
	e.Over = s.entries[e.EntryKey()].Stamp
	if e.Kind == KindReturn { // also where the clock was ahead when the endpoint left
		if after := s.outSince(e); e.Stamp.Wall <= after.UnixMilli() {
			e.Stamp.Wall = after.UnixMilli() + 1
		}
	}
	if o.For > 0 {
		e.Expires = s.now.Add(o.For)
	}
	return e, nil
}

// ending makes an entry the tombstone of what its key names.
func (s *State) ending(e *Entry) error {
	old, ok := s.entries[e.EntryKey()]
	if ok && !old.Deleted {
		_, fallen := s.entries[EntryKey{KindFall, old.Stamp.String()}]
		ok = !fallen && (e.Kind == KindOverride || !old.over(s.now))
	}
	if !ok || old.Deleted {
		var keys []string
		for _, have := range s.inForce(e.Kind) {
			keys = append(keys, have.Key)
		}
		if len(keys) == 0 {
			return fmt.Errorf("no %s of %s: there is none at all", e.Kind, e.Key)
		}
		return fmt.Errorf("no %s of %s: there is %s", e.Kind, e.Key, strings.Join(keys, ", "))
	}
	e.Ends, e.Value, e.BreakGlass = old.Stamp, old.Value, slices.Clone(old.BreakGlass)
	return nil
}

// inForce lists the orders of a kind, suspended ones too.
func (s *State) inForce(kind Kind) []Entry {
	var list []Entry
	switch kind {
	case KindOverride:
		for _, v := range s.orders.overrides {
			list = append(list, v.Entry)
		}
	case KindSiteLost:
		for _, id := range slices.Sorted(maps.Keys(s.orders.lost)) {
			list = append(list, s.orders.lost[id].Entry)
		}
	case KindBlock:
		list = s.orders.blocks
	case KindAck:
		for _, cause := range s.alarmCauses() {
			if e, ok := s.acked(cause); ok {
				list = append(list, e)
			}
		}
	default:
		for _, d := range s.orders.drains {
			list = append(list, d.Entry)
		}
	}
	return list
}

func (s *State) overrideEntry(o Order, e *Entry) error {
	key, svc, err := s.overrideKey(o.Key)
	if o.Clear && err != nil { // also of what is not configured any more
		for _, v := range s.orders.overrides {
			if v.stray != "" && (v.Key == o.Key || v.Key == "name/"+canonical(strings.TrimPrefix(o.Key, "name/"))) {
				key, err = v.Key, nil
			}
		}
	}
	if err != nil {
		return err
	}
	e.Key = key
	if o.Clear {
		return s.ending(e)
	}
	if o.Override == nil {
		return errors.New("an override needs addresses or a site")
	}
	v := *o.Override
	v.Addresses = slices.Clone(v.Addresses)
	switch {
	case v.Site != "" && len(v.Addresses) > 0:
		return errors.New("an override names addresses or a site (--site), not both")
	case v.Site == "" && len(v.Addresses) == 0:
		return errors.New("an override needs addresses or a site (--site)")
	case v.TTL < 0 || v.TTL > 0 && v.TTL < time.Second || v.TTL > maxTTL:
		return fmt.Errorf("--ttl %v: want from 1s to %v", v.TTL, maxTTL)
	case v.TTL%time.Second != 0:
		return fmt.Errorf("--ttl %v: want whole seconds, as DNS counts them", v.TTL)
	case v.Site != "" && (v.KeepOther || v.Unlisted):
		return errors.New("--keep-other and --unlisted go with addresses, not with --site")
	case v.Site != "":
		err = s.checkSite(v.Site, svc)
	default:
		err = s.checkAddresses(&v, svc)
	}
	e.Value = encode(v)
	return err
}

const maxTTL = 24 * time.Hour

// overrideKey reads "name/NAME", "service/SERVICE" or "all"; the service is -1 for all.
func (s *State) overrideKey(key string) (string, int, error) {
	scope, rest, _ := strings.Cut(key, "/")
	switch scope {
	case "all":
		return "all", -1, nil
	case "name":
		name := canonical(rest)
		ref, ok := s.ix.nameOf[name]
		if !ok {
			return "", 0, unknown("steered name", name, s.names())
		}
		return "name/" + name, ref.svc, nil
	case "service":
		i, err := s.service(ServiceID(rest))
		return key, i, err
	}
	return "", 0, fmt.Errorf("override of %q: want name/NAME, service/SERVICE or all", key)
}

func canonical(name string) string {
	return strings.TrimSuffix(strings.ToLower(name), ".") + "."
}

// checkSite refuses a site where nothing of the override's scope has an endpoint.
func (s *State) checkSite(id SiteID, svc int) error {
	site, err := s.site(id)
	if err != nil {
		return err
	}
	if s.ix.sites[site].Role == Witness {
		return fmt.Errorf("site %s is a witness: it serves nothing", id)
	}
	for i := range s.ix.services {
		if svc < 0 || svc == i {
			if slices.ContainsFunc(s.ix.services[i].eps, func(ep endpointInfo) bool { return ep.inSite(site) }) {
				return nil
			}
		}
	}
	if svc < 0 {
		return fmt.Errorf("no service has an endpoint in site %s", id)
	}
	return fmt.Errorf("service %s has no endpoint in site %s: it has them in %s", s.ix.services[svc].ID, id, s.sitesOf(svc))
}

func (s *State) sitesOf(svc int) string {
	var list []string
	for _, ep := range s.ix.services[svc].eps {
		for _, at := range ep.At {
			if !slices.Contains(list, string(at.Site)) {
				list = append(list, string(at.Site))
			}
		}
	}
	return strings.Join(list, ", ")
}

// checkAddresses refuses addresses that are no endpoint, so that a typing error is
// caught, and more of them than fit an answer.
func (s *State) checkAddresses(v *Override, svc int) error {
	if v4, v6 := families(v.Addresses); max(len(v4), len(v6)) > MaxAddresses {
		return fmt.Errorf("%d IPv4 and %d IPv6 addresses are given, want at most %d of a family: an answer has to hold them",
			len(v4), len(v6), MaxAddresses)
	}
	for i, a := range v.Addresses {
		if !a.IsValid() || a.Zone() != "" || a.IsUnspecified() || a.IsMulticast() {
			return fmt.Errorf("address %v can't be answered", a)
		}
		a = a.Unmap()
		if slices.Contains(v.Addresses[:i], a) {
			return fmt.Errorf("address %v is given twice", a)
		}
		v.Addresses[i] = a
		if !v.Unlisted && !s.listed(a, svc) {
			return s.notListed(a, svc)
		}
	}
	if v4, v6 := families(v.Addresses); v.KeepOther && len(v4) > 0 && len(v6) > 0 {
		return errors.New("--keep-other goes with addresses of one family: both are given")
	}
	return nil
}

func (s *State) listed(a netip.Addr, svc int) bool {
	for i := range s.ix.services {
		if (svc < 0 || svc == i) && s.ix.services[i].endpointAt(a) >= 0 {
			return true
		}
	}
	return false
}

func (s *State) notListed(a netip.Addr, svc int) error {
	if svc < 0 {
		return fmt.Errorf("address %v is no endpoint of any service (--unlisted answers with it all the same)", a)
	}
	var have []string
	for _, ep := range s.ix.services[svc].eps {
		for _, addr := range ep.Addresses {
			have = append(have, addr.String())
		}
	}
	return fmt.Errorf("address %v is no endpoint of service %s, which has %s (--unlisted answers with it all the same)",
		a, s.ix.services[svc].ID, strings.Join(have, ", "))
}

func (s *State) drainEntry(o Order, e *Entry) error {
	scope, rest, _ := strings.Cut(o.Key, "/")
	e.Key = o.Key
	switch scope {
	case "site":
		if o.Clear {
			break // also of a site that is not configured any more
		}
		site, err := s.site(SiteID(rest))
		if err != nil {
			return err
		}
		if s.ix.sites[site].Role == Witness {
			return fmt.Errorf("site %s is a witness: it serves nothing", rest)
		}
	case "endpoint":
		id, site, _ := strings.Cut(rest, "/")
		if o.Clear {
			break
		}
		svc, err := s.service(ServiceID(id))
		if err != nil {
			return err
		}
		if err := s.checkSite(SiteID(site), svc); err != nil {
			return err
		}
	case "vip":
		key, err := s.vip(rest)
		if err != nil {
			return err
		}
		e.Key = "vip/" + key
	default:
		return fmt.Errorf("drain of %q: want site/NAME, endpoint/SERVICE/SITE or vip/PREFIX", o.Key)
	}
	if o.Clear {
		return s.ending(e)
	}
	e.Value = encode(Drain{})
	return nil
}

// vip reads a VIP, given as an address or as the prefix of one.
func (s *State) vip(text string) (string, error) {
	a, err := netip.ParseAddr(text)
	if err != nil {
		p, perr := netip.ParsePrefix(text)
		if perr != nil || !p.IsSingleIP() {
			return "", fmt.Errorf("vip %q: want an address or the prefix of one, as 203.0.113.10/32", text)
		}
		a = p.Addr()
	}
	a = a.Unmap()
	if !s.listed(a, -1) {
		return "", fmt.Errorf("vip %v is no endpoint of any service", a)
	}
	return vipKey(a), nil
}

func (s *State) returnEntry(o Order, e *Entry) error {
	if o.Clear {
		return errors.New("a return can't be cleared: drain the endpoint to take it out again")
	}
	svc, err := s.service(ServiceID(o.Key))
	if err != nil {
		return err
	}
	e.Key = o.Key
	in := &s.ix.services[svc]
	c := s.svcs[svc].main
	views := s.look(svc, s.mainBound(s.orders, svc), c)
	to := o.ReturnTo
	if to == "" {
		for _, n := range in.preference() {
			if v := &views[n]; v.eligible && !v.inSet && v.health == Up && v.wanted {
				to = in.eps[n].At[0].Site
				break
			}
		}
		if to == "" {
			return fmt.Errorf("no endpoint of service %s is up and held back: see pharos explain %s", in.ID, in.Names[0])
		}
	}
	if err := s.checkSite(to, svc); err != nil {
		return err
	}
	e.Value = encode(ReturnOrder{To: to})
	return s.returnable(in, s.ix.siteOf[to], views)
}

// outSince is when the endpoints that a return names last left the set, or their site was readmitted.
func (s *State) outSince(e Entry) time.Time {
	var last time.Time
	v, _ := decode[ReturnOrder](e)
	svc, site := s.ix.svcOf[ServiceID(e.Key)], s.ix.siteOf[v.To]
	in := &s.ix.services[svc]
	for i := range in.eps {
		ep := &in.eps[i]
		if !ep.inSite(site) {
			continue
		}
		for _, at := range []time.Time{s.svcs[svc].main.mark(ep.ID).Left, s.orders.readmittedAt(ep)} {
			if at.After(last) {
				last = at
			}
		}
	}
	return last
}

// returnable says why no endpoint of a site can be returned.
func (s *State) returnable(in *serviceInfo, site int, views []view) error {
	var why error
	for e := range in.eps {
		v := &views[e]
		if !in.eps[e].inSite(site) {
			continue
		}
		name := in.endpointName(e)
		switch {
		case v.inSet && v.eligible:
			why = fmt.Errorf("%s is in service already", name)
		case v.off != "":
			why = fmt.Errorf("%s can't return: %s", name, v.off)
		case !v.eligible:
			why = fmt.Errorf("%s can't return: it is outside the active metro", name)
		case v.health != Up:
			why = fmt.Errorf("%s can't return: it is %s", name, v.health)
		case !v.wanted:
			why = fmt.Errorf("%s is not held back: another endpoint is preferred to it and in service", name)
		default:
			return nil
		}
	}
	return why
}

func (s *State) gateEntry(o Order, e *Entry) error {
	if _, ok := s.ix.gates[o.Key]; !ok {
		var names []string
		for _, r := range s.ix.cfg.Rules {
			if r.Service == "" {
				names = append(names, r.Name)
			}
		}
		return unknown("gate", o.Key, names)
	}
	if o.Clear {
		return errors.New("a gate is opened or closed, not cleared")
	}
	e.Key, e.Value = o.Key, encode(Gate{Open: o.GateOpen})
	return nil
}

func (s *State) ackEntry(o Order, e *Entry) error {
	e.Key = o.Key
	if o.Clear {
		return s.ending(e)
	}
	r, ok := s.raised[o.Key]
	if !ok {
		return unknown("alarm", o.Key, s.alarmCauses())
	}
	e.Value = encode(Ack{r.Since})
	return nil
}
