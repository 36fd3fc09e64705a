package api

import (
	"time"

	"github.com/scloudstack/pharos/policy"
)

// ClusterStatus is the nodes as one of them knows them. What they decide
// about stands in policy.Status.
type ClusterStatus struct {
	Name       string              `json:"name" doc:"of the cluster"`
	Node       policy.NodeID       `json:"node" doc:"who tells"`
	Now        time.Time           `json:"now" doc:"by its clock"`
	Members    []Member            `json:"members" doc:"every configured node, in the order of the configuration"`
	Electorate Electorate          `json:"electorate"`
	Majority   Majority            `json:"majority"`
	Conflicts  []Conflict          `json:"conflicts" doc:"orders that were given without knowledge of each other, until the alarm is acknowledged"`
	Parked     int                 `json:"parked,omitempty" doc:"entries that wait until the configuration knows who signed them"`
	Entries    map[policy.Kind]int `json:"entries,omitempty" doc:"how many entries of each kind are held"`
	Blocked    []Block             `json:"blocked" doc:"drills: sites that this node does not hear, on purpose"`
}

// MemberState is how a node is heard.
type MemberState string

// The states of a member.
const (
	Alive      MemberState = "alive"
	Silent     MemberState = "silent"
	NeverHeard MemberState = "never heard" // since the node that tells was started
	Left       MemberState = "left"        // it said that it stops
)

// Member is one configured node.
type Member struct {
	Name     policy.NodeID  `json:"name"`
	Site     policy.SiteID  `json:"site"`
	Self     bool           `json:"self,omitempty"`
	Address  string         `json:"address,omitempty" doc:"where it is reached, with the port" example:"10.1.0.5:7946"`
	State    MemberState    `json:"state" enum:"alive,silent,never heard,left"`
	Heard    time.Time      `json:"heard,omitzero" doc:"when it was last heard"`
	Voting   bool           `json:"voting" doc:"its votes count"`
	Held     bool           `json:"held,omitempty" doc:"it started held and serves nothing yet"`
	Suspects string         `json:"suspects,omitempty" doc:"why it suspects itself and abstains"`
	Revision RevisionStatus `json:"revision,omitzero" doc:"what it serves, as it last said"`
	Config   string         `json:"config,omitempty" doc:"digest of its configuration, hexadecimal"`
	Zones    string         `json:"zones,omitempty" doc:"digest of its zones, hexadecimal"`
	Differs  []string       `json:"differs,omitempty" doc:"what of it is not as on the node that tells: revision, configuration, zones"`
	Offset   *Duration      `json:"offset,omitempty" doc:"its clock less the one of the node that tells; none: not known"`
	Protocol int            `json:"protocol,omitempty" doc:"version of what it speaks"`
	Keys     []string       `json:"keys,omitempty" doc:"fingerprints of its gossip keys, the one that it sends with first"`
	Problem  string         `json:"problem,omitempty" doc:"why it is refused" example:"wrong gossip key"`
}

// Electorate is the sites whose votes count.
type Electorate struct {
	Sites []ElectorateSite `json:"sites"`
	Lost  []policy.SiteID  `json:"lost,omitempty" doc:"declared lost: they would count otherwise"`
}

// ElectorateSite is one of them.
type ElectorateSite struct {
	Site   policy.SiteID `json:"site"`
	Voiced bool          `json:"voiced" doc:"at least one of its nodes votes and is in contact"`
	Since  time.Time     `json:"since,omitzero" doc:"since when it is silent; none: never heard, or not silent"`
}

// Majority is whether anything can be decided.
type Majority struct {
	Have   int    `json:"have" doc:"sites of the electorate in contact, this node's among them"`
	Need   int    `json:"need"`
	Of     int    `json:"of" doc:"all sites of the electorate"`
	Margin int    `json:"margin" doc:"how many more sites may fall silent before nothing can be decided; below 0: nothing can"`
	Text   string `json:"text" example:"2 of 3 sites silent for 4m, no majority, serving revision 1812"`
	Next   string `json:"next,omitempty" doc:"the next sensible command, where there is no majority" example:"pharos site lost city-a city-b --reason ..."`
}

// Conflict is two orders on one thing, given without knowledge of each other:
// one stays everywhere, the other is lost.
type Conflict struct {
	Cause string    `json:"cause" doc:"of the alarm; acknowledging it ends the conflict" example:"conflict/override/all"`
	Text  string    `json:"text" doc:"which stays and which is lost"`
	Since time.Time `json:"since"`
}

// Block is a drill: what a node does not hear, on purpose.
type Block struct {
	Site   policy.SiteID `json:"site"`
	Author string        `json:"author"`
	Reason string        `json:"reason"`
	Given  time.Time     `json:"given"`
	Until  time.Time     `json:"until"`
}

// GossipKeys is which node has which gossip key. Keys themselves never travel.
type GossipKeys struct {
	Keys  []GossipKey `json:"keys"`
	Nodes []NodeKeys  `json:"nodes" doc:"every configured node"`
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
	Chain   string        `json:"chain" doc:"random, one for each data folder"`
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
