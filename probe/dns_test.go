package probe

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/scloudstack/pharos/policy"
)

// nameServer answers over UDP and TCP on one port.
func nameServer(t *testing.T, handle dns.HandlerFunc) uint16 {
	t.Helper()
	for range 20 {
		udp, err := net.ListenPacket("udp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		tcp, err := net.Listen("tcp4", udp.LocalAddr().String())
		if err != nil {
			_ = udp.Close()
			continue
		}
		for _, s := range []*dns.Server{{PacketConn: udp, Handler: handle}, {Listener: tcp, Handler: handle}} {
			started := make(chan struct{})
			s.NotifyStartedFunc = func() { close(started) }
			ended := make(chan error, 1)
			go func() { ended <- s.ActivateAndServe() }()
			<-started
			t.Cleanup(func() {
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				defer cancel()
				_ = s.ShutdownContext(ctx)
				<-ended
			})
		}
		return udp.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	}
	t.Fatal("no port that is free for UDP and TCP")
	return 0
}

func answerWith(t *testing.T, records ...string) func(q *dns.Msg) *dns.Msg {
	return func(q *dns.Msg) *dns.Msg {
		m := new(dns.Msg).SetReply(q)
		for _, r := range records {
			rr, err := dns.NewRR(r)
			if err != nil {
				t.Error(err)
				continue
			}
			m.Answer = append(m.Answer, rr)
		}
		return m
	}
}

func TestDNS(t *testing.T) {
	shop := answerWith(t, "www.shop.example. 10 IN A 203.0.113.10", "www.shop.example. 10 IN A 203.0.113.20")
	say := func(f func(q *dns.Msg) *dns.Msg) dns.HandlerFunc {
		return func(w dns.ResponseWriter, q *dns.Msg) { _ = w.WriteMsg(f(q)) }
	}
	rcode := func(code int) dns.HandlerFunc {
		return say(func(q *dns.Msg) *dns.Msg { return new(dns.Msg).SetRcode(q, code) })
	}
	for _, tc := range []struct {
		name   string
		server dns.HandlerFunc
		dns    DNS
		expect expectation
	}{
		{"NOERROR", say(shop), DNS{Name: "www.shop.example", Type: "A"}, expectation{policy.Success, `NOERROR from 127\.0\.0\.1:\d+ after .*`}},
		{"over TCP", say(shop), DNS{Name: "www.shop.example", Type: "A", TCP: true}, expectation{policy.Success, `NOERROR from .*`}},
		{"answers", say(shop), DNS{Name: "www.shop.example", Type: "a", Answer: []string{"203.0.113.20", "203.0.113.10"}}, expectation{policy.Success, `NOERROR from .*`}},
		{"answer lacking", say(shop), DNS{Name: "www.shop.example", Type: "A", Answer: []string{"203.0.113.30"}}, expectation{policy.Refused, `NOERROR from .* after .*: answer lacks 203\.0\.113\.30`}},
		{"REFUSED", rcode(dns.RcodeRefused), DNS{Name: "shop.example."}, expectation{policy.Refused, `REFUSED from .*`}},
		{"SERVFAIL", rcode(dns.RcodeServerFailure), DNS{Name: "shop.example."}, expectation{policy.Refused, `SERVFAIL from .*`}},
		{"NXDOMAIN expected", rcode(dns.RcodeNameError), DNS{Name: "no.shop.example.", Rcode: "NXDOMAIN"}, expectation{policy.Success, `NXDOMAIN from .*`}},
		{"FORMERR without question", func(w dns.ResponseWriter, q *dns.Msg) {
			m := new(dns.Msg).SetRcodeFormatError(q)
			m.Id, m.Question = q.Id, nil
			_ = w.WriteMsg(m)
		}, DNS{Name: "shop.example."}, expectation{policy.Refused, `FORMERR from .*`}},
		{"silence", func(dns.ResponseWriter, *dns.Msg) {}, DNS{Name: "shop.example."}, expectation{policy.Timeout, `no answer from .* within 300 ms \(3 attempts\)`}},
		{"to another question", func(w dns.ResponseWriter, q *dns.Msg) {
			m := shop(q)
			m.Question[0].Name = "other.example."
			_ = w.WriteMsg(m)
		}, DNS{Name: "www.shop.example.", Type: "A"}, expectation{policy.Timeout, `no answer from .*`}},
		{"garbage before the answer", func(w dns.ResponseWriter, q *dns.Msg) {
			_, _ = w.Write([]byte{1, 2, 3})
			_, _ = w.Write(make([]byte, 40))
			m := shop(q)
			m.Id++
			_ = w.WriteMsg(m)
			m.Id--
			_ = w.WriteMsg(m)
		}, DNS{Name: "www.shop.example.", Type: "A"}, expectation{policy.Success, `NOERROR from .*`}},
		{"garbage over TCP", func(w dns.ResponseWriter, q *dns.Msg) { _, _ = w.Write([]byte{1, 2, 3}) }, DNS{Name: "x.", TCP: true}, expectation{policy.Refused, `malformed answer from .*`}},
		{"truncated", func(w dns.ResponseWriter, q *dns.Msg) {
			if _, udp := w.RemoteAddr().(*net.UDPAddr); udp {
				m := new(dns.Msg).SetReply(q)
				m.Truncated = true
				_ = w.WriteMsg(m)
				return
			}
			_ = w.WriteMsg(shop(q))
		}, DNS{Name: "www.shop.example.", Type: "A", Answer: []string{"203.0.113.10"}}, expectation{policy.Success, `NOERROR from .*`}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			target := Target{Check: Check{DNS: &tc.dns}, Interval: 200 * time.Millisecond}
			tc.dns.Port = nameServer(t, tc.server)
			tc.expect.check(t, once(t, tc.expect.in(target)))
		})
	}
	for _, tcp := range []bool{false, true} {
		target := Target{Check: Check{DNS: &DNS{Port: closedPort(t), Name: "x.", TCP: tcp}}, Timeout: 6 * time.Second}
		expectation{policy.Refused, `connection refused by 127\.0\.0\.1:\d+ after .*`}.check(t, once(t, target))
	}
}

// A question that was lost is asked again beside the first.
func TestDNSLostQuestion(t *testing.T) {
	var asked atomic.Int32
	port := nameServer(t, func(w dns.ResponseWriter, q *dns.Msg) {
		if asked.Add(1) > 2 {
			_ = w.WriteMsg(new(dns.Msg).SetReply(q))
		}
	})
	target := Target{Check: Check{DNS: &DNS{Port: port, Name: "shop.example."}}, Timeout: 600 * time.Millisecond}
	expectation{policy.Success, `NOERROR from .*`}.check(t, once(t, target))
}
