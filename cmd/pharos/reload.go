package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/scloudstack/pharos/internal/api"
)

func (a *app) reloadCmd() *cobra.Command {
	var confirm time.Duration
	cmd := &cobra.Command{
		Use:   "reload",
		Short: "Have the node load its configuration again",
		Long: `This is for the one node that answers: each loads its own files when it is told
to. 'pharos cluster status' names nodes that run another configuration.

The configuration is taken whole or refused, with every fault in its place; what
ran before keeps running. With --confirm the node goes back by itself unless
'pharos reload confirm' follows in time. A reload without --confirm ends a trial
that is running, as confirming does.`,
		Example: `  pharos check --diff && pharos reload
  pharos reload --confirm 5m
  pharos reload confirm`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if confirm < 0 {
				return usagef("--confirm %s: expected a time to come", confirm)
			}
			return a.ask(cmd.Context(), func(ctx context.Context, c *api.Client) error {
				r, err := c.Reload(ctx, api.ReloadRequest{Confirm: api.Duration(confirm)})
				if err != nil {
					return doubtful(err)
				}
				if err := a.show(r, func(p *page) { p.reloaded(r, confirm) }); err != nil {
					return err
				}
				return refusedInPart(r.Zones)
			})
		},
	}
	durationFlag{value: &confirm}.add(cmd, "confirm", 0, "go back after this `time` unless confirmed")
	cmd.AddCommand(a.reloadConfirmCmd())
	return cmd
}

func (a *app) reloadConfirmCmd() *cobra.Command {
	return &cobra.Command{
		Use:     "confirm",
		Short:   "Keep the configuration that was loaded with --confirm",
		Example: "  pharos reload confirm",
		Args:    cobra.NoArgs,
		RunE: a.withNode(func(ctx context.Context, c *api.Client) error {
			r, err := c.Confirm(ctx)
			if err != nil {
				return doubtful(err)
			}
			return a.show(r, func(p *page) { p.linef("%s %s is kept.", p.paint(green, "Confirmed:"), r.Config) })
		}),
	}
}

func (p *page) reloaded(r api.ReloadResult, confirm time.Duration) {
	p.preview(r.Names)
	for _, w := range r.Warnings {
		p.linef("%s %s", p.paint(yellow, "warning:"), w)
	}
	p.linef("%s %s, in revision %d.", p.paint(green, "Loaded:"), r.Config, r.Revision)
	if r.EndsTrial {
		p.linef("%s", p.paint(yellow, "This ends the trial that was running: nothing goes back by itself any more."))
	}
	if len(r.Zones) > 0 {
		p.heading("ZONES NOT SERVED FROM THEIR FILE")
		p.zones(r.Zones)
	}
	if !r.ConfirmBy.IsZero() {
		p.linef("%s", p.paint(yellow, "It goes back at "+r.ConfirmBy.Local().Format(time.TimeOnly)+", in "+length(confirm)+", unless confirmed."))
		p.linef("  → pharos reload confirm")
	}
}

// refusedInPart is for a reload whose configuration was taken and some of
// whose zones were not.
func refusedInPart(zones []api.Zone) error {
	if err := refusedZones(zones); err != nil {
		return &partError{"the configuration is loaded; " + err.Error()}
	}
	return nil
}
