package arm

import (
	"fmt"
	"net/http"
	"slices"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve"
)

// assignedTo returns the role assignment that gives just a role at just a place to a
// principal himself.
func (s *session) assignedTo(who principal.ID, at scope.Scope, role azurerbac.DefinitionID) (azurerbac.Assignment, bool) {
	for _, a := range s.est.AssignmentsOf(who) {
		if a.Scope == at && a.Role == role {
			return a.Assignment, s.hasAssignment(a.Assignment)
		}
	}
	return azurerbac.Assignment{}, false
}

func over(a azurerbac.Assignment, s *session) bool {
	return !a.NotAfter.IsZero() && !s.now.Before(a.NotAfter)
}

// mayAssign refuses who may not ask for a change of an assignment, or may not make it.
func (s *session) mayAssign(at scope.Scope, ops []serve.Operation) error {
	return s.need(append([]serve.Operation{{Action: assignmentRequestType + "/write", At: at}}, ops...)...)
}

// changeAssignment makes and ends active assignments, for administrators.
func (s *session) changeAssignment(r *request, q ask) (answer, error) {
	old, there := s.assignedTo(q.Principal, r.at, q.Role)
	if q.Type == azurerbac.AdminRemove {
		if !there {
			if err := s.mayAssign(r.at, nil); err != nil {
				return answer{}, err
			}
			return answer{}, notAssigned()
		}
		if err := s.mayAssign(r.at, serve.ToDelete(s.est, old)); err != nil {
			return answer{}, err
		}
		if err := serve.KeepsOwner(s.est, old, s.now); err != nil {
			return answer{}, err
		}
		q.Assignment = old.ID
		return s.settled(q, azurerbac.Revoked, estate.Op{Delete: old.Key()})
	}
	next := q.assignment(s, r)
	if err := s.mayAssign(r.at, serve.ToPut(s.est, nil, next)); err != nil {
		return answer{}, err
	}
	if err := s.fits(&next, q.roleText, ""); err != nil {
		return answer{}, err
	}
	if there && !over(old, s) {
		return answer{}, assignedAlready()
	}
	if err := q.passes(azurerbac.OnAssignment, s.now, s.policyAt(r, q)); err != nil {
		return answer{}, err
	}
	q.Assignment, q.Eligibility = next.ID, azurerbac.EligibilityID{}
	return s.assigned(q, old, there, next)
}

// assignment is what a request would come to.
func (q *ask) assignment(s *session, r *request) azurerbac.Assignment {
	return azurerbac.Assignment{
		ID: azurerbac.AssignmentID(r.mint("assignment")), Scope: r.at, Principal: q.Principal, Role: q.Role, Condition: q.Condition, ConditionVersion: q.ConditionVersion,
		NotBefore: q.NotBefore, NotAfter: q.NotAfter, CreatedBy: s.caller.ID, CreatedOn: q.CreatedOn, UpdatedBy: s.caller.ID, UpdatedOn: q.CreatedOn,
	}
}

// assigned puts an assignment in the place of one that is over.
func (s *session) assigned(q ask, old azurerbac.Assignment, there bool, next azurerbac.Assignment) (answer, error) {
	var ops []estate.Op
	if there {
		ops = append(ops, estate.Op{Delete: old.Key()})
	} else if err := serve.WithinLimits(s.est, next, s.now); err != nil {
		return answer{}, err
	}
	return s.settled(q, azurerbac.Provisioned, append(ops, estate.Op{Put: next})...)
}

// oneself refuses to activate or deactivate for anybody else. Only people do: what
// a program may do, it may do all the time.
func (s *session) oneself(q ask) error {
	// Nobody else decides about him, so what he is must be of this very estate.
	if _, err := serve.CallerOf(s.est, s.tenant, s.caller.ID); err != nil {
		return serve.Refuse(http.StatusForbidden, "InsufficientPermissions", err.Error()+".")
	}
	if q.Principal != s.caller.ID || s.caller.Kind != principal.User {
		return serve.Refuse(http.StatusForbidden, "InsufficientPermissions", "A role is activated, and deactivated, by the user himself who is eligible for it.")
	}
	return s.reach(q.Scope)
}

// eligible returns what the caller is eligible for now that lets him activate a role
// at a place. Of several it is the one without a condition, and that which lasts
// longest; he may name one.
func (s *session) eligible(q ask) (azurerbac.Eligibility, bool) {
	var found []azurerbac.Eligibility
	for _, who := range append([]principal.ID{s.caller.ID}, s.est.GroupsOf(s.caller.ID)...) {
		for _, el := range s.est.EligibilitiesOf(who) {
			if el.Role == q.Role && el.ActiveAt(s.now) && s.above(el.Scope, q.Scope) && (q.Eligibility.IsZero() || q.Eligibility == el.ID) {
				found = append(found, *el)
			}
		}
	}
	if len(found) == 0 {
		return azurerbac.Eligibility{}, false
	}
	return slices.MinFunc(found, func(a, b azurerbac.Eligibility) int {
		for _, differs := range [][2]bool{{a.Condition == "", b.Condition == ""}, {a.NotAfter.IsZero(), b.NotAfter.IsZero()}, {a.NotAfter.After(b.NotAfter), b.NotAfter.After(a.NotAfter)}} {
			if differs[0] != differs[1] {
				if differs[0] {
					return -1
				}
				return 1
			}
		}
		return slices.Compare(a.ID[:], b.ID[:])
	}), true
}

// policies are those that an activation must pass: that of the place where somebody
// is eligible, and that of the place where he activates, if it has one of its own.
func (s *session) policies(el azurerbac.Eligibility, at scope.Scope) []azurerbac.Policy {
	first, _ := s.est.Policy(el.Scope, el.Role)
	list := []azurerbac.Policy{first}
	if own, there := s.est.Policy(at, el.Role); there && at != el.Scope {
		list = append(list, own)
	}
	return list
}

// activate lets the caller have what he is eligible for, for a while. It takes no
// other right. What the policy demands and this house cannot see to, it does not
// grant: without an approval the request waits, and a second factor is refused.
func (s *session) activate(r *request, q ask) (answer, error) {
	if err := s.oneself(q); err != nil {
		return answer{}, err
	}
	el, ok := s.eligible(q)
	if !ok || q.Condition != "" && q.Condition != el.Condition {
		return answer{}, policyFailed([]string{"EligibilityRule"})
	}
	q.Eligibility, q.Condition, q.ConditionVersion = el.ID, el.Condition, el.ConditionVersion
	policies := s.policies(el, r.at)
	if err := q.passes(azurerbac.OnActivation, s.now, policies...); err != nil {
		return answer{}, err
	}
	if !el.NotAfter.IsZero() && q.NotAfter.After(el.NotAfter) {
		return answer{}, policyFailed([]string{"ExpirationRule"})
	}
	next := q.assignment(s, r)
	next.Eligibility = el.ID
	if err := s.fits(&next, q.roleText, ""); err != nil {
		return answer{}, err
	}
	old, there := s.assignedTo(q.Principal, r.at, q.Role)
	if there && !over(old, s) || s.activeAbove(el, r.at) {
		return answer{}, assignedAlready()
	}
	if s.waits(q) {
		return answer{}, serve.Refuse(http.StatusBadRequest, "PendingRoleAssignmentRequest", "There is a pending request for this role already.")
	}
	if slices.ContainsFunc(policies, func(p azurerbac.Policy) bool { return p.Approval().Required }) {
		q.Approval, q.Assignment = azurerbac.ApprovalID(r.mint("approval")), azurerbac.AssignmentID{}
		return s.settled(q, azurerbac.PendingApproval)
	}
	q.Assignment = next.ID
	return s.assigned(q, old, there, next)
}

// activeAbove reports whether the caller has activated an eligibility for a place
// that contains another.
func (s *session) activeAbove(el azurerbac.Eligibility, at scope.Scope) bool {
	return slices.ContainsFunc(s.est.ActivationsOf(el.ID), func(a *estate.Assigned) bool {
		return a.Principal == s.caller.ID && !over(a.Assignment, s) && s.above(a.Scope, at)
	})
}

// waits reports whether a request for the same is pending.
func (s *session) waits(q ask) bool {
	return slices.ContainsFunc(s.est.RequestsOf(q.Principal), func(o *azurerbac.Request) bool {
		return !o.ForEligibility && o.Scope == q.Scope && o.Role == q.Role && s.statusOf(*o) == azurerbac.PendingApproval
	})
}

// deactivate ends what the caller has activated. It takes no right: he gives away
// what is his.
func (s *session) deactivate(r *request, q ask) (answer, error) {
	if err := s.oneself(q); err != nil {
		return answer{}, err
	}
	old, there := s.assignedTo(q.Principal, r.at, q.Role)
	if !there || old.Eligibility.IsZero() || over(old, s) || !q.Assignment.IsZero() && q.Assignment != old.ID || !q.Eligibility.IsZero() && q.Eligibility != old.Eligibility {
		return answer{}, notAssigned()
	}
	if s.now.After(old.NotBefore) && s.now.Sub(old.NotBefore) < minimum {
		return answer{}, tooShort("a role is deactivated five minutes after its activation at the earliest")
	}
	q.Assignment, q.Eligibility = old.ID, old.Eligibility
	return s.settled(q, azurerbac.Revoked, estate.Op{Delete: old.Key()})
}

func noSchedule(code, what, name string) error {
	return serve.Refuse(http.StatusNotFound, code, fmt.Sprintf("The %s '%s' is not found.", what, serve.Printable(name, 80)))
}
