package serve

import (
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/rehearsal"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

// WithinLimits refuses a record that is one too many, if the estate has limits
// (see rehearsal.Limits). A record that is there already may be written again. The
// error is an Error in the words of Azure.
func WithinLimits(est *estate.Snapshot, next record.Record, now time.Time) error {
	limits := est.Rehearsal().Limits
	if limits == (rehearsal.Limits{}) {
		return nil
	}
	if _, there := est.Get(next.Key()); there {
		return nil
	}
	switch r := next.(type) {
	case azurerbac.Assignment:
		return assignmentWithin(est, limits, r, now)
	case directory.FederatedCredential:
		if limits.FederatedCredentials.Reached(len(est.FederatedCredentials(r.Owner))) {
			return Refuse(http.StatusBadRequest, "LimitExceeded", fmt.Sprintf(
				"Too many Federated Identity Credentials. At most %d can be added to one identity.", limits.FederatedCredentials))
		}
	case azurerbac.Definition:
		for t := range est.Tenants() {
			if definedFor(est, r, t.ID) && limits.CustomRoles.Reached(customRoles(est, t.ID)) {
				return Refuse(http.StatusBadRequest, "RoleDefinitionLimitExceeded", fmt.Sprintf(
					"Role definition limit exceeded. No more role definitions can be created: a tenant has %d at most.", limits.CustomRoles))
			}
		}
	}
	return nil
}

func assignmentWithin(est *estate.Snapshot, limits rehearsal.Limits, next azurerbac.Assignment, now time.Time) error {
	limit, what := limits.AssignmentsOfManagementGroup, "management group"
	place := next.Scope
	have := 0
	if sub, ok := next.Scope.Subscription(); ok {
		limit, what, place = limits.AssignmentsOfSubscription, "subscription", sub
		if limit == 0 {
			return nil
		}
		for _, list := range est.AssignmentsBelow(sub) {
			for _, a := range list {
				if !a.NotBefore.After(now) {
					have++
				}
			}
		}
	} else if next.Scope.Type() == typeManagementGroup {
		have = len(est.AssignmentsAt(next.Scope))
	} else {
		return nil
	}
	if next.NotBefore.After(now) || !limit.Reached(have) {
		return nil
	}
	return Refuse(http.StatusBadRequest, "RoleAssignmentLimitExceeded", fmt.Sprintf(
		"No more role assignments can be created. The limit of %d role assignments for %s '%s' is reached.", limit, what, place.Name()))
}

const typeManagementGroup = "microsoft.management/managementgroups"

// customRoles counts the custom roles that can be assigned somewhere in a tenant.
func customRoles(est *estate.Snapshot, tenant directory.TenantID) int {
	n := 0
	for role := range est.Definitions() {
		if !role.BuiltIn && definedFor(est, role.Definition, tenant) {
			n++
		}
	}
	return n
}

// definedFor reports whether a role is one of a tenant's: some place where it may
// be assigned is of that tenant.
func definedFor(est *estate.Snapshot, role azurerbac.Definition, tenant directory.TenantID) bool {
	return slices.ContainsFunc(role.AssignableScopes, func(at scope.Scope) bool {
		if sub, ok := at.Subscription(); ok {
			r, known := est.Subscription(sub)
			return known && r.Tenant == tenant
		}
		mg, known := est.ManagementGroup(at)
		return known && mg.Tenant == tenant
	})
}
