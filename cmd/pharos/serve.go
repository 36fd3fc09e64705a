package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/scloudstack/pharos/internal/config"
	"github.com/scloudstack/pharos/internal/node"
)

type serveFlags struct {
	config    string
	node      string
	volatile  bool
	logFormat string
	logLevel  string
}

func (a *app) serveCmd() *cobra.Command {
	var f serveFlags
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run a node",
		Long: `Run a node until SIGTERM or Ctrl-C. SIGHUP has the configuration loaded again,
like 'pharos reload', unless one is on trial. No root is needed:
CAP_NET_BIND_SERVICE for port 53 and CAP_NET_RAW for icmp checks are used where
they are there; all others are dropped.`,
		Example: `  pharos serve --config /etc/pharos/pharos.yaml
  pharos serve --config pharos.yaml --node edge-b1 --data-dir /tmp/edge-b1`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.serve(cmd.Context(), f) },
	}
	cmd.Flags().StringVarP(&f.config, "config", "c", defaultConfig, "configuration `file`")
	cmd.Flags().StringVar(&f.node, "node", "", "`name` of this node, among nodes (default $PHAROS_NODE, else node.name)")
	cmd.Flags().BoolVar(&f.volatile, "volatile", false, "take orders also while the disk does not write, in memory alone")
	cmd.Flags().StringVar(&f.logFormat, "log-format", "text", "`format` of the log on standard error: text or json")
	cmd.Flags().StringVar(&f.logLevel, "log-level", "info", "debug, info, warn or error")
	return cmd
}

func (a *app) serve(ctx context.Context, f serveFlags) error {
	log, err := newLogger(a, f)
	if err != nil {
		return err
	}
	path, err := filepath.Abs(f.config)
	if err != nil {
		return fmt.Errorf("configuration %s: %w", f.config, err)
	}
	load := config.Options{Node: f.node, DataDir: a.dataDir, Getenv: a.getenv}
	settings, warnings, err := config.Load(path, load)
	if err != nil {
		return err
	}
	for _, w := range warnings {
		log.Warn("configuration", "warning", w.String())
	}
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	n, err := node.New(settings, node.Options{
		Load: load, Version: buildVersion(), Log: log,
		Volatile: f.volatile, DropPrivileges: true, Hangup: hangup,
	})
	if err != nil {
		return err
	}
	return n.Run(ctx)
}

func newLogger(a *app, f serveFlags) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(strings.ToUpper(f.logLevel))); err != nil {
		return nil, usagef("--log-level %q: expected debug, info, warn or error", f.logLevel)
	}
	opt := &slog.HandlerOptions{Level: level}
	switch f.logFormat {
	case "text":
		return slog.New(slog.NewTextHandler(a.err, opt)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(a.err, opt)), nil
	default:
		return nil, usagef("--log-format %q: expected text or json", f.logFormat)
	}
}
