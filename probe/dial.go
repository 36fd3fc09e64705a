package probe

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// conn is a TCP connection of one attempt at a time; the end of that attempt's
// context lets its reads and writes fail. It is opened with as few system
// calls as do: net.Dialer makes some ten for what is open for a millisecond.
type conn struct {
	*os.File // the socket, under the runtime's poller
	raw      syscall.RawConn
	remote   netip.AddrPort
	unbind   func() bool
}

// dial connects. The connection dies with a reset: nothing that counts is lost
// by it, and no port stays in TIME_WAIT.
func dial(ctx context.Context, to netip.AddrPort) (*conn, error) {
	fd, err := connect(to)
	if err != nil {
		return nil, err
	}
	return wait(ctx, fd, to)
}

// reach connects, and that is all.
func reach(ctx context.Context, to netip.AddrPort) error {
	fd, err := connect(to)
	if err != nil {
		return err
	}
	// On this host, as a node probes its own balancer, the handshake is over
	// when connect returns. Then there is nothing to wait for.
	if _, err := unix.Getpeername(fd); err == nil {
		return unix.Close(fd)
	}
	c, err := wait(ctx, fd, to)
	if err == nil {
		c.drop()
	}
	return err
}

// connect opens a socket and starts to connect it.
func connect(to netip.AddrPort) (fd int, err error) {
	addr, domain, err := sockaddr(to)
	if err != nil {
		return -1, err
	}
	fd, err = unix.Socket(domain, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	err = unix.Connect(fd, addr)
	if err != nil && err != unix.EINPROGRESS && err != unix.EINTR {
		_ = unix.Close(fd)
		return -1, portFault(os.NewSyscallError("connect", err), "tcp", to)
	}
	return fd, nil
}

// wait makes a connection of a socket that is connecting.
func wait(ctx context.Context, fd int, to netip.AddrPort) (*conn, error) {
	c := &conn{File: os.NewFile(uintptr(fd), "socket"), remote: to}
	var err error
	if c.raw, err = c.SyscallConn(); err != nil {
		_ = c.File.Close()
		return nil, err
	}
	c.bind(ctx)
	if err := c.connected(); err != nil {
		c.drop()
		return nil, err
	}
	return c, nil
}

// connected waits until the handshake has ended, one way or the other.
func (c *conn) connected() error {
	var failed error
	err := c.raw.Write(func(fd uintptr) bool {
		if _, err := unix.Getpeername(int(fd)); err == nil {
			return true
		}
		code, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
		if err != nil {
			failed = os.NewSyscallError("getsockopt", err)
		} else if code != 0 {
			failed = os.NewSyscallError("connect", syscall.Errno(code))
		}
		return failed != nil
	})
	if err != nil {
		return err
	}
	return failed
}

func sockaddr(to netip.AddrPort) (unix.Sockaddr, int, error) {
	if to.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}, unix.AF_INET, nil
	}
	a := &unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()}
	if zone := to.Addr().Zone(); zone != "" {
		if n, err := strconv.ParseUint(zone, 10, 32); err == nil {
			a.ZoneId = uint32(n)
		} else if link, err := net.InterfaceByName(zone); err == nil {
			a.ZoneId = uint32(link.Index)
		} else {
			return nil, 0, err
		}
	}
	return a, unix.AF_INET6, nil
}

// secure makes the TLS handshake and returns what to read from and write to.
func (c *conn) secure(config *tls.Config) (io.ReadWriter, error) {
	// The request follows the handshake's last word at once.
	_ = c.raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) })
	client := tls.Client(c, config)
	if err := client.Handshake(); err != nil {
		return nil, &handshakeError{err}
	}
	return client, nil
}

// bind gives the connection to the attempt of ctx; free takes it back. free
// returns false when ctx has ended: the connection is of no use then.
func (c *conn) bind(ctx context.Context) {
	c.unbind = context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
}

func (c *conn) free() bool { return c.unbind() }

// drop closes the connection, without the farewells of TLS.
func (c *conn) drop() {
	c.unbind()
	_ = c.File.Close()
}

// quiet says whether nothing has arrived that was not read, neither data (a
// server's 408 before it closes) nor an end.
func (c *conn) quiet() bool {
	quiet := false
	err := c.raw.Read(func(fd uintptr) bool {
		var b [1]byte
		_, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		quiet = err == unix.EAGAIN
		return true
	})
	return err == nil && quiet
}

// LocalAddr and RemoteAddr make the connection a net.Conn, for crypto/tls.
func (c *conn) LocalAddr() net.Addr  { return &net.TCPAddr{} }
func (c *conn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.remote) }

// judge tells apart what a failed dial, read or write says: an answer that
// says no, or none.
func judge(err error, peer string) result {
	if timedOut(err) {
		return noAnswer("")
	}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		switch errno {
		case syscall.ECONNREFUSED:
			return refused("connection refused by "+peer, "")
		case syscall.ECONNRESET, syscall.EPIPE:
			return refused("connection reset by "+peer, "")
		}
		// A path (no route) or this host (no port, no file descriptor left), not
		// the target. Another attempt may fare better.
		return unasked(faultOf(err), errorText(err))
	}
	if why := tlsRefusal(err); why != "" {
		return refused("TLS fails with "+peer, why)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return refused("connection closed by "+peer, "")
	}
	return unasked(faultOf(err), errorText(err))
}

// errorText is the innermost text of an error; who was asked what is in the
// reason already.
func errorText(err error) string {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno.Error()
	}
	return err.Error()
}

// timedOut says whether an error only tells that the attempt was ended.
func timedOut(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// fromNetwork says whether an error comes from reading, not from what was read.
func fromNetwork(err error) bool {
	var errno syscall.Errno
	return timedOut(err) || errors.As(err, &errno) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}
