package estate

import (
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/azurerbac/condition"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/identityrequest"
	"github.com/gatehouse-io/gatehouse/internal/kuberbac"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/rehearsal"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

// Errors that callers branch on. Test for them with errors.Is.
var (
	// ErrNotFound: an op deletes a record that is not there.
	ErrNotFound = errors.New("not found")
	// ErrExists: another record already has this name, or says the same thing.
	ErrExists = errors.New("already exists")
	// ErrImmutable: an op changes what a record may not change.
	ErrImmutable = errors.New("may not be changed")
	// ErrUnknown: a record refers to something that the estate does not have.
	ErrUnknown = errors.New("unknown")
	// ErrInUse: a record is deleted while others depend on it; see Dependents.
	ErrInUse = errors.New("in use")
)

// An editor builds one snapshot. Its snapshot is not yet shared, but what the
// snapshot points to is, unless the whole estate is being loaded (bulk).
type editor struct {
	s       *Snapshot
	was     *Snapshot // what s was made from; nil while an estate is being loaded
	bulk    bool
	fresh   bool // s.world is ours to edit
	put1    []record.Record
	removed []record.Key
}

// world returns the world for editing.
func (e *editor) world() *world {
	if !e.bulk && !e.fresh {
		e.s.world = e.s.world.clone()
		e.fresh = true
	}
	return e.s.world
}

// extend appends to a list that older snapshots may share.
func extend[T any](e *editor, list []T, v T) []T {
	if e.bulk {
		return append(list, v)
	}
	return append(list[:len(list):len(list)], v)
}

// without returns list with the elements that match left out.
func without[T any](list []T, match func(T) bool) []T {
	return slices.DeleteFunc(slices.Clone(list), match)
}

func (e *editor) put(r record.Record) error {
	if err := r.Validate(); err != nil {
		return err
	}
	var err error
	switch r := r.(type) {
	case directory.Tenant:
		err = e.putTenant(r)
	case directory.User:
		err = e.putUser(r)
	case directory.Group:
		err = e.putPrincipal(r.ID, principal.Group, r)
	case directory.ServicePrincipal:
		err = e.putServicePrincipal(r)
	case directory.ManagedIdentity:
		err = e.putIdentity(r)
	case directory.Membership:
		e.putMembership(r)
	case directory.RoleAssignment:
		e.putDirectoryRole(r)
	case directory.Ownership:
		e.putOwnership(r)
	case directory.Application:
		err = e.putApplication(r)
	case directory.FederatedCredential:
		err = e.putCredential(r)
	case resource.ManagementGroup:
		e.world().mgs[r.Scope] = &r
	case resource.Subscription:
		e.world().subs.set(r.Scope, &r)
	case resource.Group:
		e.s.groups.set(r.Scope, &r)
	case resource.Other:
		err = e.putOther(r)
	case resource.Cluster:
		err = e.putCluster(r)
	case azurerbac.Definition:
		err = e.putDefinition(r)
	case azurerbac.Assignment:
		err = e.putAssignment(r)
	case azurerbac.Eligibility:
		err = e.putEligibility(r)
	case azurerbac.Request:
		if old, ok := e.s.requests.byID.get(r.ID); ok && (old.Principal != r.Principal || old.Scope != r.Scope) {
			err = fmt.Errorf("principal and scope of a schedule request: %w", ErrImmutable)
			break
		}
		e.s.requests.put(e, r.ID, r.Principal, r.Scope, &r)
	case identityrequest.Request:
		err = e.putIdentityRequest(r)
	case azurerbac.Policy:
		e.s.policies.set(policyKey{r.Scope, r.Role}, &r)
	case azurerbac.DenyAssignment:
		var d *azurerbac.Deny
		if d, err = azurerbac.CompileDeny(r); err == nil {
			e.world().denies[r.ID] = d
		}
	case kuberbac.Role:
		e.putKubeRole(r)
	case kuberbac.Binding:
		e.putBinding(r)
	case rehearsal.Knobs:
		e.s.knobs = &r
	default:
		err = record.Invalid("%T is no record of the estate", r)
	}
	if err != nil {
		return wrap("put", r.Key(), err)
	}
	e.put1 = append(e.put1, r)
	return nil
}

func (e *editor) remove(key record.Key) error {
	old, ok := e.s.Get(key)
	if !ok {
		return wrap("delete", key, ErrNotFound)
	}
	switch r := old.(type) {
	case directory.Tenant:
		delete(e.world().tenants, r.ID)
	case directory.User:
		e.s.upns.remove(r.UserPrincipalName)
		e.forget(r.ID)
	case directory.Group:
		e.forget(r.ID)
	case directory.ServicePrincipal:
		e.s.spOf.remove(tenantApp{r.Tenant, r.AppID})
		e.forget(r.ID)
	case directory.ManagedIdentity:
		e.s.byClient.remove(r.ClientID)
		e.s.identity.remove(r.Resource)
		e.forget(r.ID)
	case directory.Membership:
		e.removeMembership(r)
	case directory.RoleAssignment:
		e.removeDirectoryRole(r)
	case directory.Ownership:
		e.removeOwnership(r)
	case directory.Application:
		e.world().apps.remove(r.AppID)
		e.world().appOf.remove(r.ID)
	case directory.FederatedCredential:
		list, _ := e.s.feds.get(r.Owner)
		if list = without(list, func(f directory.FederatedCredential) bool { return f.Name == r.Name }); len(list) == 0 {
			e.s.feds.remove(r.Owner)
		} else {
			e.s.feds.set(r.Owner, list)
		}
	case resource.ManagementGroup:
		delete(e.world().mgs, r.Scope)
	case resource.Subscription:
		e.world().subs.remove(r.Scope)
	case resource.Group:
		e.s.groups.remove(r.Scope)
	case resource.Other:
		e.s.others.remove(r.Scope)
		e.s.global.remove(globalName{r.Scope.Type(), r.Scope.Name()})
	case resource.Cluster:
		delete(e.world().clusters, r.Scope)
	case azurerbac.Definition:
		e.world().roles.remove(r.ID)
	case azurerbac.Assignment:
		e.dropAssignment(r.ID)
	case azurerbac.Eligibility:
		e.dropEligibility(r)
	case azurerbac.Request:
		e.s.requests.drop(r.ID, r.Principal, r.Scope)
	case identityrequest.Request:
		e.s.wishes.drop(r.ID, r.Requester, r.Identity)
	case azurerbac.Policy:
		e.s.policies.remove(policyKey{r.Scope, r.Role})
	case azurerbac.DenyAssignment:
		delete(e.world().denies, r.ID)
	case kuberbac.Role:
		e.removeKubeRole(r)
	case kuberbac.Binding:
		e.dropBinding(kubeKey{r.Cluster, r.Namespace, r.Name})
	case rehearsal.Knobs:
		e.s.knobs = nil
	}
	e.removed = append(e.removed, key)
	return nil
}

// edit replaces the node of a principal.
func (e *editor) edit(id principal.ID, change func(n *node)) {
	old, ok := e.s.nodes.get(id)
	next := new(node)
	if ok {
		if e.bulk {
			change(old)
			return
		}
		next.rec, next.kind, next.memberOf, next.assigned = old.rec, old.kind, old.memberOf, old.assigned
		next.roles, next.owns = old.roles, old.owns
	}
	change(next)
	if next.rec == nil && len(next.memberOf) == 0 && len(next.assigned) == 0 && len(next.roles) == 0 && len(next.owns) == 0 {
		e.s.nodes.remove(id)
		return
	}
	e.s.nodes.set(id, next)
}

func (e *editor) putPrincipal(id principal.ID, kind principal.Kind, r record.Record) error {
	if n, ok := e.s.nodes.get(id); ok && n.rec != nil && n.kind != kind {
		return fmt.Errorf("object id %s is that of a %s: %w", id, n.kind, ErrExists)
	} else if ok && n.rec != nil && tenantOf(n.rec) != tenantOf(r) {
		// What it was given was given to somebody of that tenant (DIR-14).
		return fmt.Errorf("tenant of a principal: %w", ErrImmutable)
	}
	if old, ok := e.s.Group(id); ok {
		if g, ok := r.(directory.Group); ok && old.RoleAssignable != g.RoleAssignable {
			return fmt.Errorf("whether group %s may have directory roles: %w", id, ErrImmutable)
		}
	}
	e.edit(id, func(n *node) { n.rec, n.kind = r, kind })
	return nil
}

func tenantOf(r record.Record) directory.TenantID {
	switch r := r.(type) {
	case directory.User:
		return r.Tenant
	case directory.Group:
		return r.Tenant
	case directory.ServicePrincipal:
		return r.Tenant
	case directory.ManagedIdentity:
		return r.Tenant
	}
	return directory.TenantID{}
}

func (e *editor) putTenant(t directory.Tenant) error {
	for _, other := range e.s.world.tenants {
		for _, d := range t.Domains {
			if other.ID != t.ID && slices.Contains(other.Domains, d) {
				return fmt.Errorf("domain %s is that of tenant %s: %w", d, other.ID, ErrExists)
			}
		}
	}
	e.world().tenants[t.ID] = &t
	return nil
}

func (e *editor) putUser(u directory.User) error {
	if other, ok := e.s.upns.get(u.UserPrincipalName); ok && other != u.ID {
		return fmt.Errorf("user principal name %s is that of user %s: %w", u.UserPrincipalName, other, ErrExists)
	}
	if n, ok := e.s.nodes.get(u.ID); ok {
		if old, ok := n.rec.(directory.User); ok && old.UserPrincipalName != u.UserPrincipalName {
			e.s.upns.remove(old.UserPrincipalName)
		}
	}
	if err := e.putPrincipal(u.ID, principal.User, u); err != nil {
		return err
	}
	e.s.upns.set(u.UserPrincipalName, u.ID)
	return nil
}

func (e *editor) putServicePrincipal(sp directory.ServicePrincipal) error {
	key := tenantApp{sp.Tenant, sp.AppID}
	if other, ok := e.s.spOf.get(key); ok && other != sp.ID {
		return fmt.Errorf("application %s has the service principal %s in this tenant: %w", sp.AppID, other, ErrExists)
	}
	if n, ok := e.s.nodes.get(sp.ID); ok {
		if old, ok := n.rec.(directory.ServicePrincipal); ok && (old.AppID != sp.AppID || old.Tenant != sp.Tenant) {
			return fmt.Errorf("application and tenant of a service principal: %w", ErrImmutable)
		}
	}
	if err := e.putPrincipal(sp.ID, principal.ServicePrincipal, sp); err != nil {
		return err
	}
	e.s.spOf.set(key, sp.ID)
	return nil
}

func (e *editor) putIdentity(m directory.ManagedIdentity) error {
	if other, ok := e.s.byClient.get(m.ClientID); ok && other != m.ID {
		return fmt.Errorf("client id %s is that of managed identity %s: %w", m.ClientID, other, ErrExists)
	}
	if app, ok := e.s.Application(m.ClientID); ok {
		return fmt.Errorf("client id %s is that of application %q: %w", m.ClientID, app.DisplayName, ErrExists)
	}
	if n, ok := e.s.nodes.get(m.ID); ok {
		if old, ok := n.rec.(directory.ManagedIdentity); ok && (old.ClientID != m.ClientID || old.Resource != m.Resource) {
			return fmt.Errorf("client id and resource of a managed identity: %w", ErrImmutable)
		}
	}
	if other, ok := e.s.identity.get(m.Resource); ok && other != m.ID {
		return fmt.Errorf("resource %s is that of managed identity %s: %w", m.Resource, other, ErrExists)
	}
	if err := e.putPrincipal(m.ID, principal.ManagedIdentity, m); err != nil {
		return err
	}
	e.s.byClient.set(m.ClientID, m.ID)
	e.s.identity.set(m.Resource, m.ID)
	return nil
}

func (e *editor) putOther(o resource.Other) error {
	if resource.Global(o.Scope.Type()) {
		name := globalName{o.Scope.Type(), o.Scope.Name()}
		if other, ok := e.s.global.get(name); ok && other != o.Scope {
			return fmt.Errorf("the name is that of %s, and there is one in the world: %w", other, ErrExists)
		}
		e.s.global.set(name, o.Scope)
	}
	e.s.others.set(o.Scope, &o)
	return nil
}

// putCredential refuses an issuer and subject that the owner has already: which of
// the two credentials was meant could not be told.
func (e *editor) putCredential(f directory.FederatedCredential) error {
	list, _ := e.s.feds.get(f.Owner)
	for _, old := range list {
		if old.Name == f.Name && (!old.Request.IsZero() || !f.Request.IsZero()) && !reflect.DeepEqual(old, f) {
			return fmt.Errorf("what was made by a request for an identity: %w", ErrImmutable)
		}
	}
	list = without(list, func(other directory.FederatedCredential) bool { return other.Name == f.Name })
	for _, other := range list {
		if other.SameTrust(f) {
			return fmt.Errorf("issuer and subject are those of federated credential %s: %w", other.Name, ErrExists)
		}
	}
	e.s.feds.set(f.Owner, append(list, f))
	return nil
}

// forget removes what a principal is; assignments to it stay and grant nothing.
func (e *editor) forget(id principal.ID) {
	e.edit(id, func(n *node) { n.rec, n.kind = nil, "" })
}

func (e *editor) putMembership(m directory.Membership) {
	e.edit(m.Member, func(n *node) {
		if e.bulk || !slices.Contains(n.memberOf, m.Group) {
			n.memberOf = extend(e, n.memberOf, m.Group)
		}
	})
	e.join(&e.s.members, m.Group, m.Member)
}

// join adds to the set of an object.
func (e *editor) join(sets *table[principal.ID, *memberSet], of, id principal.ID) {
	set, ok := sets.get(of)
	switch {
	case ok && e.bulk:
		set.add(id)
	case ok:
		sets.set(of, set.with(id))
	default:
		sets.set(of, &memberSet{ids: []principal.ID{id}})
	}
}

// leave takes out of the set of an object.
func leave(sets *table[principal.ID, *memberSet], of, id principal.ID) {
	set, ok := sets.get(of)
	if !ok {
		return
	}
	if set = set.without(id); len(set.ids) == 0 {
		sets.remove(of)
	} else {
		sets.set(of, set)
	}
}

func (e *editor) removeMembership(m directory.Membership) {
	e.edit(m.Member, func(n *node) {
		n.memberOf = without(n.memberOf, func(g principal.ID) bool { return g == m.Group })
	})
	leave(&e.s.members, m.Group, m.Member)
}

// putCluster refuses a cluster that says it is another one: who verifies a token
// by an issuer, or dials a name, must reach one cluster alone (FED-15).
func (e *editor) putCluster(c resource.Cluster) error {
	for at, other := range e.s.world.clusters {
		if at == c.Scope {
			continue
		}
		switch {
		case c.IssuerURL != "" && c.IssuerURL == other.IssuerURL:
			return fmt.Errorf("issuer %s is that of cluster %s: %w", c.IssuerURL, at, ErrExists)
		case c.FQDN != "" && c.FQDN == other.FQDN:
			return fmt.Errorf("name %s is that of cluster %s: %w", c.FQDN, at, ErrExists)
		case !c.UID.IsZero() && c.UID == other.UID:
			return fmt.Errorf("id %s is that of cluster %s: %w", c.UID, at, ErrExists)
		}
	}
	e.world().clusters[c.Scope] = &c
	return nil
}

func (e *editor) putDefinition(d azurerbac.Definition) error {
	if d.BuiltIn {
		return fmt.Errorf("only the house defines built-in roles: %w", ErrImmutable)
	}
	if _, ok := e.s.world.builtIn.byID[d.ID]; ok {
		return fmt.Errorf("role definition %s is built in: %w", d.ID, ErrImmutable)
	}
	role, err := azurerbac.Compile(d)
	if err != nil {
		return err
	}
	if other, ok := e.s.DefinitionByName(d.RoleName); ok && other.ID != d.ID {
		return fmt.Errorf("role name %q is that of role definition %s: %w", d.RoleName, other.ID, ErrExists)
	}
	e.world().roles.set(d.ID, role)
	return nil
}

func (e *editor) putAssignment(a azurerbac.Assignment) error {
	next := &Assigned{Assignment: a}
	if a.Condition != "" {
		expr, err := condition.Parse(a.Condition)
		if err != nil {
			return err
		}
		next.Expr = expr
	}
	if old, ok := e.s.assigned.get(a.ID); ok {
		if old.Principal != a.Principal || old.Scope != a.Scope {
			return fmt.Errorf("principal and scope of a role assignment: %w", ErrImmutable)
		}
		e.dropAssignment(a.ID)
	}
	if n, ok := e.s.nodes.get(a.Principal); ok && !e.bulk {
		for _, other := range n.assigned {
			if other.Scope == a.Scope && other.Role == a.Role {
				return fmt.Errorf("role assignment %s says the same: %w", other.ID, ErrExists)
			}
		}
	}
	e.s.assigned.set(a.ID, next)
	e.edit(a.Principal, func(n *node) { n.assigned = extend(e, n.assigned, next) })
	addTo(e, &e.s.atScope, a.Scope, next)
	if !a.Eligibility.IsZero() {
		addTo(e, &e.s.activated, a.Eligibility, next)
	}
	return nil
}

func (e *editor) dropAssignment(id azurerbac.AssignmentID) {
	old, ok := e.s.assigned.get(id)
	if !ok {
		return
	}
	is := func(a *Assigned) bool { return a == old }
	e.s.assigned.remove(id)
	e.edit(old.Principal, func(n *node) { n.assigned = without(n.assigned, is) })
	takeFrom(&e.s.atScope, old.Scope, old)
	if !old.Eligibility.IsZero() {
		takeFrom(&e.s.activated, old.Eligibility, old)
	}
}

func (e *editor) putKubeRole(r kuberbac.Role) {
	w := e.world()
	key := kubeKey{r.Cluster, r.Namespace, r.Name}
	if _, ok := w.kube.get(key); !ok && r.Namespace == "" {
		names, _ := w.clusterRoles.get(r.Cluster)
		w.clusterRoles.set(r.Cluster, extend(e, names, r.Name))
	}
	w.kube.set(key, &r)
}

func (e *editor) removeKubeRole(r kuberbac.Role) {
	w := e.world()
	w.kube.remove(kubeKey{r.Cluster, r.Namespace, r.Name})
	if r.Namespace == "" {
		names, _ := w.clusterRoles.get(r.Cluster)
		w.clusterRoles.set(r.Cluster, without(names, func(n string) bool { return n == r.Name }))
	}
}

func (e *editor) putBinding(b kuberbac.Binding) {
	key := kubeKey{b.Cluster, b.Namespace, b.Name}
	e.dropBinding(key)
	next := &b
	e.s.bindings.set(key, next)
	for i, subject := range b.Subjects {
		if slices.Contains(b.Subjects[:i], subject) {
			continue
		}
		h, ok := e.s.subjects.get(subject)
		switch {
		case ok && e.bulk:
			h.bindings = append(h.bindings, next)
		case ok:
			e.s.subjects.set(subject, &holder{bindings: extend(e, h.bindings, next)})
		default:
			e.s.subjects.set(subject, &holder{bindings: []*kuberbac.Binding{next}})
		}
	}
}

func (e *editor) dropBinding(key kubeKey) {
	old, ok := e.s.bindings.get(key)
	if !ok {
		return
	}
	e.s.bindings.remove(key)
	for _, subject := range old.Subjects {
		h, ok := e.s.subjects.get(subject)
		if !ok {
			continue
		}
		if left := without(h.bindings, func(b *kuberbac.Binding) bool { return b == old }); len(left) == 0 {
			e.s.subjects.remove(subject)
		} else {
			e.s.subjects.set(subject, &holder{bindings: left})
		}
	}
}

// check verifies what only the finished estate can tell: that everything put
// refers to something, and that nothing depends on what was deleted or is no longer
// what others took it for.
func (e *editor) check() error {
	for _, r := range e.put1 {
		if err := e.s.checkRefers(r); err != nil {
			return wrap("put", r.Key(), err)
		}
	}
	if err := e.checkTree(); err != nil {
		return err
	}
	for _, key := range e.removed {
		if _, back := e.s.Get(key); back {
			continue
		}
		if deps := e.left(key); len(deps) > 0 {
			return wrap("delete", key, fmt.Errorf("%d others depend on it, the first is %s: %w", len(deps), deps[0], ErrInUse))
		}
	}
	return e.checkGrants()
}

// left are the records that depend on one that was deleted. Some can be found only
// where it still is, by what it says.
func (e *editor) left(key record.Key) []record.Key {
	deps := e.s.Dependents(key)
	switch key.Kind {
	case record.Application, record.ManagedIdentity, record.IdentityRequest:
		for _, dep := range e.was.Dependents(key) {
			if _, there := e.s.Get(dep); there && !slices.Contains(deps, dep) {
				deps = append(deps, dep)
			}
		}
	}
	return deps
}

// checkTree refuses management groups that contain themselves.
func (e *editor) checkTree() error {
	for _, r := range e.put1 {
		if _, ok := r.(resource.ManagementGroup); ok {
			return e.s.world.checkTree()
		}
	}
	return nil
}

// checkGrants makes sure that what was granted before still can be: a role may be
// assignable in fewer places than it was, a place may lie elsewhere, and under the
// object id of a person may now be a group.
func (e *editor) checkGrants() error {
	if e.was == nil {
		return nil
	}
	for _, r := range e.put1 {
		for _, of := range e.touched(r) {
			if err := e.s.checkRefers(of); err != nil && !e.s.dangles(of) {
				return wrap("put", r.Key(), fmt.Errorf("%s could not stay, %v: %w", of.Key(), err, ErrInUse))
			}
		}
	}
	return nil
}

// touched are the grants to look at again when a record was put.
func (e *editor) touched(r record.Record) []record.Record {
	switch r := r.(type) {
	case directory.User:
		return e.s.grantsTo(r.ID)
	case directory.Group:
		return e.s.grantsTo(r.ID)
	case directory.ServicePrincipal:
		return e.s.grantsTo(r.ID)
	case directory.ManagedIdentity:
		return e.s.grantsTo(r.ID)
	case azurerbac.Definition:
		if old, ok := e.was.world.roles.get(r.ID); ok && !slices.Equal(old.AssignableScopes, r.AssignableScopes) {
			return e.s.grantsOfRoles(func(id azurerbac.DefinitionID) bool { return id == r.ID })
		}
	case resource.ManagementGroup:
		if old, ok := e.was.world.mgs[r.Scope]; ok && old.Parent != r.Parent {
			return e.s.grantsByPlace()
		}
	case resource.Subscription:
		if old, ok := e.was.world.subs.get(r.Scope); ok && old.Parent != r.Parent {
			return e.s.grantsByPlace()
		}
	}
	return nil
}

// grantsTo are the roles that an object id has or may activate.
func (s *Snapshot) grantsTo(id principal.ID) []record.Record {
	var out []record.Record
	for _, a := range s.AssignmentsOf(id) {
		out = append(out, a.Assignment)
	}
	for _, el := range s.EligibilitiesOf(id) {
		out = append(out, *el)
	}
	return out
}

// grantsOfRoles are the role assignments and eligibilities of the roles that match.
func (s *Snapshot) grantsOfRoles(match func(azurerbac.DefinitionID) bool) []record.Record {
	var out []record.Record
	for _, a := range s.assigned.all() {
		if match(a.Role) {
			out = append(out, a.Assignment)
		}
	}
	for _, el := range s.eligible.byID.all() {
		if match(el.Role) {
			out = append(out, *el)
		}
	}
	return out
}

// grantsByPlace are the grants that may not stand everywhere: those of custom roles,
// and what was activated at a place below that of its eligibility.
func (s *Snapshot) grantsByPlace() []record.Record {
	out := s.grantsOfRoles(func(id azurerbac.DefinitionID) bool {
		_, builtIn := s.world.builtIn.byID[id]
		return !builtIn
	})
	for _, list := range s.activated.all() {
		for _, a := range list {
			out = append(out, a.Assignment)
		}
	}
	return out
}

// checkRefers makes sure that a record refers only to what is there.
func (s *Snapshot) checkRefers(r record.Record) error {
	switch r := r.(type) {
	case directory.User:
		return errors.Join(s.wantTenant(r.Tenant), s.wantOneObject(r.ID))
	case directory.Group:
		return errors.Join(s.wantTenant(r.Tenant), s.wantOneObject(r.ID))
	case directory.ServicePrincipal:
		return errors.Join(s.wantTenant(r.Tenant), s.wantOneObject(r.ID))
	case directory.ManagedIdentity:
		return errors.Join(s.wantTenant(r.Tenant), s.wantOneObject(r.ID))
	case directory.Application:
		return errors.Join(s.wantTenant(r.Tenant), s.wantOneObject(r.ID))
	case directory.FederatedCredential:
		_, app := s.Application(r.Owner)
		if _, identity := s.ManagedIdentityByClient(r.Owner); !app && !identity {
			return fmt.Errorf("application or managed identity %s: %w", r.Owner, ErrUnknown)
		}
		return s.checkRequested(r)
	case identityrequest.Request:
		return s.checkEnded(r)
	case directory.Membership:
		return s.checkMembership(r)
	case directory.RoleAssignment:
		return s.checkDirectoryRole(r)
	case directory.Ownership:
		return s.checkOwnership(r)
	case resource.ManagementGroup:
		return errors.Join(s.wantTenant(r.Tenant), s.wantManagementGroup(r.Parent))
	case resource.Subscription:
		return errors.Join(s.wantTenant(r.Tenant), s.wantManagementGroup(r.Parent))
	case resource.Cluster:
		return s.wantTenant(r.Tenant)
	case azurerbac.Assignment:
		if err := s.checkGrantable(r.Role, r.Scope); err != nil {
			return err
		}
		if !r.Eligibility.IsZero() {
			el, ok := s.Eligibility(r.Eligibility)
			if !ok {
				return fmt.Errorf("eligibility %s: %w", r.Eligibility, ErrUnknown)
			}
			if err := errors.Join(s.checkGrantable(el.Role, el.Scope), s.checkActivation(r, el)); err != nil {
				return err
			}
		}
		if p, ok := s.Principal(r.Principal); ok && r.PrincipalType != "" && r.PrincipalType.AzureType() != p.Kind.AzureType() {
			return fmt.Errorf("principal %s is a %s, not a %s: %w", r.Principal, p.Kind, r.PrincipalType, ErrImmutable)
		}
	case azurerbac.Eligibility:
		return s.checkEligibility(r)
	case azurerbac.Policy:
		if _, ok := s.world.role(r.Role); !ok {
			return fmt.Errorf("role definition %s: %w", r.Role, ErrUnknown)
		}
	}
	return nil
}

// assignableAt reports whether a role may be assigned at a scope.
func assignableAt(s *Snapshot, role *azurerbac.Role, at scope.Scope) bool {
	for anc := range s.Ancestors(at) {
		if slices.Contains(role.AssignableScopes, anc) {
			return true
		}
	}
	return false
}

func (s *Snapshot) wantTenant(id directory.TenantID) error {
	if _, ok := s.world.tenants[id]; !ok {
		return fmt.Errorf("tenant %s: %w", id, ErrUnknown)
	}
	return nil
}

func (s *Snapshot) wantManagementGroup(sc scope.Scope) error {
	if _, ok := s.world.mgs[sc]; !ok && !sc.IsZero() {
		return fmt.Errorf("management group %s: %w", sc, ErrUnknown)
	}
	return nil
}

// checkTree refuses management groups that contain themselves.
func (w *world) checkTree() error {
	for start := range w.mgs {
		at := start
		for range len(w.mgs) + 1 {
			mg, ok := w.mgs[at]
			if !ok || mg.Parent.IsZero() {
				at = scope.Scope{}
				break
			}
			at = mg.Parent
		}
		if !at.IsZero() {
			return record.Invalid("management group %s contains itself", start)
		}
	}
	return nil
}
