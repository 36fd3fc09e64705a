package node

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/scloudstack/pharos/cluster"
	"github.com/scloudstack/pharos/internal/config"
	"github.com/scloudstack/pharos/policy"
)

// identityRetry is how often it is tried to write a key that could not be written.
const identityRetry = 2 * time.Second

// identity is the node's key, and why it counts for nobody else, if so. Where the file can't be
// read or made, a node has a key of its own until it can: DNS must not wait for a disk.
func identity(settings *config.Settings) (ed25519.PrivateKey, error) {
	key, err := LoadIdentity(settings.KeyFile)
	if errors.Is(err, fs.ErrNotExist) {
		key, err = MakeIdentity(settings.KeyFile)
	}
	if key == nil {
		_, key, _ = ed25519.GenerateKey(nil) // it never fails
	}
	if err == nil {
		err = sameIdentity(settings, key)
	}
	return key, err
}

// sameIdentity says how a key differs from the one in the configuration.
func sameIdentity(settings *config.Settings, key ed25519.PrivateKey) error {
	public := key.Public().(ed25519.PublicKey)
	if want := settings.Node.PublicKey; len(want) > 0 && !want.Equal(public) {
		return fmt.Errorf("nodes.%s.public_key is %s, but the key in %s is %s: what this node says counts for no other",
			settings.Node.Name, PublicText(want), settings.KeyFile, PublicText(public))
	}
	return nil
}

// runIdentity looks again, where the node can't prove who it is, until it can.
func (n *Node) runIdentity(ctx context.Context) error {
	retry := time.NewTicker(identityRetry)
	defer retry.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-retry.C:
		}
		if n.situation().identity.err != nil {
			n.checkIdentity()
		}
	}
}

// checkIdentity finds out whether the key that the node signs with is the one of its file, which it writes where there is
// none, and of the configuration that runs.
func (n *Node) checkIdentity() {
	running := n.situation().running
	err := keptIdentity(running.settings.KeyFile, n.loop.key)
	if err == nil {
		err = sameIdentity(running.settings, n.loop.key)
	}
	var before error
	n.change(func(s *situation) {
		if s.running != running {
			return // whoever loaded another configuration looks as well
		}
		if before = s.identity.err; before == nil {
			s.identity.since = clock()
		}
		s.identity.err = err
	})
	switch {
	case err == nil && before != nil:
		n.log.Info("this node can prove who it is")
	case err != nil && (before == nil || before.Error() != err.Error()):
		n.log.Error("this node can't prove who it is", "error", err)
	}
}

// keptIdentity says how the file differs from a running node's key. It makes the file where there is none.
func keptIdentity(path string, key ed25519.PrivateKey) error {
	kept, err := LoadIdentity(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return saveIdentity(path, key)
	case err == nil && !kept.Equal(key):
		return fmt.Errorf("the key in %s is %s, but this node signs with %s since its start: restart it",
			path, PublicText(kept.Public().(ed25519.PublicKey)), PublicText(key.Public().(ed25519.PublicKey)))
	}
	return err
}

// members are the nodes of a configuration that can prove who they are.
func members(settings *config.Settings, key ed25519.PrivateKey) map[policy.NodeID]cluster.Member {
	list := map[policy.NodeID]cluster.Member{}
	for _, n := range settings.Nodes {
		m := cluster.Member{Site: n.Site, PublicKey: n.PublicKey}
		if n.Name == settings.Node.Name {
			m.PublicKey = key.Public().(ed25519.PublicKey)
		}
		if n.Address.IsValid() {
			m.Address = netip.AddrPortFrom(n.Address, n.Port).String()
		}
		if len(m.PublicKey) > 0 {
			list[n.Name] = m
		}
	}
	return list
}

// replicaConfig is what the exchange with the other nodes is told now.
func (l *loop) replicaConfig(incarnation uint64) cluster.Config {
	set := l.deployed.settings
	return cluster.Config{
		Cluster: set.Policy.Cluster, Self: set.Node.Name, Key: l.key, Members: members(set, l.key),
		Incarnation: incarnation, VoteTTL: set.Policy.VoteTTL,
		Void:     func(e policy.Entry) bool { return l.state != nil && l.state.Void(e) },
		Obsolete: func(e policy.Entry) bool { return l.state != nil && l.state.Obsolete(e) },
		Needed:   func(e policy.Entry) bool { return l.state == nil || l.state.Needed(e) },
	}
}

// begin takes up what the disk holds: the replica, the audit and the decision. Entries of
// a release that signed none are sealed now.
func (l *loop) begin(st stored) error {
	now := clock()
	incarnation := max(st.marks.incarnation+1, uint64(now.UnixMilli()))
	cfg := l.replicaConfig(incarnation)
	cfg.Former = knownKeys(st.marks.keys)
	r, out, err := cluster.New(cfg, st.sealed, now)
	if err != nil {
		return err
	}
	l.replica = r
	self := l.deployed.settings.Node.Name
	sealed, err := r.Seal(adopted(st.unsigned, self))
	if err != nil {
		return fmt.Errorf("entries of an earlier release: %w", err)
	}
	first := r.Commit(sealed, now)
	chain := cmp.Or(st.marks.chain, cluster.NewChain(self))
	l.keys = withKeys(st.marks.keys, cfg.Members)
	l.disk.Mark(marks{incarnation: incarnation, chain: chain, keys: l.keys}, sealed)
	if err := l.openAudit(chain); err != nil {
		return err
	}
	start := st.Stored
	start.Entries = r.Told()
	state, effects := policy.Start(l.deployed.settings.Policy, start, now)
	l.state = state
	l.carryOut(effects)
	l.absorb(out)
	l.absorb(first)
	l.step(policy.Loaded{Zones: l.deployed.zonesDigest()})
	if st.marks.refill == refillBegun {
		return l.beginRefill()
	}
	return nil
}

// reconfigure has the exchange follow another configuration.
func (l *loop) reconfigure() {
	out, err := l.replica.Reconfigure(l.replicaConfig(0), clock())
	if err != nil {
		l.log.Error("the exchange with other nodes goes on as before", "error", err)
		return
	}
	now := members(l.deployed.settings, l.key)
	l.keys = withKeys(l.keys, now)
	l.disk.Mark(marks{keys: l.keys}, nil)
	l.follow(l.replica.Keyring(), now)
	l.absorb(out)
}

// receive takes packets of other nodes: this one, and those that wait behind it, so that
// votes that came together are judged together.
func (l *loop) receive(m cluster.Message) {
	var all cluster.Out
	now := clock()
	join(&all, l.replica.Receive(m, now))
	for n, more := 1, true; more && n < maxHeard; n++ {
		select {
		case m = <-l.heard:
			join(&all, l.replica.Receive(m, now))
		default:
			more = false
		}
	}
	l.absorb(all)
	if len(all.Met) > 0 {
		l.lookedAround()
	}
}

// join adds to what is to be done.
func join(all *cluster.Out, next cluster.Out) {
	all.Keep = append(all.Keep, next.Keep...)
	all.Forget = append(all.Forget, next.Forget...)
	all.Merged = append(all.Merged, next.Merged...)
	all.Audit = append(all.Audit, next.Audit...)
	all.Lost = append(all.Lost, next.Lost...)
	all.Votes = append(all.Votes, next.Votes...)
	all.Met = append(all.Met, next.Met...)
	all.Reasons = append(all.Reasons, next.Reasons...)
	all.ListAsks = append(all.ListAsks, next.ListAsks...)
	all.Lists = append(all.Lists, next.Lists...)
	all.AckDue = append(all.AckDue, next.AckDue...)
	all.Acks = append(all.Acks, next.Acks...)
	all.Notes = append(all.Notes, next.Notes...)
	all.Send = append(all.Send, next.Send...)
	all.Wake = next.Wake
}

// sight takes what the membership sees.
func (l *loop) sight(s sighting) {
	switch {
	case s.node == "":
		if l.greeting != nil {
			l.greeting.tried = true
		}
	case s.up:
		l.absorb(l.replica.Up(s.node, clock()))
	default:
		l.absorb(l.replica.Down(s.node, clock()))
	}
	l.lookedAround()
}

// maxKnownKeys is how many keys of one node are remembered, the last ones.
const maxKnownKeys = 8

// knownKeys are the public keys that nodes had in this node's configurations, as the disk has them.
func knownKeys(stored []byte) map[policy.NodeID][]ed25519.PublicKey {
	var known map[policy.NodeID][]ed25519.PublicKey
	if json.Unmarshal(stored, &known) != nil {
		return nil
	}
	for node, keys := range known {
		known[node] = slices.DeleteFunc(keys, func(k ed25519.PublicKey) bool { return len(k) != ed25519.PublicKeySize })
	}
	return known
}

// withKeys adds the keys of now to those that nodes had.
func withKeys(stored []byte, now map[policy.NodeID]cluster.Member) []byte {
	known := knownKeys(stored)
	if known == nil {
		known = map[policy.NodeID][]ed25519.PublicKey{}
	}
	for node, m := range now {
		keys := slices.DeleteFunc(known[node], func(k ed25519.PublicKey) bool { return k.Equal(m.PublicKey) })
		keys = append(keys, m.PublicKey)
		known[node] = keys[max(0, len(keys)-maxKnownKeys):]
	}
	text, err := json.Marshal(known)
	if err != nil {
		return stored // maps of octets always encode
	}
	return text
}

// adopted are entries of format 1 as this release keys them: a move's number was part of its key.
func adopted(list []policy.Entry, self policy.NodeID) []policy.Entry {
	var own []policy.Entry
	newest := map[string]policy.Entry{}
	for _, e := range list {
		if e.Stamp.Node != self {
			continue
		}
		if e.Kind != policy.KindMove {
			own = append(own, e)
			continue
		}
		i := strings.LastIndexByte(e.Key, '/')
		number, err := strconv.ParseUint(e.Key[i+1:], 10, 64)
		if i < 0 || err != nil {
			continue
		}
		e.Key, e.Rank = e.Key[:i], number
		if held, there := newest[e.Key]; !there || e.Replaces(held) {
			newest[e.Key] = e
		}
	}
	for _, e := range newest {
		own = append(own, e)
	}
	slices.SortFunc(own, func(a, b policy.Entry) int { return a.Stamp.Compare(b.Stamp) })
	return own
}

// absorb does what the replica asks for and tells the decision what it brought, until
// neither has more to say.
func (l *loop) absorb(out cluster.Out) {
	if len(out.AckDue) > 0 {
		due := out.AckDue
		l.disk.Store(out.Keep, func(err error) {
			if err == nil {
				l.acknowledge(due)
			} else {
				l.disk.Keep(out.Keep, nil, nil) // followed already, and written once that can be done
			}
		})
		l.disk.Keep(nil, out.Forget, nil)
	} else {
		l.disk.Keep(out.Keep, out.Forget, nil)
	}
	l.send(out.Send)
	for _, n := range out.Notes {
		l.noted(n)
	}
	l.readAudit(out.Audit)
	l.turnKeys(out.Merged)
	if list := slices.Concat(out.Lost, out.Merged); len(list) > 0 {
		l.step(policy.Merged(list))
		l.watchReadmission(out.Merged)
	}
	if over := decided(out.Forget); len(over) > 0 {
		l.step(policy.Forgotten(over))
	}
	if len(out.Met) > 0 {
		l.step(policy.Met(out.Met))
		l.endRefill(out.Met)
	}
	if votes := l.votes(out.Votes); len(votes) > 0 {
		l.step(policy.Heard(votes))
	}
	for _, v := range out.Reasons {
		list, err := policy.DecodeReasons(v.Value)
		if err != nil {
			l.log.Warn("the reasons of a vote can't be read", "node", v.Node, "error", err)
			continue
		}
		l.step(policy.Reasons{Node: v.Node, List: list})
	}
	l.exchangeLists(out)
	if !out.Wake.IsZero() {
		l.tick.Reset(until(out.Wake))
	}
}

// decided are the keys that the decision knows of.
func decided(keys []policy.EntryKey) []policy.EntryKey {
	return slices.DeleteFunc(slices.Clone(keys), func(k policy.EntryKey) bool { return k.Kind == policy.KindAudit })
}

func (l *loop) votes(raw []cluster.RawVote) []policy.Vote {
	list := make([]policy.Vote, 0, len(raw))
	for _, r := range raw {
		v, err := policy.DecodeVote(r.Value)
		if err != nil {
			l.log.Warn("a vote can't be read", "node", r.Node, "error", err)
			continue
		}
		v.Node, v.Incarnation, v.Counter = r.Node, r.Incarnation, r.Counter
		list = append(list, v)
	}
	return list
}

// exchangeLists answers which targets a vote is about, and takes such answers.
func (l *loop) exchangeLists(out cluster.Out) {
	for _, a := range out.ListAsks {
		digest, list := l.state.TargetList()
		if digest != a.Digest {
			continue // of a configuration that is over: the next vote names another
		}
		answer, err := l.replica.SendList(a.Node, policy.EncodeTargets(list), clock())
		if err != nil {
			l.log.Warn("the list of targets can't be sent", "node", a.Node, "error", err)
			continue
		}
		l.absorb(answer)
	}
	for _, v := range out.Lists {
		list, err := policy.DecodeTargets(v.Value)
		if err != nil {
			l.log.Warn("a list of targets can't be read", "node", v.Node, "error", err)
			continue
		}
		l.step(policy.Lists{Node: v.Node, Targets: list})
	}
}

// noted tells people what the replica wondered about.
func (l *loop) noted(n cluster.Note) {
	level := slog.LevelWarn
	if n.Kind == cluster.NoteFork || n.Kind == cluster.NoteRefused {
		level = slog.LevelError
	}
	l.log.Log(context.Background(), level, "entries", "what", n.Kind, "node", n.Node, "from", n.From, "text", n.Text)
	l.alert(n)
}

// acknowledge tells the author nodes of orders that they are on the disk here and are
// followed. It is called on the disk's goroutine.
func (l *loop) acknowledge(due []cluster.AckDue) {
	_ = l.do(context.Background(), ackRequest(due)) // the node stops: the author asks again
}

type ackRequest []cluster.AckDue

func (r ackRequest) serve(l *loop, now time.Time) {
	rev := l.revision
	for _, due := range r {
		l.absorb(l.replica.Ack(due, rev.Number, [8]byte(rev.Digest[:8]), now))
	}
}

// tellVote has other nodes told what this one votes, and why.
func (l *loop) tellVote(e policy.Effects) {
	now := clock()
	if e.Vote != nil {
		l.vote = e.Vote
		l.absorbOr("vote")(l.replica.SetVote(policy.EncodeVote(*e.Vote), now))
	}
	if e.Reasons != nil {
		l.absorbOr("reasons")(l.replica.SetReasons(policy.EncodeReasons(e.Reasons), now))
	}
	for _, a := range e.Ask {
		l.absorb(l.replica.AskList(a.Node, a.Digest, now))
	}
}

// tellEntries keeps and spreads the entries that the machine wrote.
func (l *loop) tellEntries(e policy.Effects) {
	if len(e.Store) > 0 {
		l.absorbOr("entries")(l.replica.Write(e.Store, clock()))
	}
	if len(e.Drop) > 0 {
		l.absorb(l.replica.Forget(e.Drop, clock()))
	}
}

// absorbOr is absorb of what may fail, which only too large a thing does.
func (l *loop) absorbOr(what string) func(cluster.Out, error) {
	return func(out cluster.Out, err error) {
		if err != nil {
			l.log.Error("the other nodes can't be told", "what", what, "error", err)
			return
		}
		l.absorb(out)
	}
}
