package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/scloudstack/pharos/internal/api"
)

func (a *app) statusCmd() *cobra.Command {
	var watch bool
	var every time.Duration
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the node at a glance, alarms first",
		Long: `Show alarms, sites, services, standing orders and zones, and the next sensible
command. With --watch the page is drawn again every second; with -o json each
drawing is one JSON document.`,
		Example: `  pharos status
  pharos status --watch
  pharos status -o json | jq '.decision.services[].names[] | {name, answer}'`,
		Args: cobra.NoArgs,
		RunE: a.withNode(func(ctx context.Context, c *api.Client) error {
			if watch {
				return a.watchStatus(ctx, c, every)
			}
			s, err := c.Status(ctx)
			if err != nil {
				return err
			}
			return a.show(s, func(p *page) { p.status(s) })
		}),
	}
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "draw again and again until Ctrl-C")
	durationFlag{value: &every}.add(cmd, "every", time.Second, "how often, with --watch")
	return cmd
}

// watchStatus draws until it is interrupted. A node that goes away is shown
// and waited for: that is when one watches.
func (a *app) watchStatus(ctx context.Context, c *api.Client, every time.Duration) error {
	if every < 100*time.Millisecond {
		return usagef("--every %s: expected 100ms or more", every)
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		s, err := c.Status(ctx)
		if ctx.Err() != nil {
			return nil
		}
		var gone *api.Unreachable
		if err != nil && !errors.As(err, &gone) {
			return err
		}
		if err := a.drawStatus(s, err); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (a *app) drawStatus(s api.Status, gone error) error {
	if a.output == "json" {
		if gone != nil {
			return a.json(map[string]string{"error": gone.Error()})
		}
		return a.json(s)
	}
	p := a.page()
	if a.terminal() {
		fmt.Fprint(p.w, "\x1b[H\x1b[2J")
	}
	if gone != nil {
		p.linef("%s %s", p.paint(red, time.Now().Format(time.TimeOnly)), showLines(a.unreachable(gone)))
		return nil
	}
	p.status(s)
	return nil
}
