package probe

import (
	"bytes"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/scloudstack/pharos/policy"
)

// stream is a connection that sends data, in pieces, and then ends.
type stream struct {
	data  []byte
	piece int
	read  int
}

func (s *stream) Read(p []byte) (int, error) {
	n := copy(p, s.data[:min(len(s.data), s.piece)])
	s.data = s.data[n:]
	s.read += n
	if n == 0 && len(p) > 0 {
		return 0, errStreamEnd
	}
	return n, nil
}

var errStreamEnd = &handshakeError{http.ErrBodyNotAllowed} // any error

func (s *stream) SetReadDeadline(time.Time) error { return nil }

// FuzzAnswer reads HTTP answers: bounded, and the same whatever the pieces that
// they come in.
func FuzzAnswer(f *testing.F) {
	for _, seed := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
		"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX: y\r\n\r\n",
		"HTTP/1.0 302 Found\r\nLocation: /x\r\nConnection: close\r\n\r\n",
		"HTTP/1.1 101 Switching Protocols\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\nx",
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\n",
		"SSH-2.0-x\r\n",
		"\r\n\r\n",
	} {
		f.Add([]byte(seed), uint8(3), true)
		f.Add([]byte(seed), uint8(255), false)
	}
	f.Fuzz(func(t *testing.T, data []byte, piece uint8, wanted bool) {
		read := func(piece int) (answer, error) {
			s := &stream{data: data, piece: piece}
			r := newAnswerReader(s)
			defer r.free()
			a, err := r.answer(&http.Request{Method: http.MethodGet}, wanted, s)
			if s.read > maxHeader+maxBody || len(a.body) > maxBody {
				t.Errorf("read %d octets, %d of them body", s.read, len(a.body))
			}
			if a.keep && err != nil {
				t.Errorf("connection kept after %v", err)
			}
			if a.keep && len(s.data) == 0 && s.read != len(data) {
				t.Error("connection kept with unread data")
			}
			if err == nil && (a.status < 200 || a.status > 999) {
				t.Errorf("status %d", a.status)
			}
			if err != nil {
				if r := judgeHTTP(err, "peer"); r.outcome == policy.Success {
					t.Errorf("%v is success", err)
				}
			}
			return a, err
		}
		a, errA := read(int(piece) + 1)
		b, errB := read(1 << 20)
		if (errA == nil) != (errB == nil) || errA == nil && (a.status != b.status || !bytes.Equal(a.body, b.body)) {
			t.Errorf("in pieces %+v, %v; whole %+v, %v", a, errA, b, errB)
		}
	})
}

// FuzzEcho reads ICMP messages: only the exact reply is taken.
func FuzzEcho(f *testing.F) {
	addr := netip.MustParseAddr("192.0.2.1")
	for _, six := range []bool{false, true} {
		s := testSocket(six, true)
		f.Add(reply(s, s.expect(addr, stdPayload)), six, true)
		f.Add(reply(s, s.expect(addr, minPayload)), six, false)
	}
	f.Add([]byte{0, 0}, false, true)
	f.Fuzz(func(t *testing.T, m []byte, six, raw bool) {
		s := testSocket(six, raw)
		e := s.expect(addr, stdPayload)
		s.take(m, addr)
		want := reply(s, e)
		exact := len(m) == len(want) && m[0] == want[0] && m[1] == 0 && bytes.Equal(m[6:], want[6:]) && (!raw || bytes.Equal(m[4:6], want[4:6]))
		select {
		case <-e.replied:
			if !exact {
				t.Errorf("%x taken for %x", m, want)
			}
		default:
			if exact {
				t.Errorf("%x not taken", m)
			}
		}
	})
}

// FuzzReply reads DNS messages, and judges those that answer the question.
func FuzzReply(f *testing.F) {
	c, err := newDNSChecker(Target{Address: netip.MustParseAddr("192.0.2.1"), Check: Check{DNS: &DNS{Name: "www.shop.example.", Type: "A", Answer: []string{"203.0.113.10"}}}})
	if err != nil {
		f.Fatal(err)
	}
	query := c.query
	query.Id = 0x1234
	good := new(dns.Msg).SetReply(&query)
	rr, err := dns.NewRR("www.shop.example. 10 IN A 203.0.113.10")
	if err != nil {
		f.Fatal(err)
	}
	good.Answer = []dns.RR{rr}
	for _, m := range []*dns.Msg{good, new(dns.Msg).SetRcode(&query, dns.RcodeServerFailure), &query} {
		packet, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(packet)
	}
	f.Add([]byte{0x12, 0x34, 0x80, 0x01, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, packet []byte) {
		reply, err := readReply(packet, &query)
		if err != nil {
			return
		}
		if !reply.Response || reply.Id != query.Id {
			t.Errorf("taken: %v", reply)
		}
		if r := c.judge(reply); r.outcome == policy.Success && !contains(reply.Answer, c.answer[0]) {
			t.Errorf("success without the expected answer: %v", reply)
		}
	})
}
