package policy

import (
	"encoding/json"
	"net/netip"
	"slices"
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
	KindRejoin      Kind = "rejoin"       // the end of a node's held start, by a person or by what it heard; key: the node. The later stays
	KindBlock       Kind = "block"        // a drill: a node is cut off from a site; key: NODE/SITE. The later stays
	KindGossipKeys  Kind = "gossip-keys"  // a step of a rotation of gossip keys; key: add, use/FINGERPRINT or remove/FINGERPRINT. The later stays
	KindMove        Kind = "move"         // key: service and epoch, or service and override; rank: number. The highest stays, of one number the first
	KindFall        Kind = "fall"         // fall of an expired override; key: its stamp. The first stays
	KindAlarm       Kind = "alarm"        // key: the cause. The later stays
	KindSent        Kind = "sent"         // an alarm was sent to its receivers; key: the cause. The later stays
	KindAudit       Kind = "audit"        // a record of a node's audit chain; key: NODE/CHAIN/NUMBER. The first stays. Of no effect on decisions
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
	// Ends is the stamp of the order that a tombstone ends, so that every node finds the
	// same orders in force at any moment.
	Ends Stamp `json:"ends,omitzero"`
	// BreakGlass names the rules that the order was let past; a tombstone's also those that
	// what it ends was let past.
	BreakGlass []string `json:"break_glass,omitempty"`
	// Over is the stamp of the entry of its key that an order was given over, in knowledge of it; zero: of none.
	Over Stamp `json:"over,omitzero"`
	// Rank is a move's number; other kinds have none.
	Rank  uint64 `json:"rank,omitempty"`
	Value Value  `json:"value,omitempty"`
}

// Value is what an entry carries, as its kind encodes it: JSON in those of this release.
type Value []byte

// MarshalJSON shows a value as it is where it is JSON, and else as a string in base64: that of another release, or of
// audit records, or one that a broken peer wrote.
func (v Value) MarshalJSON() ([]byte, error) {
	if json.Valid(v) {
		return v, nil
	}
	return json.Marshal([]byte(v))
}

// UnmarshalJSON reads what MarshalJSON shows of JSON.
func (v *Value) UnmarshalJSON(text []byte) error {
	*v = slices.Clone(text)
	return nil
}

// Merge says which of two entries with one key stays, whatever the order in which a node hears of them.
type Merge uint8

const (
	MergeLater   Merge = iota // the later by its stamp
	MergeFirst                // the earlier by its stamp
	MergeHighest              // the higher rank; of one rank the earlier by its stamp
)

// Merge is how entries of a kind meet.
func (k Kind) Merge() Merge {
	switch k {
	case KindMove:
		return MergeHighest
	case KindFall, KindAudit:
		return MergeFirst
	}
	return MergeLater
}

// OfNodes says that a kind is about the nodes, and not about what is answered.
func (k Kind) OfNodes() bool {
	switch k {
	case KindAudit, KindSiteLost, KindRejoin, KindBlock, KindGossipKeys:
		return true
	}
	return false
}

// Replaces says whether e stays in the place of held, an entry of its key.
func (e Entry) Replaces(held Entry) bool {
	order := e.Stamp.Compare(held.Stamp)
	switch e.Kind.Merge() {
	case MergeHighest:
		return e.Rank > held.Rank || e.Rank == held.Rank && order < 0
	case MergeFirst:
		return order < 0
	}
	return order > 0
}

// EntryKey names an entry: of two entries with one EntryKey, Kind says which stays.
type EntryKey struct {
	Kind Kind   `json:"kind"`
	Key  string `json:"key"`
}

// EntryKey is the entry's own.
func (e Entry) EntryKey() EntryKey { return EntryKey{e.Kind, e.Key} }

// Override is a person's word on what a name or a service answers: a site, or
// addresses (a pin).
type Override struct {
	Site      SiteID        `json:"site,omitempty"`
	Addresses []netip.Addr  `json:"addresses,omitempty"`  // at most MaxAddresses of a family
	TTL       time.Duration `json:"ttl,omitempty"`        // 0: the service's own
	KeepOther bool          `json:"keep_other,omitempty"` // a pin of one family leaves the other as it is without it, instead of NODATA
	Unlisted  bool          `json:"unlisted,omitempty"`   // the addresses may be no endpoint of the service
}

// Move is one change by the machine of the set that a service is answered with.
type Move struct {
	Service ServiceID    `json:"service"`
	Epoch   Stamp        `json:"epoch"` // of the active metro; zero before a person moved it
	Number  uint64       `json:"number"`
	Set     []EndpointID `json:"set"`            // in the order of the configuration
	NoneUp  bool         `json:"none_up"`        // none of the candidates is up; Set is the last that was
	Ramp    bool         `json:"ramp,omitempty"` // the weight of a member of Set rises, see Marks
	Cause   string       `json:"cause"`          // for people
	Start   time.Time    `json:"start"`
	// Override is the stamp of the site override inside which the move was made, which then
	// stands in place of Epoch; zero: none.
	Override    Stamp  `json:"override,omitzero"`
	OverrideKey string `json:"override_key,omitempty"` // of that override, so that its end is known by the move alone
	// Marks are what is remembered of endpoints beyond their being in Set. Each move carries
	// them all, so that the newest move tells everything and older ones can go.
	Marks []Mark `json:"marks,omitempty"`
}

// Mark is what a move remembers of one endpoint.
type Mark struct {
	Endpoint EndpointID `json:"endpoint"`
	Left     time.Time  `json:"left,omitzero"`       // when it last left the set because it was down, drained or lost
	Back     time.Time  `json:"back,omitzero"`       // when it last came back
	Failed   int        `json:"failed,omitempty"`    // returns that did not last
	SiteLoss bool       `json:"site_loss,omitempty"` // its whole site was down or lost when it left
	Ramp     bool       `json:"ramp,omitempty"`      // its weight rises from Back on
	Percent  int        `json:"percent,omitempty"`   // of its weight, where a closed gate stopped its ramp
}

// Fall is the value of an override's fall.
type Fall struct {
	Override string `json:"override"` // its key
}

// Drain is the value of a drain: nothing but what every entry has.
type Drain struct{}

// ActiveMetro is a person's word on the metro inside which the machine may choose.
type ActiveMetro struct {
	Metro MetroID `json:"metro"`
}

// ReturnOrder ends the hold of a service's endpoints in one site.
type ReturnOrder struct {
	To SiteID `json:"to"`
}

// Gate is the state of a gate.
type Gate struct {
	Open bool `json:"open"`
}

// Alarm is a cause that people should know of.
type Alarm struct {
	Text  string    `json:"text"`  // what is wrong
	Way   string    `json:"way"`   // the next sensible command
	Since time.Time `json:"since"` // when the cause came
}

// Ack is the value of an acknowledgement.
type Ack struct {
	Since time.Time `json:"since"` // of the alarm that it was given to
}

// Sent says which state of an alarm its receivers were sent.
type Sent struct {
	Since   time.Time `json:"since"`             // of the alarm
	Cleared bool      `json:"cleared,omitempty"` // also that it is over
}
