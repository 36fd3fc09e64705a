package api

import (
	"net/netip"
	"time"

	"github.com/scloudstack/pharos/policy"
)

// Wait says how far an order must have come before it is answered.
type Wait string

// What can be waited for. Each includes the ones before it.
const (
	WaitLocal     Wait = "local"     // this node's disk
	WaitReachable Wait = "reachable" // the nodes that are in contact
	WaitAll       Wait = "all"       // every configured node of a site that is not lost
)

const (
	// DefaultWaitFor is how long other nodes are waited for unless told otherwise.
	DefaultWaitFor = 3 * time.Second
	// MaxWaitFor is the most that can be asked for: less than a request may take.
	MaxWaitFor = 30 * time.Second
)

// MaxReason is how long the reason of an order may be, in characters; its tag says the same.
const MaxReason = 500

// OrderRequest is what a person asks for. There is no author in it: that is
// whoever the connection belongs to.
type OrderRequest struct {
	Kind       policy.Kind    `json:"kind" enum:"override,drain,return,gate,ack,site-lost,active-metro,rejoin,block"`
	Key        string         `json:"key" doc:"override: name/NAME, service/SERVICE or all. drain: site/SITE, endpoint/SERVICE/SITE. return: the service. gate: the rule. ack: the alarm's cause. site-lost and block: the site. active-metro: service/SERVICE or all. rejoin: the node" minLength:"1"`
	Also       []string       `json:"also,omitempty" maxItems:"100" doc:"site-lost: more sites, judged together with the key"`
	Clear      bool           `json:"clear,omitempty" doc:"ends an override, a drain, an acknowledgement, a loss (readmit) or a block"`
	Override   *OverrideBody  `json:"override,omitempty"`
	ReturnTo   policy.SiteID  `json:"return_to,omitempty" doc:"site of the endpoint to return to; empty: the first that is held back"`
	Metro      policy.MetroID `json:"metro,omitempty" doc:"active-metro: the metro that takes over"`
	GateOpen   bool           `json:"gate_open,omitempty"`
	Reason     string         `json:"reason,omitempty" doc:"why, for whoever reads it at night; all but an acknowledgement and an end need one" maxLength:"500"`
	For        Duration       `json:"for,omitzero" doc:"ends by itself after this long; 0: never. A block must have it, 24h at most"`
	BreakGlass []string       `json:"break_glass,omitempty" doc:"safety rules to pass, by name; needs the role approve"`
	DryRun     bool           `json:"dry_run,omitempty" doc:"judge and show, change nothing"`
	Wait       Wait           `json:"wait,omitempty" enum:"local,reachable,all" doc:"who must hold the order before it is answered; none: reachable"`
	WaitFor    Duration       `json:"wait_for,omitzero" doc:"how long they are waited for, 30s at most; 0: 3s"`
}

// Order is the request as policy judges it, by the given author.
func (r OrderRequest) Order(author string) policy.Order {
	o := policy.Order{
		Kind: r.Kind, Key: r.Key, Clear: r.Clear,
		ReturnTo: r.ReturnTo, Metro: r.Metro, GateOpen: r.GateOpen,
		Author: author, Reason: r.Reason, For: time.Duration(r.For), BreakGlass: r.BreakGlass,
	}
	if len(r.Also) > 0 {
		o.Key = ""
		for _, s := range append([]string{r.Key}, r.Also...) {
			o.Sites = append(o.Sites, policy.SiteID(s))
		}
	}
	if b := r.Override; b != nil {
		o.Override = &policy.Override{
			Site: b.Site, Addresses: b.Addresses, TTL: time.Duration(b.TTL),
			KeepOther: b.KeepOther, Unlisted: b.Unlisted,
		}
	}
	return o
}

// Giving is how an order is given.
type Giving struct {
	DryRun  bool          // judge and show, change nothing
	Wait    Wait          // never empty
	WaitFor time.Duration // more than 0
}

// Giving is how the request wants its order given, with the defaults filled in.
func (r OrderRequest) Giving() (Giving, error) {
	g := Giving{DryRun: r.DryRun, Wait: r.Wait, WaitFor: time.Duration(r.WaitFor)}
	if g.Wait == "" {
		g.Wait = WaitReachable
	}
	if g.WaitFor == 0 {
		g.WaitFor = DefaultWaitFor
	}
	if g.WaitFor < 0 || g.WaitFor > MaxWaitFor {
		return g, newError(422, "wait_for %s: expected up to %s", r.WaitFor, Duration(MaxWaitFor))
	}
	return g, nil
}

// needs is the role that an order asks for.
func (r OrderRequest) needs() Role {
	switch r.Kind {
	case policy.KindGate, policy.KindSiteLost, policy.KindActiveMetro, policy.KindRejoin, policy.KindBlock:
		return Approve
	}
	if len(r.BreakGlass) > 0 {
		return Approve
	}
	return Operate
}

// OverrideBody is a site, or addresses (a pin).
type OverrideBody struct {
	Site      policy.SiteID `json:"site,omitempty"`
	Addresses []netip.Addr  `json:"addresses,omitempty" maxItems:"512" doc:"at most 256 of a family"`
	TTL       Duration      `json:"ttl,omitzero" doc:"0: the service's own"`
	KeepOther bool          `json:"keep_other,omitempty" doc:"a pin of one family leaves the other as it is without it, instead of NODATA"`
	Unlisted  bool          `json:"unlisted,omitempty" doc:"the addresses may be no endpoint of the service"`
}

// OrderResult is what an order changed, or would change.
type OrderResult struct {
	Preview  policy.Preview `json:"preview"`
	DryRun   bool           `json:"dry_run,omitempty"`
	Author   string         `json:"author"`
	Revision uint64         `json:"revision,omitempty" doc:"number of this node's revision that obeys it; none: it is not served here yet"`
	Local    bool           `json:"local,omitempty" doc:"it acknowledges an alarm of this node's own: it is kept by this node alone, until it restarts"`
	// Nodes is who holds the order. A dry run has none.
	Nodes []NodeHolds `json:"nodes,omitempty" doc:"every configured node and whether it holds the order"`
	// Partial says what is still missing of an order that is stored: it is not
	// served yet, as on a held node, or nodes of the electorate were not
	// reached. The command line then exits with 3.
	Partial string `json:"partial,omitempty" doc:"stored, but not everywhere or not served yet, and why"`
}

// NodeHolds is whether one node holds an order, and what it serves.
type NodeHolds struct {
	Node     policy.NodeID `json:"node"`
	Site     policy.SiteID `json:"site"`
	Self     bool          `json:"self,omitempty" doc:"the node that took the order"`
	Holds    bool          `json:"holds" doc:"the order is on its disk"`
	Revision uint64        `json:"revision,omitempty" doc:"number of the revision that it serves; the number is its own"`
	Digest   string        `json:"digest,omitempty" doc:"hexadecimal; the same on every node that decided the same"`
	Lost     bool          `json:"lost,omitempty" doc:"its site is declared lost: nobody waits for it"`
	Note     string        `json:"note,omitempty" doc:"why it does not hold it" example:"silent for 4m"`
}
