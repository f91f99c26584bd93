package serve

import (
	"maps"
	"slices"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/azurerbac/condition"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/issue"
	"github.com/gatehouse-io/gatehouse/internal/kuberbac"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

// What it takes to change a directory. Two laws stand behind all of it. Nobody
// gives more than he could give openly: who can speak for somebody, or join him,
// has what he has (DIR-13), and what he is eligible for. And what decisions depend on, such as the attributes
// that conditions read, is not a detail of an object that may be edited.

// directoryPlace returns where a record of a directory is, and what guards it.
func directoryPlace(est *estate.Snapshot, r record.Record) (string, []scope.Scope) {
	typ := typeOf[r.Key().Kind]
	var at scope.Scope
	switch r := r.(type) {
	case directory.Tenant:
		at = directory.Place(r.ID)
	case directory.User:
		at = directory.PlaceOf(r.Tenant, r.ID)
	case directory.Group:
		at = directory.PlaceOf(r.Tenant, r.ID)
	case directory.ServicePrincipal:
		at = directory.PlaceOf(r.Tenant, r.ID)
	case directory.Application:
		// The clients and resources of the house are those of every tenant.
		if !issue.WellKnown(r.AppID) {
			at = directory.PlaceOf(r.Tenant, r.ID)
		}
	case directory.FederatedCredential:
		if a, ok := est.Application(r.Owner); ok {
			at = directory.PlaceOf(a.Tenant, a.ID)
		}
	case directory.Membership:
		_, at = objectPlace(est, r.Group)
	case directory.Ownership:
		typ, at = objectPlace(est, r.Object)
		typ += "/owners"
	case directory.RoleAssignment:
		if p, ok := est.Principal(r.Principal); ok {
			at = directory.Place(p.Tenant)
			if !r.Object.IsZero() {
				at = directory.PlaceOf(p.Tenant, r.Object)
			}
		}
	}
	if at.IsZero() {
		at = scope.Root
	}
	return typ, []scope.Scope{at}
}

// objectPlace returns the resource type and the place of an object of a
// directory; the root for what is not there.
func objectPlace(est *estate.Snapshot, id principal.ID) (string, scope.Scope) {
	if a, ok := est.ApplicationByID(id); ok {
		return typeOf[record.Application], directory.PlaceOf(a.Tenant, id)
	}
	p, ok := est.Principal(id)
	if !ok {
		return "Microsoft.Directory/objects", scope.Root
	}
	kind := record.Kind(p.Kind)
	if kind == record.ManagedIdentity {
		kind = record.ServicePrincipal // as which it is in the directory
	}
	return typeOf[kind], directory.PlaceOf(p.Tenant, id)
}

// toPutObject returns what it takes to write an object of a directory besides the
// right to write it.
func toPutObject(est *estate.Snapshot, old, next record.Record) []Operation {
	var ops []Operation
	at := placeOf(est, next)
	attributes := func(was, is map[string][]string) {
		if !maps.EqualFunc(was, is, slices.Equal) {
			ops = append(ops, Operation{Action: typeOf[next.Key().Kind] + "/customSecurityAttributes/write", At: at})
		}
	}
	switch next := next.(type) {
	case directory.User:
		was, _ := old.(directory.User)
		attributes(was.Attributes, next.Attributes)
		if old == nil || was.UserPrincipalName != next.UserPrincipalName {
			// Clusters whose bindings name people know them by it.
			ops = append(ops, toBind(est, kuberbac.Subject{Kind: kuberbac.User, Name: next.UserPrincipalName})...)
		}
		names := was
		names.DisplayName, names.Mail, names.MailNickname = next.DisplayName, next.Mail, next.MailNickname
		if old != nil && !sameUser(names, next) {
			// To disable or rename somebody who has a role is not for those who could not
			// take it from him.
			ops = append(ops, toGiveInDirectory(est, next.ID)...)
		}
	case directory.Group:
		if next.RoleAssignable {
			ops = append(ops, Operation{Action: actionGiveRole, At: directory.Place(next.Tenant)})
		}
	case directory.ServicePrincipal:
		was, _ := old.(directory.ServicePrincipal)
		attributes(was.Attributes, next.Attributes)
	case directory.Application:
		if old == nil {
			// A service principal may be there before its application.
			ops = append(ops, ToActAs(est, next.AppID)...)
		}
	case directory.Ownership:
		ops = append(ops, toFill(est, next.Object)...)
	}
	return ops
}

func sameUser(a, b directory.User) bool {
	return a.ID == b.ID && a.Tenant == b.Tenant && a.UserPrincipalName == b.UserPrincipalName && a.Guest == b.Guest &&
		a.Disabled == b.Disabled && a.TokensValidFrom.Equal(b.TokensValidFrom)
}

func placeOf(est *estate.Snapshot, r record.Record) scope.Scope {
	_, places := PlacesOf(est, r)
	return places[0]
}

// toFill returns what it takes, besides the right to write it, to say who is in a
// group or owns it: for one that may have directory roles, to give them.
func toFill(est *estate.Snapshot, group principal.ID) []Operation {
	g, ok := est.Group(group)
	if !ok || !g.RoleAssignable {
		return nil
	}
	return []Operation{{Action: actionGiveRole, At: directory.Place(g.Tenant)}}
}

// ToGive returns what it takes to give somebody all that a principal has: to
// assign each of its roles to him, in Azure, in the directory and on clusters, and
// to make him owner of what it owns. Else whoever may fill a group, or set a
// password, could make himself owner of everything.
func ToGive(est *estate.Snapshot, of, to principal.ID) []Operation {
	who, ok := est.Resolve(of)
	if !ok {
		return nil
	}
	ops := make([]Operation, 0, len(who.Azure))
	for _, g := range who.Azure {
		given := azurerbac.Assignment{Scope: g.Scope, Principal: to, Role: g.Assigned.Role}
		ops = append(ops, Operation{
			Action: typeOf[record.RoleAssignment] + "/write", At: g.Scope,
			Attributes: assignmentAttributes(est, condition.Request, given),
		})
	}
	ops = append(ops, toMakeEligible(est, who, to)...)
	ops = append(ops, toGiveInDirectory(est, of)...)
	for c := range est.Clusters() {
		// Admin groups of clusters are a matter of who may write the cluster.
		for _, admins := range c.AdminGroups {
			if _, in := slices.BinarySearchFunc(who.Groups, admins, compareIDs); in || admins == of {
				ops = append(ops, Operation{Action: typeOf[record.Cluster] + "/write", At: c.Scope})
				break
			}
		}
	}
	return append(ops, toGiveOnClusters(est, who)...)
}

// toMakeEligible returns what it takes to make somebody eligible for all that a
// principal is eligible for, by itself and through groups.
func toMakeEligible(est *estate.Snapshot, who *estate.Resolved, to principal.ID) []Operation {
	var ops []Operation
	for _, id := range append([]principal.ID{who.Principal.ID}, who.Groups...) {
		for _, el := range est.EligibilitiesOf(id) {
			next := *el
			next.Principal = to
			ops = append(ops, ToPut(est, nil, next)...)
		}
	}
	return ops
}

// toGiveOnClusters returns what it takes to bind somebody wherever a cluster's own
// bindings name a principal or a group that he is in. What is for everybody who is
// signed in is nothing that could be given to him.
func toGiveOnClusters(est *estate.Snapshot, who *estate.Resolved) []Operation {
	subjects := estate.KubeSubjects(who.Principal, who.Groups)
	subjects = subjects[:len(subjects)-1] // the last is everybody
	if id := who.Principal.ID; who.Principal.Kind == principal.Group {
		subjects[0] = kuberbac.Subject{Kind: kuberbac.Group, Name: id.String()}
	}
	var ops []Operation
	for _, subject := range subjects {
		ops = append(ops, toBind(est, subject)...)
	}
	return ops
}

// toBind returns what it takes to bind a subject as the bindings of clusters do
// that name it, that of their admin groups apart.
func toBind(est *estate.Snapshot, subject kuberbac.Subject) []Operation {
	var ops []Operation
	seen := make(map[scope.Scope]bool)
	for _, b := range est.BindingsOf(subject) {
		if c, _ := est.Cluster(b.Cluster); b.Name == estate.AdminBinding && slices.ContainsFunc(c.AdminGroups, func(g principal.ID) bool { return g.String() == subject.Name }) {
			continue
		}
		if !seen[b.Cluster] {
			seen[b.Cluster] = true
			ops = append(ops, Operation{Action: typeOf[record.KubeBinding] + "/write", At: b.Cluster})
		}
	}
	return ops
}

func toGiveInDirectory(est *estate.Snapshot, of principal.ID) []Operation {
	who, ok := est.Resolve(of)
	if !ok {
		return nil
	}
	var ops []Operation
	for _, g := range who.Directory {
		action := actionGiveRole
		if g.Owned != nil {
			typ, _ := objectPlace(est, g.Owned.Object)
			action = typ + "/owners/write"
		}
		ops = append(ops, Operation{Action: action, At: g.Scope})
	}
	return ops
}

// ToActAs returns what it takes to get a credential of an application or managed
// identity: to give what it has, an application in every tenant.
func ToActAs(est *estate.Snapshot, app directory.AppID) []Operation {
	var ops []Operation
	if mi, ok := est.ManagedIdentityByClient(app); ok {
		ops = ToGive(est, mi.ID, mi.ID)
	}
	for t := range est.Tenants() {
		if sp, ok := est.ServicePrincipalOf(t.ID, app); ok {
			ops = append(ops, ToGive(est, sp.ID, sp.ID)...)
		}
	}
	return ops
}

// Gone are the objects of directories that one change deletes.
type Gone map[principal.ID]bool

// Note takes in a record that is deleted.
func (g Gone) Note(r record.Record) {
	switch r := r.(type) {
	case directory.User:
		g[r.ID] = true
	case directory.Group:
		g[r.ID] = true
	case directory.Application:
		g[r.ID] = true
	case directory.ServicePrincipal:
		g[r.ID] = true
	case directory.ManagedIdentity:
		g[r.ID] = true
	}
}

// Takes reports whether a record only says something about what is deleted, so that
// nobody has to be asked for it: who owned it, or was owned by it, and who had a
// role for it alone.
func (g Gone) Takes(r record.Record) bool {
	switch r := r.(type) {
	case directory.Ownership:
		return g[r.Object] || g[r.Owner]
	case directory.RoleAssignment:
		return g[r.Object]
	}
	return false
}
