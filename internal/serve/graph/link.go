package graph

import (
	"iter"
	"slices"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/principal"
)

// A link leads from an object to others of some kinds.
type link struct {
	kinds []*kind
	to    func(*session, object) iter.Seq[object]
	one   bool // it leads to one object
}

// principalKinds are those of which principals are.
func principalKinds() []*kind { return []*kind{users, groups, servicePrincipals} }

// linksOf are the links of the objects of a kind, by name; nil is any principal.
func linksOf(k *kind) map[string]link {
	in := map[string]link{
		"memberOf":           {kinds: []*kind{groups, directoryRoles}, to: (*session).memberOf},
		"transitiveMemberOf": {kinds: []*kind{groups, directoryRoles}, to: (*session).transitiveMemberOf},
	}
	owners := link{kinds: principalKinds(), to: func(s *session, o object) iter.Seq[object] { return s.objects(s.est.Owners(o.id)) }}
	owned := link{kinds: []*kind{applications, servicePrincipals, groups}, to: func(s *session, o object) iter.Seq[object] {
		return s.objects(slices.Values(s.est.Owned(o.id)))
	}}
	switch k {
	case nil:
	case users:
		in["ownedObjects"] = owned
	case servicePrincipals:
		in["ownedObjects"], in["owners"] = owned, owners
	case groups:
		in["owners"] = owners
		in["members"], in["transitiveMembers"] = membersBy((*estate.Snapshot).Members), membersBy((*estate.Snapshot).MembersTransitive)
	case applications:
		return map[string]link{"owners": owners}
	case directoryRoles:
		return map[string]link{"members": {kinds: principalKinds(), to: (*session).roleMembers}}
	case roleAssignments:
		return map[string]link{
			"principal": {kinds: principalKinds(), one: true, to: func(s *session, o object) iter.Seq[object] {
				return s.objects(slices.Values([]principal.ID{o.v.(directory.RoleAssignment).Principal}))
			}},
			"roleDefinition": {kinds: []*kind{roleDefinitions}, one: true, to: func(s *session, o object) iter.Seq[object] {
				return func(yield func(object) bool) {
					if d, ok := definitionObject(o.v.(directory.RoleAssignment).Role); ok {
						yield(d)
					}
				}
			}},
		}
	default:
		return nil
	}
	return in
}

func membersBy(of func(*estate.Snapshot, principal.ID) iter.Seq[principal.ID]) link {
	return link{kinds: principalKinds(), to: func(s *session, o object) iter.Seq[object] { return s.objects(of(s.est, o.id)) }}
}

// objects yields what there is of some ids, in the caller's tenant.
func (s *session) objects(ids iter.Seq[principal.ID]) iter.Seq[object] {
	return func(yield func(object) bool) {
		for id := range ids {
			if o, ok := s.anything(id); ok && !yield(o) {
				return
			}
		}
	}
}

// memberOf are the groups that somebody is in and the directory roles that he has,
// himself.
func (s *session) memberOf(o object) iter.Seq[object] {
	return s.objects(func(yield func(principal.ID) bool) {
		for _, g := range s.est.GroupsOf(o.id) {
			if _, direct := s.est.Get(membership(g, o.id).Key()); direct && !yield(g) {
				return
			}
		}
		for _, role := range s.rolesOf(o.id) {
			if !yield(principal.ID(role)) {
				return
			}
		}
	})
}

// transitiveMemberOf are those that he has through groups as well.
func (s *session) transitiveMemberOf(o object) iter.Seq[object] {
	return s.objects(slices.Values(s.memberObjects(o)))
}

// memberObjects are the ids of the groups and of the directory roles, each once,
// that somebody has over all that he is in.
func (s *session) memberObjects(o object) []principal.ID {
	ids := slices.Clone(s.est.GroupsOf(o.id))
	for _, of := range append([]principal.ID{o.id}, s.est.GroupsOf(o.id)...) {
		for _, role := range s.rolesOf(of) {
			if id := principal.ID(role); !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
		}
	}
	return ids
}

// rolesOf are the roles that somebody was given himself over the whole directory.
func (s *session) rolesOf(id principal.ID) []directory.RoleID {
	var out []directory.RoleID
	for _, a := range s.est.DirectoryRolesOf(id) {
		if a.Object.IsZero() {
			out = append(out, a.Role)
		}
	}
	return out
}

// roleMembers are those who were given a directory role themselves.
func (s *session) roleMembers(o object) iter.Seq[object] {
	return s.objects(func(yield func(principal.ID) bool) {
		for a := range s.est.DirectoryRoles(s.tenant) {
			if a.Role == directory.RoleID(o.id) && a.Object.IsZero() && !yield(a.Principal) {
				return
			}
		}
	})
}
