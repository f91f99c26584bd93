package estate

import (
	"slices"

	"github.com/gatehouse-io/gatehouse/internal/kuberbac"
	"github.com/gatehouse-io/gatehouse/internal/principal"
)

// Given reports whether a principal was given anything, by itself or through a group:
// a role of Azure or of the directory, an ownership, a binding of a cluster. What a
// cluster is, and who is in its admin groups, has been given that cluster. Whether
// what was given has ended, or is good for anything, does not matter.
func (s *Snapshot) Given(id principal.ID) bool {
	groups := s.GroupsOf(id)
	for _, who := range append([]principal.ID{id}, groups...) {
		kind := kuberbac.Group
		if who == id {
			kind = kuberbac.User
		}
		if len(s.AssignmentsOf(who)) > 0 || len(s.DirectoryRolesOf(who)) > 0 || len(s.Owned(who)) > 0 ||
			len(s.BindingsOf(kuberbac.Subject{Kind: kind, Name: who.String()})) > 0 {
			return true
		}
	}
	for _, c := range s.world.clusters {
		if c.UsesIdentity(id) || slices.ContainsFunc(groups, func(g principal.ID) bool { return slices.Contains(c.AdminGroups, g) }) {
			return true
		}
	}
	return false
}
