package cluster

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/scloudstack/pharos/policy"
)

// sender has packets sent without the caller waiting. Datagrams go out on one goroutine, votes before all else and only the
// newest of each recipient; streams on one goroutine for each peer that has some, so that a peer that can't be
// reached delays nobody else. Queues are bounded: what has no room is dropped, counted, and found by the exchange.
type sender struct {
	datagram func(to policy.NodeID, data []byte) error
	stream   func(to policy.NodeID, data []byte) error
	stats    *counters
	log      *slog.Logger

	mu      sync.Mutex // guards what follows
	votes   map[policy.NodeID][]byte
	turns   []policy.NodeID // of votes
	grams   []outgoing
	streams map[policy.NodeID]*streamQueue
	closed  bool
	wake    chan struct{}
	wg      sync.WaitGroup
}

type outgoing struct {
	to   policy.NodeID
	data []byte
}

// streamQueue is what waits for one peer; there is a goroutine as long as there is one.
type streamQueue struct {
	vote  []byte
	queue [][]byte
	bytes int
}

const (
	maxGrams       = 8192
	maxStreamQueue = 256
	maxStreamBytes = 16 << 20
)

func newSender(datagram, stream func(policy.NodeID, []byte) error, stats *counters, log *slog.Logger) *sender {
	return &sender{
		datagram: datagram, stream: stream, stats: stats, log: log,
		votes: map[policy.NodeID][]byte{}, streams: map[policy.NodeID]*streamQueue{}, wake: make(chan struct{}, 1),
	}
}

// put queues a packet.
func (s *sender) put(to policy.NodeID, p Packet) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return
	case p.Reliable:
		s.putStream(to, p)
		return
	case p.Vote:
		if _, waits := s.votes[to]; !waits {
			s.turns = append(s.turns, to)
		}
		s.votes[to] = p.Data
	case len(s.grams) >= maxGrams:
		s.stats.dropped.Add(1)
		return
	default:
		s.grams = append(s.grams, outgoing{to, p.Data})
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *sender) putStream(to policy.NodeID, p Packet) {
	q := s.streams[to]
	if q == nil {
		q = &streamQueue{}
		s.streams[to] = q
		s.wg.Add(1)
		go s.drain(to, q)
	}
	if p.Vote {
		q.vote = p.Data
		return
	}
	if len(q.queue) >= maxStreamQueue || q.bytes+len(p.Data) > maxStreamBytes {
		s.stats.dropped.Add(1)
		return
	}
	q.queue = append(q.queue, p.Data)
	q.bytes += len(p.Data)
}

// run sends datagrams until the context ends.
func (s *sender) run(ctx context.Context) {
	for {
		to, data, ok := s.next()
		if !ok {
			select {
			case <-s.wake:
				continue
			case <-ctx.Done():
				return
			}
		}
		if err := s.datagram(to, data); err != nil {
			s.stats.failed.Add(1)
			s.log.Debug("gossip datagram not sent", "to", to, "octets", len(data), "err", err)
		}
	}
}

func (s *sender) next() (policy.NodeID, []byte, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.turns) > 0 {
		to := s.turns[0]
		s.turns = s.turns[1:]
		data := s.votes[to]
		delete(s.votes, to)
		return to, data, true
	}
	if len(s.grams) > 0 {
		o := s.grams[0]
		s.grams[0] = outgoing{}
		s.grams = s.grams[1:]
		return o.to, o.data, true
	}
	return "", nil, false
}

// drain sends what waits for one peer. After a failure what waits is dropped: it is old by now.
func (s *sender) drain(to policy.NodeID, q *streamQueue) {
	defer s.wg.Done()
	for {
		data := s.nextStream(to, q)
		if data == nil {
			return
		}
		begun := time.Now()
		if err := s.stream(to, data); err != nil {
			s.stats.failed.Add(1)
			s.log.Debug("gossip stream failed", "to", to, "octets", len(data), "after", time.Since(begun), "err", err)
			s.mu.Lock()
			s.stats.dropped.Add(uint64(len(q.queue)))
			q.queue, q.bytes = nil, 0
			s.mu.Unlock()
		}
	}
}

func (s *sender) nextStream(to policy.NodeID, q *streamQueue) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed || q.vote == nil && len(q.queue) == 0:
		delete(s.streams, to)
		return nil
	case q.vote != nil:
		data := q.vote
		q.vote = nil
		return data
	default:
		data := q.queue[0]
		q.queue[0] = nil
		q.queue = q.queue[1:]
		q.bytes -= len(data)
		return data
	}
}

// close drops what waits, and waits for the goroutines of peers. The transport is closed by then.
func (s *sender) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.wg.Wait()
}
