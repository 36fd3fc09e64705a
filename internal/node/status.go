package node

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/scloudstack/pharos/cluster"
	"github.com/scloudstack/pharos/internal/api"
	"github.com/scloudstack/pharos/policy"
	"github.com/scloudstack/pharos/probe"
)

// situation is what the node is about at one moment, apart from its decision.
type situation struct {
	running     *deployment
	revision    *policy.Revision
	ready       bool // everything is open
	held        bool // the start is held
	stopping    bool
	confirmBy   time.Time
	failure     *api.ReloadFailure
	wentBack    time.Time // when an unconfirmed configuration was given up; zero: the file is what runs
	apiFault    fault
	identity    fault            // why the node can't prove who it is
	gossipFault fault            // why it hears no other
	keysFault   fault            // why it could not read its gossip keys again
	notes       map[string]fault // what the exchange of entries found, by its alarm's cause
	acks        map[string]ack   // of the node's own alarms, by cause; never changed, only replaced
}

// ack is a person's word that one of the node's own alarms is known. It goes
// with the alarm, and with the process that raised it.
type ack struct {
	by, reason string
	at         time.Time
}

// fault is something that is wrong, and since when; the zero value is nothing.
type fault struct {
	err   error
	since time.Time
}

// set notes what is wrong now; nil is nothing.
func (f *fault) set(err error) {
	if f.err == nil || err == nil {
		f.since = clock()
	}
	f.err = err
}

func (n *Node) situation() situation {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.now
}

// change changes the situation.
func (n *Node) change(f func(s *situation)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f(&n.now)
}

// Version says what is running.
func (n *Node) Version() api.Version { return n.opt.Version }

// Ready tells whether the node does what it is there for. A zone that could not
// be loaded does not make it unready: the others would be lost with it.
func (n *Node) Ready() api.Readiness {
	s := n.situation()
	switch {
	case s.stopping:
		return api.Readiness{Why: "stopping"}
	case !s.ready:
		return api.Readiness{Why: "starting"}
	case s.held:
		return api.Readiness{Why: "held: it answers no steered name; see pharos status"}
	}
	return api.Readiness{Ready: true}
}

// Status is the node at a glance.
func (n *Node) Status(ctx context.Context) (api.Status, error) {
	decision, err := n.decision(ctx)
	if err != nil {
		return api.Status{}, err
	}
	s := n.situation()
	status := api.Status{
		Node:     n.nodeStatus(s),
		Alarms:   n.alarms(s, decision),
		Decision: decision,
		Zones:    s.running.zoneStatus(n.keeper.Unkept(), nil),
	}
	if n.observer != nil {
		status.Observe = n.observer.Status()
	}
	return status, nil
}

func (n *Node) decision(ctx context.Context) (policy.Status, error) {
	return ask(ctx, n.loop, func(s *policy.State, now time.Time) policy.Status { return s.Status(now) })
}

func (n *Node) nodeStatus(s situation) api.NodeStatus {
	set := s.running.settings
	mode := "serve"
	if set.Observe {
		mode = "observe"
	}
	var roles []string
	for _, r := range []struct {
		name string
		is   bool
	}{{"dns", set.Node.Roles.DNS}, {"bgp", set.Node.Roles.BGP}, {"probe", set.Node.Roles.Probe}, {"replicate", set.Node.Roles.Replicate}} {
		if r.is {
			roles = append(roles, r.name)
		}
	}
	status := api.NodeStatus{
		Name: string(set.Node.Name), Site: string(set.Node.Site), Mode: mode, Roles: roles,
		PID: os.Getpid(), Started: n.started, Now: clock(),
		Config: set.Path, Loaded: s.running.loaded, DataDir: set.DataDir,
		Readiness: n.Ready(), Listen: n.Addrs(), ConfirmBy: s.confirmBy, LastReload: s.failure,
	}
	status.Revision = revisionStatus(s.revision)
	return status
}

// revisionStatus names a revision; nil is none.
func revisionStatus(r *policy.Revision) api.RevisionStatus {
	if r == nil {
		return api.RevisionStatus{}
	}
	return api.RevisionStatus{Number: r.Number, Digest: hex.EncodeToString(r.Digest[:]), Made: r.Made}
}

// Addrs are the addresses where DNS is answered; none in mode observe.
func (n *Node) Addrs() []netip.AddrPort {
	if n.dns == nil {
		return []netip.AddrPort{}
	}
	return n.dns.Addrs()
}

// Explain tells why a name answers what it answers.
func (n *Node) Explain(ctx context.Context, q policy.Query) (policy.Explanation, error) {
	type answer struct {
		e   policy.Explanation
		err error
	}
	a, err := ask(ctx, n.loop, func(s *policy.State, now time.Time) answer {
		e, err := s.Explain(q, now)
		return answer{e, err}
	})
	if err != nil {
		return policy.Explanation{}, err
	}
	if a.err != nil {
		return policy.Explanation{}, fmt.Errorf("%w: %w", api.ErrNotFound, a.err)
	}
	return a.e, nil
}

// Alarms are the causes that people should know of, the oldest first.
func (n *Node) Alarms(ctx context.Context) ([]policy.AlarmStatus, error) {
	decision, err := n.decision(ctx)
	if err != nil {
		return nil, err
	}
	return n.alarms(n.situation(), decision), nil
}

// alarms are those of the decision and those of the node itself.
func (n *Node) alarms(s situation, decision policy.Status) []policy.AlarmStatus {
	all := append(n.ownAlarms(s), decision.Alarms...)
	slices.SortStableFunc(all, func(a, b policy.AlarmStatus) int {
		return cmp.Or(a.Since.Compare(b.Since), strings.Compare(a.Cause, b.Cause))
	})
	return all
}

// ownAlarms are what is wrong with the node, not with what it decides about.
func (n *Node) ownAlarms(s situation) []policy.AlarmStatus {
	all := n.diskAlarms()
	all = append(all, s.running.zoneAlarms()...)
	all = append(all, s.configAlarms()...)
	all = append(all, s.clusterAlarms()...)
	if f := s.apiFault; f.err != nil {
		all = append(all, policy.AlarmStatus{
			Cause: "api", Since: f.since,
			Text: "the API can't be opened: " + f.err.Error(), Way: "mend the data folder; the node tries again every few seconds",
		})
	}
	all = append(all, n.probeAlarms()...)
	for i := range all {
		a := &all[i]
		a.Text = brief(a.Text)
		if ack, ok := s.acks[a.Cause]; ok && !ack.at.Before(a.Since) {
			a.Acknowledged, a.AckedBy, a.AckedAt, a.AckReason = true, ack.by, ack.at, ack.reason
		}
	}
	return all
}

// brief is the first line of a text, and how many faults follow it: an alarm is one sentence, also for chat servers and
// syslog. All faults of a zone stand in pharos zone list.
func brief(text string) string {
	first, rest, more := strings.Cut(text, "\n")
	if !more {
		return text
	}
	return fmt.Sprintf("%s (and %d more)", first, 1+strings.Count(rest, "\n"))
}

// noteCause names the alarm of what was found about a node.
func noteCause(kind cluster.NoteKind, node policy.NodeID) string {
	return "entries/" + string(kind) + "/" + string(node)
}

// note has people told of what the exchange of entries found. A cause that was acknowledged
// is told again only when something else is found.
func (n *Node) note(f cluster.Note) {
	cause := noteCause(f.Kind, f.Node)
	n.change(func(s *situation) {
		notes := maps.Clone(s.notes)
		if notes == nil {
			notes = map[string]fault{}
		}
		if old, ok := notes[cause]; !ok || old.err.Error() != f.Text {
			notes[cause] = fault{err: errors.New(f.Text), since: clock()}
		}
		s.notes = notes
	})
}

// clusterAlarms are what is wrong between this node and the others.
func (s *situation) clusterAlarms() []policy.AlarmStatus {
	var all []policy.AlarmStatus
	if f := s.identity; f.err != nil {
		all = append(all, policy.AlarmStatus{
			Cause: "identity", Since: f.since, Text: "this node can't prove who it is: " + f.err.Error(),
			Way: "pharos cluster key show, and nodes." + string(s.running.settings.Node.Name) + ".public_key",
		})
	}
	if f := s.gossipFault; f.err != nil {
		all = append(all, policy.AlarmStatus{
			Cause: "gossip", Since: f.since, Text: "this node hears no other: " + f.err.Error(), Way: "mend it; the node tries again every few seconds",
		})
	}
	if f := s.keysFault; f.err != nil {
		all = append(all, policy.AlarmStatus{
			Cause: "gossip-keys", Since: f.since, Text: "the gossip keys stay as they were, since their file could not be read again: " + f.err.Error(),
			Way: "mend cluster.keys_file, then pharos cluster keys add",
		})
	}
	for cause, f := range s.notes {
		all = append(all, policy.AlarmStatus{Cause: cause, Since: f.since, Text: f.err.Error(), Way: "pharos audit verify, pharos alarm ack " + cause})
	}
	return all
}

func (n *Node) diskAlarms() []policy.AlarmStatus {
	all := []policy.AlarmStatus{}
	d := n.disk.State()
	if err := d.trouble(); err != nil {
		text := "the disk does not write, and orders are refused: "
		if n.opt.Volatile {
			text = "the disk does not write, and orders are kept in memory only: "
		}
		since := d.Since
		if d.Failing == nil {
			since = d.Busy
		}
		all = append(all, policy.AlarmStatus{
			Cause: "disk", Since: since,
			Text: text + err.Error(), Way: "mend the data folder; the node tries again every few seconds",
		})
	}
	if d.Damaged != "" {
		a := policy.AlarmStatus{Cause: "disk-damaged", Since: d.Found, Text: d.Damaged, Way: "pharos override list; give again what is missing"}
		if d.Rebuilt {
			a.Text += "; no order was lost, all was written anew from memory"
			a.Way = "pharos alarm ack disk-damaged"
		}
		all = append(all, a)
	}
	return all
}

// probeAlarms tells of targets that this node sees nothing of by its own fault:
// what it holds of them stays as it was.
func (n *Node) probeAlarms() []policy.AlarmStatus {
	if n.prober == nil {
		return nil
	}
	return blindAlarms(n.prober.Blind())
}

// namedBlind is how many targets the alarm of those that can't be checked names.
const namedBlind = 3

func blindAlarms(list []probe.Blindness, all bool) []policy.AlarmStatus {
	if len(list) == 0 {
		return nil
	}
	a := policy.AlarmStatus{Cause: "probes", Text: "this host can't make some of its checks"}
	if all {
		a.Text = "this host can make none of its checks"
	}
	var named, ways []string
	for i, b := range list {
		if b.Since.After(a.Since) {
			a.Since = b.Since
		}
		if i < namedBlind {
			named = append(named, b.Target+": "+b.Reason)
		}
		if !slices.Contains(ways, b.Remedy) {
			ways = append(ways, b.Remedy)
		}
	}
	if more := len(list) - namedBlind; more > 0 {
		named = append(named, fmt.Sprintf("and %d more", more))
	}
	a.Text += ", so what is held of their targets stays as it was: " + strings.Join(named, "; ")
	a.Way = strings.Join(ways, "; ")
	return []policy.AlarmStatus{a}
}

func (s *situation) configAlarms() []policy.AlarmStatus {
	var all []policy.AlarmStatus
	if f := s.failure; f != nil {
		text := "the configuration on the disk was refused, what ran before keeps running"
		if len(f.Problems) > 0 {
			text += ": " + f.Problems[0].String()
		}
		all = append(all, policy.AlarmStatus{Cause: "reload", Since: f.At, Text: text, Way: "pharos check, then pharos reload"})
	}
	if !s.confirmBy.IsZero() {
		all = append(all, policy.AlarmStatus{
			Cause: "unconfirmed", Since: s.running.loaded,
			Text: "the configuration goes back at " + s.confirmBy.Format(time.RFC3339) + " unless it is confirmed",
			Way:  "pharos reload confirm",
		})
	}
	if !s.wentBack.IsZero() {
		all = append(all, policy.AlarmStatus{
			Cause: "went-back", Since: s.wentBack,
			Text: "the configuration on the disk was not confirmed: the one before it runs, also after a restart",
			Way:  "pharos check --diff, then pharos reload",
		})
	}
	return all
}
