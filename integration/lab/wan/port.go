package wan

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	frameSize     = 2048    // an Ethernet frame of MTU 1500, and room
	batch         = 32      // frames read by one call
	receiveBuffer = 8 << 20 // octets the kernel may hold for one port
	controlSize   = 64      // holds one SCM_TIMESTAMPNS
)

// port is one interface, read and written through a packet socket.
type port struct {
	name string
	fd   int
	peer *port
	line line // from here to the peer
	counts
	missed uint64 // frames the kernel had no room for; the kernel's count is cleared by reading it
}

// mmsghdr is the kernel's struct mmsghdr.
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
	_   [4]byte
}

func openPort(name string) (*port, error) {
	i, err := net.InterfaceByName(name)
	if err != nil {
		return nil, fmt.Errorf("port %s: %w", name, err)
	}
	// Protocol 0: nothing is read before the options are set and it is bound.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("port %s: %w", name, os.NewSyscallError("socket", err))
	}
	p := &port{name: name, fd: fd}
	if err := p.setUp(i.Index); err != nil {
		return nil, errors.Join(fmt.Errorf("port %s: %w", name, err), p.close())
	}
	return p, nil
}

func (p *port) setUp(index int) error {
	for _, o := range []struct{ level, name, value int }{
		{unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1}, // or every frame sent would be read again
		{unix.SOL_PACKET, unix.PACKET_QDISC_BYPASS, 1},
		{unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1},
		{unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer},
		{unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, receiveBuffer},
	} {
		if err := unix.SetsockoptInt(p.fd, o.level, o.name, o.value); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	all := binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, unix.ETH_P_ALL)) // htons
	return os.NewSyscallError("bind", unix.Bind(p.fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: index}))
}

func (p *port) close() error { return unix.Close(p.fd) }

// kernelMissed adds what the kernel dropped since it was asked last.
func (p *port) kernelMissed() uint64 {
	if s, err := unix.GetsockoptTpacketStats(p.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil {
		p.missed += uint64(s.Drops)
	}
	return p.missed
}

// send writes a frame; a full buffer loses it, as a wire would.
func (p *port) send(f *frame) error {
	for {
		_, err := unix.Write(p.fd, f.data[:f.octets])
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// reader reads batches of frames. Its frames are replaced as they are taken.
type reader struct {
	headers [batch]mmsghdr
	vectors [batch]unix.Iovec
	control [batch][controlSize]byte
	frames  [batch]*frame
}

// read reads what is there, up to a batch, and returns how many.
func (r *reader) read(p *port, fresh func() *frame) int {
	for i := range r.headers {
		if r.frames[i] == nil {
			f := fresh()
			r.frames[i] = f
			r.vectors[i] = unix.Iovec{Base: &f.data[0], Len: frameSize}
			r.headers[i].hdr = unix.Msghdr{Iov: &r.vectors[i], Iovlen: 1, Control: &r.control[i][0]}
		}
		r.headers[i].hdr.Controllen = controlSize
		r.headers[i].hdr.Flags = 0
	}
	n, _, err := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(p.fd), uintptr(unsafe.Pointer(&r.headers[0])), batch, unix.MSG_DONTWAIT, 0, 0)
	if err != 0 {
		return 0 // EAGAIN and EINTR: it is polled again
	}
	return int(n)
}

// take hands out the i-th frame of the last batch; nil when it did not fit.
func (r *reader) take(i int, now int64) *frame {
	h, f := &r.headers[i], r.frames[i]
	if h.hdr.Flags&unix.MSG_TRUNC != 0 {
		return nil
	}
	r.frames[i] = nil
	f.octets = int(h.len)
	f.stamp = min(stampOf(r.control[i][:h.hdr.Controllen], now), now)
	return f
}

// stampOf finds the kernel's receive stamp among control messages.
func stampOf(control []byte, otherwise int64) int64 {
	if len(control) < unix.SizeofCmsghdr+int(unsafe.Sizeof(unix.Timespec{})) {
		return otherwise
	}
	h := (*unix.Cmsghdr)(unsafe.Pointer(&control[0]))
	if h.Level != unix.SOL_SOCKET || h.Type != unix.SCM_TIMESTAMPNS {
		return otherwise
	}
	return (*unix.Timespec)(unsafe.Pointer(&control[unix.SizeofCmsghdr])).Nano()
}
