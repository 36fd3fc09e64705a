package main

import (
	"context"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/scloudstack/pharos/internal/api"
)

func (a *app) versionCmd() *cobra.Command {
	var running bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Show what this program is, and with --running what the node runs",
		Example: `  pharos version
  pharos version --running -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			out := struct {
				Client api.Version  `json:"client"`
				Node   *api.Version `json:"node,omitempty"`
			}{Client: buildVersion()}
			if running {
				err := a.ask(cmd.Context(), func(ctx context.Context, c *api.Client) error {
					v, err := c.Version(ctx)
					out.Node = &v
					return err
				})
				if err != nil {
					return err
				}
			}
			return a.show(out, func(p *page) {
				p.linef("pharos %s", versionLine(out.Client))
				if out.Node != nil {
					p.linef("node   %s", versionLine(*out.Node))
				}
			})
		},
	}
	cmd.Flags().BoolVar(&running, "running", false, "ask the running node too")
	return cmd
}

func versionLine(v api.Version) string {
	words := []string{v.Version}
	if v.Commit != "" && !strings.Contains(v.Version, v.Commit) {
		words = append(words, v.Commit)
	}
	if !v.Built.IsZero() {
		words = append(words, v.Built.Format(time.DateOnly))
	}
	return strings.Join(append(words, v.Go, v.OS), " · ")
}

// version is set by the linker for a build that knows better than the go
// command: -ldflags "-X main.version=v1.2.3".
var version string

// buildVersion is what was noted in the binary when it was built.
func buildVersion() api.Version {
	v := api.Version{Version: version, Go: runtime.Version(), OS: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if m := info.Main.Version; v.Version == "" && m != "(devel)" {
		v.Version = m
	}
	if v.Version == "" {
		v.Version = "development"
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Commit = s.Value[:min(12, len(s.Value))]
		case "vcs.time":
			if t, err := time.Parse(time.RFC3339, s.Value); err == nil {
				v.Built = t
			}
		}
	}
	return v
}
