package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"

	"github.com/scloudstack/pharos/internal/api"
	"github.com/scloudstack/pharos/internal/config"
	"github.com/scloudstack/pharos/policy"
	"github.com/scloudstack/pharos/zones"
)

// Zones lists what is served of each configured zone, and what is kept.
func (n *Node) Zones(context.Context) ([]api.Zone, error) {
	kept := n.keeper.Kept()
	return n.situation().running.zoneStatus(n.keeper.Unkept(), func(z *zoneState) []api.ZoneVersion { return z.versions(kept) }), nil
}

// versions lists what is kept of the zone.
func (z *zoneState) versions(kept func(name string) []zones.Version) []api.ZoneVersion {
	var serving [32]byte
	if z.Zone != nil {
		serving = z.Zone.Digest()
	}
	var all []api.ZoneVersion
	for _, v := range kept(z.Spec.Name) {
		all = append(all, api.ZoneVersion{
			Serial: v.Serial, Records: v.Records, Digest: fmt.Sprintf("%x", v.Digest), Taken: v.Taken, Serving: v.Digest == serving,
		})
		if v.Digest == serving {
			serving = [32]byte{} // the newest of equal ones
		}
	}
	return all
}

func (n *Node) configured(name string) (*zoneState, error) {
	z := n.situation().running.zone(name)
	if z == nil {
		return nil, fmt.Errorf("%w: no zone %s is configured; see pharos zone list", api.ErrNotFound, name)
	}
	return z, nil
}

// ZoneDump writes the zone that is served as a master file.
func (n *Node) ZoneDump(_ context.Context, name string, w io.Writer) error {
	z, err := n.configured(name)
	if err != nil {
		return err
	}
	if z.Zone == nil {
		return fmt.Errorf("%w: nothing is served of %s: %w", api.ErrNotFound, name, z.Err)
	}
	_, err = z.Zone.WriteTo(w)
	return err
}

// ZoneDiff compares what is served with the file. One comparison runs at a time.
func (n *Node) ZoneDiff(ctx context.Context, name string) (api.ZoneDiff, error) {
	if err := n.reading.take(ctx); err != nil {
		return api.ZoneDiff{}, err
	}
	defer n.reading.give()
	z, err := n.configured(name)
	if err != nil {
		return api.ZoneDiff{}, err
	}
	file, notes, err := zones.ParseFile(name, z.Spec.File, zones.Options{Yield: zones.Pause})
	if err != nil {
		return api.ZoneDiff{}, &api.Rejected{What: "zone " + name, Problems: problems(err)}
	}
	d := zoneDiff(name, z.Zone, file)
	d.Notes = zoneProblems(notes)
	if err := n.keeper.Judge(file); err != nil {
		d.Refused = err.Error()
	}
	return d, nil
}

// zoneDiff is what turns one zone into another; from may be nil: nothing is served.
func zoneDiff(name string, from, to *zones.Zone) api.ZoneDiff {
	d := zones.Diff(from, to)
	return api.ZoneDiff{
		Name: name, Unserved: from == nil, From: d.From, To: d.To,
		Added: append([]string{}, d.Added...), AddedCount: d.AddedCount,
		Removed: append([]string{}, d.Removed...), RemovedCount: d.RemovedCount,
	}
}

// ZoneReload reads the file of one zone, or of all (""), again. Each zone is
// taken or refused by itself, and tells which in its Problem.
func (n *Node) ZoneReload(ctx context.Context, name string, accept bool, author string) ([]api.Zone, error) {
	if err := n.loading.take(ctx); err != nil {
		return nil, err
	}
	defer n.loading.give()
	before := n.situation().running
	var next *deployment
	if name == "" {
		accepted := map[string]bool{}
		for _, spec := range before.settings.Zones {
			accepted[spec.Name] = accept
		}
		next = &deployment{settings: before.settings, warnings: before.warnings, loaded: before.loaded}
		next.take(n.keeper.Load(before.settings.Zones, accepted))
	} else {
		old, err := n.configured(name)
		if err != nil {
			return nil, err
		}
		next = before.with(n.keeper.LoadOne(old.Spec, accept))
	}
	next.keepUnfit(before)
	next.lay(before)
	if err := n.deployZones(ctx, next); err != nil {
		return nil, err
	}
	why := ""
	if accept {
		why = "accepted as it is"
	}
	n.record(ctx, deployRecords(author, why, before, next, nil)...)
	n.trial.keepZones(next, name)
	kept := n.keeper.Kept()
	var changed []api.Zone
	for i := range next.zones {
		z := &next.zones[i]
		if name != "" && z.Spec.Name != name {
			continue
		}
		n.log.Info("zone loaded", "zone", z.Spec.Name, "source", z.source(), "author", author, "accept", accept, "error", z.Err)
		s := z.status(n.keeper.Unkept())
		s.Versions = z.versions(kept)
		changed = append(changed, s)
	}
	return changed, nil
}

// keepUnfit keeps a zone as it was where its new content does not fit the
// steered names.
func (d *deployment) keepUnfit(before *deployment) {
	for i := range d.zones {
		z, old := &d.zones[i], before.zone(d.zones[i].Spec.Name)
		if z.Zone == nil || old == nil || old.Zone == nil || old.Zone == z.Zone {
			continue
		}
		if _, err := config.CheckZones(d.settings, []*zones.Zone{z.Zone}); err != nil {
			spec := z.Spec
			z.Loaded = old.Loaded
			z.Spec, z.Source, z.Err = spec, zones.Running, err
		}
	}
}

// ZoneRollback serves the version before.
func (n *Node) ZoneRollback(ctx context.Context, name string, author string) (api.Zone, error) {
	if err := n.loading.take(ctx); err != nil {
		return api.Zone{}, err
	}
	defer n.loading.give()
	old, err := n.configured(name)
	if err != nil {
		return api.Zone{}, err
	}
	loaded, err := n.keeper.Rollback(name)
	if err != nil {
		return api.Zone{}, fmt.Errorf("%w: %w", api.ErrConflict, err)
	}
	loaded.Spec = old.Spec
	before := n.situation().running
	next := before.with(loaded)
	next.keepUnfit(before)
	if z := next.zone(name); z.Zone == old.Zone {
		return api.Zone{}, fmt.Errorf("%w: the version before can't be served: %w", api.ErrConflict, cmp.Or(z.Err, errors.New("it is what is served")))
	}
	next.lay(before)
	if err := n.deployZones(ctx, next); err != nil {
		return api.Zone{}, err
	}
	n.record(ctx, deployRecords(author, "rolled back", before, next, nil)...)
	n.trial.keepZones(next, name)
	z := next.zone(name)
	from := uint32(0) // nothing is served
	if old.Zone != nil {
		from = old.Zone.Serial()
	}
	n.log.Warn("zone rolled back", "zone", name, "from", from, "to", z.Zone.Serial(), "author", author)
	s := z.status(n.keeper.Unkept())
	s.Versions = z.versions(n.keeper.Kept())
	return s, nil
}

// deployZones serves a deployment whose zones alone are others, and keeps their
// versions. It is not left half done because the person who asked has gone.
func (n *Node) deployZones(ctx context.Context, next *deployment) error {
	ctx = context.WithoutCancel(ctx)
	n.prepare(next)
	defer debug.FreeOSMemory() // of the zones that were, and of what reading took
	if err := n.turn.take(ctx); err != nil {
		return err
	}
	_, err := n.deploy(ctx, next, false)
	n.turn.give()
	if err == nil {
		n.saveZones(ctx)
	}
	return err
}

// saveZones keeps a version of each zone that is served. What can't be kept
// stands with the zone; the disk may be full, and the zone is good all the same.
func (n *Node) saveZones(ctx context.Context) {
	n.keeper.Save(ctx)
	if unkept := n.keeper.Unkept(); len(unkept) > 0 && ctx.Err() == nil {
		n.log.Warn("not all zones have a copy on the disk; see pharos zone list", "zones", len(unkept))
	}
}

// runSaveZones keeps the zones of the start, once DNS is open: there may be
// thousands.
func (n *Node) runSaveZones(ctx context.Context) error {
	n.saveZones(ctx)
	debug.FreeOSMemory() // of what writing thousands of versions took
	<-ctx.Done()
	return nil
}

// prepare compiles the zones of a deployment, so that neither deciding nor
// orders wait for large ones.
func (n *Node) prepare(next *deployment) {
	if n.dns != nil {
		n.dns.Prepare(next.data(nil).Zones)
	}
}

// deploy has the loop serve another deployment, and where decide is set decide
// by its settings. Only from then on are its zones what others are judged
// beside. The turn is held.
func (n *Node) deploy(ctx context.Context, next *deployment, decide bool) (*policy.Revision, error) {
	r := deploy{next: next, decide: decide, done: make(chan *policy.Revision, 1)}
	if err := n.loop.do(context.WithoutCancel(ctx), r); err != nil {
		return nil, err
	}
	rev := <-r.done
	n.change(func(s *situation) { s.running = next })
	n.keeper.Take(next.load())
	return rev, nil
}
