package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	// silentFor is how long a site is silent before people are told.
	silentFor = 3 * time.Second
	// differsFor is how long nodes run with different configurations or zones before people are told: a
	// deployment reaches one node after the other.
	differsFor = 10 * time.Second
)

// standing is how a site of the electorate stands for this node.
type standing struct {
	site   int
	silent time.Time // since when none of its nodes is heard: its last vote, else the start; zero: one is
	found  time.Time // when that was known: a vote counts for a while
	blind  time.Time // since when those that are heard suspect themselves; zero: one does not
}

// standings lists the electorate.
func (s *State) standings() []standing {
	var list []standing
	for site, seated := range s.seated {
		if !seated {
			continue
		}
		st, heard, trusted := standing{site: site}, false, false
		for _, n := range s.ix.probers[site] {
			p := &s.peers[n]
			switch {
			case !p.live:
				st.silent, st.found = later(st.silent, p.last()), later(st.found, p.since)
			case p.vote.Suspect:
				heard, st.blind = true, later(st.blind, p.doubted)
			default:
				heard, trusted = true, true
			}
		}
		if heard {
			st.silent = time.Time{}
		}
		if trusted {
			st.blind = time.Time{}
		}
		list = append(list, st)
	}
	return list
}

// missing are the sites of the electorate that say nothing, and how many do. ripe says whether that is so
// for long enough to tell people, else due when it will be.
func (s *State) missing() (silent, blind []string, speaking int, ripe bool, due time.Time) {
	ripe = true
	wait := func(since time.Time) {
		if at := since.Add(silentFor); at.After(s.now) {
			ripe, due = false, sooner(due, at)
		}
	}
	for _, st := range s.standings() {
		name := string(s.ix.sites[st.site].ID)
		switch {
		case !st.silent.IsZero():
			silent = append(silent, name)
			wait(st.found)
		case !st.blind.IsZero():
			blind = append(blind, name)
			wait(st.blind)
		default:
			speaking++
		}
	}
	return silent, blind, speaking, ripe, due
}

// contactAlarms tell of sites that are missed, and of nodes that run with something else.
func (t *turn) contactAlarms() []alarm {
	t.contactDue = time.Time{}
	if len(t.ix.nodes) < 2 {
		return nil
	}
	list := t.differAlarms()
	for site := range t.ix.sites {
		if id := t.ix.sites[site].ID; t.IsLost(id) && slices.ContainsFunc(t.ix.nodesOf[site], func(n int) bool { return t.peers[n].live }) {
			list = append(list, alarm{
				"lost/" + string(id),
				fmt.Sprintf("site %s is declared lost, and is in contact: its nodes decide nothing, and its endpoints are no candidates", id),
				fmt.Sprintf("pharos site readmit %s --reason ...", id),
			})
		}
	}
	if own := t.ix.ownSite(); own >= 0 && !t.seated[own] {
		return list
	}
	silent, blind, speaking, ripe, due := t.missing()
	t.contactDue = sooner(t.contactDue, due)
	gone := slices.Concat(silent, blind)
	if len(gone) == 0 || !ripe || t.seats < 2 {
		return list
	}
	who := []string{}
	if len(silent) > 0 {
		who = append(who, "silent: "+strings.Join(silent, ", "))
	}
	if len(blind) > 0 {
		who = append(who, "suspecting themselves: "+strings.Join(blind, ", "))
	}
	need := t.seats/2 + 1
	way := "pharos status"
	if len(silent) > 0 && speaking < need {
		way = lostCommand(silent)
	}
	switch {
	case speaking < need:
		list = append(list, alarm{
			"majority", fmt.Sprintf("no majority of the %d sites that decide says anything (%s): the newest moves stand", t.seats, strings.Join(who, "; ")), way,
		})
	case speaking == need:
		list = append(list, alarm{
			"margin", fmt.Sprintf("one more silent site, and nothing can be decided (%s)", strings.Join(who, "; ")), way,
		})
	}
	return list
}

// differAlarms tell of nodes in contact whose configuration or zones are not this node's.
func (t *turn) differAlarms() []alarm {
	var list []alarm
	for i, what := range []string{"configuration", "zones"} {
		others := t.differing(i)
		if len(others) == 0 {
			t.unlike[i] = time.Time{}
			continue
		}
		if t.unlike[i].IsZero() {
			t.unlike[i] = t.now
		}
		if at := t.unlike[i].Add(differsFor); at.After(t.now) {
			t.contactDue = sooner(t.contactDue, at)
			continue
		}
		list = append(list, alarm{
			"divergence/" + what,
			fmt.Sprintf("%s of %s differs from that of %s; deploy the same to every node", what, strings.Join(others, ", "), t.ix.cfg.Self),
			"pharos cluster status",
		})
	}
	return list
}

// differing names the nodes in contact that run with another configuration (0) or other zones (1).
func (s *State) differing(what int) []string {
	var list []string
	for n := range s.peers {
		p := &s.peers[n]
		if n == s.ix.self || !p.live {
			continue
		}
		mine, theirs := s.ix.cfg.Digest, p.vote.Config
		if what == 1 {
			mine, theirs = s.zones, p.vote.Zones
		}
		if mine != theirs && mine != [8]byte{} && theirs != [8]byte{} {
			list = append(list, string(s.ix.nodes[n].ID))
		}
	}
	return list
}

// lostCommand declares sites lost. A site that is cut off looks from here like one that is gone, and serves on.
func lostCommand(sites []string) string {
	are := " are"
	if len(sites) == 1 {
		are = " is"
	}
	return "pharos site lost " + strings.Join(sites, " ") + " --reason ...  # only if " + strings.Join(sites, ", ") + are + " really gone: ask there first"
}

// majorityText is the majority in one sentence, "" where it is whole.
func (s *State) majorityText(now time.Time) string {
	silent, since := 0, time.Time{}
	for _, st := range s.standings() {
		if !st.silent.IsZero() {
			silent++
			since = later(since, st.silent)
		}
	}
	own := s.ix.ownSite()
	switch {
	case own >= 0 && len(s.ix.probers[own]) > 0 && !s.seated[own]:
		return fmt.Sprintf("site %s is declared lost%s", s.ix.sites[own].ID, s.serving())
	case silent == 0 && s.majority:
		return ""
	}
	if d := now.Sub(s.started); d < silentFor && !s.majority {
		return fmt.Sprintf("started %s ago, hears %d of %d sites so far", ago(d), s.seats-silent, s.seats)
	}
	text := "this node's own site is not heard"
	if silent > 0 {
		text = fmt.Sprintf("%d of %d sites silent for %s", silent, s.seats, ago(now.Sub(since)))
	}
	switch {
	case !s.majority:
		text += ", no majority"
	case s.hold != nil:
		text += ", a majority is heard"
	default:
		text += ", a majority decides"
	}
	return text + s.serving()
}

// serving ends a sentence with what is served; a held node serves nothing.
func (s *State) serving() string {
	if s.hold != nil {
		return ""
	}
	return fmt.Sprintf(", serving revision %d", s.rev.Number)
}

// ago is a time as people say it: seconds below a minute, then minutes.
func ago(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d/time.Second))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d/time.Minute))
	}
	return fmt.Sprintf("%dh%dm", int(d/time.Hour), int(d%time.Hour/time.Minute))
}
