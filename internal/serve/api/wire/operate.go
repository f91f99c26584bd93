package wire

import (
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/rehearsal"
)

// Keys are the signing keys of all tenants and purposes.
type Keys struct {
	// Stopped is set while nothing is signed.
	Stopped bool  `json:"stopped"`
	Keys    []Key `json:"keys"`
}

// A Key is one signing key.
type Key struct {
	ID       string    `json:"id"`
	Tenant   string    `json:"tenant"`
	Purpose  string    `json:"purpose"`
	Alg      string    `json:"alg"`
	SignFrom time.Time `json:"signFrom"` // when it began or begins to sign
	NotAfter time.Time `json:"notAfter"` // when its tokens stop to be accepted
	Signs    bool      `json:"signs"`    // whether it signs now
}

// StopKey names a key that must go at once.
type StopKey struct {
	ID string `json:"id"`
}

// Issuing stops all signing, or lets it go on.
type Issuing struct {
	Stopped bool   `json:"stopped"`
	Why     string `json:"why,omitzero"`
}

// Audit is a part of the audit log.
type Audit struct {
	Records []AuditRecord `json:"records"`
	// Next is the number of the first record that did not fit; 0 if all did.
	Next int64 `json:"next,omitzero"`
}

// An AuditRecord is one link of the audit chain. Names are those of today.
type AuditRecord struct {
	Seq     int64          `json:"seq"`
	Prev    string         `json:"prev"` // SHA-256 of the record before, in hexadecimal
	Time    time.Time      `json:"time"`
	Request string         `json:"request"`
	By      Principal      `json:"by"`
	Why     string         `json:"why,omitzero"`
	Changes []AuditChange  `json:"changes,omitzero"`
	Private []AuditPrivate `json:"private,omitzero"`
	Uses    []AuditUse     `json:"uses,omitzero"`
	Alerts  []AuditAlert   `json:"alerts,omitzero"`
}

// An AuditChange is one record put, with its value, or deleted, with what it was.
type AuditChange struct {
	Kind  record.Kind    `json:"kind"`
	Parts []string       `json:"parts"`
	Name  string         `json:"name,omitzero"`
	Value jsontext.Value `json:"value,omitzero"`
	Was   jsontext.Value `json:"was,omitzero"`
}

// An AuditPrivate is one secret put or deleted. Its value is not told.
type AuditPrivate struct {
	Bucket string   `json:"bucket"`
	ID     []string `json:"id"`
	Delete bool     `json:"delete,omitzero"`
}

// An AuditUse is one secret read or one private key used: by whom, by which
// operation, and of which vault, kind, name and version.
type AuditUse struct {
	By      Principal `json:"by"`
	Time    time.Time `json:"time"`
	Action  string    `json:"action"`
	On      []string  `json:"on"`
	Request string    `json:"request,omitzero"`
}

// An AuditAlert is one identity of a cluster, used or made usable outside of it: which
// way, from where (an issuer, a cluster or a person), and what else is known.
type AuditAlert struct {
	Identity Principal `json:"identity"`
	Resource string    `json:"resource"`
	Clusters []string  `json:"clusters"`
	Way      string    `json:"way"`
	From     string    `json:"from"`
	Detail   string    `json:"detail,omitzero"`
}

// AuditVerdict says whether the audit log is as it was written.
type AuditVerdict struct {
	Intact bool `json:"intact"`
	// Records is how many there are, or how many are good before the first bad one.
	Records int64  `json:"records"`
	Problem string `json:"problem,omitzero"`
}

// Clusters say how the clusters are that the caller may read.
type Clusters struct {
	Clusters []ClusterState `json:"clusters"`
}

// A ClusterState says how a cluster is now: running, starting, failed, "not run
// here" or attached.
type ClusterState struct {
	Scope string `json:"scope"`
	State string `json:"state"`
}

// An Attachment is what an attached cluster needs in order to ask the house. The
// two paths are behind the URL by which it reaches the webhooks. All else is PEM.
type Attachment struct {
	TokenReview         string `json:"tokenReview"`
	SubjectAccessReview string `json:"subjectAccessReview"`
	CA                  string `json:"ca"`
	ClientCert          string `json:"clientCert"`
	ClientKey           string `json:"clientKey"`
}

// Findings are what the doctor found, one for each of its checks.
type Findings struct {
	Findings []Finding `json:"findings"`
}

// A Finding is the outcome of one check: ok, warning, error or "not evaluated".
type Finding struct {
	ID       string `json:"id"`
	Severity string `json:"severity"`
	What     string `json:"what"`
	Why      string `json:"why,omitzero"`
	Fix      string `json:"fix,omitzero"`
}

// Rehearsal is which knobs are on, and what the clocks say.
type Rehearsal struct {
	// Allowed is set where knobs may be turned on: the house was started for it.
	Allowed bool `json:"allowed"`
	// Summary says in a line what is rehearsed; empty when nothing is.
	Summary string          `json:"summary,omitzero"`
	Knobs   rehearsal.Knobs `json:"knobs"`
	// Revision is of the estate that has the knobs.
	Revision    int64     `json:"revision"`
	HouseTime   time.Time `json:"houseTime"`
	MachineTime time.Time `json:"machineTime"`
	// Warnings are what a clock that was moved has left behind.
	Warnings []string `json:"warnings,omitzero"`
}
