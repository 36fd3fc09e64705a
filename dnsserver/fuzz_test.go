package dnsserver

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/miekg/dns"
)

// checkAnswer holds what is true of any answer to any packet.
func checkAnswer(t *testing.T, packet, answer []byte, via transport) {
	if len(packet) < headerLen || packet[2]&flagQR != 0 {
		if len(answer) != 0 {
			t.Fatalf("%x was answered: %x", packet, answer)
		}
		return
	}
	if len(answer) < headerLen || answer[0] != packet[0] || answer[1] != packet[1] || answer[2]&flagQR == 0 {
		t.Fatalf("%x was answered %x", packet, answer)
	}
	if via == udp && len(answer) > defaultEDNSSize || len(answer) > maxMessage {
		t.Fatalf("%d octets", len(answer))
	}
	var m dns.Msg
	if err := m.Unpack(answer); err != nil {
		t.Fatalf("%x was answered %x: %v", packet, answer, err)
	}
	if via == udp && m.IsEdns0() == nil && m.IsTsig() == nil && len(answer) > minUDPSize {
		t.Fatalf("%d octets to a client without EDNS", len(answer))
	}
}

var fuzzFrom = []netip.Addr{netip.MustParseAddr("192.0.2.9"), netip.MustParseAddr("10.1.7.1"), netip.MustParseAddr("2001:db8:a::1")}

func seedPackets(f *testing.F) {
	for _, q := range []struct {
		name  string
		qtype uint16
		edit  func(*dns.Msg)
	}{
		{"www.shop.example.", dns.TypeA, nil},
		{"near.shop.example.", dns.TypeA, opt(1232, 0, ecs(1, 24, 0, "10.1.1.0"), &dns.EDNS0_NSID{Code: dns.EDNS0NSID})},
		{"x.old.shop.example.", dns.TypeTXT, opt(4096, 1)},
	} {
		m := new(dns.Msg).SetQuestion(q.name, q.qtype)
		if q.edit != nil {
			q.edit(m)
		}
		b, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, uint8(0))
		f.Add(b, uint8(3))
	}
}

// FuzzPacketFast: what the fast path answers, the slow path answers too.
func FuzzPacketFast(f *testing.F) {
	v := newView(rulesConfig, rulesData(f))
	seedPackets(f)
	f.Fuzz(func(t *testing.T, packet []byte, how uint8) {
		via, from := transport(how&1), fuzzFrom[int(how>>1)%len(fuzzFrom)]
		if len(packet) < headerLen || len(packet) > maxUDPSize || packet[2]&flagQR != 0 {
			return
		}
		a := askBoth(v, packet, via, from, 1)
		if a.fastOK {
			checkAnswer(t, packet, a.fast, via)
			if !bytes.Equal(a.fast, a.slow) {
				t.Fatalf("%x\nfast %x\nslow %x", packet, a.fast, a.slow)
			}
		}
	})
}

// FuzzPacketSlow: every packet gets a well-formed answer, or none.
func FuzzPacketSlow(f *testing.F) {
	v := newView(rulesConfig, rulesData(f))
	seedPackets(f)
	buf := make([]byte, 70000)
	f.Fuzz(func(t *testing.T, packet []byte, how uint8) {
		via, from := transport(how&1), fuzzFrom[int(how>>1)%len(fuzzFrom)]
		if len(packet) > maxUDPSize {
			return
		}
		var sa sockaddr
		sa.setAddr(from)
		r := newResponder(v, via)
		n := copy(buf, packet)
		checkAnswer(t, packet, buf[:r.respond(v, buf, n, &sa)], via)
		if len(packet) < headerLen || packet[2]&flagQR != 0 {
			return
		}
		copy(buf, packet)
		r = newResponder(v, via)
		r.q.from = &sa
		checkAnswer(t, packet, buf[:new(slowPath).respond(r, v, buf, n)], via)
	})
}
