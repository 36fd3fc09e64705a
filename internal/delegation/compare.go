package delegation

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/scloudstack/pharos/zones"
)

// Report is how a zone's delegation compares.
type Report struct {
	Zone     string   `json:"zone"`
	Parent   string   `json:"parent,omitempty"`
	Servers  []string `json:"servers,omitempty"`  // of the parent, that answered
	Findings []string `json:"findings,omitempty"` // what differs
	Error    string   `json:"error,omitempty"`    // why nothing could be compared
}

// referral is a delegation: name servers, and addresses for some of them.
type referral struct {
	hosts []string
	glue  map[string][]netip.Addr
}

// Check compares a zone with what each server of its parent answers.
func (r Resolver) Check(ctx context.Context, z *zones.Zone) Report {
	report := Report{Zone: z.Name()}
	if report.Zone == "." {
		report.Error = "the root has no parent"
		return report
	}
	up, err := r.parentOf(ctx, z.Name())
	if err != nil {
		report.Error = err.Error()
		return report
	}
	report.Parent = up.zone
	own := ofZone(z)
	var errs []error
	for _, server := range up.servers {
		theirs, err := referralFrom(ctx, server, z.Name())
		if err != nil {
			errs = append(errs, err)
			continue
		}
		report.Servers = append(report.Servers, server.String())
		for _, f := range compare(z.Name(), own, theirs) {
			if !slices.Contains(report.Findings, f) {
				report.Findings = append(report.Findings, f)
			}
		}
	}
	if len(report.Servers) == 0 {
		report.Error = errors.Join(errs...).Error()
	}
	return report
}

// ofZone is what the zone says of itself: its apex NS, and the addresses of
// those name servers that it has.
func ofZone(z *zones.Zone) referral {
	own := referral{glue: map[string][]netip.Addr{}}
	set, _ := z.RRset(z.Apex(), dns.TypeNS)
	for rdata := range set.All() {
		host := canonical(zones.NameText(rdata))
		own.hosts = append(own.hosts, host)
		owner, err := zones.NameToWire(host)
		if err != nil || !dns.IsSubDomain(z.Name(), host) {
			continue
		}
		for _, typ := range []uint16{dns.TypeA, dns.TypeAAAA} {
			addrs, _ := z.RRset(owner, typ)
			for rdata := range addrs.All() {
				if addr, ok := netip.AddrFromSlice(rdata); ok {
					own.glue[host] = append(own.glue[host], addr)
				}
			}
		}
	}
	return own
}

// referralFrom asks one server of the parent. It answers with a referral, or
// with its own authority where it serves the child too.
func referralFrom(ctx context.Context, server netip.AddrPort, zone string) (referral, error) {
	m, err := ask(ctx, server, zone, dns.TypeNS, false)
	if err != nil {
		return referral{}, err
	}
	theirs := referral{glue: map[string][]netip.Addr{}}
	for _, rr := range append(slices.Clone(m.Ns), m.Answer...) {
		if ns, ok := rr.(*dns.NS); ok && canonical(ns.Hdr.Name) == zone {
			theirs.hosts = append(theirs.hosts, canonical(ns.Ns))
		}
	}
	if len(theirs.hosts) == 0 {
		return referral{}, fmt.Errorf("%s does not delegate %s: %s without NS records", server, zone, dns.RcodeToString[m.Rcode])
	}
	for _, host := range theirs.hosts {
		theirs.glue[host] = addressesIn(m.Extra, host)
	}
	return theirs, nil
}

// compare says what a person has to mend, and on which side.
func compare(zone string, own, theirs referral) []string {
	var found []string
	for _, host := range own.hosts {
		if !slices.Contains(theirs.hosts, host) {
			found = append(found, fmt.Sprintf("NS %s is in the zone, not at the parent", host))
		}
	}
	for _, host := range theirs.hosts {
		if !slices.Contains(own.hosts, host) {
			found = append(found, fmt.Sprintf("NS %s is at the parent, not in the zone", host))
			continue
		}
		if !dns.IsSubDomain(zone, host) {
			continue // its addresses are another zone's to say
		}
		mine, glue := sorted(own.glue[host]), sorted(theirs.glue[host])
		switch {
		case len(glue) == 0:
			found = append(found, fmt.Sprintf("%s has no glue at the parent: nobody can find it", host))
		case !slices.Equal(mine, glue):
			found = append(found, fmt.Sprintf("%s is %s in the zone, %s at the parent", host, list(mine), list(glue)))
		}
	}
	return found
}

func sorted(addrs []netip.Addr) []netip.Addr {
	return slices.Compact(slices.SortedFunc(slices.Values(addrs), netip.Addr.Compare))
}

func list(addrs []netip.Addr) string {
	if len(addrs) == 0 {
		return "without address"
	}
	words := make([]string, len(addrs))
	for i, a := range addrs {
		words[i] = a.String()
	}
	return strings.Join(words, " ")
}
