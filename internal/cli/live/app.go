package live

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatehouse-io/gatehouse/internal/cli"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/manifest/nearest"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/wire"
)

func newApp(env *cli.Env) *cobra.Command {
	return cli.Words("app", "List applications, and give them secrets", "Applications are programs that sign in.",
		"  gatehouse app list\n  gatehouse app secret deploy-bot --days 30", newAppList(env), newAppSecret(env))
}

func newAppList(env *cli.Env) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the applications", Example: "  gatehouse app list -o json", Args: cli.Exactly(),
		RunE: cli.Run(func(cmd *cobra.Command, _ []string) error {
			src, err := cli.Source(cmd, env)
			if err != nil {
				return err
			}
			est, err := src.Snapshot(cmd.Context())
			if err != nil {
				return err
			}
			apps := applications(est)
			if done, err := cli.Machine(cmd, env, struct {
				Applications []directory.Application `json:"applications"`
			}{apps}); done {
				return err
			}
			var rows [][]string
			for _, a := range apps {
				rows = append(rows, []string{a.DisplayName, a.AppID.String(), tenantOf(est, a.Tenant), a.ID.String()})
			}
			cli.Table(cmd, env, []string{"NAME", "APPLICATION ID", "TENANT", "(OBJECT ID)"}, rows)
			return nil
		}),
	}
}

func applications(est *estate.Snapshot) []directory.Application {
	apps := []directory.Application{}
	for r := range est.Records() {
		if a, ok := r.(directory.Application); ok {
			apps = append(apps, a)
		}
	}
	return apps
}

func tenantOf(est *estate.Snapshot, id directory.TenantID) string {
	if t, ok := est.Tenant(id); ok && len(t.Domains) > 0 {
		return t.Domains[0]
	}
	return id.String()
}

func newAppSecret(env *cli.Env) *cobra.Command {
	var ask wire.NewSecret
	cmd := &cobra.Command{
		Use:   "secret NAME|APPID",
		Short: "Give an application another secret, which is shown once (on a server)",
		Long: `Give an application another client secret. It is printed once: the house keeps
only what it takes to recognise it. Secrets that the application has go on working.`,
		Example: "  gatehouse app secret deploy-bot --days 30 --name ci\n  gatehouse app secret deploy-bot -o json | jq -r .text",
		Args:    cli.Exactly("NAME"), ValidArgsFunction: cli.Complete(env, 0, appNames),
		RunE: cli.Run(func(cmd *cobra.Command, args []string) error {
			c, err := reach(cmd, env)
			if err != nil {
				return err
			}
			est, err := (&remote{c}).Snapshot(cmd.Context())
			if err != nil {
				return err
			}
			app, err := findApp(est, args[0])
			if err != nil {
				return err
			}
			if ask.Days < 0 {
				return cli.Usage("--days %d is in the past", ask.Days)
			}
			secret, err := c.NewSecret(cmd.Context(), app.AppID.String(), ask)
			if err != nil {
				return err
			}
			if done, err := cli.Machine(cmd, env, secret); done {
				return err
			}
			facts(env, "Application", app.DisplayName, "Application id", app.AppID.String(), "Tenant", tenantOf(est, app.Tenant),
				"Secret", secret.Text, "Key id", secret.KeyID, "Until", secret.Expires.UTC().Format(time.RFC3339))
			fmt.Fprintln(env.Stderr, "The secret is not shown again.")
			return nil
		}),
	}
	cmd.Flags().StringVar(&ask.Name, "name", "", "what it is `for`")
	cmd.Flags().IntVar(&ask.Days, "days", 0, "how many `days` it lives (default 180)")
	return cmd
}

func appNames(est *estate.Snapshot) []string {
	var names []string
	for _, a := range applications(est) {
		names = append(names, a.DisplayName)
	}
	return names
}

// findApp looks up an application by display name or application id.
func findApp(est *estate.Snapshot, name string) (directory.Application, error) {
	var found []directory.Application
	for _, a := range applications(est) {
		if strings.EqualFold(a.DisplayName, name) || strings.EqualFold(a.AppID.String(), name) {
			found = append(found, a)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		hint := "gatehouse app list shows them"
		if near := nearest.Names(name, slices.Values(appNames(est)), 1); near != nil {
			hint = fmt.Sprintf("did you mean %q? %s", near[0], hint)
		}
		return directory.Application{}, cli.Usage("there is no application %q: %s", name, hint)
	}
	return directory.Application{}, cli.Usage("%d applications are called %q: name one by its application id, such as %s", len(found), name, found[0].AppID)
}
