package cluster

import "crypto/sha256"

// tree holds what a replica has, by the hash of each entry's key, with the number and the sum of the entries' hashes below every
// prefix. Two replicas find what differs by comparing sums from the root down. Sums depend on what is held alone, not on
// the shape that a tree has grown into.
type tree struct{ root branch }

type branch struct {
	total
	kids  *[fan]branch
	items []item // where there are no kids
}

// total is what is compared: how many entries there are under a prefix, and the sum of their hashes.
type total struct {
	count int
	sum   uint64
}

type item struct {
	key    uint64 // hash of the entry's key: its place
	hash   uint64 // of the entry
	sealed *Sealed
}

const (
	fan      = 16
	fanBits  = 4
	maxDepth = 64 / fanBits
	leafSize = 32
)

func keyHash(s *Sealed) uint64 {
	b := make([]byte, 0, 128)
	b = append(b, s.Entry.Kind...)
	b = append(b, 0)
	b = append(b, s.Entry.Key...)
	return short(sha256.Sum256(b))
}

func itemOf(s *Sealed) item { return item{keyHash(s), short(s.hash), s} }

// prefix names a part of the tree: the first depth digits of bits.
type prefix struct {
	bits  uint64
	depth int
}

func digit(key uint64, depth int) int { return int(key>>(64-fanBits*(depth+1))) & (fan - 1) }

func (p prefix) child(i int) prefix {
	return prefix{p.bits | uint64(i)<<(64-fanBits*(p.depth+1)), p.depth + 1}
}

func (p prefix) has(key uint64) bool {
	return p.depth == 0 || (key^p.bits)>>(64-fanBits*p.depth) == 0
}

func (t *tree) add(it item) { t.root.add(it, 0) }

func (b *branch) add(it item, depth int) {
	b.count++
	b.sum += it.hash
	if b.kids != nil {
		b.kids[digit(it.key, depth)].add(it, depth+1)
		return
	}
	b.items = append(b.items, it)
	if len(b.items) > leafSize && depth < maxDepth {
		b.kids = new([fan]branch)
		for _, x := range b.items {
			b.kids[digit(x.key, depth)].add(x, depth+1)
		}
		b.items = nil
	}
}

// remove takes out an item that is there.
func (t *tree) remove(it item) {
	for b, depth := &t.root, 0; ; depth++ {
		b.count--
		b.sum -= it.hash
		if b.count == 0 {
			b.kids, b.items = nil, nil
			return
		}
		if b.kids != nil {
			b = &b.kids[digit(it.key, depth)]
			continue
		}
		for i := range b.items {
			if b.items[i].sealed == it.sealed {
				last := len(b.items) - 1
				b.items[i] = b.items[last]
				b.items[last] = item{}
				b.items = b.items[:last]
				return
			}
		}
		return
	}
}

// at is the branch that holds everything under a prefix; it may hold more.
func (t *tree) at(p prefix) *branch {
	b := &t.root
	for depth := 0; depth < p.depth && b.kids != nil; depth++ {
		b = &b.kids[digit(p.bits, depth)]
	}
	return b
}

// under calls yield for every item under a prefix until it returns false.
func (t *tree) under(p prefix) func(yield func(item) bool) {
	return func(yield func(item) bool) {
		t.at(p).walk(func(it item) bool { return !p.has(it.key) || yield(it) })
	}
}

func (b *branch) walk(yield func(item) bool) bool {
	for _, it := range b.items {
		if !yield(it) {
			return false
		}
	}
	if b.kids != nil {
		for i := range b.kids {
			if b.kids[i].count > 0 && !b.kids[i].walk(yield) {
				return false
			}
		}
	}
	return true
}

// totals are those of a prefix's children. p is not at the bottom.
func (t *tree) totals(p prefix) (out [fan]total) {
	b := &t.root
	depth := 0
	for ; depth < p.depth && b.kids != nil; depth++ {
		b = &b.kids[digit(p.bits, depth)]
	}
	if depth == p.depth && b.kids != nil {
		for i := range b.kids {
			out[i] = b.kids[i].total
		}
		return out
	}
	for it := range t.under(p) {
		d := digit(it.key, p.depth)
		out[d].count++
		out[d].sum += it.hash
	}
	return out
}
