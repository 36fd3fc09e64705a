package faults

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/scloudstack/pharos/integration/lab/lab"
)

// TestFolderSetBack copies a node's data folder, lets the node go on, and puts the copy back: at
// once in contact with the others, and cut off from them, where the node writes records and orders
// anew in the place of those that it forgot. It is noticed, what was ordered since the copy comes
// back from the others, and the node takes part as before, with its own key.
func TestFolderSetBack(t *testing.T) {
	for _, tt := range []struct {
		name   string
		cutOff bool
	}{{"in contact", false}, {"cut off at first", true}} {
		t.Run(tt.name, func(t *testing.T) {
			l := together(t, lab.Default())
			a, b := l.Node("edge-a1"), l.Node("edge-b1")
			do(t, b, "override", "set", "shop.example", "198.18.1.1", "--unlisted", "--reason", "before the copy")
			b.Stop()
			copied := t.TempDir()
			if err := os.CopyFS(copied, os.DirFS(b.DataDir())); err != nil {
				t.Fatal(err)
			}
			b.Start()
			l.Eventually(20*time.Second, calm(l))
			do(t, b, "override", "set", steered, "198.18.1.2", "--unlisted", "--reason", "after the copy")
			do(t, b, "override", "clear", "shop.example", "--reason", "after the copy")
			l.Eventually(5*time.Second, agree(l))
			b.Stop()
			b.EmptyDataDir()
			if err := os.CopyFS(b.DataDir(), os.DirFS(copied)); err != nil {
				t.Fatal(err)
			}
			if tt.cutOff {
				b.Isolate()
			}
			b.Start()
			if tt.cutOff {
				l.Eventually(5*time.Second, l.Answers("shop.example.", "198.18.1.1", b)) // it knows no better
				for range 3 {
					do(t, b, "drain", "endpoint/shop/remote", "--reason", "in ignorance")
					do(t, b, "undrain", "endpoint/shop/remote")
				}
				b.Rejoin()
			}
			l.Eventually(20*time.Second, alarmed(b, "entries/fork/edge-b1", ""))
			l.Eventually(20*time.Second, logged(b, "the data folder was set back"))
			l.Eventually(20*time.Second, l.Answers(steered, "198.18.1.2"))
			l.Eventually(20*time.Second, l.Answers("shop.example.", "203.0.113.10"))
			do(t, b, "override", "set", steered, "198.18.1.3", "--unlisted", "--reason", "its key still counts")
			l.Eventually(5*time.Second, l.Answers(steered, "198.18.1.3"))
			do(t, b, "alarm", "ack", "entries/fork/edge-b1")
			do(t, a, "override", "clear", steered, "--reason", "and it hears others")
			l.Eventually(5*time.Second, l.Answers(steered, "203.0.113.10"))
			l.Eventually(20*time.Second, agree(l))
			if !tt.cutOff {
				verified(t, l)
				return
			}
			l.Eventually(20*time.Second, sameAudit(l))
			for _, n := range l.Nodes() {
				forkedAtMost(t, n, "edge-b1")
			}
		})
	}
}

// forkedAtMost wants the audit to hold together but for one chain of a node, which went on in two ways:
// records of the second that have numbers of their own stay, and name one that is not there.
func forkedAtMost(t *testing.T, on *lab.Node, whose string) {
	t.Helper()
	var v struct {
		Chains []struct{ Node, Chain, Problem string }
	}
	out := on.CLI("audit", "verify", "-o", "json")
	if err := json.Unmarshal([]byte(out.Stdout), &v); err != nil {
		t.Fatalf("%v: %+v", err, out)
	}
	forked := 0
	for _, c := range v.Chains {
		if c.Problem == "" {
			continue
		}
		if forked++; c.Node != whose || forked > 1 || !strings.Contains(c.Problem, "names another record before it") {
			t.Errorf("%s says of the audit: %+v", on.Name(), c)
		}
	}
}

// TestUpgrade starts the first of three nodes on the database of the release before, which knew no
// other node and signed nothing (format 1, written by that release): its orders and its moves count,
// on all nodes, and are kept as this release keeps them.
func TestUpgrade(t *testing.T) {
	topology := lab.Default()
	topology.Silent = true
	l := lab.New(t, topology)
	a, b := l.Node("edge-a1"), l.Node("edge-b1")
	unpack(t, filepath.Join("testdata", "format1.db.gz"), filepath.Join(a.DataDir(), "state.db"))
	l.Site("city-a").KillBalancers() // as it was for the release before
	for _, n := range l.Nodes() {
		n.Launch()
	}
	l.Eventually(20*time.Second, l.Answers("shop.example.", "198.18.5.5"))
	l.Eventually(20*time.Second, l.Answers(steered, "203.0.113.20"))
	for _, n := range l.Nodes() {
		l.Eventually(10*time.Second, kept(n))
	}
	l.Eventually(10*time.Second, agree(l))

	b.Stop()
	b.EmptyDataDir()
	a.Kill9()
	a.Start()
	b.Start()
	l.Eventually(20*time.Second, kept(b))
	do(t, b, "override", "clear", "shop.example", "--reason", "by this release")
	l.Eventually(5*time.Second, l.Answers("shop.example.", "203.0.113.20"))
	a.Kill9()
	a.Isolate()
	a.Start()
	l.Eventually(5*time.Second, l.Answers("shop.example.", "203.0.113.20", a))
	a.Rejoin()
	l.Site("city-a").HealBalancers()
	l.Eventually(20*time.Second, l.Answers(steered, "203.0.113.10"))
	verified(t, l)
}

// kept, for Eventually: a node has the drain and the move that the release before made.
func kept(n *lab.Node) func() error {
	return func() error {
		var s struct {
			Decision struct {
				Drains   []struct{ Key, Author, Reason string }
				Services []struct {
					Service string
					Move    uint64
					Moved   time.Time
				}
			}
		}
		if err := read(n, &s, "status"); err != nil {
			return err
		}
		d := s.Decision
		if len(d.Drains) != 1 || d.Drains[0].Key != "endpoint/shop/remote" || d.Drains[0].Author != "root" || d.Drains[0].Reason != "by the release before" {
			return fmt.Errorf("%s has the drains %+v", n.Name(), d.Drains)
		}
		then := time.Date(2026, 11, 26, 5, 26, 0, 0, time.UTC)
		if len(d.Services) != 1 || d.Services[0].Move != 2 || d.Services[0].Moved.Sub(then).Abs() > time.Minute {
			return fmt.Errorf("%s serves %+v, and not the second move, of %s", n.Name(), d.Services, then)
		}
		return nil
	}
}

func unpack(t *testing.T, from, to string) {
	t.Helper()
	f, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err == nil {
		err = os.WriteFile(to, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}
