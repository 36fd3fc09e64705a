package faults

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/scloudstack/pharos/integration/lab/host"
	"github.com/scloudstack/pharos/integration/lab/lab"
	"github.com/scloudstack/pharos/internal/node"
)

// TestWrongCompany starts a node that the others must not take in, for each of the reasons that
// there are. Both sides say why, nothing that the others answer changes, no order of the odd one
// counts, and mended it takes part again.
func TestWrongCompany(t *testing.T) {
	l := together(t, lab.Default())
	a, b := l.Node("edge-a1"), l.Node("edge-b1")
	others := []*lab.Node{a, l.Node("edge-r1")}
	do(t, a, "override", "set", "shop.example", "198.18.1.1", "--unlisted", "--reason", "stays")
	l.Eventually(5*time.Second, l.Answers("shop.example.", "198.18.1.1"))

	for _, tt := range []struct {
		name       string
		odd, right func(t *testing.T)
		own, their []string // in the logs
		problem    string   // an alarm of its own
		foreign    bool     // what it signs meanwhile is of another cluster, also later
	}{
		{
			name:  "gossip key",
			odd:   func(t *testing.T) { withCluster(l, b, "keys_file", gossipKey(t)) },
			right: func(*testing.T) { l.Configure(func(*lab.Topology) {}, b) },
			own:   []string{"gossip", "a gossip key that is not installed here", "compare the keys_file of both"},
			their: []string{"gossip", "a key that is not installed here", "10.2.0.5", "compare the keys_file of both"},
		},
		{
			name:  "cluster's name",
			odd:   func(*testing.T) { withCluster(l, b, "name", "other") },
			right: func(*testing.T) { l.Configure(func(*lab.Topology) {}, b) },
			own:   []string{"gossip: node refused", `it belongs to cluster \"lab\", this node to \"other\"`},
			their: []string{"gossip: node refused", "node=edge-b1", `it belongs to cluster \"other\", this node to \"lab\"`},

			foreign: true,
		},
		{
			name:    "node's key",
			odd:     func(t *testing.T) { withKey(t, b, newKey(t)) },
			right:   func(*testing.T) { l.Configure(func(*lab.Topology) {}, b) },
			own:     []string{"what this node says counts for no other"},
			their:   []string{"gossip: node refused", "node=edge-b1", "it signs with another key than the configuration names"},
			problem: "identity",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before, err := digest(a)
			if err != nil {
				t.Fatal(err)
			}
			b.Stop()
			tt.odd(t)
			b.Start()
			l.Eventually(20*time.Second, logged(b, tt.own...))
			for _, n := range others {
				l.Eventually(20*time.Second, logged(n, tt.their...))
				l.Eventually(10*time.Second, state(n, "edge-b1", "silent"))
			}
			if tt.problem != "" {
				l.Eventually(5*time.Second, alarmed(b, tt.problem, ""))
			}
			b.CLI("override", "set", steered, "198.18.1.2", "--unlisted", "--reason", "of the odd one", "--wait", "local")
			l.Steady(2*time.Second, l.Answers(steered, "203.0.113.10", others...))
			if after, err := digest(a); err != nil || after != before {
				t.Errorf("the answers of edge-a1 had digest %s, now %s %v", before, after, err)
			}
			if list := causes(t, a); tt.foreign && slices.ContainsFunc(list, func(c string) bool { return strings.HasPrefix(c, "entries/") }) {
				t.Errorf("what the odd one sends is taken for more than a mistake: %v", list)
			}
			b.Stop()
			tt.right(t)
			b.Start()
			l.Eventually(20*time.Second, state(a, "edge-b1", "alive"))
			l.Eventually(20*time.Second, agree(l))
			if tt.foreign {
				l.Eventually(5*time.Second, alarmed(b, "entries/refused/edge-b1", "left out"))
			} else { // given before it was mended, so it counts now
				l.Eventually(5*time.Second, l.Answers(steered, "198.18.1.2"))
				do(t, b, "override", "clear", steered, "--reason", "mended")
			}
			l.Eventually(5*time.Second, l.Answers(steered, "203.0.113.10"))
			l.Eventually(5*time.Second, l.Answers("shop.example.", "198.18.1.1"))
		})
	}
	t.Run("second of a name", func(t *testing.T) { second(t, l, b) })
	l.Eventually(20*time.Second, agree(l))
	verified(t, l)
}

// second starts a copy of a running node, key and all, at another address.
func second(t *testing.T, l *lab.Lab, n *lab.Node) {
	dir := t.TempDir()
	text, err := os.ReadFile(n.Config())
	if err != nil {
		t.Fatal(err)
	}
	at := clients(n.Site())
	text = []byte(strings.ReplaceAll(string(text), n.Address().String()+",", at.String()+","))
	for name, text := range map[string][]byte{"pharos.yaml": text, "shop.example.zone": zone(t, n)} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(l.Topology().Program, "serve", "--config", filepath.Join(dir, "pharos.yaml"), "--data-dir", filepath.Join(dir, "data"))
	cmd.Stdout, cmd.Stderr = log, log
	p, err := n.Site().Clients().Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := p.Kill(); err != nil {
			t.Error(err)
		}
	}()
	l.Eventually(20*time.Second, said(p, log.Name(), "gossip: node refused", "it bears this node's name: two nodes are started as edge-b1"))
	l.Eventually(20*time.Second, logged(l.Node("edge-a1"), "gossip: node refused", "node=edge-b1", "two nodes may be started as edge-b1"))
	before := causes(t, l.Node("edge-a1"))
	l.Eventually(20*time.Second, func() error { // once its API is open
		pharos := exec.Command(l.Topology().Program, "override", "set", steered, "198.18.1.2", "--unlisted", "--reason", "of the second", "--data-dir", filepath.Join(dir, "data"))
		if out, err := pharos.CombinedOutput(); pharos.ProcessState.ExitCode() != 3 {
			return fmt.Errorf("an order given on the second: %w\n%s", err, out)
		}
		return nil
	})
	l.Steady(3*time.Second, l.Answers(steered, "203.0.113.10"))
	l.Steady(time.Second, state(l.Node("edge-a1"), "edge-b1", "alive"))
	if after := causes(t, l.Node("edge-a1")); !slices.Equal(after, before) {
		t.Errorf("the second of a name changes the alarms from %v to %v", before, after)
	}
}

// causes are those of a node's alarms.
func causes(t *testing.T, n *lab.Node) (list []string) {
	t.Helper()
	all, err := alarms(n)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		list = append(list, a.Cause)
	}
	return list
}

// said, for Eventually: a program that runs has logged a line with all of these.
func said(p *host.Process, file string, words ...string) func() error {
	return func() error {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if !p.Running() {
			return p.How()
		}
		return lineWith(file, string(text), words)
	}
}

func zone(t *testing.T, n *lab.Node) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(n.Dir(), "shop.example.zone"))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// withCluster changes a key of the section cluster of one node.
func withCluster(l *lab.Lab, n *lab.Node, key, value string) {
	l.Configure(func(top *lab.Topology) { top.Cluster = map[string]string{key: value} }, n)
}

// gossipKey is a file with a new one.
func gossipKey(t *testing.T) string {
	t.Helper()
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "gossip.keys")
	if err := os.WriteFile(file, []byte(base64.StdEncoding.EncodeToString(key)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// newKey makes a node's key, and returns its file.
func newKey(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "node.key")
	if _, err := node.MakeIdentity(file); err != nil {
		t.Fatal(err)
	}
	return file
}

// withKey has one node use another key than the configuration names.
func withKey(t *testing.T, n *lab.Node, file string) {
	t.Helper()
	edit(t, n, filepath.Join(n.Dir(), "identity", "node.key"), file)
}

// edit replaces a text in a node's configuration.
func edit(t *testing.T, n *lab.Node, old, with string) {
	t.Helper()
	text, err := os.ReadFile(n.Config())
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), old) {
		t.Fatalf("%s has no %q", n.Config(), old)
	}
	if err := os.WriteFile(n.Config(), []byte(strings.ReplaceAll(string(text), old, with)), 0o600); err != nil {
		t.Fatal(err)
	}
}
