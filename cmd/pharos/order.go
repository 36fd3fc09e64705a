package main

import (
	"context"
	"fmt"
	"time"

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
}

func (f *orderFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&f.reason, "reason", "r", "", "`why`, for whoever reads it at night")
	cmd.Flags().BoolVarP(&f.dryRun, "dry-run", "n", false, "show before and after, change nothing")
	cmd.Flags().StringArrayVar(&f.breakGlass, "break-glass", nil, "pass the safety `rule` of this name (role approve; may be given again)")
}

func (f *orderFlags) addFor(cmd *cobra.Command) {
	cmd.Flags().DurationVar(&f.expiry, "for", 0, "ends by itself after this `time`, such as 2h (default: when it is ended)")
}

// order gives an order and prints what it changes.
func (a *app) order(ctx context.Context, f orderFlags, r api.OrderRequest) error {
	r.Reason, r.For, r.DryRun, r.BreakGlass = f.reason, api.Duration(f.expiry), f.dryRun, f.breakGlass
	if f.expiry < 0 {
		return usagef("--for %s: expected a time to come", f.expiry)
	}
	return a.ask(ctx, func(ctx context.Context, c *api.Client) error {
		res, err := c.Order(ctx, r)
		if err != nil {
			return err
		}
		if err := a.show(res, func(p *page) { p.orderResult(r, res) }); err != nil {
			return err
		}
		if res.Partial != "" && !res.DryRun {
			return &partError{res.Partial}
		}
		return nil
	})
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
	for _, w := range res.Preview.Warnings {
		p.linef("%s %s", p.paint(yellow, "warning:"), w)
	}
	switch {
	case res.DryRun:
		p.linef("%s Nothing was changed.", p.paint(bold, "Dry run."))
	case res.Partial != "":
		p.linef("Stored, by %s.", res.Author)
	default:
		p.linef("%s %s, by %s, in revision %d.", p.paint(green, "Done:"), orderWord(r), res.Author, res.Revision)
	}
}

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
