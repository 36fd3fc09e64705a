package faults

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"
	"golang.org/x/sys/unix"

	"github.com/scloudstack/pharos/cluster"
	"github.com/scloudstack/pharos/integration/lab/host"
	"github.com/scloudstack/pharos/integration/lab/lab"
	"github.com/scloudstack/pharos/internal/node"
	"github.com/scloudstack/pharos/policy"
)

const (
	strangerVariable = "PHAROS_STRANGER" // the file that says what this process is to send
	gossipPort       = 7946
)

// letter is what a stranger, who has the gossip key, sends.
type letter struct {
	From    string   // its address
	Key     []byte   // of the gossip
	To      []string // addresses
	Packets [][]byte
}

// beStranger sends a letter from this process, each packet as a datagram and by a stream.
func beStranger(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var l letter
	if err := json.Unmarshal(text, &l); err != nil {
		return err
	}
	c := memberlist.DefaultLANConfig()
	c.Name, c.BindAddr, c.BindPort, c.SecretKey, c.EnableCompression = "stranger", l.From, gossipPort, l.Key, false
	m, err := memberlist.Create(c)
	if err != nil {
		return err
	}
	for _, to := range l.To {
		addr := netip.MustParseAddr(to)
		for _, packet := range l.Packets {
			if err := m.SendToAddress(memberlist.Address{Addr: netip.AddrPortFrom(addr, gossipPort).String()}, packet); err != nil {
				return err
			}
			if err := m.SendReliable(&memberlist.Node{Addr: addr.AsSlice(), Port: gossipPort}, packet); err != nil {
				return err
			}
		}
	}
	return m.Shutdown()
}

// send has a stranger in the network of a site's clients send packets to all nodes.
func send(t *testing.T, l *lab.Lab, from *lab.Site, packets [][]byte) {
	t.Helper()
	key, err := os.ReadFile(filepath.Join(l.Dir(), "gossip.keys"))
	if err != nil {
		t.Fatal(err)
	}
	out := letter{From: clients(from).String(), Packets: packets}
	if out.Key, err = base64.StdEncoding.DecodeString(strings.TrimSpace(string(key))); err != nil {
		t.Fatal(err)
	}
	for _, n := range l.Nodes() {
		out.To = append(out.To, n.Address().String())
	}
	text, err := json.Marshal(out)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "letter.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), strangerVariable+"="+file)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	p, err := from.Clients().Start(cmd)
	if err == nil {
		err = p.How()
	}
	if err != nil {
		t.Fatalf("the stranger: %v: %s", err, &said)
	}
}

// clients is the address of a site's clients.
func clients(s *lab.Site) netip.Addr {
	a := s.Nodes()[0].Address().As4()
	return netip.AddrFrom4([4]byte{a[0], a[1], 9, 1})
}

// impostor writes entries and votes as a node of the lab, signed with some key.
func impostor(t *testing.T, l *lab.Lab, as policy.NodeID, key ed25519.PrivateKey) *cluster.Replica {
	t.Helper()
	members := map[policy.NodeID]cluster.Member{}
	for _, n := range l.Nodes() {
		members[policy.NodeID(n.Name())] = cluster.Member{
			Site: policy.SiteID(n.Site().Name()), Address: netip.AddrPortFrom(n.Address(), gossipPort).String(), PublicKey: ownKey(t, n).Public().(ed25519.PublicKey),
		}
	}
	own := members[as]
	own.Address = cmp.Or(own.Address, "192.0.2.99:1") // what it says of itself is what the others expect
	own.PublicKey = key.Public().(ed25519.PublicKey)
	members[as] = own
	r, _, err := cluster.New(cluster.Config{
		Cluster: "lab", Self: as, Key: key, Members: members, Incarnation: uint64(time.Now().UnixMilli()),
	}, nil, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func ownKey(t *testing.T, n *lab.Node) ed25519.PrivateKey {
	t.Helper()
	key, err := node.LoadIdentity(filepath.Join(n.Dir(), "identity", "node.key"))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// override is an entry that pins the steered name.
func override(by policy.NodeID, address string, at time.Time) policy.Entry {
	return policy.Entry{
		Kind: policy.KindOverride, Key: "name/" + steered, Author: "mallory", Reason: "forged",
		Stamp: policy.Stamp{Wall: at.UnixMilli(), Node: by},
		Value: fmt.Appendf(nil, `{"addresses":[%q],"unlisted":true}`, address),
	}
}

// packets are what a replica would send to others.
func packets(t *testing.T, out cluster.Out, err error) (list [][]byte) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range out.Send {
		list = append(list, p.Data)
	}
	if len(list) == 0 {
		t.Fatal("there is nothing to send")
	}
	return list
}

// TestForgeries has one who knows the gossip key, and no node's own key, write orders and votes in
// the name of others. With the right key the same packets count, so it is the key that they lack.
func TestForgeries(t *testing.T) {
	l := together(t, lab.Default())
	_, wrong, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	a, b := l.Node("edge-a1"), l.Node("edge-b1")

	t.Run("an order in another's name", func(t *testing.T) {
		forged := impostor(t, l, "edge-b1", wrong)
		out, err := forged.Write([]policy.Entry{override("edge-b1", "198.18.6.6", now)}, now)
		send(t, l, l.Site("city-a"), packets(t, out, err))
		l.Eventually(5*time.Second, logged(a, "refused", "edge-b1"))
		l.Eventually(5*time.Second, alarmed(a, "entries/refused/edge-b1", "sign"))
		l.Steady(2*time.Second, l.Answers(steered, "203.0.113.10"))
	})
	t.Run("a vote in another's name", func(t *testing.T) {
		forged := impostor(t, l, "edge-b1", wrong)
		out, err := forged.SetVote([]byte("everything is down"), now)
		send(t, l, l.Site("city-a"), packets(t, out, err))
		l.Eventually(5*time.Second, logged(a, "gossip packet refused", "edge-b1"))
		l.Steady(2*time.Second, l.Answers(steered, "203.0.113.10"))
	})
	t.Run("an order of nobody", func(t *testing.T) {
		forged := impostor(t, l, "edge-x9", wrong)
		out, err := forged.Write([]policy.Entry{override("edge-x9", "198.18.6.9", now)}, now)
		send(t, l, l.Site("city-a"), packets(t, out, err))
		l.Eventually(5*time.Second, logged(a, "edge-x9", "is no node of the configuration"))
		l.Steady(2*time.Second, l.Answers(steered, "203.0.113.10"))
	})
	t.Run("with the right key they count", func(t *testing.T) {
		real := impostor(t, l, "edge-b1", ownKey(t, b))
		out, err := real.Write([]policy.Entry{override("edge-b1", "198.18.6.7", time.Now())}, time.Now())
		send(t, l, l.Site("city-a"), packets(t, out, err))
		l.Eventually(5*time.Second, l.Answers(steered, "198.18.6.7"))
		do(t, a, "override", "clear", steered, "--reason", "a test")
		l.Eventually(5*time.Second, l.Answers(steered, "203.0.113.10"))
	})
	t.Run("dated far ahead", func(t *testing.T) {
		ahead := time.Now().Add(24 * time.Hour)
		real := impostor(t, l, "edge-b1", ownKey(t, b))
		out, err := real.Write([]policy.Entry{override("edge-b1", "198.18.6.8", ahead)}, time.Now())
		send(t, l, l.Site("city-a"), packets(t, out, err))
		l.Eventually(5*time.Second, alarmed(a, "entries/skew/edge-b1", "ahead of this node's clock"))
		do(t, l.Node("edge-r1"), "override", "set", steered, "203.0.113.20", "--reason", "knows better")
		l.Eventually(5*time.Second, l.Answers(steered, "203.0.113.20")) // it can't win for ever
		do(t, a, "override", "clear", steered, "--reason", "a test")
		l.Eventually(5*time.Second, l.Answers(steered, "203.0.113.10"))
	})
	l.Eventually(10*time.Second, agree(l))
	verified(t, l)
}

// TestReplays records all that a node hears while orders and votes come, and sends it to all
// nodes again: later, to one that was started since and remembers no packet, and in the name of a
// node that is dead by then.
func TestReplays(t *testing.T) {
	l := together(t, lab.Default())
	a, b, r := l.Node("edge-a1"), l.Node("edge-b1"), l.Node("edge-r1")
	tape := record(t, b.Host())
	do(t, a, "override", "set", steered, "198.18.7.7", "--unlisted", "--reason", "to be recorded")
	l.Eventually(5*time.Second, l.Answers(steered, "198.18.7.7"))
	do(t, a, "override", "clear", steered, "--reason", "to be recorded")
	l.Eventually(5*time.Second, l.Answers(steered, "203.0.113.10"))
	l.Site("city-a").KillBalancers()
	l.Eventually(10*time.Second, l.Answers(steered, "203.0.113.20"))
	l.Site("city-a").HealBalancers()
	l.Eventually(10*time.Second, l.Answers(steered, "203.0.113.10"))
	heard := tape()
	t.Logf("%d packets were recorded", len(heard))
	if len(heard) < 20 {
		t.Fatal("that is too few")
	}

	b.Stop()
	b.Start()
	l.Eventually(10*time.Second, calm(l))
	for range 2 {
		replay(t, l, heard)
	}
	l.Steady(3*time.Second, l.Answers(steered, "203.0.113.10"))
	l.Eventually(5*time.Second, agree(l))
	if held, err := pins(b); err != nil || len(held) > 0 {
		t.Errorf("after the replay edge-b1 holds %v %v", held, err)
	}
	l.Eventually(5*time.Second, calm(l))

	a.Kill9()
	l.Eventually(10*time.Second, state(b, a.Name(), "silent"))
	b.Stop()
	b.Start() // it never heard edge-a1
	replay(t, l, heard)
	l.Steady(2*time.Second, func() error {
		for _, n := range []*lab.Node{b, r} {
			if state(n, a.Name(), "alive")() == nil {
				return fmt.Errorf("%s takes a dead node's old packets for its word", n.Name())
			}
		}
		return nil
	})
	l.Steady(time.Second, l.Answers(steered, "203.0.113.10"))
	a.Start()
	l.Eventually(20*time.Second, calm(l))
	verified(t, l)
}

// state, for Eventually: how one node is heard by another.
func state(on *lab.Node, of, want string) func() error {
	return func() error {
		var s struct {
			Members []struct{ Node, State string }
		}
		if err := read(on, &s, "cluster", "status"); err != nil {
			return err
		}
		for _, m := range s.Members {
			if m.Node == of && m.State != want {
				return fmt.Errorf("%s says of %s that it is %s, want %s", on.Name(), of, m.State, want)
			}
		}
		return nil
	}
}

// record keeps the gossip datagrams that a host receives until the tape is taken.
func record(t *testing.T, h *host.Host) func() [][]byte {
	t.Helper()
	fd := -1
	err := h.Do(func() (err error) {
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM, int(htons(unix.ETH_P_IP)))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 50_000}); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan [][]byte, 1)
	go func() {
		defer unix.Close(fd)
		var heard [][]byte
		buffer := make([]byte, 64<<10)
		for ctx.Err() == nil {
			size, from, err := unix.Recvfrom(fd, buffer, 0)
			if l, ok := from.(*unix.SockaddrLinklayer); err != nil || !ok || l.Pkttype == unix.PACKET_OUTGOING {
				continue
			}
			if p := payload(buffer[:size]); p != nil {
				heard = append(heard, bytes.Clone(p))
			}
		}
		done <- heard
	}()
	return func() [][]byte {
		stop()
		return <-done
	}
}

func htons(v uint16) uint16 { return v<<8 | v>>8 }

// payload is what a datagram to the port of gossip carries; nil: the packet is none.
func payload(ip []byte) []byte {
	const udp = 17
	if len(ip) < 28 || ip[0]>>4 != 4 || ip[9] != udp {
		return nil
	}
	total, head := int(ip[2])<<8|int(ip[3]), int(ip[0]&15)*4
	if total > len(ip) || head+8 > total || int(ip[head+2])<<8|int(ip[head+3]) != gossipPort {
		return nil
	}
	return ip[head+8 : total]
}

// replay sends recorded datagrams to all nodes that run, unaltered.
func replay(t *testing.T, l *lab.Lab, heard [][]byte) {
	t.Helper()
	conn, err := l.Site("city-b").Clients().ListenPacket("udp4", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for i, p := range heard {
		for _, n := range l.Nodes() {
			if !n.Running() {
				continue
			}
			if _, err := conn.WriteTo(p, net.UDPAddrFromAddrPort(netip.AddrPortFrom(n.Address(), gossipPort))); err != nil {
				t.Fatal(err)
			}
		}
		if i%50 == 49 {
			<-time.After(5 * time.Millisecond) // so that the sockets' buffers take them
		}
	}
}
