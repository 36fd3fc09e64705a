package node

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/scloudstack/pharos/cluster"
	"github.com/scloudstack/pharos/internal/alert"
	"github.com/scloudstack/pharos/internal/api"
	"github.com/scloudstack/pharos/internal/config"
	"github.com/scloudstack/pharos/policy"
)

// auditEvery is how often what was folded is looked at.
const auditEvery = time.Second

func (l *loop) openAudit(chain string) error {
	settings := l.deployed.settings
	clock := &cluster.Clock{Node: settings.Node.Name}
	var held []policy.Entry
	for s := range l.replica.Entries() {
		if s.Entry.Kind == policy.KindAudit {
			held = append(held, s.Entry)
		}
	}
	var err error
	l.audit, err = cluster.NewAudit(cluster.AuditConfig{
		Chain: chain, Clock: clock, Records: settings.Audit.Most, Age: settings.Audit.Keep,
	}, held)
	return err
}

// record adds to the node's audit chain.
func (l *loop) record(list ...cluster.Record) {
	now := clock()
	var entries []policy.Entry
	for _, r := range list {
		entries = append(entries, l.audit.Add(r, now)...)
	}
	l.writeAudit(entries)
}

// record adds what was done to this node alone, by people or by itself.
func (n *Node) record(ctx context.Context, list ...cluster.Record) {
	_, _ = askLoop(context.WithoutCancel(ctx), n.loop, func(l *loop, _ time.Time) struct{} { // an error: the node stops
		l.record(list...)
		return struct{}{}
	})
}

// deployRecords are a configuration or zones that were loaded, as the audit has them. names are the answers that the
// configuration changed; it is one only where the settings are others.
func deployRecords(who, why string, before, next *deployment, names []policy.PreviewName) []cluster.Record {
	var list []cluster.Record
	if next.settings != before.settings {
		r := cluster.Record{Who: who, What: "configuration", Subject: next.settings.Path, Why: why}
		r.Before, r.After = changedAnswers(names)
		list = append(list, r)
	}
	var subject, from, to []string
	for i := range next.zones {
		z := &next.zones[i]
		was := before.zone(z.Spec.Name)
		if was == nil {
			was = &zoneState{}
		}
		if z.Zone == was.Zone || z.Zone != nil && was.Zone != nil && z.Zone.Digest() == was.Zone.Digest() {
			continue
		}
		subject = append(subject, z.Spec.Name)
		from, to = append(from, was.content()), append(to, z.content())
	}
	if len(subject) > 0 {
		list = append(list, cluster.Record{
			Who: who, What: "zone", Subject: strings.Join(subject, ", "), Before: strings.Join(from, "; "), After: strings.Join(to, "; "), Why: why,
		})
	}
	return list
}

// writeAudit has records kept and sent, soon: they go out once they are on the disk, so that after a
// crash no peer holds more of a node's chain than the node itself.
func (l *loop) writeAudit(entries []policy.Entry) {
	if len(entries) == 0 {
		return
	}
	l.syslog(entries)
	if len(l.unwritten) == 0 {
		l.flush.Reset(gatherFor)
	}
	l.unwritten = append(l.unwritten, entries...)
}

// flushAudit writes what was recorded since it last did. kept, where given, is signalled when
// it is on the disk or can't be; what can't be waits for the disk to write again.
func (l *loop) flushAudit(kept chan struct{}) {
	l.flush.Stop()
	sealed, err := l.replica.Seal(l.unwritten)
	l.unwritten = nil
	if err != nil {
		l.log.Error("the audit can't be written", "error", err)
		return
	}
	l.disk.Store(sealed, func(err error) {
		if err != nil { // others may keep it meanwhile
			l.disk.Keep(sealed, nil, nil)
		}
		_ = l.do(context.Background(), publish(sealed)) // the node stops: it is on the disk
		if kept != nil {
			signal(kept)
		}
	})
}

// keepAudit leaves to the disk what is not written when the node stops. Peers get it from there.
func (l *loop) keepAudit() {
	sealed, err := l.replica.Seal(l.unwritten)
	if err != nil {
		l.log.Error("the audit can't be written", "error", err)
		return
	}
	l.disk.Keep(sealed, nil, nil)
}

// publish is a request to send what is on the disk.
type publish []*cluster.Sealed

func (r publish) serve(l *loop, now time.Time) { l.absorb(l.replica.Publish(r, now)) }

// readAudit looks for the sign that this node's folder was set back: peers hold records
// of its chain that it does not.
func (l *loop) readAudit(list []policy.Entry) {
	for _, e := range list {
		if !l.audit.SetBack(e) {
			continue
		}
		chain := cluster.NewChain(l.deployed.settings.Node.Name)
		l.log.Error("the data folder was set back: peers hold later records of its audit", "record", e.Key, "chain", chain)
		l.alert(cluster.Note{
			Kind: cluster.NoteFork, Node: e.Stamp.Node, Key: e.EntryKey(),
			Text: "this node's data folder was set back: its peers hold later records of its audit than it does",
		})
		l.disk.Mark(marks{chain: chain}, nil)
		l.writeAudit(l.audit.Restart(chain, "peers hold "+e.Key+", this node did not", clock()))
		return
	}
}

// recordChanges audits what a step changed of answers, health and alarms.
func (l *loop) recordChanges(list []policy.Change) { l.record(changeRecords(list)...) }

// changeRecords are changes as the audit has them; what another node changed is in the audit of that one.
func changeRecords(list []policy.Change) []cluster.Record {
	records := make([]cluster.Record, 0, len(list))
	for _, c := range list {
		if c.Heard != "" {
			continue
		}
		what, subject, ok := strings.Cut(c.Subject, " ")
		if !ok {
			what, subject = "change", c.Subject
		}
		records = append(records, cluster.Record{Who: "machine", What: what, Subject: subject, Before: c.Before, After: c.After, Why: c.Why})
	}
	return records
}

// auditKinds are the kinds of records: what policy calls a change (recordChanges), what people do, and the audit's own.
var auditKinds = []string{
	"alarm", "audit chain", "audit retention", "configuration", "drain", "node", "order", "order set aside", "override", "service", "target", "vote", "zone",
}

// knownAudit refuses a query for a kind or a node that there is not: a typing error finds nothing, which would read as if
// nothing had been done. What is on record counts as known, whatever wrote it.
func knownAudit(all []cluster.Listed, nodes []config.Node, q api.AuditQuery) error {
	kinds, names := slices.Clone(auditKinds), []string{}
	for _, n := range nodes {
		names = append(names, string(n.Name))
	}
	for _, r := range all {
		node, _, _ := strings.Cut(r.Chain, "/")
		kinds, names = append(kinds, r.What), append(names, node)
	}
	for _, word := range []struct {
		what, asked string
		known       []string
	}{{"kind", q.Kind, kinds}, {"node", string(q.Node), names}} {
		if word.asked == "" || slices.Contains(word.known, word.asked) {
			continue
		}
		slices.Sort(word.known)
		return fmt.Errorf("%w: no %s %q in the audit: expected one of %s", api.ErrInvalid, word.what, word.asked,
			strings.Join(slices.Compact(word.known), ", "))
	}
	return nil
}

// auditPage picks the newest records that are asked for.
func auditPage(all []cluster.Listed, q api.AuditQuery) api.AuditPage {
	page := api.AuditPage{Records: []api.AuditRecord{}}
	for _, r := range slices.Backward(all) {
		node, _, _ := strings.Cut(r.Chain, "/")
		if q.Node != "" && string(q.Node) != node || q.Kind != "" && q.Kind != r.What || r.Time.Before(q.Since) {
			continue
		}
		if len(page.Records) == q.Limit {
			page.More = true
			break
		}
		to := api.AuditRecord{
			Node: policy.NodeID(node), Chain: r.Chain, Number: r.Number, At: r.Time, Kind: r.What, Subject: r.Subject,
			Author: r.Who, Before: r.Before, After: r.After, Why: r.Why, Folded: uint64(r.Count), Hash: r.Hash,
		}
		if r.Who == "machine" {
			to.Author = ""
		}
		if r.Cut != nil {
			to.Folded = uint64(r.Cut.Records)
		}
		page.Records = append(page.Records, to)
	}
	return page
}

// auditVerdict is whether the chains hold.
func auditVerdict(list []cluster.Verdict) api.AuditVerdict {
	v := api.AuditVerdict{Good: true, Chains: []api.AuditChain{}}
	for _, c := range list {
		node, _, _ := strings.Cut(c.Chain, "/")
		to := api.AuditChain{
			Node: policy.NodeID(node), Chain: c.Chain, Records: c.Records, First: c.First, Last: c.Last,
			Oldest: c.From, Newest: c.To, Head: c.Head,
		}
		for _, b := range c.Breaks {
			v.Good = false
			if to.Problem != "" {
				to.Problem += "; "
			}
			to.Problem += fmt.Sprintf("at %d: %s", b.Number, b.Text)
		}
		v.Chains = append(v.Chains, to)
	}
	return v
}

// auditEntries are all records that this node holds.
func (n *Node) auditEntries(ctx context.Context) ([]policy.Entry, error) {
	type held []policy.Entry
	list, err := askLoop(ctx, n.loop, func(l *loop, _ time.Time) held {
		var list held
		for s := range l.replica.Entries() {
			if s.Entry.Kind == policy.KindAudit {
				list = append(list, s.Entry)
			}
		}
		return list
	})
	return list, err
}

// Audit lists what was done, the newest first.
func (n *Node) Audit(ctx context.Context, q api.AuditQuery) (api.AuditPage, error) {
	held, err := n.auditEntries(ctx)
	if err != nil {
		return api.AuditPage{}, err
	}
	all := cluster.Records(held)
	if err := knownAudit(all, n.situation().running.settings.Nodes, q); err != nil {
		return api.AuditPage{}, err
	}
	return auditPage(all, q), nil
}

// VerifyAudit checks the hash chains.
func (n *Node) VerifyAudit(ctx context.Context) (api.AuditVerdict, error) {
	held, err := n.auditEntries(ctx)
	if err != nil {
		return api.AuditVerdict{}, err
	}
	return auditVerdict(cluster.Verify(held)), nil
}

// auditSyslog sends new audit records on to syslog, where the configuration names one.
func (n *Node) auditSyslog(entries []policy.Entry) {
	for _, r := range cluster.Records(entries) {
		text := fmt.Sprintf("%s/%d %s %s %s", r.Chain, r.Number, r.Who, r.What, r.Subject)
		if r.Before != "" || r.After != "" {
			text += ": " + r.Before + " → " + r.After
		}
		if r.Why != "" {
			text += " · " + r.Why
		}
		n.feed.Send(alert.Message{Facility: alert.FacilityLogAudit, Severity: alert.SeverityInfo, Time: r.Time, ID: "audit", Text: text})
	}
}
