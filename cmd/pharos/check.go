package main

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"time"

	"github.com/miekg/dns"
	"github.com/spf13/cobra"

	"github.com/scloudstack/pharos/internal/api"
	"github.com/scloudstack/pharos/internal/config"
	"github.com/scloudstack/pharos/internal/delegation"
	"github.com/scloudstack/pharos/internal/node"
	"github.com/scloudstack/pharos/policy"
	"github.com/scloudstack/pharos/zones"
)

type checkFlags struct {
	config     string
	node       string
	diff       bool
	delegation bool
	resolver   string
}

// checked is what a check found.
type checked struct {
	Config     string              `json:"config"`
	Good       bool                `json:"good"`
	Errors     []api.Problem       `json:"errors"`
	Warnings   []api.Problem       `json:"warnings"`
	Absent     int                 `json:"absent_files,omitempty"` // that a node here would need: warnings
	Answers    []ifAllUp           `json:"answers,omitempty"`
	Diff       *api.DiffResult     `json:"diff,omitempty"`
	Delegation []delegation.Report `json:"delegation,omitempty"`

	settings *config.Settings
	zones    []*zones.Zone
}

func (a *app) checkCmd() *cobra.Command {
	var f checkFlags
	cmd := &cobra.Command{
		Use:   "check [FILE]",
		Short: "Check a configuration and its zones, and show what it would do",
		Long: `Every error is printed with its file, line and column; for a good
configuration, what each name would answer if everything were up. With --diff the
running node is asked which of its answers would change, and which services are
decided only once new targets are judged; with --delegation the zones' NS and
glue are compared with what their parents answer. Nothing is changed.

A file that a check or the API needs and that is not here may be there on the
node: it is a warning, and the last line says so.

Exit codes: 0 good · 1 errors, a reload that would be refused, or a delegation
that differs · 3 a parent that
could not be asked.`,
		Example: `  pharos check /etc/pharos/pharos.yaml
  pharos check --diff
  pharos check --delegation --resolver 192.0.2.53`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				if cmd.Flags().Changed("config") {
					return usagef("the configuration is named twice: %s and --config %s", args[0], f.config)
				}
				f.config = args[0]
			}
			a.node = f.node // --diff asks that node
			return a.check(cmd.Context(), f)
		},
	}
	cmd.Flags().StringVarP(&f.config, "config", "c", defaultConfig, "configuration `file`")
	cmd.Flags().StringVar(&f.node, "node", "", "check for the node of this `name` (default: $PHAROS_NODE, node.name, or any)")
	cmd.Flags().BoolVar(&f.diff, "diff", false, "ask the running node which answers would change")
	cmd.Flags().BoolVar(&f.delegation, "delegation", false, "compare the zones' NS and glue with what their parents answer")
	cmd.Flags().StringVar(&f.resolver, "resolver", "", "`address` of the resolver to find the parents with (default: of /etc/resolv.conf)")
	return cmd
}

func (a *app) check(ctx context.Context, f checkFlags) error {
	c := a.load(f)
	if c.Good {
		c.Answers = answersIfAllUp(c.settings.Policy)
		if f.diff {
			if err := a.diff(ctx, c); err != nil {
				return err
			}
		}
		if f.delegation {
			if err := c.delegations(ctx, f.resolver); err != nil {
				return err
			}
		}
	}
	if err := a.show(c, func(p *page) { p.checked(c) }); err != nil {
		return err
	}
	return c.verdict()
}

// load reads the configuration and every zone, and judges them together.
func (a *app) load(f checkFlags) *checked {
	c := &checked{Config: f.config, Errors: []api.Problem{}, Warnings: []api.Problem{}}
	opt := config.Options{Node: f.node, DataDir: a.dataDir, AnyNode: true, Getenv: a.getenv}
	settings, warnings, err := config.Load(f.config, opt)
	c.warn(warnings)
	if err != nil {
		c.fail(err)
		c.loadZones(config.Zones(f.config, opt))
		return c
	}
	c.settings = settings
	c.apiFiles()
	c.warn(node.CheckKeysFile(settings))
	c.loadZones(settings.Zones)
	warnings, err = config.CheckZones(settings, c.zones)
	c.warn(warnings)
	if err != nil {
		c.fail(err)
	}
	c.Good = len(c.Errors) == 0
	return c
}

// apiFiles judges the files of the API. Those that are absent may be there on the node.
func (c *checked) apiFiles() {
	found := api.CheckFiles(c.settings.API)
	for _, p := range found.Found {
		if slices.Contains(found.Absent, p) {
			c.warn(config.Warnings{p})
		} else {
			c.fail(config.Errors{p})
		}
	}
	c.Absent = c.settings.Absent + len(found.Absent)
}

// loadZones reads the zones that can be read.
func (c *checked) loadZones(specs []zones.Spec) {
	for _, spec := range specs {
		z, warnings, err := zones.ParseFile(spec.Name, spec.File, zones.Options{})
		for _, w := range warnings {
			c.Warnings = append(c.Warnings, api.Problem{File: w.File, Line: w.Line, Text: w.Text})
		}
		if err != nil {
			c.fail(err)
			continue
		}
		c.zones = append(c.zones, z)
	}
}

func (c *checked) warn(all config.Warnings) { c.Warnings = append(c.Warnings, located(all)...) }

func (c *checked) fail(err error) { c.Errors = append(c.Errors, locatedError(err)...) }

// diff asks the running node.
func (a *app) diff(ctx context.Context, c *checked) error {
	path, err := filepath.Abs(c.Config)
	if err != nil {
		return fmt.Errorf("configuration %s: %w", c.Config, err)
	}
	return a.ask(ctx, func(ctx context.Context, node *api.Client) error {
		d, err := node.Diff(ctx, path)
		c.Diff = &d
		return err
	})
}

// delegations compares each zone with its parent.
func (c *checked) delegations(ctx context.Context, resolver string) error {
	server, err := resolverAddress(resolver)
	if err != nil {
		return err
	}
	for _, z := range c.zones {
		c.Delegation = append(c.Delegation, delegation.Resolver{Address: server}.Check(ctx, z))
	}
	return nil
}

func resolverAddress(given string) (netip.AddrPort, error) {
	if given != "" {
		if at, err := netip.ParseAddrPort(given); err == nil {
			return at, nil
		}
		addr, err := netip.ParseAddr(given)
		if err != nil {
			return netip.AddrPort{}, usagef("--resolver %q: expected an address such as 192.0.2.53 or [2001:db8::53]:53", given)
		}
		return netip.AddrPortFrom(addr, 53), nil
	}
	conf, err := dns.ClientConfigFromFile("/etc/resolv.conf")
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("no resolver: %w; name one with --resolver", err)
	}
	for _, s := range conf.Servers {
		if addr, err := netip.ParseAddr(s); err == nil {
			return netip.AddrPortFrom(addr, 53), nil
		}
	}
	return netip.AddrPort{}, fmt.Errorf("/etc/resolv.conf names no resolver; name one with --resolver")
}

// verdict is the exit code of what was found and printed.
func (c *checked) verdict() error {
	if !c.Good || c.Diff != nil && len(c.Diff.Refused) > 0 {
		return saidError{}
	}
	var unasked []string
	for _, d := range c.Delegation {
		if len(d.Findings) > 0 {
			return saidError{}
		}
		if d.Error != "" {
			unasked = append(unasked, d.Zone)
		}
	}
	if len(unasked) > 0 {
		return &partError{fmt.Sprintf("the parent of %s could not be asked", unasked[0])}
	}
	return nil
}

// ifAllUp is what one name would answer one group of clients.
type ifAllUp struct {
	Name    string           `json:"name"`
	Service policy.ServiceID `json:"service"`
	Group   policy.SiteID    `json:"group,omitempty"` // clients near this site; "": all others
	Answer  string           `json:"answer"`
	TTL     api.Duration     `json:"ttl"`
}

func seconds(n uint32) api.Duration { return api.Duration(time.Duration(n) * time.Second) }
