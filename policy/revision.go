package policy

import (
	"net/netip"
	"time"
)

// Revision is the immutable result of one decision.
type Revision struct {
	Number  uint64             // local to the node, rising by one
	Digest  [32]byte           // the same on every node that decided the same; lowered TTLs are not part of it
	Made    time.Time          // when it was decided
	Groups  []Group            // client groups; a group's number is its index plus one, zero is everyone else
	Answers map[string]*Answer // by canonical name; an answer that did not change is the same pointer as before
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
