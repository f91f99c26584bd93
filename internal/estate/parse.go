package estate

import (
	"encoding"
	"errors"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

// The parts of a key are canonical texts; what does not parse names nothing.

func parseScope(s string) scope.Scope {
	sc, err := scope.Parse(s)
	if err != nil {
		return scope.Scope{}
	}
	return sc
}

// parseID reads an id of any type.
func parseID[T any, P interface {
	*T
	encoding.TextUnmarshaler
}](s string) (id T, err error) {
	err = P(&id).UnmarshalText([]byte(s))
	return id, err
}

func parseTenantID(s string) (id directory.TenantID, err error) {
	err = id.UnmarshalText([]byte(s))
	return id, err
}

func parseAppID(s string) (id directory.AppID, err error) {
	err = id.UnmarshalText([]byte(s))
	return id, err
}

func parseDefinitionID(s string) (id azurerbac.DefinitionID, err error) {
	err = id.UnmarshalText([]byte(s))
	return id, err
}

func parseAssignmentID(s string) (id azurerbac.AssignmentID, err error) {
	err = id.UnmarshalText([]byte(s))
	return id, err
}

func parseDenyID(s string) (id azurerbac.DenyAssignmentID, err error) {
	err = id.UnmarshalText([]byte(s))
	return id, err
}

func parseRoleAssignment(p [3]string) (a directory.RoleAssignment, err error) {
	return a, errors.Join(a.Principal.UnmarshalText([]byte(p[0])), a.Role.UnmarshalText([]byte(p[1])), a.Object.UnmarshalText([]byte(p[2])))
}
