package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
)

func newGroup(env *Env, o *options) *cobra.Command {
	return words("group", "List, show and change groups", "Groups collect principals, and other groups.",
		`  gatehouse group list
  gatehouse group show dev-team
  gatehouse group add dev-team faye@teknews.cloud --server https://127.0.0.1:8443`,
		groupList(env, o), groupShow(env, o), groupCreate(env, o), groupDelete(env, o),
		groupMember(env, o, "add", "Put somebody into a group (on a server)"),
		groupMember(env, o, "remove", "Take somebody out of a group, in force on his next request (on a server)"))
}

var groupHeading = []string{"NAME", "MEMBERS", "DESCRIPTION", "(ID)", "(TENANT)"}

func groupRow(est *estate.Snapshot, g directory.Group) row {
	members := slices.Collect(est.Members(g.ID))
	return row{g, g.DisplayName, []string{g.DisplayName, fmt.Sprint(len(members)), g.Description, g.ID.String(), tenantName(est, g.Tenant)}}
}

func groupList(env *Env, o *options) *cobra.Command {
	return listing(env, o, "group", groupHeading, &cobra.Command{
		Use: "list", Short: "List the groups", Example: "  gatehouse group list -o wide", Args: exactly(),
	}, func(est *estate.Snapshot, _ []string) ([]row, error) {
		var rows []row
		for p := range est.Principals() {
			if g, ok := est.Group(p.ID); ok {
				rows = append(rows, groupRow(est, g))
			}
		}
		return rows, nil
	})
}

func groupShow(env *Env, o *options) *cobra.Command {
	return showing(env, o, "group", &cobra.Command{
		Use: "show GROUP", Short: "Show a group with its members and role assignments", Example: "  gatehouse group show dev-team", Args: exactly("GROUP"),
		ValidArgsFunction: completeArgs(env, o, 0, groups),
	}, func(est *estate.Snapshot, name string) (row, []fact, error) {
		g, err := findGroup(est, name)
		if err != nil {
			return row{}, nil, err
		}
		direct := slices.Collect(est.Members(g.ID))
		var nested []principal.ID
		for id := range est.MembersTransitive(g.ID) {
			if !slices.Contains(direct, id) {
				nested = append(nested, id)
			}
		}
		return groupRow(est, g), append([]fact{
			{"Name", g.DisplayName}, {"Description", g.Description}, {"Object id", g.ID.String()}, {"Tenant", tenantName(est, g.Tenant)},
			{"Members", sorted(names(est, direct))}, {"Through groups", sorted(names(est, nested))}, {"Member of", names(est, est.GroupsOf(g.ID))},
		}, assignmentFacts(est, g.ID)...), nil
	})
}

// sorted puts a list of names in order.
func sorted(list string) string {
	parts := strings.Split(list, ", ")
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}

func findGroup(est *estate.Snapshot, name string) (directory.Group, error) {
	p, err := findPrincipal(est, name)
	if err != nil {
		return directory.Group{}, err
	}
	g, ok := est.Group(p.ID)
	if !ok {
		return g, usage("%q is no group", name)
	}
	return g, nil
}

func groupCreate(env *Env, o *options) *cobra.Command {
	var description, tenant string
	cmd := changing(env, o, &cobra.Command{
		Use: "create NAME", Short: "Create a group (on a server)", Example: "  gatehouse group create on-call --tenant teknews.cloud --server https://127.0.0.1:8443",
		Args: exactly("NAME"),
	}, func(est *estate.Snapshot, args []string) ([]estate.Op, string, error) {
		domain := tenant
		if domain == "" {
			all := slices.Collect(est.Tenants())
			if len(all) != 1 {
				return nil, "", usage("say in which tenant, with --tenant: %s", strings.Join(domains(est), ", "))
			}
			domain = all[0].ID.String()
		}
		t, err := findTenant(est, domain)
		if err != nil {
			return nil, "", err
		}
		for _, p := range est.Named(args[0]) {
			if p.Kind == principal.Group {
				return nil, "", usage("there already is a group %q: %s", args[0], p.ID)
			}
		}
		g := directory.Group{ID: principal.NewID(), Tenant: t.ID, DisplayName: args[0], Description: description}
		return []estate.Op{{Put: g}}, fmt.Sprintf("group %s created with object id %s", g.DisplayName, g.ID), nil
	})
	cmd.Flags().StringVar(&description, "description", "", "`text` about the group")
	cmd.Flags().StringVar(&tenant, "tenant", "", "a `domain` of the tenant; needed when there are several")
	completeFlag(cmd, env, o, "tenant", domains)
	return cmd
}

func groupDelete(env *Env, o *options) *cobra.Command {
	return changing(env, o, &cobra.Command{
		Use: "delete GROUP", Short: "Delete a group and its memberships (on a server)", Example: "  gatehouse group delete on-call --server https://127.0.0.1:8443",
		Args: exactly("GROUP"), ValidArgsFunction: completeArgs(env, o, 0, groups),
	}, func(est *estate.Snapshot, args []string) ([]estate.Op, string, error) {
		g, err := findGroup(est, args[0])
		return withDependents(est, estate.Op{Delete: record.KeyOf(record.Group, g.ID.String())}), "group " + g.DisplayName + " deleted", err
	})
}

func groupMember(env *Env, o *options, verb, short string) *cobra.Command {
	return changing(env, o, &cobra.Command{
		Use: verb + " GROUP WHO", Short: short, Example: fmt.Sprintf("  gatehouse group %s dev-team faye@teknews.cloud --server https://127.0.0.1:8443", verb),
		Args: exactly("GROUP", "WHO"),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, start string) ([]cobra.Completion, cobra.ShellCompDirective) {
			if len(args) == 0 {
				return completeArgs(env, o, 0, groups)(cmd, args, start)
			}
			return completeArgs(env, o, 1, principals)(cmd, args, start)
		},
	}, func(est *estate.Snapshot, args []string) ([]estate.Op, string, error) {
		g, err := findGroup(est, args[0])
		if err != nil {
			return nil, "", err
		}
		p, err := findPrincipal(est, args[1])
		if err != nil {
			return nil, "", err
		}
		m := directory.Membership{Group: g.ID, Member: p.ID}
		_, is := est.Get(m.Key())
		switch {
		case verb == "add" && is:
			return nil, "", usage("%s is directly in %s already", p.Name, g.DisplayName)
		case verb == "add":
			return []estate.Op{{Put: m}}, fmt.Sprintf("%s is in group %s", p.Name, g.DisplayName), nil
		case !is && est.IsMember(p.ID, g.ID):
			return nil, "", usage("%s is in %s through another group: %s", p.Name, g.DisplayName, names(est, est.Chain(p.ID, g.ID)))
		case !is:
			return nil, "", usage("%s is not in %s", p.Name, g.DisplayName)
		}
		return []estate.Op{{Delete: m.Key()}}, fmt.Sprintf("%s is no longer directly in group %s", p.Name, g.DisplayName), nil
	})
}
