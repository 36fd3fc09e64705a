package dnsserver

import (
	"encoding/binary"
	"math"
	"math/bits"
	"net/netip"

	"github.com/scloudstack/pharos/policy"
)

// steered is the compiled form of one policy.Answer, at one name of one zone.
// What most answers need lies inside it, for the processor's cache.
type steered struct {
	wire    []byte       // the name
	zone    *zoneAnswers // that the name is in
	choices []choice
	turn    int32  // the number of its counters of turns
	negTTL  uint32 // of a NODATA
	fail    bool
	pickBy  policy.PickBy
	only    [1]choice // choices, where there is one

	room     [112]byte // wire, and the A records of only, where they fit
	siteRoom [4]int32
	from     *policy.Answer // nil: the name has none and fails
}

// choice is what one client group is answered with: A, then AAAA.
type choice [2]family

// family is one choice's A or AAAA records.
type family struct {
	records []byte  // those of all members, the owner being a pointer to the question
	sites   []int32 // numbers of the counters of each record's site
	size    int     // octets of a record
	total   uint64  // of weights; 0: all members together
	members []member
	stride  uint64
}

// member is a run of records that one answer is made of.
type member struct {
	first, count int
	upTo         uint64 // sum of the weights up to here
	weight       float64
	key          uint64 // its name in the draw by client
}

const toQuestion = 0xC000 | headerLen // a compression pointer to the question's name

// pickKey is the client's side of a pick.
type pickKey struct {
	id     uint16
	client netip.Addr // only where wantsClient
}

// compileSteered makes the Answer of a name ready.
func compileSteered(wire []byte, zone *zoneAnswers, a *policy.Answer, c *counters) *steered {
	s := &steered{wire: wire, zone: zone, from: a, fail: true, negTTL: zone.negTTL}
	if a != nil {
		s.fail, s.negTTL, s.pickBy, s.turn = a.Fail || len(a.Choices) == 0, min(a.NegTTL, zone.negTTL), a.PickBy, c.turn(wire)
		if s.choices = s.only[:]; len(a.Choices) != 1 {
			s.choices = make([]choice, len(a.Choices))
		}
		for i := range a.Choices {
			s.choices[i][dns4].compile(a, a.Choices[i].A, dns4, c)
			s.choices[i][dns6].compile(a, a.Choices[i].AAAA, dns6, c)
		}
	}
	s.gather()
	return s
}

// gather moves in what has room.
func (s *steered) gather() {
	room := s.room[:0:len(s.room)]
	move := func(b *[]byte) {
		if at := len(room); at+len(*b) <= cap(room) {
			room = append(room, *b...)
			*b = room[at:len(room):len(room)]
		}
	}
	f := &s.only[0][dns4]
	move(&s.wire)
	move(&f.records)
	if len(f.sites) <= len(s.siteRoom) {
		f.sites = s.siteRoom[:copy(s.siteRoom[:], f.sites)]
	}
}

// The two families, as indexes.
const (
	dns4 = 0
	dns6 = 1
)

var familyType = [2]uint16{1, 28}

func (f *family) compile(a *policy.Answer, members []policy.Member, fam int, c *counters) {
	addrLen := 4 + 12*fam
	f.size = 12 + addrLen
	seen := map[netip.Addr]bool{}
	for _, m := range members {
		f.total += uint64(m.Weight)
	}
	for _, m := range members {
		if f.total > 0 {
			if m.Weight == 0 {
				continue
			}
			clear(seen)
		}
		first := len(f.sites)
		for _, addr := range m.Addrs {
			if seen[addr] || addr.Is4() != (fam == dns4) {
				continue
			}
			seen[addr] = true
			f.records = binary.BigEndian.AppendUint16(f.records, toQuestion)
			f.records = binary.BigEndian.AppendUint16(f.records, familyType[fam])
			f.records = binary.BigEndian.AppendUint16(f.records, 1)
			f.records = binary.BigEndian.AppendUint32(f.records, a.TTL)
			f.records = binary.BigEndian.AppendUint16(f.records, uint16(addrLen))
			f.records = append(f.records, addr.AsSlice()...)
			f.sites = append(f.sites, c.site(a.Service, m.Site))
		}
		if f.total == 0 {
			continue
		}
		upTo := uint64(m.Weight)
		if n := len(f.members); n > 0 {
			upTo += f.members[n-1].upTo
		}
		f.members = append(f.members, member{first, len(f.sites) - first, upTo, float64(m.Weight), memberKey(m)})
	}
	if f.total == 0 {
		return
	}
	// The golden section spreads picks, and a stride that shares no factor with
	// the total visits each position once in a round: exact, without bursts.
	for f.stride = max(1, uint64(float64(f.total)*0.6180339887)); gcd(f.stride, f.total) != 1; f.stride++ {
	}
}

func gcd(a, b uint64) uint64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// memberKey names a member in the draw by client: by its site, so that both
// families agree, else by its first address. It is the same on every node.
func memberKey(m policy.Member) uint64 {
	h := uint64(mulB)
	add := func(b byte) { h = mix(h^uint64(b), mulA) }
	for i := range len(m.Site) {
		add(m.Site[i])
	}
	if m.Site == "" && len(m.Addrs) > 0 {
		for _, b := range m.Addrs[0].AsSlice() {
			add(b)
		}
	}
	return h
}

// choice returns what a client group is answered with.
func (s *steered) choice(group int) *choice {
	if group >= len(s.choices) {
		group = 0
	}
	return &s.choices[group]
}

// grouped says whether the answer depends on the client's group.
func (s *steered) grouped() bool { return len(s.choices) > 1 }

// wantsClient says whether the answer depends on the client's address.
func (s *steered) wantsClient() bool { return s.grouped() || s.pickBy == policy.PickByClient }

// selection is a run of records and where in it the answer begins.
type selection struct{ first, count, rotate int }

// pick chooses for one answer. It counts.
func (s *steered) pick(group, fam int, k pickKey, l *lane) (*family, selection) {
	f := &s.choice(group)[fam]
	if f.total == 0 && len(f.sites) < 2 {
		if len(f.sites) == 1 {
			l.sites.add(f.sites[0])
		}
		return f, selection{count: len(f.sites)}
	}
	turn := l.turns.add(2*s.turn+int32(fam)) - 1
	sel, rotate := selection{count: len(f.sites)}, turn
	if f.total > 0 {
		m := f.weighted(s.pickBy, turn, k)
		sel = selection{first: m.first, count: m.count}
		if s.pickBy == policy.PickByTurn {
			rotate = turn / f.total // the run of one member's records turns once a round
		}
	}
	if sel.count > 0 {
		sel.rotate = int(rotate % uint64(sel.count))
		l.sites.add(f.sites[sel.first+sel.rotate])
	}
	return f, sel
}

func (f *family) weighted(by policy.PickBy, turn uint64, k pickKey) *member {
	var at uint64
	switch by {
	case policy.PickByClient:
		return f.draw(k.client)
	case policy.PickByQueryID:
		hi, lo := bits.Mul64(uint64(k.id), f.total)
		at = hi<<48 | lo>>16
	default:
		hi, lo := bits.Mul64(turn%f.total, f.stride)
		at = bits.Rem64(hi, lo, f.total)
	}
	for i := range f.members {
		if at < f.members[i].upTo {
			return &f.members[i]
		}
	}
	return &f.members[len(f.members)-1]
}

// draw is a weighted rendezvous: every member draws a lot for the client, and
// when one leaves, only its own clients go elsewhere. It depends on nothing but
// the client's network (all of an IPv4 address, the first 64 bits of an IPv6
// one) and the members, so all nodes agree.
func (f *family) draw(client netip.Addr) *member {
	k := keyOf(client)
	if !client.Is4() {
		k.lo = 1
	}
	h := mix(k.hi^mulA, mulB) + k.lo
	best, lot := 0, math.Inf(1)
	for i := range f.members {
		m := &f.members[i]
		u := (float64(mix(h^m.key, mulA)>>11) + 0.5) / (1 << 53)
		if l := -math.Log(u) / m.weight; l < lot {
			best, lot = i, l
		}
	}
	return &f.members[best]
}

// append writes the records selected, rotated, with owner as their name, and
// returns b unchanged if they would take it past limit.
func (f *family) append(b []byte, s selection, owner uint16, limit int) ([]byte, bool) {
	if len(b)+s.count*f.size > limit {
		return b, false
	}
	run := f.records[s.first*f.size : (s.first+s.count)*f.size]
	at := len(b)
	b = append(append(b, run[s.rotate*f.size:]...), run[:s.rotate*f.size]...)
	if owner != toQuestion {
		for ; at < len(b); at += f.size {
			binary.BigEndian.PutUint16(b[at:], owner)
		}
	}
	return b, true
}
