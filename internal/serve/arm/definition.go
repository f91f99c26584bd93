package arm

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve"
)

const definitionType = authorization + "/roleDefinitions"

type definitionBody struct {
	ID         string               `json:"id"`
	Type       string               `json:"type"`
	Name       string               `json:"name"`
	Properties definitionProperties `json:"properties"`
}

type definitionProperties struct {
	RoleName         string           `json:"roleName"`
	Type             string           `json:"type"`
	Description      string           `json:"description"`
	AssignableScopes []string         `json:"assignableScopes"`
	Permissions      []permissionBody `json:"permissions"`
}

type permissionBody struct {
	Actions          []string `json:"actions"`
	NotActions       []string `json:"notActions"`
	DataActions      []string `json:"dataActions"`
	NotDataActions   []string `json:"notDataActions"`
	Condition        string   `json:"condition,omitzero"`
	ConditionVersion string   `json:"conditionVersion,omitzero"`
}

func permissionBodies(list []azurerbac.Permission) []permissionBody {
	out := make([]permissionBody, len(list))
	for i, p := range list {
		out[i] = permissionBody{
			Actions: some(p.Actions), NotActions: some(p.NotActions), DataActions: some(p.DataActions), NotDataActions: some(p.NotDataActions),
			Condition: p.Condition, ConditionVersion: p.ConditionVersion,
		}
	}
	return out
}

// some is a list that is written as one when it is empty.
func some(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

func (s *session) definitionBody(from scope.Scope, d azurerbac.Definition) definitionBody {
	typ := "CustomRole"
	if d.BuiltIn {
		typ = "BuiltInRole"
	}
	scopes := []string{}
	for _, at := range d.AssignableScopes {
		if s.ours(at) {
			scopes = append(scopes, s.spell(at))
		}
	}
	return definitionBody{
		ID: definitionID(from, d.ID), Type: definitionType, Name: d.ID.String(),
		Properties: definitionProperties{d.RoleName, typ, d.Description, scopes, permissionBodies(d.Permissions)},
	}
}

// hasDefinition reports whether a role belongs to the caller's tenant: built-in
// roles belong to all.
func (s *session) hasDefinition(role *azurerbac.Role) bool {
	for _, at := range role.AssignableScopes {
		if role.BuiltIn || at != scope.Root && s.ours(at) {
			return true
		}
	}
	return role.BuiltIn
}

// assignable reports whether a role may be assigned at a place or, when asked for,
// somewhere below it.
func (s *session) assignable(role *azurerbac.Role, at scope.Scope, below bool) bool {
	if role.BuiltIn {
		return true
	}
	for _, a := range role.AssignableScopes {
		if s.ours(a) && (s.above(a, at) || below && s.above(at, a)) {
			return true
		}
	}
	return false
}

// above reports whether a place contains another or is the same.
func (s *session) above(up, at scope.Scope) bool {
	for a := range s.est.Ancestors(at) {
		if a == up {
			return true
		}
	}
	return false
}

func listDefinitions(s *session, r *request) (answer, error) {
	if err := s.needAt(definitionType+"/read", r.at); err != nil {
		return answer{}, err
	}
	f, err := parseFilter(r.query.Get("$filter"), term{name: "roleName", eq: true}, term{name: "type", eq: true}, term{name: "atScopeAndBelow", bare: true})
	if err != nil {
		return answer{}, err
	}
	name, byName := f.get("roleName")
	typ, byType := f.get("type")
	_, below := f.get("atScopeAndBelow")
	var rows []row
	for role := range s.est.Definitions() {
		body := s.definitionBody(r.at, role.Definition)
		if !s.assignable(role, r.at, below) || byName && !strings.EqualFold(name, role.RoleName) || byType && !strings.EqualFold(typ, body.Properties.Type) {
			continue
		}
		rows = append(rows, row{role.ID.String(), body})
	}
	return s.page(r, rows)
}

func getDefinition(s *session, r *request) (answer, error) {
	if err := s.needAt(definitionType+"/read", r.at); err != nil {
		return answer{}, err
	}
	var id azurerbac.DefinitionID
	if id.UnmarshalText([]byte(r.name)) == nil {
		if role, ok := s.est.Definition(id); ok && s.assignable(role, r.at, true) {
			return answer{status: http.StatusOK, body: s.definitionBody(r.at, role.Definition)}, nil
		}
	}
	return answer{}, noDefinition(http.StatusNotFound, r.name)
}

func noDefinition(status int, id string) error {
	return serve.Refuse(status, "RoleDefinitionDoesNotExist", fmt.Sprintf("The specified role definition with ID '%s' does not exist.", serve.Printable(id, 200)))
}

type definitionInput struct {
	Properties struct {
		RoleName         string                 `json:"roleName"`
		Description      string                 `json:"description"`
		AssignableScopes []string               `json:"assignableScopes"`
		Permissions      []azurerbac.Permission `json:"permissions"`
	} `json:"properties"`
}

func putDefinition(s *session, r *request) (answer, error) {
	if err := s.needAt(definitionType+"/write", r.at); err != nil {
		return answer{}, err
	}
	var in definitionInput
	if err := r.decode(&in); err != nil {
		return answer{}, err
	}
	next := azurerbac.Definition{RoleName: in.Properties.RoleName, Description: in.Properties.Description, Permissions: in.Properties.Permissions}
	if err := next.ID.UnmarshalText([]byte(r.name)); err != nil {
		return answer{}, serve.Refuse(http.StatusBadRequest, "InvalidRoleDefinitionId", fmt.Sprintf("The role definition ID '%s' is not valid. The role definition ID must be a GUID.", serve.Printable(r.name, 80)))
	}
	for _, text := range in.Properties.AssignableScopes {
		at, err := scope.Parse(text)
		if err != nil {
			return answer{}, serve.Refuse(http.StatusBadRequest, "InvalidAssignableScope", fmt.Sprintf("The assignable scope '%s' is not a scope.", serve.Printable(text, 200)))
		}
		next.AssignableScopes = append(next.AssignableScopes, at)
	}
	var before record.Record
	role, exists := s.est.Definition(next.ID)
	taken := exists && (role.BuiltIn || !s.hasDefinition(role))
	if exists && !taken {
		before = role.Definition
	}
	for _, o := range serve.ToPut(s.est, before, next) {
		if !s.ours(o.At) || !o.Allowed(s.law, s.caller.ID, s.now) {
			return answer{}, serve.Refuse(http.StatusForbidden, "LinkedAuthorizationFailed", fmt.Sprintf(
				"The client '%s' with object id '%s' has permission to perform action '%s' on scope '%s'; however, it does not have permission to perform action '%s' on the linked scope(s) '%s' or the linked scope(s) are invalid.",
				s.caller.Name, s.caller.ID, o.Action, s.spell(r.at), o.Action, o.At))
		}
	}
	if taken {
		return answer{}, serve.Refuse(http.StatusBadRequest, "RoleDefinitionUpdateNotPermitted", "The role definition cannot be updated: it is not a custom role of this directory.")
	}
	if err := next.Validate(); err != nil {
		return answer{}, invalidDefinition(next, err)
	}
	if err := knownOperations(next); err != nil {
		return answer{}, err
	}
	if other, ok := s.est.DefinitionByName(next.RoleName); ok && other.ID != next.ID {
		return answer{}, serve.Refuse(http.StatusConflict, "RoleDefinitionWithSameNameExists", "A custom role with the same name already exists in this directory. Use a different name.")
	}
	if err := serve.WithinLimits(s.est, next, s.now); err != nil {
		return answer{}, err
	}
	// 201 even for one that was there: clients take nothing else for a success.
	return answer{status: http.StatusCreated, body: s.definitionBody(r.at, next), ops: []estate.Op{{Put: next}}, of: next.Key()}, nil
}

// knownOperations refuses operations that no provider has, as far as that is known.
func knownOperations(d azurerbac.Definition) error {
	for _, p := range d.Permissions {
		for data, lists := range map[bool][][]string{false: {p.Actions, p.NotActions}, true: {p.DataActions, p.NotDataActions}} {
			for _, op := range slices.Concat(lists...) {
				if azurerbac.UnknownOperation(op, data) {
					return serve.Refuse(http.StatusBadRequest, "InvalidActionOrNotAction", fmt.Sprintf("'%s' does not match any of the actions supported by the providers.", serve.Printable(op, 200)))
				}
			}
		}
	}
	return nil
}

// invalidDefinition tells a wrong operation from everything else that is wrong.
func invalidDefinition(d azurerbac.Definition, err error) error {
	code := "InvalidRoleDefinition"
	d.Permissions = []azurerbac.Permission{{Actions: []string{"*/read"}}}
	if d.Validate() == nil {
		code = "InvalidActionOrNotAction"
	}
	return &serve.Error{Status: http.StatusBadRequest, Code: code, Message: err.Error(), Err: err}
}

func deleteDefinition(s *session, r *request) (answer, error) {
	if err := s.needAt(definitionType+"/delete", r.at); err != nil {
		return answer{}, err
	}
	var id azurerbac.DefinitionID
	role, ok := (*azurerbac.Role)(nil), false
	if id.UnmarshalText([]byte(r.name)) == nil {
		role, ok = s.est.Definition(id)
	}
	if !ok || !s.hasDefinition(role) {
		return answer{status: http.StatusNoContent}, nil
	}
	if role.BuiltIn {
		return answer{}, serve.Refuse(http.StatusBadRequest, "RoleDefinitionUpdateNotPermitted", "A built-in role cannot be deleted.")
	}
	ops, needs, err := serve.Deletion(s.est, role.Key(), false)
	if err != nil {
		return answer{}, err
	}
	if err := s.need(needs...); err != nil {
		return answer{}, err
	}
	if len(s.est.Dependents(role.Key())) > 0 {
		return answer{}, serve.Refuse(http.StatusBadRequest, "RoleDefinitionHasAssignments", "There are existing role assignments referencing role. Delete them first.")
	}
	return answer{status: http.StatusOK, body: s.definitionBody(r.at, role.Definition), ops: ops}, nil
}
