package faults

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/scloudstack/pharos/integration/lab/lab"
	"github.com/scloudstack/pharos/internal/node"
	"github.com/scloudstack/pharos/policy"
)

// gossipKeys are the keys as a node knows them, by fingerprint: who sends with each.
func gossipKeys(n *lab.Node) (map[string][]string, error) {
	var k struct {
		Keys []struct {
			Fingerprint string
			Sends       []string
			Missing     []string
			Unwritten   []string
		}
	}
	err := read(n, &k, "cluster", "keys", "list")
	all := map[string][]string{}
	for _, x := range k.Keys {
		all[x.Fingerprint] = x.Sends
		if len(x.Missing) > 0 {
			err = fmt.Errorf("%s says that %v lack gossip key %s", n.Name(), x.Missing, x.Fingerprint)
		}
	}
	return all, err
}

// TestGossipKeysTurn changes the gossip key of three live nodes. No node is silent for any other at
// any time, and while one is missing no step is taken that would shut it out.
func TestGossipKeysTurn(t *testing.T) {
	l := together(t, lab.Default())
	a, far := l.Node("edge-a1"), l.Node("edge-r1")
	file := filepath.Join(l.Dir(), "gossip.keys")
	old, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := gossipKeys(a)
	if err != nil || len(keys) != 1 {
		t.Fatalf("%v %v", keys, err)
	}
	var oldPrint, newPrint string
	for f := range keys {
		oldPrint = f
	}
	made := a.CLI("cluster", "keys", "new")
	for line := range strings.Lines(made.Stderr) {
		if rest, ok := strings.CutPrefix(line, "fingerprint "); ok {
			newPrint, _, _ = strings.Cut(rest, ";")
		}
	}
	if made.Code != 0 || newPrint == "" {
		t.Fatalf("%+v", made)
	}
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}

	far.Kill9()
	l.Eventually(20*time.Second, state(a, "edge-r1", "silent"))
	write(string(old) + made.Stdout)
	a.CLI("cluster", "keys", "add") // edge-r1 is not reached
	l.Eventually(20*time.Second, func() error {
		for _, step := range []string{"use", "remove"} {
			key := map[string]string{"use": newPrint, "remove": oldPrint}[step]
			if out := a.CLI("cluster", "keys", step, key); out.Code != 1 || !strings.Contains(out.Stderr, "edge-r1: it was not heard of") {
				return fmt.Errorf("keys %s while edge-r1 is missing: %+v", step, out)
			}
		}
		return nil
	})
	far.Start()
	l.Eventually(20*time.Second, calm(l))

	watching, stop := context.WithCancel(t.Context())
	var watch sync.WaitGroup
	looks := 0
	for _, n := range l.Nodes() {
		watch.Go(func() {
			for watching.Err() == nil {
				for _, other := range l.Nodes() {
					if err := state(n, other.Name(), "alive")(); err != nil {
						t.Error(err)
						return
					}
				}
				if n == a {
					looks++
				}
			}
		})
	}
	everyNode := func(check func(map[string][]string) error) {
		t.Helper()
		for _, n := range l.Nodes() {
			l.Eventually(20*time.Second, func() error {
				k, err := gossipKeys(n)
				if err == nil {
					err = check(k)
				}
				return err
			})
		}
	}
	do(t, a, "cluster", "keys", "add")
	everyNode(func(k map[string][]string) error {
		if len(k) != 2 {
			return fmt.Errorf("two keys were expected: %v", k)
		}
		return nil
	})
	step := func(n *lab.Node, args ...string) { // refused until it has heard what the others have
		t.Helper()
		l.Eventually(20*time.Second, func() error {
			if out := n.CLI(append([]string{"cluster", "keys"}, args...)...); out.Code != 0 {
				return fmt.Errorf("keys %q on %s: %+v", args, n.Name(), out)
			}
			return nil
		})
	}
	step(far, "use", newPrint)
	everyNode(func(k map[string][]string) error {
		if len(k[newPrint]) != 3 {
			return fmt.Errorf("not all send with the new key: %v", k)
		}
		return nil
	})
	if out := a.CLI("cluster", "keys", "remove", oldPrint); out.Code != 1 || !strings.Contains(out.Stderr, "first in its keys_file") {
		t.Errorf("a key is removed that nodes would send with after their next start: %+v", out)
	}
	write(made.Stdout)
	do(t, a, "cluster", "keys", "add")
	step(l.Node("edge-b1"), "remove", oldPrint)
	everyNode(func(k map[string][]string) error {
		if len(k) != 1 {
			return fmt.Errorf("one key was expected: %v", k)
		}
		return nil
	})
	do(t, a, "override", "set", steered, "198.18.2.1", "--unlisted", "--reason", "all hear it")
	l.Eventually(5*time.Second, l.Answers(steered, "198.18.2.1"))
	stop()
	watch.Wait()
	t.Logf("edge-a1 was asked %d times, and all were alive each time", looks)

	for _, n := range l.Nodes() { // they start with the new key alone
		n.Stop()
		n.Start()
	}
	l.Eventually(20*time.Second, calm(l))
	l.Eventually(5*time.Second, agree(l))
	verified(t, l)
}

// TestNodeKeyReplaced gives a node another key of its own, as after a theft, in the configuration
// of all nodes: once taken by reload, once by restarts and with the node's folder lost. Its earlier
// orders and records stay, on nodes that start anew and on one that lost its folder, and what is
// signed with the old key from then on is refused.
func TestNodeKeyReplaced(t *testing.T) {
	l := together(t, lab.Default())
	a, b, far := l.Node("edge-a1"), l.Node("edge-b1"), l.Node("edge-r1")
	do(t, b, "override", "set", "shop.example", "198.18.3.1", "--unlisted", "--reason", "by the old key")
	l.Eventually(5*time.Second, l.Answers("shop.example.", "198.18.3.1"))
	stolen := ownKey(t, b)
	fresh := newKey(t)
	key, err := node.LoadIdentity(fresh)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range l.Nodes() {
		edit(t, n, publicText(stolen), publicText(key))
	}
	b.Stop()
	withKey(t, b, fresh)
	do(t, a, "reload")
	do(t, far, "reload")
	b.Start()
	l.Eventually(20*time.Second, state(a, "edge-b1", "alive"))
	do(t, b, "override", "set", steered, "198.18.3.2", "--unlisted", "--reason", "by the new key")
	l.Eventually(5*time.Second, l.Answers(steered, "198.18.3.2"))
	l.Steady(time.Second, l.Answers("shop.example.", "198.18.3.1"))

	far.Stop()
	far.Start()
	a.Stop()
	a.EmptyDataDir()
	a.Start()
	l.Eventually(20*time.Second, l.Answers("shop.example.", "198.18.3.1"))
	l.Eventually(20*time.Second, l.Answers(steered, "198.18.3.2"))
	l.Eventually(20*time.Second, agree(l))
	l.Eventually(20*time.Second, sameAudit(l))
	l.Steady(3*time.Second, calm(l))

	last := newKey(t)
	lastKey, err := node.LoadIdentity(last)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range l.Nodes() {
		edit(t, n, publicText(key), publicText(lastKey))
	}
	b.Stop()
	edit(t, b, fresh, last)
	b.EmptyDataDir()
	for _, n := range []*lab.Node{a, far} {
		n.Stop()
		n.Start()
		l.Eventually(20*time.Second, l.Answers(steered, "198.18.3.2"))
	}
	b.Start()
	l.Eventually(20*time.Second, l.Answers("shop.example.", "198.18.3.1"))
	l.Eventually(20*time.Second, l.Answers(steered, "198.18.3.2"))
	l.Eventually(20*time.Second, agree(l))
	l.Eventually(20*time.Second, sameAudit(l))
	l.Eventually(20*time.Second, calm(l))

	thief := impostor(t, l, "edge-b1", stolen)
	out, err := thief.Write([]policy.Entry{override("edge-b1", "198.18.6.6", time.Now())}, time.Now())
	send(t, l, l.Site("city-a"), packets(t, out, err))
	l.Eventually(5*time.Second, alarmed(far, "entries/refused/edge-b1", "sign"))
	l.Steady(2*time.Second, l.Answers(steered, "198.18.3.2"))
	verified(t, l)
}

// publicText is a key's public half, as the configuration has it.
func publicText(key ed25519.PrivateKey) string {
	return node.PublicText(key.Public().(ed25519.PublicKey))
}
