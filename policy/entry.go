package policy

import (
	"net/netip"
	"time"
)

// Stamp orders entries across nodes: a hybrid logical clock, then the node's name.
// It is written once and never altered.
type Stamp struct {
	Wall    int64  `json:"wall"`    // milliseconds since 1970 by the author node's clock, never behind a stamp it has seen
	Logical uint32 `json:"logical"` // orders stamps of one millisecond
	Node    NodeID `json:"node"`
}

// Kind of an entry. It decides which of two entries with one key stays.
type Kind string

const (
	KindOverride    Kind = "override"     // key: name/NAME, service/SERVICE or all. The later stays
	KindDrain       Kind = "drain"        // key: site/SITE, endpoint/SERVICE/SITE or vip/PREFIX. The later stays
	KindActiveMetro Kind = "active-metro" // key: the service. The later stays
	KindSiteLost    Kind = "site-lost"    // key: the site. The later stays
	KindReturn      Kind = "return"       // key: the service. The later stays
	KindGate        Kind = "gate"         // key: the rule. The later stays
	KindAck         Kind = "ack"          // key: the alarm's cause. The later stays
	KindMove        Kind = "move"         // key: service, epoch, number. The first stays
	KindFall        Kind = "fall"         // fall of an expired override; key: its stamp. The first stays
	KindAlarm       Kind = "alarm"        // key: the cause. The later stays
)

// Entry is one replicated fact: an order of a person, or a move of the machine.
// Value holds the JSON of the type that Kind names (Override, Drain, Move, ...);
// for a Deleted entry (a tombstone: clear, undrain, readmit) it may be empty.
type Entry struct {
	Kind    Kind      `json:"kind"`
	Key     string    `json:"key"`
	Stamp   Stamp     `json:"stamp"`
	Author  string    `json:"author"` // the person, from the peer's credentials; "machine" for a move
	Reason  string    `json:"reason,omitempty"`
	Expires time.Time `json:"expires,omitzero"`
	Deleted bool      `json:"deleted,omitempty"`
	Value   []byte    `json:"value,omitempty"`
}

// Override is a person's word on what a name or a service answers: a site, or
// addresses (a pin).
type Override struct {
	Site      SiteID        `json:"site,omitempty"`
	Addresses []netip.Addr  `json:"addresses,omitempty"`
	TTL       time.Duration `json:"ttl,omitempty"`        // 0: the service's own
	KeepOther bool          `json:"keep_other,omitempty"` // a pin of one family leaves the other to steering instead of NODATA
	Unlisted  bool          `json:"unlisted,omitempty"`   // the addresses may be no endpoint of the service
}

// Move is one change by the machine of the set that a service is answered with.
type Move struct {
	Service ServiceID    `json:"service"`
	Epoch   Stamp        `json:"epoch"` // of the active metro; zero before a person moved it
	Number  uint64       `json:"number"`
	Set     []EndpointID `json:"set"`     // in the order of the configuration
	NoneUp  bool         `json:"none_up"` // none of the candidates is up
	Ramp    bool         `json:"ramp,omitempty"`
	Cause   string       `json:"cause"` // for people
	Start   time.Time    `json:"start"`
}
