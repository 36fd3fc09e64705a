package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/scloudstack/pharos/internal/api"
	"github.com/scloudstack/pharos/internal/config"
)

// defaultConfig is where a node's configuration is looked for.
const defaultConfig = "/etc/pharos/pharos.yaml"

// app is one run of the command line: where it prints and what the global
// flags say.
type app struct {
	out, err io.Writer
	getenv   func(string) string

	output  string
	dataDir string
	node    string
	socket  string
	remote  api.Remote
}

// execute runs one command line and returns the exit code.
func (a *app) execute(ctx context.Context, args []string) int {
	root := a.root()
	root.SetArgs(args)
	root.SetOut(a.out)
	root.SetErr(a.err)
	cmd, err := root.ExecuteContextC(ctx)
	return a.finish(cmd, err)
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "pharos",
		Short: "Keeps business domains pointed at a data centre that works",
		Long: `Pharos probes the load balancers of several sites and answers DNS for business
domains with those that work. A person's word wins, and is kept.

Commands speak to the node over the Unix socket in its data folder, or over
HTTPS with --server. Who you are to the node is your Unix user, certificate or
token: there is no flag for it.

Exit codes: 0 done · 1 failed or refused · 2 used wrongly · 3 done in part
(an order that is stored but not served yet or not held by every node that
counts, or one zone of several).`,
		Example: `  pharos demo                                   # three sites on this machine, no root
  pharos status --watch
  pharos explain www.shop.example
  pharos override set www.shop.example --site city-b --reason "INC-7: disks" --dry-run`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	f := root.PersistentFlags()
	f.StringVarP(&a.output, "output", "o", "text", "output `format`: text or json")
	f.StringVar(&a.dataDir, "data-dir", "", "the node's data `folder` (default $PHAROS_DATA_DIR, else "+config.DefaultDataDir+")")
	f.StringVar(&a.node, "node", "", "`name` of the node, where the data folder holds several (default: the first)")
	f.StringVar(&a.socket, "socket", "", "`path` of the node's Unix socket (default "+api.SocketName+" in the data folder)")
	f.StringVar(&a.remote.URL, "server", "", "speak to the node at this `URL` over HTTPS instead")
	f.StringVar(&a.remote.TokenFile, "token-file", "", "`file` with the bearer token, for --server")
	f.StringVar(&a.remote.CertFile, "cert", "", "client certificate `file`, for --server")
	f.StringVar(&a.remote.KeyFile, "key", "", "key `file` of the client certificate, for --server")
	f.StringVar(&a.remote.CAFile, "ca", "", "`file` with the node's authority, for --server (default: the system's)")
	root.MarkFlagsMutuallyExclusive("socket", "server")
	root.MarkFlagsMutuallyExclusive("data-dir", "server")
	root.MarkFlagsMutuallyExclusive("node", "server")
	root.MarkFlagsMutuallyExclusive("node", "socket")

	root.AddGroup(
		&cobra.Group{ID: "look", Title: "Look:"},
		&cobra.Group{ID: "order", Title: "Give orders:"},
		&cobra.Group{ID: "run", Title: "Run:"},
	)
	add := func(group string, cmds ...*cobra.Command) {
		for _, c := range cmds {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add("look", a.statusCmd(), a.explainCmd(), a.alarmCmd(), a.auditCmd(), a.zoneCmd(), a.versionCmd())
	add("order", a.overrideCmd(), a.drainCmd(), a.undrainCmd(), a.returnCmd(), a.gateCmd(), a.siteCmd(), a.failoverCmd())
	add("run", a.serveCmd(), a.checkCmd(), a.reloadCmd(), a.clusterCmd(), a.demoCmd(), a.completionCmd())
	groupOf(root)
	root.SetHelpCommandGroupID("run")
	root.CompletionOptions.DisableDefaultCmd = true
	root.PersistentPreRunE = func(*cobra.Command, []string) error {
		if a.output != "text" && a.output != "json" {
			return usagef("--output %q: expected text or json", a.output)
		}
		return nil
	}
	markRuns(root)
	return root
}

// client is the way to the node that the flags mean.
func (a *app) client() (*api.Client, error) {
	if a.remote.URL != "" {
		c, err := api.NewRemoteClient(a.remote)
		if err != nil {
			return nil, usagef("%s", err)
		}
		return c, nil
	}
	if r := a.remote; r.TokenFile != "" || r.CertFile != "" || r.KeyFile != "" || r.CAFile != "" {
		return nil, usagef("--token-file, --cert, --key and --ca go with --server")
	}
	if a.socket != "" {
		return api.NewSocketClient(a.socket), nil
	}
	dir, err := a.nodeFolder()
	if err != nil {
		return nil, err
	}
	return api.NewSocketClient(api.SocketPath(dir)), nil
}

// withNode is the body of a command that asks the node one thing and prints
// the answer.
func (a *app) withNode(f func(ctx context.Context, c *api.Client) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, _ []string) error { return a.ask(cmd.Context(), f) }
}

// ask runs f with a client, and explains a node that can't be reached.
func (a *app) ask(ctx context.Context, f func(ctx context.Context, c *api.Client) error) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	defer c.Close()
	return a.unreachable(f(ctx, c))
}

// groupOf is a command that only holds others. A wrong verb is told with what
// there is.
func groupOf(c *cobra.Command, subs ...*cobra.Command) *cobra.Command {
	c.AddCommand(subs...)
	c.Args = cobra.ArbitraryArgs
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		return usagef("unknown command %q for %q%s", args[0], cmd.CommandPath(), suggest(cmd, args[0]))
	}
	return c
}

func suggest(cmd *cobra.Command, word string) string {
	cmd.SuggestionsMinimumDistance = 2 // letters
	if near := cmd.SuggestionsFor(word); len(near) > 0 {
		return fmt.Sprintf(": did you mean %q?", near[0])
	}
	return ""
}
