package directory

import (
	"github.com/gatehouse-io/gatehouse/internal/guid"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
)

type role struct{}

// RoleID names a role of the directory, by the template id that it has in every
// tenant of Entra ID. Package directoryrole has the roles.
type RoleID = guid.Of[role]

// ParseRoleID returns the id of a directory role written as s.
func ParseRoleID(s string) (RoleID, error) { return guid.Parse[role](s) }

// A RoleAssignment gives a principal a role of the directory, over all objects of
// his tenant or over one. It says nothing about Azure resources.
type RoleAssignment struct {
	Principal principal.ID `json:"principal"`
	Role      RoleID       `json:"role"`
	// Object is the one object that it is for; zero means the whole directory.
	Object principal.ID `json:"object,omitzero"`
}

// An Ownership says that a user or service principal owns an application, a
// service principal or a group, and may manage it.
type Ownership struct {
	Object principal.ID `json:"object"`
	Owner  principal.ID `json:"owner"`
}

// Key implements record.Record.
func (a RoleAssignment) Key() record.Key {
	return record.KeyOf(record.DirectoryRoleAssignment, a.Principal.String(), a.Role.String(), a.Object.String())
}

// Key implements record.Record.
func (o Ownership) Key() record.Key {
	return record.KeyOf(record.Ownership, o.Object.String(), o.Owner.String())
}

// Validate implements record.Record.
func (a RoleAssignment) Validate() error {
	if a.Principal.IsZero() || a.Role.IsZero() {
		return record.Invalid("directory role assignment without principal or role")
	}
	return nil
}

// Validate implements record.Record.
func (o Ownership) Validate() error {
	if o.Object.IsZero() || o.Owner.IsZero() {
		return record.Invalid("ownership without object or owner")
	}
	return nil
}
