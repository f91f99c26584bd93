package arm

import (
	"fmt"
	"net/http"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/serve"
)

// eligibilityFor returns the eligibility that a request of an administrator is about.
func (s *session) eligibilityFor(q ask) (azurerbac.Eligibility, bool) {
	for _, el := range s.est.EligibilitiesOf(q.Principal) {
		if el.Scope == q.Scope && el.Role == q.Role && (q.Eligibility.IsZero() || q.Eligibility == el.ID || q.Type == azurerbac.AdminAssign) {
			return *el, s.ofTenant(el.Scope, el.Principal, el.CreatedBy)
		}
	}
	return azurerbac.Eligibility{}, false
}

func notAssigned() error {
	return serve.Refuse(http.StatusBadRequest, "RoleAssignmentDoesNotExist", "The Role assignment does not exist.")
}

func assignedAlready() error {
	return serve.Refuse(http.StatusBadRequest, "RoleAssignmentExists", "The Role assignment already exists.")
}

// changeEligibility makes, changes and ends what somebody is eligible for.
func (s *session) changeEligibility(r *request, q ask) (answer, error) {
	old, there := s.eligibilityFor(q)
	if q.Type == azurerbac.AdminAssign {
		return s.makeEligible(r, q, old, there)
	}
	if !there {
		if err := s.needAt(eligibilityRequestType+"/write", r.at); err != nil {
			return answer{}, err
		}
		return answer{}, notAssigned()
	}
	q.Eligibility = old.ID
	if q.Type == azurerbac.AdminRemove {
		if err := s.need(serve.ToDelete(s.est, old)...); err != nil {
			return answer{}, err
		}
		return s.settled(q, azurerbac.Revoked, s.without(old)...)
	}
	ended := old.EndedAt(s.now)
	next := old
	if !ended && !q.begins {
		q.NotBefore = old.NotBefore // and a length of time counts from now on
	}
	next.NotBefore, next.NotAfter, next.UpdatedOn = q.NotBefore, q.NotAfter, q.CreatedOn
	if q.Condition != "" {
		next.Condition, next.ConditionVersion = q.Condition, q.ConditionVersion
	}
	if err := s.need(serve.ToPut(s.est, old, next)...); err != nil {
		return answer{}, err
	}
	if ended != (q.Type == azurerbac.AdminRenew) {
		return answer{}, notAssigned() // an old one is renewed, one in force is not
	}
	if !next.NotAfter.IsZero() && !next.NotAfter.After(next.NotBefore) {
		return answer{}, serve.Refuse(http.StatusBadRequest, "InvalidScheduleInfo", "The end comes before the beginning.")
	}
	if err := q.passes(azurerbac.OnEligibility, s.now, s.policyAt(r, q)); err != nil {
		return answer{}, err
	}
	return s.settled(q, azurerbac.Provisioned, append(s.narrowed(next), estate.Op{Put: next})...)
}

func (s *session) policyAt(r *request, q ask) azurerbac.Policy {
	p, _ := s.est.Policy(r.at, q.Role)
	return p
}

func (s *session) makeEligible(r *request, q ask, old azurerbac.Eligibility, there bool) (answer, error) {
	next := azurerbac.Eligibility{
		ID: azurerbac.EligibilityID(r.mint("eligibility")), Scope: r.at, Principal: q.Principal, Role: q.Role, Condition: q.Condition, ConditionVersion: q.ConditionVersion,
		NotBefore: q.NotBefore, NotAfter: q.NotAfter, CreatedBy: s.caller.ID, CreatedOn: q.CreatedOn, UpdatedOn: q.CreatedOn,
	}
	if err := s.need(serve.ToPut(s.est, nil, next)...); err != nil {
		return answer{}, err
	}
	given := next.Assigned(next.Principal)
	if err := s.fits(&given, q.roleText, ""); err != nil {
		return answer{}, err
	}
	if k := given.PrincipalType; k != principal.User && k != principal.Group {
		return answer{}, serve.Refuse(http.StatusBadRequest, "InvalidPrincipalType", fmt.Sprintf("A %s cannot activate anything: only users and groups can be eligible.", k.AzureType()))
	}
	if there && !old.EndedAt(s.now) {
		return answer{}, assignedAlready()
	}
	if err := q.passes(azurerbac.OnEligibility, s.now, s.policyAt(r, q)); err != nil {
		return answer{}, err
	}
	q.Eligibility = next.ID
	var ops []estate.Op
	if there {
		ops = s.without(old)
	}
	return s.settled(q, azurerbac.Provisioned, append(ops, estate.Op{Put: next})...)
}

// without deletes an eligibility and what was activated of it.
func (s *session) without(el azurerbac.Eligibility) []estate.Op {
	var ops []estate.Op
	for _, a := range s.est.ActivationsOf(el.ID) {
		ops = append(ops, estate.Op{Delete: a.Key()})
	}
	return append(sorted(ops), estate.Op{Delete: el.Key()})
}

// narrowed ends what was activated of an eligibility where the changed one does, and
// puts it under its condition.
func (s *session) narrowed(next azurerbac.Eligibility) []estate.Op {
	var ops []estate.Op
	for _, a := range s.est.ActivationsOf(next.ID) {
		was := a.Assignment
		is := was
		is.Condition, is.ConditionVersion = next.Condition, next.ConditionVersion
		if !next.NotAfter.IsZero() && is.NotAfter.After(next.NotAfter) {
			is.NotAfter = next.NotAfter
		}
		switch {
		case !is.NotAfter.After(is.NotBefore), next.NotBefore.After(s.now):
			ops = append(ops, estate.Op{Delete: was.Key()})
		case is != was:
			ops = append(ops, estate.Op{Put: is})
		}
	}
	return sorted(ops)
}
