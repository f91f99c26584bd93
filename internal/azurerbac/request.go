package azurerbac

import (
	"slices"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/guid"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

type (
	scheduleRequest struct{}
	approval        struct{}
)

// RequestID is the name of a schedule request, chosen by who makes it.
type RequestID = guid.Of[scheduleRequest]

// ApprovalID is the name of the approval that a request waits for.
type ApprovalID = guid.Of[approval]

// A RequestType is what a request asks for, as Azure writes it.
type RequestType string

// The types of request that this house knows.
const (
	AdminAssign    RequestType = "AdminAssign"
	AdminUpdate    RequestType = "AdminUpdate"
	AdminExtend    RequestType = "AdminExtend"
	AdminRenew     RequestType = "AdminRenew"
	AdminRemove    RequestType = "AdminRemove"
	SelfActivate   RequestType = "SelfActivate"
	SelfDeactivate RequestType = "SelfDeactivate"
)

// A RequestStatus is what a request has come to, as Azure writes it.
type RequestStatus string

// The statuses of requests. Only a pending one ever gets another status.
const (
	Provisioned     RequestStatus = "Provisioned" // it is done
	Revoked         RequestStatus = "Revoked"     // what it was to take away is gone
	PendingApproval RequestStatus = "PendingApproval"
	Canceled        RequestStatus = "Canceled"
	TimedOut        RequestStatus = "TimedOut" // never stored: time tells it
)

// A Request is somebody's wish to have an eligibility or an assignment made, changed
// or ended, and what became of it. It grants nothing and is kept as history.
type Request struct {
	ID RequestID `json:"id"`
	// ForEligibility tells a request for an eligibility from one for an assignment.
	ForEligibility bool          `json:"forEligibility,omitzero"`
	Type           RequestType   `json:"type"`
	Status         RequestStatus `json:"status"`
	Scope          scope.Scope   `json:"scope"`
	Principal      principal.ID  `json:"principal"`
	Role           DefinitionID  `json:"role"`
	// Eligibility is what the request is about, or what is activated by it, and
	// Assignment what comes of an activation.
	Eligibility EligibilityID `json:"eligibility,omitzero"`
	Assignment  AssignmentID  `json:"assignment,omitzero"`
	Approval    ApprovalID    `json:"approval,omitzero"`
	NotBefore   time.Time     `json:"notBefore,omitzero"`
	NotAfter    time.Time     `json:"notAfter,omitzero"`
	// Duration is set when the end was asked for as a length of time.
	Duration         Duration     `json:"duration,omitzero"`
	Condition        string       `json:"condition,omitzero"`
	ConditionVersion string       `json:"conditionVersion,omitzero"`
	Justification    string       `json:"justification,omitzero"`
	TicketNumber     string       `json:"ticketNumber,omitzero"`
	TicketSystem     string       `json:"ticketSystem,omitzero"`
	RequestedBy      principal.ID `json:"requestedBy,omitzero"`
	CreatedOn        time.Time    `json:"createdOn,omitzero"`
}

// ApprovalWindow is how long a request waits for its approval, as in Azure.
const ApprovalWindow = 24 * time.Hour

// Limits of what people write, in bytes.
const (
	maxJustification = 1000
	maxTicket        = 100
)

// Key returns the key of the request: its id.
func (r Request) Key() record.Key { return record.KeyOf(record.RoleScheduleRequest, r.ID.String()) }

// Validate checks a request by itself.
func (r Request) Validate() error {
	types := []RequestType{AdminAssign, AdminRemove, SelfActivate, SelfDeactivate}
	if r.ForEligibility {
		types = []RequestType{AdminAssign, AdminUpdate, AdminExtend, AdminRenew, AdminRemove}
	}
	switch {
	case r.ID.IsZero():
		return record.Invalid("schedule request without an id")
	case r.Scope.IsZero():
		return record.Invalid("schedule request %s without a scope", r.ID)
	case r.Principal.IsZero():
		return record.Invalid("schedule request %s without a principal", r.ID)
	case r.Role.IsZero():
		return record.Invalid("schedule request %s without a role", r.ID)
	case !slices.Contains(types, r.Type):
		return record.Invalid("schedule request %s: type %.40q", r.ID, r.Type)
	case !slices.Contains([]RequestStatus{Provisioned, Revoked, PendingApproval, Canceled}, r.Status):
		return record.Invalid("schedule request %s: status %.40q", r.ID, r.Status)
	case (r.Status == PendingApproval) && r.Approval.IsZero():
		return record.Invalid("schedule request %s waits for an approval that has no id", r.ID)
	case !r.NotBefore.IsZero() && !r.NotAfter.IsZero() && !r.NotAfter.After(r.NotBefore):
		return record.Invalid("schedule request %s: the end comes before the beginning", r.ID)
	case len(r.Justification) > maxJustification:
		return record.Invalid("a justification of %d bytes, at most %d", len(r.Justification), maxJustification)
	case len(r.TicketNumber) > maxTicket, len(r.TicketSystem) > maxTicket:
		return record.Invalid("the number and the system of a ticket have at most %d bytes each", maxTicket)
	}
	return checkCondition(r.Condition, r.ConditionVersion, false)
}

// StatusAt is the status at an instant: nobody has to sweep up what was never
// approved.
func (r Request) StatusAt(now time.Time) RequestStatus {
	if r.Status == PendingApproval && !now.Before(r.CreatedOn.Add(ApprovalWindow)) {
		return TimedOut
	}
	return r.Status
}
