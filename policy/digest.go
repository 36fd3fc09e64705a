package policy

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
)

// digestAnswer hashes an answer's canonical content, with the TTLs that it has when
// nothing is pending.
func digestAnswer(a *Answer, ttl uint32) [32]byte {
	h := digester{sha256.New()}
	h.text(a.Name)
	h.text(string(a.Service))
	h.flag(a.Fail)
	h.number(uint64(ttl))
	h.number(uint64(a.PickBy))
	h.number(uint64(len(a.Choices)))
	for _, c := range a.Choices {
		h.members(c.A)
		h.members(c.AAAA)
	}
	return [32]byte(h.Sum(nil))
}

func digestGroups(groups []Group) [32]byte {
	h := digester{sha256.New()}
	for _, g := range groups {
		h.text(string(g.Site))
		h.number(uint64(len(g.Prefixes)))
		for _, p := range g.Prefixes {
			h.text(p.String())
		}
	}
	return [32]byte(h.Sum(nil))
}

type digester struct{ hash.Hash }

func (h digester) number(n uint64) {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], n)
	_, _ = h.Write(b[:]) // a hash never fails
}

func (h digester) flag(f bool) {
	if f {
		h.number(1)
	} else {
		h.number(0)
	}
}

func (h digester) text(s string) {
	h.number(uint64(len(s)))
	_, _ = h.Write([]byte(s))
}

func (h digester) members(list []Member) {
	h.number(uint64(len(list)))
	for _, m := range list {
		h.text(string(m.Site))
		h.number(uint64(m.Weight))
		h.number(uint64(len(m.Addrs)))
		for _, a := range m.Addrs {
			h.text(a.String())
		}
	}
}

// xor adds a digest to a sum, or takes it out again: the sum of all answers costs
// only what changed.
func xor(sum, d [32]byte) [32]byte {
	for i := range sum {
		sum[i] ^= d[i]
	}
	return sum
}
