package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// mesh is a cluster of nodes that decide, on a network that delivers at once or not at all. What the
// exchange of entries does is done here in the simplest way: what a node writes reaches those that it is
// connected with, and nodes that meet give each other all that they have.
type mesh struct {
	fatal func(format string, args ...any)
	say   func(format string, args ...any)
	cfg   Config
	nodes map[NodeID]*member
	cuts  map[[2]NodeID]bool // from, to
	fails map[string]Outcome // "TARGET" or "TARGET NODE" → how it fails
	skew  map[NodeID]time.Duration
	now   time.Time
	quiet bool
}

type member struct {
	id      NodeID
	s       *State // nil: it does not run
	wake    time.Time
	probes  []TargetID
	away    []SiteID // that a drill cuts it off from
	vote    *Vote
	reasons []Reason
	disk    map[EntryKey]Entry
	health  map[TargetID]HealthEntry
	stamped time.Time
	counter uint64
	runs    uint64
	with    map[NodeID]time.Time // met since it was last silent; when it was last heard
	queue   []delivery
}

type delivery struct {
	from NodeID
	e    Event
}

func newMesh(fatal, say func(format string, args ...any), cfg Config, now time.Time) *mesh {
	m := &mesh{
		fatal: fatal, say: say, cfg: cfg, now: now, nodes: map[NodeID]*member{},
		cuts: map[[2]NodeID]bool{}, fails: map[string]Outcome{}, skew: map[NodeID]time.Duration{},
	}
	for _, n := range cfg.Nodes {
		m.nodes[n.ID] = &member{id: n.ID, disk: map[EntryKey]Entry{}, health: map[TargetID]HealthEntry{}}
	}
	return m
}

func (m *mesh) all() []*member {
	var list []*member
	for _, id := range slices.Sorted(maps.Keys(m.nodes)) {
		list = append(list, m.nodes[id])
	}
	return list
}

func (m *mesh) clock(n *member) time.Time { return m.now.Add(m.skew[n.id]) }

func (m *mesh) start(n *member) {
	cfg := m.cfg
	cfg.Self = n.id
	stored := Stored{Stamped: n.stamped}
	for _, e := range n.disk {
		stored.Entries = append(stored.Entries, e)
	}
	for _, h := range n.health {
		stored.Health = append(stored.Health, h)
	}
	n.runs++
	n.away, n.counter, n.vote, n.with = nil, 0, nil, map[NodeID]time.Time{}
	s, fx := Start(&cfg, stored, m.clock(n))
	n.s = s
	m.carry(n, fx)
}

// step tells a node something, and delivers what follows from it until nothing does.
func (m *mesh) step(n *member, e Event) {
	if n.s == nil {
		return
	}
	m.carry(n, Step(n.s, e, m.clock(n)))
	m.deliver()
}

func (m *mesh) deliver() {
	for busy, rounds := true, 0; busy; rounds++ {
		if rounds > 1000 {
			m.quiet = false
		}
		if rounds > 1010 {
			m.fatal("messages without end")
		}
		busy = false
		for _, n := range m.all() {
			queue := n.queue
			n.queue = nil
			for _, d := range queue {
				if n.s == nil {
					continue
				}
				busy = true
				if merged, ok := d.e.(Merged); ok {
					if merged = m.keep(n, merged); len(merged) == 0 {
						continue
					}
					d.e = merged
				}
				m.carry(n, Step(n.s, d.e, m.clock(n)))
			}
		}
	}
}

// keep is what a node is told of a batch: what it takes in, on its disk, and orders that others beat.
func (m *mesh) keep(n *member, list Merged) Merged {
	var told Merged
	for _, e := range list {
		held, ok := n.disk[e.EntryKey()]
		switch {
		case ok && held.Stamp == e.Stamp, n.s.Obsolete(e):
			continue
		case !ok || e.Replaces(held):
			n.disk[e.EntryKey()] = e
		}
		told = append(told, e)
	}
	return told
}

func (m *mesh) connected(a, b NodeID) bool {
	return m.nodes[a].s != nil && m.nodes[b].s != nil && !m.cuts[[2]NodeID{a, b}] && !m.cuts[[2]NodeID{b, a}] &&
		!m.blocks(a, b) && !m.blocks(b, a)
}

// blocks says whether a drill has one node drop all that comes from, and goes to, another.
func (m *mesh) blocks(a, b NodeID) bool {
	i := slices.IndexFunc(m.cfg.Nodes, func(n Node) bool { return n.ID == b })
	return slices.Contains(m.nodes[a].away, m.cfg.Nodes[i].Site)
}

func (m *mesh) carry(n *member, fx Effects) {
	for _, e := range fx.Store {
		n.disk[e.EntryKey()] = e
	}
	for _, k := range fx.Drop {
		delete(n.disk, k)
	}
	for _, h := range fx.Health {
		n.health[h.Target] = h
	}
	if fx.Probe != nil {
		n.probes = fx.Probe
	}
	if fx.Block != nil {
		n.away = fx.Block
	}
	if fx.Reasons != nil {
		n.reasons = fx.Reasons
	}
	n.wake = fx.Wake
	m.tell(n, fx)
	if fx.Vote != nil {
		n.vote = fx.Vote
	}
	for _, p := range m.all() {
		if p == n || !m.connected(n.id, p.id) {
			continue
		}
		if _, met := n.with[p.id]; !met {
			continue
		}
		if len(fx.Store) > 0 {
			p.queue = append(p.queue, delivery{n.id, Merged(slices.Clone(fx.Store))})
		}
		for _, ask := range fx.Ask {
			if ask.Node == p.id {
				_, list := p.s.TargetList()
				n.queue = append(n.queue, delivery{p.id, Lists{p.id, list}})
			}
		}
	}
	if fx.Vote != nil {
		m.sendVote(n)
	}
}

// sendVote sends a node's vote with a new counter, to those that it has met.
func (m *mesh) sendVote(n *member) {
	if n.vote == nil || n.s == nil {
		return
	}
	n.counter++
	v := *n.vote
	v.Incarnation, v.Counter = n.runs, n.counter
	back, err := DecodeVote(EncodeVote(v))
	if err != nil {
		m.fatal("%v", err)
	}
	back.Node, back.Incarnation, back.Counter = v.Node, v.Incarnation, v.Counter
	for _, p := range m.all() {
		if _, met := p.with[n.id]; p != n && met && m.connected(n.id, p.id) {
			p.with[n.id] = m.now
			p.queue = append(p.queue, delivery{n.id, Heard{back}}, delivery{n.id, Reasons{n.id, n.reasons}})
		}
	}
}

// meet has nodes that can reach each other and have not met exchange all their entries.
func (m *mesh) meet() {
	for _, n := range m.all() {
		for id, at := range n.with {
			if !m.connected(n.id, id) && m.now.Sub(at) >= defaultVoteTTL {
				delete(n.with, id)
			}
		}
	}
	for _, a := range m.all() {
		for _, b := range m.all() {
			if a.id >= b.id || !m.connected(a.id, b.id) {
				continue
			}
			_, ab := a.with[b.id]
			_, ba := b.with[a.id]
			if ab && ba {
				continue
			}
			a.with[b.id], b.with[a.id] = m.now, m.now
			a.queue = append(a.queue, delivery{b.id, m.offer(b)}, delivery{b.id, Met{b.id}})
			b.queue = append(b.queue, delivery{a.id, m.offer(a)}, delivery{a.id, Met{a.id}})
			m.deliver()
			m.sendVote(a)
			m.sendVote(b)
			m.deliver()
		}
	}
}

func (m *mesh) offer(n *member) Merged {
	var list Merged
	for _, e := range n.disk {
		list = append(list, e)
	}
	slices.SortFunc(list, func(a, b Entry) int { return a.Stamp.Compare(b.Stamp) })
	return list
}

// pass lets time go by in steps of a tenth of a second: ticks as they were asked for, probes, refreshed
// votes and stamps of disks once a second.
func (m *mesh) pass(d time.Duration) {
	for end := m.now.Add(d); m.now.Before(end); {
		m.now = m.now.Add(100 * time.Millisecond)
		if m.now.Sub(epochStart)%time.Second == 0 {
			m.second()
		}
		for i := 0; ; i++ {
			if i > 100 {
				m.fatal("a tick asks for itself again")
			}
			some := false
			for _, n := range m.all() {
				if n.s != nil && !n.wake.IsZero() && !n.wake.After(m.clock(n)) {
					some = true
					m.step(n, Tick{})
				}
			}
			if !some {
				break
			}
		}
	}
}

func (m *mesh) second() {
	m.meet()
	if m.now.Sub(epochStart)%(5*time.Second) == 0 { // what was lost in a short cut
		for _, a := range m.all() {
			for _, b := range m.all() {
				if a != b && m.connected(a.id, b.id) {
					a.queue = append(a.queue, delivery{b.id, m.offer(b)})
				}
			}
		}
		m.deliver()
	}
	for _, n := range m.all() {
		if n.s == nil {
			continue
		}
		if n.s.Held() == "" {
			n.stamped = m.clock(n)
		}
		m.sendVote(n)
	}
	m.deliver()
	for _, n := range m.all() {
		var obs Observed
		for _, id := range n.probes {
			obs = append(obs, m.look(n, id))
		}
		if len(obs) > 0 {
			m.step(n, obs)
		}
	}
}

func (m *mesh) look(n *member, id TargetID) Observation {
	o := Observation{Target: id, Observer: n.id, At: m.clock(n), Reason: "connected"}
	for _, key := range []string{string(id), string(id) + " " + string(n.id), "* " + string(n.id)} {
		if how, ok := m.fails[key]; ok {
			o.Outcome, o.Reason = how, map[Outcome]string{Timeout: "no answer in 500ms", Refused: "connection refused"}[how]
		}
	}
	if slices.Contains(n.away, m.cfg.Targets[id].Site) {
		o.Outcome, o.Reason = Timeout, "cut off by a drill"
	}
	return o
}

// tell writes what people would see of a step.
func (m *mesh) tell(n *member, fx Effects) {
	if m.quiet {
		return
	}
	at := m.now.Format("15:04:05.9")
	for _, c := range fx.Changes {
		if c.Heard != "" {
			c.Why += "; says " + string(c.Heard)
		}
		m.say("%s %s: %s: %s → %s%s", at, n.id, c.Subject, c.Before, c.After, paren(c.Why))
	}
	for _, e := range fx.Store {
		gone := ""
		if e.Deleted {
			gone = " deleted"
		}
		m.say("%s %s stores %s %s%s%s", at, n.id, e.Kind, e.Key, rank(e), gone)
	}
	for _, k := range fx.Drop {
		m.say("%s %s drops %s %s", at, n.id, k.Kind, k.Key)
	}
	if v := fx.Vote; v != nil && (n.vote == nil || !slices.Equal(v.States, n.vote.States) || flags(*v) != flags(*n.vote)) {
		m.say("%s %s votes %s", at, n.id, n.s.voteText(*v))
	}
	if fx.Probe != nil {
		m.say("%s %s probes %v", at, n.id, fx.Probe)
	}
	for _, a := range fx.Ask {
		m.say("%s %s asks %s for its list", at, n.id, a.Node)
	}
	if fx.Block != nil {
		m.say("%s %s is cut off from %v", at, n.id, fx.Block)
	}
	if fx.Revision != nil && (n.vote == nil || [8]byte(fx.Revision.Digest[:8]) != n.vote.Digest) {
		m.answers(n)
	}
}

func rank(e Entry) string {
	if e.Rank == 0 {
		return ""
	}
	return fmt.Sprintf(" %d", e.Rank)
}

func flags(v Vote) string {
	text := ""
	for name, set := range map[string]bool{"suspect": v.Suspect, "held": v.Held, "decides": v.Decides, "mute": v.Mute} {
		if set {
			text += " " + name
		}
	}
	words := strings.Fields(text)
	slices.Sort(words)
	return strings.Join(words, " ")
}

func (s *State) voteText(v Vote) string {
	var parts []string
	for i, t := range s.ix.targets {
		if st := v.States.At(i); st != Unknown {
			parts = append(parts, string(t.ID)+"="+st.String())
		}
	}
	return strings.TrimSpace(strings.Join(parts, " ") + " " + flags(v))
}

func (m *mesh) answers(n *member) {
	for _, name := range n.s.names() {
		m.say("    %s answers %s %s", n.id, name, n.s.answerText(n.s.rev.Answers[name]))
	}
}

// give has a node keep orders, obey them, and send them.
func (m *mesh) give(n *member, list []Entry) {
	for _, e := range list {
		n.disk[e.EntryKey()] = e
	}
	for _, p := range m.all() {
		if _, met := n.with[p.id]; met && m.connected(n.id, p.id) {
			p.queue = append(p.queue, delivery{n.id, Merged(slices.Clone(list))})
		}
	}
	m.step(n, Ordered(list))
}
