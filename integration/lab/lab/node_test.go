package lab

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestNode(t *testing.T) {
	topology := solo()
	topology.Sites = topology.Sites[:1]
	topology.Links = nil
	topology.Node = map[string]string{"roles": "[dns, probe]"}
	topology.Zone = "txt IN TXT \"more\"\n"
	topology.Extra = `
services:
  more:
    names: [more.shop.example.]
    endpoints: [{site: city-a, address: 203.0.113.77}]
`
	l := New(t, topology)
	n := l.Node("edge-a1")
	l.Eventually(10*time.Second, l.Answers(steered, "203.0.113.10"))
	l.Eventually(10*time.Second, l.Answers("more.shop.example.", "203.0.113.77"))
	l.Eventually(time.Second, l.Answers("txt.shop.example.", "NODATA"))
	l.Eventually(time.Second, l.Answers("absent.shop.example.", "NXDOMAIN"))

	t.Run("commands", func(t *testing.T) {
		if out := n.CLI("status"); out.Code != 0 || !strings.Contains(out.Stdout, "edge-a1") {
			t.Errorf("%+v", out)
		}
		if out := n.CLI("override", "set", "www.shop.example", "203.0.113.99", "--unlisted", "--reason", "a test"); out.Code != 0 {
			t.Errorf("%+v", out)
		}
		if out := n.CLI("no-such-command"); out.Code != 2 {
			t.Errorf("%+v", out)
		}
	})
	t.Run("killed and started", func(t *testing.T) {
		w := n.Watch(steered, 2*time.Millisecond)
		l.Eventually(time.Second, l.Answers(steered, "203.0.113.99"))
		pid := n.PID()
		n.Kill9()
		if n.Running() {
			t.Error("it runs")
		}
		l.Eventually(5*time.Second, func() error { return lastChange(w, Silence) })
		n.Start()
		l.Eventually(5*time.Second, l.Answers(steered, "203.0.113.99")) // the order was kept
		l.Eventually(5*time.Second, func() error { return lastChange(w, "203.0.113.99") })
		if n.PID() == pid {
			t.Error("it is the same process")
		}
		w.Stop()
	})
	t.Run("paused", func(t *testing.T) {
		n.Pause()
		if a, err := n.Ask(steered); err == nil {
			t.Errorf("answers %s", a)
		}
		n.Resume()
		l.Eventually(5*time.Second, l.Answers(steered, "203.0.113.99"))
	})
	t.Run("isolated", func(t *testing.T) {
		n.Isolate()
		l.Eventually(time.Second, l.Answers(steered, "203.0.113.99")) // its clients reach it
		if _, err := AskFrom(n.Site().Clients(), n.Address(), steered); err == nil {
			t.Error("it is reached through its cable")
		}
		n.Rejoin()
		if a, err := AskFrom(n.Site().Clients(), n.Address(), steered); err != nil || a.Addresses[0] != netip.MustParseAddr("203.0.113.99") {
			t.Errorf("%s, %v", a, err)
		}
	})
	t.Run("configured anew", func(t *testing.T) {
		l.Configure(func(t *Topology) { t.Zone = "another IN TXT \"more\"\n" })
		if out := n.CLI("reload"); out.Code != 0 {
			t.Errorf("%+v", out)
		}
		l.Eventually(5*time.Second, l.Answers("another.shop.example.", "NODATA"))
		l.Eventually(time.Second, l.Answers("txt.shop.example.", "NXDOMAIN"))
	})
	t.Run("stopped and emptied", func(t *testing.T) {
		n.Stop()
		n.EmptyDataDir()
		n.Start()
		l.Eventually(10*time.Second, l.Answers(steered, "203.0.113.10"))
		if !strings.Contains(n.Log(), "level=") {
			t.Errorf("log: %s", n.Log())
		}
	})
}

// TestDisk fills the disk of a node, and makes it read-only.
func TestDisk(t *testing.T) {
	topology := solo()
	topology.Sites, topology.Links = topology.Sites[:1], nil
	topology.Disk = 4 << 20
	l := New(t, topology)
	n := l.Node("edge-a1")
	l.Eventually(10*time.Second, l.Answers(steered, "203.0.113.10"))
	order := func() Output {
		return n.CLI("override", "set", "www.shop.example", "203.0.113.99", "--unlisted", "--reason", strings.Repeat("a long reason ", 30))
	}

	n.FillDisk()
	var last Output
	for i := 0; last.Code == 0; i++ { // the state file has some room inside
		if last = order(); i == 500 {
			t.Fatal("a full disk takes orders without end")
		}
	}
	if !strings.Contains(last.Stderr, "no space left on device") {
		t.Errorf("%+v", last)
	}
	if _, err := n.Ask(steered); err != nil {
		t.Errorf("with a full disk: %v", err)
	}
	n.FreeDisk()
	l.Eventually(30*time.Second, func() error {
		if last = order(); last.Code != 0 {
			return fmt.Errorf("with room again: %+v", last)
		}
		return nil
	})

	n.Kill9()
	n.ReadOnlyDisk()
	if err := os.WriteFile(filepath.Join(n.DataDir(), "file"), nil, 0o600); !errors.Is(err, syscall.EROFS) {
		t.Errorf("written: %v", err)
	}
	n.WritableDisk()
	n.Start()
	l.Eventually(time.Second, l.Answers(steered, "203.0.113.99")) // the disk outlived the node
}

// lastChange wants a watch to have heard that last.
func lastChange(w *Watch, want string) error {
	changes := w.Changes()
	if len(changes) == 0 || changes[len(changes)-1].Answer != want {
		return fmt.Errorf("changes: %+v, want %s last", changes, want)
	}
	return nil
}

func TestTopologyIsChecked(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*Topology)
		want   string
	}{
		{"two sites of one name", func(t *Topology) { t.Sites[1].Name = "city-a" }, `site "city-a": expected a name that no other has`},
		{"two sites of one number", func(t *Topology) { t.Sites[1].Number = 1 }, "site city-b: number 1"},
		{"public", func(t *Topology) { t.Sites[1].Public = "here" }, "site city-b: public"},
		{"two nodes of one name", func(t *Topology) { t.Sites[1].Nodes[0].Name = "edge-a1" }, `node "edge-a1" of city-b`},
		{"link to nowhere", func(t *Topology) { t.Links[0].Between[1] = "moon" }, "link dwdm: between [city-a moon]"},
		{"link named as a device", func(t *Topology) { t.Links[0].Name = "uplink" }, `link "uplink"`},
		{"long name of a link", func(t *Topology) { t.Links[0].Name = "a-very-long-name-of-a-link" }, "at most 15 characters"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			topology := Default()
			tt.change(&topology)
			if err := topology.validate(); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

func TestPaths(t *testing.T) {
	top := Default()
	cut := func(names ...string) func(string) bool {
		return func(link string) bool { return !strings.Contains(strings.Join(names, " "), link) }
	}
	for _, tt := range []struct {
		cut  []string
		want map[[2]string]string
	}{
		{nil, map[[2]string]string{{"city-a", "city-b"}: "dwdm", {"city-b", "city-a"}: "dwdm", {"city-a", "remote"}: "lease-1", {"remote", "city-b"}: "lease-2"}},
		{[]string{"dwdm"}, map[[2]string]string{{"city-a", "city-b"}: "lease-1", {"city-b", "city-a"}: "lease-2", {"remote", "city-a"}: "lease-1"}},
		{[]string{"dwdm", "lease-2"}, map[[2]string]string{{"city-a", "city-b"}: "", {"city-a", "remote"}: "lease-1"}},
	} {
		got := top.paths(cut(tt.cut...))
		for pair, link := range tt.want {
			if got[pair] != link {
				t.Errorf("%v cut: from %s to %s by %q, want %q", tt.cut, pair[0], pair[1], got[pair], link)
			}
		}
	}
}
