package node

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/scloudstack/pharos/dnsserver"
	"github.com/scloudstack/pharos/internal/api"
	"github.com/scloudstack/pharos/internal/config"
	"github.com/scloudstack/pharos/policy"
	"github.com/scloudstack/pharos/zones"
)

// deployment is what was configured and runs: settings, and the zones that
// they name with the steered names laid over them. It is never changed.
type deployment struct {
	settings *config.Settings
	zones    []zoneState    // in the order of the settings
	byName   map[string]int // into zones
	warnings []api.Problem
	loaded   time.Time
}

// zoneState is one configured zone and what is served of it.
type zoneState struct {
	zones.Loaded
	served *zones.Zone // Zone with the steered names; nil: SERVFAIL
	names  []string    // steered
	unlaid error       // why some names are served as the zone has them, not steered
	hinted error       // what leads clients past the steering of some names
	since  time.Time   // when this became what is served
}

// source is where the zone that is served comes from, as the API names it.
func (z *zoneState) source() string {
	if z.Source != zones.None && errors.Is(z.Err, zones.ErrRolledBack) {
		return "rollback"
	}
	return z.Source.String()
}

// content is what is served of the zone, in a few words.
func (z *zoneState) content() string {
	if z.Zone == nil {
		return "nothing"
	}
	digest := z.Zone.Digest()
	return fmt.Sprintf("%s serial %d (%.8s)", z.Spec.Name, z.Zone.Serial(), hex.EncodeToString(digest[:]))
}

// data is what the DNS server is given.
func (d *deployment) data(r *policy.Revision) dnsserver.Data {
	data := dnsserver.Data{Revision: r}
	for i := range d.zones {
		if z := &d.zones[i]; z.served != nil {
			data.Zones = append(data.Zones, z.served)
		} else {
			data.Failed = append(data.Failed, z.Spec.Name)
		}
	}
	return data
}

// zonesDigest is the same on nodes that serve the same zones.
func (d *deployment) zonesDigest() [8]byte {
	h := sha256.New()
	for i := range d.zones {
		z := &d.zones[i]
		h.Write([]byte(z.Spec.Name))
		h.Write([]byte{0})
		if z.Zone != nil {
			digest := z.Zone.Digest()
			h.Write(digest[:])
		}
	}
	return [8]byte(h.Sum(nil))
}

// load is what the zones' keeper is told of it.
func (d *deployment) load() []zones.Loaded {
	all := make([]zones.Loaded, len(d.zones))
	for i := range d.zones {
		all[i] = d.zones[i].Loaded
	}
	return all
}

// with is the deployment with one of its zones loaded anew.
func (d *deployment) with(l zones.Loaded) *deployment {
	next := *d
	next.zones = slices.Clone(d.zones)
	z := next.zone(l.Spec.Name)
	*z = zoneState{Loaded: l, names: z.names, since: clock()}
	return &next
}

func (d *deployment) zone(name string) *zoneState {
	if i, ok := d.byName[name]; ok {
		return &d.zones[i]
	}
	return nil
}

func (d *deployment) hasICMP() bool {
	for _, t := range d.settings.Targets {
		if t.Check.ICMP != nil {
			return true
		}
	}
	return false
}

// firstDeployment loads what a node starts with. A zone that can't be loaded,
// or does not fit the steered names, must not keep the others from being served.
func (n *Node) firstDeployment(settings *config.Settings) *deployment {
	d := &deployment{settings: settings, loaded: clock()}
	warnings, err := config.CheckZones(settings, d.take(n.keeper.Load(settings.Zones, nil)))
	d.warnings = append(d.warnings, configProblems(warnings)...)
	if err != nil {
		n.log.Error("zones and steered names do not fit", "error", err)
		d.warnings = append(d.warnings, problems(err)...)
	}
	d.lay(nil)
	for i := range d.zones {
		z := &d.zones[i]
		if z.Err != nil {
			n.log.Error("zone is not served from its file", "zone", z.Spec.Name, "source", z.source(), "error", z.Err)
		}
		if z.unlaid != nil {
			n.log.Error("names are not steered", "zone", z.Spec.Name, "error", z.unlaid)
		}
	}
	return d
}

// nextDeployment loads what is to take the place of before: whole, or an
// *api.Rejected. A zone that is not served from its file already does not stop
// the rest: its fault is known, and no part of this change.
func (n *Node) nextDeployment(settings *config.Settings, before *deployment) (*deployment, error) {
	d := &deployment{settings: settings, loaded: clock()}
	rejected := &api.Rejected{What: "configuration " + settings.Path}
	loaded := d.take(n.keeper.Load(settings.Zones, nil))
	for i := range d.zones {
		z := &d.zones[i]
		old := before.zone(z.Spec.Name)
		if z.Err != nil && (old == nil || old.Err == nil) {
			rejected.Problems = append(rejected.Problems, zoneFaults(z.Spec, z.Err)...)
		}
	}
	warnings, err := config.CheckZones(settings, loaded)
	d.warnings = append(d.warnings, configProblems(warnings)...)
	if err != nil {
		rejected.Problems = append(rejected.Problems, problems(err)...)
	}
	if len(rejected.Problems) > 0 {
		return nil, rejected
	}
	d.lay(before)
	return d, nil
}

// take notes what became of each zone, and returns those that can be served.
func (d *deployment) take(loaded []zones.Loaded) []*zones.Zone {
	var good []*zones.Zone
	steered := d.settings.SteeredNames()
	d.byName = make(map[string]int, len(loaded))
	for i, l := range loaded {
		d.byName[l.Spec.Name] = i
		names := slices.Clone(steered[l.Spec.Name])
		slices.Sort(names)
		d.zones = append(d.zones, zoneState{Loaded: l, names: names, since: clock()})
		if l.Zone != nil {
			good = append(good, l.Zone)
		}
	}
	return good
}

// lay puts the steered names over each zone. What is served stays the same
// pointer where nothing changed, so that it is not compiled again.
func (d *deployment) lay(before *deployment) {
	for i := range d.zones {
		z := &d.zones[i]
		if before != nil {
			if old := before.zone(z.Spec.Name); old != nil && old.Zone == z.Zone && slices.Equal(old.names, z.names) {
				z.served, z.unlaid, z.hinted, z.since = old.served, old.unlaid, old.hinted, old.since
				continue
			}
		}
		z.lay()
	}
}

// lay puts the steered names over the zone; those that can't be are left out.
func (z *zoneState) lay() {
	z.served, z.unlaid, z.hinted = z.Zone, nil, nil
	if z.Zone == nil || len(z.names) == 0 {
		return
	}
	for _, name := range z.names {
		z.hinted = errors.Join(z.hinted, config.Hinted(z.Zone, name))
	}
	served, err := z.Zone.WithNames(z.names...)
	if err == nil {
		z.served = served
		return
	}
	z.unlaid = err
	var fit []string
	for _, name := range z.names {
		if _, err := z.Zone.WithNames(name); err == nil {
			fit = append(fit, name)
		}
	}
	if served, err := z.Zone.WithNames(fit...); err == nil {
		z.served = served
	}
}

// zoneStatus is what is served of each zone; versions may be nil.
func (d *deployment) zoneStatus(unkept map[string]error, versions func(*zoneState) []api.ZoneVersion) []api.Zone {
	all := make([]api.Zone, len(d.zones))
	for i := range d.zones {
		all[i] = d.zones[i].status(unkept)
		if versions != nil {
			all[i].Versions = versions(&d.zones[i])
		}
	}
	return all
}

func (z *zoneState) status(unkept map[string]error) api.Zone {
	s := api.Zone{
		Name: z.Spec.Name, File: z.Spec.File, Source: z.source(), Loaded: z.since,
		Warnings: zoneProblems(z.Warnings), Names: z.names,
	}
	if z.Zone != nil {
		digest := z.Zone.Digest()
		s.Serial, s.Records, s.Digest = z.Zone.Serial(), z.Zone.Records(), fmt.Sprintf("%x", digest)
	}
	if err := unkept[z.Spec.Name]; err != nil {
		s.Warnings = append(s.Warnings, api.Problem{Text: err.Error()})
	}
	if z.served != nil {
		for _, name := range z.served.Hidden() {
			s.Warnings = append(s.Warnings, api.Problem{File: z.Spec.File, Text: name + " is steered: its static A and AAAA records are hidden"})
		}
	}
	if err := errors.Join(z.Err, z.unlaid, z.hinted); err != nil {
		s.Problem = err.Error()
	}
	return s
}

// zoneAlarms tells of zones that are not served from their file.
func (d *deployment) zoneAlarms() []policy.AlarmStatus {
	var all []policy.AlarmStatus
	for i := range d.zones {
		z := &d.zones[i]
		if z.Err == nil && z.unlaid == nil && z.hinted == nil {
			continue
		}
		a := policy.AlarmStatus{Cause: "zone/" + z.Spec.Name, Since: z.since, Way: "mend " + z.Spec.File + ", then pharos zone reload " + z.Spec.Name}
		switch {
		case z.Zone == nil:
			a.Text = fmt.Sprintf("%s answers SERVFAIL: %v", z.Spec.Name, z.Err)
		case z.unlaid != nil:
			a.Text = fmt.Sprintf("names in %s are not steered: %v", z.Spec.Name, z.unlaid)
		case z.hinted != nil:
			a.Text = z.hinted.Error()
		case z.source() == "rollback":
			a.Text = fmt.Sprintf("%s is served from an earlier version (serial %d): %v", z.Spec.Name, z.Zone.Serial(), z.Err)
		default:
			a.Text = fmt.Sprintf("%s is served from its last good version (serial %d): %v", z.Spec.Name, z.Zone.Serial(), z.Err)
		}
		all = append(all, a)
	}
	return all
}

// problems puts an error into the API's words, with places where it has them.
func problems(err error) []api.Problem {
	var (
		cfg config.Errors
		zps zones.Problems
	)
	switch {
	case errors.As(err, &cfg):
		return configProblems(cfg)
	case errors.As(err, &zps):
		return zoneProblems(zps)
	}
	return []api.Problem{{Text: err.Error()}}
}

// zoneFaults is why a zone's file is not taken; each names the file.
func zoneFaults(spec zones.Spec, err error) []api.Problem {
	all := problems(err)
	for i := range all {
		all[i].File = cmp.Or(all[i].File, spec.File)
	}
	return all
}

func configProblems[P ~[]config.Problem](ps P) []api.Problem {
	var all []api.Problem
	for _, p := range ps {
		all = append(all, api.Problem{File: p.File, Line: p.Line, Column: p.Column, Text: p.Text})
	}
	return all
}

func zoneProblems(ps []zones.Problem) []api.Problem {
	var all []api.Problem
	for _, p := range ps {
		all = append(all, api.Problem{File: p.File, Line: p.Line, Text: p.Text})
	}
	return all
}
