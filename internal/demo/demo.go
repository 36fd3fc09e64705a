package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/scloudstack/pharos/policy"
)

const (
	// DefaultPort is where the demo's nodes answer DNS.
	DefaultPort = 5300

	defaultBalancers = 18080
)

// Demo is one demo. All fields are to be set.
type Demo struct {
	Dir     string // its folder, absolute
	Port    int    // of DNS; 0: the one of the last run, else any that is free
	Program string // pharos
	Say     string // what a person types to run it
	Out     io.Writer

	out       sync.Mutex // held to write to Out
	mu        sync.Mutex // guards what follows
	state     state
	balancers []*balancer
	edges     []*edge
	ready     int // nodes that were
}

// Run runs the demo until ctx ends. The error of an ended ctx is nil.
func (d *Demo) Run(ctx context.Context) error {
	var err error
	if d.state, err = openFolder(d.Dir); err != nil {
		return err
	}
	control, err := openControl(d.Dir, d.do)
	if err != nil {
		return err
	}
	group, gctx := errgroup.WithContext(ctx)
	group.Go(func() error { return serveUntil(gctx, control.http, control.listener) })
	group.Go(func() error {
		if err := d.prepare(gctx); err != nil {
			return err
		}
		for _, e := range d.edges {
			group.Go(func() error { return e.keep(gctx) })
		}
		return nil
	})
	err = group.Wait()
	for _, b := range d.balancers {
		b.close()
	}
	if ctx.Err() != nil {
		d.sayf("\nThe demo has ended (%v). What it knew is kept in %s.\n", context.Cause(ctx), d.Dir)
		return nil
	}
	return err
}

// prepare opens the balancers and writes the files.
func (d *Demo) prepare(ctx context.Context) error {
	if err := d.choosePorts(); err != nil {
		return err
	}
	keys, err := d.makeKeys(ctx)
	if err != nil {
		return err
	}
	want := d.state.Balancers
	if want == 0 {
		want = defaultBalancers
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	all, port, err := openBalancers(want)
	if err != nil {
		return err
	}
	d.balancers, d.state.Balancers = all, port
	for _, b := range all {
		b.broken.Store(slices.Contains(d.state.Broken, b.name))
		killed := slices.Contains(d.state.Killed, b.name)
		if killed {
			b.close()
		}
		d.edges = append(d.edges, newEdge(d, b.site, killed))
	}
	edited, err := d.state.generate(d.Dir, keys)
	if err != nil {
		return err
	}
	if err := d.state.save(d.Dir); err != nil {
		return err
	}
	return d.introduce(edited)
}

// choosePorts settles where DNS is answered and where the nodes speak to one
// another, before anything is written.
func (d *Demo) choosePorts() error {
	if d.Port == 0 {
		d.Port = int(d.state.Port)
	}
	gossip := int(d.state.Gossip)
	for _, p := range []*int{&d.Port, &gossip} {
		if *p == 0 {
			port, err := freePort()
			if err != nil {
				return err
			}
			*p = port
		}
	}
	d.state.Port, d.state.Gossip = uint16(d.Port), uint16(gossip)
	return portFree(d.Port)
}

// freePort finds a port that is free for UDP and TCP on the address of each node.
func freePort() (int, error) {
	var err error
	for range 20 {
		var u *net.UDPConn
		if u, err = net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}); err != nil {
			continue
		}
		port := u.LocalAddr().(*net.UDPAddr).Port
		_ = u.Close()
		if err = portFree(port); err == nil {
			return port, nil
		}
	}
	return 0, fmt.Errorf("no free port: %w", err)
}

// portFree tells before the nodes do, whose words end in a log.
func portFree(port int) error {
	for _, s := range sites {
		at := netip.AddrPortFrom(s.at, uint16(port)).String()
		u, err := net.ListenPacket("udp", at)
		if err != nil {
			return fmt.Errorf("port %d of %s is taken: name another with --port: %w", port, s.at, err)
		}
		l, err := net.Listen("tcp", at)
		if err != nil {
			_ = u.Close()
			return fmt.Errorf("port %d of %s is taken: name another with --port: %w", port, s.at, err)
		}
		if err := errors.Join(u.Close(), l.Close()); err != nil {
			return fmt.Errorf("port %d: %w", port, err)
		}
	}
	return nil
}

// do carries out what a person wants of the demo, and remembers it.
func (d *Demo) do(ctx context.Context, verb, name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.edges) == 0 {
		return errors.New("the demo is still starting: try again")
	}
	var err error
	switch verb {
	case "fail", "heal":
		b := d.balancers[d.siteIndex(name)]
		b.broken.Store(verb == "fail")
		mark(&d.state.Broken, name, verb == "fail")
	case "kill", "revive":
		err = d.kill(name, verb == "kill")
	case "cut", "isolate":
		err = d.cut(ctx, linksOf(name), true)
	case "mend":
		err = d.cut(ctx, linksOf(name), false)
	}
	d.sayf("%s  %s\n", clock(), done(verb, name))
	return errors.Join(err, d.state.save(d.Dir))
}

// done says what a verb has done to a site or link.
func done(verb, name string) string {
	return map[string]string{
		"fail":    name + " is broken: its load balancer answers 503.",
		"heal":    name + " is mended.",
		"kill":    name + " is gone: its node was killed and its load balancer does not listen.",
		"revive":  name + " runs again.",
		"cut":     name + " is cut: the nodes at its ends do not hear one another, nor reach what is behind it.",
		"mend":    name + " is mended.",
		"isolate": name + " is isolated: all its links are cut. 'demo mend " + name + "' mends them.",
	}[verb]
}

func (d *Demo) siteIndex(name string) int {
	return slices.IndexFunc(sites, func(s site) bool { return s.name == name })
}

func (d *Demo) kill(name string, dead bool) error {
	i := d.siteIndex(name)
	mark(&d.state.Killed, name, dead)
	var err error
	if dead {
		d.balancers[i].close()
	} else {
		err = d.balancers[i].open()
	}
	d.edges[i].set(dead)
	return err
}

// cut has the nodes at both ends of links take no notice of each other's site.
func (d *Demo) cut(ctx context.Context, names []string, off bool) error {
	before := slices.Clone(d.state.Cut)
	for _, name := range names {
		mark(&d.state.Cut, name, off)
	}
	var all error
	for _, e := range d.edges {
		was, now := cutFrom(e.name, before), cutFrom(e.name, d.state.Cut)
		all = errors.Join(all, e.block(ctx, less(now, was), less(was, now)))
	}
	return all
}

func less(list, without []string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return slices.Contains(without, s) })
}

// mark puts a name into a list or takes it out.
func mark(list *[]string, name string, in bool) {
	*list = slices.DeleteFunc(*list, func(s string) bool { return s == name })
	if in {
		*list = append(*list, name)
	}
}

// tellCuts tells a node that has begun to speak which links are cut, and which that it still takes for cut are not: they
// were mended while it did not run. What a person blocked there is left alone.
func (d *Demo) tellCuts(ctx context.Context, e *edge, blocks []policy.BlockStatus) {
	d.mu.Lock()
	defer d.mu.Unlock()
	e.mu.Lock()
	e.told = e.child != nil
	e.mu.Unlock()
	var had []string
	for _, b := range blocks {
		if string(b.Node) == e.node && b.Reason == cutReason {
			had = append(had, string(b.Site))
		}
	}
	now := cutFrom(e.name, d.state.Cut)
	if err := e.block(ctx, now, less(had, now)); err != nil {
		e.sayf("does not take the cut links: %v", err)
	}
}

// oneReady tells what to do with the demo once every node that should run does.
func (d *Demo) oneReady() {
	d.mu.Lock()
	d.ready++
	all := d.ready == len(sites)-len(d.state.Killed)
	d.mu.Unlock()
	if all {
		d.invite()
	}
}

func (d *Demo) sayf(format string, args ...any) {
	d.out.Lock()
	defer d.out.Unlock()
	fmt.Fprintf(d.Out, format, args...)
}

func clock() string { return time.Now().Format(time.TimeOnly) }

// introduce tells what runs, and shows the configuration.
func (d *Demo) introduce(edited []string) error {
	d.sayf("Pharos demo: three sites on this machine. Ctrl-C ends it; nothing stays behind but %s.\n\n", d.Dir)
	for i, b := range d.balancers {
		note := ""
		if b.role == "standby" {
			note = ": takes traffic only when a person says so"
		}
		if b.broken.Load() {
			note += " (broken)"
		}
		if d.edges[i].killed {
			note += " (killed)"
		}
		d.sayf("  %-7s node %s at %s, load balancer http://%s  %s%s\n", b.name, b.node, b.at, netip.AddrPortFrom(b.address, b.port), b.role, note)
	}
	for _, l := range links {
		note := ""
		if slices.Contains(d.state.Cut, l.name) {
			note = " (cut)"
		}
		d.sayf("  %-7s link %s – %s%s\n", l.name, l.between[0], l.between[1], note)
	}
	path := filepath.Join(d.Dir, configFile)
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	d.sayf("\nThe nodes' configuration, %s:\n\n%s\n", path, indented(text))
	for _, path := range edited {
		d.sayf("%s was edited and is kept; remove it to have it written again.\n", path)
	}
	return nil
}

// invite tells what to do with it.
func (d *Demo) invite() {
	d.sayf(`
Ask any of the nodes, from another terminal:
  dig @127.0.0.1 -p %d www.shop.example +short      (127.0.0.2 is edge-b, 127.0.0.3 edge-r)
Break a site, lose one, cut a link, and mend them:
  %[2]s demo fail city-a%[3]s      · heal city-a
  %[2]s demo kill city-a%[3]s      · revive city-a
  %[2]s demo cut dwdm%[3]s         · mend dwdm · isolate remote
  %[2]s status --watch --data-dir %[4]s --node edge-b
Say yourself what is answered, on any node:
  %[2]s override set www.shop.example --site remote --reason "a test" --data-dir %[4]s

`, d.Port, d.Say, d.dirFlag(), d.Dir)
}

// dirFlag is empty where the demo's own commands find the folder anyway.
func (d *Demo) dirFlag() string {
	if d.Dir == DefaultDir(os.Getenv) {
		return ""
	}
	return " --data-dir " + d.Dir
}

// DefaultDir is the folder of a demo that nobody names another for.
func DefaultDir(getenv func(string) string) string {
	if data := getenv("XDG_DATA_HOME"); filepath.IsAbs(data) {
		return filepath.Join(data, "pharos-demo")
	}
	if home := getenv("HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".local", "share", "pharos-demo")
	}
	return filepath.Join(os.TempDir(), fmt.Sprintf("pharos-demo-%d", os.Getuid()))
}
