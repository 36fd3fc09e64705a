package cluster

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/scloudstack/pharos/policy"
)

// meta is what a node tells of itself with its membership; memberlist carries 512 octets at most:
//
//	protocol versions, least and most (1, 1) · cluster (string) · site (string) · fingerprint of the node's public key (8) ·
//	gossip keys: count, each fingerprint (8), flags (1)
//
// A later protocol version keeps all this in its place and adds behind it; one that shares no version with
// this node keeps the versions and the cluster's name.
type meta struct {
	least   uint8
	most    uint8
	cluster string
	site    policy.SiteID
	key     [8]byte
	keys    []GossipKey
}

// GossipKey is a key that encrypts gossip, as much as is ever told of it.
type GossipKey struct {
	Fingerprint Fingerprint
	Installed   bool // what it encrypts can be read
	Sends       bool // it encrypts what this node sends
	InFile      bool // it stands in the node's keys_file
	FirstInFile bool // and is what the node will send with after its next start
	Unread      bool // the keys_file could not be read when the node was last told to: what stands in it is not known
}

// Fingerprint names a gossip key without telling it.
type Fingerprint [8]byte

func (f Fingerprint) String() string { return hex.EncodeToString(f[:]) }

// ParseFingerprint reads what String writes.
func ParseFingerprint(text string) (f Fingerprint, err error) {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != len(f) {
		return f, fmt.Errorf("fingerprint %q: %d hexadecimal digits expected", text, 2*len(f))
	}
	return Fingerprint(b), nil
}

// FingerprintOf names a key.
func FingerprintOf(key []byte) Fingerprint {
	h := sha256.Sum256(append([]byte("pharos gossip key\x00"), key...))
	return Fingerprint(h[:8])
}

func keyPrint(public []byte) [8]byte {
	h := sha256.Sum256(append([]byte("pharos node key\x00"), public...))
	return [8]byte(h[:8])
}

const (
	maxCluster    = 64
	maxGossipKeys = 16
)

func (m meta) encode() []byte {
	b := putBytes([]byte{m.least, m.most}, m.cluster)
	b = putBytes(b, m.site)
	b = append(b, m.key[:]...)
	b = putUvarint(b, uint64(len(m.keys)))
	for _, k := range m.keys {
		b = append(b, k.Fingerprint[:]...)
		b = append(b, bit(k.Installed)|bit(k.Sends)<<1|bit(k.InFile)<<2|bit(k.FirstInFile)<<3|bit(k.Unread)<<4)
	}
	return b
}

func decodeMeta(b []byte) (m meta, err error) {
	r := reader{b: b}
	m.least, m.most = r.u8("least protocol version"), r.u8("most protocol version")
	m.cluster = r.str(maxCluster, "cluster")
	if r.err != nil || !m.understood() {
		return m, r.err
	}
	m.site = policy.SiteID(r.str(maxNode, "site"))
	copy(m.key[:], r.take(len(m.key), "key"))
	for n := r.count(maxGossipKeys, 9, "gossip keys"); n > 0; n-- {
		k := GossipKey{Fingerprint: Fingerprint(r.take(8, "fingerprint"))}
		f := r.u8("flags")
		k.Installed, k.Sends, k.InFile, k.FirstInFile, k.Unread = f&1 != 0, f&2 != 0, f&4 != 0, f&8 != 0, f&16 != 0
		m.keys = append(m.keys, k)
	}
	if m.most > protocolVersion {
		return m, r.err // what is left is of its later version
	}
	return m, r.end("metadata")
}

// understood says that the node speaks a version that this one speaks.
func (m meta) understood() bool { return m.least <= protocolVersion && m.most >= oldestProtocol }
