package lab

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// silent is how long a watched node may leave questions unanswered before that
// counts as a change.
const silent = 500 * time.Millisecond

// Silence stands in Change.Answer for a node that did not answer.
const Silence = "silence"

// Change is a new answer, and when it was first heard.
type Change struct {
	At     time.Time // monotonic
	Answer string
}

// String is the answer and the time of day.
func (c Change) String() string { return c.Answer + " at " + c.At.Format("15:04:05.000") }

// Watch asks a node without pause and records every change of its answer. A
// change is late by at most the time between two questions.
type Watch struct {
	node *Node
	name string
	conn net.PacketConn
	to   net.Addr
	done chan struct{}
	wait sync.WaitGroup
	once sync.Once

	mu       sync.Mutex // guards what follows
	changes  []Change
	answered time.Time // when an answer was heard last
	asked    int
	heard    int
}

// Watch begins to ask for a name, every so often, until Stop or the end of the lab.
func (n *Node) Watch(name string, every time.Duration) *Watch {
	n.lab.t.Helper()
	conn, err := n.site.clients.ListenPacket("udp4", ":0")
	n.lab.must(err)
	w := &Watch{
		node: n, name: name, conn: conn, done: make(chan struct{}), answered: time.Now(),
		to: net.UDPAddrFromAddrPort(netip.AddrPortFrom(n.access, 53)),
	}
	n.lab.watches = append(n.lab.watches, w)
	w.wait.Go(func() { w.ask(every) })
	w.wait.Go(w.hear)
	return w
}

// Stop ends it.
func (w *Watch) Stop() {
	w.once.Do(func() {
		close(w.done)
		_ = w.conn.Close()
		w.wait.Wait()
	})
}

func (w *Watch) ask(every time.Duration) {
	packet, err := question(w.name).Pack()
	if err != nil {
		return // nothing is heard
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for id := uint16(0); ; id++ {
		packet[0], packet[1] = byte(id>>8), byte(id)
		_, _ = w.conn.WriteTo(packet, w.to)
		w.mu.Lock()
		w.asked++
		if time.Since(w.answered) > silent {
			w.note(Silence, w.answered.Add(silent))
		}
		w.mu.Unlock()
		select {
		case <-w.done:
			return
		case <-tick.C:
		}
	}
}

func (w *Watch) hear() {
	buffer := make([]byte, dns.MaxMsgSize)
	for {
		size, _, err := w.conn.ReadFrom(buffer)
		now := time.Now()
		if err != nil {
			select {
			case <-w.done:
				return
			default:
				continue // the ICMP message of a node that does not run
			}
		}
		m := new(dns.Msg)
		if m.Unpack(buffer[:size]) != nil || !m.Response {
			continue
		}
		w.mu.Lock()
		w.heard++
		w.answered = now
		w.note(answerOf(m).String(), now)
		w.mu.Unlock()
	}
}

func (w *Watch) note(answer string, at time.Time) {
	if n := len(w.changes); n == 0 || w.changes[n-1].Answer != answer {
		w.changes = append(w.changes, Change{at, answer})
	}
}

// Node that is watched.
func (w *Watch) Node() *Node { return w.node }

// Changes are all answers that were heard, each when it was first heard after
// another.
func (w *Watch) Changes() []Change {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.changes)
}

// Moves are the changes from one answer to another, whatever silence there was
// between the two.
func (w *Watch) Moves() []Change {
	var moves []Change
	last := ""
	for _, c := range w.Changes() {
		if c.Answer == Silence || c.Answer == last {
			continue
		}
		if last != "" {
			moves = append(moves, c)
		}
		last = c.Answer
	}
	return moves
}

// Counts are how many questions were asked, and how many answered.
func (w *Watch) Counts() (asked, heard int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.asked, w.heard
}

// Since is the first change after a moment, and how long after.
func (w *Watch) Since(moment time.Time) (Change, time.Duration, error) {
	for _, c := range w.Changes() {
		if c.At.After(moment) {
			return c, c.At.Sub(moment), nil
		}
	}
	return Change{}, 0, fmt.Errorf("node %s: no change of %s", w.node.Name(), w.name)
}
