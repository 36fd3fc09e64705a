package main

import (
	"github.com/spf13/cobra"

	"github.com/scloudstack/pharos/internal/api"
	"github.com/scloudstack/pharos/policy"
)

func (a *app) returnCmd() *cobra.Command {
	var order orderFlags
	var to string
	cmd := &cobra.Command{
		Use:   "return SERVICE --reason WHY",
		Short: "Bring a service back to an endpoint that is healthy again",
		Long: `Ends the wait of an endpoint that is up and held back by the service's return
policy. It moves a service inside its active metro only.`,
		Example: `  pharos return shop --reason "city-a has been quiet for an hour"
  pharos return shop --to city-a --reason "INC-7 is solved" --dry-run`,
		Args:              exactly("SERVICE"),
		ValidArgsFunction: a.complete(services),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := needReason(order); err != nil {
				return err
			}
			return a.order(cmd.Context(), order, api.OrderRequest{
				Kind: policy.KindReturn, Key: args[0], ReturnTo: policy.SiteID(to),
			})
		},
	}
	order.add(cmd)
	cmd.Flags().StringVar(&to, "to", "", "the `site` to return to (default: the first that is held back)")
	return cmd
}
