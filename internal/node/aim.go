package node

import (
	"context"
	"sync"

	"github.com/scloudstack/pharos/internal/config"
	"github.com/scloudstack/pharos/policy"
	"github.com/scloudstack/pharos/probe"
)

// aim points the prober at what the decision wants probed here. Setting targets may
// read certificate files, for which the loop must not wait.
type aim struct {
	prober *probe.Prober // nil without the probe role
	soon   chan struct{}

	mu     sync.Mutex // guards what follows
	all    []probe.Target
	wanted map[policy.TargetID]bool
	cut    map[policy.SiteID]bool
	sites  map[policy.TargetID]policy.SiteID
}

func newAim(p *probe.Prober) *aim { return &aim{prober: p, soon: make(chan struct{}, 1)} }

// know takes the targets of a configuration.
func (a *aim) know(s *config.Settings) {
	sites := make(map[policy.TargetID]policy.SiteID, len(s.Policy.Targets))
	for id, t := range s.Policy.Targets {
		sites[id] = t.Site
	}
	a.mu.Lock()
	a.all, a.sites = s.Targets, sites
	a.mu.Unlock()
	signal(a.soon)
}

// probe takes what is to be probed here from now on.
func (a *aim) probe(ids []policy.TargetID) {
	wanted := make(map[policy.TargetID]bool, len(ids))
	for _, id := range ids {
		wanted[id] = true
	}
	a.mu.Lock()
	a.wanted = wanted
	a.mu.Unlock()
	signal(a.soon)
}

// block takes the sites that a drill cuts off.
func (a *aim) block(sites []policy.SiteID) {
	cut := make(map[policy.SiteID]bool, len(sites))
	for _, s := range sites {
		cut[s] = true
	}
	a.mu.Lock()
	a.cut = cut
	a.mu.Unlock()
	signal(a.soon)
}

// Run sets the prober's targets whenever they are others.
func (a *aim) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-a.soon:
			a.set()
		}
	}
}

func (a *aim) set() {
	if a.prober == nil {
		return
	}
	a.mu.Lock()
	var targets []probe.Target
	var cut []policy.TargetID
	for _, t := range a.all {
		if !a.wanted[t.ID] {
			continue
		}
		targets = append(targets, t)
		if a.cut[a.sites[t.ID]] {
			cut = append(cut, t.ID)
		}
	}
	a.mu.Unlock()
	a.prober.Cut(cut)
	a.prober.Set(targets)
}
