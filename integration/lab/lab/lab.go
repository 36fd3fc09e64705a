package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/scloudstack/pharos/integration/lab/host"
	"github.com/scloudstack/pharos/integration/lab/wan"
)

// TB is the part of testing.TB that a lab needs.
type TB interface {
	Helper()
	Cleanup(func())
	Failed() bool
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// Lab is one running lab.
type Lab struct {
	t        TB
	topology Topology
	name     string
	dir      string
	stop     func() error // of the keeper

	hosts    []*host.Host
	emulated *host.Host // the emulator's
	internet *host.Host
	wires    []wan.Wire
	emulator *part
	wan      *wan.Client
	watches  []*Watch

	sites []*Site
	links []*Link
	nodes []*Node
}

// New brings up a lab that is taken away when the test ends.
func New(t TB, topology Topology) *Lab {
	t.Helper()
	l, err := open(t, topology)
	if err != nil {
		t.Fatalf("lab: %v", err)
	}
	return l
}

// serial tells the labs of one process apart.
var serial atomic.Int64

func open(t TB, topology Topology) (*Lab, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("root is needed, to make network namespaces")
	}
	if topology.Mode == "" {
		topology.Mode = wan.Coarse
	}
	if err := topology.validate(); err != nil {
		return nil, err
	}
	l := &Lab{t: t, topology: topology, name: fmt.Sprintf("%d-%d", os.Getpid(), serial.Add(1))}
	l.dir = filepath.Join("/tmp", "pharos-lab-"+l.name) // short: a socket's path has 107 characters
	if err := os.Mkdir(l.dir, 0o755); err != nil {
		return nil, err
	}
	t.Cleanup(func() {
		if t.Failed() {
			l.dump()
		}
		id := l.Identity()
		if err := l.close(); err != nil {
			t.Errorf("lab: %v", err)
		}
		if traces := id.awaitNone(); len(traces) > 0 {
			t.Errorf("lab: left behind: %q", traces)
		}
	})
	var err error
	if l.stop, err = l.startKeeper(); err != nil {
		return nil, err
	}
	for _, step := range []func() error{l.build, l.startEmulator, l.startBalancers, l.prepareNodes, l.startNodes} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// close ends everything, what was only half brought up too.
func (l *Lab) close() error {
	var errs []error
	for _, w := range l.watches {
		w.Stop()
	}
	for _, n := range l.nodes {
		errs = append(errs, n.kill(), n.endDisk())
	}
	for _, s := range l.sites {
		errs = append(errs, s.killBalancers())
	}
	if l.wan != nil {
		errs = append(errs, l.wan.Close())
	}
	if l.emulator != nil {
		errs = append(errs, l.emulator.end())
	}
	for _, h := range l.hosts {
		errs = append(errs, h.Close())
	}
	errs = append(errs, os.RemoveAll(l.dir))
	if l.stop != nil {
		errs = append(errs, l.stop())
	}
	return errors.Join(errs...)
}

// must ends the test where the lab can't do what it should.
func (l *Lab) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatalf("lab: %v", err)
	}
}

// dump shows the ends of the nodes' logs.
func (l *Lab) dump() {
	for _, n := range l.nodes {
		lines := strings.Split(strings.TrimSpace(n.log()), "\n")
		l.t.Logf("the log of %s ends:\n%s", n.Name(), strings.Join(lines[max(0, len(lines)-25):], "\n"))
	}
	if text, err := os.ReadFile(l.path(partsLog)); err == nil && len(text) > 0 {
		l.t.Logf("balancers and emulator:\n%s", text)
	}
}

func (l *Lab) path(name string) string { return filepath.Join(l.dir, name) }

// environment of all programs of the lab.
func (l *Lab) environment(more ...string) []string {
	return append(append(os.Environ(), labVariable+"="+l.name), more...)
}

// Dir is the lab's folder, which goes with it.
func (l *Lab) Dir() string { return l.dir }

// Topology is what the lab was made from.
func (l *Lab) Topology() Topology { return l.topology }

// Identity is how to find what the lab consists of.
func (l *Lab) Identity() Identity {
	id := Identity{Name: l.name, Dir: l.dir}
	for _, h := range l.hosts {
		namespace, err := h.Namespace()
		l.must(err)
		id.Namespaces = append(id.Namespaces, namespace)
	}
	return id
}

// Site finds a site by its name.
func (l *Lab) Site(name string) *Site {
	l.t.Helper()
	return named(l, "site", name, l.sites)
}

// Link finds a link by its name.
func (l *Lab) Link(name string) *Link {
	l.t.Helper()
	return named(l, "link", name, l.links)
}

// Node finds a node by its name.
func (l *Lab) Node(name string) *Node {
	l.t.Helper()
	return named(l, "node", name, l.nodes)
}

// Sites are all sites, in the topology's order.
func (l *Lab) Sites() []*Site { return slices.Clone(l.sites) }

// Links are all links between sites.
func (l *Lab) Links() []*Link { return slices.Clone(l.links) }

// Nodes are all nodes, by site.
func (l *Lab) Nodes() []*Node { return slices.Clone(l.nodes) }

// Internet is the host behind all uplinks.
func (l *Lab) Internet() *host.Host { return l.internet }

// Stats are what the emulator did to the frames of each wire since the last ResetStats.
func (l *Lab) Stats() map[string]map[wan.Side]wan.Stats {
	l.t.Helper()
	s, err := l.wan.Stats()
	l.must(err)
	return s
}

// ResetStats has the stats begin anew.
func (l *Lab) ResetStats() {
	l.t.Helper()
	l.must(l.wan.Reset())
}

type hasName interface{ Name() string }

func named[T hasName](l *Lab, kind, name string, all []T) T {
	l.t.Helper()
	var known []string
	for _, x := range all {
		if x.Name() == name {
			return x
		}
		known = append(known, x.Name())
	}
	l.t.Fatalf("lab: no %s %q: there are %s", kind, name, strings.Join(known, ", "))
	panic("unreachable")
}

func (l *Lab) startEmulator() error {
	config := wan.Config{Mode: l.topology.Mode, Seed: l.topology.Seed, Socket: l.path("wan.sock"), Wires: l.wires}
	text, err := json.MarshalIndent(config, "", "  ")
	if err != nil {
		return err
	}
	file := l.path("wan.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return err
	}
	if l.emulator, err = l.startPart(l.emulated, partEmulator, file); err != nil {
		return err
	}
	l.wan, err = wan.Dial(config.Socket)
	return err
}

func (l *Lab) startBalancers() error {
	for _, s := range l.sites {
		if err := s.healBalancers(); err != nil {
			return err
		}
	}
	return nil
}
