package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/scloudstack/pharos/internal/api"
	"github.com/scloudstack/pharos/policy"
)

// orderFlags are what every order may be given.
type orderFlags struct {
	reason     string
	expiry     time.Duration
	dryRun     bool
	breakGlass []string
	wait       string
	waitFor    time.Duration
}

func (f *orderFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&f.reason, "reason", "r", "", "`why`, for whoever reads it at night")
	cmd.Flags().BoolVarP(&f.dryRun, "dry-run", "n", false, "show before and after, change nothing")
	cmd.Flags().StringArrayVar(&f.breakGlass, "break-glass", nil, "pass the safety `rule` of this name (role approve; may be given again)")
	f.addWait(cmd)
}

func (f *orderFlags) addWait(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.wait, "wait", string(api.WaitReachable), "`who` must hold it before the command returns: local, reachable or all")
	durationFlag{value: &f.waitFor}.add(cmd, "wait-for", api.DefaultWaitFor, "how long they are waited for")
	_ = cmd.RegisterFlagCompletionFunc("wait", cobra.FixedCompletions(
		[]cobra.Completion{string(api.WaitLocal), string(api.WaitReachable), string(api.WaitAll)}, cobra.ShellCompDirectiveNoFileComp))
}

const untilEnded = "default: when it is ended"

// check refuses what can be no order before it is sent.
func (f *orderFlags) check() error {
	reason := utf8.RuneCountInString(f.reason)
	switch {
	case reason > api.MaxReason:
		return usagef("--reason: found %d characters, expected %d at most", reason, api.MaxReason)
	case f.waitFor <= 0 || f.waitFor > api.MaxWaitFor:
		return usagef("--wait-for %s: expected up to %s", f.waitFor, api.MaxWaitFor)
	}
	switch api.Wait(f.wait) {
	case api.WaitLocal, api.WaitReachable, api.WaitAll:
		return nil
	}
	return usagef("--wait %q: expected local, reachable or all", f.wait)
}

// addFor takes how long an order lasts; unsaid is what follows where it is not given.
func (f *orderFlags) addFor(cmd *cobra.Command, unsaid string) {
	durationFlag{value: &f.expiry, least: time.Second}.add(cmd, "for", 0, "ends by itself after this `time`, such as 2h ("+unsaid+")")
}

// order gives an order and prints what it changes.
func (a *app) order(ctx context.Context, f orderFlags, r api.OrderRequest) error {
	if err := f.check(); err != nil {
		return err
	}
	return a.ask(ctx, func(ctx context.Context, c *api.Client) error { return a.give(ctx, c, f, r) })
}

// give is order, with a client.
func (a *app) give(ctx context.Context, c *api.Client, f orderFlags, r api.OrderRequest) error {
	r.Reason, r.For, r.DryRun, r.BreakGlass = f.reason, api.Duration(f.expiry), f.dryRun, f.breakGlass
	r.Wait, r.WaitFor = api.Wait(f.wait), api.Duration(f.waitFor)
	res, err := c.Order(ctx, r)
	if err != nil {
		if r.DryRun {
			return err
		}
		return doubtful(err)
	}
	if err := a.show(res, func(p *page) { p.orderResult(r, res) }); err != nil {
		return err
	}
	if res.Partial != "" && !res.DryRun {
		return &partError{res.Partial}
	}
	return nil
}

// needReason refuses an order without one before it is sent.
func needReason(f orderFlags) error {
	if f.reason == "" {
		return usagef("an order needs a reason: --reason \"INC-7: disks of city-a\"")
	}
	return nil
}

func (p *page) orderResult(r api.OrderRequest, res api.OrderResult) {
	p.preview(res.Preview.Names)
	if res.Preview.Cuts != "" {
		p.linef("Cuts off %s.", res.Preview.Cuts)
	}
	for i, w := range res.Preview.Warnings {
		if !slices.Contains(res.Preview.Warnings[:i], w) { // an order of several parts may say it of each
			p.linef("%s %s", p.paint(yellow, "warning:"), w)
		}
	}
	switch {
	case res.DryRun:
		p.linef("%s Nothing was changed.", p.paint(bold, "Dry run."))
	case res.Local:
		until := " and until it restarts"
		if r.Clear {
			until = ""
		}
		p.linef("%s %s, by %s, on this node alone%s: the alarm is its own.", p.paint(green, "Done:"), orderWord(r), res.Author, until)
	case res.Revision == 0:
		p.linef("Stored, by %s.", res.Author)
	default:
		p.linef("%s %s, by %s, in revision %d.", p.paint(green, "Done:"), orderWord(r), res.Author, res.Revision)
	}
	if r.Kind == policy.KindAck && !r.Clear && !res.DryRun && strings.HasPrefix(r.Key, "conflict/") {
		p.linef("Both orders stay in the audit: pharos audit list --kind order")
	}
	p.holders(res.Nodes)
}

// holders prints who holds an order; a node that is alone needs no table.
func (p *page) holders(nodes []api.NodeHolds) {
	if len(nodes) < 2 {
		return
	}
	t := &table{indent: "  "}
	t.head("NODE", "SITE", "HOLDS IT", "REVISION", "")
	for _, n := range nodes {
		holds, revision := cs(green, "yes"), c("")
		switch {
		case n.Holds:
		case n.Lost:
			holds = cs(dim, "no, its site is lost")
		default:
			holds = cs(red, "no")
		}
		if n.Revision > 0 {
			revision = cf("%d (%s)", n.Revision, short(n.Digest))
		}
		t.add(c(string(n.Node)), c(string(n.Site)), holds, revision, c(n.Note))
	}
	p.table(t)
}

// short is the beginning of a digest.
func short(digest string) string { return digest[:min(8, len(digest))] }

// maxUnchanged is how many names that an order leaves alone are listed.
const maxUnchanged = 10

// preview prints before → after for each name, those that change first.
func (p *page) preview(names []policy.PreviewName) {
	t := &table{}
	unchanged := 0
	for _, n := range names {
		if n.Changed {
			t.add(cs(bold, n.Name), c(n.Before), cs(yellow, "→"), c(n.After))
		} else {
			unchanged++
		}
	}
	for _, n := range names {
		if !n.Changed && unchanged <= maxUnchanged {
			t.add(c(n.Name), c(n.Before), cs(dim, "="), cs(dim, "unchanged"))
		}
	}
	p.table(t)
	if unchanged > maxUnchanged {
		p.linef("%s", p.paint(dim, fmt.Sprintf("%s unchanged", count(unchanged, "name"))))
	}
}

// orderWord is an order in a few words.
func orderWord(r api.OrderRequest) string {
	switch {
	case r.Kind == policy.KindSiteLost && r.Clear:
		return "site " + r.Key + " readmitted"
	case r.Kind == policy.KindSiteLost:
		return "declared lost: " + strings.Join(append([]string{r.Key}, r.Also...), ", ")
	case r.Kind == policy.KindActiveMetro && r.Key == "all":
		return "failover of all services to metro " + string(r.Metro)
	case r.Kind == policy.KindActiveMetro:
		return "failover of " + strings.TrimPrefix(r.Key, "service/") + " to metro " + string(r.Metro)
	case r.Kind == policy.KindRejoin:
		return "held start of " + r.Key + " ended"
	case r.Kind == policy.KindBlock && r.Clear:
		return "site " + r.Key + " is heard again"
	case r.Kind == policy.KindBlock:
		return fmt.Sprintf("site %s is not heard for %s", r.Key, r.For)
	case r.Clear && r.Kind == policy.KindAck:
		return "alarm " + r.Key + " no longer acknowledged"
	case r.Clear && r.Kind == policy.KindDrain:
		return "undrain of " + r.Key
	case r.Clear:
		return string(r.Kind) + " of " + r.Key + " cleared"
	case r.Kind == policy.KindGate && r.GateOpen:
		return "gate " + r.Key + " opened"
	case r.Kind == policy.KindGate:
		return "gate " + r.Key + " closed"
	case r.Kind == policy.KindAck:
		return "alarm " + r.Key + " acknowledged"
	default:
		return string(r.Kind) + " of " + r.Key
	}
}
