package main

import (
	"context"
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
		Long: `Runs the load balancers of three sites on 127.0.1.1, 127.0.2.1 and 127.0.3.1,
and a node that steers www.shop.example between them: a 'pharos serve' of its
own, with a configuration that is printed and kept. All other commands work on it
with --data-dir. A node that dies is started again: its orders and health are on
disk. Ctrl-C ends the demo; what it knew is kept for the next one.`,
		Example: `  pharos demo
  dig @127.0.0.1 -p 5300 www.shop.example +short
  pharos demo fail city-a
  pharos demo heal city-a`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.runDemo(cmd, port) },
	}
	cmd.Flags().IntVar(&port, "port", demo.DefaultPort, "UDP and TCP `port` of DNS on 127.0.0.1; 0: any that is free")
	cmd.AddCommand(
		a.demoTellCmd("fail", "Break the load balancer of a site", "broken: it answers 503", demo.Fail),
		a.demoTellCmd("heal", "Mend the load balancer of a site", "mended", demo.Heal),
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

func (a *app) demoTellCmd(verb, short, done string, tell func(ctx context.Context, dir, site string) error) *cobra.Command {
	return &cobra.Command{
		Use:       verb + " SITE",
		Short:     short,
		Example:   "  pharos demo " + verb + " city-a",
		Args:      exactly("SITE"),
		ValidArgs: demo.Sites(),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, err := a.demoDir()
			if err != nil {
				return err
			}
			if err := tell(cmd.Context(), dir, args[0]); err != nil {
				return err
			}
			return a.show(map[string]string{"site": args[0], "is": done}, func(p *page) {
				p.linef("%s is %s.", args[0], done)
			})
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
