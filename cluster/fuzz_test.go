package cluster

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/scloudstack/pharos/policy"
)

// samples are real packets and entries, by which the fuzzers start; -update writes them to their corpora.
func sampleEntries(t testing.TB) []*Sealed {
	return sealed(
		t, 1,
		policy.Entry{Kind: policy.KindOverride, Key: "all", Stamp: policy.Stamp{Wall: 5, Logical: 1, Node: "n1"}, Author: "ann", Reason: "why", Expires: epoch, BreakGlass: []string{"r"}, Over: policy.Stamp{Wall: 1, Node: "n2"}, Value: []byte(`{"site":"b"}`)},
		policy.Entry{Kind: policy.KindDrain, Key: "site/s1", Stamp: policy.Stamp{Wall: 6, Node: "n1"}, Deleted: true, Ends: policy.Stamp{Wall: 2, Node: "n1"}},
		policy.Entry{Kind: policy.KindMove, Key: "shop/0", Rank: 9, Stamp: policy.Stamp{Wall: 7, Node: "n1"}, Author: machine, Value: []byte("{}")},
		policy.Entry{Kind: policy.KindAudit, Key: "n1/aa/9", Stamp: policy.Stamp{Wall: 8, Node: "n1"}, Value: []byte(`{"cut":{"first":1,"through":8}}`)},
	)
}

type sample struct {
	kind uint8
	body []byte
}

func samplePackets(t testing.TB) (out []sample) {
	g := newRig(t, 2, 1)
	a := g.nodes["n1"]
	a.r.takeOwn(sampleEntries(t))
	g.fill(stock(t, g, 300, 20), "n2")
	g.tap = func(from, to policy.NodeID, p Packet) {
		if from == "n1" {
			out = append(out, sample{p.Data[1], bodyOf(p.Data)})
		}
	}
	v, _ := a.r.SetVote([]byte("vote"), g.now)
	g.handle(a, v)
	v, _ = a.r.SetVote(bytes.Repeat([]byte("v"), 2000), g.now)
	g.handle(a, v)
	v, _ = a.r.SetReasons([]byte("because"), g.now)
	g.handle(a, v)
	g.handle(a, a.r.AskList("n2", [32]byte{1}, g.now))
	g.handle(a, a.r.Ack(AckDue{"n2", []policy.Stamp{{Wall: 1, Node: "n2"}}}, 5, [8]byte{1}, g.now))
	g.order1(a, g.entry(a, policy.KindDrain, "site/s9", "{}"))
	g.upAll()
	g.run(2 * time.Second)
	list, err := a.r.SendList("n2", policy.EncodeTargets([]policy.TargetID{"tcp x", "tcp y"}), g.now)
	if err != nil {
		t.Fatal(err)
	}
	g.handle(a, list)
	return append(out, sample{typeVoteAsk, nil}, sample{typeStale, putU64(putU64(nil, 7), 9)})
}

// bodyOf takes the body out of a packet of n1.
func bodyOf(packet []byte) []byte {
	r := reader{b: packet}
	r.take(2, "")
	r.node("")
	if packet[1] == typeEntries {
		return r.b
	}
	r.node("")
	r.take(16, "")
	return r.b[:len(r.b)-64]
}

func TestFuzzCorporaAreOfThisFormat(t *testing.T) {
	write := func(fuzzer, name string, args ...string) {
		dir := filepath.Join("testdata", "fuzz", fuzzer)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte("go test fuzz v1\n"+strings.Join(args, "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if *update {
		for i, s := range sampleEntries(t) {
			write("FuzzDecodeSealed", fmt.Sprintf("entry-%d", i), fmt.Sprintf("[]byte(%q)", s.Bytes()))
		}
		seen := map[uint8]int{}
		for _, s := range samplePackets(t) {
			if seen[s.kind]++; seen[s.kind] <= 3 {
				write("FuzzReceive", fmt.Sprintf("type-%d-%d", s.kind, seen[s.kind]), fmt.Sprintf("byte('\\x%02x')", s.kind), fmt.Sprintf("[]byte(%q)", s.body))
			}
		}
		m := meta{least: oldestProtocol, most: protocolVersion, cluster: "prod", site: "city-a", keys: []GossipKey{{Fingerprint: Fingerprint{1}, Sends: true}}}
		write("FuzzMeta", "meta", fmt.Sprintf("[]byte(%q)", m.encode()))
	}
	seeds, err := filepath.Glob(filepath.Join("testdata", "fuzz", "FuzzReceive", "type-*"))
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[int]bool{}
	for _, seed := range seeds {
		var kind int
		if _, err := fmt.Sscanf(filepath.Base(seed), "type-%d-", &kind); err != nil || kind >= typeEnd {
			t.Errorf("%s: no packet is of this type", seed)
		}
		kinds[kind] = true
	}
	for kind := typeEntries; kind < typeEnd; kind++ {
		if !kinds[kind] {
			t.Errorf("no seed of type %d", kind)
		}
	}
	for fuzzer, least := range map[string]int{"FuzzDecodeSealed": 4, "FuzzReceive": 10, "FuzzMeta": 1} {
		files, err := os.ReadDir(filepath.Join("testdata", "fuzz", fuzzer))
		if err != nil || len(files) < least {
			t.Errorf("%s: %d files, %v", fuzzer, len(files), err)
		}
	}
}

func FuzzDecodeSealed(f *testing.F) {
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := DecodeSealed(data)
		if err != nil {
			return
		}
		again, err := DecodeSealed(s.Bytes())
		if err != nil || again.hash != s.hash || again.root() != s.root() || *again.sig != *s.sig || again.countBy != s.countBy {
			t.Fatalf("%v is not read as it was written: %v", s, err)
		}
		if !s.later {
			leaf, err := encodeLeaf(s.Entry)
			if err == nil {
				if e, _, _, err := decodeLeaf(leaf); err != nil || e.Stamp != s.Entry.Stamp {
					t.Fatalf("%v, %v", e, err)
				}
			}
		}
		if s.Beats(s) {
			t.Fatal("it beats itself")
		}
	})
}

// FuzzReceive has a replica take packets that a node of the configuration signed, whatever is in them.
func FuzzReceive(f *testing.F) {
	f.Fuzz(func(t *testing.T, kind byte, body []byte) {
		g := newRig(t, 2, 1)
		a, b := g.nodes["n1"], g.nodes["n2"]
		g.fill(stock(t, g, 40, 20), "n2")
		g.handle(b, b.r.Up("n1", g.now))
		packet := a.r.signedPacket(kind, "n2", body)
		if kind == typeEntries {
			packet = append(g.ring().head(typeEntries, "n1"), body...)
		}
		g.inject("n2", packet)
		g.inject("n2", packet)
		g.run(200 * time.Millisecond)
		var sum total
		for s := range b.r.Entries() {
			sum.count++
			sum.sum += short(s.hash)
		}
		if sum != b.r.tree.root.total {
			t.Fatalf("the tree says %v, there is %v", b.r.tree.root.total, sum)
		}
		if n := len(b.out.Votes); n > 0 && !b.r.peers["n1"].met {
			t.Fatal("a vote counts before entries were exchanged")
		}
	})
}

func FuzzMeta(f *testing.F) {
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := decodeMeta(data)
		if err != nil || !m.understood() {
			return
		}
		again, err := decodeMeta(m.encode())
		if err != nil || again.cluster != m.cluster || again.site != m.site || len(again.keys) != len(m.keys) {
			t.Fatalf("%+v is read as %+v, %v", m, again, err)
		}
	})
}
