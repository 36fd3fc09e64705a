package zones

import "bytes"

// Walk calls f with every owner name in canonical order (RFC 4034 §6.1), empty
// non-terminals and occluded names too, until f returns false. Static
// addresses of steered names are left out. owner and sets are only valid
// during the call; the rdata that sets point to stays.
func (z *Zone) Walk(f func(owner []byte, sets []RRset, flags NodeFlags) bool) {
	var (
		sets  []RRset
		key   []byte
		owner []byte
		extra [][]byte // names that only the overlay has
	)
	if z.overlay != nil {
		extra = z.overlay.keys
	}
	// visitExtra shows the overlay's own names before a key, or all the rest.
	visitExtra := func(before []byte, rest bool) bool {
		for len(extra) > 0 && (rest || bytes.Compare(extra[0], before) < 0) {
			owner = appendRel(owner[:0], extra[0])
			s, _ := z.spot(owner)
			if isWildcard(owner) {
				s.flags |= FlagWildcard
			}
			owner = append(owner, z.apex...)
			extra = extra[1:]
			if !f(owner, nil, s.flags) {
				return false
			}
		}
		return true
	}
	for d := z.data; len(d) > 0; {
		n := nodeAt(d, 0)
		flags := n.flags
		if z.overlay != nil {
			key = appendKey(key[:0], n.rel)
			if !visitExtra(key, false) {
				return
			}
			if z.overlay.names[string(n.rel)] {
				flags = flags&^FlagEmpty | FlagSteered
			}
		}
		owner = append(append(owner[:0], n.rel...), z.apex...)
		sets = sets[:0]
		d = n.data
		for range n.sets {
			var s RRset
			s, d = readSet(d)
			if s.Owner = owner; flags&FlagSteered == 0 || !isAddress(s.Type) {
				sets = append(sets, s)
			}
		}
		if !f(owner, sets, flags) {
			return
		}
	}
	visitExtra(nil, true)
}
