package arm

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve"
)

const assignmentType = authorization + "/roleAssignments"

type assignmentBody struct {
	ID         string               `json:"id"`
	Type       string               `json:"type"`
	Name       string               `json:"name"`
	Properties assignmentProperties `json:"properties"`
}

type assignmentProperties struct {
	RoleDefinitionID                   string  `json:"roleDefinitionId"`
	PrincipalID                        string  `json:"principalId"`
	PrincipalType                      string  `json:"principalType"`
	Scope                              string  `json:"scope"`
	Description                        *string `json:"description"`
	Condition                          *string `json:"condition"`
	ConditionVersion                   *string `json:"conditionVersion"`
	CreatedOn                          string  `json:"createdOn"`
	UpdatedOn                          string  `json:"updatedOn"`
	CreatedBy                          *string `json:"createdBy"`
	UpdatedBy                          *string `json:"updatedBy"`
	DelegatedManagedIdentityResourceID *string `json:"delegatedManagedIdentityResourceId"`
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func (s *session) assignmentBody(from scope.Scope, a azurerbac.Assignment) assignmentBody {
	if _, ok := from.Subscription(); !ok {
		from = a.Scope
	}
	kind := a.PrincipalType
	if p, ok := s.est.Principal(a.Principal); ok {
		kind = p.Kind
	}
	typ := kind.AzureType()
	if typ == "" {
		typ = "Unknown"
	}
	return assignmentBody{
		ID: s.extensionID(a.Scope, "roleAssignments", a.ID.String()), Type: assignmentType, Name: a.ID.String(),
		Properties: assignmentProperties{
			RoleDefinitionID: definitionID(from, a.Role), PrincipalID: a.Principal.String(), PrincipalType: typ, Scope: s.spell(a.Scope),
			Description: orNull(a.Description), Condition: orNull(a.Condition), ConditionVersion: orNull(a.ConditionVersion),
			CreatedOn: a.CreatedOn.UTC().Format(time.RFC3339Nano), UpdatedOn: a.UpdatedOn.UTC().Format(time.RFC3339Nano),
			CreatedBy: orNull(a.CreatedBy.String()), UpdatedBy: orNull(a.UpdatedBy.String()), DelegatedManagedIdentityResourceID: orNull(a.DelegatedIdentity),
		},
	}
}

// hasAssignment reports whether an assignment is of the caller's tenant. At places
// that all tenants share, that is told by whom it is for or, when he is gone, by
// who made it.
func (s *session) hasAssignment(a azurerbac.Assignment) bool {
	return s.ofTenant(a.Scope, a.Principal, a.CreatedBy)
}

func listAssignments(s *session, r *request) (answer, error) {
	if err := s.needAt(assignmentType+"/read", r.at); err != nil {
		return answer{}, err
	}
	f, err := parseFilter(r.query.Get("$filter"), term{name: "atScope", bare: true}, term{name: "principalId", eq: true}, term{name: "assignedTo"})
	if err != nil {
		return answer{}, err
	}
	_, notBelow := f.get("atScope")
	only, limited, err := f.principals(s)
	if err != nil {
		return answer{}, err
	}
	if s.elsewhere(r) {
		return s.page(r, nil)
	}
	var rows []row
	for place, list := range candidates(s, s.assignments(), r.at, only, limited, notBelow) {
		if !s.shows(place, r.at, notBelow, func(at scope.Scope) bool { return s.may(assignmentType+"/read", at) }) {
			continue
		}
		everybodys := shared(place)
		for _, a := range list {
			if !everybodys || s.hasAssignment(a.Assignment) {
				rows = append(rows, row{a.ID.String(), func() any { return s.assignmentBody(r.at, a.Assignment) }})
			}
		}
	}
	return s.page(r, rows)
}

func (s *session) assignments() source[*estate.Assigned] {
	return source[*estate.Assigned]{s.est.AssignmentsBelow, s.est.AssignmentsAt, s.est.AssignmentsOf, func(a *estate.Assigned) scope.Scope { return a.Scope }}
}

// elsewhere reports whether a request asks for what another tenant has.
func (s *session) elsewhere(r *request) bool {
	t := r.query.Get("tenantId")
	return t != "" && !strings.EqualFold(t, s.tenant.String())
}

// principals returns whose assignments a filter is about; limited is false when it
// is about everybody's.
func (f filter) principals(s *session) (only map[principal.ID]bool, limited bool, err error) {
	for _, name := range []string{"principalId", "assignedTo", "gdprExportPrincipalId"} {
		text, given := f.get(name)
		if !given {
			continue
		}
		id, err := principal.ParseID(text)
		if err != nil {
			return nil, false, serve.Refuse(http.StatusBadRequest, "InvalidFilterInQueryString", fmt.Sprintf("'%s' is not an object id.", serve.Printable(text, 80)))
		}
		set := map[principal.ID]bool{id: true}
		if p, ok := s.est.Principal(id); name == "assignedTo" && ok && p.Tenant == s.tenant {
			for _, g := range s.est.GroupsOf(id) {
				set[g] = true
			}
		}
		if limited { // both: whoever is in both
			for id := range only {
				if !set[id] {
					delete(only, id)
				}
			}
			continue
		}
		only, limited = set, true
	}
	return only, limited, nil
}

// assignment returns the assignment that a request names, at just that place.
func (s *session) assignment(r *request) (azurerbac.Assignment, bool) {
	var id azurerbac.AssignmentID
	if id.UnmarshalText([]byte(r.name)) != nil {
		return azurerbac.Assignment{}, false
	}
	a, ok := s.est.Assignment(id)
	if !ok || a.Scope != r.at || !s.hasAssignment(a.Assignment) {
		return azurerbac.Assignment{}, false
	}
	return a.Assignment, true
}

func getAssignment(s *session, r *request) (answer, error) {
	if err := s.needAt(assignmentType+"/read", r.at); err != nil {
		return answer{}, err
	}
	a, found := s.assignment(r)
	if !found || s.elsewhere(r) {
		return answer{}, serve.Refuse(http.StatusNotFound, "RoleAssignmentNotFound", fmt.Sprintf("The role assignment '%s' is not found.", serve.Printable(r.name, 80)))
	}
	return ok(a, s.assignmentBody(r.at, a)), nil
}

func deleteAssignment(s *session, r *request) (answer, error) {
	a, ok := s.assignment(r)
	if !ok {
		if err := s.needAt(assignmentType+"/delete", r.at); err != nil {
			return answer{}, err
		}
		return answer{status: http.StatusNoContent}, nil
	}
	if err := s.need(serve.ToDelete(s.est, a)...); err != nil {
		return answer{}, err
	}
	if err := serve.KeepsOwner(s.est, a, s.now); err != nil {
		return answer{}, err
	}
	return answer{status: http.StatusOK, body: s.assignmentBody(r.at, a), ops: []estate.Op{{Delete: a.Key()}}, of: a.Key()}, nil
}

// maxCondition bounds the condition of an assignment, in bytes, as in Azure.
const maxCondition = 8 << 10

type assignmentInput struct {
	Properties struct {
		RoleDefinitionID string `json:"roleDefinitionId"`
		PrincipalID      string `json:"principalId"`
		PrincipalType    string `json:"principalType"`
		Description      string `json:"description"`
		Condition        string `json:"condition"`
		ConditionVersion string `json:"conditionVersion"`
		Delegated        string `json:"delegatedManagedIdentityResourceId"`
	} `json:"properties"`
}

// putAssignment makes an assignment, or changes the role, condition and
// description of one. It answers 201 even when nothing changes: clients take
// nothing else for a success.
func putAssignment(s *session, r *request) (answer, error) {
	var in assignmentInput
	if err := r.decode(&in); err != nil {
		return answer{}, err
	}
	next, err := in.read(r)
	if err != nil {
		return answer{}, err
	}
	var before record.Record
	old, exists := s.est.Assignment(next.ID)
	if exists && old.Scope == next.Scope && old.Principal == next.Principal {
		before = old.Assignment
		next.NotBefore, next.NotAfter, next.Eligibility = old.NotBefore, old.NotAfter, old.Eligibility
	}
	if err := s.need(serve.ToPut(s.est, before, next)...); err != nil {
		return answer{}, err
	}
	if exists && before == nil {
		return answer{}, serve.Refuse(http.StatusBadRequest, "RoleAssignmentUpdateNotPermitted", "Tenant ID, application ID, principal ID, and scope are not allowed to be updated.")
	}
	if err := s.fits(&next, in.Properties.RoleDefinitionID, in.Properties.PrincipalType); err != nil {
		return answer{}, err
	}
	if err := s.isNew(r, next); err != nil {
		return answer{}, err
	}
	if before != nil && old.Role != next.Role {
		if err := serve.KeepsOwner(s.est, old.Assignment, s.now); err != nil {
			return answer{}, err
		}
	}
	next.CreatedBy, next.CreatedOn, next.UpdatedBy, next.UpdatedOn = s.caller.ID, s.now.UTC().Round(0), s.caller.ID, s.now.UTC().Round(0)
	if before != nil {
		next.CreatedBy, next.CreatedOn = old.CreatedBy, old.CreatedOn
		same := next
		same.UpdatedBy, same.UpdatedOn = old.UpdatedBy, old.UpdatedOn
		same.PrincipalType = old.PrincipalType
		if same == old.Assignment {
			return answer{status: http.StatusCreated, body: s.assignmentBody(r.at, same), of: same.Key()}, nil
		}
	}
	return answer{status: http.StatusCreated, body: s.assignmentBody(r.at, next), ops: []estate.Op{{Put: next}}, of: next.Key()}, nil
}

// read returns the assignment that a body describes.
func (in *assignmentInput) read(r *request) (a azurerbac.Assignment, err error) {
	p := &in.Properties
	refuse := func(code, format string, args ...any) (azurerbac.Assignment, error) {
		return azurerbac.Assignment{}, serve.Refuse(http.StatusBadRequest, code, fmt.Sprintf(format, args...))
	}
	if a.ID.UnmarshalText([]byte(r.name)) != nil {
		return refuse("InvalidRoleAssignmentId", "The role assignment ID '%s' is not valid. The role assignment ID must be a GUID.", serve.Printable(r.name, 80))
	}
	if a.Principal, err = principal.ParseID(p.PrincipalID); err != nil {
		return refuse("InvalidPrincipalId", "The principal ID '%s' is not valid. Principal ID must be a GUID.", serve.Printable(p.PrincipalID, 80))
	}
	var ok bool
	if a.Role, ok = parseDefinitionID(p.RoleDefinitionID); !ok {
		return refuse("InvalidRoleDefinitionId", "The role definition ID '%s' is not valid. It has the form {scope}/providers/Microsoft.Authorization/roleDefinitions/{GUID}.", serve.Printable(p.RoleDefinitionID, 200))
	}
	if len(p.Condition) > maxCondition {
		return refuse("RoleAssignmentConditionTooLong", "The condition has %d characters, at most %d are allowed.", len(p.Condition), maxCondition)
	}
	a.DelegatedIdentity = p.Delegated
	a.Scope, a.Description, a.Condition, a.ConditionVersion = r.at, p.Description, p.Condition, p.ConditionVersion
	if a = a.WithDefaults(); a.Validate() != nil {
		return azurerbac.Assignment{}, a.Validate()
	}
	return a, nil
}

// fits checks what an assignment refers to, and fills in what sort of principal it
// is for.
func (s *session) fits(a *azurerbac.Assignment, roleText, said string) error {
	if err := s.exists(a.Scope); err != nil {
		return err
	}
	role, ok := s.est.Definition(a.Role)
	if !ok || !s.hasDefinition(role) {
		return noDefinition(http.StatusBadRequest, roleText)
	}
	if !s.assignable(role, a.Scope, false) {
		return serve.Refuse(http.StatusBadRequest, "RoleAssignmentScopeNotAssignableToRoleDefinition", fmt.Sprintf(
			"The assignment scope '%s' is not assignable to role definition '%s'.", s.spell(a.Scope), a.Role))
	}
	if a.Scope.Type() == strings.ToLower(managementType) && !role.BuiltIn && hasData(role) {
		return serve.Refuse(http.StatusBadRequest, "RoleAssignmentScopeNotAssignableToRoleDefinition", "A custom role with data actions cannot be assigned at the scope of a management group.")
	}
	p, ok := s.est.Principal(a.Principal)
	if _, arrived := s.law.Principal(a.Principal); !arrived && said == "" {
		ok = false // what Azure calls a replication delay, being rehearsed
	}
	if !ok || p.Tenant != s.tenant {
		return serve.Refuse(http.StatusBadRequest, "PrincipalNotFound", fmt.Sprintf(
			"Principal %s does not exist in the directory %s. Check that you have the correct principal ID. If you are creating this principal and then immediately assigning a role, this error might be related to a replication delay. In this case, set the role assignment principalType property to a value, such as ServicePrincipal, User, or Group. See https://aka.ms/docs-principaltype",
			bare(a.Principal.String()), s.tenant))
	}
	if said != "" && !strings.EqualFold(said, p.Kind.AzureType()) {
		return serve.Refuse(http.StatusBadRequest, "UnmatchedPrincipalType", fmt.Sprintf(
			"The PrincipalId '%s' has type '%s', which is different from specified PrinciaplType '%s'.", bare(a.Principal.String()), p.Kind.AzureType(), serve.Printable(said, 40)))
	}
	a.PrincipalType = p.Kind
	return nil
}

// isNew refuses an assignment that is there already under another name, and one too
// many.
func (s *session) isNew(r *request, a azurerbac.Assignment) error {
	for _, other := range s.est.AssignmentsOf(a.Principal) {
		if other.ID != a.ID && other.Scope == a.Scope && other.Role == a.Role {
			text := "The role assignment already exists."
			if r.since("2022-04-01") { // clients of older versions compare the whole text
				text += fmt.Sprintf(" The ID of the existing role assignment is %s.", bare(other.ID.String()))
			}
			return serve.Refuse(http.StatusConflict, "RoleAssignmentExists", text)
		}
	}
	return serve.WithinLimits(s.est, a, s.now)
}

// bare is an id as some messages of Azure write it.
func bare(id string) string { return strings.ReplaceAll(id, "-", "") }

func hasData(role *azurerbac.Role) bool {
	return slices.ContainsFunc(role.Definition.Permissions, func(p azurerbac.Permission) bool { return len(p.DataActions) > 0 })
}
