package policy

import "time"

// Status is everything that a State holds true, for people and for JSON.
type Status struct {
	Now       time.Time         `json:"now"`
	Cluster   string            `json:"cluster"`
	Node      NodeID            `json:"node"`
	Revision  uint64            `json:"revision"`
	Digest    string            `json:"digest"` // hexadecimal
	Made      time.Time         `json:"made"`
	Suspects  string            `json:"suspects,omitempty"` // why the node suspects itself and abstains
	Held      string            `json:"held,omitempty"`     // why its start is held
	Contact   string            `json:"contact,omitempty"`  // which part of the electorate is silent, in a sentence; "": none
	Members   []MemberStatus    `json:"members"`
	Blocks    []BlockStatus     `json:"blocks"`
	Sites     []SiteStatus      `json:"sites"`
	Services  []ServiceStatus   `json:"services"`
	Overrides []OverrideStatus  `json:"overrides"`
	Drains    []DrainStatus     `json:"drains"`
	Gates     []GateStatus      `json:"gates"`
	Alarms    []AlarmStatus     `json:"alarms"`
	Suspended []SuspendedStatus `json:"suspended"`
	Next      []string          `json:"next"` // the next sensible commands
}

// SiteStatus is one site.
type SiteStatus struct {
	Site     SiteID              `json:"site"`
	Metro    MetroID             `json:"metro"`
	Role     SiteRole            `json:"role"`
	Health   HealthState         `json:"health"` // from requires; unknown where it has none that is probed here
	Requires []RequirementStatus `json:"requires,omitempty"`
	Votes    bool                `json:"votes"`           // it belongs to the electorate
	Heard    bool                `json:"heard"`           // one of its nodes that probe is in contact
	Silent   time.Time           `json:"silent,omitzero"` // since when none is
	Abstains bool                `json:"abstains"`        // those in contact suspect themselves
	Drained  bool                `json:"drained"`
	Lost     bool                `json:"lost"`
	LostBy   WordStatus          `json:"lost_by,omitzero"`
	Loss     float64             `json:"loss"` // share of checks on the path to it that fail and then succeed again
	Fall     int                 `json:"fall"` // failures in a row that are asked for on that path at least; 0: what each check says
}

// WordStatus is who said something that stands, when and why.
type WordStatus struct {
	Author string    `json:"author"`
	Reason string    `json:"reason,omitempty"`
	Given  time.Time `json:"given"`
}

// RequirementStatus is one thing that a site requires.
type RequirementStatus struct {
	Name   string       `json:"name"`
	Target TargetStatus `json:"target"`
}

// TargetStatus is one probed target, with its evidence.
type TargetStatus struct {
	Target  TargetID      `json:"target"`
	Label   string        `json:"label"`
	Health  HealthState   `json:"health"`
	Detail  string        `json:"detail"`            // "up", "failing, 2 of 3", "answers again, 4 of 10", "never probed", "not probed by this node: up for city-a", "can't be checked by this host: ..."
	Since   time.Time     `json:"since,omitzero"`    // when the health became what it is
	Here    bool          `json:"here"`              // this node probes it
	Seen    time.Time     `json:"seen,omitzero"`     // the last result here
	Latency time.Duration `json:"latency,omitempty"` // of the last result here
	Reason  string        `json:"reason,omitempty"`  // of the last result here; of one that is down for others alone, theirs
	Votes   []SiteVote    `json:"votes,omitempty"`   // what each site and node says; of requirements, and in Explain
}

// SiteVote is what a site says of a target.
type SiteVote struct {
	Site   SiteID      `json:"site"`
	Voice  HealthState `json:"voice"`  // of the majority of its nodes that know; unknown: none
	Counts bool        `json:"counts"` // it belongs to the electorate
	Nodes  []NodeVote  `json:"nodes"`
}

// NodeVote is what one node says of a target.
type NodeVote struct {
	Node   NodeID        `json:"node"`
	State  HealthState   `json:"state"`
	Heard  bool          `json:"heard"`            // its vote is fresh
	Age    time.Duration `json:"age"`              // of the vote
	Why    string        `json:"why,omitempty"`    // why it does not count: "silent", "suspects itself", ...
	Reason string        `json:"reason,omitempty"` // its evidence
	Since  time.Time     `json:"since,omitzero"`   // of the evidence
}

// MemberStatus is one node of the configuration, as this one knows it.
type MemberStatus struct {
	Node        NodeID        `json:"node"`
	Site        SiteID        `json:"site"`
	Probes      bool          `json:"probes"`
	Heard       bool          `json:"heard"`           // it is in contact
	Since       time.Time     `json:"since"`           // when it came into contact, or went out of it
	Age         time.Duration `json:"age"`             // of its last vote
	Suspect     bool          `json:"suspect"`         // it suspects itself and abstains
	Held        bool          `json:"held"`            // its start is held
	Unheld      time.Time     `json:"unheld,omitzero"` // when its last hold ended
	Decides     bool          `json:"decides"`         // it hears a majority and may make moves
	Revision    uint64        `json:"revision"`
	Digest      string        `json:"digest"`       // of its answers, the first 8 octets in hexadecimal
	SameAnswers bool          `json:"same_answers"` // as this node's
	SameConfig  bool          `json:"same_config"`  // true where it is not told
	SameZones   bool          `json:"same_zones"`
}

// BlockStatus is a fault on purpose.
type BlockStatus struct {
	Node    NodeID    `json:"node"`
	Site    SiteID    `json:"site"`
	Author  string    `json:"author"`
	Reason  string    `json:"reason"`
	Given   time.Time `json:"given"`
	Expires time.Time `json:"expires"`
	Off     bool      `json:"off,omitempty"` // not obeyed: the configuration of the node that is asked has no drills
}

// ServiceStatus is one service.
type ServiceStatus struct {
	Service     ServiceID        `json:"service"`
	Steer       Steering         `json:"steer"`
	ActiveMetro MetroID          `json:"active_metro"`
	Epoch       Stamp            `json:"epoch,omitzero"` // zero before a person moved the active metro
	MovedBy     WordStatus       `json:"moved_by,omitzero"`
	Move        uint64           `json:"move"`           // number of the newest move
	Pending     bool             `json:"pending"`        // which is answered by and no entry yet
	Cause       string           `json:"cause"`          // of the newest move
	Moved       time.Time        `json:"moved,omitzero"` // start of the newest move
	NoneUp      bool             `json:"none_up"`
	Endpoints   []EndpointStatus `json:"endpoints"`
	Names       []NameStatus     `json:"names"`
	Waiting     []WaitStatus     `json:"waiting,omitempty"` // endpoints that are up and held back
}

// EndpointStatus is one endpoint of a service.
type EndpointStatus struct {
	Endpoint  EndpointID     `json:"endpoint"`
	Sites     []SiteID       `json:"sites"`
	Addresses []string       `json:"addresses"`
	Weight    uint32         `json:"weight,omitempty"`
	Health    HealthState    `json:"health"`
	Since     time.Time      `json:"since,omitzero"`
	Detail    string         `json:"detail"`            // the evidence in a few words
	Candidate bool           `json:"candidate"`         // may be chosen by the machine
	Why       string         `json:"why,omitempty"`     // why it is no candidate: "drained", "standby site", ...
	InSet     bool           `json:"in_set"`            // in the newest move's set; of an Explanation: answered with
	Percent   int            `json:"percent,omitempty"` // of its full weight while a ramp runs
	Targets   []TargetStatus `json:"targets"`
}

// NameStatus is what one name answers now.
type NameStatus struct {
	Name     string   `json:"name"`
	Answer   string   `json:"answer"` // "203.0.113.10 (city-a, up)"
	Fail     bool     `json:"fail,omitempty"`
	A        []string `json:"a"`
	AAAA     []string `json:"aaaa"`
	TTL      uint32   `json:"ttl"`
	Rule     string   `json:"rule"` // "move", "site override", "pin", "all_down: last", ...
	Override string   `json:"override,omitempty"`
}

// WaitStatus is an endpoint that is up and waits to return.
type WaitStatus struct {
	Endpoint EndpointID `json:"endpoint"`
	Site     SiteID     `json:"site"`
	Until    time.Time  `json:"until,omitzero"` // when the hold ends; zero: a person or a gate ends it
	Why      string     `json:"why"`            // "hold of 5m0s", "return is manual", "gate change-freeze is closed"
	Command  string     `json:"command"`        // what ends it now
}

// OverrideStatus is one override.
type OverrideStatus struct {
	Key       string    `json:"key"`
	Override  Override  `json:"override"`
	Stamp     Stamp     `json:"stamp"`
	Author    string    `json:"author"`
	Reason    string    `json:"reason"`
	Given     time.Time `json:"given"`
	Expires   time.Time `json:"expires,omitzero"`
	Expired   bool      `json:"expired,omitempty"` // its time is over, and it stays: an alarm says why
	Suspended bool      `json:"suspended,omitempty"`
	Names     []string  `json:"names"` // what it decides now
	Misses    []string  `json:"misses,omitempty"`
}

// DrainStatus is one drain.
type DrainStatus struct {
	Key       string        `json:"key"`
	Stamp     Stamp         `json:"stamp"`
	Author    string        `json:"author"`
	Reason    string        `json:"reason"`
	Given     time.Time     `json:"given"`
	Age       time.Duration `json:"age"`
	Expires   time.Time     `json:"expires,omitzero"`
	Suspended bool          `json:"suspended,omitempty"`
}

// GateStatus is one gate.
type GateStatus struct {
	Gate   string    `json:"gate"`
	Open   bool      `json:"open"`
	Moved  time.Time `json:"moved,omitzero"` // by a person; zero: as configured
	Author string    `json:"author,omitempty"`
	Reason string    `json:"reason,omitempty"`
}

// AlarmStatus is one alarm whose cause is there.
type AlarmStatus struct {
	Cause        string    `json:"cause"` // "all-down/shop"
	Text         string    `json:"text"`  // what is wrong
	Way          string    `json:"way"`   // the next sensible command
	Since        time.Time `json:"since"`
	Acknowledged bool      `json:"acknowledged"`
	AckedBy      string    `json:"acked_by,omitempty"`
	AckedAt      time.Time `json:"acked_at,omitzero"`
	AckReason    string    `json:"ack_reason,omitempty"`
}

// SuspendedStatus is an order that is kept and not followed.
type SuspendedStatus struct {
	Kind   Kind   `json:"kind"`
	Key    string `json:"key"`
	Stamp  Stamp  `json:"stamp"`
	Author string `json:"author"`
	Why    string `json:"why"`
	Way    string `json:"way"` // how to end the suspension
}
