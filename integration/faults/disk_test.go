package faults

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/scloudstack/pharos/integration/lab/lab"
)

// manyNames is a service with names enough for many orders, on nodes whose disks are
// small and whose sockets are elsewhere.
func manyNames() lab.Topology {
	topology := lab.Default()
	topology.Disk = 16 << 20
	var names []string
	for i := range 400 {
		names = append(names, fmt.Sprintf("n%d.shop.example.", i))
	}
	topology.Extra = fmt.Sprintf("api: {socket: \"{{dir}}/api.sock\"}\nservices:\n  many:\n    names: [%s]\n    endpoints: [{site: city-a, address: 192.0.2.10}]\n", strings.Join(names, ", "))
	return topology
}

// pin gives an order about one of the many names, long enough to need room.
func pin(n *lab.Node, i int, address string) lab.Output {
	return n.CLI(append(socket(n), "override", "set", fmt.Sprintf("n%d.shop.example", i), address, "--unlisted",
		"--reason", strings.Repeat("room ", 90))...)
}

// refusedFrom gives orders until the node refuses one, and returns which that was.
func refusedFrom(t *testing.T, n *lab.Node, first int) (int, lab.Output) {
	t.Helper()
	for i := first; i < first+150; i++ {
		if out := pin(n, i, "198.18.0.1"); out.Code != 0 && out.Code != 3 {
			return i, out
		}
	}
	t.Fatalf("%s takes orders although its disk has no room", n.Name())
	panic("unreachable")
}

func wantRefusal(t *testing.T, out lab.Output, why string) {
	t.Helper()
	for _, text := range []string{"the order was not taken", why, "mend the disk, or start the node with --volatile"} {
		if !strings.Contains(out.Stderr, text) {
			t.Errorf("the refusal does not say %q: %+v", text, out)
		}
	}
	if out.Code != 1 {
		t.Errorf("the exit status of a refusal is %d", out.Code)
	}
}

// TestFullDisk fills the disk of one node of three. It refuses orders, says why and alarms,
// answers on, and follows the orders of others, which it keeps once there is room again.
func TestFullDisk(t *testing.T) {
	l := lab.New(t, manyNames())
	a, b := l.Node("edge-a1"), l.Node("edge-b1")
	l.Eventually(20*time.Second, l.Answers(steered, "203.0.113.10"))

	b.FillDisk()
	i, out := refusedFrom(t, b, 0)
	wantRefusal(t, out, "no space left on device")
	refused := fmt.Sprintf("n%d.shop.example.", i)
	l.Steady(time.Second, l.Answers(refused, "192.0.2.10"))
	l.Eventually(5*time.Second, alarmed(b, "disk", "no space left on device"))

	if out := pin(a, 300, "198.18.0.30"); out.Code != 3 || !strings.Contains(out.Stdout+out.Stderr, "edge-b1") {
		t.Errorf("of an order that edge-b1 can't keep: %+v", out)
	}
	l.Eventually(5*time.Second, l.Answers("n300.shop.example.", "198.18.0.30"))
	l.Site("city-a").KillBalancers()
	l.Eventually(10*time.Second, l.Answers(steered, "203.0.113.20"))
	l.Site("city-a").HealBalancers()
	l.Eventually(10*time.Second, l.Answers(steered, "203.0.113.10"))

	b.FreeDisk()
	l.Eventually(10*time.Second, noFaults(b))
	if out := pin(b, i, "198.18.0.31"); out.Code != 0 {
		t.Errorf("with room again: %+v", out)
	}
	b.Kill9()
	b.Isolate() // what it has now is from its own disk
	b.Start()
	l.Eventually(5*time.Second, l.Answers("n300.shop.example.", "198.18.0.30", b))
	l.Eventually(5*time.Second, l.Answers(refused, "198.18.0.31", b))
	b.Rejoin()
	l.Eventually(10*time.Second, agree(l))

	t.Run("volatile", func(t *testing.T) {
		b.Stop()
		b.Start("--volatile")
		b.FillDisk()
		i := i
		for ; ; i++ {
			if out = pin(b, i, "198.18.0.32"); out.Code != 0 {
				break
			}
		}
		if out.Code != 3 || !strings.Contains(out.Stderr, "kept in memory only until the disk writes again") {
			t.Errorf("an order to a node with --volatile whose disk is full: %+v", out)
		}
		l.Eventually(5*time.Second, l.Answers(fmt.Sprintf("n%d.shop.example.", i), "198.18.0.32"))
		b.FreeDisk()
		l.Eventually(10*time.Second, noFaults(b))
		b.Kill9()
		b.Isolate()
		b.Start()
		l.Eventually(5*time.Second, l.Answers(fmt.Sprintf("n%d.shop.example.", i), "198.18.0.32", b))
		b.Rejoin()
	})
	verified(t, l)
}

// TestReadOnlyFolder starts one node of three on a disk that can't be written.
func TestReadOnlyFolder(t *testing.T) {
	l := lab.New(t, manyNames())
	a, b := l.Node("edge-a1"), l.Node("edge-b1")
	l.Eventually(20*time.Second, l.Answers(steered, "203.0.113.10"))
	if out := pin(b, 1, "198.18.0.1"); out.Code != 0 {
		t.Fatalf("%+v", out)
	}
	b.Stop()
	b.ReadOnlyDisk()
	b.Start()
	l.Eventually(5*time.Second, l.Answers("n1.shop.example.", "198.18.0.1")) // it is read all the same
	l.Eventually(5*time.Second, l.Answers(steered, "203.0.113.10"))
	wantRefusal(t, pin(b, 2, "198.18.0.2"), "read-only file system")
	l.Eventually(5*time.Second, alarmed(b, "disk", "read-only file system"))
	if out := pin(a, 3, "198.18.0.3"); out.Code != 3 {
		t.Errorf("of an order that edge-b1 can't keep: %+v", out)
	}
	l.Eventually(5*time.Second, l.Answers("n3.shop.example.", "198.18.0.3"))
	l.Steady(time.Second, l.Answers("n2.shop.example.", "192.0.2.10"))

	b.WritableDisk()
	l.Eventually(10*time.Second, noFaults(b))
	if out := pin(b, 2, "198.18.0.2"); out.Code != 0 {
		t.Errorf("on a disk that writes again: %+v", out)
	}
	b.Kill9()
	b.Isolate()
	b.Start()
	for i := 1; i <= 3; i++ {
		l.Eventually(5*time.Second, l.Answers(fmt.Sprintf("n%d.shop.example.", i), fmt.Sprintf("198.18.0.%d", i), b))
	}
	b.Rejoin()
	l.Eventually(10*time.Second, agree(l))

	t.Run("volatile", func(t *testing.T) {
		b.Stop()
		b.ReadOnlyDisk()
		b.Start("--volatile")
		l.Eventually(5*time.Second, l.Answers("n1.shop.example.", "198.18.0.1"))
		l.Eventually(5*time.Second, alarmed(b, "disk", "orders are kept in memory only: "))
		out := pin(b, 4, "198.18.0.4")
		if out.Code != 3 || !strings.Contains(out.Stderr, "kept in memory only until the disk writes again") || !strings.Contains(out.Stderr, "read-only file system") {
			t.Errorf("an order to a node with --volatile whose disk is read-only: %+v", out)
		}
		l.Eventually(5*time.Second, l.Answers("n4.shop.example.", "198.18.0.4")) // for the others it is an order as any
		b.WritableDisk()
		l.Eventually(10*time.Second, noFaults(b))
		b.Kill9()
		b.Isolate()
		b.Start()
		l.Eventually(5*time.Second, l.Answers("n4.shop.example.", "198.18.0.4", b))
		b.Rejoin()
		l.Eventually(10*time.Second, agree(l))
	})
	verified(t, l)
}

// TestTruncatedStore truncates the file of a live node, whose memory map then faults, while
// orders come in from its peers and from people. DNS goes on, and no order is lost.
func TestTruncatedStore(t *testing.T) {
	topology := manyNames()
	topology.Disk = 0
	l := lab.New(t, topology)
	b := l.Node("edge-b1")
	l.Eventually(20*time.Second, l.Answers(steered, "203.0.113.10"))
	watch := b.Watch(steered, 5*time.Millisecond)
	defer watch.Stop()

	ctx, cancel := context.WithCancel(t.Context())
	var giving sync.WaitGroup
	taken := make([][]int, len(l.Nodes())) // the names of the orders that were acknowledged
	for k, n := range l.Nodes() {
		giving.Go(func() {
			for i := 0; ctx.Err() == nil && i < 100; i++ {
				if out := pin(n, 100*k+i, fmt.Sprintf("198.18.%d.%d", k, i)); out.Code == 0 || out.Code == 3 {
					taken[k] = append(taken[k], 100*k+i)
				}
			}
		})
	}
	store := filepath.Join(b.DataDir(), "state.db")
	for range 3 {
		<-time.After(300 * time.Millisecond)
		if err := os.Truncate(store, 0); err != nil {
			t.Error(err)
		}
		l.Eventually(10*time.Second, whole(store))
	}
	cancel()
	giving.Wait()
	l.Eventually(10*time.Second, alarmed(b, "disk-damaged", "no order was lost"))
	l.Eventually(10*time.Second, agree(l))
	if moves := watch.Changes(); len(moves) != 1 {
		t.Errorf("meanwhile edge-b1 answered: %v", moves)
	}

	b.Kill9()
	b.Isolate()
	b.Start()
	for k, all := range taken {
		t.Logf("%s took %d orders", l.Nodes()[k].Name(), len(all))
		if len(all) == 0 {
			t.Errorf("%s took no order", l.Nodes()[k].Name())
		}
	}
	wantOrders(t, b, taken) // from its own disk
	b.Rejoin()
	l.Eventually(10*time.Second, agree(l))

	t.Run("damaged while the node was down", func(t *testing.T) {
		l.Eventually(20*time.Second, sameAudit(l)) // what it alone holds would be lost
		b.Kill9()
		spoil(t, store)
		b.Start()
		l.Eventually(10*time.Second, alarmed(b, "disk-damaged", "set aside as"))
		l.Eventually(10*time.Second, agree(l)) // refilled from its peers
		wantOrders(t, b, taken)
		if all, err := filepath.Glob(store + ".damaged-*"); len(all) == 0 || err != nil {
			t.Errorf("set aside: %v %v", all, err)
		}
	})
	verified(t, l)
}

// wantOrders wants a node to hold every order that was acknowledged: by each node of the lab, the numbers of its pins.
func wantOrders(t *testing.T, n *lab.Node, taken [][]int) {
	t.Helper()
	have, err := pins(n)
	if err != nil {
		t.Fatal(err)
	}
	for k, all := range taken {
		for _, i := range all {
			key, want := fmt.Sprintf("name/n%d.shop.example.", i), fmt.Sprintf("198.18.%d.%d", k, i-100*k)
			if have[key] != want {
				t.Errorf("%s holds %q for %s, and %s was acknowledged", n.Name(), have[key], key, want)
			}
		}
	}
}

// whole, for Eventually: the file has been written anew.
func whole(name string) func() error {
	return func() error {
		info, err := os.Stat(name)
		if err == nil && info.Size() == 0 {
			err = errors.New("the store is still empty")
		}
		return err
	}
}

// spoil overwrites the first pages of a file.
func spoil(t *testing.T, name string) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(make([]byte, 16<<10), 0); err != nil {
		t.Fatal(err)
	}
}
