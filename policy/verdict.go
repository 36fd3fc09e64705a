package policy

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// verdict is what is held true of a target.
type verdict struct {
	state HealthState
	since time.Time
	known bool // of a requirement: its site's nodes probe it
}

// tally counts the nodes of one site.
type tally struct{ up, down, unsure int }

// voice is what a site says: the majority of those of its nodes that know; a tie is none.
func (c tally) voice() HealthState {
	switch {
	case c.up > c.down:
		return Up
	case c.down > c.up:
		return Down
	}
	return Unknown
}

func (c *tally) add(v HealthState) {
	switch v {
	case Up:
		c.up++
	case Down:
		c.down++
	case unsure:
		c.unsure++
	}
}

// votes is what a node's vote counts for on a target. Where the target fails for this node itself, a
// vote received before its own first failing probe does not count against it: the voter may be
// on the other side of a cut, and its vote from before it.
func (s *State) votes(n, i int) HealthState {
	p := &s.peers[n]
	if !p.live || p.vote.Suspect {
		return Unknown
	}
	v := p.states.raw(i)
	if n == s.ix.self {
		return v
	}
	if failed := s.targets[i].failing; v == Down && !failed.IsZero() && p.heard.Before(failed) {
		return Unknown
	}
	return v
}

// siteVoice is what a site's nodes say of a target.
func (s *State) siteVoice(site, i int) tally {
	var c tally
	for _, n := range s.ix.probers[site] {
		c.add(s.votes(n, i))
	}
	return c
}

// health is what a majority of the electorate's sites say of a target.
func (s *State) health(i int) HealthState {
	up, down := 0, 0
	for site, seated := range s.seated {
		if !seated {
			continue
		}
		switch s.siteVoice(site, i).voice() {
		case Up:
			up++
		case Down:
			down++
		}
	}
	switch {
	case 2*up > s.seats:
		return Up
	case 2*down > s.seats:
		return Down
	}
	return Unknown
}

// need is what a site's own nodes say of what it requires. It is known where one of them looks.
func (s *State) need(k int) (HealthState, bool) {
	n := s.ix.needs[k]
	c := s.siteVoice(n.site, n.target)
	if n.site == s.ix.ownSite() && !s.suspect.IsZero() && s.peers[s.ix.self].states.raw(n.target) == unsure {
		c.unsure++ // it looks, and trusts itself no more
	}
	return c.voice(), c.up+c.down+c.unsure > 0
}

// recount finds anew what is held true of a target, and marks what rests on it.
func (t *turn) recount(i int, quiet bool) {
	if t.seated == nil { // who votes is not known yet
		return
	}
	if t.ix.checked[i] {
		if state := t.health(i); state != t.verdicts[i].state {
			before := t.verdicts[i].state
			t.verdicts[i] = verdict{state: state, since: t.heldSince(i, state, t.verdicts[i]), known: true}
			t.touch(t.ix.byTarget[i]...)
			if !quiet {
				t.change("target "+t.ix.targets[i].Label, before.String(), state.String(), t.why(i))
			}
		}
	}
	for _, k := range t.ix.needsOf[i] {
		was := t.needs[k]
		state, known := t.need(k)
		if state == was.state && known == was.known {
			continue
		}
		if state != was.state {
			t.needs[k].since = t.heldSince(i, state, was)
		}
		t.needs[k].state, t.needs[k].known = state, known
		t.touch(t.ix.byTarget[i]...)
		t.sitesTouched = true
		if !quiet && state != was.state && !(t.ix.alone && t.ix.checked[i]) {
			label := "target " + t.ix.targets[i].Label
			if !t.ix.alone {
				label += " of site " + string(t.ix.sites[t.ix.needs[k].site].ID)
			}
			t.change(label, was.state.String(), state.String(), t.why(i))
		}
	}
}

// heldSince is since when what is now held true of a target is. A node that was restarted and finds down what it had kept
// as down takes the time that it kept; of what is up it does not, since holds count from there, on every node alike.
func (s *State) heldSince(i int, state HealthState, before verdict) time.Time {
	own := &s.targets[i]
	kept := state == Down && before.since.IsZero() && own.since.Before(s.started)
	if own.state == state && (s.ix.alone || kept) {
		return own.since
	}
	return s.now
}

// recountAll finds everything anew, when who counts has changed.
func (t *turn) recountAll() {
	for i := range t.targets {
		t.recount(i, true)
	}
}

// recountChanged finds anew what rests on the places in which two vectors differ.
func (t *turn) recountChanged(a, b States) {
	for at := range max(len(a), len(b)) {
		var x, y byte
		if at < len(a) {
			x = a[at]
		}
		if at < len(b) {
			y = b[at]
		}
		if x == y {
			continue
		}
		for place := 4 * at; place < min(4*at+4, len(t.targets)); place++ {
			if a.raw(place) != b.raw(place) {
				t.recount(place, false)
			}
		}
	}
}

// recountVoted finds anew what a vote says anything of, or said.
func (t *turn) recountVoted(lists ...States) {
	for i := range t.targets {
		for _, states := range lists {
			if states.raw(i) != Unknown {
				t.recount(i, true)
				break
			}
		}
	}
}

// recountFailing finds anew what fails here and what a peer's vote, fresh now, may count against.
func (t *turn) recountFailing(p *peer) {
	for _, i := range slices.Sorted(maps.Keys(t.failing)) { // sorted, so that a step replays
		if p.states.raw(i) == Down {
			t.recount(i, false)
		}
	}
}

// why is who says what of a target, and the reason that is known best.
func (s *State) why(i int) string {
	if s.ix.alone {
		return s.targets[i].reason
	}
	var up, down []string
	for site := range s.ix.sites {
		switch name := string(s.ix.sites[site].ID); s.siteVoice(site, i).voice() {
		case Up:
			up = append(up, name)
		case Down:
			down = append(down, name)
		}
	}
	var parts []string
	if len(down) > 0 {
		parts = append(parts, "down for "+strings.Join(down, ", "))
	}
	if len(up) > 0 {
		parts = append(parts, "up for "+strings.Join(up, ", "))
	}
	if len(parts) == 0 {
		return "no site says anything"
	}
	return strings.Join(parts, "; ")
}

// reason is the evidence of a target's being down: this node's own, else a peer's.
func (s *State) reason(i int) string {
	if t := &s.targets[i]; t.reason != "" && (t.state == Down || s.ix.alone) {
		return t.reason
	}
	if told := s.told(i); told != "" {
		return told
	}
	return s.why(i)
}

// told is the evidence of a node that finds a target down and whose vote counts; "": nobody tells any.
func (s *State) told(i int) string {
	id := s.ix.targets[i].ID
	for n := range s.peers {
		p := &s.peers[n]
		if n == s.ix.self || !p.live || p.states.At(i) != Down {
			continue
		}
		for _, r := range p.reasons {
			if r.Target == id && r.State == Down && r.Text != "" {
				return r.Text + ", says " + string(s.ix.nodes[n].ID)
			}
		}
	}
	return ""
}
