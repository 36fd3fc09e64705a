package cluster

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/scloudstack/pharos/policy"
)

// Sealed is an entry with the proof of who wrote it: the author node's signature over the root of a tree of which the
// entry is a leaf. It is never changed; a countersignature makes a new one.
//
// Bytes writes, DecodeSealed reads:
//
//	1 (format) · leaf (string) · leaves in the tree (uvarint) · place of this one (uvarint) · path (32 each) ·
//	signature (64) · countersigner (string, empty for none) · countersignature (64, where there is one)
type Sealed struct {
	// Entry is what is sealed. Of a later format than this release's only Kind, Key, Rank and Stamp are known.
	Entry policy.Entry

	rule     policy.Merge
	later    bool // of a later format
	leaf     []byte
	hash     hash
	count    uint32 // leaves in the tree
	index    uint32 // place of this one
	path     []byte
	sig      *signature // one for all leaves of the tree
	countBy  policy.NodeID
	countSig *signature
}

type signature = [ed25519.SignatureSize]byte

const (
	sealedFormat = 1
	maxBatch     = 64   // leaves under one signature
	datagram     = 1200 // octets that a packet may have to go as a datagram
	fewDatagrams = 4    // what fits into these goes as datagrams
	batchRoom    = datagram - 160
)

// seal signs entries, in batches of what goes together on the wire.
func seal(cluster string, key ed25519.PrivateKey, entries []policy.Entry) ([]*Sealed, error) {
	out := make([]*Sealed, 0, len(entries))
	total := 0
	for _, e := range entries {
		leaf, err := encodeLeaf(e)
		if err != nil {
			return nil, err
		}
		if e, _, _, err = decodeLeaf(leaf); err != nil { // what peers will read; its value is the leaf's
			return nil, err
		}
		total += len(leaf)
		out = append(out, &Sealed{Entry: e, rule: e.Kind.Merge(), leaf: leaf, hash: hashLeaf(leaf)})
	}
	room := 1 << 30
	if total <= fewDatagrams*batchRoom {
		room = batchRoom
	}
	for rest := out; len(rest) > 0; {
		n, size := 0, 0
		for n < len(rest) && n < maxBatch && (n == 0 || size+len(rest[n].leaf) <= room) {
			size += len(rest[n].leaf) + 2
			n++
		}
		signBatch(cluster, key, rest[:n])
		rest = rest[n:]
	}
	return out, nil
}

func signBatch(cluster string, key ed25519.PrivateKey, batch []*Sealed) {
	leaves := make([]hash, len(batch))
	for i, s := range batch {
		leaves[i] = s.hash
	}
	root, paths := treePaths(leaves)
	sig := signature(signs(key, batchStatement(cluster, len(batch), root)))
	for i, s := range batch {
		s.count, s.index, s.path, s.sig = uint32(len(batch)), uint32(i), paths[i], &sig
	}
}

// batchStatement is what an author signs of a batch.
func batchStatement(cluster string, count int, root hash) []byte {
	b := append(make([]byte, 0, 128), "pharos entries\x00"...)
	b = append(b, sealedFormat)
	b = putBytes(b, cluster)
	b = putU32(b, uint32(count))
	return append(b, root[:]...)
}

// counterStatement is what a present node signs of an entry whose author has left the configuration.
func counterStatement(cluster string, leaf hash) []byte {
	b := append(make([]byte, 0, 128), "pharos countersigned entry\x00"...)
	b = append(b, sealedFormat)
	b = putBytes(b, cluster)
	return append(b, leaf[:]...)
}

// countersign returns the entry vouched for by a present node.
func (s *Sealed) countersign(cluster string, by policy.NodeID, key ed25519.PrivateKey) *Sealed {
	c := *s
	sig := signature(signs(key, counterStatement(cluster, s.hash)))
	c.countBy, c.countSig = by, &sig
	return &c
}

func (s *Sealed) root() hash { return pathRoot(s.hash, int(s.index), int(s.count), s.path) }

// Beats says whether s stays in the place of held, an entry of its key: by the rule that travels with it, so that nodes which
// don't know the kind find the same. What one node signed twice with one stamp is ordered by its hash.
func (s *Sealed) Beats(held *Sealed) bool {
	if s.rule != held.rule {
		return s.rule > held.rule
	}
	order := s.Entry.Stamp.Compare(held.Entry.Stamp)
	switch s.rule {
	case policy.MergeHighest:
		if s.Entry.Rank != held.Entry.Rank {
			return s.Entry.Rank > held.Entry.Rank
		}
		order = -order
	case policy.MergeFirst:
		order = -order
	}
	return order > 0 || order == 0 && bytes.Compare(s.hash[:], held.hash[:]) > 0
}

// told says whether policy merges the entry as this package does: of a later format or an unknown kind it may not.
func (s *Sealed) told() bool { return !s.later && s.rule == s.Entry.Kind.Merge() }

// Bytes is the sealed entry by itself, for the disk and for peers.
func (s *Sealed) Bytes() []byte { return s.append(make([]byte, 0, len(s.leaf)+len(s.path)+160)) }

func (s *Sealed) append(b []byte) []byte {
	b = append(b, sealedFormat)
	b = putBytes(b, s.leaf)
	b = putUvarint(b, uint64(s.count))
	b = putUvarint(b, uint64(s.index))
	b = append(b, s.path...)
	b = append(b, s.sig[:]...)
	b = putBytes(b, s.countBy)
	if s.countSig != nil {
		b = append(b, s.countSig[:]...)
	}
	return b
}

// DecodeSealed reads what Bytes writes. It judges the form; who signed is judged by the replica.
func DecodeSealed(data []byte) (*Sealed, error) {
	r := reader{b: bytes.Clone(data)}
	s := readSealed(&r)
	return s, r.end("sealed entry")
}

func readSealed(r *reader) *Sealed {
	if format := r.u8("sealed format"); r.err == nil && format != sealedFormat {
		r.fail("sealed format %d: %d expected", format, sealedFormat)
	}
	s := readLeaf(r)
	s.count = uint32(r.uvarint(maxBatch, "leaves"))
	s.index = uint32(r.uvarint(maxBatch, "place"))
	if r.err == nil && s.index >= s.count {
		r.fail("place %d among %d leaves", s.index, s.count)
	}
	s.path = r.take(pathLength(int(s.index), int(s.count))*sha256.Size, "path")
	s.sig = readSignature(r)
	if s.countBy = r.node("countersigner"); s.countBy != "" {
		s.countSig = readSignature(r)
	}
	return s
}

func readLeaf(r *reader) *Sealed {
	s := &Sealed{leaf: r.bytes(maxLeaf, "leaf")}
	if r.err != nil {
		return s
	}
	var err error
	if s.Entry, s.rule, s.later, err = decodeLeaf(s.leaf); err != nil {
		r.fail("%w", err)
		return s
	}
	s.hash = hashLeaf(s.leaf)
	return s
}

func readSignature(r *reader) *signature {
	b := r.take(ed25519.SignatureSize, "signature")
	if b == nil {
		return &signature{}
	}
	sig := signature(b)
	return &sig
}

// appendBatch writes the whole tree of one signature: the peer finds the root and the paths itself.
func appendBatch(b []byte, batch []*Sealed) []byte {
	b = append(b, batch[0].sig[:]...)
	b = putUvarint(b, uint64(len(batch)))
	for _, s := range batch {
		b = putBytes(b, s.leaf)
	}
	return b
}

func readBatch(r *reader) []*Sealed {
	sig := readSignature(r)
	n := r.count(maxBatch, 2, "leaves")
	if r.err == nil && n == 0 {
		r.fail("a batch of no leaves")
	}
	batch, leaves := make([]*Sealed, 0, n), make([]hash, 0, n)
	for i := range n {
		s := readLeaf(r)
		if r.err == nil && s.Entry.Stamp.Node != batchAuthor(batch, s) {
			r.fail("leaf of %q in a batch of %q", s.Entry.Stamp.Node, batch[0].Entry.Stamp.Node)
		}
		if r.err != nil {
			return nil
		}
		s.count, s.index, s.sig = uint32(n), uint32(i), sig
		batch, leaves = append(batch, s), append(leaves, s.hash)
	}
	if r.err != nil {
		return nil
	}
	_, paths := treePaths(leaves)
	for i, s := range batch {
		s.path = paths[i]
	}
	return batch
}

func batchAuthor(batch []*Sealed, s *Sealed) policy.NodeID {
	if len(batch) == 0 {
		return s.Entry.Stamp.Node
	}
	return batch[0].Entry.Stamp.Node
}

// String names the entry for logs.
func (s *Sealed) String() string {
	return fmt.Sprintf("%s %.80q of %s", s.Entry.Kind, s.Entry.Key, s.Entry.Stamp)
}

// short is the part of a hash by which entries are compared and summed.
func short(h hash) uint64 { return binary.BigEndian.Uint64(h[:]) }
