package main

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/scloudstack/pharos/internal/api"
	"github.com/scloudstack/pharos/internal/config"
	"github.com/scloudstack/pharos/policy"
)

func (a *app) auditCmd() *cobra.Command {
	return groupOf(&cobra.Command{
		Use:   "audit",
		Short: "List who did what, and check that nothing was taken away",
		Long: `Every order and every change of an answer or of health is a record in the hash
chain of the node where it happened, and is kept by all nodes.`,
		Example: `  pharos audit list --kind order --since 24h
  pharos audit verify`,
	}, a.auditListCmd(), a.auditVerifyCmd())
}

func (a *app) auditListCmd() *cobra.Command {
	var of, kind, from string
	var limit int
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List records, the newest last",
		Example: `  pharos audit list
  pharos audit list --kind order --since 24h
  pharos audit list --of edge-a1 --since 2026-11-23T17:00:00Z --limit 1000 -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			since, err := parseSince(from, time.Now())
			if err != nil {
				return err
			}
			if limit < 1 || limit > 10_000 {
				return usagef("--limit %d: expected 1 to 10000", limit)
			}
			q := api.AuditQuery{Node: policy.NodeID(of), Kind: kind, Since: since, Limit: limit}
			return a.ask(cmd.Context(), func(ctx context.Context, c *api.Client) error {
				records, err := c.Audit(ctx, q)
				if err != nil {
					return err
				}
				return a.show(records, func(p *page) { p.audit(records) })
			})
		},
	}
	cmd.Flags().StringVar(&of, "of", "", "records of this `node`")
	cmd.Flags().StringVar(&kind, "kind", "", "records of this `kind`, such as order")
	cmd.Flags().StringVar(&from, "since", "", "records from this `time` on: a length such as 24h, or 2026-11-23T17:00:00Z")
	cmd.Flags().IntVar(&limit, "limit", 100, "the newest so many")
	return cmd
}

// parseSince reads a moment, or how long ago it was.
func parseSince(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if d, err := config.ParseDuration(text); err == nil {
		return now.Add(-d), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return at, usagef("--since %q: expected a length such as 24h, or a time such as 2026-11-23T17:00:00Z", text)
	}
	return at, nil
}

func (p *page) audit(records api.AuditPage) {
	if len(records.Records) == 0 {
		p.linef("No records.")
		return
	}
	if records.More {
		p.linef("%s", p.paint(dim, "There are older ones: --limit shows more."))
	}
	t := &table{}
	t.head("TIME", "NODE", "BY", "KIND", "WHAT")
	for i := len(records.Records) - 1; i >= 0; i-- {
		r := records.Records[i]
		t.add(c(r.At.Local().Format(time.DateTime)), cf("%s/%d", r.Node, r.Number), c(or(r.Author, "machine")), c(r.Kind), c(auditText(r)))
	}
	p.table(t)
}

// auditText is what happened, and why.
func auditText(r api.AuditRecord) string {
	text := r.Subject
	if r.Before != "" || r.After != "" {
		text += ": " + or(r.Before, "nothing") + " → " + or(r.After, "nothing")
	}
	if r.Folded > 0 {
		text += " (stands for " + count(int(r.Folded), "more record") + ")"
	}
	return text + quoted(" · ", r.Why)
}

func (a *app) auditVerifyCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "verify",
		Short: "Check the hash chain of every node",
		Long: `Computes each chain anew from the records that this node holds. The exit code is
1 where one does not hold together. Keep the heads elsewhere: they prove later
that nothing was taken away or altered.`,
		Example: `  pharos audit verify
  pharos audit verify -o json | jq -r '.chains[] | [.node, .last, .head] | @tsv'`,
		Args: cobra.NoArgs,
		RunE: a.withNode(func(ctx context.Context, c *api.Client) error {
			v, err := c.VerifyAudit(ctx)
			if err != nil {
				return err
			}
			if err := a.show(v, func(p *page) { p.auditVerdict(v) }); err != nil {
				return err
			}
			if !v.Good {
				return saidError{}
			}
			return nil
		}),
	}
}

func (p *page) auditVerdict(v api.AuditVerdict) {
	t := &table{}
	t.head("NODE", "CHAIN", "RECORDS", "HEAD", "")
	for _, x := range v.Chains {
		verdict := cs(green, "holds together")
		if x.Problem != "" {
			verdict = cs(red, x.Problem)
		}
		_, chain, _ := strings.Cut(x.Chain, "/") // NODE/RANDOM
		t.add(c(string(x.Node)), c(short(chain)), cf("%d to %d", x.First, x.Last), c(x.Head), verdict)
	}
	p.table(t)
	if v.Good {
		p.linef("%s %s.", p.paint(green, "Good:"), count(len(v.Chains), "chain"))
	} else {
		p.linef("%s", p.paint(red, "Not good: records are missing, altered or twice there."))
	}
}
