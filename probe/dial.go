package probe

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"
)

// Keep-alive is of no use to connections that are asked every second.
var dialer = net.Dialer{KeepAlive: -1}

// conn is a connection that the end of a context ends.
type conn struct {
	net.Conn // with TLS or without
	tcp      *net.TCPConn
	raw      syscall.RawConn
}

// dial connects to addr, with TLS unless config is nil. The connection dies
// with a reset: nothing that counts is lost, and no port is left in TIME_WAIT.
func dial(ctx context.Context, addr netip.AddrPort, config *tls.Config) (*conn, error) {
	tcp, err := dialer.DialTCP(ctx, "tcp", netip.AddrPort{}, addr)
	if err != nil {
		return nil, err
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		_ = tcp.Close()
		return nil, err
	}
	_ = tcp.SetLinger(0)
	c := &conn{tcp, tcp, raw}
	if config == nil {
		return c, nil
	}
	stop := c.endWith(ctx)
	defer stop()
	client := tls.Client(tcp, config)
	if err := client.Handshake(); err != nil {
		_ = tcp.Close()
		return nil, &handshakeError{err}
	}
	c.Conn = client
	return c, nil
}

// endWith lets reads and writes fail from the end of ctx on, until stop.
func (c *conn) endWith(ctx context.Context) (stop func() bool) {
	return context.AfterFunc(ctx, func() { _ = c.tcp.SetDeadline(time.Unix(1, 0)) })
}

// drop closes the connection, without the farewells of TLS.
func (c *conn) drop() { _ = c.tcp.Close() }

// idle says whether nothing has arrived that was not read, neither data (a
// server's 408 before it closes) nor an end.
func (c *conn) idle() bool {
	quiet := false
	err := c.raw.Read(func(fd uintptr) bool {
		var b [1]byte
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		quiet = err == syscall.EAGAIN
		return true
	})
	return err == nil && quiet
}

// judge tells apart what a failed dial, read or write says: an answer that
// says no, or none.
func judge(err error, peer string) result {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return noAnswer("")
	case errors.Is(err, syscall.ECONNREFUSED):
		return refused("connection refused by "+peer, "")
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return refused("connection reset by "+peer, "")
	}
	if why := tlsRefusal(err); why != "" {
		return refused("TLS fails with "+peer, why)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return refused("connection closed by "+peer, "")
	}
	// A path or this machine, not the target: no route, no port, no file
	// descriptor left. Another attempt may fare better.
	return noAnswer(cause(err))
}

// cause is the innermost text of an error: the addresses around it are in the
// reason already.
func cause(err error) string {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno.Error()
	}
	return err.Error()
}
