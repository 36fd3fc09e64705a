package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/scloudstack/pharos/cluster"
	"github.com/scloudstack/pharos/internal/api"
	"github.com/scloudstack/pharos/policy"
)

// orderWait is how long an order waits for the disk before the person is told.
const orderWait = 5 * time.Second

// Order judges an order and, unless it is a dry run, has it on the disk and obeyed
// before it returns. Orders and deployments take turns, so that each is judged
// by what the one before left. What is deployed is loaded before its turn: an
// order never waits for a large zone, or for a file that can't be read.
func (n *Node) Order(ctx context.Context, o policy.Order, g api.Giving) (api.OrderResult, error) {
	result := api.OrderResult{DryRun: g.DryRun, Author: o.Author}
	if err := o.CheckText(); err != nil {
		return result, fmt.Errorf("%w: %w", api.ErrInvalid, err)
	}
	o.Reason = strings.TrimSpace(o.Reason)
	if o.Kind == policy.KindAck && n.ackOwn(ctx, o, g.DryRun) {
		result.Local = true
		return result, nil
	}
	if g.DryRun {
		var err error
		result.Preview, err = n.judge(ctx, o)
		return result, err
	}
	kept := make(chan struct{}, 1)
	sealed, err := n.take(ctx, o, &result, kept)
	if err != nil {
		return result, err
	}
	inMemory := result.Partial != ""
	n.spread(ctx, g, sealed, &result)
	if inMemory { // as its record is: the disk was waited for
		result.Partial += "; a restart before that " + afterRestart(result.Nodes)
	} else {
		awaitRecord(ctx, kept)
	}
	if n.situation().held && result.Partial == "" {
		result.Partial = "this node is held: it keeps the order and answers no steered name yet (pharos status)"
	}
	n.logOrder(o, result)
	return result, nil
}

// take judges an order, has it on the disk and obeys it, while it has the turn. Other nodes are
// waited for after that, so that the next order is not. kept is signalled when it is on record.
func (n *Node) take(ctx context.Context, o policy.Order, result *api.OrderResult, kept chan struct{}) ([]*cluster.Sealed, error) {
	if err := n.turn.take(ctx); err != nil {
		return nil, err
	}
	defer n.turn.give()
	preview, err := n.judge(ctx, o)
	if err != nil {
		return nil, err
	}
	result.Preview = preview
	sealed, err := n.seal(ctx, preview.Entries)
	if err != nil {
		return nil, err
	}
	record := orderRecord(o, preview)
	// A disk that answers late finds the order obeyed: it stands in the audit once.
	obey := sync.OnceValues(func() (*policy.Revision, error) { return n.obey(context.WithoutCancel(ctx), sealed, record, kept) })
	rev, err := n.storeAndObey(ctx, sealed, obey)
	if gone := ctx.Err(); gone != nil && errors.Is(err, gone) { // nothing is wrong with the disk
		return nil, fmt.Errorf("the order counts if the disk takes it: its answer was not waited for: %w", err)
	}
	if err != nil && n.opt.Volatile && !errors.Is(err, errStopping) {
		result.Partial = fmt.Sprintf("obeyed, but kept in memory only until the disk writes again (%v)", err)
		if rev, err = obey(); err == nil {
			n.disk.Keep(sealed, nil, nil)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", api.ErrDegraded, err)
	}
	result.Revision = rev.Number
	return sealed, nil
}

// afterRestart says what a restart makes of an order that this node has in memory only.
func afterRestart(nodes []api.NodeHolds) string {
	var hold []string
	for _, h := range nodes {
		if h.Holds && !h.Lost {
			hold = append(hold, string(h.Node))
		}
	}
	if len(hold) == 0 {
		return "loses it"
	}
	return "takes it up again from " + strings.Join(hold, ", ")
}

// storeAndObey has the entries obeyed once they are on the disk, and returns the
// revision that does, or why they are not. Where ctx ends first that is the error.
func (n *Node) storeAndObey(ctx context.Context, sealed []*cluster.Sealed, obey func() (*policy.Revision, error)) (*policy.Revision, error) {
	refused := func(what string, err error) error {
		if n.opt.Volatile { // then it is not, see take
			return err
		}
		return fmt.Errorf("%s: %w; mend the disk, or start the node with --volatile to keep orders in memory alone", what, err)
	}
	if err := n.disk.State().hangs(); err != nil {
		return nil, refused("the order was not taken", err)
	}
	type outcome struct {
		rev *policy.Revision
		err error
	}
	done := make(chan outcome, 1)
	n.disk.Store(sealed, func(err error) {
		// On the disk's goroutine, so that the order counts also when the
		// person has gone or was told that the disk hangs.
		var o outcome
		if err != nil {
			o.err = refused("the order was not taken", err)
		} else {
			o.rev, o.err = obey()
		}
		done <- o
	})
	timeout := time.NewTimer(orderWait)
	defer timeout.Stop()
	select {
	case o := <-done:
		return o.rev, o.err
	case <-timeout.C:
		return nil, refused("the order counts only if the disk takes it after all", fmt.Errorf("the disk has not answered for %v", orderWait))
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// awaitRecord waits for the audit's record of an order, so that what was answered is on record
// also after a crash. Where the disk does not take the record the order counts all the same.
func awaitRecord(ctx context.Context, kept <-chan struct{}) {
	limit := time.NewTimer(orderWait)
	defer limit.Stop()
	select {
	case <-kept:
	case <-limit.C:
	case <-ctx.Done():
	}
}

// ackOwn notes that one of the node's own alarms is known, or not any more. It
// returns false where the cause is none of them.
func (n *Node) ackOwn(ctx context.Context, o policy.Order, dryRun bool) bool {
	own := n.ownAlarms(n.situation())
	if !slices.ContainsFunc(own, func(a policy.AlarmStatus) bool { return a.Cause == o.Key }) {
		return false
	}
	if dryRun {
		return true
	}
	n.change(func(s *situation) {
		acks := maps.Clone(s.acks)
		if acks == nil {
			acks = map[string]ack{}
		}
		if o.Clear {
			delete(acks, o.Key)
		} else {
			acks[o.Key] = ack{by: o.Author, reason: o.Reason, at: clock()}
		}
		s.acks = acks
	})
	word := policy.Entry{Kind: o.Kind, Key: o.Key, Deleted: o.Clear}
	n.record(ctx, cluster.Record{Who: o.Author, What: "order", Subject: policy.OrderText([]policy.Entry{word}), Why: o.Reason})
	n.log.Info("alarm acknowledged", "cause", o.Key, "clear", o.Clear, "author", o.Author, "reason", o.Reason)
	return true
}

// judge is the dry run of an order.
func (n *Node) judge(ctx context.Context, o policy.Order) (policy.Preview, error) {
	type verdict struct {
		preview policy.Preview
		err     error
	}
	v, err := ask(ctx, n.loop, func(s *policy.State, now time.Time) verdict {
		p, err := s.Judge(o, now)
		return verdict{p, err}
	})
	if err != nil {
		return v.preview, err
	}
	var refusal *policy.Refusal
	if v.err != nil && !errors.As(v.err, &refusal) {
		v.err = fmt.Errorf("%w: %w", api.ErrInvalid, v.err)
	}
	v.preview.Warnings = append(v.preview.Warnings, n.clockWarnings(o)...)
	return v.preview, v.err
}

// clockWarnings tell who gives an order of clocks that differ from this node's. An expiry is by the
// clock of the node that it is given on.
func (n *Node) clockWarnings(o policy.Order) []string {
	var ahead []string
	for cause := range n.situation().notes {
		if node, is := strings.CutPrefix(cause, noteCause(cluster.NoteSkew, "")); is {
			ahead = append(ahead, node)
		}
	}
	if len(ahead) == 0 {
		return nil
	}
	slices.Sort(ahead)
	text := "what " + strings.Join(ahead, ", ") + " wrote is stamped ahead of this node's clock: is it right?"
	if o.For > 0 {
		text += " Where it is not, the time of this order ends too early for the others: give it on another node"
	}
	return []string{text}
}

// seal signs the entries of an order.
func (n *Node) seal(ctx context.Context, entries []policy.Entry) ([]*cluster.Sealed, error) {
	type signed struct {
		list []*cluster.Sealed
		err  error
	}
	s, err := askLoop(ctx, n.loop, func(l *loop, _ time.Time) signed {
		list, err := l.replica.Seal(entries)
		if err == nil {
			l.step(policy.Promised(entries))
		}
		return signed{list, err}
	})
	return s.list, errors.Join(err, s.err)
}

// obey has the loop follow orders that are stored, and returns what is then served.
func (n *Node) obey(ctx context.Context, sealed []*cluster.Sealed, record cluster.Record, kept chan struct{}) (*policy.Revision, error) {
	r := obey{sealed: sealed, record: record, done: make(chan *policy.Revision, 1), kept: kept}
	if err := n.loop.do(ctx, r); err != nil {
		return nil, err
	}
	return <-r.done, nil
}

// orderRecord is an order as the audit has it.
func orderRecord(o policy.Order, p policy.Preview) cluster.Record {
	r := cluster.Record{Who: o.Author, What: "order", Subject: policy.OrderText(p.Entries), Why: o.Reason}
	for _, rule := range o.BreakGlass {
		r.Why += " (break-glass " + rule + ")"
	}
	r.Before, r.After = changedAnswers(p.Names)
	return r
}

// changedAnswers are the names that answer otherwise, with what they answered before and do after.
func changedAnswers(names []policy.PreviewName) (before, after string) {
	for _, name := range names {
		if name.Changed {
			before += name.Name + " " + name.Before + "; "
			after += name.Name + " " + name.After + "; "
		}
	}
	return strings.TrimSuffix(before, "; "), strings.TrimSuffix(after, "; ")
}

// orderKeys is what an order is about: several sites, or every service.
func orderKeys(o policy.Order, p policy.Preview) string {
	if len(p.Entries) == 0 {
		return o.Key
	}
	keys := make([]string, len(p.Entries))
	for i, e := range p.Entries {
		keys[i] = e.Key
	}
	return strings.Join(keys, ", ")
}

func (n *Node) logOrder(o policy.Order, r api.OrderResult) {
	var changed []string
	for _, name := range r.Preview.Names {
		if name.Changed {
			changed = append(changed, fmt.Sprintf("%s: %s → %s", name.Name, name.Before, name.After))
		}
	}
	n.log.Info("order obeyed", "kind", o.Kind, "key", orderKeys(o, r.Preview), "clear", o.Clear, "author", o.Author, "reason", o.Reason,
		"break_glass", o.BreakGlass, "changes", changed, "revision", r.Revision, "partial", r.Partial)
}

// turn is held by whoever does what only one may do at a time. It is a channel, so that waiting for it ends with a context.
type turn chan struct{}

func newTurn() turn { return make(turn, 1) }

func (t turn) take(ctx context.Context) error {
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: another order, reload, zone load or comparison is under way: %w", api.ErrDegraded, ctx.Err())
	}
}

func (t turn) give() { <-t }
