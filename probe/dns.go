package probe

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// dnsChecker asks a name server. Each attempt has a socket, port and message
// id of its own.
type dnsChecker struct {
	d      DNS
	addr   netip.AddrPort
	name   string // addr, for people
	query  dns.Msg
	packed []byte // query, in wire form
	rcode  int
	answer []dns.RR // owner and TTL do not matter
}

func newDNSChecker(t Target) (*dnsChecker, error) {
	d := *t.Check.DNS
	if d.Port == 0 {
		d.Port = 53
	}
	if d.Type == "" {
		d.Type = "SOA"
	}
	c := &dnsChecker{d: d, addr: netip.AddrPortFrom(t.Address, d.Port)}
	c.name = c.addr.String()
	c.query.SetQuestion(dns.Fqdn(d.Name), dns.StringToType[strings.ToUpper(d.Type)])
	c.query.RecursionDesired = false
	c.query.SetEdns0(1232, false)
	if d.Rcode != "" {
		c.rcode = dns.StringToRcode[strings.ToUpper(d.Rcode)]
	}
	var err error
	if c.packed, err = c.query.Pack(); err != nil {
		return nil, err
	}
	c.answer, err = d.answers()
	return c, err
}

// answers reads the expected rdata.
func (d *DNS) answers() ([]dns.RR, error) {
	typ := strings.ToUpper(d.Type)
	if typ == "" {
		typ = "SOA"
	}
	var rrs []dns.RR
	for _, rdata := range d.Answer {
		rr, err := dns.NewRR(". 0 IN " + typ + " " + rdata)
		if err != nil || rr == nil {
			return nil, fmt.Errorf("%q is no rdata of type %s", rdata, typ)
		}
		rrs = append(rrs, rr)
	}
	return rrs, nil
}

func (c *dnsChecker) peer() string { return c.name }
func (c *dnsChecker) close()       {}

func (c *dnsChecker) attempt(ctx context.Context, _ int) result {
	network := "udp"
	if c.d.TCP {
		network = "tcp"
	}
	reply, err := c.exchange(ctx, network)
	if err == nil && reply.Truncated && network == "udp" && len(c.answer) > 0 {
		reply, err = c.exchange(ctx, "tcp")
	}
	switch {
	case errors.Is(err, errMalformed):
		return refused("malformed answer from "+c.name, "")
	case err != nil:
		return judge(err, c.name)
	}
	return c.judge(reply)
}

// exchange asks once, and takes the answer to the question, whatever else
// comes along: a datagram that does not fit may be forged or late.
func (c *dnsChecker) exchange(ctx context.Context, network string) (*dns.Msg, error) {
	var dialer net.Dialer
	socket, err := dialer.DialContext(ctx, network, c.name)
	if err != nil {
		return nil, portFault(err, network, c.addr)
	}
	defer socket.Close()
	stop := context.AfterFunc(ctx, func() { _ = socket.SetDeadline(time.Unix(1, 0)) })
	defer stop()

	query := c.query // the copy has an id of its own, and shares what is only read
	query.Id = dns.Id()
	packed := slices.Clone(c.packed)
	binary.BigEndian.PutUint16(packed, query.Id)
	wire := dns.Conn{Conn: socket, UDPSize: 1232}
	if _, err := wire.Write(packed); err != nil {
		return nil, err
	}
	for {
		packet, err := wire.ReadMsgHeader(nil)
		if err != nil && !errors.Is(err, dns.ErrShortRead) {
			return nil, err
		}
		reply, err := readReply(packet, &query)
		if err == nil || network == "tcp" {
			return reply, err
		}
	}
}

// readReply decodes a packet if it is the answer to query.
func readReply(packet []byte, query *dns.Msg) (*dns.Msg, error) {
	reply := new(dns.Msg)
	if err := reply.Unpack(packet); err != nil {
		return nil, fmt.Errorf("%w: %w", errMalformed, err)
	}
	if !reply.Response || reply.Id != query.Id || reply.Opcode != query.Opcode {
		return nil, fmt.Errorf("%w: not to this question", errMalformed)
	}
	// Errors may come without the question (RFC 9619 §4, FORMERR).
	if len(reply.Question) == 0 && reply.Rcode != dns.RcodeSuccess {
		return reply, nil
	}
	if len(reply.Question) != 1 {
		return nil, fmt.Errorf("%w: %d questions", errMalformed, len(reply.Question))
	}
	asked, got := query.Question[0], reply.Question[0]
	if got.Qtype != asked.Qtype || got.Qclass != asked.Qclass || !strings.EqualFold(got.Name, asked.Name) {
		return nil, fmt.Errorf("%w: not to this question", errMalformed)
	}
	return reply, nil
}

func (c *dnsChecker) judge(reply *dns.Msg) result {
	rcode := dns.RcodeToString[reply.Rcode]
	if rcode == "" {
		rcode = fmt.Sprintf("RCODE%d", reply.Rcode)
	}
	what := rcode + " from " + c.name
	if reply.Rcode != c.rcode {
		return refused(what, "")
	}
	for _, want := range c.answer {
		if !contains(reply.Answer, want) {
			return refused(what, "answer lacks "+rdata(want))
		}
	}
	return success(what)
}

func contains(answer []dns.RR, want dns.RR) bool {
	for _, rr := range answer {
		if rr.Header().Rrtype != want.Header().Rrtype {
			continue
		}
		same := dns.Copy(rr)
		same.Header().Name = want.Header().Name
		if dns.IsDuplicate(same, want) {
			return true
		}
	}
	return false
}

func rdata(rr dns.RR) string {
	return strings.TrimPrefix(rr.String(), rr.Header().String())
}
