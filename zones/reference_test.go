package zones

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
	"pgregory.net/rapid"
)

// reference is a zone as the RFCs put it, with no thought for speed: Lookup is
// compared with it.
type reference struct {
	apex    string
	types   map[string]map[uint16]bool // by owner
	steered map[string]bool
}

func (r *reference) has(name string, typ uint16) bool { return r.types[name][typ] }

// exists: the name owns something, or one below it does (RFC 4592 §2.2.2).
func (r *reference) exists(name string) bool {
	for owner := range r.types {
		if dns.IsSubDomain(name, owner) {
			return true
		}
	}
	for owner := range r.steered {
		if dns.IsSubDomain(name, owner) {
			return true
		}
	}
	return name == r.apex
}

type refResult struct {
	Kind     Kind
	Owner    string // of the NS set or the DNAME
	Wildcard bool
}

func (r *reference) lookup(name string, typ uint16) refResult {
	if !dns.IsSubDomain(r.apex, name) {
		return refResult{Kind: Outside}
	}
	// From the apex down: a cut, or a DNAME, stops the search.
	labels := dns.SplitDomainName(name)
	above := len(labels) - dns.CountLabel(r.apex)
	for i := above; i >= 0; i-- {
		n := dns.Fqdn(strings.Join(labels[i:], "."))
		switch {
		case n != r.apex && r.has(n, typeNS) && (n != name || typ != typeDS):
			return refResult{Kind: Delegation, Owner: n}
		case n != name && r.has(n, typeDNAME):
			return refResult{Kind: DNAME, Owner: n}
		}
	}
	if r.exists(name) {
		return refResult{Kind: r.answer(name, typ)}
	}
	for i := 1; i <= above; i++ {
		encloser := dns.Fqdn(strings.Join(labels[i:], "."))
		if !r.exists(encloser) {
			continue
		}
		if star := "*." + encloser; r.exists(star) {
			if r.has(star, typeNS) && typ != typeDS {
				return refResult{Kind: Delegation, Owner: name, Wildcard: true}
			}
			return refResult{Kind: r.answer(star, typ), Wildcard: true}
		}
		break
	}
	return refResult{Kind: NXDomain}
}

func (r *reference) answer(node string, typ uint16) Kind {
	address := typ == typeA || typ == typeAAAA
	switch {
	case r.steered[node] && (address || typ == typeANY):
		return Steered
	case typ == typeANY && len(r.types[node]) > 0, typ != typeANY && r.has(node, typ):
		return Success
	case typ != typeANY && r.has(node, typeCNAME):
		return CNAME
	}
	return NoData
}

var refTypes = []string{"A", "AAAA", "NS", "CNAME", "DNAME", "TXT", "MX", "DS"}

var refData = map[string][]string{
	"A": {"192.0.2.1", "192.0.2.2"}, "AAAA": {"2001:db8::1"}, "NS": {"ns1.example.org.", "ns2.example.org."}, "CNAME": {"a.z."},
	"DNAME": {"example.net."}, "TXT": {"x", `"y z"`}, "MX": {"10 a.z."}, "DS": {"1 8 1 E2D3C916F6DEEAC73294E8268FB5885044A833FC"},
}

// drawName draws a name in the zone z., of few labels so that names meet.
func drawName(t *rapid.T) string {
	labels := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "*", `\000`, `\001\.`, "A"}), 0, 4).Draw(t, "labels")
	return strings.Join(append(labels, "z."), ".")
}

// drawZone draws a zone file, and the same as a reference.
func drawZone(t *rapid.T) (string, *reference) {
	ref := &reference{apex: "z.", types: map[string]map[uint16]bool{}}
	var text strings.Builder
	text.WriteString("z. 60 SOA ns. host. 1 2 3 4 5\nz. 60 NS ns.\n")
	ref.types["z."] = map[uint16]bool{typeSOA: true, typeNS: true}
	for range rapid.IntRange(0, 12).Draw(t, "records") {
		owner := drawName(t)
		typ := rapid.SampledFrom(refTypes).Draw(t, "type")
		data := rapid.SampledFrom(refData[typ]).Draw(t, "data")
		number := dns.StringToType[typ]
		key := strings.ToLower(owner)
		have := ref.types[key]
		if have == nil {
			have = map[uint16]bool{}
		}
		if typ == "CNAME" && len(have) > 0 || have[typeCNAME] || typ == "DNAME" && have[typeDNAME] {
			continue
		}
		have[number] = true
		ref.types[key] = have
		fmt.Fprintf(&text, "%s %d %s %s\n", owner, rapid.SampledFrom([]int{60, 300}).Draw(t, "ttl"), typ, data)
	}
	return text.String(), ref
}

func TestLookupAgainstReference(t *testing.T) {
	questions := []uint16{typeA, typeNS, typeCNAME, typeDNAME, typeDS, dns.TypeTXT, typeANY, dns.TypeSRV}
	rapid.Check(t, func(t *rapid.T) {
		text, ref := drawZone(t)
		z, _, err := Parse("z.", strings.NewReader(text), "z", Options{})
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		var steered []string
		ref.steered = map[string]bool{}
		for range rapid.IntRange(0, 3).Draw(t, "steered") {
			name := strings.ToLower(drawName(t))
			got := ref.lookup(name, typeA)
			_, err := z.WithNames(name)
			refuse := got.Kind == Delegation && !got.Wildcard || got.Kind == DNAME || ref.has(name, typeCNAME)
			if (err != nil) != refuse {
				t.Fatalf("steering %s: error %v, want one: %v\n%s", name, err, refuse, text)
			}
			if err == nil {
				steered = append(steered, name)
			}
		}
		for _, name := range steered {
			ref.steered[name] = true
		}
		if z, err = z.WithNames(steered...); err != nil {
			t.Fatal(err)
		}
		for range 30 {
			name := strings.ToLower(drawName(t))
			typ := rapid.SampledFrom(questions).Draw(t, "qtype")
			wire, err := NameToWire(name)
			if err != nil {
				t.Fatal(err)
			}
			r := z.Lookup(wire, typ)
			got := refResult{Kind: r.Kind, Wildcard: r.Wildcard}
			if r.Kind == Delegation || r.Kind == DNAME {
				got.Owner = NameText(r.RRset.Owner)
			}
			want := ref.lookup(name, typ)
			if got != want {
				t.Fatalf("%s %s: got %+v, want %+v; steered %v\n%s", name, typeText(typ), got, want, steered, text)
			}
			if (r.Kind == Success && typ != typeANY || r.Kind == CNAME) && !bytes.Equal(r.RRset.Owner, wire) {
				t.Fatalf("%s: owner %s", name, NameText(r.RRset.Owner))
			}
		}
	})
}

// TestWalkIsWhole: Walk shows every existing name once, in canonical order.
func TestWalkIsWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text, ref := drawZone(t)
		z, _, err := Parse("z.", strings.NewReader(text), "z", Options{})
		if err != nil {
			t.Fatal(err)
		}
		ref.steered = map[string]bool{}
		if name := strings.ToLower(drawName(t)); true {
			if s, err := z.WithNames(name); err == nil {
				z, ref.steered[name] = s, true
			}
		}
		want := map[string]bool{}
		for _, names := range []map[string]bool{ref.steered, keysOf(ref.types)} {
			for n := range names {
				for off, end := 0, false; !end && dns.IsSubDomain("z.", n[off:]); off, end = dns.NextLabel(n, off) {
					want[n[off:]] = true
				}
			}
		}
		var last []byte
		z.Walk(func(owner []byte, sets []RRset, flags NodeFlags) bool {
			name := NameText(owner)
			rel, _ := below(owner, z.apex)
			key := appendKey(nil, rel)
			if last != nil && bytes.Compare(last, key) >= 0 {
				t.Fatalf("%s out of order\n%s", name, text)
			}
			last = key
			if !want[name] {
				t.Fatalf("%s is not expected, or twice\n%s", name, text)
			}
			delete(want, name)
			if f, ok := z.Flags(owner); !ok || f&^FlagWildcard != flags&^FlagWildcard {
				t.Fatalf("%s: flags %b by Flags, %b by Walk\n%s", name, f, flags, text)
			}
			types := 0
			for typ := range ref.types[name] {
				if !(ref.steered[name] && isAddress(typ)) {
					types++
				}
			}
			if len(sets) != types || (flags&FlagEmpty != 0) != (len(ref.types[name]) == 0 && !ref.steered[name]) {
				t.Fatalf("%s: %d RRsets, flags %b\n%s", name, len(sets), flags, text)
			}
			return true
		})
		if len(want) > 0 {
			t.Fatalf("not shown: %v\n%s", want, text)
		}
	})
}

func keysOf(m map[string]map[uint16]bool) map[string]bool {
	keys := map[string]bool{}
	for k := range m {
		keys[k] = true
	}
	return keys
}

// TestDigestAndDiff: order, case and notation do not count; a dump loads again
// as the same; Diff lists what turns one zone into the other.
func TestDigestAndDiff(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		parse := func(text string) *Zone {
			z, _, err := Parse("z.", strings.NewReader(text), "z", Options{})
			if err != nil {
				t.Fatalf("%v\n%s", err, text)
			}
			return z
		}
		text, _ := drawZone(t)
		z := parse(text)
		lines := strings.SplitAfter(strings.TrimSpace(text)+"\n", "\n")
		lines = rapid.Permutation(lines[:len(lines)-1]).Draw(t, "order")
		if other := parse(strings.ToUpper(strings.Join(lines, "; x\n"))); strings.Contains(text, "TXT") == false && other.Digest() != z.Digest() {
			t.Fatalf("another order or case changes the digest\n%s", text)
		}
		if other := parse(strings.Join(lines, "")); other.Digest() != z.Digest() {
			t.Fatalf("another order changes the digest\n%s", text)
		}
		var dump bytes.Buffer
		if _, err := z.WriteTo(&dump); err != nil {
			t.Fatal(err)
		}
		if parse(dump.String()).Digest() != z.Digest() {
			t.Fatalf("the dump has another digest\n%s\n%s", text, &dump)
		}
		for _, name := range []string{"z.", "www.new.z.", strings.ToLower(drawName(t))} {
			steered, err := z.WithNames(name)
			if err != nil {
				continue
			}
			var again bytes.Buffer
			if _, err := steered.WriteTo(&again); err != nil || again.String() != dump.String() {
				t.Fatalf("with %s steered the dump is another (%v)\n%s\n%s", name, err, &dump, &again)
			}
		}
		text2, _ := drawZone(t)
		z2 := parse(text2)
		d := Diff(z, z2)
		if (d.AddedCount+d.RemovedCount == 0) != (z.Digest() == z2.Digest()) {
			t.Fatalf("digest and difference disagree: %+v", d)
		}
		if whole := Diff(nil, z2); whole.AddedCount != z2.Records() || whole.RemovedCount != 0 {
			t.Fatalf("from nothing to %d records: %+v", z2.Records(), whole)
		}
		have := strings.Split(strings.TrimSpace(dump.String()), "\n")
		for _, line := range d.Removed {
			i := slices.Index(have, line)
			if i < 0 {
				t.Fatalf("%s is removed, but was not there", line)
			}
			have = slices.Delete(have, i, i+1)
		}
		patched := parse(strings.Join(append(have, d.Added...), "\n") + "\n")
		if patched.Digest() != z2.Digest() {
			t.Fatalf("the difference does not lead to the other zone: %+v", d)
		}
	})
}
