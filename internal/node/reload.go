package node

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime/debug"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/scloudstack/pharos/cluster"
	"github.com/scloudstack/pharos/internal/api"
	"github.com/scloudstack/pharos/internal/config"
	"github.com/scloudstack/pharos/policy"
	"github.com/scloudstack/pharos/zones"
)

// Reload loads the configuration again, whole or not at all. With r.Confirm it
// goes back by itself unless Confirm comes in time; a node that is restarted
// in between starts with the configuration before.
func (n *Node) Reload(ctx context.Context, r api.ReloadRequest, author string) (api.ReloadResult, error) {
	if err := n.loading.take(ctx); err != nil {
		return api.ReloadResult{}, err
	}
	defer n.loading.give()
	return n.reloadAndTell(ctx, r, author)
}

// hangUp loads the configuration again for a signal, unless one is on trial: a
// signal says nothing of whether that one is to stay, and has nobody to ask.
func (n *Node) hangUp(ctx context.Context) {
	const author = "SIGHUP"
	if n.loading.take(ctx) != nil {
		return
	}
	defer n.loading.give()
	if n.trial.before == nil {
		_, _ = n.reloadAndTell(ctx, api.ReloadRequest{}, author) // it logs the outcome, and status shows it
		return
	}
	n.notify.reloading()
	n.log.Error("reload refused: a configuration is on trial. 'pharos reload confirm' keeps it, 'pharos reload' ends the trial with the files as they are now; "+
		"else it goes back by itself", "author", author, "confirm_by", n.situation().confirmBy)
	n.notify.ready(fmt.Sprintf("revision %d", n.situation().revision.Number))
}

// reloadAndTell loads the configuration and logs what came of it. The turn of loading is held.
func (n *Node) reloadAndTell(ctx context.Context, r api.ReloadRequest, author string) (api.ReloadResult, error) {
	n.notify.reloading()
	result, err := n.reload(ctx, r, author)
	switch {
	case err != nil:
		n.log.Error("reload refused, what ran before keeps running", "author", author, "error", err)
	case result.ConfirmBy.IsZero():
		n.log.Info("configuration loaded", "author", author, "config", result.Config, "revision", result.Revision, "ends_trial", result.EndsTrial)
	default:
		n.log.Info("configuration loaded on trial", "author", author, "config", result.Config, "revision", result.Revision, "confirm_by", result.ConfirmBy)
	}
	n.notify.ready(fmt.Sprintf("revision %d", n.situation().revision.Number))
	return result, err
}

func (n *Node) reload(ctx context.Context, r api.ReloadRequest, author string) (api.ReloadResult, error) {
	defer debug.FreeOSMemory() // of the zones that were, and of what reading took
	before := n.situation().running
	result := api.ReloadResult{Config: before.settings.Path}
	next, err := n.loadNext(before)
	var rev *policy.Revision
	copies := n.copies
	if err == nil {
		if r.Confirm > 0 {
			err = n.markTrial(next)
		}
		if err == nil {
			n.prepare(next)
			rev, result.Names, err = n.replace(ctx, next, before)
		}
	}
	if err != nil {
		n.unmarkTrial(copies)
		var rejected *api.Rejected
		if errors.As(err, &rejected) {
			n.change(func(s *situation) { s.failure = &api.ReloadFailure{At: clock(), Problems: rejected.Problems} })
		}
		return result, err
	}
	n.saveZones(context.WithoutCancel(ctx))
	result.Revision = rev.Number
	result.Warnings = slices.Clone(next.warnings)
	for i := range next.zones {
		if z := &next.zones[i]; z.Err != nil || z.unlaid != nil {
			result.Zones = append(result.Zones, z.status(n.keeper.Unkept()))
		}
	}
	if r.Confirm > 0 {
		result.ConfirmBy = clock().Add(time.Duration(r.Confirm))
		if n.trial.before == nil {
			n.trial.before = before
		}
	} else {
		result.EndsTrial = n.trial.before != nil
		n.trial.before = nil
	}
	n.change(func(s *situation) { s.failure, s.wentBack, s.confirmBy = nil, time.Time{}, result.ConfirmBy })
	why := ""
	switch {
	case result.EndsTrial:
		why = "ends the trial of the one before"
	case r.Confirm > 0:
		why = "on trial until " + result.ConfirmBy.UTC().Format(time.DateTime)
	}
	n.record(ctx, deployRecords(author, why, before, next, result.Names)...)
	signal(n.trial.changed)
	if err := n.keepConfig(); err != nil {
		result.Warnings = append(result.Warnings, api.Problem{Text: "the way back is not kept over a restart: " + err.Error()})
	}
	return result, nil
}

// loadNext reads the configuration and its zones. The error is *api.Rejected.
func (n *Node) loadNext(before *deployment) (*deployment, error) {
	settings, warnings, err := config.Load(before.settings.Path, n.opt.Load)
	what := "configuration " + before.settings.Path
	if err != nil {
		return nil, &api.Rejected{What: what, Problems: problems(err)}
	}
	if ps := n.unchangeable(before.settings, settings); len(ps) > 0 {
		return nil, &api.Rejected{What: what, Problems: ps}
	}
	next, err := n.nextDeployment(settings, before)
	if err != nil {
		return nil, err
	}
	next.warnings = append(configProblems(warnings), next.warnings...)
	return next, nil
}

// unchangeable lists what a running node can't take up.
func (n *Node) unchangeable(before, next *config.Settings) []api.Problem {
	var ps []api.Problem
	check := func(what string, a, b any) {
		if !reflect.DeepEqual(a, b) {
			ps = append(ps, api.Problem{File: next.Path, Text: fmt.Sprintf("%s changed from %v to %v, which needs a restart", what, a, b)})
		}
	}
	check("the node's name", before.Node.Name, next.Node.Name)
	check("the node's site", before.Node.Site, next.Node.Site)
	check("data_dir", before.DataDir, next.DataDir)
	check("api.socket", before.API.Socket, next.API.Socket)
	check("the node's role dns", before.Node.Roles.DNS, next.Node.Roles.DNS)
	check("the node's role probe", before.Node.Roles.Probe, next.Node.Roles.Probe)
	check("mode: observe", before.Observe, next.Observe)
	check("cluster.keys_file", before.Cluster.KeysFile, next.Cluster.KeysFile)
	check("whether there are other nodes", before.Gossips(), next.Gossips())
	check("the node's address", before.Node.Address, next.Node.Address)
	check("the node's port", before.Node.Port, next.Node.Port)
	check("node.key_file", before.KeyFile, next.KeyFile)
	check("audit.keep", before.Audit.Keep, next.Audit.Keep)
	check("audit.most", before.Audit.Most, next.Audit.Most)
	d := deployment{settings: next}
	if n.opt.DropPrivileges && d.hasICMP() && !canPing() {
		ps = append(ps, api.Problem{File: next.Path, Text: "icmp checks need CAP_NET_RAW, which this node gave up when it started without any: restart it"})
	}
	return ps
}

// canPing tells whether the process may send ICMP echo requests.
func canPing() bool {
	for _, kind := range []int{unix.SOCK_DGRAM, unix.SOCK_RAW} {
		if fd, err := unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMP); err == nil {
			unix.Close(fd)
			return true
		}
	}
	return false
}

// reconsider tells which answers another configuration would change.
func (n *Node) reconsider(ctx context.Context, cfg *policy.Config) ([]policy.PreviewName, error) {
	return ask(ctx, n.loop, func(s *policy.State, now time.Time) []policy.PreviewName { return s.Reconsider(cfg, now) })
}

// replace takes the turn to apply next, and tells which answers that changed.
func (n *Node) replace(ctx context.Context, next, before *deployment) (*policy.Revision, []policy.PreviewName, error) {
	if err := n.turn.take(ctx); err != nil {
		return nil, nil, err
	}
	defer n.turn.give()
	names, err := n.reconsider(ctx, next.settings.Policy)
	if err != nil {
		return nil, nil, err
	}
	rev, err := n.apply(ctx, next, before)
	return rev, names, err
}

// apply has every part follow next. What can fail is tried first, and taken
// back if something after it fails. It is not left half done because the
// person who asked for it has gone.
func (n *Node) apply(ctx context.Context, next, before *deployment) (*policy.Revision, error) {
	ctx = context.WithoutCancel(ctx)
	refuse := func(err error) error {
		return &api.Rejected{What: "configuration " + next.settings.Path, Problems: problems(err)}
	}
	if n.dns != nil {
		if err := n.dns.Reconfigure(n.dnsConfig(next.settings)); err != nil {
			return nil, refuse(err)
		}
	}
	back := func() {
		if n.dns == nil {
			return
		}
		if err := n.dns.Reconfigure(n.dnsConfig(before.settings)); err != nil {
			n.log.Error("the listeners can't be taken back", "error", err)
		}
	}
	if err := n.api.Reconfigure(next.settings.API); err != nil {
		back()
		return nil, refuse(err)
	}
	rev, err := n.deploy(ctx, next, true)
	if err != nil {
		back()
		return nil, fmt.Errorf("%w: %w", api.ErrDegraded, err)
	}
	n.checkIdentity()
	n.aim.know(next.settings)
	n.pager.sender.Set(next.settings.Alarms)
	n.feed.Set(next.settings.Audit.Syslog)
	return rev, nil
}

// trial is a configuration that runs until it is confirmed or given up. Its
// end stands in situation.confirmBy.
type trial struct {
	before  *deployment   // what is gone back to; nil: no trial runs. Of whoever may load
	changed chan struct{} // confirmBy is another
}

func (t *trial) init() { t.changed = make(chan struct{}, 1) }

// keepZones has a zone ("" means all) that was loaded during the trial stay when
// it ends: it was asked for by itself, and a serial never goes back unasked.
func (t *trial) keepZones(now *deployment, name string) {
	if t.before == nil {
		return
	}
	back := *t.before
	back.zones = slices.Clone(back.zones)
	for i := range back.zones {
		z := &back.zones[i]
		if loaded := now.zone(z.Spec.Name); loaded != nil && loaded.Spec == z.Spec && (name == "" || name == z.Spec.Name) {
			z.Loaded, z.since = loaded.Loaded, loaded.since
		}
	}
	back.keepUnfit(t.before)
	back.lay(t.before)
	t.before = &back
}

// Confirm keeps the configuration that was loaded to be confirmed.
func (n *Node) Confirm(ctx context.Context, author string) (api.ReloadResult, error) {
	if err := n.loading.take(ctx); err != nil {
		return api.ReloadResult{}, err
	}
	defer n.loading.give()
	s := n.situation()
	result := api.ReloadResult{Config: s.running.settings.Path, Revision: s.revision.Number}
	if n.trial.before == nil {
		return result, fmt.Errorf("%w: no configuration waits to be confirmed", api.ErrConflict)
	}
	n.trial.before = nil
	n.change(func(s *situation) { s.confirmBy = time.Time{} })
	signal(n.trial.changed)
	if err := n.keepConfig(); err != nil {
		result.Warnings = append(result.Warnings, api.Problem{Text: "a restart may not know of it: " + err.Error()})
	}
	n.log.Info("configuration confirmed", "author", author)
	n.record(ctx, cluster.Record{Who: author, What: "configuration", Subject: result.Config, Why: "confirmed"})
	return result, nil
}

// runTrial goes back when a trial's time is over.
func (n *Node) runTrial(ctx context.Context) error {
	end := time.NewTimer(time.Hour)
	end.Stop()
	defer end.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-n.trial.changed:
			end.Stop()
			if by := n.situation().confirmBy; !by.IsZero() {
				end.Reset(until(by))
			}
		case <-end.C:
			if err := n.goBack(ctx); err != nil && ctx.Err() == nil {
				n.log.Error("going back to the configuration before failed; it is tried again", "error", err)
				end.Reset(trialRetry)
			}
		}
	}
}

const trialRetry = 10 * time.Second

// goBack takes the configuration before the trial.
func (n *Node) goBack(ctx context.Context) error {
	if err := n.loading.take(ctx); err != nil {
		return err
	}
	defer n.loading.give()
	s := n.situation()
	if n.trial.before == nil || clock().Before(s.confirmBy) {
		return nil // confirmed, or prolonged, meanwhile
	}
	defer debug.FreeOSMemory() // of the zones that were on trial
	back := *n.trial.before
	back.loaded = clock()
	n.notify.reloading()
	n.prepare(&back)
	rev, names, err := n.replace(ctx, &back, s.running)
	if err != nil {
		return err
	}
	n.record(ctx, deployRecords("machine", "it was not confirmed: the one before runs again", s.running, &back, names)...)
	n.trial.before = nil
	n.change(func(s *situation) { s.confirmBy, s.wentBack = time.Time{}, clock() })
	n.saveZones(ctx)
	n.log.Warn("the configuration was not confirmed: the one before runs again", "revision", rev.Number)
	n.notify.ready(fmt.Sprintf("revision %d", rev.Number))
	return nil
}

// Diff tells which answers would change if the configuration at path, or the
// node's own as it is on the disk now, were loaded. One comparison runs at a time.
func (n *Node) Diff(ctx context.Context, path string) (api.DiffResult, error) {
	if err := n.reading.take(ctx); err != nil {
		return api.DiffResult{Config: path}, err
	}
	defer n.reading.give()
	before := n.situation().running
	if path == "" {
		path = before.settings.Path
	}
	result := api.DiffResult{Config: path}
	settings, warnings, err := config.Load(path, n.opt.Load)
	if err != nil {
		return result, &api.Rejected{What: "configuration " + path, Problems: problems(err)}
	}
	result.Warnings = configProblems(warnings)
	rejected := &api.Rejected{What: "configuration " + path}
	var loaded []*zones.Zone
	for _, spec := range settings.Zones {
		z, notes, err := zones.ParseFile(spec.Name, spec.File, zones.Options{Yield: zones.Pause})
		if err != nil {
			rejected.Problems = append(rejected.Problems, problems(err)...)
			continue
		}
		loaded = append(loaded, z)
		result.Warnings = append(result.Warnings, zoneProblems(notes)...)
		judged := n.keeper.Judge(z)
		old := before.zone(spec.Name)
		if judged != nil && (old == nil || old.Err == nil) {
			result.Refused = append(result.Refused, zoneFaults(spec, judged)...)
		}
		if old == nil {
			result.Notes = append(result.Notes, fmt.Sprintf("zone %s is new: %d records", spec.Name, z.Records()))
		} else if old.Zone == nil || old.Zone.Digest() != z.Digest() {
			d := zoneDiff(spec.Name, old.Zone, z)
			if judged != nil {
				d.Refused = judged.Error()
			}
			result.Zones = append(result.Zones, d)
		}
	}
	more, err := config.CheckZones(settings, loaded)
	result.Warnings = append(result.Warnings, configProblems(more)...)
	if err != nil {
		rejected.Problems = append(rejected.Problems, problems(err)...)
	}
	if len(rejected.Problems) > 0 {
		return result, rejected
	}
	result.Notes = append(result.Notes, notes(before.settings, settings)...)
	result.Refused = append(result.Refused, configProblems(api.CheckFiles(settings.API).Found)...)
	result.Refused = append(result.Refused, n.unchangeable(before.settings, settings)...)
	if result.Names, err = n.reconsider(ctx, settings.Policy); err != nil {
		return result, err
	}
	result.Unjudged, err = ask(ctx, n.loop, func(s *policy.State, _ time.Time) []policy.Unjudged { return s.Unjudged(settings.Policy) })
	return result, err
}

// notes says what would change beside answers.
func notes(before, next *config.Settings) []string {
	var all []string
	for _, l := range next.DNS.Listen {
		if !slices.Contains(before.DNS.Listen, l) {
			all = append(all, fmt.Sprintf("DNS listens on %s", l))
		}
	}
	for _, l := range before.DNS.Listen {
		if !slices.Contains(next.DNS.Listen, l) {
			all = append(all, fmt.Sprintf("DNS listens on %s no more", l))
		}
	}
	for _, z := range before.Zones {
		if !slices.ContainsFunc(next.Zones, func(o zones.Spec) bool { return o.Name == z.Name }) {
			all = append(all, fmt.Sprintf("zone %s goes: its names will be refused", z.Name))
		}
	}
	had := map[policy.TargetID]bool{}
	for _, t := range before.Targets {
		had[t.ID] = true
	}
	added, kept := 0, 0
	for _, t := range next.Targets {
		if had[t.ID] {
			kept++
		} else {
			added++
		}
	}
	if gone := len(had) - kept; added+gone > 0 {
		all = append(all, fmt.Sprintf("targets: %d new, %d gone, %d keep their health", added, gone, kept))
	}
	return all
}
