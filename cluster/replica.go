package cluster

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"time"

	"github.com/scloudstack/pharos/policy"
)

// Config is what a replica is told. Cluster, Self, Key and Members are needed.
type Config struct {
	Cluster     string
	Self        policy.NodeID
	Key         ed25519.PrivateKey
	Former      map[policy.NodeID][]ed25519.PublicKey // keys that nodes had before: what they signed is taken from the own disk alone
	Members     map[policy.NodeID]Member              // the nodes of the configuration, Self among them
	Incarnation uint64                                // higher than at any earlier start; raised by itself where peers know a higher one
	Void        func(policy.Entry) bool               // written in a site while it was declared lost, not to be taken in for now; nil: none
	Obsolete    func(policy.Entry) bool               // of no effect any more, not to be taken in again; nil: none
	Needed      func(policy.Entry) bool               // a tombstone that still decides, not to be collected; nil: none
	VoteTTL     time.Duration                         // a vote not refreshed for so long is silence; 0: 3 s
	Tombstones  time.Duration                         // the least age at which a tombstone is collected; 0: 24 h
	Direct      int                                   // up to so many live peers are told of news at once, more by gossip; 0: 50
	Rand        *rand.Rand                            // nil: seeded by the runtime
}

// Replica holds the entries of one node, and brings them and those of its peers together. It is a state machine: it has no
// clock, no socket and no goroutine, and one goroutine calls it.
type Replica struct {
	cfg  Config
	ring *Keyring
	seen *seenSet
	rand *rand.Rand

	entries   map[policy.EntryKey]*Sealed
	tree      tree
	authors   map[policy.NodeID]int      // how many entries each wrote that are held
	seq       uint64                     // counts what was taken in
	tombs     map[policy.EntryKey]uint64 // tombstones, with seq when they came
	unwanted  *memory                    // entries that are not taken: parked, obsolete
	collected *memory                    // tombstones that every node held
	parked    parking
	forks     []*Sealed
	cuts      map[string]uint64 // audit chains: the highest number that was cut

	peers   map[policy.NodeID]*peer
	open    int // exchanges under way that were begun here, about
	pull    pull
	met     int             // peers that were met, about: keepHouse counts
	order   []policy.NodeID // of peers, sorted, so that every run of one seed is the same
	waiting []*waiting
	rumors  []*rumor

	incarnation uint64
	counter     uint64
	vote        ownVote
	timers      timers
	hinted      time.Time // when a vote's digest last had an exchange begun

	out Out
}

// Out is what a call has the caller do. Slices are nil where there is nothing.
type Out struct {
	Keep     []*Sealed         // write to disk. An order's author waits for the disk before Commit
	Forget   []policy.EntryKey // remove from disk
	Merged   []policy.Entry    // taken in from peers: to policy
	Audit    []policy.Entry    // audit records taken in from peers: to the Audit, and to who shows them
	Lost     []policy.Entry    // came from peers and did not stay beside a newer one: for conflicts
	Votes    []RawVote         // votes that count: to policy
	Met      []policy.NodeID   // all entries were exchanged with these, both ways: to policy
	Reasons  []RawValue        // evidence of a peer's vote
	ListAsks []ListAsk         // peers that want a target list: SendList
	Lists    []RawValue        // target lists that were asked for
	AckDue   []AckDue          // orders to be acknowledged once they are on disk: Ack
	Acks     []Ack             // acknowledgements of own orders
	Notes    []Note            // for the log, alarms and audit
	Send     []Packet          // to the transport
	Wake     time.Time         // call Tick at this time at the latest
}

// Packet is to be sent.
type Packet struct {
	To       policy.NodeID // "": every node of the configuration but this one
	Reliable bool          // by a stream: it is too large for a datagram, or must not be lost
	Vote     bool          // goes before all others, and makes older votes in the queue needless
	Data     []byte
}

// RawVote is a peer's vote.
type RawVote struct {
	Node        policy.NodeID
	Incarnation uint64
	Counter     uint64 // also grows when the vote is only refreshed
	Value       []byte
}

// RawValue is something of a peer that policy reads.
type RawValue struct {
	Node  policy.NodeID
	Value []byte
}

// ListAsk is a peer's question which targets a digest stands for.
type ListAsk struct {
	Node   policy.NodeID
	Digest [32]byte
}

// NoteKind says what a Note is about.
type NoteKind string

const (
	NoteRefused     NoteKind = "refused"     // a signature is not what it should be, or nobody may write this
	NoteParked      NoteKind = "parked"      // of an unknown author: kept aside until the configuration knows it
	NoteFork        NoteKind = "fork"        // one node signed two different records for one place of a chain, or two entries with one stamp
	NoteSkew        NoteKind = "skew"        // a stamp is far ahead of this node's clock
	NoteIncarnation NoteKind = "incarnation" // peers knew a later start of this node than itself
)

// Note is something that people should know.
type Note struct {
	Kind NoteKind
	Node policy.NodeID   // whose entry or packet it was
	From policy.NodeID   // who sent it
	Key  policy.EntryKey // zero: about no entry
	Text string
}

const maxSkew = time.Minute

// New makes a replica of what is on disk. Stored entries of nodes in the configuration whose signatures are not theirs are
// left out, with a note; those of others were judged when they were stored.
func New(cfg Config, stored []*Sealed, now time.Time) (*Replica, Out, error) {
	r := &Replica{
		entries: make(map[policy.EntryKey]*Sealed, len(stored)), tombs: map[policy.EntryKey]uint64{},
		unwanted: newMemory(4096), collected: newMemory(65536), cuts: map[string]uint64{}, authors: map[policy.NodeID]int{},
		peers: map[policy.NodeID]*peer{}, seen: newSeenSet(maxSeen), incarnation: max(cfg.Incarnation, 1),
	}
	if err := r.configure(cfg); err != nil {
		return nil, Out{}, err
	}
	if r.rand = cfg.Rand; r.rand == nil {
		r.rand = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	}
	var again []policy.Entry
	for _, s := range stored {
		switch err := r.ring.check(s, r.seen); {
		case err == nil || errors.Is(err, errUnknownAuthor):
			r.load(s)
		case r.byFormerKey(s) && s.Entry.Stamp.Node == cfg.Self:
			again = append(again, s.Entry)
		case r.byFormerKey(s):
			v := s.countersign(cfg.Cluster, cfg.Self, cfg.Key)
			r.load(v)
			r.out.Keep = append(r.out.Keep, v)
		default:
			r.note(Note{Kind: NoteRefused, Node: s.Entry.Stamp.Node, Key: s.Entry.EntryKey(), Text: fmt.Sprintf("stored entry %s left out: %v", s, err)})
		}
	}
	if err := r.sealAgain(again); err != nil {
		return nil, Out{}, err
	}
	r.vouchForDeparted()
	r.startTimers(now)
	return r, r.done(now), nil
}

// byFormerKey says whether the author of an entry signed it with a key that it had before.
func (r *Replica) byFormerKey(s *Sealed) bool {
	author := s.Entry.Stamp.Node
	if s.later {
		return false
	}
	for _, key := range r.cfg.Former[author] {
		former := &Keyring{cluster: r.cfg.Cluster, keys: map[policy.NodeID]ed25519.PublicKey{author: key}}
		if former.check(s, r.seen) == nil {
			return true
		}
	}
	return false
}

// sealAgain signs with the key of now what was signed with a former one.
func (r *Replica) sealAgain(entries []policy.Entry) error {
	sealed, err := seal(r.cfg.Cluster, r.cfg.Key, entries)
	for _, s := range sealed {
		r.load(s)
		r.out.Keep = append(r.out.Keep, s)
	}
	return err
}

func (r *Replica) configure(cfg Config) error {
	if len(cfg.Key) != ed25519.PrivateKeySize {
		return fmt.Errorf("cluster: private key of %d octets, %d expected", len(cfg.Key), ed25519.PrivateKeySize)
	}
	self, ok := cfg.Members[cfg.Self]
	if !ok {
		return fmt.Errorf("cluster: node %q is none of the configuration", cfg.Self)
	}
	if !self.PublicKey.Equal(cfg.Key.Public()) {
		return fmt.Errorf("cluster: the key of node %q is not the one that the configuration names", cfg.Self)
	}
	ring, err := NewKeyring(cfg.Cluster, cfg.Members)
	if err != nil {
		return fmt.Errorf("cluster: %w", err)
	}
	setDefaults(&cfg)
	r.cfg, r.ring = cfg, ring
	r.configurePeers()
	return nil
}

func setDefaults(cfg *Config) {
	if cfg.VoteTTL == 0 {
		cfg.VoteTTL = 3 * time.Second
	}
	if cfg.Tombstones == 0 {
		cfg.Tombstones = 24 * time.Hour
	}
	if cfg.Direct == 0 {
		cfg.Direct = 50
	}
	if cfg.Void == nil {
		cfg.Void = func(policy.Entry) bool { return false }
	}
	if cfg.Needed == nil {
		cfg.Needed = func(policy.Entry) bool { return false }
	}
	if cfg.Obsolete == nil {
		cfg.Obsolete = func(policy.Entry) bool { return false }
	}
}

// Reconfigure takes a new configuration: parked entries are judged again, and what nodes wrote that are no longer in it, or
// have another key, is countersigned. Incarnation and Rand stay. After an error nothing has changed.
func (r *Replica) Reconfigure(cfg Config, now time.Time) (Out, error) {
	old := r.ring
	if err := r.configure(cfg); err != nil {
		return Out{}, err
	}
	r.vouchForDeparted()
	r.vouchForRekeyed(old)
	r.unpark(now)
	return r.done(now), nil
}

// Keyring is what packets are to be judged by: for Decoder.SetKeyring after New and each Reconfigure.
func (r *Replica) Keyring() *Keyring { return r.ring }

// Seal signs entries of this node, in batches. They are not taken in: see Commit. An entry too long to travel is an error,
// and nothing is sealed.
func (r *Replica) Seal(entries []policy.Entry) ([]*Sealed, error) {
	for _, e := range entries {
		if e.Stamp.Node != r.cfg.Self {
			return nil, fmt.Errorf("entry %s %q: stamp of node %q, %q expected", e.Kind, e.Key, e.Stamp.Node, r.cfg.Self)
		}
	}
	return seal(r.cfg.Cluster, r.cfg.Key, entries)
}

// Commit takes in orders that were sealed here and are on disk, sends them, and asks for acknowledgements.
func (r *Replica) Commit(sealed []*Sealed, now time.Time) Out {
	taken := r.takeOwn(sealed)
	r.spread(taken, true, now)
	r.awaitAcks(taken, now)
	return r.done(now)
}

// Write seals entries of the machine's own, takes them in, has them kept and sends them.
func (r *Replica) Write(entries []policy.Entry, now time.Time) (Out, error) {
	sealed, err := r.Seal(entries)
	if err != nil {
		return Out{}, err
	}
	taken := r.takeOwn(sealed)
	r.out.Keep = append(r.out.Keep, taken...)
	r.spread(taken, false, now)
	return r.done(now), nil
}

// Publish takes in what was sealed here and is on disk, and sends it. Nobody is asked to acknowledge it.
func (r *Replica) Publish(sealed []*Sealed, now time.Time) Out {
	r.spread(r.takeOwn(sealed), false, now)
	return r.done(now)
}

// Forget removes entries that are obsolete.
func (r *Replica) Forget(keys []policy.EntryKey, now time.Time) Out {
	for _, key := range keys {
		r.forget(key)
	}
	return r.done(now)
}

// Receive takes a decoded packet.
func (r *Replica) Receive(m Message, now time.Time) Out {
	if m.ring != r.ring { // it was judged by an earlier configuration
		again := Decoder{self: r.cfg.Self, seen: r.seen, news: newSeenSet(1)}
		again.SetKeyring(r.ring)
		var err error
		if m, err = again.Decode(m.packet); err != nil {
			return r.done(now)
		}
	}
	if m.kind == typeEntries {
		r.receiveEntries(&m, now)
		return r.done(now)
	}
	p := r.peers[m.From]
	if p == nil {
		return r.done(now)
	}
	switch p.window.judge(m.incarnation, m.counter) {
	case stale:
		r.tellStale(m.From, p, now)
		return r.done(now)
	case replayed:
		return r.done(now)
	}
	r.dispatch(&m, p, now)
	return r.done(now)
}

func (r *Replica) dispatch(m *Message, p *peer, now time.Time) {
	switch m.kind {
	case typeVote:
		r.receiveVote(m, p, now)
	case typeVoteAsk:
		r.sendVoteTo(m.From)
	case typeReasons:
		r.out.Reasons = append(r.out.Reasons, RawValue{m.From, m.value})
	case typeExchange:
		r.receiveTurn(m, p, now)
	case typeAck:
		m.ack.Node = m.From
		r.receiveAck(m.ack)
	case typeListAsk:
		r.out.ListAsks = append(r.out.ListAsks, ListAsk{m.From, m.digest})
	case typeList:
		r.out.Lists = append(r.out.Lists, RawValue{m.From, m.value})
	case typeStale:
		r.receiveStale(m)
	}
}

func (r *Replica) receiveEntries(m *Message, now time.Time) {
	r.refuse(m.refused)
	before := r.seq
	due := map[policy.NodeID][]policy.Stamp{}
	for _, s := range m.entries {
		held := r.holds(s)
		if !held && !r.stale(s, now) {
			held = r.takeMessage(m, s, now)
		}
		if held && m.wantAck {
			due[s.Entry.Stamp.Node] = append(due[s.Entry.Stamp.Node], s.Entry.Stamp)
		}
	}
	for _, id := range r.order {
		if stamps := due[id]; len(stamps) > 0 {
			r.out.AckDue = append(r.out.AckDue, AckDue{id, stamps})
		}
	}
	if r.seq != before && r.gossiping(now) {
		r.passOn(m.packet, now)
	}
}

// stale says whether an entry is too old to come as news. Anyone can send recorded packets of news again, also when the tombstone
// of what they bring is gone everywhere. An entry that is still held comes by an exchange, which can't be replayed.
func (r *Replica) stale(s *Sealed, now time.Time) bool {
	return now.Sub(s.Entry.Stamp.Time()) > r.cfg.Tombstones/2
}

func (r *Replica) holds(s *Sealed) bool {
	held, ok := r.entries[s.Entry.EntryKey()]
	return ok && held.hash == s.hash
}

// done ends a call: it returns what it brought about.
func (r *Replica) done(now time.Time) Out {
	out := r.out
	r.out = Out{}
	out.Wake = r.timers.next()
	return out
}

func (r *Replica) note(n Note) { r.out.Notes = append(r.out.Notes, n) }

func (r *Replica) send(to policy.NodeID, data []byte) {
	r.out.Send = append(r.out.Send, Packet{To: to, Reliable: len(data) > datagram, Data: data})
}

// Get returns the entry that is held for a key.
func (r *Replica) Get(key policy.EntryKey) (*Sealed, bool) {
	s, ok := r.entries[key]
	return s, ok
}

// Entries are all that are held, in no order.
func (r *Replica) Entries() iter.Seq[*Sealed] {
	return func(yield func(*Sealed) bool) {
		for _, s := range r.entries {
			if !yield(s) {
				return
			}
		}
	}
}

// Told are the entries that policy decides by: all but audit records, and what this release does not know.
func (r *Replica) Told() []policy.Entry {
	var out []policy.Entry
	for _, s := range r.entries {
		if s.told() && s.Entry.Kind != policy.KindAudit {
			out = append(out, s.Entry)
		}
	}
	return out
}

// Digest is the same on two replicas that hold the same.
func (r *Replica) Digest() (entries int, sum uint64) { return r.tree.root.count, r.tree.root.sum }

// Incarnation is this node's, which a later start must exceed.
func (r *Replica) Incarnation() uint64 { return r.incarnation }
