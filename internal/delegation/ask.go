package delegation

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"
)

const (
	askTimeout = 3 * time.Second // for one question to one server
	ednsSize   = 1232
)

// Resolver finds servers and asks them.
type Resolver struct {
	Address netip.AddrPort // a recursive resolver
	Port    uint16         // where the parent's servers listen; 0: 53
}

// ask puts one question to one server, again over TCP where UDP was too small.
func ask(ctx context.Context, server netip.AddrPort, name string, qtype uint16, recurse bool) (*dns.Msg, error) {
	q := new(dns.Msg).SetQuestion(name, qtype)
	q.RecursionDesired = recurse
	q.SetEdns0(ednsSize, false)
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var answer *dns.Msg
	var err error
	for _, transport := range []string{"udp", "tcp"} {
		c := &dns.Client{Net: transport, Timeout: askTimeout}
		answer, _, err = c.ExchangeContext(ctx, q, server.String())
		if err == nil && !answer.Truncated {
			return answer, nil
		}
	}
	if err == nil {
		err = errors.New("the answer is cut off over TCP too")
	}
	return nil, fmt.Errorf("ask %s for %s %s: %w", server, name, dns.TypeToString[qtype], err)
}

// parent is the zone above, and the addresses of its servers.
type parent struct {
	zone    string
	servers []netip.AddrPort
}

// parentOf walks up from a zone until a name has NS records of its own.
func (r Resolver) parentOf(ctx context.Context, zone string) (parent, error) {
	for name := zone; name != "."; {
		next, end := dns.NextLabel(name, 0)
		if name = name[next:]; end || name == "" {
			name = "."
		}
		answer, err := ask(ctx, r.Address, name, dns.TypeNS, true)
		if err != nil {
			return parent{}, err
		}
		if answer.Rcode != dns.RcodeSuccess && answer.Rcode != dns.RcodeNameError {
			return parent{}, fmt.Errorf("ask %s for %s NS: %s", r.Address, name, dns.RcodeToString[answer.Rcode])
		}
		var hosts []string
		for _, rr := range answer.Answer {
			if ns, ok := rr.(*dns.NS); ok && strings.EqualFold(ns.Hdr.Name, name) {
				hosts = append(hosts, canonical(ns.Ns))
			}
		}
		if len(hosts) > 0 {
			servers, err := r.addresses(ctx, hosts)
			return parent{name, servers}, err
		}
	}
	return parent{}, fmt.Errorf("the resolver %s knows no zone above %s", r.Address, zone)
}

// addresses finds where hosts listen. One address of one host is enough.
func (r Resolver) addresses(ctx context.Context, hosts []string) ([]netip.AddrPort, error) {
	port := r.Port
	if port == 0 {
		port = 53
	}
	var found []netip.AddrPort
	var errs []error
	for _, host := range hosts {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
			answer, err := ask(ctx, r.Address, host, qtype, true)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			for _, addr := range addressesIn(answer.Answer, host) {
				found = append(found, netip.AddrPortFrom(addr, port))
			}
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("no address of %s is found: %w", strings.Join(hosts, ", "), errors.Join(errs...))
	}
	return found, nil
}

// addressesIn picks the addresses of a host.
func addressesIn(rrs []dns.RR, host string) []netip.Addr {
	var all []netip.Addr
	for _, rr := range rrs {
		if canonical(rr.Header().Name) != host {
			continue
		}
		switch v := rr.(type) {
		case *dns.A:
			if a, ok := netip.AddrFromSlice(v.A.To4()); ok {
				all = append(all, a)
			}
		case *dns.AAAA:
			if a, ok := netip.AddrFromSlice(v.AAAA.To16()); ok {
				all = append(all, a)
			}
		}
	}
	return all
}

func canonical(name string) string { return dns.CanonicalName(name) }
