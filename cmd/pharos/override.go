package main

import (
	"context"
	"net/netip"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/scloudstack/pharos/internal/api"
	"github.com/scloudstack/pharos/policy"
)

func (a *app) overrideCmd() *cobra.Command {
	return groupOf(&cobra.Command{
		Use:   "override",
		Short: "Say what a name, a service or everything answers",
		Long: `An override is a person's word on what is answered: a site (and then it follows
the health of the endpoints inside it), or addresses (a pin). It is stored before
it is acknowledged, survives restarts, and counts until it is cleared or its
time (--for) is over. The most specific one wins: name, service, all.`,
		Example: `  pharos override set www.shop.example --site city-b --reason "INC-7: disks" --dry-run
  pharos override list
  pharos override clear www.shop.example`,
	}, a.overrideSetCmd(), a.overrideListCmd(), a.overrideClearCmd())
}

// subjectFlags say what an override is about, where it is not one name.
type subjectFlags struct {
	service string
	all     bool
}

func (f *subjectFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.service, "service", "", "all names of this `service`")
	cmd.Flags().BoolVar(&f.all, "all", false, "all names of all services")
	cmd.MarkFlagsMutuallyExclusive("service", "all")
}

// key takes the name from the arguments, unless a flag says what is meant.
func (f *subjectFlags) key(args []string) (key string, rest []string, err error) {
	switch {
	case f.all:
		return "all", args, nil
	case f.service != "":
		return "service/" + f.service, args, nil
	case len(args) == 0:
		return "", nil, usagef("expected a NAME, --service SERVICE or --all")
	default:
		if _, err := netip.ParseAddr(args[0]); err == nil {
			return "", nil, usagef("%s is an address: expected a NAME before it, --service SERVICE or --all", args[0])
		}
		return "name/" + api.Canonical(args[0]), args[1:], nil
	}
}

func (a *app) overrideSetCmd() *cobra.Command {
	var order orderFlags
	var subject subjectFlags
	var site string
	var ttl time.Duration
	var keepOther, unlisted bool
	cmd := &cobra.Command{
		Use:   "set {NAME | --service SERVICE | --all} {ADDR... | --site SITE} --reason WHY",
		Short: "Set an override, and show before and after",
		Example: `  pharos override set www.shop.example --site city-b --reason "INC-7: disks of city-a" --for 2h
  pharos override set www.shop.example 203.0.113.20 2001:db8:b::20 --reason "INC-7" --ttl 5s
  pharos override set --service shop --site city-b --reason "patch day" --dry-run`,
		ValidArgsFunction: a.complete(steeredNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			key, rest, err := subject.key(args)
			if err != nil {
				return err
			}
			if err := needReason(order); err != nil {
				return err
			}
			body := &api.OverrideBody{Site: policy.SiteID(site), TTL: api.Duration(ttl), KeepOther: keepOther, Unlisted: unlisted}
			for _, word := range rest {
				addr, err := netip.ParseAddr(word)
				if err != nil {
					return usagef("%q is no IP address", word)
				}
				body.Addresses = append(body.Addresses, addr)
			}
			if (site == "") == (len(body.Addresses) == 0) {
				return usagef("expected either addresses or --site SITE")
			}
			return a.order(cmd.Context(), order, api.OrderRequest{Kind: policy.KindOverride, Key: key, Override: body})
		},
	}
	order.add(cmd)
	order.addFor(cmd, untilEnded)
	subject.add(cmd)
	cmd.Flags().StringVar(&site, "site", "", "answer with the endpoints of this `site`, by their health")
	durationFlag{value: &ttl, least: time.Second, ttl: true}.add(cmd, "ttl", 0, "TTL of the answer (default: the service's)")
	cmd.Flags().BoolVar(&keepOther, "keep-other", false, "leave the family without an address as it is without this override, instead of NODATA")
	cmd.Flags().BoolVar(&unlisted, "unlisted", false, "take addresses that are no endpoint of the service")
	return cmd
}

func (a *app) overrideClearCmd() *cobra.Command {
	var order orderFlags
	var subject subjectFlags
	cmd := &cobra.Command{
		Use:   "clear {NAME | --service SERVICE | --all}",
		Short: "End an override, and show before and after",
		Example: `  pharos override clear www.shop.example --dry-run
  pharos override clear --service shop --reason "INC-7 is solved"`,
		ValidArgsFunction: a.complete(overriddenNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			key, rest, err := subject.key(args)
			if err != nil {
				return err
			}
			if len(rest) > 0 {
				return usagef("unexpected %q: one override is cleared at a time", strings.Join(rest, " "))
			}
			return a.order(cmd.Context(), order, api.OrderRequest{Kind: policy.KindOverride, Key: key, Clear: true})
		},
	}
	order.add(cmd)
	subject.add(cmd)
	return cmd
}

func (a *app) overrideListCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the overrides, what they decide and what they miss",
		Example: `  pharos override list
  pharos override list -o json`,
		Args: cobra.NoArgs,
		RunE: a.withNode(func(ctx context.Context, c *api.Client) error {
			s, err := c.Status(ctx)
			if err != nil {
				return err
			}
			return a.show(s.Decision.Overrides, func(p *page) { p.overrides(s.Decision.Overrides, s.Node.Now) })
		}),
	}
}

func (p *page) overrides(all []policy.OverrideStatus, now time.Time) {
	if len(all) == 0 {
		p.linef("No overrides.")
		return
	}
	for i, o := range all {
		if i > 0 {
			p.linef("")
		}
		p.linef("%s  %s", p.paint(bold, o.Key), overrideWord(o.Override))
		p.linef("  %s", byWhom(o.Author, o.Reason, o.Given, o.Expires, now, o.Suspended, o.Expired).text)
		p.linef("  decides: %s", or(strings.Join(o.Names, " "), "nothing now"))
		if len(o.Misses) > 0 {
			p.linef("  %s", strings.Join(o.Misses, "; "))
		}
	}
}
