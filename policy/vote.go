package policy

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Vote is what one node holds true of all targets, and how it stands itself. Node, Incarnation
// and Counter travel beside the encoding: the cluster signs them with it.
type Vote struct {
	Node                 NodeID
	Incarnation, Counter uint64
	List                 [32]byte // digest of the target list that States follows, see ListDigest
	States               States
	Suspect              bool      // it suspects itself and abstains
	Held                 bool      // its start is held: it serves nothing
	Decides              bool      // it hears a majority of the electorate's sites and may make moves
	Mute                 bool      // it can tell no receiver of alarms: another sends them
	Unheld               time.Time // when its last hold ended; zero: it was never held
	Revision             uint64
	Digest               [8]byte // of what it answers
	Config, Zones        [8]byte // digests of what is deployed to it; zero: not told
}

// States are the states of a list of targets, two bits each, by their place in the list.
type States []byte

// unsure is the fourth state in a vote: probed, and neither up nor down. It counts as unknown,
// save that what a site requires is then known not to be up.
const unsure HealthState = 3

func newStates(n int) States { return make(States, (n+3)/4) }

// At is the state of one target; a place beyond the list is unknown.
func (s States) At(place int) HealthState {
	if v := s.raw(place); v != unsure {
		return v
	}
	return Unknown
}

func (s States) raw(place int) HealthState {
	if place < 0 || place/4 >= len(s) {
		return Unknown
	}
	return HealthState(s[place/4] >> (place % 4 * 2) & 3)
}

func (s States) set(place int, v HealthState) {
	at := place % 4 * 2
	s[place/4] = s[place/4]&^(3<<at) | byte(v)<<at
}

// ListDigest names a list of targets in order.
func ListDigest(list []TargetID) [32]byte {
	h := digester{sha256.New()}
	for _, id := range list {
		h.text(string(id))
	}
	return [32]byte(h.Sum(nil))
}

// A vote is encoded as
//
//	octet    version, 1
//	octets   2: length of the header that follows
//	header   flags (1 suspect, 2 held, 4 decides, 8 mute); list digest (32); unheld in ms since 1970, 0 for
//	         never (8); revision (8); digest (8); config (8); zones (8)
//	octets   4: number of octets of states, then these
//
// in big endian. A later release may append to the header, which an earlier one skips.
const (
	voteVersion = 1
	voteHeader  = 1 + 32 + 8 + 8 + 8 + 8 + 8
	maxStates   = 1 << 16 // octets: 262,144 targets
)

// EncodeVote writes a vote without its node, incarnation and counter.
func EncodeVote(v Vote) []byte {
	b := make([]byte, 0, 7+voteHeader+len(v.States))
	b = append(b, voteVersion)
	b = binary.BigEndian.AppendUint16(b, voteHeader)
	var flags byte
	for i, set := range []bool{v.Suspect, v.Held, v.Decides, v.Mute} {
		if set {
			flags |= 1 << i
		}
	}
	b = append(append(b, flags), v.List[:]...)
	var unheld uint64
	if !v.Unheld.IsZero() {
		unheld = uint64(v.Unheld.UnixMilli())
	}
	b = binary.BigEndian.AppendUint64(b, unheld)
	b = binary.BigEndian.AppendUint64(b, v.Revision)
	b = append(append(append(b, v.Digest[:]...), v.Config[:]...), v.Zones[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(v.States)))
	return append(b, v.States...)
}

// DecodeVote reads what EncodeVote writes. The states share data's memory.
func DecodeVote(data []byte) (Vote, error) {
	if len(data) < 3 {
		return Vote{}, errors.New("vote: cut off")
	}
	if data[0] != voteVersion {
		return Vote{}, fmt.Errorf("vote: found version %d, expected %d", data[0], voteVersion)
	}
	n := int(binary.BigEndian.Uint16(data[1:]))
	data = data[3:]
	if n < voteHeader || len(data) < n+4 {
		return Vote{}, fmt.Errorf("vote: found a header of %d octets in %d, expected at least %d", n, len(data), voteHeader)
	}
	h, rest := data[:n], data[n:]
	v := Vote{
		Suspect: h[0]&1 != 0, Held: h[0]&2 != 0, Decides: h[0]&4 != 0, Mute: h[0]&8 != 0,
		List: [32]byte(h[1:]), Revision: binary.BigEndian.Uint64(h[41:]),
		Digest: [8]byte(h[49:]), Config: [8]byte(h[57:]), Zones: [8]byte(h[65:]),
	}
	if unheld, ok := cutMillis(h[33:]); !ok {
		return Vote{}, errors.New("vote: its last hold ended beyond the years 1 to 9999")
	} else if unheld.UnixMilli() != 0 {
		v.Unheld = unheld
	}
	states := rest[4:]
	if size := binary.BigEndian.Uint32(rest); int(size) != len(states) || size > maxStates {
		return Vote{}, fmt.Errorf("vote: found %d octets of states, expected %d, and %d at most", len(states), size, maxStates)
	}
	v.States = States(states)
	return v, nil
}

// Reason is the evidence of one state in a vote.
type Reason struct {
	Target TargetID    `json:"target"`
	State  HealthState `json:"state"`
	Text   string      `json:"text"`
	Since  time.Time   `json:"since"`
}

// Reasons are bounded: they are evidence for people, and decide nothing.
const (
	maxReasons    = 64
	maxReasonText = 200
	maxReasonName = 255
	maxUpReasons  = 32
	reasonsWithUp = 1000 // octets up to which the reasons of what is up go along, so that all fit a datagram
)

// EncodeReasons writes the evidence of a vote: version (1), number of reasons (1), and of each its
// state (1), target and text (a length and octets), and ms since 1970 (8).
func EncodeReasons(list []Reason) []byte {
	list = list[:min(len(list), maxReasons)]
	b := []byte{1, byte(len(list))}
	for _, r := range list {
		b = appendText(append(b, byte(r.State)), string(r.Target), maxReasonName)
		b = appendText(b, r.Text, maxReasonText)
		b = binary.BigEndian.AppendUint64(b, uint64(r.Since.UnixMilli()))
	}
	return b
}

func appendText(b []byte, text string, most int) []byte {
	text = text[:min(len(text), most)]
	return append(append(b, byte(len(text))), text...)
}

// DecodeReasons reads what EncodeReasons writes.
func DecodeReasons(data []byte) ([]Reason, error) {
	if len(data) < 2 || data[0] != 1 || data[1] > maxReasons {
		return nil, errors.New("reasons: cut off, of another version, or too many")
	}
	list, data := make([]Reason, 0, data[1]), data[1:]
	for n := int(data[0]); n > 0; n-- {
		if len(data) < 2 || HealthState(data[1]) != Up && HealthState(data[1]) != Down {
			return nil, errors.New("reasons: cut off, or of a state that is none")
		}
		r := Reason{State: HealthState(data[1])}
		target, rest, ok := cutText(data[2:])
		text, rest, ok2 := cutText(rest)
		if !ok || !ok2 || len(rest) < 8 || len(text) > maxReasonText {
			return nil, errors.New("reasons: cut off")
		}
		r.Target, r.Text = TargetID(target), text
		if r.Since, ok = cutMillis(rest); !ok {
			return nil, errors.New("reasons: a time beyond the years 1 to 9999")
		}
		list, data = append(list, r), rest[7:]
	}
	if len(data) != 1 {
		return nil, errors.New("reasons: more follows than their number says")
	}
	return list, nil
}

func cutText(b []byte) (string, []byte, bool) {
	if len(b) == 0 || len(b) < 1+int(b[0]) {
		return "", nil, false
	}
	n := 1 + int(b[0])
	return string(b[1:n]), b[n:], true
}

// The first and the last time that JSON can tell, the years 1 and 9999, in ms since 1970.
const (
	minMillis = -62135596800000
	maxMillis = 253402300799999
)

// cutMillis reads a time in ms since 1970.
func cutMillis(b []byte) (time.Time, bool) {
	ms := int64(binary.BigEndian.Uint64(b))
	return time.UnixMilli(ms).UTC(), ms >= minMillis && ms <= maxMillis
}

// EncodeTargets writes a target list: of each target its length (2) and octets, in big endian.
func EncodeTargets(list []TargetID) []byte {
	var b []byte
	for _, id := range list {
		b = binary.BigEndian.AppendUint16(b, uint16(len(id)))
		b = append(b, id...)
	}
	return b
}

// DecodeTargets reads what EncodeTargets writes.
func DecodeTargets(b []byte) ([]TargetID, error) {
	var list []TargetID
	for len(b) > 0 {
		if len(b) < 2 || len(b)-2 < int(binary.BigEndian.Uint16(b)) {
			return nil, errors.New("target list: cut off")
		}
		n := int(binary.BigEndian.Uint16(b))
		list = append(list, TargetID(b[2:2+n]))
		b = b[2+n:]
	}
	return list, nil
}

// sendVote has the own vote sent where it says something new, and its evidence after it. A revision
// that differs from the last by lowered TTLs alone waits for the next vote.
func (t *turn) sendVote() {
	if len(t.ix.nodes) < 2 || t.ix.self < 0 {
		return
	}
	v := Vote{
		Node: t.ix.cfg.Self, List: t.ix.list, Suspect: !t.suspect.IsZero(), Held: t.hold != nil, Decides: t.decides(), Mute: t.mute.Is, Unheld: t.unheld(),
		Digest: [8]byte(t.rev.Digest[:8]), Config: t.ix.cfg.Digest, Zones: t.zones,
	}
	last := t.sent
	if !t.voteMoved && v.List == last.List && v.Suspect == last.Suspect && v.Held == last.Held && v.Decides == last.Decides && v.Mute == last.Mute &&
		v.Unheld.Equal(last.Unheld) && v.Digest == last.Digest && v.Config == last.Config && v.Zones == last.Zones {
		return
	}
	own := t.peers[t.ix.self].states
	t.sent = v
	v.Revision, v.States = t.rev.Number, slices.Clone(own)
	t.fx.Vote = &v
	if t.voteMoved || v.List != last.List {
		t.fx.Reasons = t.ownReasons()
	}
}

// ownReasons is the evidence of what this node votes down, the newest first, and then of what it votes up as far as it is short.
func (t *turn) ownReasons() []Reason {
	list, ups := []Reason{}, []Reason{}
	newest := func(a, b Reason) int { return cmp.Or(b.Since.Compare(a.Since), cmp.Compare(a.Target, b.Target)) }
	for i := range t.targets {
		tg := &t.targets[i]
		r := Reason{t.ix.targets[i].ID, tg.state, tg.reason, tg.since}
		switch {
		case tg.state == Down:
			list = append(list, r)
		case tg.state == Up && t.here[i] && (len(ups) < maxUpReasons || newest(r, ups[len(ups)-1]) < 0):
			at, _ := slices.BinarySearchFunc(ups, r, newest)
			ups = slices.Insert(ups, at, r)
			ups = ups[:min(len(ups), maxUpReasons)]
		}
	}
	slices.SortFunc(list, newest)
	list = list[:min(len(list), maxReasons)]
	for _, r := range ups[:min(len(ups), maxReasons-len(list))] {
		if len(EncodeReasons(append(list, r))) > reasonsWithUp {
			break
		}
		list = append(list, r)
	}
	return list
}
