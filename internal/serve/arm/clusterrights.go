package arm

import (
	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/resource"
)

// A right is a role that an identity of a cluster has in the node resource group.
type right struct {
	who  principal.ID
	role azurerbac.DefinitionID
}

// rightsOf returns the rights that a cluster's identities are to have, with what each
// identity is to the cluster. The nodes have none, and the owner of a service
// principal grants what it needs.
func rightsOf(c resource.Cluster) map[right]string {
	all := make(map[right]string)
	if i := c.Identity; i.Type != resource.ServicePrincipal && !i.Object.IsZero() {
		all[right{i.Object, azurerbac.Contributor}] = "the control plane"
	}
	for _, name := range addonNames(c) {
		if id := c.Addons[name].Identity.Object; !id.IsZero() {
			roles, _ := azurerbac.AddonRoles(name)
			for _, role := range roles {
				all[right{id, role}] = "the add-on " + name
			}
		}
	}
	return all
}

// rights gives the identities of a cluster what they need in the node resource group,
// and takes it from those that are its identities no longer.
func (b *belongings) rights() {
	if b.group.IsZero() {
		return
	}
	given := make(map[right]bool)
	had, has := rightsOf(b.d.old), rightsOf(b.d.next)
	for _, a := range b.d.est.AssignmentsAt(b.group) {
		r := right{a.Principal, a.Role}
		given[r] = true
		if had[r] != "" && has[r] == "" {
			b.ops = append(b.ops, estate.Op{Delete: a.Key()})
		}
	}
	for r, what := range has {
		if had[r] != "" || given[r] {
			continue
		}
		now := b.d.now.UTC().Round(0)
		b.put(azurerbac.Assignment{
			ID:    azurerbac.AssignmentID(b.d.r.mint("right of " + what)),
			Scope: b.group, Principal: r.who, PrincipalType: principal.ManagedIdentity, Role: r.role,
			Description: what + " of cluster " + b.d.next.Name, CreatedOn: now, UpdatedOn: now,
		})
	}
}
