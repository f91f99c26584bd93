// Package azurerbac models Azure role-based access control: role definitions
// with wildcards and subtraction, assignments of roles to principals at scopes,
// and deny assignments. See docs/guides/azure-rbac.md.
package azurerbac

import (
	"time"

	"github.com/gatehouse-io/gatehouse/internal/guid"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

type (
	definition     struct{}
	assignment     struct{}
	denyAssignment struct{}
)

// DefinitionID names a role definition; built-in ones have the same id everywhere.
type DefinitionID = guid.Of[definition]

// AssignmentID is the name of a role assignment, chosen by its creator.
type AssignmentID = guid.Of[assignment]

// NewAssignmentID returns a fresh random name for a role assignment.
func NewAssignmentID() AssignmentID { return guid.New[assignment]() }

// DenyAssignmentID is the name of a deny assignment.
type DenyAssignmentID = guid.Of[denyAssignment]

// A Permission is one set of operations: Actions without NotActions on the
// control plane, DataActions without NotDataActions on the data plane. The
// subtraction happens inside one permission and never reaches another.
type Permission struct {
	Actions        []string `json:"actions,omitzero"`
	NotActions     []string `json:"notActions,omitzero"`
	DataActions    []string `json:"dataActions,omitzero"`
	NotDataActions []string `json:"notDataActions,omitzero"`
	// Condition limits this permission; see package condition.
	Condition        string `json:"condition,omitzero"`
	ConditionVersion string `json:"conditionVersion,omitzero"`
}

// A Definition is a role: named permissions.
type Definition struct {
	ID          DefinitionID `json:"id"`
	RoleName    string       `json:"roleName"`
	Description string       `json:"description,omitzero"`
	BuiltIn     bool         `json:"builtIn,omitzero"`
	// AssignableScopes are the places where the role may be assigned.
	AssignableScopes []scope.Scope `json:"assignableScopes"`
	Permissions      []Permission  `json:"permissions"`
}

// An Assignment gives a principal a role at a scope and everything below it.
type Assignment struct {
	ID               AssignmentID   `json:"id"`
	Scope            scope.Scope    `json:"scope"`
	Principal        principal.ID   `json:"principal"`
	PrincipalType    principal.Kind `json:"principalType,omitzero"`
	Role             DefinitionID   `json:"role"`
	Condition        string         `json:"condition,omitzero"`
	ConditionVersion string         `json:"conditionVersion,omitzero"`
	Description      string         `json:"description,omitzero"`
	CreatedBy        principal.ID   `json:"createdBy,omitzero"`
	CreatedOn        time.Time      `json:"createdOn,omitzero"`
	UpdatedBy        principal.ID   `json:"updatedBy,omitzero"`
	UpdatedOn        time.Time      `json:"updatedOn,omitzero"`
	// DelegatedIdentity is the id of the managed identity of another tenant that the
	// assignment is for; it is kept, and nothing asks for it.
	DelegatedIdentity string `json:"delegatedManagedIdentityResourceId,omitzero"`
	// NotBefore and NotAfter bound the instants at which the assignment grants;
	// zero means no bound. It grants at NotBefore and no longer at NotAfter.
	NotBefore time.Time `json:"notBefore,omitzero"`
	NotAfter  time.Time `json:"notAfter,omitzero"`
	// Eligibility is what the principal activated. Such an assignment has an end, and
	// grants only as long as the eligibility is for the principal or a group of his.
	Eligibility EligibilityID `json:"eligibility,omitzero"`
}

// A DenyAssignment forbids operations to principals, whatever roles grant.
type DenyAssignment struct {
	ID          DenyAssignmentID `json:"id"`
	Name        string           `json:"name"`
	Description string           `json:"description,omitzero"`
	Scope       scope.Scope      `json:"scope"`
	Permissions []Permission     `json:"permissions"`
	// Everyone stands for Azure's SystemDefined principal, the nil GUID.
	Everyone             bool           `json:"everyone,omitzero"`
	Principals           []principal.ID `json:"principals,omitzero"`
	ExcludePrincipals    []principal.ID `json:"excludePrincipals,omitzero"`
	DoNotApplyToChildren bool           `json:"doNotApplyToChildScopes,omitzero"`
	SystemProtected      bool           `json:"isSystemProtected,omitzero"`
}

// Key returns the key of the definition: its id.
func (d Definition) Key() record.Key { return record.KeyOf(record.RoleDefinition, d.ID.String()) }

// Key returns the key of the assignment: its id.
func (a Assignment) Key() record.Key { return record.KeyOf(record.RoleAssignment, a.ID.String()) }

// Key returns the key of the deny assignment: its id.
func (d DenyAssignment) Key() record.Key {
	return record.KeyOf(record.DenyAssignment, d.ID.String())
}
