package serve

import (
	"net/http"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

// KeepsOwner refuses to take away the last assignment of the role Owner that is of
// any use at the root or at a subscription: nobody could give access there any
// more (AZ-18). The error is an Error in the words of Azure.
func KeepsOwner(est *estate.Snapshot, gone azurerbac.Assignment, now time.Time) error {
	if gone.Scope != scope.Root && gone.Scope.Type() != "subscriptions" || !owns(est, gone, now) {
		return nil
	}
	who, _ := est.Principal(gone.Principal)
	for _, other := range est.AssignmentsAt(gone.Scope) {
		p, _ := est.Principal(other.Principal)
		// At the root, which tenants share, each has owners of its own.
		if other.ID != gone.ID && other.NotAfter.IsZero() && p.Tenant == who.Tenant && owns(est, other.Assignment, now) {
			return nil
		}
	}
	return Refuse(http.StatusBadRequest, "CannotDeleteLastRbacAdminAssignment", "Cannot delete the last RBAC admin assignment. Give somebody else the role Owner here first.")
}

// owns reports whether an assignment makes somebody who can sign in an owner now.
func owns(est *estate.Snapshot, a azurerbac.Assignment, now time.Time) bool {
	if a.Role != azurerbac.Owner || a.Condition != "" || !a.ActiveAt(now) {
		return false
	}
	p, ok := est.Principal(a.Principal)
	if !ok || p.Disabled {
		return false
	}
	if _, group := est.Group(a.Principal); !group {
		return true
	}
	for id := range est.MembersTransitive(a.Principal) {
		if _, group := est.Group(id); group {
			continue
		}
		if m, ok := est.Principal(id); ok && !m.Disabled {
			return true
		}
	}
	return false
}
