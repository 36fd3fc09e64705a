package main

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/scloudstack/pharos/internal/api"
	"github.com/scloudstack/pharos/policy"
)

func (a *app) explainCmd() *cobra.Command {
	var client string
	cmd := &cobra.Command{
		Use:   "explain NAME",
		Short: "Tell why a name answers what it answers",
		Long: `The whole reasoning for a name: the answer, the rule that made it, the candidates
with their health and its evidence, orders, TTL and revision.`,
		Example: `  pharos explain www.shop.example
  pharos explain www.shop.example --client 10.2.0.7`,
		Args:              exactly("NAME"),
		ValidArgsFunction: a.complete(steeredNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			var addr netip.Addr
			if client != "" {
				var err error
				if addr, err = netip.ParseAddr(client); err != nil {
					return usagef("--client %q is no IP address", client)
				}
			}
			return a.ask(cmd.Context(), func(ctx context.Context, c *api.Client) error {
				e, err := c.Explain(ctx, args[0], addr)
				if err != nil {
					return err
				}
				return a.show(e, func(p *page) { p.explanation(e) })
			})
		},
	}
	cmd.Flags().StringVar(&client, "client", "", "as this `address` would be answered")
	return cmd
}

func (p *page) explanation(e policy.Explanation) {
	answer := p.paint(green, e.Answer)
	if e.Fail {
		answer = p.paint(red, e.Answer)
	}
	p.linef("%s → %s", p.paint(bold, e.Name), answer)
	t := &table{indent: "  "}
	t.add(cs(dim, "service"), cf("%s, %s, active metro %s", e.Service, e.Steer, e.Metro))
	if e.Client != "" {
		t.add(cs(dim, "client"), cf("%s, %s", e.Client, or(quoted("group ", string(e.Group)), "of no group")))
	}
	t.add(cs(dim, "rule"), c(e.Rule))
	t.add(cs(dim, "ttl"), cf("%ds, %s", e.TTL, e.TTLWhy))
	t.add(cs(dim, "revision"), cf("%d (%s)", e.Revision, short(e.Digest)))
	if m := e.Move; m != nil {
		text := fmt.Sprintf("%d, %s: %s", m.Number, ago(e.Now, m.Start), m.Cause)
		t.add(cs(dim, "move"), cell{text: p.wrap(text, 12, 12)})
	}
	if r := e.Rests; r != nil {
		t.add(cs(dim, "rests on"), cf("%s %s, written on %s at %s", r.Kind, r.Key, r.Stamp.Node, clock(e.Now, r.Stamp.Time())))
	}
	if o := e.Override; o != nil {
		t.add(cs(dim, "override"), cf("%s: %s", o.Key, overrideWord(o.Override)))
		t.add(c(""), byWhom(o.Author, o.Reason, o.Given, o.Expires, e.Now, o.Suspended, o.Expired))
	}
	p.table(t)
	if e.Suspects != "" {
		p.linef("  %s %s", p.paint(yellow, "this node suspects itself:"), e.Suspects)
	}
	p.heading("WHY")
	for i, step := range e.Steps {
		p.linef("  %d. %s", i+1, p.wrap(step, 5, 5))
	}
	p.candidates(e)
	for _, w := range e.Weights {
		p.linef("  %s gets %d of %d answers", w.Site, w.Weight, w.Of)
	}
	for _, w := range e.Waiting {
		p.linef("  %s waits to return: %s", p.paint(yellow, string(w.Site)), w.Why)
		if w.Command != "" {
			p.linef("    → %s", w.Command)
		}
	}
}

// candidates lists every endpoint with the evidence for its health.
func (p *page) candidates(e policy.Explanation) {
	p.heading("ENDPOINTS")
	for _, ep := range e.Candidates {
		role := cs(green, "candidate")
		if !ep.Candidate {
			role = cs(dim, "no candidate: "+ep.Why)
		}
		mark := shown(" ")
		if ep.InSet {
			mark = p.paint(green, "*")
		}
		h := health(ep.Health)
		p.linef("%s %s in %s · %s%s · %s", mark, p.paint(bold, strings.Join(ep.Addresses, " ")), siteList(ep.Sites),
			p.cell(h), quoted(" for ", since(e.Now, ep.Since)), p.cell(role))
		t := &table{indent: "      "}
		for _, target := range ep.Targets {
			t.add(evidence(target, e.Now)...)
			if votes := voteTable(target); votes != nil {
				p.table(t)
				p.table(votes)
				t = &table{indent: t.indent}
			}
		}
		p.table(t)
	}
}

// evidence is one check and what it last said here.
func evidence(s policy.TargetStatus, now time.Time) []cell {
	seen := ""
	switch {
	case !s.Seen.IsZero():
		seen = ago(now, s.Seen)
	case s.Here:
		seen = "never"
	}
	detail := s.Detail
	if detail == s.Health.String() {
		detail = ""
	}
	return []cell{c(s.Label), health(s.Health), c(detail), cs(dim, seen), c(s.Reason)}
}

// voteTable is what each site and node says of a target; nil where that is this
// node's own word alone.
func voteTable(s policy.TargetStatus) *table {
	if len(s.Votes) == 0 || len(s.Votes) == 1 && len(s.Votes[0].Nodes) == 1 {
		return nil
	}
	t := &table{indent: "        "}
	for _, site := range s.Votes {
		name, voice := c(string(site.Site)), health(site.Voice)
		switch {
		case !site.Counts:
			voice = cs(dim, "does not count")
		case site.Voice == policy.Unknown:
			voice = cs(yellow, "no voice")
		}
		for _, n := range site.Nodes {
			age := "now"
			if n.Age > 0 {
				age = length(n.Age) + " old"
			}
			t.add(name, voice, c(string(n.Node)), health(n.State), cs(dim, age), c(voteEvidence(n)))
			name, voice = c(""), c("")
		}
	}
	return t
}

// voteEvidence is why a node's vote does not count, else what it saw.
func voteEvidence(n policy.NodeVote) string {
	switch {
	case n.Why != "" && n.Reason != "":
		return n.Why + " · " + n.Reason
	case n.Why != "":
		return n.Why
	}
	return n.Reason
}
