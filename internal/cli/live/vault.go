package live

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gatehouse-io/gatehouse/internal/cli"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/manifest/nearest"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/serve/keyvault"
	"github.com/gatehouse-io/gatehouse/internal/vault"
)

func newVault(env *cli.Env) *cobra.Command {
	return cli.Words("vault", "List vaults; read and write their secrets", `Vaults keep secrets, keys and certificates. A vault is asked as you, with a token of
your own sign-in, and decides by your data actions: being the operator of a house
or the owner of a vault opens none.`,
		"  gatehouse vault list\n  gatehouse vault secret set web-secrets db < password.txt\n  gatehouse vault secret get web-secrets db --value",
		newVaultList(env), newVaultShow(env), newVaultSecret(env))
}

// vaults are those of an estate, by name.
func vaults(est *estate.Snapshot) []resource.Other {
	var all []resource.Other
	for r := range est.Resources() {
		if r.Scope.Type() == keyvault.VaultType {
			all = append(all, r)
		}
	}
	slices.SortFunc(all, func(a, b resource.Other) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

func vaultNames(est *estate.Snapshot) []string {
	var names []string
	for _, v := range vaults(est) {
		names = append(names, v.Name)
	}
	return names
}

// A vaultShown is a vault as the command line tells of it.
type vaultShown struct {
	Name      string `json:"name"`
	Scope     string `json:"scope"`
	Location  string `json:"location,omitzero"`
	URL       string `json:"url"`
	DecidedBy string `json:"decidedBy"`
	// RetentionDays is how long what is deleted can be recovered.
	RetentionDays   int  `json:"retentionDays"`
	PurgeProtection bool `json:"purgeProtection"`
	// Problem is why the vault cannot be used as it is, if so.
	Problem string `json:"problem,omitzero"`
}

func showVault(r resource.Other) vaultShown {
	out := vaultShown{Name: r.Name, Scope: r.Scope.String(), Location: r.Location, URL: "https://" + strings.ToLower(r.Name) + keyvault.Suffix}
	p, err := vault.ParseProperties([]byte(r.Properties.String()))
	if err != nil {
		out.Problem = err.Error()
		return out
	}
	out.RetentionDays, out.PurgeProtection, out.DecidedBy = p.Retention.Days(), p.Retention.PurgeProtection, "role assignments"
	if !p.RBAC {
		out.DecidedBy, out.Problem = "access policies", "access policies are not evaluated here: it refuses everybody until enableRbacAuthorization is true"
	}
	if p.Private {
		out.Problem = "it is closed to all but private endpoints, which there are none of here"
	}
	return out
}

func newVaultList(env *cli.Env) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the vaults that you may read about", Example: "  gatehouse vault list -o json", Args: cli.Exactly(),
		RunE: cli.Run(func(cmd *cobra.Command, _ []string) error {
			est, err := lookAt(cmd, env)
			if err != nil {
				return err
			}
			all := []vaultShown{}
			for _, r := range vaults(est) {
				all = append(all, showVault(r))
			}
			if done, err := cli.Machine(cmd, env, struct {
				Vaults []vaultShown `json:"vaults"`
			}{all}); done {
				return err
			}
			var rows [][]string
			for _, v := range all {
				rows = append(rows, []string{v.Name, v.Location, v.DecidedBy, v.URL, v.Scope})
			}
			cli.Table(cmd, env, []string{"NAME", "LOCATION", "DECIDED BY", "URL", "(SCOPE)"}, rows)
			return nil
		}),
	}
}

func newVaultShow(env *cli.Env) *cobra.Command {
	return &cobra.Command{
		Use: "show VAULT", Short: "Show a vault: where it is, who decides, how long what is deleted stays", Example: "  gatehouse vault show web-secrets",
		Args: cli.Exactly("VAULT"), ValidArgsFunction: cli.Complete(env, 0, vaultNames),
		RunE: cli.Run(func(cmd *cobra.Command, args []string) error {
			est, err := lookAt(cmd, env)
			if err != nil {
				return err
			}
			r, ok := est.ResourceNamed(keyvault.VaultType, strings.ToLower(args[0]))
			if !ok {
				hint := "gatehouse vault list shows those that you may read about"
				if near := nearest.Names(args[0], slices.Values(vaultNames(est)), 1); near != nil {
					hint = fmt.Sprintf("did you mean %q? %s", near[0], hint)
				}
				return cli.Usage("there is no vault %q: %s", args[0], hint)
			}
			v := showVault(r)
			if done, err := cli.Machine(cmd, env, v); done {
				return err
			}
			facts(env, "Name", v.Name, "Scope", v.Scope, "Location", v.Location, "URL", v.URL, "Decided by", v.DecidedBy,
				"Recoverable", strconv.Itoa(v.RetentionDays)+" days", "Purge protection", strconv.FormatBool(v.PurgeProtection), "Problem", v.Problem)
			return nil
		}),
	}
}

// lookAt reads the estate that the flags and the environment name.
func lookAt(cmd *cobra.Command, env *cli.Env) (*estate.Snapshot, error) {
	src, err := cli.Source(cmd, env)
	if err != nil {
		return nil, err
	}
	return src.Snapshot(cmd.Context())
}
