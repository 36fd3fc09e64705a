package cluster

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/scloudstack/pharos/policy"
)

// fleet is many nodes in one process, over memberlist and memNet.
type fleet struct {
	t     *testing.T
	nodes []*real
	nets  []*memTransport

	mu      sync.Mutex
	heard   map[*real]map[policy.NodeID]bool // whose votes count where
	watch   func(Out) bool                   // whether an Out is what is waited for
	reached map[*real]time.Time              // who had it, and when
}

const (
	fleetSites = 3
	observers  = 2 // voters of a site
	services   = 1000
)

func fleetAddress(i int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 7946)
}

func newFleet(t *testing.T, n int) *fleet {
	f := &fleet{t: t, reached: map[*real]time.Time{}, heard: map[*real]map[policy.NodeID]bool{}}
	members := map[policy.NodeID]Member{}
	for i := 1; i <= n; i++ {
		members[policy.NodeID(fmt.Sprintf("n%d", i))] = Member{
			Site: policy.SiteID(fmt.Sprintf("s%d", i%fleetSites)), Address: fleetAddress(i).String(), PublicKey: keyOf(i).Public().(ed25519.PublicKey),
		}
	}
	keys := keysFile(t, 1)
	hub := newMemNet()
	for i := 1; i <= n; i++ {
		id := policy.NodeID(fmt.Sprintf("n%d", i))
		r, _, err := New(Config{Cluster: "scale", Self: id, Key: keyOf(i), Members: members, Incarnation: 1}, nil, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		x := &real{t: t, id: id, r: r, d: NewDecoder(id, r.Keyring()), logs: &logBuffer{}, orders: make(chan func() Out), done: make(chan struct{})}
		x.voter = i <= fleetSites*observers
		x.see = func(out Out) { f.saw(x, out) }
		transport := hub.open(fleetAddress(i))
		x.g, err = NewGossip(GossipConfig{
			tune: func(c *memberlist.Config) {
				if n > 100 { // hundreds of nodes on two cores answer late: they are not dead
					c.ProbeInterval, c.ProbeTimeout, c.TCPTimeout = 20*time.Second, 10*time.Second, 30*time.Second
				}
			},
			Cluster: "scale", Self: id, Members: members, KeysFile: keys, Decoder: x.d, Transport: transport,
			Log: slog.New(slog.NewTextHandler(x.logs, &slog.HandlerOptions{Level: slog.LevelWarn})),
		})
		if err != nil {
			t.Fatal(err)
		}
		f.nodes, f.nets = append(f.nodes, x), append(f.nets, transport)
	}
	for _, x := range f.nodes {
		x.start()
	}
	t.Cleanup(func() {
		var wg sync.WaitGroup
		for _, x := range f.nodes {
			wg.Go(x.stop)
		}
		wg.Wait()
	})
	return f
}

// saw is told of each Out, acknowledges what is due, and notes who has what is waited for.
func (f *fleet) saw(x *real, out Out) {
	for _, due := range out.AckDue {
		x.g.Send(x.r.Ack(due, 1, [8]byte{}, time.Now()).Send)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, v := range out.Votes {
		if f.heard[x] == nil {
			f.heard[x] = map[policy.NodeID]bool{}
		}
		f.heard[x][v.Node] = true
	}
	if f.watch != nil && f.watch(out) {
		if _, was := f.reached[x]; !was {
			f.reached[x] = time.Now()
		}
	}
}

// measure has the first node do something, and waits until all others have it; it returns the median and the worst time.
func (f *fleet) measure(what string, from *real, do func() Out, has func(Out) bool) (median, worst time.Duration) {
	f.t.Helper()
	f.mu.Lock()
	f.watch, f.reached = has, map[*real]time.Time{}
	f.mu.Unlock()
	var begun time.Time
	from.do(func() Out {
		begun = time.Now()
		return do()
	})
	eventually(f.t, what, 3*time.Minute, func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.reached, from)
		return len(f.reached) == len(f.nodes)-1
	})
	f.mu.Lock()
	defer f.mu.Unlock()
	f.watch = nil
	var took []time.Duration
	for _, at := range f.reached {
		took = append(took, at.Sub(begun))
	}
	slices.Sort(took)
	return took[len(took)/2], took[len(took)-1]
}

func (f *fleet) sent() (sum uint64) {
	for _, n := range f.nets {
		sum += n.sent.Load()
	}
	return sum
}

func heapInUse() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

// TestScale runs 3 and 30 nodes; PHAROS_SCALE=100,300 runs others instead.
func TestScale(t *testing.T) {
	sizes := []int{3, 30}
	if text := os.Getenv("PHAROS_SCALE"); text != "" {
		sizes = nil
		for _, s := range strings.Split(text, ",") {
			n, err := strconv.Atoi(s)
			if err != nil {
				t.Fatalf("PHAROS_SCALE: %v", err)
			}
			sizes = append(sizes, n)
		}
	}
	for _, n := range sizes {
		t.Run(fmt.Sprint(n), func(t *testing.T) { scale(t, n) })
	}
}

// join waits until every node sees every other, and tells of its progress where they are many.
func (f *fleet) join(begun time.Time) {
	n, said := len(f.nodes), time.Duration(0)
	eventually(f.t, "all see all", 4*time.Minute, func() bool {
		if at := time.Since(begun) / (10 * time.Second); n > 100 && at > said {
			said = at
			sees := make([]int, 0, n)
			for _, x := range f.nodes {
				sees = append(sees, len(x.g.Alive()))
			}
			slices.Sort(sees)
			f.t.Logf("after %s a node sees %d / %d / %d others (least, median, most)", time.Since(begun).Round(time.Second), sees[0], sees[n/2], sees[n-1])
		}
		return allSee(n-1, f.nodes...)()
	})
}

// meet waits until every vote counts everywhere.
func (f *fleet) meet() {
	want := min(len(f.nodes), fleetSites*observers)
	eventually(f.t, "all have every vote", 4*time.Minute, func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return !slices.ContainsFunc(f.nodes, func(x *real) bool {
			return len(f.heard[x]) < want-1 || !x.voter && len(f.heard[x]) < want
		})
	})
}

func scale(t *testing.T, n int) {
	before := heapInUse()
	begun := time.Now()
	f := newFleet(t, n)
	f.join(begun)
	joined := time.Since(begun)
	first := f.nodes[0]
	f.meet()
	met := time.Since(begun)

	value := func(mark byte) []byte { return bytes.Repeat([]byte{mark}, services/4) } // two bits a target
	vote := func(mark byte) (time.Duration, time.Duration) {
		v := value(mark)
		return f.measure("a vote", first, func() Out {
			out, _ := first.r.SetVote(v, time.Now())
			return out
		}, func(out Out) bool {
			return slices.ContainsFunc(out.Votes, func(r RawVote) bool { return bytes.Equal(r.Value, v) })
		})
	}
	settle := func() {
		eventually(t, "quiet", time.Minute, func() bool { return allHold(first.held.Load(), f.nodes...)() })
	}
	voteMedian, voteWorst := vote(1)

	// 1,000 moves at once, and an override that every node acknowledges.
	var list []policy.Entry
	for i := range services {
		list = append(list, policy.Entry{
			Kind: policy.KindMove, Key: fmt.Sprintf("service-%d/0", i), Rank: 1, Author: machine,
			Stamp: policy.Stamp{Wall: time.Now().UnixMilli(), Logical: uint32(i), Node: first.id}, Value: bytes.Repeat([]byte{'x'}, 250),
		})
	}
	taken := map[*real]int{}
	var mu sync.Mutex
	movesMedian, movesWorst := f.measureMoves(list, &mu, taken)
	settle()
	var stamp policy.Stamp
	acked := time.Time{}
	order := func() Out {
		stamp = policy.Stamp{Wall: time.Now().UnixMilli(), Node: first.id}
		s, err := first.r.Seal([]policy.Entry{{Kind: policy.KindOverride, Key: "all", Stamp: stamp, Author: "ann", Value: []byte(`{"site":"s1"}`)}})
		if err != nil {
			t.Error(err)
		}
		return first.r.Commit(s, time.Now())
	}
	given := time.Now()
	orderMedian, orderWorst := f.measure("an override", first, order, func(out Out) bool {
		return slices.ContainsFunc(out.Merged, func(e policy.Entry) bool { return e.Kind == policy.KindOverride })
	})
	eventually(t, "all acknowledged", 30*time.Second, func() bool {
		got := make(chan int, 1)
		first.do(func() Out { got <- len(first.r.Acked(stamp)); return first.r.Tick(time.Now()) })
		if <-got == n-1 {
			acked = time.Now()
		}
		return !acked.IsZero()
	})
	settle()

	rest := 5 * time.Second
	at := f.sent()
	<-time.After(rest)
	perSecond := float64(f.sent()-at) / float64(n) / rest.Seconds()
	heap := float64(heapInUse()-before) / float64(n)
	var lost uint64
	for _, x := range f.nets {
		lost += x.lost.Load()
	}
	ms := func(d time.Duration) string { return d.Round(100 * time.Microsecond).String() }
	t.Logf("%d nodes joined in %s, and had exchanged with all that vote in %s · a vote (1,000 targets) %s / %s (median / worst) · 1,000 moves %s / %s · override %s / %s, acknowledged by all %s · at rest %.1f kB a node and second · %.1f MB a node · %d datagrams lost",
		n, ms(joined), ms(met), ms(voteMedian), ms(voteWorst), ms(movesMedian), ms(movesWorst), ms(orderMedian), ms(orderWorst), ms(acked.Sub(given)), perSecond/1000, heap/1e6, lost)
}

// measureMoves waits until every node took all moves in, which may come in several packets.
func (f *fleet) measureMoves(list []policy.Entry, mu *sync.Mutex, taken map[*real]int) (time.Duration, time.Duration) {
	first := f.nodes[0]
	for _, x := range f.nodes {
		see := x.see
		x.do(func() Out { // on the loop's goroutine, which calls see
			x.see = func(out Out) {
				mu.Lock()
				taken[x] += len(out.Merged)
				full := taken[x] >= len(list)
				mu.Unlock()
				if full && len(out.Merged) > 0 {
					out.Lists = append(out.Lists, RawValue{Node: "all moves"})
				}
				see(out)
			}
			return x.r.Tick(time.Now())
		})
	}
	return f.measure("1,000 moves", first, func() Out {
		out, err := first.r.Write(list, time.Now())
		if err != nil {
			f.t.Error(err)
		}
		return out
	}, func(out Out) bool {
		return slices.ContainsFunc(out.Lists, func(v RawValue) bool { return v.Node == "all moves" })
	})
}
