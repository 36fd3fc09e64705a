package config

import (
	"crypto/ed25519"
	"io/fs"
	"net/netip"

	"github.com/scloudstack/pharos/dnsserver"
	"github.com/scloudstack/pharos/policy"
	"github.com/scloudstack/pharos/probe"
	"github.com/scloudstack/pharos/zones"
)

// DefaultDataDir is where a node keeps its state unless told otherwise.
const DefaultDataDir = "/var/lib/pharos"

// Options are what a command may say beside the file.
type Options struct {
	// Node and DataDir come from flags. Where they are empty, the environment's
	// PHAROS_NODE and PHAROS_DATA_DIR count, then node.name and node.data_dir.
	Node    string
	DataDir string
	// AnyNode takes the first of nodes where nobody names one, with a warning:
	// for checking a file away from the nodes it is for.
	AnyNode bool
	// Getenv reads the environment; nil: os.Getenv.
	Getenv func(string) string
	// FS, if set, is read in place of the machine's files; the path given to
	// Load is then one inside it.
	FS fs.FS
}

// Settings is a whole configuration, valid and with every default filled in.
// It is not changed after Load returned it.
type Settings struct {
	Path  string   // of the main file, as given to Load
	Files []string // every file that was read, in order
	Texts [][]byte // what was read from each

	Node    Node
	Nodes   []Node // all, in the order of the file; Node is among them
	DataDir string
	KeyFile string // the node's own key; made at the first start
	Cluster Cluster
	Links   []Link
	Alarms  Alarms
	Audit   Audit

	Observe bool             // mode: observe: decide and log, never answer
	Compare []netip.AddrPort // observe: the live servers whose answers are compared

	API   API
	DNS   dnsserver.Config
	Zones []zones.Spec // file names are absolute

	Policy  *policy.Config
	Targets []probe.Target // what this node probes, each once
	Absent  int            // with AnyNode: files of checks that can't be used here; each is a warning

	digest [32]byte
	names  map[string]place // of each steered name
	keysAt place            // of cluster.keys_file
}

// Node is one running pharos serve.
type Node struct {
	Name      policy.NodeID
	Site      policy.SiteID
	Address   netip.Addr        // zero where it is not configured
	Port      uint16            // of gossip
	PublicKey ed25519.PublicKey // nil where it is not configured
	Roles     Roles
}

// Roles are the parts that a node runs.
type Roles struct {
	DNS       bool
	Probe     bool
	BGP       bool
	Replicate bool
}

// API is how people and programs reach the node.
type API struct {
	Socket     string           // path of the Unix socket; always there
	Listen     []netip.AddrPort // HTTPS beside it; empty: none
	TLS        TLS              // set where Listen is
	TokensFile string           // bearer tokens; empty: none
	Groups     Grants           // Unix groups
	Clients    Grants           // subject common names of client certificates

	places map[string]place // of the files' names, by key
}

// TLS is what the API's listeners show and ask for: PEM files.
type TLS struct {
	CertFile     string
	KeyFile      string
	ClientCAFile string // empty: no client certificates
}

// Grants lists who has which role. A role includes those before it.
type Grants struct {
	Read    []string
	Operate []string
	Approve []string
	Admin   []string
}

// Digest is the same for two configurations that say the same on every node:
// node is left out of it, and so are comments, style and the cutting into
// files. The order of entries counts.
func (s *Settings) Digest() [32]byte { return s.digest }

// KeysFileProblem puts what is wrong with the file of the gossip keys where the configuration names it.
func (s *Settings) KeysFileProblem(err error) Problem {
	return s.keysAt.problem("cluster.keys_file: " + err.Error() + ": the node would hear no other")
}

// Gossips says whether the node speaks to others.
func (s *Settings) Gossips() bool { return s.Cluster.KeysFile != "" && len(s.Nodes) > 1 }
