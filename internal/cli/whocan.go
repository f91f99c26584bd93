package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
)

func newWhoCan(env *Env, o *options) *cobra.Command {
	var a asked
	cmd := &cobra.Command{
		Use:   "who-can VERB RESOURCE[.GROUP][/SUB] [NAME]",
		Short: "Who may do something? Exit code 1 when nobody may",
		Long: `Who may do something, on a cluster or to an Azure resource?

Groups are resolved to their members. Identities that only Kubernetes knows, such
as service accounts, come last. Local admin certificates and the cluster's own
controllers are not listed.`,
		Example: `  gatehouse who-can delete pods -n default --cluster aks-1
  gatehouse who-can get secrets --cluster aks-2 -o json
  gatehouse who-can --action Microsoft.ContainerService/managedClusters/listClusterAdminCredential/action --cluster aks-2`,
		GroupID:           questions,
		Args:              cobra.MaximumNArgs(3),
		ValidArgsFunction: completeKube,
	}
	a.flags(cmd, env, o, false)
	cmd.RunE = run(func(ctx context.Context, args []string) error {
		src, est, q, err := a.ask(ctx, env, o, args, false)
		if err != nil {
			return err
		}
		found, err := src.WhoCan(ctx, q.Question)
		if err != nil {
			return err
		}
		if done, err := o.machine(env, found); done && err != nil {
			return err
		} else if !done {
			var rows [][]string
			for _, h := range found.Holders {
				name := h.Principal.Name
				if h.Everyone {
					name = "everybody who signs in"
				}
				if o.output == "name" {
					fmt.Fprintln(env.Stdout, printable(orMissing(name, h.Principal.ID)))
					continue
				}
				rows = append(rows, []string{name, h.Principal.Kind, chain(h.Via), describeGrant(est, &h.By), h.Principal.ID})
			}
			if len(rows) > 0 {
				o.table(env.Stdout, []string{"NAME", "KIND", "THROUGH", "BY", "(ID)"}, rows)
			}
		}
		if len(found.Holders) == 0 {
			env.note("nobody may %s", q.what)
			return env.unless(found.NotEvaluated, &Exit{Code: ExitNo})
		}
		return env.unless(found.NotEvaluated, nil)
	})
	return cmd
}
