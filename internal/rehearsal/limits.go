package rehearsal

import "github.com/gatehouse-io/gatehouse/internal/record"

// Limits are how many there may be of some things; 0 is no limit. A house has
// none by itself, where Azure has those of AzureLimits.
//
// Whoever makes one of these things has the estate in hand, and asks it:
//
//	limits := est.Rehearsal().Limits
//	if limits.FederatedCredentials.Reached(len(est.FederatedCredentials(owner))) {
//		// refuse as Azure would
//	}
//
// A limit is asked about what is there before one more is made. What is there
// already stays, though it be more: a limit that is set later takes nothing away.
// serve.WithinLimits does all of this for a record that is about to be put.
type Limits struct {
	// AssignmentsOfSubscription counts role assignments at a subscription and at
	// what is in it, AssignmentsOfManagementGroup those at one management group
	// itself. Assignments that begin in the future do not count, and those of
	// principals that are gone do.
	AssignmentsOfSubscription    Limit `json:"roleAssignmentsPerSubscription,omitzero"`
	AssignmentsOfManagementGroup Limit `json:"roleAssignmentsPerManagementGroup,omitzero"`
	// FederatedCredentials are those of one managed identity or application.
	FederatedCredentials Limit `json:"federatedCredentialsPerIdentity,omitzero"`
	// GroupsInToken is how many groups a token may list. Above it, it has a pointer
	// in their place, and a cluster refuses the service principal or identity whose
	// token that is. Tokens list at most token.MaxGroups whatever the limit.
	GroupsInToken Limit `json:"groupsInToken,omitzero"`
	// CustomRoles are those of one tenant.
	CustomRoles Limit `json:"customRolesPerTenant,omitzero"`
}

// A Limit is the greatest number allowed; 0 is no limit.
type Limit int

// Reached reports whether have are as many as there may be, or more.
func (l Limit) Reached(have int) bool { return l > 0 && have >= int(l) }

// Exceeded reports whether have are more than there may be.
func (l Limit) Exceeded(have int) bool { return l > 0 && have > int(l) }

// AzureLimits are the limits of Azure.
func AzureLimits() Limits {
	return Limits{
		AssignmentsOfSubscription: 4000, AssignmentsOfManagementGroup: 500,
		FederatedCredentials: 20, GroupsInToken: 200, CustomRoles: 5000,
	}
}

func (l Limits) validate() error {
	for name, n := range l.byName() {
		if n < 0 {
			return record.Invalid("quota %s is %d", name, n)
		}
	}
	return nil
}

func (l Limits) byName() map[string]Limit {
	return map[string]Limit{
		"roleAssignmentsPerSubscription": l.AssignmentsOfSubscription, "roleAssignmentsPerManagementGroup": l.AssignmentsOfManagementGroup,
		"federatedCredentialsPerIdentity": l.FederatedCredentials, "groupsInToken": l.GroupsInToken, "customRolesPerTenant": l.CustomRoles,
	}
}
