package arm

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/azurerbac/condition"
	"github.com/gatehouse-io/gatehouse/internal/decide"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve"
)

// maxActions is how many operations may be asked about at once, as in Azure.
const maxActions = 200

type checkInput struct {
	Subject struct {
		Attributes struct {
			ObjectID string `json:"ObjectId"`
		} `json:"Attributes"`
	} `json:"Subject"`
	Actions []struct {
		ID           string                    `json:"Id"`
		IsDataAction *bool                     `json:"IsDataAction"`
		Attributes   map[string]jsontext.Value `json:"Attributes"`
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
	if err := s.reach(at); err != nil && !s.unseen(at) {
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
		given, err := attributesOf(a.Attributes)
		if err != nil {
			return answer{}, err
		}
		data := isData(a.ID)
		if a.IsDataAction != nil {
			data = *a.IsDataAction
		}
		out[i] = decisionBody{AccessDecision: "NotAllowed", ActionID: a.ID, IsDataAction: data}
		if known {
			s.decide(&out[i], decide.Request{Who: decide.Subject{ID: who}, Scope: at, Action: a.ID, Data: data, Attributes: given, Now: s.now, Only: decide.Azure})
		}
	}
	if !r.since("2021-06-01") {
		return answer{status: http.StatusOK, body: out}, nil // guard of version 1 reads a bare list
	}
	all := onePage{Value: []any{}}
	for _, d := range out {
		all.Value = append(all.Value, d)
	}
	return answer{status: http.StatusOK, body: all}, nil
}

// isData tells for askers that do not say it, as those of the second version,
// whether an operation is one of the data plane.
func isData(action string) bool {
	control, data := azurerbac.PlanesOf(action)
	return !control && (data || strings.HasPrefix(lowerASCII(action), "microsoft.containerservice/managedclusters/"))
}

// attributesOf are what the asker says about a request, for conditions: guard sends
// group and kind of a custom resource. They say nothing about any principal.
func attributesOf(in map[string]jsontext.Value) (func(condition.Source, string) (condition.Value, bool), error) {
	given := make(map[string]condition.Value, len(in))
	for name, text := range in {
		var one string
		var list []string
		var yes bool
		switch {
		case text.Kind() == 'n':
			continue
		case json.Unmarshal(text, &one) == nil:
			given[condition.CanonicalName(name)] = condition.String(one)
		case json.Unmarshal(text, &list) == nil:
			given[condition.CanonicalName(name)] = condition.String(list...)
		case json.Unmarshal(text, &yes) == nil:
			given[condition.CanonicalName(name)] = condition.Bool(yes)
		default:
			return nil, serve.Refuse(http.StatusBadRequest, "BadRequest", fmt.Sprintf("The attribute '%s' is neither a text, a list of texts nor a truth value.", serve.Printable(name, 100)))
		}
	}
	if len(given) == 0 {
		return nil, nil
	}
	return func(from condition.Source, name string) (condition.Value, bool) {
		v, ok := given[name]
		return v, ok && (from == condition.Request || from == condition.Resource)
	}, nil
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
