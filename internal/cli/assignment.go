package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

func newAssignment(env *Env, o *options) *cobra.Command {
	return words("assignment", "List, show and change role assignments", "A role assignment gives a principal a role at a place and everything below it.",
		`  gatehouse assignment list --principal faye@teknews.cloud
  gatehouse assignment create --role "Azure Kubernetes Service RBAC Reader" --principal faye@teknews.cloud --cluster aks-1 -n dev --server https://127.0.0.1:8443`,
		assignmentList(env, o), assignmentShow(env, o), assignmentCreate(env, o), assignmentDelete(env, o))
}

func assignmentRow(est *estate.Snapshot, a azurerbac.Assignment, now time.Time) row {
	return grantRow(est, a, a.ID.String(), a, now)
}

// grantRow shows who has what where, by an assignment.
func grantRow(est *estate.Snapshot, rec record.Record, id string, a azurerbac.Assignment, now time.Time) row {
	who := a.Principal.String()
	if p, ok := est.Principal(a.Principal); ok {
		who = p.Name
	}
	state := "in force"
	switch {
	case now.Before(a.NotBefore):
		state = "not yet in force"
	case !a.ActiveAt(now):
		state = "ended"
	}
	if a.Condition != "" {
		state += ", under a condition"
	}
	return row{rec, id, []string{who, roleName(est, a.Role), place(est, a.Scope.String()), state, id, a.Scope.String()}}
}

// where are the flags that name a place.
type where struct{ scope, cluster, namespace string }

func (p *where) flags(cmd *cobra.Command, env *Env, o *options) {
	f := cmd.Flags()
	f.StringVar(&p.scope, "scope", "", "the `place`")
	f.StringVarP(&p.cluster, "cluster", "c", "", "name of the `cluster` that is the place")
	f.StringVarP(&p.namespace, "namespace", "n", "", "`namespace` of the cluster that is the place")
	cmd.MarkFlagsMutuallyExclusive("scope", "cluster")
	completeFlag(cmd, env, o, "scope", scopes)
	completeFlag(cmd, env, o, "cluster", clusters)
	completeFlag(cmd, env, o, "namespace", namespaces)
}

// read returns the place that the flags name, or none.
func (p *where) read(est *estate.Snapshot) (scope.Scope, error) {
	switch {
	case p.scope != "" && p.namespace == "":
		// In a directory people know domains and the names of users.
		if t, ok := est.TenantByDomain(p.scope); ok {
			return directory.Place(t.ID), nil
		}
		if u, ok := est.UserByName(p.scope); ok {
			return directory.PlaceOf(u.Tenant, u.ID), nil
		}
		at, err := scope.Parse(p.scope)
		if err != nil {
			return scope.Scope{}, usage("--scope: %w", err)
		}
		return at, nil
	case p.cluster != "":
		c, err := findCluster(est, p.cluster)
		if err != nil || p.namespace == "" {
			return c.Scope, err
		}
		at, err := c.Scope.Namespace(p.namespace)
		if err != nil {
			return scope.Scope{}, usage("-n: %w", err)
		}
		return at, nil
	case p.namespace != "":
		return scope.Scope{}, usage("-n goes with --cluster")
	}
	return scope.Scope{}, nil
}

func assignmentList(env *Env, o *options) *cobra.Command {
	var who, role string
	var p where
	cmd := listing(env, o, "assignment", []string{"PRINCIPAL", "ROLE", "PLACE", "STATE", "ID", "(SCOPE)"}, &cobra.Command{
		Use: "list", Short: "List role assignments, all or some",
		Long:    "List role assignments. --principal shows those of somebody and of the groups he is in; a place shows those at it and above it.",
		Example: "  gatehouse assignment list --cluster aks-1\n  gatehouse assignment list --principal faye@teknews.cloud -o wide\n  gatehouse assignment list --role Owner", Args: exactly(),
	}, func(est *estate.Snapshot, _ []string) ([]row, error) {
		keep, err := assignmentFilter(est, who, role, &p)
		if err != nil {
			return nil, err
		}
		var rows []row
		for _, a := range allAssignments(est) {
			if keep(a) {
				rows = append(rows, assignmentRow(est, a, env.Now()))
			}
		}
		return rows, nil
	})
	filterFlags(cmd, env, o, &who, &role, &p)
	return cmd
}

// filterFlags are the flags of a list that shows some.
func filterFlags(cmd *cobra.Command, env *Env, o *options, who, role *string, p *where) {
	cmd.Flags().StringVar(who, "principal", "", "`who` holds it, also through groups")
	cmd.Flags().StringVar(role, "role", "", "name or id of the `role`")
	completeFlag(cmd, env, o, "principal", principals)
	completeFlag(cmd, env, o, "role", roles)
	p.flags(cmd, env, o)
}

func assignmentFilter(est *estate.Snapshot, who, role string, p *where) (func(azurerbac.Assignment) bool, error) {
	at, err := p.read(est)
	if err != nil {
		return nil, err
	}
	above := make(map[scope.Scope]bool)
	for s := range est.Ancestors(at) {
		above[s] = true
	}
	holders := make(map[principal.ID]bool)
	if who != "" {
		pr, err := findPrincipal(est, who)
		if err != nil {
			return nil, err
		}
		holders[pr.ID] = true
		for _, g := range est.GroupsOf(pr.ID) {
			holders[g] = true
		}
	}
	var want azurerbac.DefinitionID
	if role != "" {
		r, err := findRole(est, role)
		if err != nil {
			return nil, err
		}
		want = r.ID
	}
	return func(a azurerbac.Assignment) bool {
		return (at.IsZero() || above[a.Scope]) && (who == "" || holders[a.Principal]) && (want.IsZero() || a.Role == want)
	}, nil
}

func assignmentShow(env *Env, o *options) *cobra.Command {
	return showing(env, o, "assignment", &cobra.Command{
		Use: "show ID", Short: "Show a role assignment", Example: "  gatehouse assignment show 0d5e3c0f-9d3a-8a52-9e76-0b5fdd1f1b7e", Args: exactly("ID"),
		ValidArgsFunction: completeArgs(env, o, 0, assignmentIDs),
	}, func(est *estate.Snapshot, name string) (row, []fact, error) {
		a, err := findAssignment(est, name)
		if err != nil {
			return row{}, nil, err
		}
		r := assignmentRow(est, a, env.Now())
		return r, []fact{
			{"Id", a.ID.String()}, {"Principal", r.cells[0]}, {"Object id", a.Principal.String()}, {"Role", r.cells[1]}, {"Role id", a.Role.String()},
			{"Place", r.cells[2]}, {"Scope", a.Scope.String()}, {"State", r.cells[3]}, {"From", instant(a.NotBefore)}, {"Until", instant(a.NotAfter)},
			{"Condition", a.Condition}, {"Description", a.Description}, {"Created", instant(a.CreatedOn)},
		}, nil
	})
}

func findAssignment(est *estate.Snapshot, text string) (azurerbac.Assignment, error) {
	// The id may come from an Azure resource id.
	text = text[strings.LastIndexByte(text, '/')+1:]
	var id azurerbac.AssignmentID
	if err := id.UnmarshalText([]byte(text)); err != nil {
		return azurerbac.Assignment{}, usage("%q is no id of a role assignment: gatehouse assignment list shows them", text)
	}
	a, ok := est.Assignment(id)
	if !ok {
		return azurerbac.Assignment{}, usage("there is no role assignment %s: gatehouse assignment list shows them", id)
	}
	return a.Assignment, nil
}

// grantFlags are the flags that say who gets which role where, and when.
type grantFlags struct {
	where
	who, role, condition, from, until string
	last                              time.Duration
}

func (g *grantFlags) flags(cmd *cobra.Command, env *Env, o *options) {
	g.where.flags(cmd, env, o)
	f := cmd.Flags()
	f.StringVar(&g.who, "principal", "", "`who` gets it")
	f.StringVar(&g.role, "role", "", "name or id of the `role`")
	f.StringVar(&g.condition, "condition", "", "`condition` under which it grants")
	f.StringVar(&g.from, "from", "", "`time` at which it begins")
	f.StringVar(&g.until, "until", "", "`time` at which it ends")
	f.DurationVar(&g.last, "for", 0, "how long it lasts from now, or from --from, such as 10m")
	cmd.MarkFlagsMutuallyExclusive("until", "for")
	completeFlag(cmd, env, o, "principal", principals)
	completeFlag(cmd, env, o, "role", roles)
}

// read returns what the flags say as a role assignment without an id, and the name of
// who gets it.
func (g *grantFlags) read(est *estate.Snapshot, now time.Time) (a azurerbac.Assignment, who string, err error) {
	if g.who == "" || g.role == "" {
		return a, "", usage("say who and which role, with --principal and --role")
	}
	pr, err := findPrincipal(est, g.who)
	if err != nil {
		return a, "", err
	}
	r, err := findRole(est, g.role)
	if err != nil {
		return a, "", err
	}
	if a.Scope, err = g.where.read(est); err != nil {
		return a, "", err
	}
	if a.Scope.IsZero() {
		return a, "", usage("say where, with --scope or --cluster")
	}
	if err := timeWindow(&a, now, g.from, g.until, g.last); err != nil {
		return a, "", err
	}
	a.Principal, a.Role, a.Condition = pr.ID, r.ID, g.condition
	return a.WithDefaults(), pr.Name, nil
}

func assignmentCreate(env *Env, o *options) *cobra.Command {
	var g grantFlags
	var description string
	cmd := changing(env, o, &cobra.Command{
		Use: "create", Short: "Give somebody a role at a place (on a server)",
		Example: `  gatehouse assignment create --role "Azure Kubernetes Service RBAC Reader" --principal faye@teknews.cloud --cluster aks-1 -n dev
  gatehouse assignment create --role "Azure Kubernetes Service RBAC Cluster Admin" --principal sre --cluster aks-1 --for 10m --why "incident 42"`,
		Args: exactly(),
	}, func(est *estate.Snapshot, _ []string) ([]estate.Op, string, error) {
		a, who, err := g.read(est, env.Now())
		if err != nil {
			return nil, "", err
		}
		a.ID, a.Description = azurerbac.NewAssignmentID(), description
		if err := a.Validate(); err != nil {
			return nil, "", usage("%w", err)
		}
		return []estate.Op{{Put: a}}, fmt.Sprintf("role %q at %s given to %s as %s", roleName(est, a.Role), place(est, a.Scope.String()), who, a.ID), nil
	})
	g.flags(cmd, env, o)
	cmd.Flags().StringVar(&description, "description", "", "`text` about it")
	return cmd
}

// timeWindow reads the instants between which an assignment grants.
func timeWindow(a *azurerbac.Assignment, now time.Time, from, until string, last time.Duration) error {
	for _, t := range []struct {
		flag, text string
		to         *time.Time
	}{{"--from", from, &a.NotBefore}, {"--until", until, &a.NotAfter}} {
		if t.text == "" {
			continue
		}
		at, err := time.Parse(time.RFC3339, t.text)
		if err != nil {
			return usage("%s %q is no time: write it like 2026-01-02T15:04:05Z", t.flag, t.text)
		}
		*t.to = at.UTC()
	}
	switch {
	case last < 0:
		return usage("--for %v is in the past", last)
	case last > 0:
		start := a.NotBefore
		if start.IsZero() {
			start = now.UTC()
		}
		a.NotAfter = start.Add(last)
	}
	return nil
}

func assignmentDelete(env *Env, o *options) *cobra.Command {
	return changing(env, o, &cobra.Command{
		Use: "delete ID", Short: "Take a role away (on a server)", Example: "  gatehouse assignment delete 0d5e3c0f-9d3a-8a52-9e76-0b5fdd1f1b7e --server https://127.0.0.1:8443",
		Args: exactly("ID"), ValidArgsFunction: completeArgs(env, o, 0, assignmentIDs),
	}, func(est *estate.Snapshot, args []string) ([]estate.Op, string, error) {
		a, err := findAssignment(est, args[0])
		if err != nil {
			return nil, "", err
		}
		r := assignmentRow(est, a, env.Now())
		return []estate.Op{{Delete: record.KeyOf(record.RoleAssignment, a.ID.String())}},
			fmt.Sprintf("role %q at %s taken from %s", r.cells[1], r.cells[2], r.cells[0]), nil
	})
}
