package policy

import "time"

// State is one node's whole decision state. It belongs to one goroutine.
type State struct {
	cfg *Config
	rev *Revision
}

// Start makes a State from the configuration and what was found on disk, and
// decides for the first time: Effects.Revision is always set.
func Start(cfg *Config, stored Stored, now time.Time) (*State, Effects) {
	s := &State{cfg: cfg, rev: IfAllUp(cfg)}
	return s, Effects{Revision: s.rev}
}

// Step takes one event in and decides. now never goes back between calls that matter: a
// clock that does is treated as standing still.
func Step(s *State, e Event, now time.Time) Effects {
	return Effects{}
}

// Revision is the newest revision.
func (s *State) Revision() *Revision { return s.rev }

// Judge is the dry run of an order: what it would change, and whether a rule
// refuses it (a *Refusal) or it makes no sense (any other error, for the person who
// gave it). Nothing is changed; Preview.Entries are what to store, and then
// to tell with Step(Ordered(...)).
func (s *State) Judge(o Order, now time.Time) (Preview, error) {
	return Preview{}, nil
}

// Reconsider is the dry run of a reload: the names whose answers another
// configuration would change, with those that come and go.
func (s *State) Reconsider(cfg *Config, now time.Time) []PreviewName {
	return nil
}

// IfAllUp is what each name would answer if everything were up and no order
// were given.
func IfAllUp(cfg *Config) *Revision {
	return &Revision{Answers: map[string]*Answer{}}
}

// AnswerChange is one name whose answer differs between two revisions.
type AnswerChange struct {
	Name   string
	Before *Answer // nil: the name is new
	After  *Answer // nil: the name is gone
}

// Changes lists the names whose answers differ from those of prev, by name.
// It compares pointers, and where prev is the revision before, only what changed.
func (r *Revision) Changes(prev *Revision) []AnswerChange {
	return nil
}
