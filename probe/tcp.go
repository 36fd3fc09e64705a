package probe

import (
	"context"
	"io"
	"net/netip"
	"regexp"
	"strconv"
)

// maxBody is how much of what a server sends is looked at.
const maxBody = 64 << 10

type tcpChecker struct {
	addr   netip.AddrPort
	name   string // addr, for people
	tls    *tlsClient
	send   []byte
	expect *regexp.Regexp
}

func newTCPChecker(t Target, files *tlsFiles) (*tcpChecker, error) {
	c := &tcpChecker{addr: netip.AddrPortFrom(t.Address, t.Check.TCP.Port), send: []byte(t.Check.TCP.Send)}
	c.name = c.addr.String()
	var err error
	if t.Check.TCP.TLS != nil {
		if c.tls, err = newTLSClient(*t.Check.TCP.TLS, t.Address.String(), files); err != nil {
			return nil, err
		}
	}
	if t.Check.TCP.Expect != "" {
		c.expect, err = regexp.Compile(t.Check.TCP.Expect)
	}
	return c, err
}

func (c *tcpChecker) peer() string { return c.name }
func (c *tcpChecker) close()       {}

func (c *tcpChecker) attempt(ctx context.Context, _ int) result {
	if c.tls == nil && len(c.send) == 0 && c.expect == nil {
		if err := reach(ctx, c.addr); err != nil {
			return judge(err, c.name)
		}
		return success("connected to " + c.name)
	}
	socket, err := dial(ctx, c.addr)
	if err != nil {
		return judge(err, c.name)
	}
	defer socket.drop()
	var stream io.ReadWriter = socket
	if c.tls != nil {
		if stream, err = socket.secure(c.tls.get()); err != nil {
			return judge(err, c.name)
		}
	}
	if len(c.send) > 0 {
		if _, err := stream.Write(c.send); err != nil {
			return judge(err, c.name)
		}
	}
	if c.expect == nil {
		return success("connected to " + c.name)
	}
	return c.await(stream)
}

// await reads until the expected has come. What is received may come in
// pieces, so that it is wrong is known only at its end.
func (c *tcpChecker) await(r io.Reader) result {
	buf := make([]byte, 0, 512)
	for {
		if len(buf) == cap(buf) {
			buf = append(buf, make([]byte, len(buf))...)[:len(buf)]
		}
		n, err := r.Read(buf[len(buf):min(cap(buf), maxBody)])
		buf = buf[:len(buf)+n]
		switch {
		case n > 0 && c.expect.Match(buf):
			return success("expected answer from " + c.name)
		case err == nil && len(buf) < maxBody:
			continue
		}
		got := ""
		if len(buf) > 0 {
			got = "got " + quote(buf)
		}
		if err == nil {
			return refused("unexpected answer from "+c.name, got)
		}
		r := judge(err, c.name)
		if r.detail == "" {
			r.detail = got
		}
		return r
	}
}

// quote is the beginning of data, fit for a reason.
func quote(data []byte) string {
	const most = 60
	if len(data) > most {
		return strconv.QuoteToASCII(string(data[:most])) + "..."
	}
	return strconv.QuoteToASCII(string(data))
}
