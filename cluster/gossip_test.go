package cluster

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/scloudstack/pharos/policy"
)

// No goroutine is left. Probes of memberlist's that are under way end by themselves some seconds after their sockets are
// closed, and it offers nothing to wait for them by.
func TestMain(m *testing.M) {
	code := m.Run()
	var left error
	for deadline := time.Now().Add(20 * time.Second); code == 0 && time.Now().Before(deadline); {
		if left = goleak.Find(); left == nil {
			break
		}
	}
	if left != nil {
		fmt.Println(left)
		code = 1
	}
	os.Exit(code)
}

type publicKey = ed25519.PublicKey

// logBuffer keeps log lines for a test to look into.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) has(texts ...string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range strings.Split(l.b.String(), "\n") {
		if !slices.ContainsFunc(texts, func(t string) bool { return !strings.Contains(line, t) }) {
			return true
		}
	}
	return false
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// real is a node with sockets on loopback: a replica, its gossip and the loop between them.
type real struct {
	t      *testing.T
	id     policy.NodeID
	g      *Gossip
	r      *Replica
	d      *Decoder
	logs   *logBuffer
	keys   string
	orders chan func() Out
	cancel context.CancelFunc
	done   chan struct{}

	voter bool
	see   func(Out)    // told of everything, on the loop's goroutine
	votes atomic.Int64 // of peers that counted
	held  atomic.Int64
}

var nextNet atomic.Int32

// freeAddress is an address of loopback that nobody uses, not even another test.
func freeAddress(t *testing.T, net24 int32, host int) string {
	t.Helper()
	ip := fmt.Sprintf("127.%d.%d.%d", 32+os.Getpid()%192, net24, host)
	l, err := net.Listen("tcp", ip+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// field is the configuration of n nodes.
func field(t *testing.T, n int) map[policy.NodeID]Member {
	t.Helper()
	net24 := nextNet.Add(1)
	members := map[policy.NodeID]Member{}
	for i := 1; i <= n; i++ {
		members[policy.NodeID(fmt.Sprintf("n%d", i))] = Member{
			Site: policy.SiteID(fmt.Sprintf("s%d", i)), Address: freeAddress(t, net24, i),
			PublicKey: keyOf(i).Public().(publicKey),
		}
	}
	return members
}

func keysFile(t *testing.T, seeds ...byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "gossip.keys")
	writeKeys(t, path, seeds...)
	return path
}

func gossipKey(seed byte) []byte { return bytes.Repeat([]byte{seed}, 32) }

func writeKeys(t *testing.T, path string, seeds ...byte) {
	t.Helper()
	var text strings.Builder
	text.WriteString("# gossip keys\n")
	for _, s := range seeds {
		text.WriteString(base64.StdEncoding.EncodeToString(gossipKey(s)) + "\n")
	}
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
}

// startReal starts node number i of a field.
func startReal(t *testing.T, cluster string, i int, members map[policy.NodeID]Member, keys string) *real {
	t.Helper()
	id := policy.NodeID(fmt.Sprintf("n%d", i))
	n := &real{t: t, id: id, logs: &logBuffer{}, keys: keys, orders: make(chan func() Out), done: make(chan struct{}), voter: true, see: func(Out) {}}
	r, _, err := New(Config{Cluster: cluster, Self: id, Key: keyOf(i), Members: members, Incarnation: uint64(time.Now().UnixMilli())}, nil, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	n.r, n.d = r, NewDecoder(id, r.Keyring())
	n.g, err = NewGossip(GossipConfig{
		Cluster: cluster, Self: id, Members: members, KeysFile: keys, Decoder: n.d,
		Log: slog.New(slog.NewTextHandler(n.logs, &slog.HandlerOptions{Level: slog.LevelInfo})),
	})
	if err != nil {
		t.Fatal(err)
	}
	n.start()
	t.Cleanup(n.stop)
	return n
}

func (n *real) start() {
	ctx, cancel := context.WithCancel(context.Background())
	n.cancel = cancel
	go n.run(ctx)
}

func (n *real) run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := n.g.Run(ctx); err != nil {
			n.t.Errorf("%s: %v", n.id, err)
		}
	})
	n.loop(ctx)
	wg.Wait()
	close(n.done)
}

func (n *real) loop(ctx context.Context) {
	up := map[policy.NodeID]bool{}
	out := n.r.Tick(time.Now())
	if n.voter {
		out, _ = n.r.SetVote([]byte("vote of "+n.id), time.Now())
	}
	for {
		n.g.Send(out.Send)
		n.see(out)
		n.votes.Add(int64(len(out.Votes)))
		count, _ := n.r.Digest()
		n.held.Store(int64(count))
		wait := time.NewTimer(time.Until(out.Wake))
		select {
		case <-ctx.Done():
			wait.Stop()
			return
		case <-wait.C:
			out = n.r.Tick(time.Now())
		case m := <-n.g.Messages():
			out = n.r.Receive(m, time.Now())
		case do := <-n.orders:
			out = do()
		case <-n.g.Changed():
			out = n.changed(up)
		}
		wait.Stop()
	}
}

func (n *real) changed(up map[policy.NodeID]bool) (out Out) {
	alive := n.g.Alive()
	for id := range up {
		if !slices.Contains(alive, id) {
			delete(up, id)
			out = n.r.Down(id, time.Now())
		}
	}
	for _, id := range alive {
		if !up[id] {
			up[id] = true
			o := n.r.Up(id, time.Now())
			out.Send, out.Wake, out.Votes = append(out.Send, o.Send...), o.Wake, append(out.Votes, o.Votes...)
		}
	}
	return out
}

func (n *real) stop() {
	n.cancel()
	<-n.done
}

// do has the loop's goroutine do something.
func (n *real) do(f func() Out) { n.orders <- f }

func (n *real) write(key string) {
	n.do(func() Out {
		e := policy.Entry{Kind: policy.KindDrain, Key: key, Author: "ann", Stamp: policy.Stamp{Wall: time.Now().UnixMilli(), Node: n.id}}
		out, err := n.r.Write([]policy.Entry{e}, time.Now())
		if err != nil {
			n.t.Error(err)
		}
		return out
	})
}

// eventually waits until something holds.
func eventually(t *testing.T, what string, within time.Duration, holds func() bool, nodes ...*real) {
	t.Helper()
	deadline := time.Now().Add(within)
	for !holds() {
		if time.Now().After(deadline) {
			for _, n := range nodes {
				t.Logf("--- %s sees %v, holds %d, %+v\n%s", n.id, n.g.Alive(), n.held.Load(), n.g.Stats(), n.logs)
			}
			t.Fatalf("not within %s: %s", within, what)
		}
		<-time.After(5 * time.Millisecond)
	}
}

func allSee(n int, nodes ...*real) func() bool {
	return func() bool {
		return !slices.ContainsFunc(nodes, func(x *real) bool { return len(x.g.Alive()) != n })
	}
}

func allHold(n int64, nodes ...*real) func() bool {
	return func() bool {
		return !slices.ContainsFunc(nodes, func(x *real) bool { return x.held.Load() != n })
	}
}

func TestThreeNodesJoinAreParted_AndMeetAgain(t *testing.T) {
	members := field(t, 3)
	keys := keysFile(t, 1)
	a, b, c := startReal(t, "prod", 1, members, keys), startReal(t, "prod", 2, members, keys), startReal(t, "prod", 3, members, keys)
	all := []*real{a, b, c}
	eventually(t, "all see all", 20*time.Second, allSee(2, all...), all...)
	eventually(t, "votes count", 10*time.Second, func() bool { return a.votes.Load() > 2 && b.votes.Load() > 2 && c.votes.Load() > 2 }, all...)
	a.write("site/s1")
	eventually(t, "all hold the entry", 5*time.Second, allHold(1, all...), all...)

	c.g.Block([]policy.SiteID{"s1", "s2"})
	eventually(t, "n3 is lost to the others", 60*time.Second, func() bool { return len(a.g.Alive()) == 1 && len(b.g.Alive()) == 1 && len(c.g.Alive()) == 0 }, all...)
	a.write("site/s2")
	c.write("site/s3")
	eventually(t, "n2 holds two", 5*time.Second, allHold(2, a, b), all...)
	if c.held.Load() != 2 {
		t.Errorf("n3 holds %d behind a block, its own 2 expected", c.held.Load())
	}
	c.g.Block(nil)
	begun := time.Now()
	eventually(t, "all hold all", 10*time.Second, allHold(3, all...), all...)
	t.Logf("healed after %s", time.Since(begun).Round(time.Millisecond))
	eventually(t, "all see all again", 30*time.Second, allSee(2, all...), all...)
}

// lineCount counts log lines.
type lineCount struct{ n atomic.Int64 }

func (l *lineCount) Write(p []byte) (int, error) {
	l.n.Add(1)
	return len(p), nil
}

// An error of the socket that stays is looked at a few times a second, and packets are read when it has gone.
func TestAnErrorOfTheSocketDoesNotSpin(t *testing.T) {
	lines := &lineCount{}
	n, err := listen(netip.MustParseAddrPort("127.0.0.1:0"), &atomic.Pointer[blockList]{}, &counters{}, slog.New(slog.NewTextHandler(lines, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer n.Shutdown()
	begun := time.Now()
	n.udp.SetReadDeadline(begun)
	for lines.n.Load() < 3 {
		if time.Since(begun) > 10*time.Second {
			t.Fatal("nothing is said of an error of the socket")
		}
		time.Sleep(time.Millisecond)
	}
	if took := time.Since(begun); took < 2*errorPause {
		t.Errorf("three errors in %s", took)
	}
	n.udp.SetReadDeadline(time.Time{})
	if _, err := n.WriteTo([]byte("x"), n.addr.String()); err != nil {
		t.Fatal(err)
	}
	select {
	case p := <-n.PacketCh():
		if string(p.Buf) != "x" {
			t.Errorf("read %q", p.Buf)
		}
	case <-time.After(10 * time.Second):
		t.Error("no packet is read after the error has gone")
	}
}

func TestAWrongGossipKeyIsRefusedOnBothSides(t *testing.T) {
	members := field(t, 2)
	a, b := startReal(t, "prod", 1, members, keysFile(t, 1)), startReal(t, "prod", 2, members, keysFile(t, 2))
	a.write("site/s1")
	for _, n := range []*real{a, b} {
		eventually(t, "a line about the key", 15*time.Second, func() bool {
			return n.logs.has("level=WARN", "not installed here", FingerprintOf(gossipKey(byte(n.id[1]-'0'))).String())
		}, a, b)
	}
	if len(a.g.Alive())+len(b.g.Alive()) > 0 || b.held.Load() != 0 {
		t.Errorf("they see %v and %v, and n2 holds %d", a.g.Alive(), b.g.Alive(), b.held.Load())
	}
}

func TestAWrongClusterIsRefusedOnBothSides(t *testing.T) {
	members := field(t, 2)
	keys := keysFile(t, 1)
	a, b := startReal(t, "prod", 1, members, keys), startReal(t, "lab", 2, members, keys)
	a.write("site/s1")
	for _, n := range []*real{a, b} {
		eventually(t, "a line about the cluster", 15*time.Second, func() bool { return n.logs.has("level=WARN", "node refused", "belongs to cluster") }, a, b)
	}
	if len(a.g.Alive())+len(b.g.Alive()) > 0 || b.held.Load() != 0 {
		t.Errorf("they see %v and %v, and n2 holds %d", a.g.Alive(), b.g.Alive(), b.held.Load())
	}
}

// A node of a later release is taken while it still speaks what this one does. What a node of the first release
// says of itself is frozen here.
func TestProtocolVersions(t *testing.T) {
	members := field(t, 2)
	own := startReal(t, "prod", 1, members, keysFile(t, 1))
	key := keyPrint(members["n2"].PublicKey)
	first := "\x01\x01\x04prod\x02s2" + string(key[:]) + "\x01\x01\x02\x03\x04\x05\x06\x07\x08\x0f"
	for said, want := range map[string]string{
		first:                                "",
		"\x01\x02" + first[2:] + "and more":  "",
		first + "and more":                   "metadata",
		"\x02\x03\x04prodwho knows":          "it speaks protocol versions 2 to 3, this node 1 to 1",
		"\x02\x03\x03labwho knows":           `belongs to cluster "lab"`,
		"\x00\x00\x04prodan earlier attempt": "it speaks protocol versions 0 to 0, this node 1 to 1",
	} {
		at := netip.MustParseAddrPort(members["n2"].Address)
		err := own.g.judge(&memberlist.Node{Name: "n2", Addr: at.Addr().AsSlice(), Port: at.Port(), Meta: []byte(said)})
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %q expected", said, err, want)
		}
	}
}

func TestASecondNodeOfOneNameIsRefusedOnBothSides(t *testing.T) {
	members := field(t, 2)
	keys := keysFile(t, 1)
	a, b := startReal(t, "prod", 1, members, keys), startReal(t, "prod", 2, members, keys)
	eventually(t, "they see each other", 20*time.Second, allSee(1, a, b), a, b)
	other := map[policy.NodeID]Member{"n1": members["n1"], "n2": members["n2"]}
	m := other["n2"]
	m.Address = freeAddress(t, nextNet.Load(), 99)
	other["n2"] = m
	second := startReal(t, "prod", 2, other, keys)
	eventually(t, "n1 says so", 15*time.Second, func() bool { return a.logs.has("level=WARN", "node refused", "started as n2", m.Address) }, a, b, second)
	eventually(t, "the second says so", 15*time.Second, func() bool { return second.logs.has("level=WARN", "node refused", "two nodes are started as n2") }, a, b, second)
	if !allSee(1, a, b)() || len(second.g.Alive()) > 0 {
		t.Errorf("they see %v, %v and %v", a.g.Alive(), b.g.Alive(), second.g.Alive())
	}
}

func TestANodeOfNoConfigurationIsRefused(t *testing.T) {
	members := field(t, 2)
	keys := keysFile(t, 1)
	one := map[policy.NodeID]Member{"n1": members["n1"]}
	a, b := startReal(t, "prod", 1, one, keys), startReal(t, "prod", 2, members, keys)
	eventually(t, "n1 says so", 15*time.Second, func() bool { return a.logs.has("node refused", "n2", "no node of this name") }, a, b)
	if len(a.g.Alive()) > 0 {
		t.Errorf("n1 sees %v", a.g.Alive())
	}
	a.do(func() Out { // the configuration comes to know it
		out, err := a.r.Reconfigure(Config{Cluster: "prod", Self: "n1", Key: keyOf(1), Members: members}, time.Now())
		if err != nil {
			t.Error(err)
		}
		a.d.SetKeyring(a.r.Keyring())
		if err := a.g.SetMembers(members); err != nil {
			t.Error(err)
		}
		return out
	})
	eventually(t, "they see each other", 20*time.Second, allSee(1, a, b), a, b)
	b.write("site/s1")
	eventually(t, "both hold it", 10*time.Second, allHold(1, a, b), a, b)
}

func TestGossipKeysRotate(t *testing.T) {
	members := field(t, 3)
	var all []*real
	for i := 1; i <= 3; i++ {
		all = append(all, startReal(t, "prod", i, members, keysFile(t, 1)))
	}
	eventually(t, "all see all", 20*time.Second, allSee(2, all...), all...)
	old, next := FingerprintOf(gossipKey(1)), FingerprintOf(gossipKey(2))
	ids := []policy.NodeID{"n1", "n2", "n3"}
	step := func(o KeyOrder) {
		t.Helper()
		eventually(t, fmt.Sprintf("ready for %+v", o), 10*time.Second, func() bool {
			return !slices.ContainsFunc(all, func(n *real) bool { return len(o.ReadyFor(ids, n.g.KeysByNode())) > 0 })
		}, all...)
		for _, n := range all {
			if err := n.g.ApplyKeyOrder(o); err != nil {
				t.Fatal(err)
			}
		}
	}
	if not := (KeyOrder{KeyUse, next}).ReadyFor(ids, all[0].g.KeysByNode()); len(not) != 3 {
		t.Errorf("not ready for a key that nobody has: %v", not)
	}
	for _, n := range all {
		writeKeys(t, n.keys, 1, 2)
	}
	step(KeyOrder{Op: KeyReread})
	step(KeyOrder{KeyUse, next})
	if not := (KeyOrder{KeyRemove, old}).ReadyFor(ids, all[0].g.KeysByNode()); len(not) == 0 {
		t.Error("the old key may go although it is the first in every file")
	}
	for _, n := range all {
		writeKeys(t, n.keys, 2)
	}
	step(KeyOrder{Op: KeyReread})
	step(KeyOrder{KeyRemove, old})
	all[0].write("site/s1")
	eventually(t, "all hold the entry", 5*time.Second, allHold(1, all...), all...)
	late := startReal(t, "prod", 4, members4(t, members), keysFile(t, 1))
	eventually(t, "the removed key is refused", 15*time.Second, func() bool { return late.logs.has("not installed here") }, append(all, late)...)
}

func members4(t *testing.T, members map[policy.NodeID]Member) map[policy.NodeID]Member {
	out := map[policy.NodeID]Member{}
	for id, m := range members {
		out[id] = m
	}
	out["n4"] = Member{Site: "s4", Address: freeAddress(t, nextNet.Load(), 4), PublicKey: keyOf(4).Public().(publicKey)}
	return out
}

func TestKeysFileErrorsNameTheLineAndNeverTheKey(t *testing.T) {
	good := base64.StdEncoding.EncodeToString(gossipKey(1))
	for _, c := range []struct{ text, want string }{
		{"", "no key in it"},
		{"# one\n\n!!" + good, ":3: no base64"},
		{good + "\n" + base64.StdEncoding.EncodeToString([]byte("short")), ":2: a key of 5 octets, 16, 24 or 32 expected"},
		{good + "\n" + good, ":2: the key stands there twice"},
	} {
		path := filepath.Join(t.TempDir(), "keys")
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := readKeys(path)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), good) {
			t.Errorf("%q: %v, %q expected", c.text, err, c.want)
		}
	}
}

func TestAKeysFileIsARegularFile(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "keys")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{fifo, "/dev/zero"} {
		if _, err := readKeys(path); err == nil || !strings.Contains(err.Error(), "expected a regular file") {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestAKeysFileThatOthersMayReadIsRefused(t *testing.T) {
	path := keysFile(t, 1)
	for mode, want := range map[os.FileMode]string{
		0o600: "", 0o640: "", 0o400: "",
		0o644: "found mode 0644, expected 0640 or stricter", 0o620: "found mode 0620", 0o604: "found mode 0604",
	} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		_, err := readKeys(path)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), path+": "+want) {
			t.Errorf("mode %04o: %v, %q expected", mode, err, want)
		}
	}
}

func contextOf(t *testing.T) (context.Context, context.CancelFunc) {
	return context.WithCancel(t.Context())
}

func TestANodeThatLeftComesBack(t *testing.T) {
	members := field(t, 2)
	keys := keysFile(t, 1)
	a, b := startReal(t, "prod", 1, members, keys), startReal(t, "prod", 2, members, keys)
	eventually(t, "they see each other", 20*time.Second, allSee(1, a, b), a, b)
	a.write("site/s1")
	eventually(t, "both hold it", 10*time.Second, allHold(1, a, b), a, b)
	b.stop()
	eventually(t, "n1 sees that n2 left", 20*time.Second, allSee(0, a), a)
	a.write("site/s2")
	b = startReal(t, "prod", 2, members, keys)
	eventually(t, "they see each other again", 20*time.Second, allSee(1, a, b), a, b)
	eventually(t, "both hold both", 10*time.Second, allHold(2, a, b), a, b)
	votes := a.votes.Load()
	eventually(t, "votes of the new start count", 10*time.Second, func() bool { return a.votes.Load() > votes }, a, b)
}
