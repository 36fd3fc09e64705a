package cluster

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/scloudstack/pharos/policy"
)

// packetsOfEveryType are those that n1 of a rig of two sends n2, each with something in every field.
func packetsOfEveryType(t *testing.T) (packets [][]byte) {
	g := newRig(t, 2, 1)
	a := g.nodes["n1"]
	drain := policy.Entry{Kind: policy.KindDrain, Key: "site/s2", Stamp: policy.Stamp{Wall: epoch.UnixMilli(), Logical: 3, Node: "n1"}, Author: "ann", Reason: "works"}
	move := policy.Entry{Kind: policy.KindMove, Key: "shop/0", Rank: 2, Stamp: policy.Stamp{Wall: epoch.UnixMilli(), Node: "n1"}, Value: []byte(`{"service":"shop"}`)}
	both, alone := sealed(t, 1, drain, move), sealed(t, 1, drain)
	vote, err := a.r.SetVote([]byte("a vote"), g.now)
	if err != nil {
		t.Fatal(err)
	}
	ack := a.r.Ack(AckDue{"n2", []policy.Stamp{{Wall: 5, Logical: 6, Node: "n2"}}}, 1812, [8]byte{0x9c, 1}, g.now)
	exchange := turn{
		mine: 7, yours: 8, step: 2, partial: true, held: total{count: 2, sum: 99},
		sums:  []sums{{at: prefix{bits: 0x1200000000000000, depth: 2}, kids: [fan]total{3: {count: 1, sum: 5}}}},
		lists: []list{{at: prefix{bits: 0x4000000000000000, depth: 1}, pairs: []pair{{key: 1, hash: 2}}}},
		want:  []uint64{3}, all: []prefix{{bits: 0x5000000000000000, depth: 1}}, collected: []uint64{4}, entries: alone,
	}
	packets = append(packets, a.r.ring.entriesPacket("n1", [][]*Sealed{both}, true), a.r.ring.singlesPacket("n1", alone, false))
	for _, p := range append(vote.Send, ack.Send...) {
		packets = append(packets, p.Data)
	}
	for kind, body := range map[uint8][]byte{
		typeVoteAsk: nil, typeReasons: putBytes(nil, []byte("because")), typeExchange: exchange.append(nil),
		typeListAsk: make([]byte, 32), typeList: putBytes(nil, []byte("targets")), typeStale: putU64(putU64(nil, 11), 12),
	} {
		packets = append(packets, a.r.signedPacket(kind, "n2", body))
	}
	return packets
}

// What the first release sends is read by every later one that speaks protocol version 1.
func TestProtocol1IsRead(t *testing.T) {
	path := filepath.Join("testdata", "packets-protocol-1.bin")
	if *update {
		var file []byte
		for _, p := range packetsOfEveryType(t) {
			file = putBytes(file, p)
		}
		if err := os.WriteFile(path, file, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	decoder, seen := newRig(t, 2, 1).nodes["n2"].decoder, map[uint8]bool{}
	for r := (reader{b: file}); len(r.b) > 0 && r.err == nil; {
		m, err := decoder.Decode(r.bytes(maxPacket, "packet"))
		if err != nil {
			t.Fatal(err)
		}
		seen[m.kind] = true
		fmt.Fprintf(&got, "type %d of %s to %q, %d/%d\n", m.kind, m.From, m.to, m.incarnation, m.counter)
		switch m.kind {
		case typeEntries:
			fmt.Fprintf(&got, "  wants an acknowledgement: %v\n", m.wantAck)
		case typeVote:
			fmt.Fprintf(&got, "  %x, holds %v, %v %q\n", m.vote.hash, m.vote.held, m.vote.whole, m.vote.value)
		case typeReasons, typeList:
			fmt.Fprintf(&got, "  %q\n", m.value)
		case typeListAsk:
			fmt.Fprintf(&got, "  %x\n", m.digest)
		case typeAck:
			fmt.Fprintf(&got, "  %v at revision %d, %x\n", m.ack.Stamps, m.ack.Revision, m.ack.Digest)
		case typeStale:
			fmt.Fprintf(&got, "  %v\n", m.newest)
		case typeExchange:
			x := m.exchange
			fmt.Fprintf(&got, "  %d %d step %d, ended %v, partial %v, holds %v, sums %v, lists %v, wants %v, all of %v, collected %v\n",
				x.mine, x.yours, x.step, x.end, x.partial, x.held, x.sums, x.lists, x.want, x.all, x.collected)
		}
		for _, s := range m.entries {
			e := s.Entry
			fmt.Fprintf(&got, "  %s %s rank %d of %s, by %q: %q, %s\n", e.Kind, e.Key, e.Rank, e.Stamp, e.Author, e.Reason, e.Value)
		}
	}
	for kind := uint8(1); kind < typeEnd; kind++ {
		if !seen[kind] {
			t.Errorf("no packet of type %d", kind)
		}
	}
	golden := strings.TrimSuffix(path, ".bin") + ".txt"
	if *update {
		if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Error(diff)
	}
}
