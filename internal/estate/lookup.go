package estate

import (
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/identityrequest"
	"github.com/gatehouse-io/gatehouse/internal/kuberbac"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/rehearsal"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

// A Principal is what all kinds of principal have in common.
type Principal struct {
	ID     principal.ID
	Kind   principal.Kind
	Tenant directory.TenantID
	// Name is for people: the user principal name of a user, the display name of others.
	Name string
	// Disabled is set for a disabled user, service principal or identity, for a
	// service principal whose application is disabled or gone, and for everybody
	// whose tenant is.
	Disabled bool
	// Guest is set for a user of another organisation.
	Guest bool
}

// Principal returns the principal with an object id.
func (s *Snapshot) Principal(id principal.ID) (Principal, bool) {
	n, ok := s.nodes.get(id)
	if !ok {
		return Principal{}, false
	}
	return s.describe(id, n)
}

func (s *Snapshot) describe(id principal.ID, n *node) (Principal, bool) {
	p := Principal{ID: id, Kind: n.kind}
	switch r := n.rec.(type) {
	case directory.User:
		p.Tenant, p.Name, p.Disabled, p.Guest = r.Tenant, r.UserPrincipalName, r.Disabled, r.Guest
	case directory.Group:
		p.Tenant, p.Name = r.Tenant, r.DisplayName
	case directory.ServicePrincipal:
		p.Tenant, p.Name, p.Disabled = r.Tenant, r.DisplayName, r.Disabled
		if app, ok := s.world.apps.get(r.AppID); !ok || app.Disabled || s.dangles(*app) {
			p.Disabled = true
		}
	case directory.ManagedIdentity:
		p.Tenant, p.Name, p.Disabled = r.Tenant, r.DisplayName, r.Disabled
	default:
		return Principal{}, false
	}
	if _, ok := s.world.tenants[p.Tenant]; !ok {
		p.Disabled = true
	}
	return p, true
}

// Principals yields every principal, in no order.
func (s *Snapshot) Principals() iter.Seq[Principal] {
	return func(yield func(Principal) bool) {
		for id, n := range s.nodes.all() {
			if p, ok := s.describe(id, n); ok && !yield(p) {
				return
			}
		}
	}
}

func rec[R record.Record](s *Snapshot, id principal.ID) (R, bool) {
	n, ok := s.nodes.get(id)
	if !ok {
		var none R
		return none, false
	}
	r, ok := n.rec.(R)
	return r, ok
}

// User returns the user with an object id.
func (s *Snapshot) User(id principal.ID) (directory.User, bool) { return rec[directory.User](s, id) }

// UserByName returns the user with a user principal name, in any letter case.
func (s *Snapshot) UserByName(name string) (directory.User, bool) {
	canonical, err := directory.CanonicalUPN(name)
	if err != nil {
		return directory.User{}, false
	}
	id, ok := s.upns.get(canonical)
	if !ok {
		return directory.User{}, false
	}
	return s.User(id)
}

// Group returns the group with an object id.
func (s *Snapshot) Group(id principal.ID) (directory.Group, bool) { return rec[directory.Group](s, id) }

// Named returns the principals that have a display name or user principal name,
// in any letter case: there may be several. Names are for people who ask, never
// for a decision.
func (s *Snapshot) Named(name string) []Principal {
	var out []Principal
	for p := range s.Principals() {
		if strings.EqualFold(p.Name, name) {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(a, b Principal) int { return compareIDs(a.ID, b.ID) })
	return out
}

// ServicePrincipal returns the service principal with an object id.
func (s *Snapshot) ServicePrincipal(id principal.ID) (directory.ServicePrincipal, bool) {
	return rec[directory.ServicePrincipal](s, id)
}

// ServicePrincipalOf returns an application's service principal in a tenant.
func (s *Snapshot) ServicePrincipalOf(tenant directory.TenantID, app directory.AppID) (directory.ServicePrincipal, bool) {
	id, ok := s.spOf.get(tenantApp{tenant, app})
	if !ok {
		return directory.ServicePrincipal{}, false
	}
	return s.ServicePrincipal(id)
}

// ManagedIdentity returns the managed identity with an object id.
func (s *Snapshot) ManagedIdentity(id principal.ID) (directory.ManagedIdentity, bool) {
	return rec[directory.ManagedIdentity](s, id)
}

// ManagedIdentityByClient returns the managed identity with a client id.
func (s *Snapshot) ManagedIdentityByClient(app directory.AppID) (directory.ManagedIdentity, bool) {
	id, ok := s.byClient.get(app)
	if !ok {
		return directory.ManagedIdentity{}, false
	}
	return s.ManagedIdentity(id)
}

// IdentityAt returns the user-assigned identity with a scope, or the system-assigned
// one of the resource with that scope.
func (s *Snapshot) IdentityAt(sc scope.Scope) (directory.ManagedIdentity, bool) {
	id, ok := s.identity.get(sc)
	if !ok {
		return directory.ManagedIdentity{}, false
	}
	return s.ManagedIdentity(id)
}

// Identities yields every managed identity, in no order.
func (s *Snapshot) Identities() iter.Seq[directory.ManagedIdentity] {
	return func(yield func(directory.ManagedIdentity) bool) {
		for _, id := range s.identity.all() {
			if m, ok := s.ManagedIdentity(id); ok && !yield(m) {
				return
			}
		}
	}
}

// Tenant returns the tenant with an id.
func (s *Snapshot) Tenant(id directory.TenantID) (directory.Tenant, bool) {
	t, ok := s.world.tenants[id]
	if !ok {
		return directory.Tenant{}, false
	}
	return *t, true
}

// TenantByDomain returns the tenant that has a verified domain, in any letter case.
func (s *Snapshot) TenantByDomain(domain string) (directory.Tenant, bool) {
	for _, t := range s.world.tenants {
		for _, d := range t.Domains {
			// Byte by byte: strings.EqualFold would take the Kelvin sign for a k.
			if len(d) == len(domain) && d == strings.Map(lowerASCII, domain) {
				return *t, true
			}
		}
	}
	return directory.Tenant{}, false
}

func lowerASCII(r rune) rune {
	if 'A' <= r && r <= 'Z' {
		return r + 'a' - 'A'
	}
	return r
}

// Tenants yields every tenant, ordered by id.
func (s *Snapshot) Tenants() iter.Seq[directory.Tenant] {
	return sorted[directory.Tenant](s, record.Tenant)
}

// Clusters yields every cluster, ordered by scope.
func (s *Snapshot) Clusters() iter.Seq[resource.Cluster] {
	return sorted[resource.Cluster](s, record.Cluster)
}

func sorted[R record.Record](s *Snapshot, kind record.Kind) iter.Seq[R] {
	return func(yield func(R) bool) {
		recs := s.ofKind(kind)
		slices.SortFunc(recs, func(a, b record.Record) int { return strings.Compare(a.Key().Parts[0], b.Key().Parts[0]) })
		for _, r := range recs {
			if !yield(r.(R)) {
				return
			}
		}
	}
}

// Application returns the application with a client id.
func (s *Snapshot) Application(app directory.AppID) (directory.Application, bool) {
	a, ok := s.world.apps.get(app)
	if !ok {
		return directory.Application{}, false
	}
	return *a, true
}

// Applications yields every application, in no order.
func (s *Snapshot) Applications() iter.Seq[directory.Application] {
	return func(yield func(directory.Application) bool) {
		for _, a := range s.world.apps.all() {
			if !yield(*a) {
				return
			}
		}
	}
}

// FederatedCredentials returns the credentials of an application or managed identity.
func (s *Snapshot) FederatedCredentials(owner directory.AppID) []directory.FederatedCredential {
	list, _ := s.feds.get(owner)
	return list
}

// TrustsOf returns the federated credentials of an application or managed identity
// that count at an instant: all but those that dangle, those with a pattern where the
// tenant does not allow patterns, and those by a request for an identity that is no
// longer active.
func (s *Snapshot) TrustsOf(owner directory.AppID, now time.Time) []directory.FederatedCredential {
	list := s.FederatedCredentials(owner)
	home, ok := s.HomeOf(owner)
	patterns := ok && home.AllowSubjectPatterns
	not := func(f directory.FederatedCredential) bool {
		return s.dangles(f) || f.SubjectPattern != "" && !patterns || !f.Request.IsZero() && !s.associated(f.Request, now)
	}
	if !slices.ContainsFunc(list, not) {
		return list
	}
	return without(list, not)
}

// HomeOf returns the tenant of an application or managed identity.
func (s *Snapshot) HomeOf(owner directory.AppID) (directory.Tenant, bool) {
	var home directory.TenantID
	if m, ok := s.ManagedIdentityByClient(owner); ok {
		home = m.Tenant
	} else if a, ok := s.Application(owner); ok {
		home = a.Tenant
	}
	return s.Tenant(home)
}

// Cluster returns the cluster at a scope.
func (s *Snapshot) Cluster(sc scope.Scope) (resource.Cluster, bool) {
	c, ok := s.world.clusters[sc]
	if !ok {
		return resource.Cluster{}, false
	}
	return *c, true
}

// Subscription returns the subscription at a scope.
func (s *Snapshot) Subscription(sc scope.Scope) (resource.Subscription, bool) {
	r, ok := s.world.subs.get(sc)
	if !ok {
		return resource.Subscription{}, false
	}
	return *r, true
}

// ResourceGroup returns the resource group at a scope.
func (s *Snapshot) ResourceGroup(sc scope.Scope) (resource.Group, bool) {
	r, ok := s.groups.get(sc)
	if !ok {
		return resource.Group{}, false
	}
	return *r, true
}

// ResourceGroups yields every resource group, in no order.
func (s *Snapshot) ResourceGroups() iter.Seq[resource.Group] { return all(&s.groups) }

// Subscriptions yields every subscription, in no order.
func (s *Snapshot) Subscriptions() iter.Seq[resource.Subscription] { return all(&s.world.subs) }

// Resource returns the resource at a scope that has no kind of its own.
func (s *Snapshot) Resource(sc scope.Scope) (resource.Other, bool) {
	r, ok := s.others.get(sc)
	if !ok {
		return resource.Other{}, false
	}
	return *r, true
}

// ResourceNamed returns the resource with a name that is unique in the world, such
// as that of a key vault. Type and name are in lower case.
func (s *Snapshot) ResourceNamed(typ, name string) (resource.Other, bool) {
	sc, ok := s.global.get(globalName{typ, name})
	if !ok {
		return resource.Other{}, false
	}
	return s.Resource(sc)
}

// Resources yields every resource that has no kind of its own, in no order.
func (s *Snapshot) Resources() iter.Seq[resource.Other] { return all(&s.others) }

func all[K comparable, R any](t *table[K, *R]) iter.Seq[R] {
	return func(yield func(R) bool) {
		for _, r := range t.all() {
			if !yield(*r) {
				return
			}
		}
	}
}

// Ancestors yields a scope and everything that contains it: its textual
// parents, the management groups above its subscription, and the root.
func (s *Snapshot) Ancestors(sc scope.Scope) iter.Seq[scope.Scope] {
	return func(yield func(scope.Scope) bool) {
		for at, ok := sc, !sc.IsZero(); ok && at != scope.Root; at, ok = at.Parent() {
			if !yield(at) {
				return
			}
			for mg := s.world.above(at); !mg.IsZero(); mg = s.world.above(mg) {
				if !yield(mg) {
					return
				}
			}
		}
		if !sc.IsZero() {
			yield(scope.Root)
		}
	}
}

// above returns the management group directly above a subscription or
// management group, or no place. checkTree has made sure that it ends.
func (w *world) above(sc scope.Scope) scope.Scope {
	if mg, ok := w.mgs[sc]; ok {
		return mg.Parent
	}
	if sub, ok := sc.Subscription(); ok && sub == sc {
		if r, ok := w.subs.get(sc); ok {
			return r.Parent
		}
	}
	return scope.Scope{}
}

// Definition returns a role definition, built in or custom, ready to be asked.
func (s *Snapshot) Definition(id azurerbac.DefinitionID) (*azurerbac.Role, bool) {
	return s.world.role(id)
}

// DefinitionByName returns the role definition with a name, in any letter case.
func (s *Snapshot) DefinitionByName(name string) (*azurerbac.Role, bool) {
	for r := range s.Definitions() {
		if strings.EqualFold(r.RoleName, name) {
			return r, true
		}
	}
	return nil, false
}

// Definitions yields every role definition: built-in ones by name, then custom ones.
func (s *Snapshot) Definitions() iter.Seq[*azurerbac.Role] {
	return func(yield func(*azurerbac.Role) bool) {
		for _, id := range s.world.builtIn.ids {
			if !yield(s.world.builtIn.byID[id]) {
				return
			}
		}
		if s.world.roles.m == nil { // still being loaded
			for it := s.world.roles.fill.Iterator(); !it.Done(); {
				if _, r, _ := it.Next(); !yield(r) {
					return
				}
			}
			return
		}
		for _, r := range s.world.roles.all() {
			if !yield(r) {
				return
			}
		}
	}
}

// Assignment returns the role assignment with an id.
func (s *Snapshot) Assignment(id azurerbac.AssignmentID) (*Assigned, bool) { return s.assigned.get(id) }

// AssignmentsOf returns the role assignments that name a principal itself.
func (s *Snapshot) AssignmentsOf(id principal.ID) []*Assigned {
	n, ok := s.nodes.get(id)
	if !ok {
		return nil
	}
	return n.assigned
}

// AssignmentsAt returns the role assignments made at exactly a scope.
func (s *Snapshot) AssignmentsAt(sc scope.Scope) []*Assigned {
	list, _ := s.atScope.get(sc)
	return list
}

// AssignmentsBelow yields the role assignments made at a scope and at the scopes
// that its path contains, place by place, in no order.
func (s *Snapshot) AssignmentsBelow(sc scope.Scope) iter.Seq2[scope.Scope, []*Assigned] {
	return func(yield func(scope.Scope, []*Assigned) bool) {
		for at, list := range s.atScope.all() {
			if sc.Contains(at) && !yield(at, list) {
				return
			}
		}
	}
}

// DenyAssignments yields every deny assignment, in no order.
func (s *Snapshot) DenyAssignments() iter.Seq[*azurerbac.Deny] {
	return func(yield func(*azurerbac.Deny) bool) {
		for _, d := range s.world.denies {
			if !yield(d) {
				return
			}
		}
	}
}

// KubeRoles yields the stored roles of a cluster, in no order.
func (s *Snapshot) KubeRoles(cluster scope.Scope) iter.Seq[kuberbac.Role] {
	return func(yield func(kuberbac.Role) bool) {
		for k, r := range s.world.kube.all() {
			if k.cluster == cluster && !yield(*r) {
				return
			}
		}
	}
}

// KubeBindings yields the stored bindings of a cluster, in no order.
func (s *Snapshot) KubeBindings(cluster scope.Scope) iter.Seq[kuberbac.Binding] {
	return func(yield func(kuberbac.Binding) bool) {
		for k, b := range s.bindings.all() {
			if k.cluster == cluster && !yield(*b) {
				return
			}
		}
	}
}

// Dependents returns the keys of the records that make no sense without the
// record with a key, so that whoever deletes it can delete them with it.
// Role assignments to a deleted principal are not among them: they stay, and
// grant nothing.
func (s *Snapshot) Dependents(key record.Key) []record.Key {
	var out []record.Key
	p := key.Parts
	switch key.Kind {
	case record.User, record.Group, record.ServicePrincipal, record.ManagedIdentity:
		id, _ := principal.ParseID(p[0])
		if n, ok := s.nodes.get(id); ok {
			for _, g := range n.memberOf {
				out = append(out, directory.Membership{Group: g, Member: id}.Key())
			}
		}
		if set, ok := s.members.get(id); ok {
			for _, m := range set.ids {
				out = append(out, directory.Membership{Group: id, Member: m}.Key())
			}
		}
		if m, ok := s.ManagedIdentity(id); ok {
			for _, f := range s.FederatedCredentials(m.ClientID) {
				out = append(out, f.Key())
			}
			if !m.SystemAssigned { // it is a place, too
				out = append(out, without(s.below(m.Resource), func(k record.Key) bool { return k == key })...)
			}
		}
		out = append(out, s.directoryDependents(id)...)
	case record.Application:
		app, _ := parseAppID(p[0])
		if a, ok := s.Application(app); ok {
			out = append(out, s.directoryDependents(a.ID)...)
		}
		for k, id := range s.spOf.all() {
			if k.app == app {
				out = append(out, record.KeyOf(record.ServicePrincipal, id.String()))
			}
		}
		for _, f := range s.FederatedCredentials(app) {
			out = append(out, f.Key())
		}
	case record.Tenant:
		id, _ := parseTenantID(p[0])
		for pr := range s.Principals() {
			if pr.Tenant == id {
				out = append(out, record.KeyOf(record.Kind(pr.Kind), pr.ID.String()))
			}
		}
		out = append(out, s.belongings(id)...)
	case record.ManagementGroup, record.Subscription, record.ResourceGroup, record.Cluster, record.Resource:
		out = s.below(parseScope(p[0]))
	case record.RoleDefinition:
		id, _ := parseDefinitionID(p[0])
		for _, a := range s.assigned.all() {
			if a.Role == id {
				out = append(out, a.Key())
			}
		}
		out = append(out, s.eligibleKeys(func(_ scope.Scope, role azurerbac.DefinitionID) bool { return role == id }, false)...)
	case record.IdentityRequest:
		id, _ := parseID[identityrequest.ID](p[0])
		if r, ok := s.IdentityRequest(id); ok {
			for _, f := range s.CredentialsBy(r) {
				out = append(out, f.Key())
			}
		}
	case record.RoleEligibility:
		id, _ := parseID[azurerbac.EligibilityID](p[0])
		for _, a := range s.ActivationsOf(id) {
			out = append(out, a.Key())
		}
	}
	return out
}

// belongings are the keys of the applications and places of a tenant.
func (s *Snapshot) belongings(id directory.TenantID) []record.Key {
	var out []record.Key
	for _, a := range s.world.apps.all() {
		if a.Tenant == id {
			out = append(out, a.Key())
		}
	}
	for _, m := range s.world.mgs {
		if m.Tenant == id {
			out = append(out, m.Key())
		}
	}
	for _, sub := range s.world.subs.all() {
		if sub.Tenant == id {
			out = append(out, sub.Key())
		}
	}
	for _, c := range s.world.clusters {
		if c.Tenant == id {
			out = append(out, c.Key())
		}
	}
	return out
}

// below returns the keys of what was granted or lies inside a place.
func (s *Snapshot) below(sc scope.Scope) []record.Key {
	var out []record.Key
	for at, list := range s.atScope.all() {
		if sc.Contains(at) {
			for _, a := range list {
				out = append(out, a.Key())
			}
		}
	}
	out = append(out, s.eligibleKeys(func(at scope.Scope, _ azurerbac.DefinitionID) bool { return sc.Contains(at) }, true)...)
	for _, d := range s.world.denies {
		if sc.Contains(d.Scope) {
			out = append(out, d.DenyAssignment.Key())
		}
	}
	for at, g := range s.groups.all() {
		if at != sc && sc.Contains(at) {
			out = append(out, g.Key())
		}
	}
	for at, o := range s.others.all() {
		if at != sc && sc.Contains(at) {
			out = append(out, o.Key())
		}
	}
	for at, id := range s.identity.all() {
		if sc.Contains(at) {
			out = append(out, record.KeyOf(record.ManagedIdentity, id.String()))
		}
	}
	for at, c := range s.world.clusters {
		if at != sc && sc.Contains(at) {
			out = append(out, c.Key())
		}
	}
	for k, r := range s.world.kube.all() {
		if sc.Contains(k.cluster) {
			out = append(out, r.Key())
		}
	}
	for k, b := range s.bindings.all() {
		if sc.Contains(k.cluster) {
			out = append(out, b.Key())
		}
	}
	for _, m := range s.world.mgs {
		if m.Parent == sc {
			out = append(out, m.Key())
		}
	}
	for _, sub := range s.world.subs.all() {
		if sub.Parent == sc {
			out = append(out, sub.Key())
		}
	}
	return out
}

// Rehearsal returns the settings of a rehearsal; the zero Knobs when there is none.
func (s *Snapshot) Rehearsal() rehearsal.Knobs {
	if s.knobs == nil {
		return rehearsal.Knobs{}
	}
	return *s.knobs
}
