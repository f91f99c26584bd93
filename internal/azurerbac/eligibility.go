package azurerbac

import (
	"time"

	"github.com/gatehouse-io/gatehouse/internal/guid"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

type eligibility struct{}

// EligibilityID is the name of an eligibility.
type EligibilityID = guid.Of[eligibility]

// NewEligibilityID returns a fresh random name for an eligibility.
func NewEligibilityID() EligibilityID { return guid.New[eligibility]() }

// An Eligibility lets a user, or the users in a group, activate a role at a scope or
// somewhere in it. It grants nothing: what grants is the assignment that comes of an
// activation. Azure calls it a role eligibility schedule.
type Eligibility struct {
	ID        EligibilityID `json:"id"`
	Scope     scope.Scope   `json:"scope"`
	Principal principal.ID  `json:"principal"`
	Role      DefinitionID  `json:"role"`
	// Condition limits what comes of an activation; see package condition.
	Condition        string `json:"condition,omitzero"`
	ConditionVersion string `json:"conditionVersion,omitzero"`
	// NotBefore and NotAfter bound the instants at which the role may be active; zero
	// means no bound.
	NotBefore time.Time    `json:"notBefore,omitzero"`
	NotAfter  time.Time    `json:"notAfter,omitzero"`
	CreatedBy principal.ID `json:"createdBy,omitzero"`
	CreatedOn time.Time    `json:"createdOn,omitzero"`
	UpdatedOn time.Time    `json:"updatedOn,omitzero"`
}

// Key returns the key of the eligibility: its id.
func (e Eligibility) Key() record.Key { return record.KeyOf(record.RoleEligibility, e.ID.String()) }

// Validate checks an eligibility by itself, not what it refers to.
func (e Eligibility) Validate() error {
	switch {
	case e.ID.IsZero():
		return record.Invalid("eligibility without an id")
	case e.Scope.IsZero():
		return record.Invalid("eligibility %s without a scope", e.ID)
	case e.Principal.IsZero():
		return record.Invalid("eligibility %s without a principal", e.ID)
	case e.Role.IsZero():
		return record.Invalid("eligibility %s without a role", e.ID)
	case !e.NotBefore.IsZero() && !e.NotAfter.IsZero() && !e.NotAfter.After(e.NotBefore):
		return record.Invalid("eligibility %s ends before it begins", e.ID)
	}
	return checkCondition(e.Condition, e.ConditionVersion, false)
}

// WithDefaults returns e with the version of its condition filled in.
func (e Eligibility) WithDefaults() Eligibility {
	if e.Condition != "" && e.ConditionVersion == "" {
		e.ConditionVersion = ConditionVersion
	}
	return e
}

// ActiveAt reports whether the role may be active at an instant.
func (e Eligibility) ActiveAt(now time.Time) bool {
	return !now.Before(e.NotBefore) && !e.EndedAt(now)
}

// EndedAt reports whether the eligibility is over at an instant.
func (e Eligibility) EndedAt(now time.Time) bool {
	return !e.NotAfter.IsZero() && !now.Before(e.NotAfter)
}

// Assigned is the assignment that an activation of all of the eligibility by a
// principal would come to, without an id.
func (e Eligibility) Assigned(who principal.ID) Assignment {
	return Assignment{
		Scope: e.Scope, Principal: who, Role: e.Role, Condition: e.Condition, ConditionVersion: e.ConditionVersion,
		NotBefore: e.NotBefore, NotAfter: e.NotAfter, Eligibility: e.ID,
	}
}
