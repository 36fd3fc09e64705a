package policy

import (
	"net/netip"
	"time"
)

// Event is something that a node's loop tells its State: what it observed, was ordered, or
// heard of its peers, a new configuration, or that time has passed.
type Event interface{ event() }

type (
	// Observed carries the results of this node's own checks.
	Observed []Observation
	// Promised carries orders that State.Judge passed and that are on their way to the disk: what is stamped
	// meanwhile is later, also where nobody waits for them any more.
	Promised []Entry
	// Ordered carries orders that State.Judge passed and that are on disk.
	Ordered []Entry
	// Tick tells that Effects.Wake has come.
	Tick struct{}
	// Reconfigured carries a new configuration. Health of unchanged targets stays.
	Reconfigured struct{ Config *Config }
	// Forgotten names tombstones that every node held, and that are held no more.
	Forgotten []EntryKey
	// Refilled carries all entries that there are now, in the place of those that were: of a node whose
	// site was declared lost and is readmitted.
	Refilled []Entry
	// Delivered tells that receivers of alarms were told, see State.Unsent.
	Delivered []Unsent
	// Muted tells whether this node can tell no receiver of alarms, so that another node sends in its place, and why none took
	// anything last; empty where there is none, or one may.
	Muted struct {
		Is  bool
		Why string
	}
	// Loaded carries the digest of the zones that are served from now on.
	Loaded struct{ Zones [8]byte }

	// Merged carries entries of other nodes that are kept already.
	Merged []Entry
	// Heard carries votes of peers with which all entries were exchanged, both ways, since they were
	// last silent. A refresh counts like a change.
	Heard []Vote
	// Met names peers with which an exchange of all entries, both ways, was completed now.
	Met []NodeID
	// Reasons is the evidence of a peer's vote, all that it tells.
	Reasons struct {
		Node NodeID
		List []Reason
	}
	// Lists carries a target list that Effects.Ask asked for.
	Lists struct {
		Node    NodeID
		Targets []TargetID
	}
)

func (Observed) event()     {}
func (Promised) event()     {}
func (Ordered) event()      {}
func (Tick) event()         {}
func (Reconfigured) event() {}
func (Forgotten) event()    {}
func (Refilled) event()     {}
func (Delivered) event()    {}
func (Muted) event()        {}
func (Loaded) event()       {}
func (Merged) event()       {}
func (Heard) event()        {}
func (Met) event()          {}
func (Reasons) event()      {}
func (Lists) event()        {}

// Effects is what the caller has to do after a step, in this order.
type Effects struct {
	Store    []Entry       // seal, keep and send (moves, falls, alarms; one batch). Already counted in
	Drop     []EntryKey    // obsolete: forget them, if they are there (batched)
	Revision *Revision     // serve it from now on; nil where nothing changed
	Changes  []Change      // log them
	Health   []HealthEntry // health that changed: keep on disk (batched)
	Vote     *Vote         // the own vote changed: send it at once; nil: refresh the last one
	Reasons  []Reason      // all evidence of the own vote, where it changed; follows the vote
	Ask      []ListRequest // target lists that votes name and are not known here
	Probe    []TargetID    // what this node probes from now on, by id; nil: as before
	Block    []SiteID      // a drill: the sites that this node is to be cut off from now; nil: as before
	Wake     time.Time     // send a Tick at this time at the latest; zero: no need
}

// ListRequest asks a node for the target list that its vote names. It answers with State.TargetList.
type ListRequest struct {
	Node   NodeID
	Digest [32]byte
}

// Change is one line of what a step changed, for logs and people.
type Change struct {
	Subject string // "target http 10.1.8.10", "vote http 10.1.8.10" (the own), "service shop", "alarm all-down/shop"
	Before  string
	After   string
	Why     string
	Heard   NodeID // the node whose doing it is, where this one only heard of it; that one audits it
}

// HealthEntry is the last held health of a target, as kept over a restart.
type HealthEntry struct {
	Target TargetID    `json:"target"`
	State  HealthState `json:"state"`
	Since  time.Time   `json:"since"`
	Seen   time.Time   `json:"seen"` // the last observation; zero: nothing is known any more
	Reason string      `json:"reason,omitempty"`
}

// Stored is what a node found on its disk when it started.
type Stored struct {
	Entries []Entry
	Health  []HealthEntry
	Stamped time.Time // when the node last stamped its disk, as it does while it serves and is not held; zero: an empty folder
}

// Preview is what an order would change: before and after for every name.
type Preview struct {
	Entries  []Entry       `json:"entries"` // the order, stamped, ready to be stored
	Names    []PreviewName `json:"names"`
	Cuts     string        `json:"cuts,omitempty"`     // by a block: "edge-a from edge-b in city-b, and 1 of the 3 targets that it probes"
	Warnings []string      `json:"warnings,omitempty"` // "does not reach pay.shop.example.: override of the name is more specific"
}

// PreviewName is one name in a Preview.
type PreviewName struct {
	Name    string    `json:"name"`
	Service ServiceID `json:"service"`
	Before  string    `json:"before"` // "203.0.113.10 (city-a, up)"
	After   string    `json:"after"`
	Changed bool      `json:"changed"`
}

// Unjudged is a service whose decision waits for targets that are new to it.
type Unjudged struct {
	Service ServiceID `json:"service"`
	Targets int       `json:"targets"` // how many of unknown health
}

// Refusal is the error of an order that a rule does not let pass.
type Refusal struct {
	Rule  string // "last-endpoint", or the name of a rule under safety
	Text  string
	Break bool // whether --break-glass RULE passes it
}

func (r *Refusal) Error() string { return r.Text + " (rule " + r.Rule + ")" }

// Order is what a person asks for, before it is judged.
type Order struct {
	Kind       Kind     // override, drain, return, gate, ack, site-lost, active-metro, rejoin, block
	Key        string   // as the kind has it; active-metro: service/SERVICE or all; block: SITE (of this node) or NODE/SITE
	Clear      bool     // ends it: override clear, undrain, site readmit, cluster unblock
	Sites      []SiteID // site-lost: the sites, where it is more than Key
	Metro      MetroID  // active-metro: where to
	Override   *Override
	ReturnTo   SiteID // return: the endpoint's site; "" for the first that is held back
	GateOpen   bool
	Author     string
	Reason     string
	For        time.Duration // 0: no expiry
	BreakGlass []string      // rules to pass, by name
}

// Query asks Explain about one name, as one client would be answered.
type Query struct {
	Name   string
	Client netip.Addr // zero: a client of no group
}
