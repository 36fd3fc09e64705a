package cluster

import (
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/scloudstack/pharos/policy"
)

// A packet between replicas, the same as a datagram and on a stream:
//
//	protocol version (1) · type (1) · sender (string) · origin (8) · body                         entries: their authors sign
//	protocol version (1) · type (1) · sender (string) · origin (8) · recipient (string, empty: all) ·
//	  incarnation (8) · counter (8) · body · signature of all this by the sender (64)             everything else
//
// Origin is what the sender takes itself to be: see the type.
// Incarnation and counter only grow, by which a replayed packet is known. A release that speaks a version more sends
// in it only what goes to nodes that tell of it in their metadata.
const (
	oldestProtocol  = 1 // of those that this node speaks
	protocolVersion = 1 // the newest
)

const (
	typeEntries  = 1 + iota // entries that are new
	typeVote                // a node's vote, or that it still stands
	typeVoteAsk             // send me your whole vote
	typeReasons             // evidence of a vote
	typeExchange            // one turn of comparing what two replicas hold
	typeAck                 // these orders are on my disk
	typeListAsk             // which targets does this digest stand for
	typeList                // these
	typeStale               // this is behind the newest packet that I know of you
	typeEnd
)

const (
	maxPacket  = 4 << 20
	maxVote    = 64 << 10
	maxReasons = 256 << 10
	maxList    = maxPacket - 1<<10 // 160,000 targets, of 26 octets each
	maxStamps  = 1024
)

// Message is a packet that was taken apart and whose signatures were checked.
type Message struct {
	From policy.NodeID // of entries not proven: their authors are

	kind        uint8
	to          policy.NodeID
	incarnation uint64
	counter     uint64
	size        int
	packet      []byte

	entries []*Sealed // good, or of unknown authors; in unknown is which
	unknown map[*Sealed]bool
	refused []refusal
	wantAck bool

	vote     voteBody
	value    []byte // reasons, list
	digest   [32]byte
	ack      Ack
	exchange turn
	newest   newest // that the sender knows of this node

	ring *Keyring
}

// Decoder reads packets; goroutines of a transport may share it.
type Decoder struct {
	self policy.NodeID
	ring atomic.Pointer[Keyring]
	seen *seenSet // signatures that were good
	news *seenSet // packets of entries that were read
}

// NewDecoder makes the decoder of one node.
func NewDecoder(self policy.NodeID, ring *Keyring) *Decoder {
	d := &Decoder{self: self, seen: newSeenSet(maxSeen), news: newSeenSet(maxSeenPackets)}
	d.ring.Store(ring)
	return d
}

// SetKeyring has the next packets judged by another configuration.
func (d *Decoder) SetKeyring(ring *Keyring) { d.ring.Store(ring) }

// Decode reads a packet and checks its signatures. The message keeps the packet.
func (d *Decoder) Decode(packet []byte) (Message, error) {
	m, err := d.decode(packet)
	if err != nil {
		return Message{}, fmt.Errorf("packet of %d octets from %q: %w", len(packet), m.From, err)
	}
	return m, nil
}

func (d *Decoder) decode(packet []byte) (m Message, err error) {
	if len(packet) > maxPacket {
		return m, fmt.Errorf("%d octets at most expected", maxPacket)
	}
	r := reader{b: packet}
	if v := r.u8("protocol version"); r.err == nil && v != protocolVersion {
		return m, fmt.Errorf("protocol version %d, %d expected", v, protocolVersion)
	}
	m.ring, m.size, m.packet = d.ring.Load(), len(packet), packet
	m.kind = r.u8("type")
	m.From = r.node("sender")
	switch {
	case r.err != nil:
		return m, r.err
	case m.kind == 0 || m.kind >= typeEnd:
		return m, fmt.Errorf("type %d: %d at most expected", m.kind, typeEnd-1)
	case m.From == d.self:
		return m, fmt.Errorf("its sender bears this node's name")
	}
	var from origin
	if copy(from[:], r.take(len(from), "origin")); r.err != nil {
		return m, r.err
	}
	if err := m.ring.expects(m.From, from); err != nil {
		return m, err
	}
	var news hash
	if m.kind != typeEntries {
		if err := d.open(&m, &r); err != nil {
			return m, err
		}
	} else if news = sha256.Sum256(packet); d.news.has(news) {
		return m, nil // of no entries: they are known
	}
	carried := m.readBody(&r)
	if err := r.end("body"); err != nil {
		return m, err
	}
	for _, s := range carried {
		m.judge(s, d.seen)
	}
	if m.kind == typeEntries && !m.wantAck && len(m.unknown)+len(m.refused) == 0 {
		d.news.add(news)
	}
	return m, nil
}

// open checks the sender's signature and whom the packet is for, and leaves the body in r.
func (d *Decoder) open(m *Message, r *reader) error {
	key, known := m.ring.keys[m.From]
	if !known {
		return fmt.Errorf("its sender is no node of the configuration")
	}
	signed := len(m.packet) - ed25519.SignatureSize
	if signed < 2 || len(r.b) < ed25519.SignatureSize {
		return fmt.Errorf("no room for a signature")
	}
	if !verifies(key, packetStatement(m.ring.cluster, m.packet[:signed]), m.packet[signed:]) {
		return fmt.Errorf("the signature is not the sender's, or the cluster's name is not %q", m.ring.cluster)
	}
	r.b = r.b[:len(r.b)-ed25519.SignatureSize]
	m.to = r.node("recipient")
	m.incarnation, m.counter = r.u64("incarnation"), r.u64("counter")
	if r.err == nil && m.to != "" && m.to != d.self {
		return fmt.Errorf("it is meant for %q", m.to)
	}
	return r.err
}

func packetStatement(cluster string, packet []byte) []byte {
	b := append(make([]byte, 0, len(packet)+64), "pharos packet\x00"...)
	b = putBytes(b, cluster)
	return append(b, packet...)
}

// readBody reads what a type carries, and returns the entries in it, which are to be judged.
func (m *Message) readBody(r *reader) []*Sealed {
	switch m.kind {
	case typeEntries:
		return m.readEntries(r)
	case typeVote:
		m.vote = readVote(r)
	case typeReasons:
		m.value = r.bytes(maxReasons, "reasons")
	case typeList:
		m.value = r.bytes(maxList, "target list")
	case typeListAsk:
		copy(m.digest[:], r.take(len(m.digest), "digest"))
	case typeAck:
		m.ack = readAck(r)
	case typeStale:
		m.newest = newest{r.u64("incarnation known"), r.u64("counter known")}
	case typeExchange:
		m.exchange = readTurn(r)
		return m.exchange.entries
	}
	return nil
}

// readEntries reads: flags (1: an acknowledgement is asked for) · batches (count, each signature, count, leaves) ·
// entries by themselves (count, sealed).
func (m *Message) readEntries(r *reader) (all []*Sealed) {
	m.wantAck = r.u8("flags")&1 != 0
	for n := r.count(maxPacket, 64, "batches"); n > 0 && r.err == nil; n-- {
		all = append(all, readBatch(r)...)
	}
	for n := r.count(maxPacket, 64, "entries"); n > 0 && r.err == nil; n-- {
		all = append(all, readSealed(r))
	}
	return all
}

// judge puts an entry where its signature leads it.
func (m *Message) judge(s *Sealed, seen *seenSet) {
	switch err := m.ring.check(s, seen); err {
	case nil:
		m.entries = append(m.entries, s)
	case errUnknownAuthor:
		if m.unknown == nil {
			m.unknown = map[*Sealed]bool{}
		}
		m.entries = append(m.entries, s)
		m.unknown[s] = true
	default:
		m.refused = append(m.refused, refusal{s.hash, Note{
			Kind: NoteRefused, Node: s.Entry.Stamp.Node, Key: s.Entry.EntryKey(), From: m.From,
			Text: fmt.Sprintf("entry %s, sent by %q, refused: %v", s, m.From, err),
		}})
	}
}

// refusal is why an entry is not taken.
type refusal struct {
	hash hash
	note Note
}

// entriesPacket carries whole batches and entries by themselves.
func (k *Keyring) entriesPacket(self policy.NodeID, batches [][]*Sealed, wantAck bool) []byte {
	b := append(k.head(typeEntries, self), bit(wantAck))
	b = putUvarint(b, uint64(len(batches)))
	for _, batch := range batches {
		b = appendBatch(b, batch)
	}
	return putUvarint(b, 0)
}

// singlesPacket carries entries by themselves.
func (k *Keyring) singlesPacket(self policy.NodeID, list []*Sealed, wantAck bool) []byte {
	b := append(k.head(typeEntries, self), bit(wantAck), 0)
	b = putUvarint(b, uint64(len(list)))
	for _, s := range list {
		b = s.append(b)
	}
	return b
}

func bit(v bool) byte {
	if v {
		return 1
	}
	return 0
}

// signedPacket makes a packet that the replica signs; every one has a counter of its own.
func (r *Replica) signedPacket(kind uint8, to policy.NodeID, body []byte) []byte {
	r.counter++
	b := putBytes(slices.Grow(r.ring.head(kind, r.cfg.Self), len(body)+len(to)+96), to)
	b = putU64(b, r.incarnation)
	b = putU64(b, r.counter)
	b = append(b, body...)
	return append(b, signs(r.cfg.Key, packetStatement(r.cfg.Cluster, b))...)
}
