package resource

import (
	"time"

	"github.com/gatehouse-io/gatehouse/internal/guid"
	"github.com/gatehouse-io/gatehouse/internal/record"
)

// An OperationID names a piece of work that somebody waits for.
type OperationID = guid.Of[Work]

// A WorkKind is what is being done.
type WorkKind string

// The kinds of work.
const (
	Create             WorkKind = "Create"
	Update             WorkKind = "Update"
	Delete             WorkKind = "Delete"
	RotateCertificates WorkKind = "RotateCertificates"
	RotateSigningKeys  WorkKind = "RotateSigningKeys"
	Start              WorkKind = "Start"
	Stop               WorkKind = "Stop"
)

// states are the provisioning states of Azure while work goes on.
var states = map[WorkKind]string{
	Create: "Creating", Update: "Updating", Delete: "Deleting",
	RotateCertificates: "RotatingClusterCertificates", RotateSigningKeys: "RotatingServiceAccountSigningKeys",
	Start: "Starting", Stop: "Stopping",
}

// Work is what is being done to something, until it is done. It is part of the
// record, so that a house that was killed goes on where it was.
type Work struct {
	Kind      WorkKind    `json:"kind"`
	Operation OperationID `json:"operation"`
	Since     time.Time   `json:"since"`
}

// IsZero reports whether nothing is being done.
func (w Work) IsZero() bool { return w == Work{} }

func (w Work) validate() error {
	if w.IsZero() {
		return nil
	}
	if states[w.Kind] == "" || w.Operation.IsZero() || w.Since.IsZero() {
		return record.Invalid("work of the kind %.40q without kind, operation or beginning", string(w.Kind))
	}
	return nil
}

// A Failure is why something did not succeed, for programs and for people.
type Failure struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// IsZero reports whether nothing failed.
func (f Failure) IsZero() bool { return f == Failure{} }

// A ServiceAccountKey verifies service account tokens of a cluster.
type ServiceAccountKey struct {
	PEM string `json:"pem"` // the public half
	// Until is when tokens of the key end; zero for the one that signs.
	Until time.Time `json:"until,omitzero"`
}
