package dnsserver

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/scloudstack/pharos/policy"
)

// classifier maps an address to the client group with the longest matching
// prefix: disjoint ranges, found by binary search.
type classifier struct{ v4, v6 ranges }

// ranges says, for each family, that group[i] begins at start[i] and ends
// before start[i+1].
type ranges struct {
	start []key
	group []uint16
}

// key is an address as a number; an IPv4 address is its uppermost 32 bits.
type key struct{ hi, lo uint64 }

func keyOf(a netip.Addr) key {
	if a.Is4() {
		b := a.As4()
		return key{hi: uint64(binary.BigEndian.Uint32(b[:])) << 32}
	}
	b := a.As16()
	return key{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

func (k key) compare(o key) int {
	return cmp.Or(cmp.Compare(k.hi, o.hi), cmp.Compare(k.lo, o.lo))
}

func (k key) next() key {
	if k.lo++; k.lo == 0 {
		k.hi++
	}
	return k
}

// block returns the first and the last key that share n bits with k.
func (k key) block(n int) (first, last key) {
	hi, lo := ^uint64(0), ^uint64(0)
	if n < 64 {
		hi, lo = ^(hi >> n), 0
	} else {
		lo = ^(lo >> (n - 64))
	}
	first = key{k.hi & hi, k.lo & lo}
	return first, key{first.hi | ^hi, first.lo | ^lo}
}

func newClassifier(groups []policy.Group) *classifier {
	type prefix struct {
		first, last key
		bits        int
		group       uint16
	}
	var v4, v6 []prefix
	for i, g := range groups {
		for _, p := range g.Prefixes {
			k := keyOf(p.Addr())
			first, last := k.block(p.Bits())
			q := prefix{first, last, p.Bits(), uint16(i + 1)}
			if p.Addr().Is4() {
				v4 = append(v4, q)
			} else {
				v6 = append(v6, q)
			}
		}
	}
	build := func(ps []prefix) ranges {
		// Of one prefix in two groups the first stays, being met last.
		slices.SortFunc(ps, func(a, b prefix) int {
			return cmp.Or(a.first.compare(b.first), cmp.Compare(a.bits, b.bits), cmp.Compare(b.group, a.group))
		})
		r := ranges{start: []key{{}}, group: []uint16{0}}
		var open []prefix
		closeBefore := func(at key, all bool) {
			for len(open) > 0 && (all || open[len(open)-1].last.compare(at) < 0) {
				last := open[len(open)-1].last
				open = open[:len(open)-1]
				if last == (key{^uint64(0), ^uint64(0)}) {
					continue
				}
				group := uint16(0)
				if len(open) > 0 {
					group = open[len(open)-1].group
				}
				r.add(last.next(), group)
			}
		}
		for _, p := range ps {
			closeBefore(p.first, false)
			open = append(open, p)
			r.add(p.first, p.group)
		}
		closeBefore(key{}, true)
		return r
	}
	return &classifier{v4: build(v4), v6: build(v6)}
}

// add lets a group begin at a key that is not before the last one.
func (r *ranges) add(at key, group uint16) {
	n := len(r.start)
	if r.start[n-1] == at {
		r.group[n-1] = group
		if n > 1 && r.group[n-2] == group {
			r.start, r.group = r.start[:n-1], r.group[:n-1]
		}
	} else if r.group[n-1] != group {
		r.start, r.group = append(r.start, at), append(r.group, group)
	}
}

func (r *ranges) find(k key) int {
	lo, hi := 0, len(r.start)
	for hi-lo > 1 {
		mid := int(uint(lo+hi) >> 1)
		if s := &r.start[mid]; k.hi < s.hi || k.hi == s.hi && k.lo < s.lo {
			hi = mid
		} else {
			lo = mid
		}
	}
	return lo
}

// group returns the group of an address, 0 for that of no group.
func (c *classifier) group(a netip.Addr) int {
	if a.Is4() {
		return int(c.v4.group[c.v4.find(keyOf(a))])
	}
	return int(c.v6.group[c.v6.find(keyOf(a))])
}

// scope returns the group of an address and the length of the shortest prefix
// around it that is of this group as a whole.
func (c *classifier) scope(a netip.Addr) (group, bits int) {
	r := &c.v6
	if a.Is4() {
		r = &c.v4
	}
	k := keyOf(a)
	i := r.find(k)
	for bits = 0; bits < a.BitLen(); bits++ {
		first, last := k.block(bits)
		if first.compare(r.start[i]) >= 0 && (i+1 == len(r.start) || last.compare(r.start[i+1]) < 0) {
			break
		}
	}
	return int(r.group[i]), bits
}
