package cluster

import (
	"bytes"
	"crypto/ed25519"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/scloudstack/pharos/policy"
)

var update = flag.Bool("update", false, "write the golden files anew")

// The years 1 to 9999, in seconds since 1970.
const firstSecond, lastSecond = -62135596800, 253402300799

func anyStamp(t *rapid.T, name string) policy.Stamp {
	return policy.Stamp{Wall: rapid.Int64Range(1000*firstSecond, 1000*lastSecond+999).Draw(t, name), Logical: rapid.Uint32().Draw(t, name), Node: policy.NodeID(rapid.StringN(0, 20, 100).Draw(t, name))}
}

func anyEntry(t *rapid.T) policy.Entry {
	e := policy.Entry{
		Kind: policy.Kind(rapid.SampledFrom([]string{"override", "move", "fall", "audit", "alarm", "of a later release"}).Draw(t, "kind")),
		Key:  rapid.StringN(0, 40, 200).Draw(t, "key"), Stamp: anyStamp(t, "stamp"), Author: rapid.StringN(0, 20, 100).Draw(t, "author"),
		Reason: rapid.StringN(0, 40, 200).Draw(t, "reason"), Deleted: rapid.Bool().Draw(t, "deleted"),
		Ends: anyStamp(t, "ends"), Over: anyStamp(t, "over"), Rank: rapid.Uint64().Draw(t, "rank"),
		BreakGlass: rapid.SliceOfN(rapid.StringN(0, 10, 60), 0, 3).Draw(t, "rules"), Value: rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "value"),
	}
	if rapid.Bool().Draw(t, "expires") {
		e.Expires = time.Unix(rapid.Int64Range(0, lastSecond).Draw(t, "sec"), rapid.Int64Range(0, 999_999_999).Draw(t, "nsec")).UTC()
	}
	if len(e.BreakGlass) == 0 {
		e.BreakGlass = nil
	}
	if len(e.Value) == 0 {
		e.Value = nil
	}
	return e
}

func TestAnEntryIsReadAsItWasWritten(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		e := anyEntry(rt)
		leaf, err := encodeLeaf(e)
		if err != nil {
			rt.Fatal(err)
		}
		got, rule, later, err := decodeLeaf(leaf)
		if err != nil || later || rule != e.Kind.Merge() {
			rt.Fatalf("rule %d, later %v, %v", rule, later, err)
		}
		if diff := cmp.Diff(e, got); diff != "" {
			rt.Fatal(diff)
		}
	})
}

func TestWhatIsTooLongIsRefusedByItsName(t *testing.T) {
	long := strings.Repeat("x", 100_000)
	for want, e := range map[string]policy.Entry{
		"kind": {Kind: policy.Kind(long)}, "key": {Key: long}, "author": {Author: long}, "reason": {Reason: long},
		"value": {Value: []byte(long)}, "break-glass rules": {BreakGlass: make([]string, 100)}, "break-glass rule": {BreakGlass: []string{long}},
		"stamp's node": {Stamp: policy.Stamp{Node: policy.NodeID(long)}},
	} {
		if _, err := encodeLeaf(e); err == nil || !strings.Contains(err.Error(), want+":") || !strings.Contains(err.Error(), "at most") {
			t.Errorf("%s: %v", want, err)
		}
	}
}

// TestATimeThatNobodyCanBeToldIsRefused: JSON has no year 10000, and a status with such a time in it is none.
func TestATimeThatNobodyCanBeToldIsRefused(t *testing.T) {
	good := policy.Entry{Kind: policy.KindDrain, Key: "site/s1", Stamp: policy.Stamp{Wall: 1000*lastSecond + 999, Node: "n1"}, Expires: time.Unix(lastSecond, 0).UTC()}
	leaf, err := encodeLeaf(good)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := decodeLeaf(leaf); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(e *policy.Entry){
		"stamp after":  func(e *policy.Entry) { e.Stamp.Wall++ },
		"stamp before": func(e *policy.Entry) { e.Stamp.Wall = 1000*firstSecond - 1 },
		"expires":      func(e *policy.Entry) { e.Expires = e.Expires.Add(time.Second) },
	} {
		odd := good
		change(&odd)
		if _, err := encodeLeaf(odd); err == nil || !strings.Contains(err.Error(), "the years 1 to 9999 expected") {
			t.Errorf("%s: written: %v", name, err)
		}
		forged := bytes.ReplaceAll(leaf, putU64(nil, uint64(good.Stamp.Wall)), putU64(nil, uint64(odd.Stamp.Wall)))
		forged = bytes.ReplaceAll(forged, putU64(nil, lastSecond), putU64(nil, uint64(odd.Expires.Unix())))
		if _, _, _, err := decodeLeaf(forged); err == nil || !strings.Contains(err.Error(), "the years 1 to 9999 expected") {
			t.Errorf("%s: read: %v", name, err)
		}
	}
}

func TestEveryLeafOfATreeProvesItself(t *testing.T) {
	for n := 1; n <= maxBatch; n++ {
		leaves := make([]hash, n)
		for i := range leaves {
			leaves[i] = hashLeaf([]byte{byte(i)})
		}
		root, paths := treePaths(leaves)
		for i := range leaves {
			if len(paths[i]) != 32*pathLength(i, n) {
				t.Fatalf("leaf %d of %d: path of %d octets, %d hashes expected", i, n, len(paths[i]), pathLength(i, n))
			}
			if pathRoot(leaves[i], i, n, paths[i]) != root {
				t.Fatalf("leaf %d of %d leads to another root", i, n)
			}
			if n > 1 && pathRoot(leaves[i], (i+1)%n, n, make([]byte, 32*pathLength((i+1)%n, n))) == root {
				t.Fatalf("leaf %d of %d proves another place", i, n)
			}
		}
	}
}

// The test vectors of RFC 6962's reference implementation (certificate-transparency, merkletree tests): the first entries and
// the roots of their trees.
func TestTreeIsThatOfRFC6962(t *testing.T) {
	inputs := [][]byte{{}, {0x00}, {0x10}, {0x20, 0x21}, {0x30, 0x31}, {0x40, 0x41, 0x42, 0x43}, []byte("\x50\x51\x52\x53\x54\x55\x56\x57"), []byte("\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f")}
	roots := map[int]string{
		1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
		2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
		8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
	}
	var leaves []hash
	for i, in := range inputs {
		leaves = append(leaves, hashLeaf(in))
		root, _ := treePaths(leaves)
		if want, ok := roots[i+1]; ok && fmt.Sprintf("%x", root) != want {
			t.Errorf("root of %d leaves: %x, %s expected", i+1, root, want)
		}
	}
}

func sealed(t testing.TB, node int, entries ...policy.Entry) []*Sealed {
	t.Helper()
	out, err := seal("test", keyOf(node), entries)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestNothingOfASealedEntryCanBeAltered(t *testing.T) {
	g := newRig(t, 2, 1)
	ring := g.nodes["n2"].r.Keyring()
	e := policy.Entry{Kind: policy.KindDrain, Key: "site/s1", Stamp: policy.Stamp{Wall: 5, Node: "n1"}, Author: "ann", Reason: "why", Expires: epoch, Value: []byte("v")}
	batch := sealed(t, 1, e, policy.Entry{Kind: policy.KindMove, Key: "k", Rank: 3, Stamp: policy.Stamp{Wall: 6, Node: "n1"}})
	good := batch[0].Bytes()
	check := func(b []byte) error {
		s, err := DecodeSealed(b)
		if err != nil {
			return err
		}
		return ring.check(s, newSeenSet(maxSeen))
	}
	if err := check(good); err != nil {
		t.Fatal(err)
	}
	for i := range good {
		for bit := range 8 {
			bad := bytes.Clone(good)
			bad[i] ^= 1 << bit
			if check(bad) == nil {
				t.Errorf("octet %d, bit %d can be altered", i, bit)
			}
		}
	}
	other, _ := NewKeyring("another cluster", g.members)
	if s, _ := DecodeSealed(good); other.check(s, newSeenSet(maxSeen)) == nil {
		t.Error("it counts in another cluster")
	}
}

// A file that the first release wrote is read by every later one.
func TestFormat1IsRead(t *testing.T) {
	path := filepath.Join("testdata", "sealed-format-1.bin")
	entries := []policy.Entry{
		{
			Kind: policy.KindOverride, Key: "service/shop", Stamp: policy.Stamp{Wall: 1930000000123, Logical: 7, Node: "n1"},
			Author: "ann", Reason: "the balancer of city-a is replaced", Expires: time.Date(2031, 3, 1, 18, 0, 0, 5, time.UTC),
			BreakGlass: []string{"last-endpoint"}, Over: policy.Stamp{Wall: 1929999990000, Node: "n2"}, Value: []byte(`{"site":"city-b"}`),
		},
		{Kind: policy.KindDrain, Key: "site/city-a", Stamp: policy.Stamp{Wall: 1930000000124, Node: "n1"}, Author: "bob", Deleted: true, Ends: policy.Stamp{Wall: 1929999990001, Logical: 1, Node: "n2"}},
		{Kind: policy.KindMove, Key: "shop/0", Rank: 300, Stamp: policy.Stamp{Wall: 1930000000125, Node: "n1"}, Author: "machine", Value: []byte(`{"service":"shop"}`)},
	}
	if *update {
		var file []byte
		for _, s := range sealed(t, 1, entries...) {
			file = putBytes(file, s.Bytes())
		}
		if err := os.WriteFile(path, file, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	ring := newRig(t, 1, 1).nodes["n1"].r.Keyring()
	r := reader{b: file}
	for _, want := range entries {
		s, err := DecodeSealed(r.bytes(1<<16, "sealed entry"))
		if err != nil {
			t.Fatal(err)
		}
		if err := ring.check(s, newSeenSet(maxSeen)); err != nil {
			t.Errorf("%s: %v", s, err)
		}
		if diff := cmp.Diff(want, s.Entry); diff != "" {
			t.Error(diff)
		}
	}
	if err := r.end("file"); err != nil {
		t.Error(err)
	}
}

// laterLeaf is an entry as a later release may write it: the head that every format keeps, and what nobody here knows.
func laterLeaf(rule uint8, rank uint64, key string, stamp policy.Stamp, rest string) []byte {
	b := putUvarint([]byte{leafFormat + 1, rule}, rank)
	b = putBytes(b, "something new")
	b = putBytes(b, key)
	b = putStamp(b, stamp)
	return append(b, rest...)
}

func sealLeaf(key ed25519.PrivateKey, leaf []byte) *Sealed {
	s := &Sealed{leaf: leaf, hash: hashLeaf(leaf)}
	s.Entry, s.rule, s.later, _ = decodeLeaf(leaf)
	signBatch("test", key, []*Sealed{s})
	return s
}

func TestWhatALaterReleaseWroteIsMergedKeptAndPassedOn(t *testing.T) {
	g := newRig(t, 2, 1)
	a := g.nodes["n1"]
	for i, rest := range []string{"first", "second", "third"} {
		s := sealLeaf(keyOf(1), laterLeaf(uint8(policy.MergeHighest), uint64(2-i%2), "k", policy.Stamp{Wall: int64(i + 1), Node: "n1"}, rest))
		g.handle(a, a.r.Commit([]*Sealed{s}, g.now)) // ranks 2, 1, 2: the first stays
	}
	g.upAll()
	g.mustAgree(time.Second)
	b := g.nodes["n2"]
	s, ok := b.r.Get(policy.EntryKey{Kind: "something new", Key: "k"})
	if !ok || !strings.HasSuffix(string(s.leaf), "first") {
		t.Fatalf("n2 holds %v", s)
	}
	if len(b.out.Merged) > 0 {
		t.Errorf("policy is told of what it can't read: %v", b.out.Merged)
	}
	g.start("n2", b.disk)
	if n, _ := g.nodes["n2"].r.Digest(); n != 1 || !g.agree() {
		t.Error("it does not survive a restart")
	}
}
