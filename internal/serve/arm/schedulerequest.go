package arm

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/guid"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve"
)

type requestBody struct {
	ID         string            `json:"id"`
	Name       string            `json:"name"`
	Type       string            `json:"type"`
	Properties requestProperties `json:"properties"`
}

type requestProperties struct {
	TargetEligibility  *string            `json:"targetRoleEligibilityScheduleId,omitzero"`
	TargetAssignment   *string            `json:"targetRoleAssignmentScheduleId,omitzero"`
	LinkedEligibility  *string            `json:"linkedRoleEligibilityScheduleId,omitzero"`
	Scope              string             `json:"scope"`
	RoleDefinitionID   string             `json:"roleDefinitionId"`
	PrincipalID        string             `json:"principalId"`
	PrincipalType      string             `json:"principalType"`
	RequestType        string             `json:"requestType"`
	Status             string             `json:"status"`
	ApprovalID         *string            `json:"approvalId"`
	ScheduleInfo       scheduleInfo       `json:"scheduleInfo"`
	TicketInfo         ticketInfo         `json:"ticketInfo"`
	Justification      *string            `json:"justification"`
	RequestorID        string             `json:"requestorId"`
	CreatedOn          string             `json:"createdOn"`
	Condition          *string            `json:"condition"`
	ConditionVersion   *string            `json:"conditionVersion"`
	ExpandedProperties expandedProperties `json:"expandedProperties"`
}

type scheduleInfo struct {
	StartDateTime *string    `json:"startDateTime"`
	Expiration    expiration `json:"expiration"`
}

type expiration struct {
	Type        *string `json:"type"`
	EndDateTime *string `json:"endDateTime"`
	Duration    *string `json:"duration"`
}

type ticketInfo struct {
	TicketNumber *string `json:"ticketNumber"`
	TicketSystem *string `json:"ticketSystem"`
}

// How a schedule ends, as Azure writes it.
const (
	noExpiration  = "NoExpiration"
	afterDuration = "AfterDuration"
	afterDateTime = "AfterDateTime"
)

func requestTypeOf(q azurerbac.Request) string {
	if q.ForEligibility {
		return eligibilityRequestType
	}
	return assignmentRequestType
}

func (s *session) requestBody(q azurerbac.Request) requestBody {
	typ := requestTypeOf(q)
	end := expiration{Type: new(noExpiration)}
	switch {
	case q.Duration > 0:
		end = expiration{Type: new(afterDuration), Duration: orNull(q.Duration.String())}
	case !q.NotAfter.IsZero():
		end = expiration{Type: new(afterDateTime), EndDateTime: instant(q.NotAfter)}
	}
	out := requestBody{ID: s.pimID(q.Scope, typ, q.ID.String()), Name: q.ID.String(), Type: answeredType(typ), Properties: requestProperties{
		Scope: s.spell(q.Scope), RoleDefinitionID: definitionID(q.Scope, q.Role), PrincipalID: q.Principal.String(), PrincipalType: s.principalType(q.Principal),
		RequestType: string(q.Type), Status: string(s.statusOf(q)), ScheduleInfo: scheduleInfo{instant(q.NotBefore), end},
		TicketInfo: ticketInfo{orNull(q.TicketNumber), orNull(q.TicketSystem)}, Justification: orNull(q.Justification),
		RequestorID: q.RequestedBy.String(), CreatedOn: q.CreatedOn.UTC().Format(time.RFC3339Nano),
		Condition: orNull(q.Condition), ConditionVersion: orNull(q.ConditionVersion), ExpandedProperties: s.expand(q.Scope, q.Role, q.Principal),
	}}
	if q.ForEligibility {
		out.Properties.TargetEligibility = orNull(q.Eligibility.String())
	} else {
		out.Properties.TargetAssignment, out.Properties.LinkedEligibility = orNull(q.Assignment.String()), orNull(q.Eligibility.String())
	}
	if !q.Approval.IsZero() {
		out.Properties.ApprovalID = orNull("/providers/" + authorization + "/roleAssignmentApprovals/" + q.Approval.String())
	}
	return out
}

// statusOf is what has become of a request. One that waits is cancelled by the end of
// what it would activate (JIT-05).
func (s *session) statusOf(q azurerbac.Request) azurerbac.RequestStatus {
	status := q.StatusAt(s.now)
	if status == azurerbac.PendingApproval {
		if el, ok := s.est.Eligibility(q.Eligibility); !ok || el.EndedAt(s.now) || el.Principal != q.Principal && !s.est.IsMember(q.Principal, el.Principal) {
			return azurerbac.Canceled
		}
	}
	return status
}

type requestInput struct {
	Properties struct {
		PrincipalID       string       `json:"principalId"`
		RoleDefinitionID  string       `json:"roleDefinitionId"`
		RequestType       string       `json:"requestType"`
		ScheduleInfo      scheduleInfo `json:"scheduleInfo"`
		LinkedEligibility string       `json:"linkedRoleEligibilityScheduleId"`
		TargetEligibility string       `json:"targetRoleEligibilityScheduleId"`
		TargetAssignment  string       `json:"targetRoleAssignmentScheduleId"`
		Justification     string       `json:"justification"`
		TicketInfo        ticketInfo   `json:"ticketInfo"`
		Condition         string       `json:"condition"`
		ConditionVersion  string       `json:"conditionVersion"`
	} `json:"properties"`
}

// An ask is a request that was read and is not yet granted.
type ask struct {
	azurerbac.Request
	roleText string // as it was written
	begins   bool   // the beginning was said
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// tailID is the GUID at the end of an id, which may be a GUID alone.
func tailID[T any](id string) (guid.Of[T], error) {
	return guid.Parse[T](id[strings.LastIndexByte(id, '/')+1:])
}

// read returns what a body asks for at the place of its request.
func (in *requestInput) read(s *session, r *request) (q ask, err error) {
	p := &in.Properties
	refuse := func(code, format string, args ...any) (ask, error) {
		return ask{}, serve.Refuse(http.StatusBadRequest, code, fmt.Sprintf(format, args...))
	}
	q.ForEligibility = r.kind == eligibilityRequest || r.kind == eligibilityRequestTry
	if q.ID.UnmarshalText([]byte(r.name)) != nil {
		return refuse("InvalidScheduleRequestName", "The name of a schedule request is a GUID; '%s' is none.", serve.Printable(r.name, 80))
	}
	if q.Principal, err = principal.ParseID(p.PrincipalID); err != nil {
		return refuse("InvalidPrincipalId", "The principal ID '%s' is not valid. Principal ID must be a GUID.", serve.Printable(p.PrincipalID, 80))
	}
	var ok bool
	if q.Role, ok = parseDefinitionID(p.RoleDefinitionID); !ok {
		return refuse("InvalidRoleDefinitionId", "The role definition ID '%s' is not valid. It has the form {scope}/providers/Microsoft.Authorization/roleDefinitions/{GUID}.", serve.Printable(p.RoleDefinitionID, 200))
	}
	for _, id := range []struct {
		text string
		to   *guid.Of[ask]
	}{{cmp.Or(p.LinkedEligibility, p.TargetEligibility), (*guid.Of[ask])(&q.Eligibility)}, {p.TargetAssignment, (*guid.Of[ask])(&q.Assignment)}} {
		if id.text == "" {
			continue
		}
		if *id.to, err = tailID[ask](id.text); err != nil {
			return refuse("InvalidScheduleId", "'%s' is no id of a schedule.", serve.Printable(id.text, 200))
		}
	}
	if len(p.Condition) > maxCondition {
		return refuse("RoleAssignmentConditionTooLong", "The condition has %d characters, at most %d are allowed.", len(p.Condition), maxCondition)
	}
	q.roleText, q.Type, q.Scope, q.Justification = p.RoleDefinitionID, azurerbac.RequestType(p.RequestType), r.at, p.Justification
	q.TicketNumber, q.TicketSystem = text(p.TicketInfo.TicketNumber), text(p.TicketInfo.TicketSystem)
	if q.Condition = p.Condition; q.Condition != "" {
		// Samples of these requests say 1.0, and mean the same.
		if v := p.ConditionVersion; v != "" && v != "1.0" && v != azurerbac.ConditionVersion {
			return refuse("InvalidConditionVersion", "The condition version '%s' is not supported. Use %s.", serve.Printable(v, 20), azurerbac.ConditionVersion)
		}
		q.ConditionVersion = azurerbac.ConditionVersion
	}
	q.RequestedBy, q.CreatedOn = s.caller.ID, s.now.UTC().Round(0)
	switch q.Type {
	case azurerbac.AdminRemove, azurerbac.SelfDeactivate: // they have no schedule
	default:
		if err := q.schedule(p.ScheduleInfo, s.now.UTC().Round(0)); err != nil {
			return ask{}, err
		}
	}
	q.Status = azurerbac.Provisioned
	if err := q.Validate(); err != nil {
		return ask{}, &serve.Error{Status: http.StatusBadRequest, Code: "InvalidRoleScheduleRequest", Message: err.Error(), Err: err}
	}
	return q, nil
}

// lastYear is the last one that can be written as a time.
const lastYear = 9999

// schedule reads when what is asked for begins and ends. It never begins in the past.
func (q *ask) schedule(in scheduleInfo, now time.Time) error {
	bad := func(format string, args ...any) error {
		return serve.Refuse(http.StatusBadRequest, "InvalidScheduleInfo", fmt.Sprintf(format, args...))
	}
	q.NotBefore = now
	if s := text(in.StartDateTime); s != "" {
		at, err := time.Parse(time.RFC3339, s)
		if err != nil {
			return bad("The startDateTime '%s' is not a time like 2026-01-02T15:04:05Z.", serve.Printable(s, 40))
		}
		if q.begins = true; at.After(now) {
			q.NotBefore = at.UTC()
		}
	}
	typ, length, end := text(in.Expiration.Type), text(in.Expiration.Duration), text(in.Expiration.EndDateTime)
	if typ == "" {
		switch {
		case length != "":
			typ = afterDuration
		case end != "":
			typ = afterDateTime
		}
	}
	switch {
	case typ == "", strings.EqualFold(typ, noExpiration), strings.EqualFold(typ, afterDuration) && length == "":
	case strings.EqualFold(typ, afterDuration):
		d, err := azurerbac.ParseDuration(length)
		if err != nil {
			return bad("The duration '%s' is not supported. Write it in days, hours and minutes, like PT8H or P365D.", serve.Printable(length, 40))
		}
		q.Duration, q.NotAfter = d, q.NotBefore.Add(time.Duration(d))
	case strings.EqualFold(typ, afterDateTime):
		at, err := time.Parse(time.RFC3339, end)
		if err != nil || !at.After(q.NotBefore) {
			return bad("The endDateTime '%s' is not a time that comes after the beginning.", serve.Printable(end, 40))
		}
		q.NotAfter = at.UTC()
	default:
		return bad("The expiration type '%s' is not one of %s, %s and %s.", serve.Printable(typ, 40), afterDuration, afterDateTime, noExpiration)
	}
	if q.NotBefore.Year() > lastYear || q.NotAfter.Year() > lastYear {
		return bad("The schedule ends after the year %d.", lastYear)
	}
	return nil
}

// length is the time from the beginning, or now when that is past, to the end; zero
// when there is none.
func length(from, until, now time.Time) time.Duration {
	if until.IsZero() {
		return 0
	}
	if now.After(from) {
		from = now
	}
	return until.Sub(from)
}

// minimum is the shortest time that Azure lets anything be active.
const minimum = 5 * time.Minute

func tooShort(what string) error {
	return serve.Refuse(http.StatusBadRequest, "ActiveDurationTooShort", "The active duration is too short: "+what+".")
}

// passes holds a request against policies.
func (q *ask) passes(on azurerbac.Occasion, now time.Time, policies ...azurerbac.Policy) error {
	ends := length(q.NotBefore, q.NotAfter, now)
	if !q.NotAfter.IsZero() && ends < minimum {
		return tooShort("it is at least five minutes")
	}
	var failed []string
	for _, p := range policies {
		for _, rule := range p.Fails(azurerbac.Ask{On: on, For: ends, Justification: q.Justification, TicketNumber: q.TicketNumber, TicketSystem: q.TicketSystem}) {
			if !slices.Contains(failed, rule) {
				failed = append(failed, rule)
			}
		}
	}
	if len(failed) > 0 {
		return policyFailed(failed)
	}
	return nil
}

// putRequest grants a request, stores it for whoever may approve it, or refuses it.
func putRequest(s *session, r *request) (answer, error) {
	var in requestInput
	if err := r.decode(&in); err != nil {
		return answer{}, err
	}
	q, err := in.read(s, r)
	if err != nil {
		return answer{}, err
	}
	if old, there := s.est.Request(q.ID); there && old.RequestedBy == s.caller.ID && old.Scope == r.at && s.ours(r.at) {
		return s.replay(old, q)
	}
	switch {
	case q.ForEligibility:
		return s.changeEligibility(r, q)
	case q.Type == azurerbac.SelfActivate:
		return s.activate(r, q)
	case q.Type == azurerbac.SelfDeactivate:
		return s.deactivate(r, q)
	}
	return s.changeAssignment(r, q)
}

// replay answers a request that its maker sends again as it was answered (ST-19).
func (s *session) replay(old azurerbac.Request, q ask) (answer, error) {
	same := old
	same.Status, same.Eligibility, same.Assignment, same.Approval = q.Status, q.Eligibility, q.Assignment, q.Approval
	same.CreatedOn, same.NotBefore = q.CreatedOn, q.NotBefore
	if same.Condition, same.ConditionVersion = q.Condition, q.ConditionVersion; q.Duration > 0 {
		same.NotAfter = q.NotAfter
	}
	if same != q.Request {
		return answer{}, nameTaken(q)
	}
	return answer{status: http.StatusCreated, body: s.requestBody(old), of: old.Key()}, nil
}

func nameTaken(q ask) error {
	return serve.Refuse(http.StatusConflict, "RoleScheduleRequestExists", fmt.Sprintf("There is a schedule request with the name '%s' already. Choose another one.", q.ID))
}

// What is kept of requests that are over, of each principal.
const (
	keptRequests = 200
	keptFor      = 45 * 24 * time.Hour
	prunedAtOnce = 20 // at most, with one change
)

// settled answers a request with what it comes to.
func (s *session) settled(q ask, status azurerbac.RequestStatus, ops ...estate.Op) (answer, error) {
	if _, there := s.est.Request(q.ID); there {
		return answer{}, nameTaken(q) // and who may not ask at all does not learn it (ARM-07)
	}
	q.Status = status
	ops = append(ops, estate.Op{Put: q.Request})
	ops = append(ops, s.pruned(q.Principal)...)
	why := string(q.Type)
	if q.Justification != "" {
		why += ": " + q.Justification
	}
	if q.TicketNumber != "" {
		why += " (ticket " + q.TicketNumber + " of " + q.TicketSystem + ")"
	}
	return answer{status: http.StatusCreated, body: s.requestBody(q.Request), ops: ops, of: q.Key(), why: why}, nil
}

// pruned forgets requests for a principal that are long over, so that history does not
// grow without end. The audit trail keeps all of it.
func (s *session) pruned(who principal.ID) []estate.Op {
	var over []azurerbac.Request
	for _, q := range s.est.RequestsOf(who) {
		if s.statusOf(*q) != azurerbac.PendingApproval {
			over = append(over, *q)
		}
	}
	slices.SortFunc(over, func(a, b azurerbac.Request) int {
		return cmp.Or(a.CreatedOn.Compare(b.CreatedOn), slices.Compare(a.ID[:], b.ID[:]))
	})
	var ops []estate.Op
	for i, q := range over {
		if len(ops) == prunedAtOnce || len(over)-i < keptRequests && s.now.Sub(q.CreatedOn) < keptFor {
			break
		}
		ops = append(ops, estate.Op{Delete: q.Key()})
	}
	return ops
}

// validateRequest says what a request would come to, and does nothing.
func validateRequest(s *session, r *request) (answer, error) {
	out, err := putRequest(s, r)
	if err != nil {
		return answer{}, err
	}
	return answer{status: http.StatusOK, body: out.body}, nil
}

// request returns the request that a path names, at just that place.
func (s *session) request(r *request) (azurerbac.Request, bool) {
	var id azurerbac.RequestID
	if id.UnmarshalText([]byte(r.name)) != nil {
		return azurerbac.Request{}, false
	}
	q, ok := s.est.Request(id)
	forEligibility := r.kind == eligibilityRequest || r.kind == eligibilityRequestCancel
	return q, ok && q.Scope == r.at && q.ForEligibility == forEligibility && s.ofTenant(q.Scope, q.Principal, q.RequestedBy)
}

func noRequest(r *request) error {
	code := "RoleAssignmentScheduleRequestNotFound"
	if r.kind == eligibilityRequest || r.kind == eligibilityRequestCancel {
		code = "RoleEligibilityScheduleRequestNotFound"
	}
	return serve.Refuse(http.StatusNotFound, code, fmt.Sprintf("The schedule request '%s' is not found.", serve.Printable(r.name, 80)))
}

// concerns reports whether a request is for the caller, by him, or his to approve.
func (s *session) concerns(q azurerbac.Request) bool {
	return q.RequestedBy == s.caller.ID || s.isMine(q.Principal) || s.approves(q)
}

// approves reports whether the caller may approve a request that waits for it.
func (s *session) approves(q azurerbac.Request) bool {
	el, ok := s.est.Eligibility(q.Eligibility)
	if !ok || s.statusOf(q) != azurerbac.PendingApproval || q.RequestedBy == s.caller.ID {
		return false
	}
	for _, p := range s.policies(el, q.Scope) {
		if slices.ContainsFunc(p.Approval().Approvers, func(a azurerbac.Approver) bool { return s.isMine(a.ID) }) {
			return true
		}
	}
	return false
}

func getRequest(s *session, r *request) (answer, error) {
	q, found := s.request(r)
	if found && s.concerns(q) {
		return ok(q, s.requestBody(q)), s.reach(r.at)
	}
	typ := assignmentRequestType
	if r.kind == eligibilityRequest {
		typ = eligibilityRequestType
	}
	if err := s.needAt(typ+"/read", r.at); err != nil {
		return answer{}, err
	}
	if !found {
		return answer{}, noRequest(r)
	}
	return ok(q, s.requestBody(q)), nil
}

func listRequests(s *session, r *request) (answer, error) {
	forEligibility := r.kind == eligibilityRequests
	typ := assignmentRequestType
	if forEligibility {
		typ = eligibilityRequestType
	}
	sel, err := s.selection(r, typ+"/read", term{name: "asRequestor", bare: true}, term{name: "asApprover", bare: true})
	if err != nil {
		return answer{}, err
	}
	from := source[*azurerbac.Request]{s.est.RequestsBelow, s.est.RequestsAt, s.est.RequestsOf, func(q *azurerbac.Request) scope.Scope { return q.Scope }}
	var rows []row
	for place, list := range candidates(s, from, r.at, sel.only, sel.only != nil, sel.notBelow) {
		if !s.shows(place, r.at, sel.notBelow, sel.mayRead(s)) {
			continue
		}
		for _, q := range list {
			switch {
			case q.ForEligibility != forEligibility, !sel.role.IsZero() && q.Role != sel.role, !s.ofTenant(place, q.Principal, q.RequestedBy):
			case sel.by == "asRequestor" && q.RequestedBy != s.caller.ID, sel.by == "asApprover" && !s.approves(*q):
			default:
				rows = append(rows, row{q.ID.String(), func() any { return s.requestBody(*q) }})
			}
		}
	}
	return s.page(r, rows)
}

// cancelRequest ends a request that nobody has decided yet (JIT-07).
func cancelRequest(s *session, r *request) (answer, error) {
	q, found := s.request(r)
	if !found || q.RequestedBy != s.caller.ID {
		typ := assignmentRequestType
		if r.kind == eligibilityRequestCancel {
			typ = eligibilityRequestType
		}
		if err := s.needAt(typ+"/cancel/action", r.at); err != nil {
			return answer{}, err
		}
		if !found {
			return answer{}, noRequest(r)
		}
	}
	if status := s.statusOf(q); status != azurerbac.PendingApproval {
		return answer{}, serve.Refuse(http.StatusBadRequest, "RoleScheduleRequestNotPending", fmt.Sprintf("The schedule request '%s' is %s. Only one that is pending can be canceled.", q.ID, status))
	}
	q.Status = azurerbac.Canceled
	return answer{status: http.StatusOK, ops: []estate.Op{{Put: q}}, of: q.Key(), why: "cancel a request"}, nil
}
