package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/scloudstack/pharos/internal/api"
	"github.com/scloudstack/pharos/policy"
)

func (a *app) gateCmd() *cobra.Command {
	return groupOf(&cobra.Command{
		Use:   "gate",
		Short: "List, open and close the gates of the safety rules",
		Long: `A closed gate refuses orders, returns and ramps, such as in a change freeze. It
never stops a move from an endpoint that is down to one that is up. Opening and
closing needs the role approve.`,
		Example: `  pharos gate list
  pharos gate close change-freeze --reason "quarter's end"
  pharos gate open change-freeze --reason "quarter's end is over"`,
	}, a.gateListCmd(), a.gateMoveCmd("open", true), a.gateMoveCmd("close", false))
}

func (a *app) gateMoveCmd(verb string, open bool) *cobra.Command {
	var order orderFlags
	cmd := &cobra.Command{
		Use:               verb + " NAME --reason WHY",
		Short:             map[bool]string{true: "Open a gate", false: "Close a gate"}[open],
		Example:           "  pharos gate " + verb + ` change-freeze --reason "quarter's end"`,
		Args:              exactly("NAME"),
		ValidArgsFunction: a.complete(gates),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := needReason(order); err != nil {
				return err
			}
			return a.order(cmd.Context(), order, api.OrderRequest{Kind: policy.KindGate, Key: args[0], GateOpen: open})
		},
	}
	order.add(cmd)
	return cmd
}

func (a *app) gateListCmd() *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List the gates",
		Example: "  pharos gate list",
		Args:    cobra.NoArgs,
		RunE: a.withNode(func(ctx context.Context, c *api.Client) error {
			s, err := c.Status(ctx)
			if err != nil {
				return err
			}
			return a.show(s.Decision.Gates, func(p *page) { p.gates(s.Decision.Gates, s.Node.Now) })
		}),
	}
}

func (p *page) gates(all []policy.GateStatus, now time.Time) {
	if len(all) == 0 {
		p.linef("No gates: the configuration has none under safety.")
		return
	}
	t := &table{}
	t.head("GATE", "STATE", "")
	for _, g := range all {
		t.add(c(g.Gate), gateState(g), gateBy(g, now))
	}
	p.table(t)
}

func gateState(g policy.GateStatus) cell {
	if g.Open {
		return cs(green, "open")
	}
	return cs(yellow, "closed")
}

func gateBy(g policy.GateStatus, now time.Time) cell {
	if g.Moved.IsZero() {
		return cs(dim, "as configured")
	}
	return byWhom(g.Author, g.Reason, g.Moved, time.Time{}, now, false, false)
}
