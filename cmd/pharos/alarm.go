package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/scloudstack/pharos/internal/api"
	"github.com/scloudstack/pharos/policy"
)

func (a *app) alarmCmd() *cobra.Command {
	return groupOf(&cobra.Command{
		Use:   "alarm",
		Short: "List and acknowledge alarms",
		Example: `  pharos alarm list
  pharos alarm ack all-down/shop --reason "INC-7, on it"`,
	}, a.alarmListCmd(), a.alarmAckCmd())
}

func (a *app) alarmListCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List what a person should know, with the way out of each",
		Example: `  pharos alarm list
  pharos alarm list -o json | jq -e 'all(.acknowledged)'`,
		Args: cobra.NoArgs,
		RunE: a.withNode(func(ctx context.Context, c *api.Client) error {
			s, err := c.Status(ctx)
			if err != nil {
				return err
			}
			return a.show(s.Alarms, func(p *page) {
				if len(s.Alarms) == 0 {
					p.linef("No alarms.")
				}
				p.alarms(s.Alarms, s.Node.Now)
			})
		}),
	}
}

func (a *app) alarmAckCmd() *cobra.Command {
	var order orderFlags
	var clear bool
	cmd := &cobra.Command{
		Use:   "ack CAUSE",
		Short: "Say that an alarm is known; it stays until its cause is gone",
		Long: `The alarm stays until its cause is gone. Every node learns that one of the
cluster is known. One of a node alone (its disk, a zone file, a reload that was
refused) is known to that node alone, until it restarts.`,
		Example: `  pharos alarm ack all-down/shop --reason "INC-7, on it"
  pharos alarm ack all-down/shop --clear`,
		Args:              exactly("CAUSE"),
		ValidArgsFunction: a.complete(alarmCauses),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.order(cmd.Context(), order, api.OrderRequest{Kind: policy.KindAck, Key: args[0], Clear: clear})
		},
	}
	cmd.Flags().StringVarP(&order.reason, "reason", "r", "", "`why`, for whoever reads it at night")
	order.addWait(cmd)
	cmd.Flags().BoolVar(&clear, "clear", false, "take the acknowledgement back")
	return cmd
}
