package cluster

import (
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"sync"

	"github.com/scloudstack/pharos/policy"
)

// Member is a node of the configuration.
type Member struct {
	Site      policy.SiteID
	Address   string // host:port of its gossip
	PublicKey ed25519.PublicKey
}

// Keyring holds the keys by which one configuration judges signatures. It is never changed.
type Keyring struct {
	cluster string
	keys    map[policy.NodeID]ed25519.PublicKey
	origins map[policy.NodeID]origin
	home    origin // of the cluster, without an address
}

// origin is what a node takes itself to be: the first 4 octets of the SHA-256 of its cluster's name, and of its address. A
// node that was started by mistake, as a copy of another or under another cluster's name, has the right keys, and is known by it.
type origin [8]byte

func originOf(cluster, address string) (o origin) {
	if addr, err := netip.ParseAddrPort(address); err == nil {
		address = unmapped(addr).String()
	}
	name, at := sha256.Sum256([]byte("pharos cluster\x00"+cluster)), sha256.Sum256([]byte("pharos address\x00"+address))
	copy(o[:4], name[:])
	copy(o[4:], at[:])
	return o
}

// expects says what is wrong with the origin in a packet of a node; of one that is not known only the cluster is judged.
func (k *Keyring) expects(node policy.NodeID, from origin) error {
	want, known := k.origins[node]
	if !known {
		want = k.home
	}
	switch {
	case want == from:
		return nil
	case [4]byte(want[:4]) != [4]byte(from[:4]):
		return fmt.Errorf("it is of another cluster than %q", k.cluster)
	case known:
		return errors.New("it takes itself to be at another address than the configuration has: two nodes may be started under its name")
	}
	return nil
}

// head begins a packet.
func (k *Keyring) head(kind uint8, self policy.NodeID) []byte {
	from := k.origins[self]
	return append(putBytes([]byte{protocolVersion, kind}, self), from[:]...)
}

// NewKeyring makes the keyring of a configuration.
func NewKeyring(cluster string, members map[policy.NodeID]Member) (*Keyring, error) {
	k := &Keyring{
		cluster: cluster, keys: make(map[policy.NodeID]ed25519.PublicKey, len(members)),
		origins: make(map[policy.NodeID]origin, len(members)), home: originOf(cluster, ""),
	}
	for id, m := range members {
		if len(m.PublicKey) != ed25519.PublicKeySize {
			return nil, fmt.Errorf("node %s: public key of %d octets, %d expected", id, len(m.PublicKey), ed25519.PublicKeySize)
		}
		k.keys[id], k.origins[id] = m.PublicKey, originOf(cluster, m.Address)
	}
	return k, nil
}

var (
	errUnknownAuthor = errors.New("its author is no node of the configuration")
	errSignature     = errors.New("the signature is not its author's")
)

// check judges who wrote an entry. errUnknownAuthor: nobody can say.
func (k *Keyring) check(s *Sealed, seen *seenSet) error {
	author, known := k.keys[s.Entry.Stamp.Node]
	if !known {
		return k.checkCounter(s)
	}
	statement := batchStatement(k.cluster, int(s.count), s.root())
	key := seenKey(author, statement, s.sig)
	if seen.has(key) {
		return nil
	}
	if !verifies(author, statement, s.sig[:]) {
		if s.countBy != s.Entry.Stamp.Node && k.checkCounter(s) == nil {
			return nil // of a key that its author had before, says a node that held it then
		}
		return errSignature
	}
	seen.add(key)
	return nil
}

func (k *Keyring) checkCounter(s *Sealed) error {
	by, present := k.keys[s.countBy]
	switch {
	case s.countSig == nil || !present:
		return errUnknownAuthor
	case !verifies(by, counterStatement(k.cluster, s.hash), s.countSig[:]):
		return errors.New("the countersignature is not " + string(s.countBy) + "'s")
	}
	return nil
}

// seenSet remembers the last hashes that were put into it. Goroutines of the transport share it.
type seenSet struct {
	mu   sync.Mutex
	set  map[hash]struct{}
	ring []hash
	next int
	size int
}

// maxSeen is how many good signatures are remembered, so that the second entry of a batch, and a batch that comes again, cost
// a hash and no more; maxSeenPackets how many packets of news, which come several times where there are many nodes.
const (
	maxSeen        = 8192
	maxSeenPackets = 1024
)

func newSeenSet(size int) *seenSet { return &seenSet{set: map[hash]struct{}{}, size: size} }

func seenKey(author ed25519.PublicKey, statement []byte, sig *signature) hash {
	h := sha256.New()
	h.Write(author)
	h.Write(sig[:])
	h.Write(statement)
	return hash(h.Sum(nil))
}

func (c *seenSet) has(key hash) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.set[key]
	return ok
}

func (c *seenSet) add(key hash) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.set[key]; ok {
		return
	}
	if len(c.ring) < c.size {
		c.ring = append(c.ring, key)
	} else {
		delete(c.set, c.ring[c.next])
		c.ring[c.next] = key
		c.next = (c.next + 1) % c.size
	}
	c.set[key] = struct{}{}
}
