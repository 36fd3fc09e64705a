package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// entriesOf makes an order the entries to store: one, save where it names several sites or every service.
// What it leaves out is told.
func (s *State) entriesOf(o Order) ([]Entry, []string, error) {
	orders, notes, err := s.expand(o)
	if err != nil {
		return nil, nil, err
	}
	var list []Entry
	for _, one := range orders {
		e, err := s.entry(one)
		if err != nil {
			return nil, nil, err
		}
		list = append(list, e)
	}
	return list, notes, nil
}

func (s *State) expand(o Order) (list []Order, notes []string, err error) {
	one := func(key string) {
		c := o
		c.Key, c.Sites = key, nil
		list = append(list, c)
	}
	switch {
	case o.Kind == KindSiteLost && len(o.Sites) > 0:
		if o.Key != "" {
			return nil, nil, errors.New("site lost: name the sites in one place")
		}
		for i, id := range o.Sites {
			if slices.Contains(o.Sites[:i], id) {
				return nil, nil, fmt.Errorf("site %s is given twice", id)
			}
			one(string(id))
		}
	case o.Kind == KindActiveMetro && o.Key == "all":
		for svc := range s.ix.services {
			id := s.ix.services[svc].ID
			if why := s.cantMoveTo(svc, o.Metro); why != "" {
				notes = append(notes, fmt.Sprintf("does not reach service %s: %s", id, why))
				continue
			}
			one("service/" + string(id))
		}
		if len(list) == 0 {
			if err := s.knownMetro(o.Metro); err != nil {
				return nil, nil, err
			}
			return nil, nil, fmt.Errorf("no service can be moved to metro %s: %s", o.Metro, strings.Join(notes, "; "))
		}
	default:
		list = []Order{o}
	}
	return list, notes, nil
}

// siteLostEntry: a site leaves the electorate, or comes back to it.
func (s *State) siteLostEntry(o Order, e *Entry) error {
	e.Key = o.Key
	if o.Clear {
		return s.ending(e)
	}
	site, err := s.site(SiteID(o.Key))
	if err != nil {
		return err
	}
	if site == s.ix.ownSite() {
		return fmt.Errorf("site %s is this node's own: it can't be declared lost here, but on a node of another site", o.Key)
	}
	if l := s.orders.lost[SiteID(o.Key)]; l != nil && l.suspended == "" {
		return fmt.Errorf("site %s is declared lost already, by %s at %s (%s)", o.Key, l.Author, l.Stamp.Time().Format(time.DateTime), l.Reason)
	}
	return nil
}

// activeMetroEntry raises a service's epoch.
func (s *State) activeMetroEntry(o Order, e *Entry) error {
	if o.Clear {
		return errors.New("the active metro is moved with another failover, not cleared")
	}
	id, ok := strings.CutPrefix(o.Key, "service/")
	if !ok {
		return fmt.Errorf("failover of %q: want service/SERVICE or all", o.Key)
	}
	svc, err := s.service(ServiceID(id))
	if err != nil {
		return err
	}
	if err := s.knownMetro(o.Metro); err != nil {
		return err
	}
	if why := s.cantMoveTo(svc, o.Metro); why != "" {
		return fmt.Errorf("service %s can't be moved to metro %s: %s", id, o.Metro, why)
	}
	e.Key, e.Value = id, encode(ActiveMetro{o.Metro})
	return nil
}

func (s *State) knownMetro(metro MetroID) error {
	var known []string
	for _, site := range s.ix.sites {
		if site.Metro == metro {
			return nil
		}
		if !slices.Contains(known, string(site.Metro)) {
			known = append(known, string(site.Metro))
		}
	}
	return unknown("metro", string(metro), known)
}

// cantMoveTo says why a service can't be moved to a metro; "": it can.
func (s *State) cantMoveTo(svc int, metro MetroID) string {
	if s.mainBound(s.orders, svc).metro == metro {
		return fmt.Sprintf("%s is its active metro already", metro)
	}
	for _, ep := range s.ix.services[svc].eps {
		for _, at := range ep.at {
			if site := s.ix.sites[at.site]; site.Metro == metro && site.Role != Witness {
				return ""
			}
		}
	}
	return fmt.Sprintf("it has no endpoint in metro %s: it has them in %s", metro, s.sitesOf(svc))
}

// rejoinEntry ends this node's held start.
func (s *State) rejoinEntry(o Order, e *Entry) error {
	if e.Key = o.Key; e.Key == "" {
		e.Key = string(s.ix.cfg.Self)
	}
	switch {
	case o.Clear:
		return errors.New("a rejoin can't be cleared: the node serves already")
	case e.Key != string(s.ix.cfg.Self):
		return fmt.Errorf("rejoin is for the node it is given on, %s, not for %s", s.ix.cfg.Self, e.Key)
	case s.hold == nil:
		return fmt.Errorf("node %s is not held: it serves", e.Key)
	}
	return nil
}

// MaxBlock is how long a block lasts at most.
const MaxBlock = 24 * time.Hour

// blockEntry cuts a node off from a site, as a drill.
func (s *State) blockEntry(o Order, e *Entry) error {
	node, site, both := strings.Cut(o.Key, "/")
	if !both {
		node, site = string(s.ix.cfg.Self), o.Key
	}
	e.Key = node + "/" + site
	if o.Clear {
		return s.ending(e)
	}
	if !s.ix.cfg.Drills {
		return errors.New("faults on purpose are for clusters that allow them: set cluster.drills: true")
	}
	n, ok := s.ix.nodeOf[NodeID(node)]
	if !ok {
		var known []string
		for _, have := range s.ix.nodes {
			known = append(known, string(have.ID))
		}
		return unknown("node", node, known)
	}
	at, err := s.site(SiteID(site))
	switch {
	case err != nil:
		return err
	case s.ix.nodes[n].site == at:
		return fmt.Errorf("node %s stands in site %s: it can't be cut off from it", node, site)
	case o.For == 0:
		return errors.New("a block needs a time after which it ends by itself (--for)")
	case o.For > MaxBlock:
		return fmt.Errorf("--for %v: a block lasts %.0fh at most; give it again when that is over", o.For, MaxBlock.Hours())
	}
	return nil
}

// cuts tells what a block cuts a node off from. What another node probes there is not known here.
func (s *State) cuts(block Entry) string {
	node, site, _ := strings.Cut(block.Key, "/")
	far := "site " + site + ", which has no nodes"
	if at := s.ix.nodesOf[s.ix.siteOf[SiteID(site)]]; len(at) > 0 {
		var names []string
		for _, n := range at {
			names = append(names, string(s.ix.nodes[n].ID))
		}
		far = strings.Join(names, ", ") + " in " + site
	}
	if node != string(s.ix.cfg.Self) {
		return fmt.Sprintf("%s from %s, and what it probes there", node, far)
	}
	probes := 0
	for i, here := range s.here {
		if here && s.ix.targets[i].Site == SiteID(site) {
			probes++
		}
	}
	return fmt.Sprintf("%s from %s, and %d of the %d targets that it probes", node, far, probes, s.trust.probed)
}

// Blocked lists the sites that this node is to be cut off from now, as drills: none where the configuration has no drills (any more).
func (s *State) Blocked() []SiteID {
	list := []SiteID{}
	if !s.ix.cfg.Drills {
		return list
	}
	for _, e := range s.orders.blocks {
		if node, site, _ := strings.Cut(e.Key, "/"); node == string(s.ix.cfg.Self) {
			list = append(list, SiteID(site))
		}
	}
	slices.Sort(list)
	return list
}

// lostWarnings: s is before the order.
func (s *State) lostWarnings(e Entry) []string {
	var list []string
	if !s.majority {
		heard := 0
		for site, seated := range s.seated {
			if seated && s.hears(site) {
				heard++
			}
		}
		list = append(list, fmt.Sprintf("this node hears %d of %d sites: where the other side declares this one lost too, the earlier word wins when they meet",
			heard, s.seats))
	}
	if site := s.ix.siteOf[SiteID(e.Key)]; s.hears(site) {
		list = append(list, "site "+e.Key+" is in contact: is it lost?")
	}
	return list
}

// readmitWarnings: s is behind the order.
func (s *State) readmitWarnings(e Entry) []string {
	var list []string
	for svc := range s.ix.services {
		for _, w := range s.waiting(svc) {
			if w.Site == SiteID(e.Key) {
				list = append(list, fmt.Sprintf("service %s: %s may be chosen again and waits: %s; then: %s", s.ix.services[svc].ID, w.Endpoint, w.Why, w.Command))
			}
		}
	}
	return list
}

// failoverWarnings tell which nodes do not know of it: s is before the order.
func (s *State) failoverWarnings(e Entry) []string {
	svc := s.ix.svcOf[ServiceID(e.Key)]
	old := s.mainBound(s.orders, svc).metro
	var away []string
	for n, node := range s.ix.nodes {
		if n != s.ix.self && node.site >= 0 && s.ix.sites[node.site].Metro == old && !s.peers[n].live {
			away = append(away, string(node.ID))
		}
	}
	if len(away) == 0 {
		return nil
	}
	return []string{fmt.Sprintf("not in contact in metro %s: %s; a node that runs there goes on with the old answer, and one that stopped may still start with it until %s",
		old, strings.Join(away, ", "), s.now.Add(s.rejoinAfter()).UTC().Format(time.DateTime))}
}

// ownWarnings tell what is wrong with the node itself that an order is given on.
func (s *State) ownWarnings() []string {
	var list []string
	if s.hold != nil {
		list = append(list, fmt.Sprintf("node %s is held (%s): the order is stored, and not served before the hold ends", s.ix.cfg.Self, s.Held()))
	}
	if r, ok := s.raised["clock/"+string(s.ix.cfg.Self)]; ok {
		list = append(list, "this node's clock is far off: "+r.Text)
	}
	if e := s.orders.ahead; e != nil && e.Stamp.Node != s.ix.cfg.Self {
		list = append(list, fmt.Sprintf("node %s stamps %s by the time of this node, which is far ahead of it: is this node's clock right?",
			e.Stamp.Node, e.Stamp.Time().Sub(s.now).Round(time.Second)))
	}
	return list
}

// keysEntry is a step of a rotation. Whether all nodes are ready for it is known to those who speak to them.
func keysEntry(o Order, e *Entry) error {
	verb, _, _ := strings.Cut(o.Key, "/")
	if o.Clear || verb != "add" && verb != "use" && verb != "remove" {
		return fmt.Errorf("gossip keys: %q: want add, use/FINGERPRINT or remove/FINGERPRINT", o.Key)
	}
	e.Key = o.Key
	return nil
}
