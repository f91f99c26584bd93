package cli

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
)

func newUser(env *Env, o *options) *cobra.Command {
	return words("user", "List, show and change users", "Users are the people who sign in.",
		`  gatehouse user list
  gatehouse user show faye@teknews.cloud
  gatehouse user disable developer1@contoso.com --why "left the company"`,
		userList(env, o), userShow(env, o), userCreate(env, o), userDelete(env, o),
		userSwitch(env, o, "disable", true), userSwitch(env, o, "enable", false))
}

var userHeading = []string{"NAME", "DISPLAY NAME", "STATE", "GROUPS", "(ID)", "(TENANT)"}

func userRow(est *estate.Snapshot, u directory.User) row {
	state := "enabled"
	if u.Disabled {
		state = "disabled"
	}
	return row{u, u.UserPrincipalName, []string{u.UserPrincipalName, u.DisplayName, state, names(est, est.GroupsOf(u.ID)), u.ID.String(), tenantName(est, u.Tenant)}}
}

func names(est *estate.Snapshot, ids []principal.ID) string {
	var list []string
	for _, id := range ids {
		if p, ok := est.Principal(id); ok {
			list = append(list, p.Name)
		} else {
			list = append(list, id.String())
		}
	}
	return strings.Join(list, ", ")
}

func tenantName(est *estate.Snapshot, id directory.TenantID) string {
	if t, ok := est.Tenant(id); ok && len(t.Domains) > 0 {
		return t.Domains[0]
	}
	return id.String()
}

func userList(env *Env, o *options) *cobra.Command {
	return listing(env, o, "user", userHeading, &cobra.Command{
		Use: "list", Short: "List the users", Example: "  gatehouse user list -o wide", Args: exactly(),
	}, func(est *estate.Snapshot, _ []string) ([]row, error) {
		var rows []row
		for p := range est.Principals() {
			if u, ok := est.User(p.ID); ok {
				rows = append(rows, userRow(est, u))
			}
		}
		return rows, nil
	})
}

func userShow(env *Env, o *options) *cobra.Command {
	return showing(env, o, "user", &cobra.Command{
		Use: "show WHO", Short: "Show a user with groups and role assignments", Example: "  gatehouse user show faye@teknews.cloud", Args: exactly("WHO"),
		ValidArgsFunction: completeArgs(env, o, 0, people),
	}, func(est *estate.Snapshot, name string) (row, []fact, error) {
		u, err := findUser(est, name)
		if err != nil {
			return row{}, nil, err
		}
		r := userRow(est, u)
		return r, append([]fact{
			{"Name", u.UserPrincipalName}, {"Display name", u.DisplayName}, {"Object id", u.ID.String()},
			{"Tenant", tenantName(est, u.Tenant)}, {"State", r.cells[2]}, {"Groups", r.cells[3]},
		}, assignmentFacts(est, u.ID)...), nil
	})
}

func findUser(est *estate.Snapshot, who string) (directory.User, error) {
	p, err := findPrincipal(est, who)
	if err != nil {
		return directory.User{}, err
	}
	u, ok := est.User(p.ID)
	if !ok {
		return u, usage("%q is no user", who)
	}
	return u, nil
}

// assignmentFacts are the role assignments of a principal and of its groups.
func assignmentFacts(est *estate.Snapshot, id principal.ID) []fact {
	var facts []fact
	add := func(holder principal.ID) {
		for _, a := range est.AssignmentsOf(holder) {
			text := roleName(est, a.Role) + " at " + place(est, a.Scope.String())
			if holder != id {
				text += ", through group " + names(est, []principal.ID{holder})
			}
			facts = append(facts, fact{"Role", text})
		}
	}
	add(id)
	for _, g := range est.GroupsOf(id) {
		add(g)
	}
	return append(facts, directoryFacts(est, id)...)
}

// directoryFacts are the directory roles of a principal and of its groups, what it
// owns, and who owns it.
func directoryFacts(est *estate.Snapshot, id principal.ID) []fact {
	var facts []fact
	for _, holder := range append([]principal.ID{id}, est.GroupsOf(id)...) {
		for _, a := range est.DirectoryRolesOf(holder) {
			text := directoryRoleName(a.Role)
			if !a.Object.IsZero() {
				text += " over " + objectName(est, a.Object)
			}
			if holder != id {
				text += ", through group " + names(est, []principal.ID{holder})
			}
			facts = append(facts, fact{"Directory role", text})
		}
	}
	for _, object := range est.Owned(id) {
		facts = append(facts, fact{"Owns", objectName(est, object)})
	}
	if owners := slices.Collect(est.Owners(id)); len(owners) > 0 {
		facts = append(facts, fact{"Owners", sorted(names(est, owners))})
	}
	return facts
}

func userCreate(env *Env, o *options) *cobra.Command {
	var display, tenant string
	cmd := changing(env, o, &cobra.Command{
		Use: "create NAME@DOMAIN", Short: "Create a user (on a server)", Example: `  gatehouse user create ana@teknews.cloud --display-name "Ana" --server https://127.0.0.1:8443`,
		Args: exactly("NAME@DOMAIN"),
	}, func(est *estate.Snapshot, args []string) ([]estate.Op, string, error) {
		name, err := directory.CanonicalUPN(args[0])
		if err != nil {
			return nil, "", usage("%w", err)
		}
		if _, taken := est.UserByName(name); taken {
			return nil, "", usage("there already is a user %s", name)
		}
		domain := tenant
		if domain == "" {
			_, domain, _ = strings.Cut(name, "@")
		}
		t, err := findTenant(est, domain)
		if err != nil {
			return nil, "", err
		}
		u := directory.User{ID: principal.NewID(), Tenant: t.ID, UserPrincipalName: name, DisplayName: display}
		return []estate.Op{{Put: u}}, fmt.Sprintf("user %s created with object id %s", name, u.ID), nil
	})
	cmd.Flags().StringVar(&display, "display-name", "", "`name` for people")
	cmd.Flags().StringVar(&tenant, "tenant", "", "a `domain` of the tenant; that of the name if left out")
	completeFlag(cmd, env, o, "tenant", domains)
	return cmd
}

// findTenant looks up a tenant by domain or id.
func findTenant(est *estate.Snapshot, domain string) (directory.Tenant, error) {
	if t, ok := est.TenantByDomain(domain); ok {
		return t, nil
	}
	var id directory.TenantID
	if err := id.UnmarshalText([]byte(domain)); err == nil {
		if t, ok := est.Tenant(id); ok {
			return t, nil
		}
	}
	return directory.Tenant{}, unknown("there is no tenant with the domain", domain, "name one with --tenant", values(domains(est)))
}

func userDelete(env *Env, o *options) *cobra.Command {
	return changing(env, o, &cobra.Command{
		Use: "delete WHO", Short: "Delete a user and his memberships (on a server)", Example: "  gatehouse user delete ana@teknews.cloud --server https://127.0.0.1:8443",
		Args: exactly("WHO"), ValidArgsFunction: completeArgs(env, o, 0, people),
	}, func(est *estate.Snapshot, args []string) ([]estate.Op, string, error) {
		u, err := findUser(est, args[0])
		return withDependents(est, estate.Op{Delete: record.KeyOf(record.User, u.ID.String())}), "user " + u.UserPrincipalName + " deleted", err
	})
}

func userSwitch(env *Env, o *options, verb string, disabled bool) *cobra.Command {
	short := "Let a user sign in again (on a server)"
	if disabled {
		short = "Refuse a user everywhere, from the next request on (on a server)"
	}
	return changing(env, o, &cobra.Command{
		Use: verb + " WHO", Short: short, Example: fmt.Sprintf("  gatehouse user %s developer1@contoso.com --server https://127.0.0.1:8443", verb),
		Args: exactly("WHO"), ValidArgsFunction: completeArgs(env, o, 0, people),
	}, func(est *estate.Snapshot, args []string) ([]estate.Op, string, error) {
		u, err := findUser(est, args[0])
		if err != nil {
			return nil, "", err
		}
		if u.Disabled = disabled; disabled {
			// Whoever enables the user again must not revive old sessions.
			u.TokensValidFrom = env.Now().UTC().Truncate(time.Second)
		}
		return []estate.Op{{Put: u}}, fmt.Sprintf("user %s %sd", u.UserPrincipalName, verb), nil
	})
}
