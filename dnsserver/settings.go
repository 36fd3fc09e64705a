package dnsserver

import (
	"encoding/binary"
	"net/netip"

	"github.com/miekg/dns"
)

// settings is what answers need of the configuration.
type settings struct {
	udpSize  int
	opt      [optLen]byte // without DO and options
	nsid     string
	version  string // "": refused
	serverID string // "": refused
	trusted  []netip.Prefix
}

func newSettings(c Config) *settings {
	s := &settings{
		udpSize: int(c.EDNSSize), nsid: c.NSID, version: c.Version, serverID: c.ServerID, trusted: c.ECSTrusted,
	}
	if c.HideVersion {
		s.version = ""
	}
	binary.BigEndian.PutUint16(s.opt[1:], dns.TypeOPT)
	binary.BigEndian.PutUint16(s.opt[3:], c.EDNSSize)
	return s
}

// trusts says whether a source's EDNS Client Subnet is believed.
func (s *settings) trusts(a netip.Addr) bool {
	for _, p := range s.trusted {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
