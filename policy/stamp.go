package policy

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// maxSkew is how far ahead of the node's clock a stamp may be and still move it.
const maxSkew = time.Minute

// Compare orders stamps by clock, then by node.
func (s Stamp) Compare(o Stamp) int {
	return cmp.Or(cmp.Compare(s.Wall, o.Wall), cmp.Compare(s.Logical, o.Logical), cmp.Compare(s.Node, o.Node))
}

// Time is the clock's part of the stamp.
func (s Stamp) Time() time.Time {
	if s == (Stamp{}) {
		return time.Time{}
	}
	return time.UnixMilli(s.Wall).UTC()
}

// String is the stamp as keys name it: "WALL.LOGICAL.NODE", "0" for none.
func (s Stamp) String() string {
	if s == (Stamp{}) {
		return "0"
	}
	return fmt.Sprintf("%d.%d.%s", s.Wall, s.Logical, s.Node)
}

// ParseStamp reads what Stamp.String writes.
func ParseStamp(text string) (Stamp, error) {
	if text == "0" {
		return Stamp{}, nil
	}
	parts := strings.SplitN(text, ".", 3)
	if len(parts) != 3 {
		return Stamp{}, fmt.Errorf("stamp %q: want WALL.LOGICAL.NODE", text)
	}
	wall, err := strconv.ParseInt(parts[0], 10, 64)
	if err != nil {
		return Stamp{}, fmt.Errorf("stamp %q: %w", text, err)
	}
	logical, err := strconv.ParseUint(parts[1], 10, 32)
	if err != nil {
		return Stamp{}, fmt.Errorf("stamp %q: %w", text, err)
	}
	return Stamp{Wall: wall, Logical: uint32(logical), Node: NodeID(parts[2])}, nil
}

func (s Stamp) next(node NodeID) Stamp {
	if s.Logical == 1<<32-1 {
		return Stamp{Wall: s.Wall + 1, Node: node}
	}
	return Stamp{Wall: s.Wall, Logical: s.Logical + 1, Node: node}
}

// stamp makes the stamp of a new entry: by the clock, later than every stamp
// made or seen here, and later than the one that key has or will have, however far ahead that is.
func (s *State) stamp(key EntryKey, now time.Time) Stamp {
	st := Stamp{Wall: now.UnixMilli(), Node: s.ix.cfg.Self}
	if st.Compare(s.clock) <= 0 {
		st = s.clock.next(s.ix.cfg.Self)
	}
	s.clock = st
	for _, e := range []Stamp{s.entries[key].Stamp, s.promised[key]} {
		if st.Compare(e) <= 0 {
			st = e.next(s.ix.cfg.Self)
		}
	}
	return st
}

// promise keeps the stamps of orders that are not entries yet.
func (t *turn) promise(list []Entry) {
	for _, e := range list {
		t.see(e.Stamp, t.now)
		t.promised[e.EntryKey()] = e.Stamp
	}
}

// redeem forgets the promises of orders that are entries now.
func (t *turn) redeem(list []Entry) {
	for _, e := range list {
		if t.promised[e.EntryKey()] == e.Stamp {
			delete(t.promised, e.EntryKey())
		}
	}
}

// see moves the clock behind which no own stamp will be.
func (s *State) see(st Stamp, now time.Time) {
	if st.Compare(s.clock) > 0 && st.Wall <= now.Add(maxSkew).UnixMilli() {
		s.clock = st
	}
}
