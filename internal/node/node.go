package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/scloudstack/pharos/cluster"
	"github.com/scloudstack/pharos/dnsserver"
	"github.com/scloudstack/pharos/internal/alert"
	"github.com/scloudstack/pharos/internal/api"
	"github.com/scloudstack/pharos/internal/config"
	"github.com/scloudstack/pharos/policy"
	"github.com/scloudstack/pharos/probe"
	"github.com/scloudstack/pharos/zones"
)

// apiRetry is how long after a failure the API is tried again.
const apiRetry = 5 * time.Second

// stopWithin is how long a part is waited for that may hang in the disk: reading
// files, or writing them. What comes after it is stopped all the same.
const stopWithin = 10 * time.Second

// Options are what a command says beside the configuration.
type Options struct {
	Load    config.Options // how the configuration is loaded again
	Version api.Version
	Log     *slog.Logger

	// Volatile takes orders that the disk does not take, into memory alone.
	Volatile bool
	// DropPrivileges gives up, for the whole process, every capability that the
	// node does not need. See neededCaps.
	DropPrivileges bool
	// Hangup has the configuration loaded again for each signal that it
	// delivers. It may be nil.
	Hangup <-chan os.Signal
}

// Node is one running node.
type Node struct {
	opt     Options
	log     *slog.Logger
	started time.Time
	notify  notifier
	loading turn          // of who loads a configuration or zones, which may take long
	turn    turn          // of who changes what is decided or served
	reading turn          // of who only compares files with what runs: two would take twice the memory
	ready   chan struct{} // closed when everything is open

	apiTried chan struct{} // closed when the API is open, or was found not to open

	disk     *disk
	keeper   *zones.Keeper
	loop     *loop
	prober   *probe.Prober // nil without the probe role
	aim      *aim
	pager    *pager
	feed     *alert.Feed       // of the audit, to syslog
	gossip   *gossip           // nil where the node speaks to no other
	dns      *dnsserver.Server // nil in mode observe, and without the dns role
	api      *api.Server
	observer *observer // nil unless in mode observe
	trial    trial
	copies   copies
	mainFile string // of the configuration, as given

	mu  sync.Mutex
	now situation // guarded by mu
}

// New takes the data folder, loads the zones and decides for the first time.
// Nothing is opened to the network before Run, which must follow; without it,
// Close gives the folder back.
func New(settings *config.Settings, opt Options) (*Node, error) {
	n := &Node{
		opt: opt, log: opt.Log, started: clock(),
		notify: newNotifier(opt.Log), loading: newTurn(), turn: newTurn(), reading: newTurn(), ready: make(chan struct{}), apiTried: make(chan struct{}),
	}
	n.trial.init()
	d, st, err := openDisk(settings.DataDir, n.log)
	if err != nil {
		return nil, err
	}
	n.disk = d
	if err := n.build(settings, st); err != nil {
		d.release()
		return nil, err
	}
	return n, nil
}

// Close gives back what New took, of a node that was never run.
func (n *Node) Close() { n.disk.release() }

// build makes the parts. They open nothing yet.
func (n *Node) build(settings *config.Settings, st stored) error {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	var err error
	if n.keeper, err = zones.OpenKeeper(filepath.Join(settings.DataDir, "zones")); err != nil {
		return err
	}
	n.mainFile = settings.Path
	settings, wentBack := n.recall(settings)
	first := n.firstDeployment(settings)
	n.keeper.Take(first.load())
	n.now.running, n.now.wentBack = first, wentBack

	if settings.Node.Roles.DNS && !settings.Observe {
		if n.dns, err = dnsserver.New(n.dnsConfig(settings), n.log.With("part", "dns"), reg); err != nil {
			return err
		}
	}
	if settings.Node.Roles.Probe {
		cfg := probe.Config{Observer: settings.Node.Name}
		n.prober = probe.New(cfg, func(o policy.Observation) { n.loop.Observe(o) }, n.log.With("part", "probe"), reg)
	}
	n.aim = newAim(n.prober)
	n.aim.know(settings)
	if err := n.buildLoop(first, st, reg); err != nil {
		return err
	}
	if settings.Observe {
		if n.observer, err = newObserver(n.compared, n.decided, n.log.With("part", "observe"), reg); err != nil {
			return err
		}
	}
	if err := reg.Register(collector{n}); err != nil {
		return err
	}
	n.api, err = api.New(settings.API, n, n.log.With("part", "api"), reg)
	return err
}

// buildLoop starts deciding, and makes what carries out what is decided.
func (n *Node) buildLoop(first *deployment, st stored, reg prometheus.Registerer) error {
	key, err := identity(first.settings)
	if err != nil {
		n.log.Error("this node can't prove who it is", "error", err)
		n.now.identity = fault{err: err, since: clock()}
	}
	h := hands{
		serve: n.serve, probe: n.aim.probe, alert: n.note,
		send: func(list []cluster.Packet) { n.gossip.send(list) },
		block: func(sites []policy.SiteID) {
			n.aim.block(sites)
			n.gossip.block(sites)
		},
		follow: func(k *cluster.Keyring, m map[policy.NodeID]cluster.Member) { n.gossip.follow(k, m) },
		syslog: n.auditSyslog, holds: n.hold,
		turnKeys: func(list []policy.Entry) { n.gossip.turnKeys(list) },
	}
	set := first.settings
	if n.feed, err = alert.NewFeed(string(set.Node.Name), n.log.With("part", "audit"), reg); err != nil {
		return err
	}
	n.feed.Set(set.Audit.Syslog) // what the loop records from here on waits for it to run
	if n.loop, err = newLoop(first, st, key, n.disk, h, n.log, reg); err != nil {
		return err
	}
	n.openGossip()
	n.pager = newPager(n, st.marks.told)
	n.pager.sender, err = alert.New(set.Alarms, string(set.Node.Name), n.log.With("part", "alarms"), reg)
	return err
}

// dnsConfig is what the DNS server is given of the settings. It tells this
// program's version where they name no other.
func (n *Node) dnsConfig(s *config.Settings) dnsserver.Config {
	cfg := s.DNS
	if cfg.Version == "" {
		cfg.Version = "pharos " + n.opt.Version.Version
	}
	return cfg
}

// serve has the DNS server answer by a revision. It is the loop's.
func (n *Node) serve(r *policy.Revision, d *deployment) {
	if n.dns != nil {
		n.dns.Set(d.data(r))
	}
	n.change(func(s *situation) { s.revision = r })
}

// Run runs the node until ctx ends or a part dies. The order of the start is
// that of the list; the stop goes back the same way, each part joined before
// the next one is told.
func (n *Node) Run(ctx context.Context) error {
	if n.opt.DropPrivileges {
		if err := dropPrivileges(neededCaps(n.situation().running.hasICMP()), n.log); err != nil {
			n.disk.release()
			return err
		}
	}
	parts := []part{
		{name: "disk", run: n.disk.Run, stopWithin: stopWithin},
		{name: "audit", run: n.feed.Run}, // before the loop: it ends with the loop's last record
		{name: "loop", run: n.loop.Run},
	}
	if n.gossip != nil {
		parts = append(parts, part{name: "gossip", run: n.gossip.Run, stopWithin: stopWithin})
	}
	if n.prober != nil {
		parts = append(parts, part{name: "probe", run: n.prober.Run}, part{name: "aim", run: n.aim.Run, stopWithin: stopWithin})
	}
	if n.dns != nil {
		parts = append(parts, part{name: "dns", run: n.runDNS, ready: n.dns.Ready()})
	}
	if n.observer != nil {
		parts = append(parts, part{name: "observe", run: n.observer.Run})
	}
	parts = append(parts,
		part{name: "api", run: n.runAPI, ready: n.apiTried},
		part{name: "zones", run: n.runSaveZones, stopWithin: stopWithin},
		part{name: "trial", run: n.runTrial, stopWithin: stopWithin},
		part{name: "identity", run: n.runIdentity, stopWithin: stopWithin},
		part{name: "alarms", run: n.pager.Run},
		part{name: "hangup", run: n.runHangup, stopWithin: stopWithin},
		part{name: "watchdog", run: n.runWatchdog},
	)
	return runParts(ctx, parts, hooks{
		started:  n.open,
		stopping: n.stopping,
		log:      n.log,
	})
}

// Opened is closed when everything is open: DNS answers and the API listens.
func (n *Node) Opened() <-chan struct{} { return n.ready }

func (n *Node) open() {
	n.change(func(s *situation) { s.ready = true })
	n.disk.Serving(!n.situation().held)
	debug.FreeOSMemory() // reading zones and configuration took more than keeping them does
	close(n.ready)
	s := n.situation()
	n.log.Info("ready", "node", s.running.settings.Node.Name, "dns", n.Addrs(), "socket", s.running.settings.API.Socket, "revision", s.revision.Number)
	n.notify.ready(fmt.Sprintf("revision %d", s.revision.Number))
}

// hold takes notice of a held start, and of its end: a node that is held does not stamp its disk.
func (n *Node) hold(held bool) {
	n.change(func(s *situation) { s.held = held })
	if n.situation().ready {
		n.disk.Serving(!held)
	}
}

func (n *Node) stopping() {
	n.change(func(s *situation) { s.stopping = true })
	n.notify.stopping()
	n.log.Info("stopping")
}

// runDNS opens the sockets once the first look is over.
func (n *Node) runDNS(ctx context.Context) error {
	select {
	case <-n.loop.seen:
		return n.dns.Run(ctx)
	case <-ctx.Done():
		return nil
	}
}

// runAPI serves the API. A data folder that can't take its socket must not
// stop DNS: then it is tried again and again.
func (n *Node) runAPI(ctx context.Context) error {
	tried := sync.OnceFunc(func() { close(n.apiTried) })
	defer tried()
	var watch sync.WaitGroup
	defer watch.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watch.Go(func() {
		select {
		case <-n.api.Ready():
			n.change(func(s *situation) { s.apiFault = fault{} })
			tried()
		case <-ctx.Done():
		}
	})
	for {
		err := n.api.Run(ctx)
		if err == nil || ctx.Err() != nil || n.disk.State().trouble() == nil {
			return err
		}
		n.log.Error("the API can't be opened; DNS goes on without", "error", err)
		n.change(func(s *situation) {
			if s.apiFault.err == nil {
				s.apiFault.since = clock()
			}
			s.apiFault.err = err
		})
		tried()
		retry := time.NewTimer(apiRetry)
		select {
		case <-ctx.Done():
			retry.Stop()
			return nil
		case <-retry.C:
		}
	}
}

// compared are the live servers that are asked in mode observe.
func (n *Node) compared() []netip.AddrPort { return n.situation().running.settings.Compare }

// decided is the newest revision.
func (n *Node) decided() *policy.Revision { return n.situation().revision }

func (n *Node) runHangup(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-n.opt.Hangup:
			n.hangUp(ctx)
		}
	}
}

func (n *Node) runWatchdog(ctx context.Context) error {
	return n.notify.watch(ctx, func(ctx context.Context) error {
		_, err := ask(ctx, n.loop, func(*policy.State, time.Time) struct{} { return struct{}{} })
		if errors.Is(err, errStopping) {
			return nil
		}
		return err
	})
}
