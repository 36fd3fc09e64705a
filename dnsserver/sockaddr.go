package dnsserver

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// sockaddr is a socket address as the kernel writes it: sockaddr_in or
// sockaddr_in6.
type sockaddr [unix.SizeofSockaddrInet6]byte

// addr is the IP address, without a zone.
func (s *sockaddr) addr() netip.Addr {
	if binary.NativeEndian.Uint16(s[:]) == unix.AF_INET {
		return netip.AddrFrom4([4]byte(s[4:8]))
	}
	return netip.AddrFrom16([16]byte(s[8:24]))
}

// setAddr keeps the address alone, for addr.
func (s *sockaddr) setAddr(a netip.Addr) {
	*s = sockaddr{}
	if a.Is4() {
		binary.NativeEndian.PutUint16(s[:], unix.AF_INET)
		b := a.As4()
		copy(s[4:], b[:])
		return
	}
	binary.NativeEndian.PutUint16(s[:], unix.AF_INET6)
	b := a.As16()
	copy(s[8:], b[:])
}
