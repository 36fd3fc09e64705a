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

// movedEvery is how exactly Moved knows.
const movedEvery = 2 * time.Millisecond

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

// Moved watches a name on all nodes that run, at intervals of 2 ms, makes
// something happen, and returns how long after its begin each node that still
// runs first answered otherwise. All must within the time.
func (l *Lab) Moved(name string, within time.Duration, happen func()) map[string]time.Duration {
	l.t.Helper()
	var watches []*Watch
	for _, n := range l.nodes {
		if n.Running() {
			watches = append(watches, n.Watch(name, movedEvery))
		}
	}
	for _, w := range watches {
		defer w.Stop()
		l.Eventually(within, func() error {
			if len(w.Changes()) == 0 {
				return fmt.Errorf("node %s does not answer", w.node.Name())
			}
			return nil
		})
	}
	begun := time.Now()
	happen()
	after := map[string]time.Duration{}
	for _, w := range watches {
		if !w.node.Running() {
			continue
		}
		l.Eventually(time.Until(begun.Add(within)), func() error {
			for _, c := range w.Moves() {
				if c.At.After(begun) {
					after[w.node.Name()] = c.At.Sub(begun)
					return nil
				}
			}
			return fmt.Errorf("node %s: no other answer to %s within %s", w.node.Name(), name, within)
		})
	}
	return after
}
