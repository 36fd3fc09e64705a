package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/scloudstack/pharos/internal/api"
)

func (a *app) zoneCmd() *cobra.Command {
	return groupOf(&cobra.Command{
		Use:   "zone",
		Short: "List, dump, compare, reload and roll back zones",
		Example: `  pharos zone list
  pharos zone diff shop.example
  pharos zone reload shop.example --accept`,
	}, a.zoneListCmd(), a.zoneDumpCmd(), a.zoneDiffCmd(), a.zoneReloadCmd(), a.zoneRollbackCmd())
}

func (a *app) zoneListCmd() *cobra.Command {
	var versions bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the zones and what is served of each",
		Example: `  pharos zone list
  pharos zone list --versions`,
		Args: cobra.NoArgs,
		RunE: a.withNode(func(ctx context.Context, c *api.Client) error {
			zones, err := c.Zones(ctx)
			if err != nil {
				return err
			}
			return a.show(zones, func(p *page) {
				if len(zones) == 0 {
					p.linef("No zones.")
				}
				p.zones(zones)
				if versions {
					p.zoneVersions(zones)
				}
			})
		}),
	}
	cmd.Flags().BoolVar(&versions, "versions", false, "also what can be rolled back to")
	return cmd
}

func (a *app) zoneDumpCmd() *cobra.Command {
	return &cobra.Command{
		Use:               "dump ZONE",
		Short:             "Print a zone, as it is served, as a master file",
		Example:           "  pharos zone dump shop.example > shop.example.zone",
		Args:              exactly("ZONE"),
		ValidArgsFunction: a.complete(zoneNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.ask(cmd.Context(), func(ctx context.Context, c *api.Client) error {
				if a.output != "json" {
					return c.ZoneDump(ctx, args[0], a.out)
				}
				var text strings.Builder
				if err := c.ZoneDump(ctx, args[0], &text); err != nil {
					return err
				}
				return a.json(map[string]string{"name": api.Canonical(args[0]), "master_file": text.String()})
			})
		},
	}
}

func (a *app) zoneDiffCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "diff ZONE",
		Short: "Show what a zone's file would change",
		Example: `  pharos zone diff shop.example
  pharos zone diff shop.example -o json`,
		Args:              exactly("ZONE"),
		ValidArgsFunction: a.complete(zoneNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.ask(cmd.Context(), func(ctx context.Context, c *api.Client) error {
				d, err := c.ZoneDiff(ctx, args[0])
				if err != nil {
					return err
				}
				return a.show(d, func(p *page) { p.zoneDiff(d) })
			})
		},
	}
}

func (a *app) zoneReloadCmd() *cobra.Command {
	var accept bool
	cmd := &cobra.Command{
		Use:   "reload [ZONE]",
		Short: "Read the file of a zone, or of all, again",
		Long: `A file is taken whole or refused; what was served before goes on. A zone that
shrinks by more than 20 % or whose serial goes back is taken only with --accept.`,
		Example: `  pharos zone reload
  pharos zone reload shop.example --accept`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: a.complete(zoneNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			name := strings.Join(args, "")
			if accept && name == "" {
				return usagef("--accept is for one zone: name it")
			}
			return a.ask(cmd.Context(), func(ctx context.Context, c *api.Client) error {
				zones, err := c.ZoneReload(ctx, name, accept)
				if err != nil {
					return doubtful(err)
				}
				if err := a.show(zones, func(p *page) { p.zones(zones) }); err != nil {
					return err
				}
				return refusedZones(zones)
			})
		},
	}
	cmd.Flags().BoolVar(&accept, "accept", false, "take a zone that shrank by more than 20 % or whose serial went back")
	return cmd
}

func (a *app) zoneRollbackCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "rollback ZONE",
		Short: "Serve the version before",
		Long: `Serves the version that was served before the one that is served now; again, and
it goes one further back, as far as versions are kept. The file is left alone:
mend it before the next reload.`,
		Example:           "  pharos zone rollback shop.example",
		Args:              exactly("ZONE"),
		ValidArgsFunction: a.complete(zoneNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.ask(cmd.Context(), func(ctx context.Context, c *api.Client) error {
				z, err := c.ZoneRollback(ctx, args[0])
				if err != nil {
					return doubtful(err)
				}
				return a.show(z, func(p *page) { p.zones([]api.Zone{z}) })
			})
		},
	}
}

// refusedZones is the error of a reload that some of the files did not pass.
func refusedZones(zones []api.Zone) error {
	var refused []string
	for _, z := range zones {
		if z.Problem != "" {
			refused = append(refused, z.Name)
		}
	}
	switch {
	case len(refused) == 0:
		return nil
	case len(refused) == len(zones):
		return fmt.Errorf("refused: %s; what was served before goes on", strings.Join(refused, " "))
	default:
		return &partError{"refused: " + strings.Join(refused, " ") + "; the others were read"}
	}
}

func (p *page) zones(zones []api.Zone) {
	t := &table{indent: "  "}
	t.head("ZONE", "SERIAL", "RECORDS", "FROM", "FILE")
	for _, z := range zones {
		from := cs(green, z.Source)
		switch z.Source {
		case "file":
		case "none":
			from = cs(red, "none: SERVFAIL")
		default:
			from = cs(yellow, z.Source)
		}
		t.add(c(z.Name), cf("%d", z.Serial), cf("%d", z.Records), from, c(z.File))
	}
	p.table(t)
	for _, z := range zones {
		if z.Problem != "" {
			first, rest, more := strings.Cut(z.Problem, "\n")
			p.linef("  %s %s", p.paint(red, z.Name), first)
			for more {
				first, rest, more = strings.Cut(rest, "\n")
				p.linef("    %s", first)
			}
		}
		for _, w := range z.Warnings {
			p.linef("  %s %s", p.paint(yellow, "warning:"), w)
		}
	}
}

func (p *page) zoneVersions(zones []api.Zone) {
	p.heading("VERSIONS")
	t := &table{indent: "  "}
	t.head("ZONE", "SERIAL", "RECORDS", "TAKEN", "")
	for _, z := range zones {
		for _, v := range z.Versions {
			now := c("")
			if v.Serving {
				now = cs(green, "served")
			}
			t.add(c(z.Name), cf("%d", v.Serial), cf("%d", v.Records), c(v.Taken.Local().Format(time.DateTime)), now)
		}
	}
	p.table(t)
}

func (p *page) zoneDiff(d api.ZoneDiff) {
	if !d.Unserved && d.AddedCount+d.RemovedCount == 0 {
		p.linef("%s The file says what is served (serial %d).", d.Name, d.From)
	} else {
		p.linef("%s %s", p.paint(bold, d.Name), zoneDiffWord(d))
	}
	side := func(s style, sign string, records []string, all int) {
		for _, r := range records {
			p.linef("%s", p.paint(s, sign+" "+r))
		}
		if more := all - len(records); more > 0 {
			p.linef("%s", p.paint(s, fmt.Sprintf("%s and %d more", sign, more)))
		}
	}
	side(red, "-", d.Removed, d.RemovedCount)
	side(green, "+", d.Added, d.AddedCount)
	for _, n := range d.Notes {
		p.linef("%s %s", p.paint(yellow, "warning:"), n)
	}
	if d.Refused != "" {
		p.linef("%s %s", p.paint(yellow, "A reload would not take it:"), d.Refused)
		p.linef("  → pharos zone reload %s --accept", d.Name)
	}
}

// zoneDiffWord is what changes of a zone, in a few words.
func zoneDiffWord(d api.ZoneDiff) string {
	if d.Unserved {
		return fmt.Sprintf("nothing is served (SERVFAIL) → serial %d: %s", d.To, count(d.AddedCount, "record"))
	}
	return fmt.Sprintf("serial %d → %d: %s added, %d removed", d.From, d.To, count(d.AddedCount, "record"), d.RemovedCount)
}
