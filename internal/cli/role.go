package cli

import (
	"context"
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
	cmd := &cobra.Command{
		Use: "list", Short: "List the role definitions", Example: "  gatehouse role list --search kubernetes\n  gatehouse role list --custom -o yaml", Args: exactly(),
		RunE: run(func(ctx context.Context, _ []string) error {
			_, est, err := o.look(ctx, env)
			if err != nil {
				return err
			}
			var rows []row
			for r := range est.Definitions() {
				if (!custom || !r.BuiltIn) && strings.Contains(strings.ToLower(r.RoleName), strings.ToLower(search)) {
					rows = append(rows, roleRow(r))
				}
			}
			sortRows(rows)
			return o.list(env, "role", []string{"NAME", "KIND", "ACTIONS", "DATA ACTIONS", "(ID)", "(DESCRIPTION)"}, rows)
		}),
	}
	cmd.Flags().StringVar(&search, "search", "", "`text` that the name contains")
	cmd.Flags().BoolVar(&custom, "custom", false, "leave the built-in roles out")
	return cmd
}

func roleShow(env *Env, o *options) *cobra.Command {
	return &cobra.Command{
		Use: "show ROLE", Short: "Show what a role allows", Example: `  gatehouse role show "Azure Kubernetes Service RBAC Reader"`, Args: exactly("ROLE"),
		ValidArgsFunction: completeArgs(env, o, 0, roles),
		RunE: run(func(ctx context.Context, args []string) error {
			_, est, err := o.look(ctx, env)
			if err != nil {
				return err
			}
			r, err := findRole(est, args[0])
			if err != nil {
				return err
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
			return o.show(env, "role", rw, facts)
		}),
	}
}

func roleDelete(env *Env, o *options) *cobra.Command {
	var c change
	cmd := &cobra.Command{
		Use: "delete ROLE", Short: "Delete a custom role that is assigned nowhere (on a server)", Example: `  gatehouse role delete "Pod Restarter" --server https://127.0.0.1:8443`,
		Args: exactly("ROLE"), ValidArgsFunction: completeArgs(env, o, 0, roles),
		RunE: run(func(ctx context.Context, args []string) error {
			return c.commit(ctx, env, o, "gatehouse role delete", func(est *estate.Snapshot) ([]estate.Op, string, error) {
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
		}),
	}
	c.flags(cmd)
	return cmd
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
