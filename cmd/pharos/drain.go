package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/scloudstack/pharos/internal/api"
	"github.com/scloudstack/pharos/policy"
)

func (a *app) drainCmd() *cobra.Command {
	var order orderFlags
	cmd := &cobra.Command{
		Use:   "drain {site/SITE | endpoint/SERVICE/SITE} --reason WHY",
		Short: "Let a site or an endpoint take no new traffic",
		Long: `Answers leave what is drained at once, and do not come back before it is
undrained or its time (--for) is over, which an alarm tells 15 minutes ahead. A
drain that would take the last healthy endpoint of a service is refused by the
rule last-endpoint, which --break-glass last-endpoint passes.`,
		Example: `  pharos drain site/city-a --reason "power works" --for 4h --dry-run
  pharos drain endpoint/shop/city-a --reason "INC-7: balancer"`,
		ValidArgsFunction: a.complete(drainable),
		RunE: func(cmd *cobra.Command, args []string) error {
			key, err := drainKey(args)
			if err != nil {
				return err
			}
			if err := needReason(order); err != nil {
				return err
			}
			return a.order(cmd.Context(), order, api.OrderRequest{Kind: policy.KindDrain, Key: key})
		},
	}
	order.add(cmd)
	order.addFor(cmd, untilEnded)
	return cmd
}

func (a *app) undrainCmd() *cobra.Command {
	var order orderFlags
	cmd := &cobra.Command{
		Use:   "undrain {site/SITE | endpoint/SERVICE/SITE}",
		Short: "End a drain",
		Long: `What is undrained may be chosen again; that alone moves nothing. The way back is
the service's return policy, or 'pharos return'.`,
		Example: `  pharos undrain site/city-a --reason "power works are over"
  pharos undrain endpoint/shop/city-a --dry-run`,
		ValidArgsFunction: a.complete(drained),
		RunE: func(cmd *cobra.Command, args []string) error {
			key, err := drainKey(args)
			if err != nil {
				return err
			}
			return a.order(cmd.Context(), order, api.OrderRequest{Kind: policy.KindDrain, Key: key, Clear: true})
		},
	}
	order.add(cmd)
	return cmd
}

// drainKey checks the shape; what is known is the node's to say.
func drainKey(args []string) (string, error) {
	if len(args) != 1 {
		return "", usagef("expected one of site/SITE and endpoint/SERVICE/SITE")
	}
	words := strings.Split(args[0], "/")
	for _, w := range words {
		if w == "" {
			return "", usagef("%q: expected site/SITE or endpoint/SERVICE/SITE", args[0])
		}
	}
	switch {
	case words[0] == "site" && len(words) == 2, words[0] == "endpoint" && len(words) == 3:
		return args[0], nil
	case len(words) == 1:
		return "", usagef("%q: did you mean site/%s?", args[0], args[0])
	default:
		return "", usagef("%q: expected site/SITE or endpoint/SERVICE/SITE", args[0])
	}
}
