package policy

import (
	"net/netip"
	"time"
)

// Names of configured things. They are the words of the configuration file.
type (
	SiteID    string
	MetroID   string
	NodeID    string
	ServiceID string
	// TargetID names one check of one address: a hash of all its settings, so
	// that identical checks are one target on every node.
	TargetID string
	// EndpointID names an endpoint inside its service: its first address.
	EndpointID string
)

// SiteRole says what a site may be used for.
type SiteRole uint8

const (
	Production SiteRole = iota // takes traffic on its own
	Standby                    // takes traffic only when a person says so
	Witness                    // observes and votes, serves nothing
)

// Config is the part of the configuration that decisions rest on. It is valid
// (internal/config has checked it) and is never changed after it was handed over.
type Config struct {
	Cluster  string // the cluster's name
	Self     NodeID
	Sites    []Site // in the order of the file
	Nodes    []Node // in the order of the file; Self is among them
	Services []Service
	Rules    []Rule // safety, in the order of the file
	Targets  map[TargetID]Target

	RejoinAfter time.Duration // a start after longer than this without serving is held; 0: 10 min
	ColdStart   ColdStart
	VoteTTL     time.Duration // a vote not refreshed for this long is silence; 0: 3 s
	Observers   int           // nodes of a site that probe each endpoint, at most; 0: 2
	Drills      bool          // faults on purpose (KindBlock) may be ordered
	Digest      [8]byte       // of the whole configuration, less what is of the node; zero: not told
}

// ColdStart says how a held node may end its hold when nobody knows better.
type ColdStart uint8

const (
	ColdStartWait ColdStart = iota
	ColdStartServe
)

// Site is one data centre.
type Site struct {
	ID       SiteID
	Metro    MetroID
	Role     SiteRole
	Networks []netip.Prefix // its clients, for Nearest
	Requires []Requirement  // what the site itself needs to be of use
}

// Requirement is a target probed by a site's own nodes only.
type Requirement struct {
	Name   string
	Target TargetID
}

// Node is one running pharos serve.
type Node struct {
	ID     NodeID
	Site   SiteID
	Probes bool // has the probe role, so its site belongs to the electorate
}

// Target is what deciding needs to know of a probed target.
type Target struct {
	ID       TargetID
	Site     SiteID // the site that the path to it leads to
	Label    string // for people: "http 10.1.8.10"
	Interval time.Duration
	Timeout  time.Duration
	Fall     int // failures in a row that make it down
	Rise     int // successes in a row that make it up
}

// Steering is how a service chooses among its candidates.
type Steering uint8

const (
	Failover     Steering = iota // the first site, by order, that is healthy
	ActiveActive                 // every healthy endpoint, rotating
	Weighted                     // one healthy endpoint an answer, by weight
	Nearest                      // the client's own site where healthy, else as Failover
)

// AllDown is what a service answers where the newest move says that none is up.
type AllDown uint8

const (
	AllDownLast AllDown = iota
	AllDownAll
	AllDownPrimary
	AllDownServfail
)

// PickBy says what a weighted answer is picked by.
type PickBy uint8

const (
	PickByTurn    PickBy = iota // in turn: exact over many answers
	PickByQueryID               // by the id of the DNS message
	PickByClient                // by the client's address (or its ECS network)
)

// MaxAddresses is how many addresses of one family a name is answered with: those
// of a service's endpoints, or of a pin. 256 of IPv6 take 7 KiB of a message.
const MaxAddresses = 256

// Service is a business application.
type Service struct {
	ID         ServiceID
	Names      []string // canonical: lower case, with the final dot
	Steer      Steering
	ByRole     bool // Failover: production before standby, then the order of the file
	TTL        time.Duration
	TTLFloor   time.Duration
	AllDown    AllDown
	MinHealthy int // endpoints of a site that must be up for the site to be chosen; 0 means 1
	PickBy     PickBy
	Endpoints  []Endpoint // at most MaxAddresses of a family
	Return     Return
	NeedsDB    bool // needs a database: Return defaults to manual
}

// Endpoint is the address of a service's load balancer in one site, or in
// several that share a VIP.
type Endpoint struct {
	ID        EndpointID
	At        []EndpointSite // one, or several sites that share the address
	Addresses []netip.Addr
	Weight    uint32 // for Weighted; 0 never gets an answer while another is up
}

// EndpointSite is an endpoint as one of its sites sees it.
type EndpointSite struct {
	Site    SiteID
	Targets []TargetID // one a check address; all must be up. None: it has no check and counts as up
}

// ReturnPolicy says how an endpoint that became healthy again is readmitted.
type ReturnPolicy uint8

const (
	ReturnHold ReturnPolicy = iota
	ReturnManual
	ReturnRamp
)

// Return is a service's way back.
type Return struct {
	Policy ReturnPolicy
	Hold   time.Duration // ReturnHold: how long health must have been up
	Over   time.Duration // ReturnRamp: how long weights take to rise
	// AfterSiteLossSame treats a return after the loss of a whole site as any
	// other; false (the default) makes it manual.
	AfterSiteLossSame bool
}

// Rule is a safety rule. Exactly one of Assert and Gate is meant: Service set
// makes it an assertion.
type Rule struct {
	Name     string
	Service  ServiceID // assertion: this service
	AtLeast  int       // keeps at least this many endpoints in service
	GateOpen bool      // gate: its state until a person moves it
}
