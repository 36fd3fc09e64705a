package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/scloudstack/pharos/internal/api"
	"github.com/scloudstack/pharos/internal/config"
	"github.com/scloudstack/pharos/policy"
	"github.com/scloudstack/pharos/zones"
)

func (p *page) checked(c *checked) {
	for _, e := range c.Errors {
		p.linef("%s %s", p.paint(red, "error:"), e)
	}
	for _, w := range c.Warnings {
		p.linef("%s %s", p.paint(yellow, "warning:"), w)
	}
	if !c.Good {
		p.linef("%s %s, %s. A node that runs would refuse it and go on as before.",
			p.paint(red, c.Config+" is refused:"), count(len(c.Errors), "error"), count(len(c.Warnings), "warning"))
		return
	}
	s := c.settings
	good := p.paint(green, c.Config+" is good:")
	if c.Absent > 0 {
		good = p.paint(yellow, fmt.Sprintf("%s is good but for %s:", c.Config, count(c.Absent, "file")))
	}
	p.linef("%s %s, %s, %s, %s probed from here%s.", good,
		count(len(s.Policy.Sites), "site"), count(len(s.Policy.Services), "service"), count(len(s.Zones), "zone"),
		count(len(s.Targets), "target"), quoted(", ", warned(c.Warnings)))
	if len(c.Answers) > 0 {
		p.heading("IF ALL WERE UP")
		p.ifAllUp(c.Answers)
	}
	if c.Diff != nil {
		p.diff(*c.Diff)
	}
	if len(c.Delegation) > 0 {
		p.delegation(c)
	}
	if c.Absent > 0 {
		p.linef("\n%s (see the warnings): a node that starts here would refuse the configuration.",
			p.paint(yellow, "Good but for "+count(c.Absent, "file")+" that can't be used here"))
	}
}

func warned(all []api.Problem) string {
	if len(all) == 0 {
		return ""
	}
	return count(len(all), "warning")
}

func (p *page) ifAllUp(all []ifAllUp) {
	t := &table{indent: "  "}
	t.head("NAME", "CLIENTS", "TTL", "ANSWER")
	for _, a := range all {
		t.add(c(a.Name), c(or(quoted("near ", string(a.Group)), "all")), c(a.TTL.String()), c(a.Answer))
	}
	p.table(t)
}

func (p *page) diff(d api.DiffResult) {
	p.heading("AGAINST THE RUNNING NODE")
	changed := slices.ContainsFunc(d.Names, func(n policy.PreviewName) bool { return n.Changed })
	if !changed && len(d.Zones)+len(d.Unjudged)+len(d.Notes)+len(d.Refused) == 0 {
		p.linef("Nothing would change.")
		return
	}
	p.preview(d.Names)
	for _, u := range d.Unjudged {
		p.linef("service %s is decided once %s judged", u.Service, newTargets(u.Targets))
	}
	for _, z := range d.Zones {
		p.linef("%s %s%s", z.Name, zoneDiffWord(z), quoted("; would be refused: ", z.Refused))
	}
	for _, n := range d.Notes {
		p.linef("%s", n)
	}
	if len(d.Refused) > 0 {
		p.linef("%s", p.paint(red, "A reload would be refused:"))
		for _, r := range d.Refused {
			p.linef("  %s", r)
		}
		return
	}
	p.linef("%s pharos reload, or pharos reload --confirm 5m", p.paint(bold, "Next:"))
}

func newTargets(n int) string {
	if n == 1 {
		return "its new target is"
	}
	return fmt.Sprintf("its %d new targets are", n)
}

func (p *page) delegation(c *checked) {
	p.heading("DELEGATION")
	for _, d := range c.Delegation {
		switch {
		case d.Error != "":
			p.linef("  %s %s", p.paint(yellow, d.Zone), d.Error)
		case len(d.Findings) == 0:
			p.linef("  %s %s", d.Zone, p.paint(green, "as "+d.Parent+" says ("+strings.Join(d.Servers, ", ")+")"))
		default:
			for _, f := range d.Findings {
				p.linef("  %s %s", p.paint(red, d.Zone), f)
			}
		}
	}
}

// answersIfAllUp is what each name would answer, a line for each group of
// clients that is answered otherwise than the rest.
func answersIfAllUp(cfg *policy.Config) []ifAllUp {
	rev := policy.IfAllUp(cfg)
	var all []ifAllUp
	for _, name := range slices.Sorted(maps.Keys(rev.Answers)) {
		answer := rev.Answers[name]
		line := ifAllUp{Name: name, Service: answer.Service, TTL: seconds(answer.TTL)}
		if answer.Fail || len(answer.Choices) == 0 {
			line.Answer = "SERVFAIL"
			all = append(all, line)
			continue
		}
		for i, choice := range answer.Choices {
			if line.Answer = choiceWord(choice); i > 0 {
				if line.Answer == choiceWord(answer.Choices[0]) {
					continue
				}
				line.Group = rev.Groups[i-1].Site
			}
			all = append(all, line)
		}
	}
	return all
}

// choiceWord is a choice for people: "203.0.113.10 (city-a), 2001:db8::1 (city-a)".
func choiceWord(choice policy.Choice) string {
	var words []string
	for _, family := range [][]policy.Member{choice.A, choice.AAAA} {
		var total uint32
		for _, m := range family {
			total += m.Weight
		}
		for _, m := range family {
			note := string(m.Site)
			if total > 0 {
				note += fmt.Sprintf(", %.4g %%", 100*float64(m.Weight)/float64(total))
			}
			for _, addr := range m.Addrs {
				word := addr.String()
				if note != "" {
					word += " (" + note + ")"
				}
				words = append(words, word)
			}
		}
	}
	if len(words) == 0 {
		return "no address"
	}
	return strings.Join(words, ", ")
}

// located puts a configuration's problems into the API's words.
func located[P ~[]config.Problem](ps P) []api.Problem {
	var all []api.Problem
	for _, p := range ps {
		all = append(all, api.Problem{File: p.File, Line: p.Line, Column: p.Column, Text: p.Text})
	}
	return all
}

func locatedError(err error) []api.Problem {
	var (
		cfg config.Errors
		zs  zones.Problems
		all []api.Problem
	)
	switch {
	case errors.As(err, &cfg):
		return located(cfg)
	case errors.As(err, &zs):
		for _, p := range zs {
			all = append(all, api.Problem{File: p.File, Line: p.Line, Text: p.Text})
		}
		return all
	default:
		return []api.Problem{{Text: err.Error()}}
	}
}
