package cluster

// turn is one side's word in an exchange. The initiator speaks in even steps, the other in odd ones; each answers all that
// the other's last turn asked, so an exchange has ended when both say that nothing is left.
//
//	mine (8) · yours (8) · step (uvarint) · flags (1) · held: count (uvarint), sum (8) ·
//	sums: count, each prefix, 16 × {count (uvarint), sum (8) if count > 0} ·
//	lists: count, each prefix, pairs (count, each key hash (8), entry hash (8)) ·
//	want: count, each key hash (8) · all: count, each prefix · collected: count, each entry hash (8) · entries: count, each sealed
//
// A prefix is its depth (1) and its digits (8).
type turn struct {
	mine, yours uint64 // a number that each side drew, so that an old packet is known as one
	step        uint64
	end         bool  // nothing to ask or to give
	partial     bool  // more differs than was looked at: exchange again
	held        total // all that the sender holds

	sums      []sums    // this is what I hold below these prefixes
	lists     []list    // these are the entries that I hold under these prefixes
	want      []uint64  // give me the entries of these keys
	all       []prefix  // give me everything under these
	collected []uint64  // these tombstones went, since every node held them
	entries   []*Sealed // here
	size      int       // octets of entries
}

type sums struct {
	at   prefix
	kids [fan]total
}

type list struct {
	at    prefix
	pairs []pair
}

type pair struct{ key, hash uint64 }

const (
	turnEnd = 1 << iota
	turnPartial
)

const (
	maxTurnSums  = 2048
	maxTurnList  = 4096
	maxTurnWant  = 65536
	maxTurnBytes = 512 << 10 // of entries, save for one that is larger by itself
	maxUnasked   = 64        // entries that are given without being asked for
	listBelow    = 64        // entries on both sides, up to which they are listed instead of summed
)

func (t *turn) empty() bool {
	return len(t.sums)+len(t.lists)+len(t.want)+len(t.all)+len(t.collected)+len(t.entries) == 0
}

func (t *turn) append(b []byte) []byte {
	b = putU64(b, t.mine)
	b = putU64(b, t.yours)
	b = putUvarint(b, t.step)
	b = append(b, bit(t.end)*turnEnd|bit(t.partial)*turnPartial)
	b = putUvarint(b, uint64(t.held.count))
	b = putU64(b, t.held.sum)
	b = putUvarint(b, uint64(len(t.sums)))
	for _, s := range t.sums {
		b = putPrefix(b, s.at)
		for _, k := range s.kids {
			if b = putUvarint(b, uint64(k.count)); k.count > 0 {
				b = putU64(b, k.sum)
			}
		}
	}
	b = putUvarint(b, uint64(len(t.lists)))
	for _, l := range t.lists {
		b = putPrefix(b, l.at)
		b = putUvarint(b, uint64(len(l.pairs)))
		for _, p := range l.pairs {
			b = putU64(putU64(b, p.key), p.hash)
		}
	}
	b = putHashes(b, t.want)
	b = putUvarint(b, uint64(len(t.all)))
	for _, p := range t.all {
		b = putPrefix(b, p)
	}
	b = putHashes(b, t.collected)
	b = putUvarint(b, uint64(len(t.entries)))
	for _, s := range t.entries {
		b = s.append(b)
	}
	return b
}

func putPrefix(b []byte, p prefix) []byte { return putU64(append(b, uint8(p.depth)), p.bits) }

func putHashes(b []byte, list []uint64) []byte {
	b = putUvarint(b, uint64(len(list)))
	for _, h := range list {
		b = putU64(b, h)
	}
	return b
}

func readTurn(r *reader) (t turn) {
	t.mine, t.yours = r.u64("nonce"), r.u64("nonce")
	t.step = r.uvarint(1<<32, "step")
	flags := r.u8("flags")
	t.end, t.partial = flags&turnEnd != 0, flags&turnPartial != 0
	t.held = total{int(r.uvarint(1<<40, "entries held")), r.u64("sum")}
	for n := r.count(maxTurnSums, 9+fan, "sums"); n > 0 && r.err == nil; n-- {
		s := sums{at: readPrefix(r)}
		if s.at.depth == maxDepth {
			r.fail("sums below the deepest prefix")
		}
		for i := range s.kids {
			if s.kids[i].count = int(r.uvarint(1<<40, "entries")); s.kids[i].count > 0 {
				s.kids[i].sum = r.u64("sum")
			}
		}
		t.sums = append(t.sums, s)
	}
	for n := r.count(maxTurnList, 10, "lists"); n > 0 && r.err == nil; n-- {
		l := list{at: readPrefix(r)}
		for n := r.count(maxTurnWant, 16, "pairs"); n > 0; n-- {
			l.pairs = append(l.pairs, pair{r.u64("key hash"), r.u64("entry hash")})
		}
		t.lists = append(t.lists, l)
	}
	t.want = readHashes(r, "wanted keys")
	for n := r.count(maxTurnList, 9, "prefixes"); n > 0 && r.err == nil; n-- {
		t.all = append(t.all, readPrefix(r))
	}
	t.collected = readHashes(r, "collected tombstones")
	for n := r.count(maxPacket, 64, "entries"); n > 0 && r.err == nil; n-- {
		t.entries = append(t.entries, readSealed(r))
	}
	return t
}

func readPrefix(r *reader) (p prefix) {
	if p.depth = int(r.u8("depth")); p.depth > maxDepth {
		r.fail("depth %d, %d at most expected", p.depth, maxDepth)
	}
	p.bits = r.u64("prefix")
	return p
}

func readHashes(r *reader, what string) (out []uint64) {
	for n := r.count(maxTurnWant, 8, what); n > 0; n-- {
		out = append(out, r.u64(what))
	}
	return out
}

// answer finds what is to be said to a peer's turn: what differs is looked at more closely, or given, or asked for.
func (r *Replica) answer(in *turn) (out turn) {
	for _, s := range in.sums {
		r.answerSums(s, &out)
	}
	for _, l := range in.lists {
		r.answerList(l, &out)
	}
	for _, key := range in.want {
		p := prefix{key, maxDepth}
		for it := range r.tree.under(p) {
			r.give(it, &out)
		}
	}
	for _, p := range in.all {
		r.giveAll(p, &out)
	}
	for _, s := range in.entries {
		if r.collected.has(short(s.hash)) {
			out.collected = append(out.collected, short(s.hash))
		}
	}
	return out
}

func (r *Replica) answerSums(theirs sums, out *turn) {
	mine := r.tree.totals(theirs.at)
	for i, kid := range theirs.kids {
		p := theirs.at.child(i)
		switch {
		case kid == mine[i]:
		case kid.count == 0 && len(out.entries)+mine[i].count <= maxUnasked:
			r.giveAll(p, out)
		case kid.count+mine[i].count <= listBelow || p.depth == maxDepth:
			r.list(p, out)
		case mine[i].count == 0:
			if len(out.all) < maxTurnList {
				out.all = append(out.all, p)
			} else {
				out.partial = true
			}
		default:
			r.sum(p, out)
		}
	}
}

// answerList gives what the peer lacks under a prefix, and asks for what is lacking here.
func (r *Replica) answerList(theirs list, out *turn) {
	has := make(map[pair]bool, len(theirs.pairs))
	for _, p := range theirs.pairs {
		has[p] = true
	}
	for it := range r.tree.under(theirs.at) {
		p := pair{it.key, it.hash}
		switch {
		case has[p]:
		case len(out.entries) < maxUnasked:
			r.give(it, out)
		default:
			r.name(it, out)
		}
		delete(has, p)
	}
	for _, p := range theirs.pairs {
		switch {
		case !has[p]:
		case r.collected.has(p.hash):
			out.collected = append(out.collected, p.hash)
		case r.unwanted.has(p.hash):
		case len(out.want) < maxTurnWant:
			out.want = append(out.want, p.key)
		default:
			out.partial = true
		}
	}
}

func (r *Replica) sum(p prefix, out *turn) {
	if len(out.sums) == maxTurnSums {
		out.partial = true
		return
	}
	out.sums = append(out.sums, sums{p, r.tree.totals(p)})
}

// list lists what is held under a prefix, and what is not wanted, so that it is not sent again.
func (r *Replica) list(p prefix, out *turn) {
	if len(out.lists) == maxTurnList {
		out.partial = true
		return
	}
	l := list{at: p}
	for it := range r.tree.under(p) {
		l.pairs = append(l.pairs, pair{it.key, it.hash})
	}
	l.pairs = append(l.pairs, r.unwanted.under(p)...)
	if len(l.pairs) > maxTurnWant {
		out.partial = true
		return
	}
	out.lists = append(out.lists, l)
}

// give puts an entry into a turn. One that has no room is named instead, so that the peer asks for it.
func (r *Replica) give(it item, out *turn) {
	if out.size >= maxTurnBytes {
		r.name(it, out)
		return
	}
	s := r.vouched(it.sealed)
	out.entries = append(out.entries, s)
	out.size += len(s.leaf) + len(s.path) + 160
}

// name tells of an entry, so that a peer that lacks it asks for it.
func (r *Replica) name(it item, out *turn) {
	if len(out.lists) == maxTurnList {
		out.partial = true
		return
	}
	out.lists = append(out.lists, list{prefix{it.key, maxDepth}, []pair{{it.key, it.hash}}})
}

// asksMuch says whether a turn asks for so much that it should not be asked of several peers at once.
func (t *turn) asksMuch() bool { return len(t.all) > 0 || len(t.want) > maxUnasked }

// giveAll gives everything under a prefix; where there is no room, its sums, so that the peer asks for what it still lacks.
func (r *Replica) giveAll(p prefix, out *turn) {
	if out.size >= maxTurnBytes && p.depth < maxDepth {
		r.sum(p, out)
		return
	}
	if p.depth < maxDepth && r.tree.at(p).count > listBelow {
		for i, kid := range r.tree.totals(p) {
			if kid.count > 0 {
				r.giveAll(p.child(i), out)
			}
		}
		return
	}
	for it := range r.tree.under(p) {
		r.give(it, out)
	}
}
