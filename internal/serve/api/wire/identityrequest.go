package wire

import (
	"time"

	"github.com/gatehouse-io/gatehouse/internal/record"
)

// NewIdentityRequest asks that service accounts of a namespace may be a managed
// identity.
type NewIdentityRequest struct {
	// Identity is the resource id of a user-assigned identity.
	Identity string `json:"identity"`
	// New is set for an identity that is to be made.
	New *NewIdentity `json:"new,omitzero"`
	// Cluster is a resource id.
	Cluster         string   `json:"cluster"`
	Namespace       string   `json:"namespace"`
	ServiceAccounts []string `json:"serviceAccounts"`
	// Lasts is for how long, from the approval on, as in P90D; empty is until it is
	// retired.
	Lasts string `json:"lasts,omitzero"`
	Why   string `json:"why,omitzero"`
}

// NewIdentity is an identity that is to be made.
type NewIdentity struct {
	// Location is that of the resource group when it is empty.
	Location string `json:"location,omitzero"`
	// Roles are what it is to be given.
	Roles []RoleAt `json:"roles,omitzero"`
}

// A RoleAt is a role of Azure at a place. The name is for people.
type RoleAt struct {
	Role  string `json:"role"` // its id
	Name  string `json:"name,omitzero"`
	Scope string `json:"scope"`
}

// An AnswerToRequest is what is said to a request: why, and of an approval for how
// long at most, if that is less than was asked for.
type AnswerToRequest struct {
	Why   string `json:"why,omitzero"`
	Lasts string `json:"lasts,omitzero"`
}

// IdentityRequests are the requests that were asked for, oldest first.
type IdentityRequests struct {
	Revision int64             `json:"revision"`
	Requests []IdentityRequest `json:"requests"`
}

// An IdentityRequest is one request and what it has come to.
type IdentityRequest struct {
	ID              string       `json:"id"`
	Status          string       `json:"status"`
	Requester       Principal    `json:"requester"`
	Identity        string       `json:"identity"`
	New             *NewIdentity `json:"new,omitzero"`
	Cluster         string       `json:"cluster"`
	Namespace       string       `json:"namespace"`
	ServiceAccounts []string     `json:"serviceAccounts"`
	Lasts           string       `json:"lasts,omitzero"`
	// Lapses is when a pending one is over if nobody answers.
	Lapses time.Time `json:"lapses,omitzero"`
	// Ends is when an approved one is over; zero is when it is retired.
	Ends time.Time `json:"ends,omitzero"`
	// RenewalLapses is until when a renewal that was asked for waits for its answer.
	RenewalLapses time.Time      `json:"renewalLapses,omitzero"`
	History       []RequestEvent `json:"history"`
	// ClientID is that of the identity, once approved, and Credentials are the names of
	// the federated credentials that are there by the request.
	ClientID    string   `json:"clientId,omitzero"`
	Credentials []string `json:"credentials,omitzero"`
	Assignments []string `json:"assignments,omitzero"`
	// Lacks says what was approved and is there no longer.
	Lacks []string `json:"lacks,omitzero"`
	// Kept is answered to a retirement that left the identity which the request had
	// made, because others use it.
	Kept     []Kept `json:"kept,omitzero"`
	Revision int64  `json:"revision"`
}

// A Kept is how many records of a kind keep something.
type Kept struct {
	Kind  record.Kind `json:"kind"`
	Count int         `json:"count"`
}

// A RequestEvent is one thing that happened to a request.
type RequestEvent struct {
	Act string    `json:"act"`
	At  time.Time `json:"at"`
	By  Principal `json:"by"`
	Why string    `json:"why,omitzero"`
	// Until is the end that a renewal gave.
	Until time.Time `json:"until,omitzero"`
}
