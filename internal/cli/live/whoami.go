package live

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gatehouse-io/gatehouse/internal/cli"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/client"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/wire"
)

func newWhoAmI(env *cli.Env) *cobra.Command {
	return &cobra.Command{
		Use:   "whoami",
		Short: "Show who you are to the house, and your groups now",
		Long: `Show as whom commands ask the house: whoever signed in with gatehouse login, else the
operator whose credential is in the data directory. Groups are those of this
moment, also those that contain one of your groups.`,
		Example: "  gatehouse whoami\n  gatehouse whoami -o json",
		Args:    cli.Exactly(),
		RunE: cli.Run(func(cmd *cobra.Command, _ []string) error {
			c, err := reach(cmd, env)
			if err != nil {
				return err
			}
			who, err := c.WhoAmI(cmd.Context())
			if err != nil {
				return err
			}
			if done, err := cli.Machine(cmd, env, who); done {
				return err
			}
			warnRehearsal(env, who.Rehearsal)
			groups := groupNames(cmd, c, who)
			facts(env, "Name", who.Name, "Kind", who.Kind, "Object id", who.ID, "Tenant", who.Tenant,
				"Groups", strings.Join(groups, ", "), "House", c.Base)
			return nil
		}),
	}
}

// groupNames names the caller's groups, as far as he may read them.
func groupNames(cmd *cobra.Command, c *client.Client, who wire.WhoAmI) []string {
	names := slices.Clone(who.Groups)
	if len(names) == 0 {
		return nil
	}
	got, err := c.Estate(cmd.Context(), record.Group)
	if err != nil {
		return names // the ids are an answer, too
	}
	for _, rec := range got.Records {
		g, err := estate.Decode(rec.Kind, rec.Spec)
		if err != nil {
			continue
		}
		if group, ok := g.(directory.Group); ok {
			if i := slices.Index(names, group.ID.String()); i >= 0 {
				names[i] = group.DisplayName
			}
		}
	}
	return names
}
