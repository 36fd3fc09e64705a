package dnsserver

import (
	"cmp"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxWriteWait is how long a client may take to accept answers.
	maxWriteWait = 5 * time.Second
	// flushAt is how many octets of answers are gathered while a client has
	// more questions waiting (RFC 7766 §6.2.1.1).
	flushAt = 64 << 10
)

// tcpServer holds the connections of all listeners.
type tcpServer struct {
	server  *Server
	limits  atomic.Pointer[TCPConfig]
	workers sync.Pool // of *tcpWorker

	mu      sync.Mutex // guards what follows
	conns   map[*tcpConn]struct{}
	sources map[netip.Addr]int
	closed  bool
	wg      sync.WaitGroup // of connections; added to under mu while not closed
}

// tcpWorker is what answering takes, lent to a connection that has a question.
type tcpWorker struct {
	r   responder
	out [flushAt + 2 + maxMessage + 64]byte
}

// tcpConn is one connection.
type tcpConn struct {
	net.Conn
	owner  *tcpListener
	source netip.Addr   // what it is counted under
	idle   atomic.Int64 // since when it waits for a question, in Unix nanoseconds; 0: it does not
}

func newTCPServer(s *Server) *tcpServer {
	t := &tcpServer{server: s, conns: map[*tcpConn]struct{}{}, sources: map[netip.Addr]int{}}
	t.workers.New = func() any {
		n := len(s.counters.lanes) - 1
		return &tcpWorker{r: responder{counters: &s.counters.lanes[n], via: tcp}}
	}
	return t
}

func (t *tcpServer) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.conns)
}

// admit takes a connection in, or closes it.
func (t *tcpServer) admit(c *tcpConn) {
	limits := t.limits.Load()
	t.mu.Lock()
	defer t.mu.Unlock()
	drops := &t.server.counters.lanes[len(t.server.counters.lanes)-1].drops
	switch {
	case t.closed || c.owner.stopped.Load():
		c.Close()
		return
	case t.sources[c.source] >= limits.MaxPerSource:
		drops[dropTCPSource].Add(1)
		reset(c)
		return
	case len(t.conns) >= limits.MaxConns:
		drops[dropTCPEvicted].Add(1)
		if old := t.longestIdle(); old != nil {
			t.forget(old)
			reset(old)
		} else {
			reset(c)
			return
		}
	}
	c.idle.Store(time.Now().UnixNano())
	t.conns[c] = struct{}{}
	t.sources[c.source]++
	t.wg.Add(1)
	go t.serve(c)
}

// reset closes a connection without lingering in TIME_WAIT.
func reset(c *tcpConn) {
	if tc, ok := c.Conn.(*net.TCPConn); ok {
		_ = tc.SetLinger(0)
	}
	c.Close()
}

func (t *tcpServer) longestIdle() *tcpConn {
	var oldest *tcpConn
	var since int64
	for c := range t.conns {
		if at := c.idle.Load(); at != 0 && (oldest == nil || at < since) {
			oldest, since = c, at
		}
	}
	return oldest
}

// forget takes a connection out of the books; mu is held.
func (t *tcpServer) forget(c *tcpConn) {
	if _, ok := t.conns[c]; !ok {
		return
	}
	delete(t.conns, c)
	if t.sources[c.source]--; t.sources[c.source] == 0 {
		delete(t.sources, c.source)
	}
}

// drop closes the connections of a listener, or of all, and wakes their
// goroutines.
func (t *tcpServer) drop(of *tcpListener) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for c := range t.conns {
		if of == nil || c.owner == of {
			c.Close()
		}
	}
}

// serve answers the questions of one connection, in their order.
func (t *tcpServer) serve(c *tcpConn) {
	defer t.wg.Done()
	defer func() {
		c.Close()
		t.mu.Lock()
		t.forget(c)
		t.mu.Unlock()
	}()
	var from sockaddr
	if a, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		from.setAddr(a.AddrPort().Addr().Unmap())
	}
	in := make([]byte, 0, 1024)
	for {
		var err error
		if in, err = t.read(c, in); err != nil {
			return
		}
		w := t.workers.Get().(*tcpWorker)
		in, err = t.answer(c, w, in, &from)
		t.workers.Put(w)
		if err != nil {
			return
		}
	}
}

// whole says whether there is a whole question in front, and how long it is.
func whole(in []byte) (n int, ok bool) {
	if len(in) < 2 {
		return 0, false
	}
	n = int(binary.BigEndian.Uint16(in))
	return n, len(in) >= 2+n
}

// read waits until there is a whole question. It has to come within the idle
// time: an octet now and then does not keep a connection.
func (t *tcpServer) read(c *tcpConn, in []byte) ([]byte, error) {
	if _, ok := whole(in); ok {
		return in, nil
	}
	now := time.Now()
	c.idle.Store(now.UnixNano())
	defer c.idle.Store(0)
	if err := c.SetReadDeadline(now.Add(t.limits.Load().Idle)); err != nil {
		return in, err
	}
	for {
		if len(in) == cap(in) {
			grown := make([]byte, len(in), 2+maxMessage)
			copy(grown, in)
			in = grown
		}
		n, err := c.Read(in[len(in):cap(in)])
		in = in[:len(in)+n]
		if _, ok := whole(in); ok {
			return in, nil
		}
		if err != nil {
			return in, err
		}
	}
}

var errShort = errors.New("a question shorter than a header")

// answer answers all whole questions in front of in, and returns the rest.
func (t *tcpServer) answer(c *tcpConn, w *tcpWorker, in []byte, from *sockaddr) ([]byte, error) {
	defer func() {
		w.r.flush()
		w.r.zone = nil
	}()
	at, out := 0, 0
	var end error
	for {
		n, ok := whole(in[at:])
		if !ok {
			break
		}
		if n < headerLen { // what was asked before it is answered
			end = errShort
			break
		}
		buf := w.out[out+2:]
		copy(buf, in[at+2:at+2+n])
		at += 2 + n
		if l := w.r.respond(t.server.view.Load(), buf, n, from); l > 0 {
			binary.BigEndian.PutUint16(w.out[out:], uint16(l))
			out += 2 + l
		}
		if out >= flushAt {
			if err := t.write(c, w.out[:out]); err != nil {
				return nil, err
			}
			out = 0
		}
	}
	rest := append(in[:0], in[at:]...)
	if out > 0 {
		end = cmp.Or(t.write(c, w.out[:out]), end)
	}
	return rest, end
}

func (t *tcpServer) write(c *tcpConn, b []byte) error {
	if err := c.SetWriteDeadline(time.Now().Add(min(t.limits.Load().Idle, maxWriteWait))); err != nil {
		return err
	}
	_, err := c.Write(b)
	return err
}

// tcpListener accepts connections at one address.
type tcpListener struct {
	net.Listener
	stopped atomic.Bool
	stop    chan struct{}
	done    chan struct{}
}

// accept runs until the listener is closed.
func (l *tcpListener) accept(t *tcpServer) {
	defer close(l.done)
	pause := time.Millisecond
	for {
		conn, err := l.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			// Out of file descriptors, most likely. Some come back.
			select {
			case <-time.After(pause):
				pause = min(2*pause, time.Second)
			case <-l.stop:
				return
			}
			continue
		}
		pause = time.Millisecond
		a := conn.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap().WithZone("")
		t.admit(&tcpConn{Conn: conn, owner: l, source: sourceOf(a)})
	}
}

// sourceOf is what connections are counted by: an IPv4 address, an IPv6 /64.
func sourceOf(a netip.Addr) netip.Addr {
	if a.Is6() {
		p, _ := a.Prefix(64)
		return p.Addr()
	}
	return a
}

func (l *tcpListener) close(t *tcpServer) {
	l.stopped.Store(true)
	close(l.stop)
	l.Close()
	<-l.done
	t.drop(l)
}
