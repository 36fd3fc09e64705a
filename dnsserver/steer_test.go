package dnsserver

import (
	"encoding/binary"
	"fmt"
	"math"
	"net/netip"
	"testing"

	"pgregory.net/rapid"

	"github.com/scloudstack/pharos/policy"
)

// picker picks on a lane of its own.
type picker struct {
	*steered
	lane     *lane
	counters *counters
}

func pickerOf(a *policy.Answer) picker {
	c := newCounters(1)
	return picker{compileSteered([]byte("\x01s\x00"), &zoneAnswers{}, a, c), &c.lanes[0], c}
}

// sitesPicked asks n times and counts the sites of the first address.
func sitesPicked(s picker, n int, key func(i int) pickKey) map[string]int {
	got := map[string]int{}
	for i := range n {
		f, sel := s.pick(0, dns4, key(i), s.lane)
		b, _ := f.append(nil, sel, toQuestion, maxMessage)
		got[netip.AddrFrom4([4]byte(b[12:16])).String()]++
	}
	return got
}

func weighted(by policy.PickBy, weights ...uint32) *policy.Answer {
	a := &policy.Answer{Service: "s", TTL: 10, PickBy: by, Choices: make([]policy.Choice, 1)}
	for i, w := range weights {
		addr := netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})
		m := policy.Member{Site: policy.SiteID(fmt.Sprint("site", i)), Weight: w, Addrs: []netip.Addr{addr}}
		a.Choices[0].A = append(a.Choices[0].A, m)
	}
	return a
}

// TestWeightsAreExact: in each round of as many answers as the weights sum up
// to, every member is picked as often as its weight, from any turn on.
func TestWeightsAreExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		weights := rapid.SliceOfN(rapid.Uint32Range(0, 50), 1, 6).Draw(t, "weights")
		weights[0]++ // one at least
		s := pickerOf(weighted(policy.PickByTurn, weights...))
		total := 0
		for _, w := range weights {
			total += int(w)
		}
		skip := rapid.IntRange(0, 100).Draw(t, "skip")
		sitesPicked(s, skip, func(int) pickKey { return pickKey{} })
		got := sitesPicked(s, total, func(int) pickKey { return pickKey{} })
		for i, w := range weights {
			if n := got[fmt.Sprint("192.0.2.", i)]; n != int(w) {
				t.Fatalf("member %d of %v: picked %d times", i, weights, n)
			}
		}
	})
}

func TestWeightsDoNotBurst(t *testing.T) {
	s := pickerOf(weighted(policy.PickByTurn, 50, 50))
	run, last := 0, ""
	for i := range 200 {
		for a := range sitesPicked(s, 1, func(int) pickKey { return pickKey{} }) {
			if a != last {
				run, last = 0, a
			}
			if run++; run > 4 {
				t.Fatalf("answer %d: %s for the %dth time", i, a, run)
			}
		}
	}
}

func TestPickByQueryID(t *testing.T) {
	s := pickerOf(weighted(policy.PickByQueryID, 1, 3))
	key := func(i int) pickKey { return pickKey{id: uint16(i)} }
	got := sitesPicked(s, 65536, key)
	if got["192.0.2.0"] != 16384 || got["192.0.2.1"] != 49152 {
		t.Errorf("over all ids: %v, want one to three", got)
	}
	for _, id := range []int{0, 77, 16384, 65535} {
		if n := sitesPicked(s, 20, func(int) pickKey { return key(id) }); len(n) != 1 {
			t.Errorf("id %d: %v, want always the same", id, n)
		}
	}
}

// TestPickByClient: by weight over many clients, always the same for one, and
// a member that leaves takes only its own clients along.
func TestPickByClient(t *testing.T) {
	key := func(i int) pickKey {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], 0x0A000000+uint32(i))
		return pickKey{client: netip.AddrFrom4(b)}
	}
	weights := []uint32{1, 2, 3}
	all := pickerOf(weighted(policy.PickByClient, weights...))
	const n = 60000
	for a, got := range sitesPicked(all, n, key) {
		w := weights[a[len(a)-1]-'0']
		if want := float64(n*w) / 6; math.Abs(float64(got)-want) > 0.03*n {
			t.Errorf("%s: %d clients, want about %.0f", a, got, want)
		}
	}
	less := weighted(policy.PickByClient, weights...)
	less.Choices[0].A = less.Choices[0].A[:2]
	two := pickerOf(less)
	for i := range 1000 {
		before := sitesPicked(all, 2, func(int) pickKey { return key(i) })
		after := sitesPicked(two, 2, func(int) pickKey { return key(i) })
		if len(before) != 1 || len(after) != 1 {
			t.Fatalf("client %d: %v, %v; want always the same", i, before, after)
		}
		if before["192.0.2.2"] == 0 && fmt.Sprint(before) != fmt.Sprint(after) {
			t.Fatalf("client %d went from %v to %v, though another member left", i, before, after)
		}
	}
	// Addresses of one IPv6 network are one client.
	k := func(a string) pickKey { return pickKey{client: netip.MustParseAddr(a)} }
	for i := range 50 {
		a := sitesPicked(all, 1, func(int) pickKey { return k(fmt.Sprintf("2001:db8:%x::1", i)) })
		b := sitesPicked(all, 1, func(int) pickKey { return k(fmt.Sprintf("2001:db8:%x::ffff", i)) })
		if fmt.Sprint(a) != fmt.Sprint(b) {
			t.Errorf("network %d: %v and %v", i, a, b)
		}
	}
}

// TestRotation: every address stands first equally often, whatever other
// questions come between, and sites are counted by it.
func TestRotation(t *testing.T) {
	a := weighted(policy.PickByTurn, 0, 0, 0)
	a.Choices[0].AAAA = []policy.Member{{Site: "site0", Addrs: ips("2001:db8::1")}}
	s := pickerOf(a)
	got := map[string]int{}
	for range 30 {
		for addr, n := range sitesPicked(s, 1, func(int) pickKey { return pickKey{} }) {
			got[addr] += n
		}
		s.pick(0, dns6, pickKey{}, s.lane)
	}
	for addr, n := range got {
		if n != 10 {
			t.Errorf("%s first %d times of 30", addr, n)
		}
	}
	for site, want := range map[policy.SiteID]uint64{"site0": 40, "site1": 10, "site2": 10} {
		if n := s.lane.sites.at(s.counters.site("s", site)).Load(); n != want {
			t.Errorf("%s counted %d times, want %d", site, n, want)
		}
	}
}

func TestClassifier(t *testing.T) {
	prefixes := func(ps ...string) (out []netip.Prefix) {
		for _, p := range ps {
			out = append(out, netip.MustParsePrefix(p))
		}
		return out
	}
	c := newClassifier([]policy.Group{
		{Prefixes: prefixes("10.0.0.0/8", "10.1.2.0/24", "255.255.255.0/24", "2001:db8::/32")},
		{Prefixes: prefixes("10.1.0.0/16", "10.0.0.0/8", "2001:db8:1::/48", "::1/128")},
		{Prefixes: prefixes("10.1.2.3/32", "ffff::/16")},
	})
	for _, tt := range []struct {
		addr        string
		group, bits int
	}{
		{"9.255.255.255", 0, 7},
		{"10.0.0.0", 1, 16},
		{"10.1.0.1", 2, 23},
		{"10.1.2.2", 1, 32},
		{"10.1.2.3", 3, 32},
		{"10.1.2.4", 1, 30},
		{"10.1.3.0", 2, 24},
		{"11.0.0.0", 0, 8},
		{"255.255.255.255", 1, 24},
		{"255.255.254.255", 0, 24},
		{"0.0.0.0", 0, 5},
		{"::", 0, 128},
		{"::1", 2, 128},
		{"2001:db8::1", 1, 48},
		{"2001:db8:1::1", 2, 48},
		{"2001:db8:2::1", 1, 47},
		{"ffff:1::", 3, 16},
	} {
		a := netip.MustParseAddr(tt.addr)
		if g := c.group(a); g != tt.group {
			t.Errorf("%s: group %d, want %d", a, g, tt.group)
		}
		if g, bits := c.scope(a); g != tt.group || bits != tt.bits {
			t.Errorf("%s: scope %d of group %d, want %d of %d", a, bits, g, tt.bits, tt.group)
		}
	}
}

// TestClassifierMatchesLongestPrefix compares with a plain search.
func TestClassifierMatchesLongestPrefix(t *testing.T) {
	addr := rapid.Custom(func(t *rapid.T) netip.Addr {
		if rapid.Bool().Draw(t, "v6") {
			b := [16]byte{0x20, 1}
			b[7], b[8], b[15] = rapid.Byte().Draw(t, "7"), rapid.Byte().Draw(t, "8"), rapid.Byte().Draw(t, "15")
			return netip.AddrFrom16(b)
		}
		b := [4]byte{10}
		b[1], b[3] = byte(rapid.IntRange(0, 3).Draw(t, "1")), rapid.Byte().Draw(t, "3")
		return netip.AddrFrom4(b)
	})
	rapid.Check(t, func(t *rapid.T) {
		var groups []policy.Group
		for range rapid.IntRange(0, 5).Draw(t, "groups") {
			var g policy.Group
			for range rapid.IntRange(0, 4).Draw(t, "prefixes") {
				a := addr.Draw(t, "prefix")
				p, _ := a.Prefix(rapid.IntRange(0, a.BitLen()).Draw(t, "bits"))
				g.Prefixes = append(g.Prefixes, p)
			}
			groups = append(groups, g)
		}
		c := newClassifier(groups)
		plain := func(a netip.Addr) int {
			best, bits := 0, -1
			for i, g := range groups {
				for _, p := range g.Prefixes {
					if p.Contains(a) && p.Bits() > bits {
						best, bits = i+1, p.Bits()
					}
				}
			}
			return best
		}
		for range 30 {
			a := addr.Draw(t, "addr")
			g, bits := c.scope(a)
			if want := plain(a); g != want || c.group(a) != want {
				t.Fatalf("%v: group %d, want %d of %v", a, g, want, groups)
			}
			// All of the scope is of the group.
			p, _ := a.Prefix(bits)
			if b := addr.Draw(t, "other"); p.Contains(b) && plain(b) != g {
				t.Fatalf("%v is of group %d, but in the scope %v of %v, which is of %d", b, plain(b), p, a, g)
			}
		}
	})
}
