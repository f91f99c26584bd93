package arm

import (
	"fmt"
	"net/http"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/decide"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve"
)

// listPermissions lists what the caller has been given at a place. It needs no
// right: it tells nobody anything about others.
func listPermissions(s *session, r *request) (answer, error) {
	if err := s.reach(r.at); err != nil {
		return answer{}, err
	}
	who, ok := s.law.Resolve(s.caller.ID)
	if !ok {
		return s.page(r, nil)
	}
	var rows []row
	for _, g := range who.Azure {
		if !g.Assigned.ActiveAt(s.now) || !s.above(g.Scope, r.at) {
			continue
		}
		for i, p := range permissionBodies(g.Role.Definition.Permissions) {
			if g.Assigned.Condition != "" {
				p.Condition, p.ConditionVersion = g.Assigned.Condition, g.Assigned.ConditionVersion
			}
			rows = append(rows, row{fmt.Sprintf("%s-%03d", g.Assigned.ID, i), p})
		}
	}
	return s.page(r, rows)
}

// maxActions is how many operations may be asked about at once, as in Azure.
const maxActions = 200

type checkInput struct {
	Subject struct {
		Attributes struct {
			ObjectID string `json:"ObjectId"`
		} `json:"Attributes"`
	} `json:"Subject"`
	Actions []struct {
		ID           string         `json:"Id"`
		IsDataAction bool           `json:"IsDataAction"`
		Attributes   jsontext.Value `json:"Attributes"`
	} `json:"Actions"`
	Resource struct {
		ID string `json:"Id"`
	} `json:"Resource"`
}

type decisionBody struct {
	AccessDecision string          `json:"accessDecision"`
	ActionID       string          `json:"actionId"`
	IsDataAction   bool            `json:"isDataAction"`
	RoleAssignment *grantBody      `json:"roleAssignment"`
	DenyAssignment *denyDetailBody `json:"denyAssignment"`
	TimeToLiveInMs int             `json:"timeToLiveInMs"`
}

type grantBody struct {
	ID               string  `json:"id"`
	RoleDefinitionID string  `json:"roleDefinitionId"`
	PrincipalID      string  `json:"principalId"`
	PrincipalType    string  `json:"principalType"`
	Scope            string  `json:"scope"`
	Condition        *string `json:"condition"`
	ConditionVersion *string `json:"conditionVersion"`
	CanDelegate      bool    `json:"canDelegate"`
}

type denyDetailBody struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	Scope string `json:"scope"`
}

// checkAccessNow answers one decision for each action, in their order. The groups
// that the caller sends are not looked at: the directory knows better.
func checkAccessNow(s *session, r *request) (answer, error) {
	refuse := func(format string, args ...any) (answer, error) {
		return answer{}, serve.Refuse(http.StatusBadRequest, "BadRequest", fmt.Sprintf(format, args...))
	}
	var in checkInput
	if err := r.decode(&in); err != nil {
		return answer{}, err
	}
	who, err := principal.ParseID(in.Subject.Attributes.ObjectID)
	if err != nil {
		return refuse("Subject.Attributes.ObjectId '%s' is not an object id.", serve.Printable(in.Subject.Attributes.ObjectID, 80))
	}
	at := r.at
	if in.Resource.ID != "" {
		if at, err = scope.Parse(in.Resource.ID); err != nil || !r.at.Contains(at) {
			return refuse("Resource.Id '%s' is not the scope of the request or in it.", serve.Printable(in.Resource.ID, 200))
		}
	}
	if len(in.Actions) == 0 || len(in.Actions) > maxActions {
		return refuse("%d actions, want 1 to %d.", len(in.Actions), maxActions)
	}
	if err := s.reach(at); err != nil {
		return answer{}, err
	}
	if who != s.caller.ID {
		if err := s.needAt(authorization+"/*/read", at); err != nil {
			return answer{}, err
		}
	}
	// Somebody of another tenant is nobody here, whatever he has elsewhere.
	p, known := s.est.Principal(who)
	known = known && p.Tenant == s.tenant && !p.Disabled
	out := make([]decisionBody, len(in.Actions))
	for i, a := range in.Actions {
		if text := string(a.Attributes); text != "" && text != "null" && text != "{}" {
			// A condition could be met by an attribute that is not there.
			return refuse("Attributes of actions are not supported here.")
		}
		out[i] = decisionBody{AccessDecision: "NotAllowed", ActionID: a.ID, IsDataAction: a.IsDataAction}
		if known {
			s.decide(&out[i], decide.Request{Who: decide.Subject{ID: who}, Scope: at, Action: a.ID, Data: a.IsDataAction, Now: s.now, Only: decide.Azure})
		}
	}
	return answer{status: http.StatusOK, body: out}, nil
}

func (s *session) decide(out *decisionBody, req decide.Request) {
	dec := decide.Decide(s.law, req)
	switch {
	case dec.Effect == decide.Allow && dec.By != nil && dec.By.Assigned != nil:
		out.AccessDecision = "Allowed"
		a := s.assignmentBody(req.Scope, dec.By.Assigned.Assignment)
		out.RoleAssignment = &grantBody{
			ID: a.Name, RoleDefinitionID: a.Properties.RoleDefinitionID, PrincipalID: a.Properties.PrincipalID, PrincipalType: a.Properties.PrincipalType,
			Scope: a.Properties.Scope, Condition: a.Properties.Condition, ConditionVersion: a.Properties.ConditionVersion,
		}
	case dec.Reason == decide.DenyAssignment && dec.By != nil && dec.By.Deny != nil:
		out.AccessDecision = "Denied"
		var d azurerbac.DenyAssignment = dec.By.Deny.DenyAssignment
		out.DenyAssignment = &denyDetailBody{d.ID.String(), d.Name, s.spell(d.Scope)}
	}
}
