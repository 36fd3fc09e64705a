package api

import (
	"time"

	"github.com/scloudstack/pharos/policy"
)

// ClusterStatus is the nodes as one of them knows them.
type ClusterStatus struct {
	Name       string               `json:"name" doc:"of the cluster"`
	Node       policy.NodeID        `json:"node" doc:"who tells"`
	Now        time.Time            `json:"now" doc:"by its clock"`
	Contact    string               `json:"contact,omitempty" doc:"which part of the electorate is silent, in a sentence; none: no part" example:"2 of 3 sites silent for 4m, no majority, serving revision 1812"`
	Next       []string             `json:"next,omitempty" doc:"the next sensible commands"`
	Majority   Majority             `json:"majority"`
	Electorate []ElectorateSite     `json:"electorate" doc:"every site with a node that probes"`
	Members    []Member             `json:"members" doc:"every configured node, in the order of the configuration"`
	Conflicts  []Conflict           `json:"conflicts" doc:"orders that were given without knowledge of each other, until the alarm is acknowledged"`
	Parked     int                  `json:"parked,omitempty" doc:"entries that wait until the configuration knows who signed them"`
	Entries    map[policy.Kind]int  `json:"entries,omitempty" doc:"how many entries of each kind are held"`
	Blocks     []policy.BlockStatus `json:"blocks" doc:"drills: which node does not hear which site, on purpose"`
}

// MemberState is how a node is heard.
type MemberState string

// The states of a member.
const (
	Alive      MemberState = "alive"
	Silent     MemberState = "silent"
	NeverHeard MemberState = "never heard" // since the node that tells was started
)

// Member is one configured node: what is decided with of it, and how it is reached.
type Member struct {
	policy.MemberStatus
	Self    bool        `json:"self,omitempty"`
	Address string      `json:"address,omitempty" doc:"where it is reached, with the port" example:"10.1.0.5:7946"`
	State   MemberState `json:"state" enum:"alive,silent,never heard"`
	Lost    bool        `json:"lost,omitempty" doc:"its site is declared lost: it decides nothing"`
	Votes   bool        `json:"votes" doc:"what it says of targets counts"`
	Offset  *Duration   `json:"offset,omitempty" doc:"its clock less the one of the node that tells; none: not known"`
	Keys    []string    `json:"keys,omitempty" doc:"fingerprints of the gossip keys that it takes, the one that it sends with first"`
	Problem string      `json:"problem,omitempty" doc:"why it is not spoken to" example:"no public_key in the configuration"`
}

// NewMember adds how a node is heard to what is decided with of it.
func NewMember(m policy.MemberStatus, self policy.NodeID, lost bool) Member {
	to := Member{MemberStatus: m, Self: m.Node == self, State: NeverHeard, Lost: lost}
	switch {
	case m.Heard || to.Self:
		to.State = Alive
	case m.Age > 0:
		to.State = Silent
	}
	to.Votes = m.Probes && to.State == Alive && !m.Suspect && !lost
	return to
}

// ElectorateSite is one site that has a voice, or would have one if it were not lost.
type ElectorateSite struct {
	Site     policy.SiteID `json:"site"`
	Heard    bool          `json:"heard" doc:"one of its nodes that probe is in contact"`
	Silent   time.Time     `json:"silent,omitzero" doc:"since when none is"`
	Abstains bool          `json:"abstains,omitempty" doc:"those in contact suspect themselves"`
	Lost     bool          `json:"lost,omitempty" doc:"declared lost: it does not count"`
}

// Majority is whether anything can be decided.
type Majority struct {
	Have   int `json:"have" doc:"sites of the electorate that speak, this node's among them"`
	Need   int `json:"need"`
	Of     int `json:"of" doc:"all sites of the electorate"`
	Margin int `json:"margin" doc:"how many more sites may fall silent before nothing can be decided; below 0: nothing can"`
}

// NewMajority counts the sites that speak.
func NewMajority(sites []ElectorateSite) Majority {
	var m Majority
	for _, s := range sites {
		if s.Lost {
			continue
		}
		m.Of++
		if s.Heard && !s.Abstains {
			m.Have++
		}
	}
	m.Need = m.Of/2 + 1
	m.Margin = m.Have - m.Need
	return m
}

// Conflict is two orders on one thing, given without knowledge of each other:
// one stays everywhere, the other is lost.
type Conflict struct {
	Cause string    `json:"cause" doc:"of the alarm; acknowledging it ends the conflict" example:"conflict/override/all"`
	Text  string    `json:"text" doc:"which stays and which is lost"`
	Since time.Time `json:"since"`
}

// GossipKeys is which node has which gossip key. Keys themselves never travel.
type GossipKeys struct {
	Keys  []GossipKey `json:"keys"`
	Nodes []NodeKeys  `json:"nodes" doc:"every configured node"`

	Partial string `json:"partial,omitempty" doc:"of a step that was taken: what is not done yet, such as nodes that do not hold it; empty: nothing"`
}

// GossipKey is one key, by its fingerprint, over all nodes.
type GossipKey struct {
	Fingerprint string          `json:"fingerprint" example:"3f9a2c1b77d0e1aa"`
	Sends       []policy.NodeID `json:"sends,omitempty" doc:"who sends with it"`
	Missing     []policy.NodeID `json:"missing,omitempty" doc:"who, of those that count, has not confirmed that it takes it"`
	Unwritten   []policy.NodeID `json:"unwritten,omitempty" doc:"who takes it and has it in no keys_file: a restart would lose it"`
}

// NodeKeys is the gossip keys of one node, as it last told.
type NodeKeys struct {
	Node    policy.NodeID `json:"node"`
	Site    policy.SiteID `json:"site"`
	Self    bool          `json:"self,omitempty"`
	Lost    bool          `json:"lost,omitempty" doc:"its site is declared lost: nobody waits for it"`
	Keys    []NodeKey     `json:"keys"`
	Unread  bool          `json:"unread,omitempty" doc:"it could not read its keys_file when it was last told to, and its keys stayed as they were: its alarm gossip-keys says why"`
	Problem string        `json:"problem,omitempty" doc:"why its keys are not known"`
}

// NodeKey is one gossip key on one node.
type NodeKey struct {
	Fingerprint string `json:"fingerprint"`
	Taken       bool   `json:"taken,omitempty" doc:"what it encrypts can be read"`
	Sends       bool   `json:"sends,omitempty" doc:"it encrypts what the node sends"`
	InFile      bool   `json:"in_file,omitempty" doc:"it stands in the node's keys_file"`
	First       bool   `json:"first,omitempty" doc:"it stands there first: the node sends with it after its next start"`
}

// NewGossipKeys sums up what the nodes told, in the order in which keys are met.
func NewGossipKeys(nodes []NodeKeys) GossipKeys {
	all := GossipKeys{Keys: []GossipKey{}, Nodes: nodes}
	at := map[string]int{}
	for _, n := range nodes {
		for _, k := range n.Keys {
			if _, met := at[k.Fingerprint]; !met {
				at[k.Fingerprint] = len(all.Keys)
				all.Keys = append(all.Keys, GossipKey{Fingerprint: k.Fingerprint})
			}
		}
	}
	for i := range all.Keys {
		for _, n := range nodes {
			all.Keys[i].note(n)
		}
	}
	return all
}

// note adds what a node told of the key.
func (g *GossipKey) note(n NodeKeys) {
	var has NodeKey
	for _, k := range n.Keys {
		if k.Fingerprint == g.Fingerprint {
			has = k
		}
	}
	if has.Sends {
		g.Sends = append(g.Sends, n.Node)
	}
	if !has.Taken && !n.Lost {
		g.Missing = append(g.Missing, n.Node)
	}
	if has.Taken && !has.InFile {
		g.Unwritten = append(g.Unwritten, n.Node)
	}
}

// AuditQuery chooses records.
type AuditQuery struct {
	Node  policy.NodeID // empty: of all nodes
	Kind  string        // empty: all
	Since time.Time     // zero: from the beginning
	Limit int           // more than 0
}

// AuditPage is records, the newest first.
type AuditPage struct {
	Records []AuditRecord `json:"records"`
	More    bool          `json:"more,omitempty" doc:"the limit left out older ones"`
}

// AuditRecord is one link of a node's hash chain.
type AuditRecord struct {
	Node    policy.NodeID `json:"node" doc:"whose chain"`
	Chain   string        `json:"chain" doc:"NODE/RANDOM, one for each data folder"`
	Number  uint64        `json:"number"`
	At      time.Time     `json:"at"`
	Kind    string        `json:"kind" example:"order"`
	Subject string        `json:"subject" example:"override name/www.shop.example."`
	Author  string        `json:"author,omitempty" doc:"the person; none: the machine"`
	Before  string        `json:"before,omitempty"`
	After   string        `json:"after,omitempty"`
	Why     string        `json:"why,omitempty" doc:"the reason given, or the evidence"`
	Folded  uint64        `json:"folded,omitempty" doc:"how many changes of a flapping thing it stands for, or how many records were cut before it"`
	Hash    string        `json:"hash" doc:"hexadecimal, over this record and the hash before it"`
}

// AuditVerdict is whether the chains hold together.
type AuditVerdict struct {
	Good   bool         `json:"good"`
	Chains []AuditChain `json:"chains"`
}

// AuditChain is one chain and what is wrong with it.
type AuditChain struct {
	Node    policy.NodeID `json:"node"`
	Chain   string        `json:"chain"`
	Records int           `json:"records" doc:"that are here"`
	First   uint64        `json:"first" doc:"number of the oldest that is here"`
	Last    uint64        `json:"last"`
	Oldest  time.Time     `json:"oldest,omitzero"`
	Newest  time.Time     `json:"newest,omitzero"`
	Head    string        `json:"head" doc:"hash of the newest, hexadecimal: keep it elsewhere to prove later that nothing was taken away"`
	Problem string        `json:"problem,omitempty" example:"fork at 812: two records of one number"`
}
