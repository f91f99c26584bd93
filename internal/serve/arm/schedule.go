package arm

import (
	"time"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

type scheduleBody struct {
	ID         string             `json:"id"`
	Name       string             `json:"name"`
	Type       string             `json:"type"`
	Properties scheduleProperties `json:"properties"`
}

type scheduleProperties struct {
	// Of schedules and of what takes place now, for eligibilities and assignments.
	EligibilityScheduleID *string `json:"roleEligibilityScheduleId,omitzero"`
	EligibilityRequestID  *string `json:"roleEligibilityScheduleRequestId,omitzero"`
	AssignmentScheduleID  *string `json:"roleAssignmentScheduleId,omitzero"`
	AssignmentRequestID   *string `json:"roleAssignmentScheduleRequestId,omitzero"`
	OriginID              *string `json:"originRoleAssignmentId,omitzero"`
	LinkedScheduleID      *string `json:"linkedRoleEligibilityScheduleId,omitzero"`
	LinkedInstanceID      *string `json:"linkedRoleEligibilityScheduleInstanceId,omitzero"`
	AssignmentType        string  `json:"assignmentType,omitzero"`

	Scope              string             `json:"scope"`
	RoleDefinitionID   string             `json:"roleDefinitionId"`
	PrincipalID        string             `json:"principalId"`
	PrincipalType      string             `json:"principalType"`
	Status             string             `json:"status"`
	StartDateTime      *string            `json:"startDateTime"`
	EndDateTime        *string            `json:"endDateTime"`
	MemberType         string             `json:"memberType"`
	CreatedOn          string             `json:"createdOn"`
	UpdatedOn          string             `json:"updatedOn,omitzero"`
	Condition          *string            `json:"condition"`
	ConditionVersion   *string            `json:"conditionVersion"`
	ExpandedProperties expandedProperties `json:"expandedProperties"`
}

// A window is what every schedule has.
type window struct {
	place              scope.Scope
	who                principal.ID
	role               azurerbac.DefinitionID
	from, until        time.Time
	created, updated   time.Time
	condition, version string
}

// now reports whether a schedule is shown: as long as it is not over, and where what
// takes place now is asked for, from its beginning on.
func (w window) shown(instances bool, now time.Time) bool {
	return (w.until.IsZero() || now.Before(w.until)) && (!instances || !now.Before(w.from))
}

// properties are those of a schedule that is seen from a place.
func (s *session) properties(w window, from scope.Scope, asked principal.ID, instance bool) scheduleProperties {
	begins := w.from
	if begins.IsZero() {
		begins = w.created
	}
	out := scheduleProperties{
		Scope: s.spell(w.place), RoleDefinitionID: definitionID(w.place, w.role), PrincipalID: w.who.String(), PrincipalType: s.principalType(w.who), Status: string(azurerbac.Provisioned),
		StartDateTime: instant(begins), EndDateTime: instant(w.until), MemberType: "Direct", CreatedOn: w.created.UTC().Format(time.RFC3339Nano),
		Condition: orNull(w.condition), ConditionVersion: orNull(w.version), ExpandedProperties: s.expand(w.place, w.role, w.who),
	}
	if !instance {
		out.UpdatedOn = w.updated.UTC().Format(time.RFC3339Nano)
	}
	switch {
	case w.place != from && s.above(w.place, from):
		out.MemberType = "Inherited"
	case !asked.IsZero() && asked != w.who:
		out.MemberType = "Group"
	}
	return out
}

func eligibilityWindow(el azurerbac.Eligibility) window {
	return window{el.Scope, el.Principal, el.Role, el.NotBefore, el.NotAfter, el.CreatedOn, el.UpdatedOn, el.Condition, el.ConditionVersion}
}

func assignmentWindow(a azurerbac.Assignment) window {
	return window{a.Scope, a.Principal, a.Role, a.NotBefore, a.NotAfter, a.CreatedOn, a.UpdatedOn, a.Condition, a.ConditionVersion}
}

func (s *session) eligibilityBody(el azurerbac.Eligibility, from scope.Scope, asked principal.ID, instance bool) scheduleBody {
	p := s.properties(eligibilityWindow(el), from, asked, instance)
	if instance {
		p.EligibilityScheduleID = orNull(s.pimID(el.Scope, eligibilityScheduleType, el.ID.String()))
		return scheduleBody{s.pimID(el.Scope, eligibilityInstanceType, el.ID.String()), el.ID.String(), answeredType(eligibilityInstanceType), p}
	}
	for _, q := range s.est.RequestsOf(el.Principal) {
		if q.ForEligibility && q.Type == azurerbac.AdminAssign && q.Eligibility == el.ID {
			p.EligibilityRequestID = orNull(s.pimID(q.Scope, eligibilityRequestType, q.ID.String()))
		}
	}
	return scheduleBody{s.pimID(el.Scope, eligibilityScheduleType, el.ID.String()), el.ID.String(), answeredType(eligibilityScheduleType), p}
}

func (s *session) assignmentScheduleBody(a azurerbac.Assignment, from scope.Scope, asked principal.ID, instance bool) scheduleBody {
	p := s.properties(assignmentWindow(a), from, asked, instance)
	p.AssignmentType = "Assigned"
	if el, ok := s.est.Eligibility(a.Eligibility); ok {
		p.AssignmentType = "Activated"
		p.LinkedScheduleID = orNull(s.pimID(el.Scope, eligibilityScheduleType, el.ID.String()))
		if instance {
			p.LinkedInstanceID = orNull(s.pimID(el.Scope, eligibilityInstanceType, el.ID.String()))
		}
	}
	name := a.ID.String()
	if instance {
		p.AssignmentScheduleID, p.OriginID = orNull(s.pimID(a.Scope, assignmentScheduleType, name)), orNull(s.extensionID(a.Scope, "roleAssignments", name))
		return scheduleBody{s.pimID(a.Scope, assignmentInstanceType, name), name, answeredType(assignmentInstanceType), p}
	}
	for _, q := range s.est.RequestsOf(a.Principal) {
		if !q.ForEligibility && q.Assignment == a.ID && (q.Type == azurerbac.AdminAssign || q.Type == azurerbac.SelfActivate) {
			p.AssignmentRequestID = orNull(s.pimID(q.Scope, assignmentRequestType, q.ID.String()))
		}
	}
	return scheduleBody{s.pimID(a.Scope, assignmentScheduleType, name), name, answeredType(assignmentScheduleType), p}
}

func (s *session) eligibilities() source[*azurerbac.Eligibility] {
	return source[*azurerbac.Eligibility]{s.est.EligibilitiesBelow, s.est.EligibilitiesAt, s.est.EligibilitiesOf, func(el *azurerbac.Eligibility) scope.Scope { return el.Scope }}
}

func listEligibilities(s *session, r *request) (answer, error) {
	instances := r.kind == eligibilityInstances
	read := eligibilityScheduleType + "/read"
	if instances {
		read = eligibilityInstanceType + "/read"
	}
	sel, err := s.selection(r, read)
	if err != nil {
		return answer{}, err
	}
	var rows []row
	for place, list := range candidates(s, s.eligibilities(), r.at, sel.only, sel.only != nil, sel.notBelow) {
		if !s.shows(place, r.at, sel.notBelow, sel.mayRead(s)) {
			continue
		}
		for _, el := range list {
			if sel.hasRole(el.Role) && eligibilityWindow(*el).shown(instances, s.now) && s.ofTenant(place, el.Principal, el.CreatedBy) {
				rows = append(rows, row{el.ID.String(), func() any { return s.eligibilityBody(*el, r.at, sel.asked, instances) }})
			}
		}
	}
	return s.page(r, rows)
}

func listAssignmentSchedules(s *session, r *request) (answer, error) {
	instances := r.kind == assignmentInstances
	read := assignmentScheduleType + "/read"
	if instances {
		read = assignmentInstanceType + "/read"
	}
	sel, err := s.selection(r, read)
	if err != nil {
		return answer{}, err
	}
	var rows []row
	for place, list := range candidates(s, s.assignments(), r.at, sel.only, sel.only != nil, sel.notBelow) {
		if !s.shows(place, r.at, sel.notBelow, sel.mayRead(s)) {
			continue
		}
		for _, a := range list {
			if sel.hasRole(a.Role) && assignmentWindow(a.Assignment).shown(instances, s.now) && s.hasAssignment(a.Assignment) && s.est.Stands(a) {
				rows = append(rows, row{a.ID.String(), func() any { return s.assignmentScheduleBody(a.Assignment, r.at, sel.asked, instances) }})
			}
		}
	}
	return s.page(r, rows)
}

func (sel selection) hasRole(role azurerbac.DefinitionID) bool {
	return sel.role.IsZero() || sel.role == role
}

func getEligibility(s *session, r *request) (answer, error) {
	instance := r.kind == eligibilityInstance
	read, code := eligibilityScheduleType+"/read", "RoleEligibilityScheduleNotFound"
	if instance {
		read, code = eligibilityInstanceType+"/read", "RoleEligibilityScheduleInstanceNotFound"
	}
	var id azurerbac.EligibilityID
	badName := id.UnmarshalText([]byte(r.name)) != nil
	el, found := s.est.Eligibility(id)
	found = found && !badName && el.Scope == r.at && eligibilityWindow(el).shown(instance, s.now) && s.ofTenant(el.Scope, el.Principal, el.CreatedBy)
	if err := s.seen(r, read, found && s.isMine(el.Principal)); err != nil {
		return answer{}, err
	}
	if !found {
		return answer{}, noSchedule(code, "role eligibility schedule", r.name)
	}
	return ok(el, s.eligibilityBody(el, r.at, principal.ID{}, instance)), nil
}

func getAssignmentSchedule(s *session, r *request) (answer, error) {
	instance := r.kind == assignmentInstance
	read, code := assignmentScheduleType+"/read", "RoleAssignmentScheduleNotFound"
	if instance {
		read, code = assignmentInstanceType+"/read", "RoleAssignmentScheduleInstanceNotFound"
	}
	a, found := s.assignment(r)
	if found = found && assignmentWindow(a).shown(instance, s.now); found {
		found = s.est.Stands(&estate.Assigned{Assignment: a})
	}
	if err := s.seen(r, read, found && s.isMine(a.Principal)); err != nil {
		return answer{}, err
	}
	if !found {
		return answer{}, noSchedule(code, "role assignment schedule", r.name)
	}
	return ok(a, s.assignmentScheduleBody(a, r.at, principal.ID{}, instance)), nil
}

// seen refuses who may not read what he asks for, unless it is his own.
func (s *session) seen(r *request, read string, own bool) error {
	if own {
		return s.reach(r.at)
	}
	return s.needAt(read, r.at)
}
