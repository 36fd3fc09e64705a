package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/scloudstack/pharos/internal/api"
)

const (
	// DefaultPort is where the demo's node answers DNS.
	DefaultPort = 5300

	defaultBalancers = 18080
	startWithin      = 20 * time.Second       // for the node to be ready
	quickDeath       = 5 * time.Second        // a node that dies sooner is not started again for ever
	maxQuickDeaths   = 3                      // in a row
	followEvery      = 200 * time.Millisecond // how often what it answers is looked at
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
}

// Run runs the demo until ctx ends. The error of an ended ctx is nil.
func (d *Demo) Run(ctx context.Context) error {
	var err error
	if d.state, err = openFolder(d.Dir); err != nil {
		return err
	}
	control, err := openControl(d.Dir, d.set)
	if err != nil {
		return err
	}
	group, gctx := errgroup.WithContext(ctx)
	group.Go(func() error { return serveUntil(gctx, control.http, control.listener) })
	group.Go(func() error {
		if err := d.prepare(); err != nil {
			return err
		}
		for _, b := range d.balancers {
			group.Go(func() error { return b.run(gctx) })
		}
		return d.keepNode(gctx)
	})
	err = group.Wait()
	if ctx.Err() != nil {
		d.sayf("\nThe demo has ended (%v). What it knew is kept in %s.\n", context.Cause(ctx), d.Dir)
		return nil
	}
	return err
}

// prepare opens the balancers and writes the files.
func (d *Demo) prepare() error {
	if err := d.choosePort(); err != nil {
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
	}
	edited, err := d.state.generate(d.Dir)
	if err != nil {
		return err
	}
	if err := d.state.save(d.Dir); err != nil {
		return err
	}
	return d.introduce(edited)
}

// choosePort settles where DNS is answered, before anything is written.
func (d *Demo) choosePort() error {
	if d.Port == 0 && d.state.Port != 0 {
		d.Port = int(d.state.Port)
	}
	if d.Port == 0 {
		port, err := freePort()
		if err != nil {
			return err
		}
		d.Port = port
	}
	d.state.Port = uint16(d.Port)
	return portFree(d.Port)
}

// freePort finds a port that is free for UDP and TCP.
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

// portFree tells before the node does, whose words end in a log.
func portFree(port int) error {
	at := fmt.Sprintf("127.0.0.1:%d", port)
	u, err := net.ListenPacket("udp", at)
	if err != nil {
		return fmt.Errorf("port %d is taken: name another with --port: %w", port, err)
	}
	defer func() { _ = u.Close() }()
	l, err := net.Listen("tcp", at)
	if err != nil {
		return fmt.Errorf("port %d is taken: name another with --port: %w", port, err)
	}
	return l.Close()
}

// keepNode runs the node, and starts it again when it dies: orders and health
// are on its disk.
func (d *Demo) keepNode(ctx context.Context) error {
	deaths := 0
	for first := true; ; first = false {
		begun := time.Now()
		node, err := startChild(ctx, d.Program, d.Dir)
		if err != nil {
			return err
		}
		err = d.follow(ctx, node, first)
		<-node.ended
		if err != nil || ctx.Err() != nil {
			return err
		}
		if deaths++; time.Since(begun) > quickDeath {
			deaths = 1
		}
		if deaths >= maxQuickDeaths {
			return fmt.Errorf("the node died %d times (%s); the end of %s:\n%s", deaths, node.how(), filepath.Join(d.Dir, logFile), lastLines(d.Dir, 5))
		}
		d.sayf("%s  The node died (%s). It is started again from its folder, where orders and health are kept.\n", clock(), node.how())
	}
}

// follow says what the node answers, whenever that changes, until it ends.
func (d *Demo) follow(ctx context.Context, node *child, first bool) error {
	client := api.NewSocketClient(api.SocketPath(d.Dir))
	defer client.Close()
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	var last string
	begun := time.Now()
	for ready := false; ; {
		select {
		case <-node.ended:
			return nil
		case <-tick.C:
		}
		s, err := client.Status(ctx)
		switch {
		case err != nil && !ready && ctx.Err() == nil && time.Since(begun) > startWithin:
			return fmt.Errorf("the node is not ready after %s: %w; see %s", startWithin, err, filepath.Join(d.Dir, logFile))
		case err != nil || (!ready && !s.Node.Readiness.Ready):
			continue
		case !ready:
			ready = true
			d.sayf("%s  The node is ready (process %d).\n", clock(), node.pid)
			if first {
				d.invite()
			}
		}
		if now := answers(s); now != last {
			d.sayf("%s  %s\n", clock(), now)
			last = now
		}
	}
}

// answers is what each name answers, and why.
func answers(s api.Status) string {
	var lines []string
	for _, svc := range s.Decision.Services {
		for _, n := range svc.Names {
			why := n.Rule
			if n.Override == "" && svc.Move > 1 {
				why = svc.Cause
			}
			lines = append(lines, fmt.Sprintf("%s → %s  [%s]", n.Name, n.Answer, why))
		}
	}
	return strings.Join(lines, "; ")
}

// set breaks or mends a balancer, and remembers it.
func (d *Demo) set(name string, broken bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, b := range d.balancers {
		if b.name != name {
			continue
		}
		b.broken.Store(broken)
		d.state.Broken = slices.DeleteFunc(d.state.Broken, func(s string) bool { return s == name })
		word := "mended"
		if broken {
			d.state.Broken, word = append(d.state.Broken, name), "broken"
		}
		d.sayf("%s  %s is %s.\n", clock(), name, word)
		return d.state.save(d.Dir)
	}
	return errors.New("the demo is still starting: try again")
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
	for _, b := range d.balancers {
		note := ""
		if b.role == "standby" {
			note = ": takes traffic only when a person says so"
		}
		if b.broken.Load() {
			note += " (broken)"
		}
		d.sayf("  %-7s http://%s  %s%s\n", b.name, b.listener.Addr(), b.role, note)
	}
	path := filepath.Join(d.Dir, configFile)
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	d.sayf("\nThe node's configuration, %s:\n\n", path)
	for line := range strings.Lines(string(text)) {
		d.sayf("    %s", line)
	}
	d.sayf("\n")
	for _, path := range edited {
		d.sayf("%s was edited and is kept; remove it to have it written again.\n", path)
	}
	return nil
}

// invite tells what to do with it.
func (d *Demo) invite() {
	d.sayf(`
Ask it, from another terminal:
  dig @127.0.0.1 -p %d www.shop.example +short
Break a site, watch, and mend it:
  %[2]s demo fail city-a%[3]s
  %[2]s status --watch --data-dir %[4]s
  %[2]s demo heal city-a%[3]s
Say yourself what is answered:
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
