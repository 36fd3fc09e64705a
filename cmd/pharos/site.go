package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/scloudstack/pharos/internal/api"
	"github.com/scloudstack/pharos/policy"
)

func (a *app) siteCmd() *cobra.Command {
	return groupOf(&cobra.Command{
		Use:   "site",
		Short: "List sites, declare them lost, and readmit them",
		Example: `  pharos site list
  pharos site lost city-a city-b --reason "flood: both centres are without power" --dry-run
  pharos site readmit city-a --reason "power is back, data was compared"`,
	}, a.siteListCmd(), a.siteLostCmd(), a.siteReadmitCmd())
}

func (a *app) siteListCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the sites and their nodes",
		Example: `  pharos site list
  pharos site list -o json | jq '.[] | select(.lost)'`,
		Args: cobra.NoArgs,
		RunE: a.withNode(func(ctx context.Context, c *api.Client) error {
			s, err := c.Status(ctx)
			if err != nil {
				return err
			}
			return a.show(s.Decision.Sites, func(p *page) { p.siteList(s) })
		}),
	}
}

func (p *page) siteList(s api.Status) {
	t := &table{}
	t.head("SITE", "METRO", "ROLE", "STATE", "ENDPOINTS", "NODES")
	for _, site := range s.Decision.Sites {
		t.add(c(string(site.Site)), c(string(site.Metro)), c(site.Role.String()), siteState(site, s.Decision.Now),
			endpointsUp(s.Decision.Services, site.Site), c(siteNodes(s, site.Site)))
	}
	p.table(t)
}

// siteNodes names a site's nodes, with what is wrong with each.
func siteNodes(s api.Status, site policy.SiteID) string {
	var words []string
	for _, m := range members(s.Decision) {
		if m.Site != site {
			continue
		}
		word := string(m.Node)
		if state := memberState(m); m.State != api.Alive {
			word += " (" + string(state.text) + ")"
		}
		words = append(words, word)
	}
	return strings.Join(words, ", ")
}

// members are the nodes that a decision knows of.
func members(d policy.Status) []api.Member {
	list := make([]api.Member, 0, len(d.Members))
	for _, m := range d.Members {
		lost := slices.ContainsFunc(d.Sites, func(s policy.SiteStatus) bool { return s.Site == m.Site && s.Lost })
		list = append(list, api.NewMember(m, d.Node, lost))
	}
	return list
}

func (a *app) siteLostCmd() *cobra.Command {
	var order orderFlags
	cmd := &cobra.Command{
		Use:   "lost SITE... --reason WHY",
		Short: "Declare sites lost, so that the others can decide without them",
		Long: `A lost site leaves the electorate: its votes do not count, nobody waits for it,
and its endpoints take no traffic until it is readmitted. Name all lost sites in
one command, so that they are judged together. The site that the node stands in
can't be declared lost there. It warns where less than a majority is in contact:
make sure that the other side is really gone, or is told the same. Needs the role
approve.`,
		Example: `  pharos site lost city-a --reason "INC-9: fire" --dry-run
  pharos site lost city-a city-b --reason "flood: both centres are without power"`,
		ValidArgsFunction: a.completeAll(sites),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("expected SITE...")
			}
			for i, site := range args {
				if slices.Contains(args[:i], site) {
					return usagef("site %s is named twice", site)
				}
			}
			if err := needReason(order); err != nil {
				return err
			}
			return a.order(cmd.Context(), order, api.OrderRequest{Kind: policy.KindSiteLost, Key: args[0], Also: args[1:]})
		},
	}
	order.add(cmd)
	return cmd
}

func (a *app) siteReadmitCmd() *cobra.Command {
	var order orderFlags
	cmd := &cobra.Command{
		Use:   "readmit SITE --reason WHY",
		Short: "Take a lost site back into the electorate",
		Long: `Its nodes set their entries aside, are filled from the others and vote again.
That alone moves no traffic: the return is by hand ('pharos return'). Needs the
role approve.`,
		Example:           `  pharos site readmit city-a --reason "power is back, data was compared"`,
		Args:              exactly("SITE"),
		ValidArgsFunction: a.complete(lostSites),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := needReason(order); err != nil {
				return err
			}
			return a.order(cmd.Context(), order, api.OrderRequest{Kind: policy.KindSiteLost, Key: args[0], Clear: true})
		},
	}
	order.add(cmd)
	return cmd
}

func (a *app) failoverCmd() *cobra.Command {
	var order orderFlags
	var service, to string
	var all bool
	cmd := &cobra.Command{
		Use:   "failover {--service S | --all} --to METRO --reason WHY",
		Short: "Hand a service, or all of them, to another metro",
		Long: `No machine sends traffic to another metro: this is a person's word that it must.
From then on the machine chooses inside that metro, its standby sites included,
and sites that wake up with the old answer do not take it back. It changes
answers only: it fences nothing and promotes no database. It prints until when a
node of the old metro may still start with the old answer. Needs the role approve.`,
		Example: `  pharos failover --all --to far --reason "both centres of the city are lost" --dry-run
  pharos failover --service shop --to far --reason "INC-9: fire"`,
		RunE: func(cmd *cobra.Command, args []string) error {
			key := "service/" + service
			switch {
			case len(args) > 0:
				return usagef("unexpected %q: name services with --service SERVICE or --all", strings.Join(args, " "))
			case all:
				key = "all"
			case service == "":
				return usagef("expected --service SERVICE or --all")
			}
			if to == "" {
				return usagef("expected --to METRO")
			}
			if err := needReason(order); err != nil {
				return err
			}
			return a.order(cmd.Context(), order, api.OrderRequest{Kind: policy.KindActiveMetro, Key: key, Metro: policy.MetroID(to)})
		},
	}
	order.add(cmd)
	cmd.Flags().StringVar(&service, "service", "", "this `service`")
	cmd.Flags().BoolVar(&all, "all", false, "every service that has endpoints in the metro")
	cmd.Flags().StringVar(&to, "to", "", "the `metro` that takes over")
	cmd.MarkFlagsMutuallyExclusive("service", "all")
	a.completeFlag(cmd, "service", services)
	a.completeFlag(cmd, "to", metros)
	return cmd
}

func sites(s api.Status) (words []string) {
	for _, site := range s.Decision.Sites {
		words = append(words, string(site.Site))
	}
	return words
}

func lostSites(s api.Status) (words []string) {
	for _, site := range s.Decision.Sites {
		if site.Lost {
			words = append(words, string(site.Site))
		}
	}
	return words
}

func metros(s api.Status) (words []string) {
	for _, site := range s.Decision.Sites {
		if m := string(site.Metro); !slices.Contains(words, m) {
			words = append(words, m)
		}
	}
	return words
}

// completeFlag offers words of the running node as a flag's value.
func (a *app) completeFlag(cmd *cobra.Command, flag string, words func(api.Status) []string) {
	if err := cmd.RegisterFlagCompletionFunc(flag, a.completeAll(words)); err != nil {
		panic(fmt.Sprintf("completion of --%s: %v", flag, err)) // no such flag: seen by the first test
	}
}
