package policy

import (
	"crypto/sha256"
	"maps"
	"net/netip"
	"slices"
	"sort"
	"time"
)

// Revision is the immutable result of one decision.
type Revision struct {
	Number  uint64             // local to the node, rising by one
	Digest  [32]byte           // the same on every node that decided the same; lowered TTLs are not part of it
	Made    time.Time          // when it was decided
	Groups  []Group            // client groups; a group's number is its index plus one, zero is everyone else
	Answers map[string]*Answer // by canonical name; an answer that did not change is the same pointer as before

	self, after *byte    // tell which revision was the one before, without keeping it
	changed     []string // since that one
}

// Group is a set of clients that may get an answer of its own.
type Group struct {
	Site     SiteID
	Prefixes []netip.Prefix
}

// Answer is what the A and AAAA records of one steered name are.
type Answer struct {
	Name    string // canonical
	Service ServiceID
	Fail    bool   // SERVFAIL to A and AAAA, whatever else is set
	TTL     uint32 // seconds
	NegTTL  uint32 // seconds; the most that a NODATA at this name may be cached for
	PickBy  PickBy // which weighted member is picked; only read where members have weights
	// Choices holds the answer for each client group: [0] for clients of no
	// group, [i] for Groups[i-1]. A single one is for everybody.
	Choices []Choice
}

// Choice is what one group of clients is answered with, for each family.
//
// Where every Weight of a family is zero, its RRset is the union of all
// members' addresses, rotated from answer to answer. Otherwise one member is
// picked by weight for each answer, and its addresses (perhaps none: NODATA)
// are the RRset; both families then list the same sites in the same order.
type Choice struct {
	A, AAAA []Member
}

// Member is one endpoint inside a choice.
type Member struct {
	Site   SiteID // for counting answers by site; "" for a pinned address that is no endpoint
	Weight uint32
	Addrs  []netip.Addr
}

// publish makes a new revision where an answer changed.
func (t *turn) publish(force bool) {
	groups := t.ix.groups
	if force && t.rev != nil && equalGroups(groups, t.rev.Groups) {
		force = false
		groups = t.rev.Groups
	}
	if len(t.changed)+len(t.gone) == 0 && !force && t.rev != nil {
		return
	}
	slices.Sort(t.changed)
	t.changed = slices.Compact(t.changed) // a service may have been decided twice
	digest := sha256.Sum256(slices.Concat(t.sum[:], sum(digestGroups(groups))))
	if t.rev != nil {
		t.changed = slices.DeleteFunc(t.changed, func(name string) bool {
			ref := t.ix.nameOf[name]
			return t.svcs[ref.svc].answers[ref.name] == t.rev.Answers[name]
		})
		if len(t.changed)+len(t.gone) == 0 && !force && digest == t.rev.Digest {
			return
		}
	}
	rev := &Revision{Made: t.now, Groups: groups, Number: 1, self: new(byte)}
	if t.rev == nil {
		rev.Answers = make(map[string]*Answer, len(t.ix.nameOf))
	} else {
		rev.Number = t.rev.Number + 1
		rev.Answers = maps.Clone(t.rev.Answers)
		rev.changed, rev.after = slices.Concat(t.changed, t.gone), t.rev.self
	}
	for _, name := range t.gone {
		delete(rev.Answers, name)
	}
	for _, name := range t.changed {
		ref := t.ix.nameOf[name]
		rev.Answers[name] = t.svcs[ref.svc].answers[ref.name]
	}
	rev.Digest = digest
	t.rev, t.fx.Revision = rev, rev
}

func sum(d [32]byte) []byte { return d[:] }

func equalGroups(a, b []Group) bool {
	return slices.EqualFunc(a, b, func(x, y Group) bool { return x.Site == y.Site && slices.Equal(x.Prefixes, y.Prefixes) })
}

func equalAnswers(a, b *Answer) bool {
	return a.Name == b.Name && a.Service == b.Service && a.Fail == b.Fail && a.TTL == b.TTL && a.NegTTL == b.NegTTL &&
		a.PickBy == b.PickBy && slices.EqualFunc(a.Choices, b.Choices, equalChoices)
}

func equalChoices(a, b Choice) bool {
	return slices.EqualFunc(a.A, b.A, equalMembers) && slices.EqualFunc(a.AAAA, b.AAAA, equalMembers)
}

func equalMembers(a, b Member) bool {
	return a.Site == b.Site && a.Weight == b.Weight && slices.Equal(a.Addrs, b.Addrs)
}

// IfAllUp is what each name would answer if everything were up and no order
// were given.
func IfAllUp(cfg *Config) *Revision {
	alone := *cfg // one node that sees everything, and nobody else is asked
	alone.Nodes = nil
	if len(cfg.Sites) > 0 {
		alone.Nodes = []Node{{ID: cfg.Self, Site: cfg.Sites[0].ID, Probes: true}}
	}
	s := newState(&alone, time.Time{})
	for i := range s.targets {
		s.targets[i].state = Up
	}
	s.castAll()
	t := s.begin(s.now)
	t.ordersMoved = true
	t.touchAll()
	t.finish(true)
	return s.rev
}

// AnswerChange is one name whose answer differs between two revisions.
type AnswerChange struct {
	Name   string
	Before *Answer // nil: the name is new
	After  *Answer // nil: the name is gone
}

// Changes lists the names whose answers differ from those of prev, by name. A nil
// prev answers nothing. It compares pointers; where prev is the revision just before, it looks only
// at what changed.
func (r *Revision) Changes(prev *Revision) []AnswerChange {
	var list []AnswerChange
	add := func(name string) {
		before, after := (*Answer)(nil), r.Answers[name]
		if prev != nil {
			before = prev.Answers[name]
		}
		if before != after {
			list = append(list, AnswerChange{name, before, after})
		}
	}
	if prev != nil && r.after != nil && r.after == prev.self {
		for _, name := range r.changed {
			add(name)
		}
	} else {
		for name := range r.Answers {
			add(name)
		}
		if prev != nil {
			for name := range prev.Answers {
				if _, ok := r.Answers[name]; !ok {
					add(name)
				}
			}
		}
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Name < list[j].Name })
	return list
}
