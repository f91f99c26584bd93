package live

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatehouse-io/gatehouse/internal/cli"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/client"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/wire"
)

func newKeys(env *cli.Env) *cobra.Command {
	return cli.Words("keys", "List, rotate and stop the signing keys", `The keys that sign tokens, a chain for each tenant and purpose. They rotate by
themselves; these commands are for when something has happened.`,
		"  gatehouse keys list\n  gatehouse keys rotate\n  gatehouse keys stop 4Hq1pYJ2n0c",
		newKeysList(env), newKeysRotate(env), newKeysStop(env),
		newKeysIssuing(env, "stop-issuing", true), newKeysIssuing(env, "resume", false))
}

func newKeysList(env *cli.Env) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the signing keys, in the order in which they sign", Example: "  gatehouse keys list -o json", Args: cli.Exactly(),
		RunE: cli.Run(func(cmd *cobra.Command, _ []string) error {
			c, err := reach(cmd, env)
			if err != nil {
				return err
			}
			all, err := c.Keys(cmd.Context())
			if err != nil {
				return err
			}
			if done, err := cli.Machine(cmd, env, all); done {
				return err
			}
			var rows [][]string
			for _, k := range all.Keys {
				rows = append(rows, []string{k.ID, k.Purpose, keyState(k, all.Stopped, env.Now()),
					k.SignFrom.Format(time.RFC3339), k.NotAfter.Format(time.RFC3339), k.Tenant, k.Alg})
			}
			cli.Table(cmd, env, []string{"KEY", "PURPOSE", "STATE", "SIGNS FROM", "ACCEPTED UNTIL", "TENANT", "(ALGORITHM)"}, rows)
			if all.Stopped {
				fmt.Fprintln(env.Stderr, "Issuing is stopped: nobody gets a token. gatehouse keys resume ends that.")
			}
			return nil
		}),
	}
}

func keyState(k wire.Key, stopped bool, now time.Time) string {
	switch {
	case k.Signs:
		return "signs"
	case now.Before(k.SignFrom):
		return "signs next"
	case stopped:
		return "stopped"
	}
	return "accepted"
}

func newKeysRotate(env *cli.Env) *cobra.Command {
	return &cobra.Command{
		Use: "rotate", Short: "Make a successor for every key that has none (on a server)",
		Long: `Make a successor for every key that has none. It is published at once and signs a
day later, when all who keep the published keys know it; its predecessor is
accepted for as long as its tokens live. A key that others may know must not go on
for so long: gatehouse keys stop ends it at once.`,
		Example: "  gatehouse keys rotate", Args: cli.Exactly(),
		RunE: cli.Run(func(cmd *cobra.Command, _ []string) error {
			c, err := reach(cmd, env)
			if err != nil {
				return err
			}
			before, err := c.Keys(cmd.Context())
			if err != nil {
				return err
			}
			if err := c.RotateKeys(cmd.Context()); err != nil {
				return err
			}
			after, err := c.Keys(cmd.Context())
			if err != nil {
				return err
			}
			known := make(map[string]bool)
			for _, k := range before.Keys {
				known[k.ID] = true
			}
			made := 0
			for _, k := range after.Keys {
				if !known[k.ID] {
					made++
					fmt.Fprintf(env.Stdout, "key %s for %s of tenant %s signs from %s on\n", k.ID, k.Purpose, k.Tenant, k.SignFrom.Format(time.RFC3339))
				}
			}
			if made == 0 {
				fmt.Fprintln(env.Stdout, "every key has its successor already")
			}
			return nil
		}),
	}
}

func newKeysStop(env *cli.Env) *cobra.Command {
	return &cobra.Command{
		Use: "stop KEY", Short: "Remove a key at once, with all its tokens (on a server)",
		Long: `Remove a signing key at once, as when others may know it: its tokens are refused
everywhere within a second, and a new key signs. People sign in again, or their
clients renew their tokens by themselves.`,
		Example: "  gatehouse keys stop 4Hq1pYJ2n0c", Args: cli.Exactly("KEY"),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			if c, err := reach(cmd, env); err == nil && len(args) == 0 {
				return keyIDs(cmd, c), cobra.ShellCompDirectiveNoFileComp
			}
			return nil, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: cli.Run(func(cmd *cobra.Command, args []string) error {
			c, err := reach(cmd, env)
			if err != nil {
				return err
			}
			if err := c.StopKey(cmd.Context(), args[0]); err != nil {
				return seek(err, "gatehouse keys list shows those that there are")
			}
			fmt.Fprintf(env.Stdout, "key %s is removed: its tokens are refused\n", args[0])
			return nil
		}),
	}
}

func keyIDs(cmd *cobra.Command, c *client.Client) []string {
	all, err := c.Keys(cmd.Context())
	if err != nil {
		return nil
	}
	var ids []string
	for _, k := range all.Keys {
		ids = append(ids, k.ID)
	}
	return ids
}

func newKeysIssuing(env *cli.Env, verb string, stopped bool) *cobra.Command {
	ask := wire.Issuing{Stopped: stopped}
	cmd := &cobra.Command{
		Use: verb, Short: "Let tokens be issued again (on a server)", Example: `  gatehouse keys resume --why "the drill is over"`, Args: cli.Exactly(),
		RunE: cli.Run(func(cmd *cobra.Command, _ []string) error {
			c, err := reach(cmd, env)
			if err != nil {
				return err
			}
			if err := c.SetIssuing(cmd.Context(), ask); err != nil {
				return err
			}
			if stopped {
				fmt.Fprintln(env.Stdout, "issuing is stopped: nobody gets a token; tokens that are out go on to their end")
				return nil
			}
			fmt.Fprintln(env.Stdout, "issuing goes on")
			return nil
		}),
	}
	if stopped {
		cmd.Short, cmd.Example = "Issue no token to anybody until further notice (on a server)", `  gatehouse keys stop-issuing --why "suspected intrusion"`
		cmd.Long = `Issue no token to anybody. Tokens that are out are accepted to their end. The one
that you have goes on for up to an hour, in which gatehouse keys resume works; after
that, start the house with --resume-issuing.`
	}
	cmd.Flags().StringVar(&ask.Why, "why", "", "`reason`, for the audit log")
	return cmd
}
