package estate

import (
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/directoryrole"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

// Grants over a directory are of three sorts: roles that were given, ownerships,
// and what comes by itself. Each is a role at a place, and so they are asked by
// the same walk as role assignments of Azure; see directory.Place.

// ErrLastAdmin says that a change would leave a tenant without anybody who can
// act as its Global Administrator.
var ErrLastAdmin = errors.New("the tenant would have no Global Administrator left")

// directoryGrants are the roles of the directory that name a principal itself,
// and what it owns. A tenant's roles count for its own principals alone.
func (s *Snapshot) directoryGrants(id principal.ID, n *node, tenant directory.TenantID) []*Grant {
	if n.rec == nil || tenantOf(n.rec) != tenant {
		return nil
	}
	var out []*Grant
	for _, a := range n.roles {
		role, ok := directoryrole.Get(a.Role)
		if !ok || s.dangles(a) {
			continue
		}
		at := directory.Place(tenant)
		if !a.Object.IsZero() {
			at = directory.PlaceOf(tenant, a.Object)
		}
		out = append(out, &Grant{Holder: id, Scope: at, Role: role, Given: &a})
	}
	for _, object := range n.owns {
		out = append(out, ownerGrant(directory.Ownership{Object: object, Owner: id}, tenant))
	}
	return out
}

func ownerGrant(o directory.Ownership, tenant directory.TenantID) *Grant {
	return &Grant{Holder: o.Owner, Scope: directory.PlaceOf(tenant, o.Object), Role: directoryrole.Owner(), Owned: &o}
}

// Implied returns what a principal has at a place without being given it: a
// member in the directory of his tenant, and everybody over himself.
func (s *Snapshot) Implied(p Principal, at scope.Scope) []*Grant {
	tenant, object, ok := directory.CutPlace(at)
	if !ok || tenant != p.Tenant {
		return nil
	}
	var out []*Grant
	if p.Kind == principal.User && !p.Guest {
		out = append(out, &Grant{Holder: p.ID, Scope: directory.Place(tenant), Role: directoryrole.Member()})
	}
	if object == p.ID && p.Kind != principal.Group {
		out = append(out, &Grant{Holder: p.ID, Scope: at, Role: directoryrole.Self()})
	}
	return out
}

// DirectoryGrantsAt yields every grant over a directory that reaches a place in
// it, with the principal that it names: roles that were given, ownerships, and
// what comes by itself.
func (s *Snapshot) DirectoryGrantsAt(at scope.Scope) iter.Seq[*Grant] {
	return func(yield func(*Grant) bool) {
		tenant, object, ok := directory.CutPlace(at)
		if !ok {
			return
		}
		for a := range s.roles.all() {
			p, ok := s.Principal(a.Principal)
			role, known := directoryrole.Get(a.Role)
			if !ok || !known || s.dangles(a) || p.Tenant != tenant || !a.Object.IsZero() && a.Object != object {
				continue
			}
			place := directory.Place(tenant)
			if !a.Object.IsZero() {
				place = at
			}
			if !yield(&Grant{Holder: a.Principal, Scope: place, Role: role, Given: &a}) {
				return
			}
		}
		for owner := range s.Owners(object) {
			if !yield(ownerGrant(directory.Ownership{Object: object, Owner: owner}, tenant)) {
				return
			}
		}
		for p := range s.Principals() {
			for _, g := range s.Implied(p, at) {
				if !yield(g) {
					return
				}
			}
		}
	}
}

// DirectoryRoles yields the directory role assignments of a tenant, in no order.
func (s *Snapshot) DirectoryRoles(tenant directory.TenantID) iter.Seq[directory.RoleAssignment] {
	return func(yield func(directory.RoleAssignment) bool) {
		for a := range s.roles.all() {
			if p, ok := s.Principal(a.Principal); ok && p.Tenant == tenant && !yield(a) {
				return
			}
		}
	}
}

// DirectoryRolesOf returns the directory role assignments that name a principal itself.
func (s *Snapshot) DirectoryRolesOf(id principal.ID) []directory.RoleAssignment {
	n, ok := s.nodes.get(id)
	if !ok {
		return nil
	}
	return n.roles
}

// Owners yields the owners of an application, by its object id, of a service
// principal or of a group, in order of id.
func (s *Snapshot) Owners(object principal.ID) iter.Seq[principal.ID] {
	return func(yield func(principal.ID) bool) {
		if set, ok := s.owners.get(object); ok {
			for _, id := range set.ids {
				if !yield(id) {
					return
				}
			}
		}
	}
}

// Owned returns the object ids of what a principal owns, in no order.
func (s *Snapshot) Owned(owner principal.ID) []principal.ID {
	n, ok := s.nodes.get(owner)
	if !ok {
		return nil
	}
	return n.owns
}

// ApplicationByID returns the application with an object id.
func (s *Snapshot) ApplicationByID(id principal.ID) (directory.Application, bool) {
	app, ok := s.world.appOf.get(id)
	if !ok {
		return directory.Application{}, false
	}
	return s.Application(app)
}

// tenantOfObject returns whose directory an object is in.
func (s *Snapshot) tenantOfObject(id principal.ID) (directory.TenantID, bool) {
	if a, ok := s.ApplicationByID(id); ok {
		return a.Tenant, true
	}
	p, ok := s.Principal(id)
	return p.Tenant, ok
}

// directoryDependents are what was given to and over an object of a directory.
func (s *Snapshot) directoryDependents(id principal.ID) []record.Key {
	var out []record.Key
	for a := range s.roles.all() {
		if a.Principal == id || a.Object == id {
			out = append(out, a.Key())
		}
	}
	for owner := range s.Owners(id) {
		out = append(out, directory.Ownership{Object: id, Owner: owner}.Key())
	}
	for _, object := range s.Owned(id) {
		out = append(out, directory.Ownership{Object: object, Owner: id}.Key())
	}
	return out
}

// putApplication refuses an application with the client id of a managed identity,
// and putIdentity the reverse: credentials belong to a client id, and those of the
// one would let in the other.
func (e *editor) putApplication(a directory.Application) error {
	w := e.world()
	if other, ok := e.s.byClient.get(a.AppID); ok {
		return fmt.Errorf("client id %s is that of managed identity %s: %w", a.AppID, other, ErrExists)
	}
	if other, ok := w.appOf.get(a.ID); ok && other != a.AppID {
		return fmt.Errorf("object id %s is that of application %s: %w", a.ID, other, ErrExists)
	}
	if old, ok := w.apps.get(a.AppID); ok && (old.ID != a.ID || old.Tenant != a.Tenant) {
		// Who has power over it was given that in this tenant, over this object.
		return fmt.Errorf("object id and tenant of an application: %w", ErrImmutable)
	}
	w.apps.set(a.AppID, &a)
	w.appOf.set(a.ID, a.AppID)
	return nil
}

func (e *editor) putDirectoryRole(a directory.RoleAssignment) {
	e.s.roles.set(a, struct{}{})
	e.edit(a.Principal, func(n *node) {
		if !slices.Contains(n.roles, a) {
			n.roles = extend(e, n.roles, a)
		}
	})
}

func (e *editor) removeDirectoryRole(a directory.RoleAssignment) {
	e.s.roles.remove(a)
	e.edit(a.Principal, func(n *node) {
		n.roles = without(n.roles, func(o directory.RoleAssignment) bool { return o == a })
	})
}

func (e *editor) putOwnership(o directory.Ownership) {
	e.edit(o.Owner, func(n *node) {
		if !slices.Contains(n.owns, o.Object) {
			n.owns = extend(e, n.owns, o.Object)
		}
	})
	e.join(&e.s.owners, o.Object, o.Owner)
}

func (e *editor) removeOwnership(o directory.Ownership) {
	e.edit(o.Owner, func(n *node) {
		n.owns = without(n.owns, func(id principal.ID) bool { return id == o.Object })
	})
	leave(&e.s.owners, o.Object, o.Owner)
}

func (s *Snapshot) checkMembership(m directory.Membership) error {
	g, ok := s.Group(m.Group)
	if !ok {
		return fmt.Errorf("group %s: %w", m.Group, ErrUnknown)
	}
	p, ok := s.Principal(m.Member)
	if !ok {
		return fmt.Errorf("member %s: %w", m.Member, ErrUnknown)
	}
	if g.RoleAssignable && p.Kind == principal.Group {
		return fmt.Errorf("group %s may have directory roles, so no group can be in it: %w", m.Group, ErrImmutable)
	}
	return nil
}

func (s *Snapshot) checkDirectoryRole(a directory.RoleAssignment) error {
	role, ok := directoryrole.Get(a.Role)
	if !ok {
		return fmt.Errorf("directory role %s: %w", a.Role, ErrUnknown)
	}
	p, ok := s.Principal(a.Principal)
	if !ok {
		return fmt.Errorf("principal %s: %w", a.Principal, ErrUnknown)
	}
	if g, ok := s.Group(a.Principal); ok && !g.RoleAssignable {
		return fmt.Errorf("group %s was not made to have directory roles (roleAssignable): %w", a.Principal, ErrImmutable)
	}
	if a.Object.IsZero() {
		return nil
	}
	if tenant, ok := s.tenantOfObject(a.Object); !ok || tenant != p.Tenant {
		return fmt.Errorf("object %s, for which %s is to have the role %q: %w", a.Object, a.Principal, role.RoleName, ErrUnknown)
	}
	return nil
}

func (s *Snapshot) checkOwnership(o directory.Ownership) error {
	owner, ok := s.Principal(o.Owner)
	if !ok {
		return fmt.Errorf("owner %s: %w", o.Owner, ErrUnknown)
	}
	if owner.Kind != principal.User && owner.Kind != principal.ServicePrincipal {
		return fmt.Errorf("owner %s is a %s, and owners are users and service principals: %w", o.Owner, owner.Kind, ErrImmutable)
	}
	if tenant, ok := s.tenantOfObject(o.Object); !ok || tenant != owner.Tenant {
		return fmt.Errorf("object %s: %w", o.Object, ErrUnknown)
	}
	if p, ok := s.Principal(o.Object); ok && p.Kind != principal.ServicePrincipal && p.Kind != principal.Group {
		return fmt.Errorf("a %s is owned by nobody: %w", p.Kind, ErrImmutable)
	}
	return nil
}

// wantOneObject refuses an object id that is that of an application and of a
// principal: what is granted over one would be granted over both.
func (s *Snapshot) wantOneObject(id principal.ID) error {
	_, app := s.ApplicationByID(id)
	if _, who := s.Principal(id); app && who {
		return fmt.Errorf("object id %s is that of an application and of a principal: %w", id, ErrExists)
	}
	return nil
}

// keepsAdministrators refuses a change that takes the last Global Administrator
// of a tenant which had one before. It is asked of the whole change at once, and
// changes come one after the other, so of two who remove each other one stays.
func (s *Snapshot) keepsAdministrators(before *Snapshot) error {
	if before.roles.m == nil || before.roles.m.Len() == 0 || s.roles.m == before.roles.m && s.nodes.m == before.nodes.m && s.world == before.world {
		return nil
	}
	had := make(map[directory.TenantID]bool)
	for a := range before.roles.all() {
		if tenant, ok := before.administers(a); ok {
			had[tenant] = true
		}
	}
	for a := range s.roles.all() {
		if tenant, ok := s.administers(a); ok {
			delete(had, tenant)
		}
	}
	for tenant := range had {
		if t, ok := s.Tenant(tenant); ok {
			return fmt.Errorf("tenant %s: %w", t.Domains[0], ErrLastAdmin)
		}
	}
	return nil
}

// administers reports whether an assignment makes somebody who can act a Global
// Administrator, and of which tenant.
func (s *Snapshot) administers(a directory.RoleAssignment) (directory.TenantID, bool) {
	p, ok := s.Principal(a.Principal)
	if !ok || a.Role != directoryrole.GlobalAdministrator || !a.Object.IsZero() {
		return directory.TenantID{}, false
	}
	if p.Kind != principal.Group {
		return p.Tenant, !p.Disabled
	}
	for id := range s.MembersTransitive(p.ID) {
		if m, _ := s.Principal(id); m.Kind != principal.Group && !m.Disabled && m.Tenant == p.Tenant {
			return p.Tenant, true
		}
	}
	return directory.TenantID{}, false
}
