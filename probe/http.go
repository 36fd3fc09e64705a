package probe

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	maxHeader    = 32 << 10 // octets of an answer's header
	maxInterim   = 5        // answers 1xx before the real one
	maxRedirects = 10
	// keepFor is how long a connection is used: opening one is a part of what
	// clients do, so it should be tried now and then.
	keepFor = time.Minute
	// drainFor is how long the rest of a body may take for its connection to be kept.
	drainFor = 2 * time.Millisecond
)

// httpChecker asks over HTTP/1.1. It has its own small client, as net/http's
// costs two goroutines and some 40 µs more a check.
type httpChecker struct {
	h      HTTP
	name   string // address and port, for people
	first  *hop
	tls    *tlsClient
	body   *regexp.Regexp
	served netip.Addr // the target's address

	mu   sync.Mutex
	kept *httpConn // not in use
}

// hop is one request: the configured one, or one that a redirect led to.
type hop struct {
	url     *url.URL
	host    string // the Host header
	addr    netip.AddrPort
	tls     *tls.Config // only of redirects
	method  string
	request []byte // as sent
	read    *http.Request
}

// httpConn is a connection that can be asked again until it is old.
type httpConn struct {
	*conn
	stream io.ReadWriter // with TLS or without
	until  time.Time
}

func newHTTPChecker(t Target, files *tlsFiles) (*httpChecker, error) {
	h := *t.Check.HTTP
	u, err := h.target(t.Address)
	if err != nil {
		return nil, err
	}
	c := &httpChecker{h: h, served: t.Address}
	if h.Body != "" {
		if c.body, err = regexp.Compile(h.Body); err != nil {
			return nil, err
		}
	}
	host := h.Host
	if host == "" {
		host = hostHeader(u)
	}
	method := h.Method
	if method == "" {
		method = http.MethodGet
	}
	if c.first, err = c.newHop(u, host, method, h.Headers); err != nil {
		return nil, err
	}
	c.first.addr = netip.AddrPortFrom(t.Address, port(u))
	c.name = c.first.addr.String()
	if c.tls, err = newTLSClient(h.TLS, hostname(host), files, "http/1.1"); err != nil {
		return nil, err
	}
	return c, nil
}

// target puts the address into the URL.
func (h *HTTP) target(a netip.Addr) (*url.URL, error) {
	text := a.String()
	if a.Is6() {
		text = "[" + strings.ReplaceAll(text, "%", "%25") + "]"
	}
	raw := strings.ReplaceAll(h.URL, "[{address}]", "{address}")
	u, err := url.Parse(strings.ReplaceAll(raw, "{address}", text))
	switch {
	case err != nil:
		return nil, err
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("%q: expected an http or https URL", h.URL)
	case u.Hostname() == "":
		return nil, fmt.Errorf("%q: no host in it, expected {address} or a name", h.URL)
	case port(u) == 0:
		return nil, fmt.Errorf("%q: bad port, expected 1 to 65535", h.URL)
	case strings.ContainsAny(h.URL, " \t"):
		return nil, fmt.Errorf("%q: a space in it, expected %%20", h.URL)
	}
	return u, nil
}

// port is the port of an http or https URL; 0: none that exists.
func port(u *url.URL) uint16 {
	switch p := u.Port(); {
	case p != "":
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil {
			return 0
		}
		return uint16(n)
	case u.Scheme == "https":
		return 443
	}
	return 80
}

// hostHeader is the Host of a URL, without the zone of an address (RFC 6874 §4).
func hostHeader(u *url.URL) string {
	if before, after, ok := strings.Cut(u.Host, "%"); ok {
		_, rest, _ := strings.Cut(after, "]")
		return before + "]" + rest
	}
	return u.Host
}

// hostname is a Host header's value without port and brackets.
func hostname(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		return h
	}
	return strings.Trim(host, "[]")
}

func (c *httpChecker) newHop(u *url.URL, host, method string, headers map[string]string) (*hop, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", method, u.RequestURI(), host)
	set := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		set[strings.ToLower(name)] = true
		fmt.Fprintf(&b, "%s: %s\r\n", name, headers[name])
	}
	if !set["user-agent"] {
		b.WriteString("User-Agent: pharos\r\n")
	}
	if !set["accept"] {
		b.WriteString("Accept: */*\r\n")
	}
	switch method {
	case http.MethodPost, http.MethodPut, http.MethodPatch:
		b.WriteString("Content-Length: 0\r\n")
	}
	if c.h.NewConnection {
		b.WriteString("Connection: close\r\n")
	}
	b.WriteString("\r\n")
	return &hop{
		url: u, host: host, method: method, request: []byte(b.String()),
		read: &http.Request{Method: method},
	}, nil
}

func (c *httpChecker) peer() string { return c.name }

func (c *httpChecker) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.kept != nil {
		c.kept.drop()
		c.kept = nil
	}
}

func (c *httpChecker) attempt(ctx context.Context, n int) result {
	h, name := c.first, c.name
	for redirects := 0; ; redirects++ {
		a, err := c.ask(ctx, h, n == 1 && redirects == 0)
		if err != nil {
			return judgeHTTP(err, name)
		}
		if a.location == "" || c.h.FollowRedirects == 0 {
			return c.judge(a, name)
		}
		if redirects == c.h.FollowRedirects {
			return refused(fmt.Sprintf("more than %d redirects from %s", redirects, c.name), "")
		}
		if h, err = c.follow(ctx, h, a); err != nil {
			return judgeHTTP(err, name)
		}
		name = h.addr.String()
	}
}

// answer is what matters of an HTTP answer.
type answer struct {
	status   int
	location string // of a redirect
	body     []byte // its beginning, read only where a check looks at it
	keep     bool   // read to its end, and the connection may be used again
}

func (c *httpChecker) judge(a answer, name string) result {
	what := strconv.Itoa(a.status) + " from " + name
	switch {
	case !c.h.Expect.Has(a.status):
		return refused(what, "")
	case c.body != nil && !c.body.Match(a.body):
		return refused(what, "body does not match, got "+quote(a.body))
	}
	return success(what)
}

// ask makes one request, on the kept connection where there is one. A kept
// connection may end under the request, which says nothing: then it is made
// again on a new one (RFC 9112 §9.3.1).
func (c *httpChecker) ask(ctx context.Context, h *hop, reuse bool) (answer, error) {
	if reuse {
		if kept := c.take(); kept != nil {
			kept.bind(ctx)
			a, started, err := c.exchange(kept, h)
			if err == nil || started || ctx.Err() != nil {
				return a, err
			}
		}
	}
	fresh, err := c.open(ctx, h)
	if err != nil {
		return answer{}, err
	}
	a, _, err := c.exchange(fresh, h)
	return a, err
}

// open makes a new connection.
func (c *httpChecker) open(ctx context.Context, h *hop) (*httpConn, error) {
	socket, err := dial(ctx, h.addr)
	if err != nil {
		return nil, err
	}
	fresh := &httpConn{conn: socket, stream: socket, until: time.Now().Add(keepFor/2 + rand.N(keepFor/2))}
	if h.url.Scheme == "https" {
		config := h.tls
		if config == nil {
			config = c.tls.get()
		}
		if fresh.stream, err = socket.secure(config); err != nil {
			socket.drop()
			return nil, err
		}
	}
	return fresh, nil
}

// take returns the kept connection, if it still is one.
func (c *httpChecker) take() *httpConn {
	c.mu.Lock()
	kept := c.kept
	c.kept = nil
	c.mu.Unlock()
	if kept == nil {
		return nil
	}
	if time.Now().After(kept.until) || !kept.quiet() {
		kept.drop()
		return nil
	}
	return kept
}

// exchange sends the request and reads the answer; the connection, bound to
// the attempt, is kept or dropped after it. started says that something was
// answered.
func (c *httpChecker) exchange(conn *httpConn, h *hop) (a answer, started bool, err error) {
	r := newAnswerReader(conn.stream)
	defer r.free()
	if _, err = conn.stream.Write(h.request); err == nil {
		a, err = r.answer(h.read, c.body != nil, conn)
	}
	if err != nil || !a.keep || h != c.first || c.h.NewConnection || !conn.free() {
		conn.drop()
		return a, r.begun, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.kept != nil {
		c.kept.drop()
	}
	c.kept = conn
	return a, r.begun, nil
}

// follow returns the request that a redirect asks for. On the host that was
// asked it goes to the target's address, whatever the port; any other host is
// resolved, and is not shown the credentials.
func (c *httpChecker) follow(ctx context.Context, h *hop, a answer) (*hop, error) {
	u, err := h.url.Parse(a.location)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || port(u) == 0 {
		return nil, fmt.Errorf("%w: redirect to %q", errMalformed, a.location)
	}
	method := h.method
	if a.status <= http.StatusSeeOther && method != http.MethodHead {
		method = http.MethodGet
	}
	own := strings.EqualFold(u.Hostname(), c.first.url.Hostname()) || strings.EqualFold(u.Hostname(), hostname(c.first.host))
	headers, host := c.h.Headers, hostHeader(u)
	if !own {
		headers = maps.Clone(headers)
		maps.DeleteFunc(headers, func(name, _ string) bool { return isCredential(name) })
	} else if strings.EqualFold(u.Host, c.first.url.Host) {
		host = c.first.host
	}
	next, err := c.newHop(u, host, method, headers)
	if err != nil {
		return nil, err
	}
	addr := c.served
	if !own {
		next.tls = c.tls.elsewhere(u.Hostname())
		if addr, err = resolve(ctx, u.Hostname()); err != nil {
			return nil, err
		}
	}
	next.addr = netip.AddrPortFrom(addr, port(u))
	return next, nil
}

func isCredential(header string) bool {
	switch strings.ToLower(header) {
	case "authorization", "cookie", "proxy-authorization":
		return true
	}
	return false
}

// resolve finds the address of a host that a redirect named. Go's own resolver
// ends with ctx; the C library's would not.
func resolve(ctx context.Context, host string) (netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return a, nil
	}
	r := net.Resolver{PreferGo: true}
	found, err := r.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return netip.Addr{}, err
	}
	return found[0].Unmap(), nil
}

var (
	errMalformed = errors.New("malformed answer")
	errTooLong   = errors.New("header too long")
)

func judgeHTTP(err error, name string) result {
	switch {
	case errors.Is(err, errTooLong):
		return refused("malformed answer from "+name, "header of more than "+strconv.Itoa(maxHeader)+" octets")
	case errors.Is(err, errMalformed):
		return refused("malformed answer from "+name, strings.TrimPrefix(err.Error(), errMalformed.Error()+": "))
	}
	return judge(err, name)
}

// deadliner is the part of a connection that draining a body needs.
type deadliner interface{ SetReadDeadline(time.Time) error }

// answerReader reads one answer, of bounded length.
type answerReader struct {
	src    io.Reader
	left   int // octets that may still be read from src
	begun  bool
	failed error // of reading from src
	buf    *bufio.Reader
}

var buffers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, 4096) }}

func newAnswerReader(src io.Reader) *answerReader {
	r := &answerReader{src: src, left: maxHeader, buf: buffers.Get().(*bufio.Reader)}
	r.buf.Reset(r)
	return r
}

func (r *answerReader) free() {
	r.buf.Reset(nil)
	buffers.Put(r.buf)
	r.buf = nil
}

// Read lets bufio read no more than is left.
func (r *answerReader) Read(p []byte) (int, error) {
	if r.left <= 0 {
		r.failed = errTooLong
		return 0, r.failed
	}
	n, err := r.src.Read(p[:min(len(p), r.left)])
	r.left -= n
	if n > 0 {
		r.begun = true
		return n, nil // an error comes again
	}
	r.failed = err
	return 0, err
}

// answer reads the answer to req: its body too where that is wanted; else only
// as much of it as is there, so that the connection can be kept.
func (r *answerReader) answer(req *http.Request, wanted bool, conn deadliner) (answer, error) {
	var resp *http.Response
	for interim := 0; ; interim++ {
		var err error
		resp, err = http.ReadResponse(r.buf, req)
		if r.failed != nil {
			// ReadResponse takes half a line before an error for a line.
			return answer{}, r.failed
		}
		if err != nil {
			return answer{}, fmt.Errorf("%w: %w", errMalformed, err)
		}
		if resp.StatusCode >= 200 {
			break
		}
		if resp.StatusCode == http.StatusSwitchingProtocols || interim == maxInterim {
			return answer{}, fmt.Errorf("%w: status %d", errMalformed, resp.StatusCode)
		}
	}
	a := answer{status: resp.StatusCode, keep: !resp.Close}
	switch a.status {
	case 301, 302, 303, 307, 308:
		a.location = resp.Header.Get("Location")
	}
	r.left = max(0, maxBody-r.buf.Buffered())
	whole := false
	if wanted {
		body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
		switch {
		case err == nil, errors.Is(err, errTooLong):
		case r.failed != nil:
			return answer{}, r.failed
		default:
			return answer{}, fmt.Errorf("%w: %w", errMalformed, err)
		}
		a.body = body
		whole = err == nil && len(body) < maxBody
	}
	if a.keep && !whole {
		a.keep = resp.ContentLength <= maxBody && r.drain(resp.Body, conn)
	}
	a.keep = a.keep && r.buf.Buffered() == 0
	return a, nil
}

// drain reads the rest of a body where that is at hand.
func (r *answerReader) drain(body io.Reader, conn deadliner) bool {
	if body == http.NoBody {
		return true
	}
	deadline := false
	var scratch [512]byte
	for {
		if !deadline && r.buf.Buffered() == 0 {
			deadline = true
			_ = conn.SetReadDeadline(time.Now().Add(drainFor))
		}
		_, err := body.Read(scratch[:])
		if err == nil {
			continue
		}
		if deadline && conn.SetReadDeadline(time.Time{}) != nil {
			return false
		}
		return err == io.EOF
	}
}
