package check

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/decide"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/guid"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

// few is how many may have a broad role at a broad place. Azure recommends at most
// three owners of a subscription.
const few = 3

// Rules about who has which role of Azure.
var assignmentRules = []Rule{
	{
		ID: "broad-assignments", Title: "Many may change everything in a subscription", Severity: Medium,
		Source: zeroToHero + ", sections 4 and 8.3; " + identityOverview + ", section 2.2.2",
		Explain: `Owner, User Access Administrator and Contributor of a subscription, of a management group or of
everything rule each cluster in it, and its identities. More than three holders of one of them at one
place are more than anybody keeps in view. Make them eligible, or give roles for single resource groups.
Who is only eligible, or has the role for a time, is not counted.`,
		look: broadAssignments,
	},
	{
		ID: "dead-assignment", Title: "A role is given to nobody", Severity: Low,
		Source: zeroToHero + ", section 8.5; " + bestPractices + ", Use Microsoft Entra ID",
		Explain: `The principal was deleted or is disabled. What it was given waits for whoever enables it again, and
hides what counts.`,
		look: deadAssignments,
	},
	{
		ID: "guest-rules", Title: "Somebody of another organisation has a broad role", Severity: Medium,
		Source: bestPractices + ", Use Microsoft Entra ID; " + zeroToHero + ", section 8.5",
		Explain: `Whether a guest is still with his organisation is known to that organisation alone. Roles that can
change everything at their place, or give roles, are for those whose leaving the directory sees.`,
		look: guestRules,
	},
	{
		ID: "role-wildcard", Title: "A custom role can do everything", Severity: Medium,
		Source: bestPractices + ", Use Azure RBAC; " + identityOverview + ", section 2.2.2",
		Explain: `A star takes in operations that nobody thought of, such as listClusterAdminCredential, and all
that are invented later. Name the operations, or use a built-in role.`,
		look: roleWildcards,
	},
	{
		ID: "standing-admin", Title: "Somebody administers clusters all the time", Severity: Medium,
		Source: enterpriseScale + ", Design recommendations for operator access",
		Explain: `Full access to a cluster is to be had just in time: eligible, activated with a reason, and ended by
itself. The fix makes the holder eligible for the same role at the same place and takes the standing role
away. Programs cannot activate anything: give them smaller roles.`,
		look: standingAdmins,
	},
}

// assigned calls f for each role assignment, in order of id, with its role.
func (l *look) assigned(f func(*estate.Assigned, *azurerbac.Role)) {
	for _, a := range l.shared.assigned {
		if role, ok := l.est.Definition(a.Role); ok {
			f(a, role)
		}
	}
}

// holder is a role assignment as evidence.
func (l *look) holder(a *estate.Assigned, role *azurerbac.Role) decide.Holder {
	p, ok := l.est.Principal(a.Principal)
	if !ok {
		p = estate.Principal{ID: a.Principal, Name: a.Principal.String()}
	}
	return decide.Holder{Principal: p, By: &estate.Grant{Holder: a.Principal, Scope: a.Scope, Assigned: a, Role: role}}
}

// onAssignment begins a finding about a role assignment.
func (l *look) onAssignment(a *estate.Assigned, role *azurerbac.Role) Finding {
	f := Finding{About: a.Key(), Name: fmt.Sprintf("role %q of %s", role.RoleName, l.nameOf(a.Principal)), Evidence: []decide.Holder{l.holder(a, role)}, Fix: remove(a.Assignment)}
	for at := range a.Scope.Ancestors() {
		if _, ok := l.est.Cluster(at); ok {
			f.Cluster = at
		}
	}
	return f
}

func broadAssignments(l *look) {
	type place struct {
		at   scope.Scope
		role azurerbac.DefinitionID
	}
	found := make(map[place][]*estate.Assigned)
	l.assigned(func(a *estate.Assigned, _ *azurerbac.Role) {
		p := place{a.Scope, a.Role}
		switch a.Role {
		case azurerbac.Owner, azurerbac.UserAccessAdministrator, azurerbac.Contributor:
			if broadTypes[a.Scope.Type()] && a.NotAfter.IsZero() && a.Condition == "" {
				found[p] = append(found[p], a)
			}
		}
	})
	for p, list := range found {
		who := make(map[principal.ID]bool)
		var fix []azurerbac.Assignment
		role, _ := l.est.Definition(p.role)
		f := Finding{About: record.KeyOf(Place, p.at.String(), p.role.String()), Name: p.at.String()}
		for _, a := range list {
			f.Evidence = append(f.Evidence, l.holder(a, role))
			before := len(who)
			l.people(a.Principal, who)
			if len(who) > few && len(who) > before {
				fix = append(fix, a.Assignment)
			}
		}
		if len(who) <= few {
			continue
		}
		f.What = fmt.Sprintf("%d have the role %s here all the time, and %d are few", len(who), role.RoleName, few)
		f.Fix = remove(fix...)
		l.wrong(f)
	}
}

// people adds whoever a principal stands for: itself, or who is in it.
func (l *look) people(id principal.ID, into map[principal.ID]bool) {
	if _, group := l.est.Group(id); !group {
		if _, ok := l.est.Principal(id); ok {
			into[id] = true
		}
		return
	}
	for m := range l.est.MembersTransitive(id) {
		if p, ok := l.est.Principal(m); ok && p.Kind != principal.Group {
			into[m] = true
		}
	}
}

func deadAssignments(l *look) {
	l.assigned(func(a *estate.Assigned, role *azurerbac.Role) {
		f := l.onAssignment(a, role)
		switch p, ok := l.est.Principal(a.Principal); {
		case !ok:
			f.What = fmt.Sprintf("it is given at %s to a principal that is not there", a.Scope)
			l.absent(f)
		case p.Disabled:
			f.What = fmt.Sprintf("it is given at %s to %s, who is disabled", a.Scope, p.Name)
			l.wrong(f)
		}
	})
}

func guestRules(l *look) {
	l.assigned(func(a *estate.Assigned, role *azurerbac.Role) {
		if !l.shared.rules(role) {
			return
		}
		people := make(map[principal.ID]bool)
		l.people(a.Principal, people)
		for id := range people {
			p, _ := l.est.Principal(id)
			if !p.Guest {
				continue
			}
			f := l.onAssignment(a, role)
			f.What = fmt.Sprintf("%s, a guest, has it at %s", p.Name, a.Scope)
			if id != a.Principal {
				f.What += " through group " + l.nameOf(a.Principal)
				f.Evidence[0].Principal, f.Evidence[0].Via = p, l.est.Chain(id, a.Principal)
				f.Fix = leave(f.Evidence[0].Via[0], id)
			}
			l.wrong(f)
		}
	})
}

// everywhere reports whether an operation with stars takes in those that change things of
// every provider, also of one that is invented later.
func everywhere(action string) bool {
	p, err := azurerbac.ParsePattern(action)
	return err == nil && (p.Match("Microsoft.InventedLater/inventedLater/write") || p.Match("Microsoft.InventedLater/inventedLater/do/action"))
}

func roleWildcards(l *look) {
	for role := range l.est.Definitions() {
		if role.BuiltIn {
			continue
		}
		var stars []string
		for _, p := range role.Definition.Permissions {
			for _, a := range slices.Concat(p.Actions, p.DataActions) {
				if everywhere(a) {
					stars = append(stars, a)
				}
			}
		}
		if len(stars) == 0 {
			continue
		}
		f := Finding{About: role.Key(), Name: fmt.Sprintf("role %q", role.RoleName), What: "it allows " + strings.Join(stars, ", ")}
		for _, a := range l.shared.assigned {
			if a.Role == role.ID {
				f.Evidence = append(f.Evidence, l.holder(a, role))
			}
		}
		if f.Fix = (Fix{Commands: []string{words("az", "role", "definition", "update", "--role-definition", "FILE")}}); len(f.Evidence) == 0 && len(l.est.Dependents(role.Key())) == 0 {
			f.Fix = Fix{Commands: []string{words("gatehouse", "role", "delete", role.RoleName)}, Ops: []estate.Op{{Delete: role.Key()}}}
		}
		l.wrong(f)
	}
}

func standingAdmins(l *look) {
	l.assigned(func(a *estate.Assigned, role *azurerbac.Role) {
		if a.Role != azurerbac.ClusterAdmin && a.Role != azurerbac.RBACClusterAdmin || !a.NotAfter.IsZero() || !a.Eligibility.IsZero() {
			return
		}
		p, ok := l.est.Principal(a.Principal)
		if !ok || p.Disabled {
			return // see dead-assignment
		}
		f := l.onAssignment(a, role)
		f.What = fmt.Sprintf("%s has it all the time at %s", p.Name, a.Scope)
		if p.Kind == principal.User || p.Kind == principal.Group {
			el := azurerbac.Eligibility{
				ID: azurerbac.EligibilityID(guid.Derived[azurerbac.Eligibility]("instead of", a.ID.String())), Scope: a.Scope, Principal: a.Principal, Role: a.Role,
				Condition: a.Condition, ConditionVersion: a.ConditionVersion,
			}
			create := words("gatehouse", "eligibility", "create", "--role", role.RoleName, "--principal", a.Principal.String(), "--scope", a.Scope.String())
			f.Fix = Fix{Commands: []string{create}, Ops: []estate.Op{{Put: el}}}.and(f.Fix)
		}
		l.wrong(f)
	})
}
