package arm

import (
	"fmt"
	"net/http"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/directoryrole"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve"
)

// elevate gives a Global Administrator the role User Access Administrator at the root,
// where nobody else could give it to him. It is removed like any assignment.
func elevate(s *session, r *request) (answer, error) {
	if !s.globalAdministrator() {
		return answer{}, serve.Refuse(http.StatusForbidden, "AuthorizationFailed", fmt.Sprintf(
			"The client '%s' with object id '%s' does not have authorization to perform action '%s/elevateAccess/action' over scope '/' or the scope is invalid. It takes the directory role Global Administrator.",
			s.caller.Name, s.caller.ID, authorization))
	}
	for t := range s.est.Tenants() {
		if t.ID != s.tenant {
			// The root is that of all tenants, and he administers one.
			return answer{}, serve.Refuse(http.StatusConflict, "ElevateAccessNotSupported", "This house has several tenants, which share the scope '/': no administrator of one of them can be given access to all. Have somebody who owns '/' assign a role, such as at a subscription.")
		}
	}
	old, there := s.assignedTo(s.caller.ID, scope.Root, azurerbac.UserAccessAdministrator)
	if there && old.Condition == "" && old.NotAfter.IsZero() && old.ActiveAt(s.now) {
		return answer{status: http.StatusOK}, nil
	}
	now := s.now.UTC().Round(0)
	next := azurerbac.Assignment{
		ID: azurerbac.AssignmentID(r.mint("assignment")), Scope: scope.Root, Principal: s.caller.ID, PrincipalType: s.caller.Kind, Role: azurerbac.UserAccessAdministrator,
		CreatedBy: s.caller.ID, CreatedOn: now, UpdatedBy: s.caller.ID, UpdatedOn: now,
	}
	var ops []estate.Op
	if there {
		ops = append(ops, estate.Op{Delete: old.Key()})
	}
	return answer{status: http.StatusOK, ops: append(ops, estate.Op{Put: next}), why: "elevateAccess: a Global Administrator takes access to '/'"}, nil
}

// globalAdministrator reports whether the caller is a user who has that role over all
// of his directory.
func (s *session) globalAdministrator() bool {
	who, ok := s.law.Resolve(s.caller.ID)
	if !ok || who.Principal.Disabled || s.caller.Kind != principal.User {
		return false
	}
	for _, g := range who.Directory {
		if g.Given != nil && g.Given.Role == directoryrole.GlobalAdministrator && g.Given.Object.IsZero() {
			return true
		}
	}
	return false
}
