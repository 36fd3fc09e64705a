package dnsserver

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"time"

	"github.com/scloudstack/pharos/policy"
	"github.com/scloudstack/pharos/zones"
)

// Config is how the server listens and what it says of itself. The zero value
// of every field is usable.
type Config struct {
	Listen  []netip.AddrPort // UDP and TCP alike; IPv6 addresses take IPv6 only
	Threads int              // UDP sockets and threads for each of Listen; 0: one per core

	Version     string // TXT of version.bind and version.server in class CHAOS
	HideVersion bool   // refuse version.bind and version.server
	ServerID    string // TXT of id.server and hostname.bind; "": refused
	NSID        string // RFC 5001; "": not answered

	EDNSSize   uint16         // most octets of a UDP answer, 512 to 4096; 0: 1232
	ECSTrusted []netip.Prefix // sources whose EDNS Client Subnet is believed

	TCP TCPConfig
}

// TCPConfig bounds what TCP clients may hold.
type TCPConfig struct {
	MaxConns     int           // connections in all; past it the longest idle one is closed. 0: 1024
	MaxPerSource int           // connections from one IPv4 address or IPv6 /64; past it new ones are closed. 0: 64
	Idle         time.Duration // how long a connection may wait for a whole question. 0: 10 s
}

// Data is what is answered: one decision and the zones it lies over.
type Data struct {
	Revision *policy.Revision // nil: every steered name answers SERVFAIL
	Zones    []*zones.Zone    // with the steered names put in by WithNames
	Failed   []string         // zones (canonical names) that answer SERVFAIL to everything
}

const (
	defaultEDNSSize = 1232 // fits any path without fragments (DNS flag day 2020)
	minUDPSize      = 512  // RFC 1035 §4.2.1
	maxUDPSize      = 4096
)

// cores is how many the process may use; lendP has not changed it yet.
var cores = runtime.GOMAXPROCS(0)

// filled returns the configuration with its defaults put in, or what is wrong with it.
func (c Config) filled() (Config, error) {
	if c.Threads == 0 {
		c.Threads = cores
	}
	if c.EDNSSize == 0 {
		c.EDNSSize = defaultEDNSSize
	}
	if c.TCP.MaxConns == 0 {
		c.TCP.MaxConns = 1024
	}
	if c.TCP.MaxPerSource == 0 {
		c.TCP.MaxPerSource = 64
	}
	if c.TCP.Idle == 0 {
		c.TCP.Idle = 10 * time.Second
	}
	switch {
	case c.Threads < 0 || c.Threads > maxThreads:
		return c, fmt.Errorf("threads: %d, want 1 to %d", c.Threads, maxThreads)
	case c.EDNSSize < minUDPSize || c.EDNSSize > maxUDPSize:
		return c, fmt.Errorf("EDNS size: %d octets, want %d to %d", c.EDNSSize, minUDPSize, maxUDPSize)
	case c.TCP.MaxConns < 0 || c.TCP.MaxPerSource < 0 || c.TCP.Idle < 0:
		return c, errors.New("TCP limits: negative")
	case len(c.Version) > 255 || len(c.ServerID) > 255 || len(c.NSID) > 255:
		return c, errors.New("version, server id or NSID: longer than 255 octets")
	}
	seen := map[netip.AddrPort]bool{}
	for _, a := range c.Listen {
		if !a.IsValid() || a.Addr().Is4In6() {
			return c, fmt.Errorf("listen %v: not an IPv4 or IPv6 address with a port", a)
		}
		if a.Port() != 0 && seen[a] {
			return c, fmt.Errorf("listen %v: given twice", a)
		}
		seen[a] = true
	}
	return c, nil
}
