package dnsserver

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	batch = 64
	// bufSize takes the longest answer. It is no multiple of a page, so that
	// the heads of the buffers do not share a set of the processor's cache.
	bufSize    = maxUDPSize + 192
	recvBuffer = 4 << 20 // octets of questions the kernel may hold for one socket
	sendWait   = 50 * time.Millisecond
	// recvWait is how long a thread waits for the next question with its P in
	// hand. The kernel makes it a tick or two of its clock.
	recvWait = time.Millisecond

	// sampleEvery is how many batches of answers one is timed of.
	sampleEvery = 32
)

// openUDP opens one socket of a group that shares the address.
func openUDP(at netip.AddrPort, size uint16) (fd int, err error) {
	family := unix.AF_INET
	if at.Addr().Is6() {
		family = unix.AF_INET6
	}
	fd, err = unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("udp %v: %w", at, os.NewSyscallError("socket", err))
	}
	if err := setUpUDP(fd, at, size); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("udp %v: %w", at, err)
	}
	return fd, nil
}

func setUpUDP(fd int, at netip.AddrPort, size uint16) error {
	type option struct{ level, name, value int }
	set := []option{{unix.SOL_SOCKET, unix.SO_REUSEPORT, 1}}
	if at.Addr().Is4() {
		if at.Addr().IsUnspecified() {
			set = append(set, option{unix.IPPROTO_IP, unix.IP_PKTINFO, 1})
		}
	} else {
		set = append(set, option{unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1})
		if at.Addr().IsUnspecified() {
			set = append(set, option{unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1})
		}
	}
	for _, o := range set {
		if err := unix.SetsockoptInt(fd, o.level, o.name, o.value); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	if err := setFragments(fd, at, size); err != nil {
		return err
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, recvBuffer) != nil {
		// Without CAP_NET_ADMIN, as much as net.core.rmem_max allows.
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, recvBuffer)
	}
	for name, wait := range map[int]time.Duration{unix.SO_SNDTIMEO: sendWait, unix.SO_RCVTIMEO: recvWait} {
		tv := unix.NsecToTimeval(int64(wait))
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, name, &tv); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	sa, err := bindAddress(at)
	if err != nil {
		return err
	}
	return os.NewSyscallError("bind", unix.Bind(fd, sa))
}

// setFragments says, for answers of that size at most, whether they may be sent
// in fragments. Those that fit any path are not (RFC 9715), others may be. In
// no case does an ICMP message, which may be forged, make the kernel do so.
func setFragments(fd int, at netip.AddrPort, size uint16) error {
	level, name, value := unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_PROBE
	if at.Addr().Is6() {
		level, name, value = unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_PROBE
	}
	if size > defaultEDNSSize {
		value = unix.IP_PMTUDISC_OMIT // the same number for both
	}
	return os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, level, name, value))
}

func bindAddress(at netip.AddrPort) (unix.Sockaddr, error) {
	if at.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}, nil
	}
	sa := &unix.SockaddrInet6{Port: int(at.Port()), Addr: at.Addr().As16()}
	if zone := at.Addr().Zone(); zone != "" {
		if n, err := strconv.Atoi(zone); err == nil {
			sa.ZoneId = uint32(n)
		} else if i, err := net.InterfaceByName(zone); err == nil {
			sa.ZoneId = uint32(i.Index)
		} else {
			return nil, err
		}
	}
	return sa, nil
}

// mmsghdr is the kernel's struct mmsghdr.
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
	_   [4]byte
}

// controlSize holds an IP_PKTINFO or an IPV6_PKTINFO.
const controlSize = unix.SizeofCmsghdr + 24

// udpThread serves one socket, from a thread of its own.
//
// It makes its system calls without telling the Go scheduler, and waits in
// recvmmsg as a server in C would: two calls a batch, and no hand-over of the
// P before and after each. So it holds a P while it waits, and brings one of
// its own (see lendP). The wait is short and has a timeout, for two reasons:
// the collector's signal ends it (without SO_RCVTIMEO the kernel would restart
// the call), and after a tick without questions the thread goes to poll, which
// gives the P back.
type udpThread struct {
	fd       int
	group    *udpGroup
	server   *Server
	r        responder
	wildcard bool // answers have to say which address they leave from

	// An answer leaves by the header that its question came by.
	headers [batch]mmsghdr
	vectors [batch]unix.Iovec
	from    [batch]sockaddr
	control [batch][controlSize]byte
	packets []byte
	batches uint
	dirty   int  // headers that are to be made ready for receiving
	warmed  byte // keeps the compiler from leaving out what warm does
}

func newUDPThread(s *Server, g *udpGroup, fd, laneNumber int, wildcard bool) *udpThread {
	t := &udpThread{fd: fd, group: g, server: s, wildcard: wildcard, packets: make([]byte, batch*bufSize), dirty: batch}
	laneNumber &= len(s.counters.lanes) - 1
	t.r = responder{counters: &s.counters.lanes[laneNumber], via: udp}
	for i := range batch {
		t.vectors[i].Base = &t.packets[i*bufSize]
		h := &t.headers[i].hdr
		h.Name = &t.from[i][0]
		h.Iov = &t.vectors[i]
		h.SetIovlen(1)
		if wildcard {
			h.Control = &t.control[i][0]
		}
	}
	return t
}

// run serves until its group ends. What is in the socket by then is answered.
func (t *udpThread) run() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer unix.Close(t.fd)
	for !t.group.ending.Load() {
		if n := t.receive(unix.MSG_WAITFORONE); n > 0 {
			t.answer(n)
		} else {
			t.wait()
		}
	}
	t.leave()
	for range maxLast {
		n := t.receive(unix.MSG_DONTWAIT)
		if n == 0 {
			return
		}
		t.answer(n)
	}
}

// leave takes the socket out of the choice for new packets, so that those who
// stay on the address get them: one that is connected, to itself, is passed over.
func (t *udpThread) leave() {
	at := t.group.at
	if at.Addr().IsUnspecified() {
		loopback := netip.AddrFrom4([4]byte{127, 0, 0, 1})
		if at.Addr().Is6() {
			loopback = netip.IPv6Loopback()
		}
		at = netip.AddrPortFrom(loopback, at.Port())
	}
	if sa, err := bindAddress(at); err == nil {
		_ = unix.Connect(t.fd, sa) // else a packet may be lost, as UDP does
	}
}

// maxLast bounds the batches that a thread answers before it ends.
const maxLast = 64

// wait blocks until there is a packet to read or the group ends.
func (t *udpThread) wait() {
	t.r.zone = nil // it may be an old one, and this may take long
	fds := [2]unix.PollFd{{Fd: int32(t.fd), Events: unix.POLLIN}, {Fd: int32(t.group.stop), Events: unix.POLLIN}}
	_, _ = unix.Poll(fds[:], -1) // EINTR is as good as a packet
}

// receive reads up to a batch.
func (t *udpThread) receive(flags uintptr) int {
	for i := range t.dirty {
		t.vectors[i].SetLen(maxUDPSize)
		h := &t.headers[i].hdr
		h.Namelen = uint32(len(t.from[i]))
		if t.wildcard {
			h.SetControllen(controlSize)
		}
	}
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(t.fd), uintptr(unsafe.Pointer(&t.headers[0])), batch,
		flags, 0, 0)
	t.dirty = 0
	if errno == 0 {
		t.dirty = int(n)
	}
	return t.dirty
}

// answer answers n packets.
func (t *udpThread) answer(n int) {
	t.batches++
	timed := t.batches%sampleEvery == 0
	var start time.Time
	if timed {
		start = time.Now()
	}
	v := t.server.view.Load()
	if n >= warmFrom {
		t.warm(v, n)
	}
	first := 0 // of those not sent yet
	for i := range n {
		h := &t.headers[i]
		buf := t.packets[i*bufSize : (i+1)*bufSize : (i+1)*bufSize]
		length := t.r.respond(v, buf, int(h.len), &t.from[i])
		if length == 0 { // rare
			t.send(first, i)
			first = i + 1
			continue
		}
		t.vectors[i].SetLen(length)
		if t.wildcard {
			h.hdr.SetControllen(leaveFrom(&t.control[i], int(h.hdr.Controllen)))
		}
	}
	t.send(first, n)
	t.r.flush()
	if timed {
		t.r.counters.observe(time.Since(start), n)
	}
}

// warmFrom is from how many packets on it pays to warm the cache.
const warmFrom = 4

// warm brings what a batch will need into the processor's cache. One after
// another each lookup would wait for memory several times; here the waits
// overlap. It guesses that all questions are like the last one answered.
func (t *udpThread) warm(v *view, n int) {
	var hashes [batch]uint64
	nm := &t.r.q.name
	for i := range n {
		if _, ok := nm.parse(t.packets[i*bufSize:(i+1)*bufSize], headerLen, int(t.headers[i].len)); ok {
			hashes[i] = nm.hash[0]
		}
	}
	if t.r.steering {
		t.warmed = v.warmSteered(hashes[:n])
	} else if t.r.zone != nil {
		t.warmed = t.r.zone.table.warm(hashes[:n])
	}
}

// leaveFrom makes of the control message that came with a packet the one that
// goes with its answer: it leaves from the address that was asked. The
// interface is routing's choice, save for link-local addresses.
func leaveFrom(c *[controlSize]byte, n int) int {
	if n < unix.SizeofCmsghdr+12 {
		return 0
	}
	data := c[unix.SizeofCmsghdr:]
	if level := binary.NativeEndian.Uint32(c[8:]); level == unix.IPPROTO_IP {
		clear(data[:4]) // in_pktinfo: interface, our address, destination
	} else if data[0] != 0xfe || data[1]&0xc0 != 0x80 {
		clear(data[16:20]) // in6_pktinfo: our address, interface
	}
	return n
}

// send sends the answers from one up to another. A socket that is full is
// waited for, a little.
func (t *udpThread) send(sent, end int) {
	for sent < end {
		done, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(t.fd), uintptr(unsafe.Pointer(&t.headers[sent])),
			uintptr(end-sent), unix.MSG_DONTWAIT, 0, 0)
		if errno == unix.EAGAIN {
			done, _, errno = unix.Syscall6(unix.SYS_SENDMMSG, uintptr(t.fd), uintptr(unsafe.Pointer(&t.headers[sent])),
				uintptr(end-sent), 0, 0, 0)
		}
		switch {
		case errno == unix.EINTR:
		case errno != 0:
			// The first one can't be sent: no route, refused by a filter.
			t.r.counters.drops[dropSend].Add(1)
			sent++
		default:
			sent += int(done)
		}
	}
}
