package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/scloudstack/pharos/internal/api"
	"github.com/scloudstack/pharos/policy"
)

func (a *app) clusterCmd() *cobra.Command {
	return groupOf(&cobra.Command{
		Use:   "cluster",
		Short: "Show the nodes, end a held start, manage keys, rehearse cuts",
		Example: `  pharos cluster status
  pharos cluster key new
  pharos cluster keys list`,
	}, a.clusterStatusCmd(), a.clusterRejoinCmd(), a.clusterBlockCmd(), a.clusterUnblockCmd(), a.keyCmd(), a.keysCmd())
}

func (a *app) clusterStatusCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show who is heard, votes, is held, or differs",
		Example: `  pharos cluster status
  pharos cluster status -o json | jq '.members[] | select(.state != "alive")'`,
		Args: cobra.NoArgs,
		RunE: a.withNode(func(ctx context.Context, c *api.Client) error {
			s, err := c.Cluster(ctx)
			if err != nil {
				return err
			}
			return a.show(s, func(p *page) { p.cluster(s) })
		}),
	}
}

func (a *app) clusterRejoinCmd() *cobra.Command {
	var order orderFlags
	var alone bool
	cmd := &cobra.Command{
		Use:   "rejoin --alone --reason WHY",
		Short: "Have a held node serve although it has not heard from the others",
		Long: `A node that starts after a long stop is held: it serves no steered name until it
has heard what happened meanwhile. This ends the wait. If others failed over
meanwhile and can't be heard, the node serves the old answer beside theirs: ask
there first. Needs the role approve.`,
		Example: `  pharos cluster rejoin --alone --reason "blackout of all sites; the others have no power"`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !alone {
				return usagef("expected --alone: the node goes on without knowing what the others did")
			}
			if err := needReason(order); err != nil {
				return err
			}
			if err := order.check(); err != nil {
				return err
			}
			return a.ask(cmd.Context(), func(ctx context.Context, c *api.Client) error {
				s, err := c.Status(ctx)
				if err != nil {
					return err
				}
				return a.give(ctx, c, order, api.OrderRequest{Kind: policy.KindRejoin, Key: s.Node.Name})
			})
		},
	}
	order.add(cmd)
	cmd.Flags().BoolVar(&alone, "alone", false, "without knowing what the others did meanwhile")
	return cmd
}

func (a *app) clusterBlockCmd() *cobra.Command {
	var order orderFlags
	cmd := &cobra.Command{
		Use:   "block SITE --for TIME --reason WHY",
		Short: "Rehearse a cut: the node hears nothing of a site for a while",
		Long: `The node drops the gossip of the site's nodes and its own probes of the site's
targets, as if the line were cut. Only where the configuration has
cluster.drills: true; it always ends by itself, is audited, and is shown by
'pharos status'. Give it on both sides for a cut in both directions. Needs the
role approve.`,
		Example:           `  pharos cluster block city-b --for 5m --reason "drill of the DWDM cut"`,
		Args:              exactly("SITE"),
		ValidArgsFunction: a.complete(sites),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := needReason(order); err != nil {
				return err
			}
			if order.expiry == 0 {
				return usagef("a block always ends by itself: say after how long, such as --for 5m")
			}
			return a.order(cmd.Context(), order, api.OrderRequest{Kind: policy.KindBlock, Key: args[0]})
		},
	}
	order.add(cmd)
	order.addFor(cmd, fmt.Sprintf("required, at most %.0fh", policy.MaxBlock.Hours()))
	return cmd
}

func (a *app) clusterUnblockCmd() *cobra.Command {
	var order orderFlags
	cmd := &cobra.Command{
		Use:               "unblock SITE",
		Short:             "End a rehearsed cut before its time",
		Example:           "  pharos cluster unblock city-b",
		Args:              exactly("SITE"),
		ValidArgsFunction: a.complete(blockedSites),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.order(cmd.Context(), order, api.OrderRequest{Kind: policy.KindBlock, Key: args[0], Clear: true})
		},
	}
	order.add(cmd)
	return cmd
}

func blockedSites(s api.Status) (words []string) {
	for _, b := range s.Decision.Blocks {
		if string(b.Node) == s.Node.Name {
			words = append(words, string(b.Site))
		}
	}
	return words
}

// cluster is the whole page of cluster status.
func (p *page) cluster(s api.ClusterStatus) {
	p.linef("%s · as %s knows it", p.paint(bold, "cluster "+s.Name), s.Node)
	p.majority(s.Majority)
	if s.Contact != "" {
		p.linef("%s", s.Contact)
	}
	p.electorate(s)
	p.members(s.Members, s.Now)
	p.drills(s.Blocks, s.Now)
	p.conflicts(s)
	if len(s.Entries) > 0 || s.Parked > 0 {
		p.heading("ENTRIES")
		t := &table{indent: "  "}
		for _, kind := range sortedKinds(s.Entries) {
			t.add(c(string(kind)), cf("%d", s.Entries[kind]))
		}
		if s.Parked > 0 {
			t.add(cs(yellow, "parked"), cf("%d wait until the configuration knows who signed them", s.Parked))
		}
		p.table(t)
	}
	p.nextCommands(s.Next)
}

// majority says whether anything can be decided.
func (p *page) majority(m api.Majority) {
	verb := "speak"
	if m.Have == 1 {
		verb = "speaks"
	}
	text := fmt.Sprintf("%d of %s %s, %d needed: ", m.Have, count(m.Of, "site"), verb, m.Need)
	switch {
	case m.Margin < 0:
		p.linef("%s%s", text, p.paint(red, "nothing can be decided"))
	case m.Of == 1:
		p.linef("%s%s", text, p.paint(green, "it decides alone"))
	case m.Margin == 0:
		p.linef("%s%s", text, p.paint(yellow, "one more silent site, and nothing can be decided"))
	default:
		p.linef("%s%s", text, p.paint(green, count(m.Margin, "more site")+" may fall silent"))
	}
}

func (p *page) electorate(s api.ClusterStatus) {
	p.heading("ELECTORATE")
	t := &table{indent: "  "}
	for _, site := range s.Electorate {
		voice := cs(green, "speaks")
		switch {
		case site.Lost:
			voice = cs(dim, "declared lost, does not count")
		case !site.Heard:
			voice = cs(red, "silent"+quoted(" for ", since(s.Now, site.Silent)))
		case site.Abstains:
			voice = cs(yellow, "abstains: its nodes suspect themselves")
		}
		t.add(c(string(site.Site)), voice)
	}
	p.table(t)
}

// members lists every node with what is to be known of it.
func (p *page) members(all []api.Member, now time.Time) {
	p.heading("NODES")
	t := &table{indent: "  "}
	t.head("NODE", "SITE", "STATE", "REVISION", "")
	for _, m := range all {
		revision := c("")
		if m.Revision > 0 {
			revision = cf("%d (%s)", m.Revision, short(m.Digest))
		}
		t.add(c(string(m.Node)), c(string(m.Site)), memberState(m), revision, c(memberNotes(m)))
	}
	p.table(t)
}

func memberState(m api.Member) cell {
	switch {
	case m.Self:
		return cs(green, "this node")
	case m.State == api.Alive:
		return cs(green, "alive")
	case m.State == api.Silent:
		return cs(red, "silent for "+length(m.Age))
	}
	return cs(red, string(m.State))
}

func memberNotes(m api.Member) string {
	var notes []string
	note := func(is bool, text string) {
		if is {
			notes = append(notes, text)
		}
	}
	note(m.Lost, "its site is declared lost")
	if m.State == api.Alive {
		note(m.Held, "held: answers no steered name")
		note(m.Suspect, "suspects itself, abstains")
		note(m.Probes && !m.Decides && !m.Held && !m.Suspect && !m.Lost, "hears no majority")
		note(!m.SameAnswers, "other answers")
		note(!m.SameConfig, "other configuration")
		note(!m.SameZones, "other zones")
	}
	if m.Offset != nil && *m.Offset != 0 {
		notes = append(notes, "clock "+signed(*m.Offset))
	}
	note(m.Problem != "", m.Problem)
	return strings.Join(notes, " · ")
}

// signed is a difference of clocks: "+1h", "-20ms".
func signed(d api.Duration) string {
	if d > 0 {
		return "+" + d.String()
	}
	return d.String()
}

// drills lists the faults on purpose.
func (p *page) drills(all []policy.BlockStatus, now time.Time) {
	if len(all) > 0 {
		p.heading("DRILLS")
	}
	for _, b := range all {
		if b.Off {
			p.linef("  %s hears %s: cluster.drills is false (%s left of the drill, by %s: %s)", p.paint(yellow, string(b.Node)), b.Site, length(b.Expires.Sub(now)), b.Author, b.Reason)
			continue
		}
		p.linef("  %s does not hear %s for %s more, by %s: %s", p.paint(yellow, string(b.Node)), b.Site, length(b.Expires.Sub(now)), b.Author, b.Reason)
	}
}

// conflicts lists orders that met; status has them among its alarms.
func (p *page) conflicts(s api.ClusterStatus) {
	if len(s.Conflicts) > 0 {
		p.heading("CONFLICTS")
	}
	for _, x := range s.Conflicts {
		p.linef("  %s  %s (for %s)", p.paint(yellow, x.Cause), x.Text, since(s.Now, x.Since))
		p.linef("    → pharos alarm ack %s", x.Cause)
	}
}
