package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/record"
)

func newRole(env *Env, o *options) *cobra.Command {
	return words("role", "List, show and delete role definitions", "Roles are named sets of operations. New ones are written as YAML and applied: gatehouse apply -f.",
		`  gatehouse role list --search kubernetes
  gatehouse role show "Azure Kubernetes Service RBAC Reader"`,
		roleList(env, o), roleShow(env, o), roleDelete(env, o))
}

func roleName(est *estate.Snapshot, id azurerbac.DefinitionID) string {
	if r, ok := est.Definition(id); ok {
		return r.RoleName
	}
	return id.String()
}

func roleRow(r *azurerbac.Role) row {
	kind := "custom"
	if r.BuiltIn {
		kind = "built-in"
	}
	var actions, data int
	for _, p := range r.Definition.Permissions {
		actions, data = actions+len(p.Actions), data+len(p.DataActions)
	}
	return row{r.Definition, r.RoleName, []string{r.RoleName, kind, fmt.Sprint(actions), fmt.Sprint(data), r.ID.String(), r.Description}}
}

func roleList(env *Env, o *options) *cobra.Command {
	var search string
	var custom bool
	cmd := listing(env, o, "role", []string{"NAME", "KIND", "ACTIONS", "DATA ACTIONS", "(ID)", "(DESCRIPTION)"}, &cobra.Command{
		Use: "list", Short: "List the role definitions", Example: "  gatehouse role list --search kubernetes\n  gatehouse role list --custom -o yaml", Args: exactly(),
	}, func(est *estate.Snapshot, _ []string) ([]row, error) {
		var rows []row
		for r := range est.Definitions() {
			if (!custom || !r.BuiltIn) && strings.Contains(strings.ToLower(r.RoleName), strings.ToLower(search)) {
				rows = append(rows, roleRow(r))
			}
		}
		return rows, nil
	})
	cmd.Flags().StringVar(&search, "search", "", "`text` that the name contains")
	cmd.Flags().BoolVar(&custom, "custom", false, "leave the built-in roles out")
	return cmd
}

func roleShow(env *Env, o *options) *cobra.Command {
	return showing(env, o, "role", &cobra.Command{
		Use: "show ROLE", Short: "Show what a role allows", Example: `  gatehouse role show "Azure Kubernetes Service RBAC Reader"`, Args: exactly("ROLE"),
		ValidArgsFunction: completeArgs(env, o, 0, roles),
	}, func(est *estate.Snapshot, name string) (row, []fact, error) {
		r, err := findRole(est, name)
		if err != nil {
			return row{}, nil, err
		}
		rw := roleRow(r)
		facts := []fact{{"Name", r.RoleName}, {"Kind", rw.cells[1]}, {"Id", r.ID.String()}, {"Description", r.Description}}
		for _, at := range r.AssignableScopes {
			facts = append(facts, fact{"Assignable at", place(est, at.String())})
		}
		for _, p := range r.Definition.Permissions {
			for _, list := range []struct {
				name string
				ops  []string
			}{{"Action", p.Actions}, {"Not action", p.NotActions}, {"Data action", p.DataActions}, {"Not data action", p.NotDataActions}} {
				for _, op := range list.ops {
					facts = append(facts, fact{list.name, op})
				}
			}
			facts = append(facts, fact{"Condition", p.Condition})
		}
		return rw, facts, nil
	})
}

func roleDelete(env *Env, o *options) *cobra.Command {
	return changing(env, o, &cobra.Command{
		Use: "delete ROLE", Short: "Delete a custom role that is assigned nowhere (on a server)", Example: `  gatehouse role delete "Pod Restarter" --server https://127.0.0.1:8443`,
		Args: exactly("ROLE"), ValidArgsFunction: completeArgs(env, o, 0, roles),
	}, func(est *estate.Snapshot, args []string) ([]estate.Op, string, error) {
		r, err := findRole(est, args[0])
		if err != nil {
			return nil, "", err
		}
		if r.BuiltIn {
			return nil, "", usage("role %q is built in", r.RoleName)
		}
		key := record.KeyOf(record.RoleDefinition, r.ID.String())
		if used := est.Dependents(key); len(used) > 0 {
			return nil, "", usage("role %q is assigned %s: delete those first, see gatehouse assignment list --role", r.RoleName, plural(len(used), "time"))
		}
		return []estate.Op{{Delete: key}}, fmt.Sprintf("role %q deleted", r.RoleName), nil
	})
}

// allAssignments are the role assignments of an estate, in order of id.
func allAssignments(est *estate.Snapshot) []azurerbac.Assignment {
	var out []azurerbac.Assignment
	for rec := range est.Records() {
		if a, ok := rec.(azurerbac.Assignment); ok {
			out = append(out, a)
		}
	}
	return slices.Clip(out)
}
