package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/directoryrole"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/principal"
)

func newDirectoryRole(env *Env, o *options) *cobra.Command {
	return words("directory-role", "List, give and take roles of the directory", "Roles of the directory say who may change users, groups and programs of one tenant. They are nothing in Azure.",
		`  gatehouse directory-role roles
  gatehouse directory-role list --role "Global Administrator"
  gatehouse directory-role assign "Groups Administrator" faye@teknews.cloud --server https://127.0.0.1:8443`,
		directoryRoleRoles(env, o), directoryRoleList(env, o),
		directoryRoleChange(env, o, "assign", "Give somebody a role of the directory (on a server)"),
		directoryRoleChange(env, o, "remove", "Take a role of the directory from somebody (on a server)"))
}

func directoryRoleNames(*estate.Snapshot) []string {
	var names []string
	for r := range directoryrole.All() {
		names = append(names, r.RoleName)
	}
	return names
}

func findDirectoryRole(name string) (*azurerbac.Role, error) {
	if r, ok := directoryrole.ByName(name); ok {
		return r, nil
	}
	if id, err := directory.ParseRoleID(name); err == nil {
		if r, ok := directoryrole.Get(id); ok {
			return r, nil
		}
	}
	return nil, unknown("there is no directory role", name, "gatehouse directory-role roles shows what there is", values(directoryRoleNames(nil)))
}

func directoryRoleRoles(env *Env, o *options) *cobra.Command {
	return &cobra.Command{
		Use: "roles", Short: "List the roles that there are", Example: "  gatehouse directory-role roles -o wide", Args: exactly(),
		RunE: run(func(context.Context, []string) error {
			var rows []row
			for r := range directoryrole.All() {
				p := r.Definition.Permissions[0]
				rows = append(rows, row{r.Definition, r.RoleName, []string{r.RoleName, r.Description, r.Definition.ID.String(), strings.Join(p.Actions, " "), strings.Join(p.NotActions, " ")}})
			}
			return o.list(env, "role", []string{"NAME", "DESCRIPTION", "(ID)", "(ACTIONS)", "(NOT ACTIONS)"}, rows)
		}),
	}
}

func directoryRoleList(env *Env, o *options) *cobra.Command {
	var role, who string
	cmd := listing(env, o, "directoryRole", []string{"ROLE", "PRINCIPAL", "OVER", "(PRINCIPAL ID)", "(TENANT)"}, &cobra.Command{
		Use: "list", Short: "List who has which role of the directory", Example: "  gatehouse directory-role list\n  gatehouse directory-role list --principal faye@teknews.cloud", Args: exactly(),
	}, func(est *estate.Snapshot, _ []string) ([]row, error) {
		only := directory.RoleAssignment{}
		if role != "" {
			r, err := findDirectoryRole(role)
			if err != nil {
				return nil, err
			}
			only.Role = directoryrole.ID(r)
		}
		if who != "" {
			p, err := findPrincipal(est, who)
			if err != nil {
				return nil, err
			}
			only.Principal = p.ID
		}
		var rows []row
		for t := range est.Tenants() {
			for a := range est.DirectoryRoles(t.ID) {
				if !only.Role.IsZero() && a.Role != only.Role || !only.Principal.IsZero() && a.Principal != only.Principal {
					continue
				}
				rows = append(rows, directoryRoleRow(est, t, a))
			}
		}
		return rows, nil
	})
	cmd.Flags().StringVar(&role, "role", "", "only this `role`")
	cmd.Flags().StringVar(&who, "principal", "", "only those of this `user`, group or program")
	completeFlag(cmd, env, o, "role", directoryRoleNames)
	completeFlag(cmd, env, o, "principal", principals)
	return cmd
}

func directoryRoleRow(est *estate.Snapshot, t directory.Tenant, a directory.RoleAssignment) row {
	name, who, over := directoryRoleName(a.Role), names(est, []principal.ID{a.Principal}), "directory "+tenantName(est, t.ID)
	if !a.Object.IsZero() {
		over = objectName(est, a.Object)
	}
	return row{a, name + " " + who + " " + over, []string{name, who, over, a.Principal.String(), tenantName(est, t.ID)}}
}

func directoryRoleChange(env *Env, o *options, verb, short string) *cobra.Command {
	var object string
	cmd := changing(env, o, &cobra.Command{
		Use: verb + " ROLE WHO", Short: short, Args: exactly("ROLE", "WHO"),
		Example: fmt.Sprintf("  gatehouse directory-role %s \"User Administrator\" faye@teknews.cloud --server https://127.0.0.1:8443\n"+
			"  gatehouse directory-role %s \"Groups Administrator\" faye@teknews.cloud --over dev-team --server https://127.0.0.1:8443", verb, verb),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, start string) ([]cobra.Completion, cobra.ShellCompDirective) {
			if len(args) == 0 {
				return matching(directoryRoleNames(nil), start), cobra.ShellCompDirectiveNoFileComp
			}
			return completeArgs(env, o, 1, principals)(cmd, args, start)
		},
	}, func(est *estate.Snapshot, args []string) ([]estate.Op, string, error) {
		role, err := findDirectoryRole(args[0])
		if err != nil {
			return nil, "", err
		}
		p, err := findPrincipal(est, args[1])
		if err != nil {
			return nil, "", err
		}
		a := directory.RoleAssignment{Principal: p.ID, Role: directoryrole.ID(role)}
		over := ""
		if object != "" {
			if a.Object, err = findObject(est, object); err != nil {
				return nil, "", err
			}
			over = " over " + objectName(est, a.Object)
		}
		_, has := est.Get(a.Key())
		switch {
		case verb == "assign" && has:
			return nil, "", usage("%s has the directory role %q%s already", p.Name, role.RoleName, over)
		case verb == "assign":
			return []estate.Op{{Put: a}}, fmt.Sprintf("%s has the directory role %q%s", p.Name, role.RoleName, over), nil
		case !has:
			return nil, "", usage("%s does not have the directory role %q%s himself: gatehouse directory-role list shows who does", p.Name, role.RoleName, over)
		}
		return []estate.Op{{Delete: a.Key()}}, fmt.Sprintf("%s no longer has the directory role %q%s", p.Name, role.RoleName, over), nil
	})
	cmd.Flags().StringVar(&object, "over", "", "the one `object` it is for: a user, a group, an application or a service principal; the whole directory if left out")
	completeFlag(cmd, env, o, "over", objects)
	return cmd
}
