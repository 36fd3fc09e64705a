package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/scloudstack/pharos/integration/lab/host"
)

const askWithin = time.Second

// Answer is what a name was answered with: addresses, or a response code alone.
type Answer struct {
	Addresses []netip.Addr // ascending
	Rcode     int
	TTL       time.Duration // of the addresses
}

// String is the addresses, else NODATA or the response code's name.
func (a Answer) String() string {
	var all []string
	for _, addr := range a.Addresses {
		all = append(all, addr.String())
	}
	switch {
	case len(all) > 0:
		return strings.Join(all, " ")
	case a.Rcode == dns.RcodeSuccess:
		return "NODATA"
	}
	return dns.RcodeToString[a.Rcode]
}

// question asks for the addresses (A) of a name.
func question(name string) *dns.Msg {
	return new(dns.Msg).SetQuestion(dns.Fqdn(name), dns.TypeA)
}

func answerOf(m *dns.Msg) Answer {
	a := Answer{Rcode: m.Rcode}
	for _, rr := range m.Answer {
		if r, ok := rr.(*dns.A); ok {
			if addr, ok := netip.AddrFromSlice(r.A.To4()); ok {
				a.Addresses = append(a.Addresses, addr)
				a.TTL = time.Duration(r.Hdr.Ttl) * time.Second
			}
		}
	}
	slices.SortFunc(a.Addresses, netip.Addr.Compare)
	return a
}

// Ask asks the node from its site's clients, over UDP, once.
func (n *Node) Ask(name string) (Answer, error) {
	return AskFrom(n.site.clients, n.access, name)
}

// AskFrom asks a server from any host, over UDP, once.
func AskFrom(h *host.Host, server netip.Addr, name string) (Answer, error) {
	ctx, cancel := context.WithTimeout(context.Background(), askWithin)
	defer cancel()
	conn, err := h.Dial(ctx, "udp", netip.AddrPortFrom(server, 53).String())
	if err != nil {
		return Answer{}, fmt.Errorf("ask %s: %w", server, err)
	}
	defer func() { _ = conn.Close() }()
	c := dns.Client{Timeout: askWithin}
	m, _, err := c.ExchangeWithConn(question(name), &dns.Conn{Conn: conn})
	var late net.Error
	if errors.As(err, &late) && late.Timeout() {
		return Answer{}, fmt.Errorf("%s from %s: no answer within %s", name, server, askWithin)
	}
	if err != nil {
		return Answer{}, fmt.Errorf("%s from %s: %w", name, server, err)
	}
	return answerOf(m), nil
}

// Answers, for Eventually and Steady: every node of those given, or else every
// one that runs, answers with exactly these addresses, or with a word that
// Answer.String knows.
func (l *Lab) Answers(name, want string, on ...*Node) func() error {
	return func() error {
		asked := 0
		for _, n := range l.nodes {
			if len(on) > 0 && !slices.Contains(on, n) || len(on) == 0 && !n.Running() {
				continue
			}
			asked++
			got, err := n.Ask(name)
			if err != nil {
				return fmt.Errorf("node %s: %w", n.Name(), err)
			}
			if got.String() != want {
				return fmt.Errorf("node %s: %s is answered with %s, want %s", n.Name(), name, got, want)
			}
		}
		if asked == 0 {
			return errors.New("no node runs")
		}
		return nil
	}
}

// Agree, for Eventually and Steady: every node of those given, or else every one that
// runs, has decided the same, by the digest of its revision.
func (l *Lab) Agree(on ...*Node) func() error {
	return func() error {
		digests := map[string][]string{}
		for _, n := range l.nodes {
			if len(on) > 0 && !slices.Contains(on, n) || len(on) == 0 && !n.Running() {
				continue
			}
			var status struct {
				Decision struct{ Digest string }
			}
			if err := n.JSON(&status, "status"); err != nil {
				return err
			}
			digest := status.Decision.Digest
			digests[digest] = append(digests[digest], n.Name())
		}
		switch len(digests) {
		case 0:
			return errors.New("no node runs")
		case 1:
			return nil
		}
		return fmt.Errorf("nodes have decided differently: %v", digests)
	}
}
