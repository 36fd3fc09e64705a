package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/scloudstack/pharos/internal/demo"
)

func (a *app) demoCmd() *cobra.Command {
	var port int
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Run three sites on this machine, without root or configuration",
		Long: `Runs three sites on loopback, each with a load balancer (127.0.1.1, 127.0.2.1,
127.0.3.1) and a node (edge-a at 127.0.0.1, edge-b at 127.0.0.2, edge-r at
127.0.0.3): a 'pharos serve' of its own, with a configuration that is printed and
kept. The three are one cluster and steer www.shop.example. All other commands
work on it with --data-dir, and with --node on another node than edge-a. A node
that dies is started again: its orders and health are on disk. Ctrl-C ends the
demo; what it knew is kept for the next one.`,
		Example: `  pharos demo
  dig @127.0.0.1 -p 5300 www.shop.example +short
  pharos demo fail city-a        # and heal: its load balancer answers 503
  pharos demo kill city-a        # and revive: node and load balancer are gone
  pharos demo cut dwdm           # and mend: dwdm, lease-1 or lease-2
  pharos demo isolate remote     # and mend`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.runDemo(cmd, port) },
	}
	cmd.Flags().IntVar(&port, "port", demo.DefaultPort, "UDP and TCP `port` of DNS on 127.0.0.1; 0: any that is free")
	cmd.AddCommand(
		a.demoTellCmd("fail", "SITE", "Break the load balancer of a site: it answers 503"),
		a.demoTellCmd("heal", "SITE", "Mend the load balancer of a site"),
		a.demoTellCmd("kill", "SITE", "Kill the node of a site by SIGKILL, and its load balancer"),
		a.demoTellCmd("revive", "SITE", "Start them again"),
		a.demoTellCmd("cut", "LINK", "Cut a link: the nodes at its ends take no notice of each other's site"),
		a.demoTellCmd("isolate", "SITE", "Cut all links of a site"),
		a.demoTellCmd("mend", "LINK|SITE", "Mend a link, or all links of a site"),
	)
	return cmd
}

func (a *app) runDemo(cmd *cobra.Command, port int) error {
	if port < 0 || port > 65535 {
		return usagef("--port %d: expected 0 to 65535", port)
	}
	if a.output == "json" {
		return usagef("the demo prints for people: use -o json with the other commands")
	}
	dir, err := a.demoDir()
	if err != nil {
		return err
	}
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	d := &demo.Demo{Dir: dir, Port: port, Program: program, Say: typed(), Out: a.out}
	return d.Run(cmd.Context())
}

func (a *app) demoTellCmd(verb, what, short string) *cobra.Command {
	return &cobra.Command{
		Use:       verb + " " + what,
		Short:     short,
		Example:   "  pharos demo " + verb + " " + demo.Names(verb)[0],
		Args:      exactly(what),
		ValidArgs: demo.Names(verb),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, err := a.demoDir()
			if err != nil {
				return err
			}
			done, err := demo.Tell(cmd.Context(), dir, verb, args[0])
			if err != nil {
				return err
			}
			return a.show(map[string]string{"name": args[0], "done": done}, func(p *page) { p.linef("%s", done) })
		},
	}
}

// demoDir is the folder that is meant, else the demo's own.
func (a *app) demoDir() (string, error) {
	dir, said := a.folder()
	if !said {
		dir = demoFolder()
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("demo folder %s: %w", dir, err)
	}
	return abs, nil
}

func demoFolder() string { return demo.DefaultDir(os.Getenv) }

// typed is how the person called this program, for commands to copy.
func typed() string {
	if found, err := exec.LookPath("pharos"); err == nil {
		if self, err := os.Executable(); err == nil && found == self {
			return "pharos"
		}
	}
	return os.Args[0]
}
