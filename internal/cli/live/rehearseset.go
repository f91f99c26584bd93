package live

import (
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatehouse-io/gatehouse/internal/cli"
	"github.com/gatehouse-io/gatehouse/internal/rehearsal"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/wire"
)

// mustComplete panics when a completion is registered for a flag that is not there.
func mustComplete(err error) {
	if err != nil {
		panic(err)
	}
}

func completions[T ~string](list []T) []cobra.Completion {
	out := make([]cobra.Completion, len(list))
	for i, t := range list {
		out[i] = cobra.Completion(t)
	}
	return out
}

func newRehearseThrottle(env *cli.Env) *cobra.Command {
	var (
		why   string
		azure bool
		t     rehearsal.Throttle
	)
	cmd := whyFlag(&cobra.Command{
		Use: "throttle [off]", Short: "Refuse one request too many with 429 (on a server)",
		Long: `Refuse requests of one principal above a rate with 429 and a Retry-After. A rate is a
bucket of so many requests that fills up again in so long, such as 250/10s. Azure
Resource Manager counts for each principal in each subscription, Graph for each
principal, and the token endpoint for each client from one address. Rates that are
not named stay as they are. Each replica counts for itself.`,
		Example: "  gatehouse rehearse throttle --azure\n  gatehouse rehearse throttle --arm-writes 5/m --token 10/m\n  gatehouse rehearse throttle off",
		Args:    offOr("a rate, such as --arm-reads 250/10s, or --azure"), ValidArgsFunction: cobra.FixedCompletions([]cobra.Completion{"off"}, cobra.ShellCompDirectiveNoFileComp),
		RunE: cli.Run(func(cmd *cobra.Command, args []string) error {
			return turn(cmd, env, why, func(_ wire.Rehearsal, k *rehearsal.Knobs) error {
				if len(args) == 1 {
					k.Throttle = rehearsal.Throttle{}
				}
				if azure {
					k.Throttle = rehearsal.AzureThrottle()
				}
				for _, r := range []struct {
					to   *rehearsal.Rate
					from rehearsal.Rate
				}{{&k.Throttle.ARMReads, t.ARMReads}, {&k.Throttle.ARMWrites, t.ARMWrites}, {&k.Throttle.ARMDeletes, t.ARMDeletes}, {&k.Throttle.Graph, t.Graph}, {&k.Throttle.Token, t.Token}} {
					if r.from != (rehearsal.Rate{}) {
						*r.to = r.from
					}
				}
				return nil
			})
		}),
	}, &why)
	f := cmd.Flags()
	f.BoolVar(&azure, "azure", false, "the rates of Azure Resource Manager, and like ones for the others")
	f.TextVar(&t.ARMReads, "arm-reads", rehearsal.Rate{}, "`rate` of reads")
	f.TextVar(&t.ARMWrites, "arm-writes", rehearsal.Rate{}, "`rate` of writes")
	f.TextVar(&t.ARMDeletes, "arm-deletes", rehearsal.Rate{}, "`rate` of deletions")
	f.TextVar(&t.Graph, "graph", rehearsal.Rate{}, "`rate` of requests to Graph")
	f.TextVar(&t.Token, "token", rehearsal.Rate{}, "`rate` of requests for tokens")
	return cmd
}

// offOr accepts the argument "off", or none if a flag says what to do.
func offOr(want string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		flags := cmd.Flags().NFlag()
		for _, other := range []string{"why", "server", "output", "estate"} {
			if cmd.Flags().Changed(other) {
				flags--
			}
		}
		if len(args) == 1 && args[0] == "off" && flags == 0 || len(args) == 0 && flags > 0 {
			return nil
		}
		return cli.Usage("%s needs %s, or the word off alone", cmd.CommandPath(), want)
	}
}

func newRehearseOutage(env *cli.Env) *cobra.Command {
	var (
		why, how string
		last     time.Duration
		end      bool
	)
	cmd := whyFlag(&cobra.Command{
		Use: "outage DOOR...", Short: "Let doors not answer (on a server)",
		Long: `Let one or more doors not answer: arm, graph, oidc, authn, authz, admission, imds,
keyvault or registry. They answer 503 as the service would (--how unavailable), cut the
connection (reset), or say nothing for as long as the client waits (timeout). An
outage ends with --end, by itself after --for, or with gatehouse rehearse off. The
management API has none, and tokens for it are issued in an outage of oidc as well:
it is the way back.

API servers deny what they cannot ask about: an outage of authz refuses everything
that only role assignments grant, and an outage of authn refuses people's tokens.`,
		Example:           "  gatehouse rehearse outage authz --for 10m\n  gatehouse rehearse outage arm graph --how timeout\n  gatehouse rehearse outage authz --end",
		Args:              cobra.MatchAll(cobra.MinimumNArgs(1)),
		ValidArgsFunction: cobra.FixedCompletions(completions(rehearsal.Doors()), cobra.ShellCompDirectiveNoFileComp),
		RunE: cli.Run(func(cmd *cobra.Command, args []string) error {
			if last < 0 || end && (last > 0 || cmd.Flags().Changed("how")) {
				return cli.Usage("--end ends an outage now; --for and --how are for one that begins")
			}
			return turn(cmd, env, why, func(now wire.Rehearsal, k *rehearsal.Knobs) error {
				for _, name := range args {
					o := rehearsal.Outage{Door: rehearsal.Door(name), How: rehearsal.How(how)}
					if !slices.Contains(rehearsal.Doors(), o.Door) {
						return cli.Usage("there is no door %q: the doors are arm, graph, oidc, authn, authz, admission, imds, keyvault and registry", name)
					}
					if last > 0 {
						o.Until = now.MachineTime.Add(last).UTC().Truncate(time.Second)
					}
					k.Outages = slices.DeleteFunc(k.Outages, func(other rehearsal.Outage) bool { return other.Door == o.Door })
					if !end {
						k.Outages = append(k.Outages, o)
					}
				}
				return nil
			})
		}),
	}, &why)
	f := cmd.Flags()
	f.StringVar(&how, "how", string(rehearsal.Unavailable), "`way`: unavailable, reset or timeout")
	f.DurationVar(&last, "for", 0, "end it by itself after a `duration`, by the machine's clock")
	f.BoolVar(&end, "end", false, "end it now")
	mustComplete(cmd.RegisterFlagCompletionFunc("how", cobra.FixedCompletions(completions(rehearsal.Hows()), cobra.ShellCompDirectiveNoFileComp)))
	return cmd
}

// A quotaFlag is a limit as the command line has it.
type quotaFlag struct {
	name, what string
	value      *rehearsal.Limit
}

func quotaFlags(l *rehearsal.Limits) []quotaFlag {
	return []quotaFlag{
		{"role-assignments", "role assignments in a subscription", &l.AssignmentsOfSubscription},
		{"management-group-role-assignments", "role assignments at a management group", &l.AssignmentsOfManagementGroup},
		{"federated-credentials", "federated credentials of an identity", &l.FederatedCredentials},
		{"groups-in-token", "groups in a token", &l.GroupsInToken},
		{"custom-roles", "custom roles in a tenant", &l.CustomRoles},
	}
}

func newRehearseQuotas(env *cli.Env) *cobra.Command {
	var (
		why   string
		azure bool
	)
	given := make([]int, len(quotaFlags(new(rehearsal.Limits))))
	cmd := whyFlag(&cobra.Command{
		Use: "quotas [off]", Short: "Set how many there may be of some things (on a server)",
		Long: `Set how many role assignments, federated credentials, groups in a token and custom
roles there may be. One too many is refused as Azure refuses it; what is there
already stays. A house has no such limits by itself. Limits that are not named stay
as they are; 0 is none.`,
		Example: "  gatehouse rehearse quotas --azure\n  gatehouse rehearse quotas --role-assignments 10\n  gatehouse rehearse quotas off",
		Args:    offOr("a limit, such as --role-assignments 4000, or --azure"), ValidArgsFunction: cobra.FixedCompletions([]cobra.Completion{"off"}, cobra.ShellCompDirectiveNoFileComp),
		RunE: cli.Run(func(cmd *cobra.Command, args []string) error {
			return turn(cmd, env, why, func(_ wire.Rehearsal, k *rehearsal.Knobs) error {
				if len(args) == 1 {
					k.Limits = rehearsal.Limits{}
				}
				if azure {
					k.Limits = rehearsal.AzureLimits()
				}
				for i, q := range quotaFlags(&k.Limits) {
					if cmd.Flags().Changed(q.name) {
						*q.value = rehearsal.Limit(given[i])
					}
				}
				return nil
			})
		}),
	}, &why)
	cmd.Flags().BoolVar(&azure, "azure", false, "the limits of Azure: 4000, 500, 20, 200 and 5000")
	for i, q := range quotaFlags(new(rehearsal.Limits)) {
		cmd.Flags().IntVar(&given[i], q.name, 0, "at most `n` "+q.what)
	}
	return cmd
}
