// Package wire is the JSON of the management door, as both of its ends see it:
// the door in package api and the client in package client.
package wire

import (
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/gatehouse-io/gatehouse/internal/record"
)

// Paths of the door. {id} and {app} are an object id and an application id.
const (
	PathWhoAmI  = "/gatehouse/v1/whoami"
	PathEstate  = "/gatehouse/v1/estate"
	PathChanges = "/gatehouse/v1/changes"
	PathCanI    = "/gatehouse/v1/ask/can-i"
	PathWhy     = "/gatehouse/v1/ask/why"
	PathWhoCan  = "/gatehouse/v1/ask/who-can"
	PathWhatCan = "/gatehouse/v1/ask/what-can"
	PathTrace   = "/gatehouse/v1/trace"

	PathIdentityUses = "/gatehouse/v1/identity-uses"
	PathPassword     = "/gatehouse/v1/users/{id}/password"
	PathSecrets      = "/gatehouse/v1/applications/{app}/secrets"
	PathKeys         = "/gatehouse/v1/keys"
	PathRotate       = "/gatehouse/v1/keys/rotate"
	PathStopKey      = "/gatehouse/v1/keys/stop"
	PathIssuing      = "/gatehouse/v1/keys/issuing"
	PathAudit        = "/gatehouse/v1/audit"
	PathVerify       = "/gatehouse/v1/audit/verify"
	PathClusters     = "/gatehouse/v1/clusters"
	PathAdmin        = "/gatehouse/v1/clusters/admin-kubeconfig"
	PathAttach       = "/gatehouse/v1/clusters/attachment"
	PathExamine      = "/gatehouse/v1/clusters/examine"
	PathAccess       = "/gatehouse/v1/clusters/user-access"

	PathRehearsal          = "/gatehouse/v1/rehearsal"
	PathIdentitySessions   = "/gatehouse/v1/identity-sessions"
	PathEndIdentitySession = "/gatehouse/v1/identity-sessions/end"

	PathIdentityRequests = "/gatehouse/v1/identity-requests"
	PathIdentityRequest  = "/gatehouse/v1/identity-requests/{id}"
	PathApproveRequest   = "/gatehouse/v1/identity-requests/{id}/approve"
	PathRefuseRequest    = "/gatehouse/v1/identity-requests/{id}/refuse"
	PathWithdrawRequest  = "/gatehouse/v1/identity-requests/{id}/withdraw"
	PathRetireRequest    = "/gatehouse/v1/identity-requests/{id}/retire"
	PathRenewRequest     = "/gatehouse/v1/identity-requests/{id}/renew"
	PathAllSecrets       = "/gatehouse/v1/secrets"
)

// Error is the body of every answer that is none.
type Error struct {
	Error struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	} `json:"error"`
}

// WhoAmI says who the bearer of the token is, now.
type WhoAmI struct {
	ID       string   `json:"id"`
	Kind     string   `json:"kind"`
	Name     string   `json:"name"`
	Tenant   string   `json:"tenant"`
	Groups   []string `json:"groups"`
	Revision int64    `json:"revision"`
	// Rehearsal says what is rehearsed; empty when nothing is.
	Rehearsal string `json:"rehearsal,omitzero"`
}

// A Record is one record in its stored form.
type Record struct {
	Kind record.Kind    `json:"kind"`
	Spec jsontext.Value `json:"spec"`
}

// Estate is the part of the estate that the caller may read.
type Estate struct {
	Revision int64    `json:"revision"`
	Records  []Record `json:"records"`
}

// Changes are ops that happen all together or not at all.
type Changes struct {
	// Why is for the audit log.
	Why string `json:"why"`
	Ops []Op   `json:"ops"`
	// IfRevision, when set, refuses the changes if a record that they touch was
	// changed after that revision.
	IfRevision int64 `json:"ifRevision,omitzero"`
}

// An Op puts or deletes one record; exactly one of the two is set.
type Op struct {
	Put    *Record `json:"put,omitzero"`
	Delete *Delete `json:"delete,omitzero"`
}

// Delete names a record by the parts of its key.
type Delete struct {
	Kind  record.Kind `json:"kind"`
	Parts []string    `json:"parts"`
	// Dependents deletes as well what makes no sense without the record, such as
	// the memberships of a user.
	Dependents bool `json:"dependents,omitzero"`
}

// Changed is the revision at which changes were made.
type Changed struct {
	Revision int64 `json:"revision"`
}

// A Question is asked of the decision engine. Exactly one of Action and Kube is
// set; for what-can neither.
type Question struct {
	// Who is the object id or user principal name of a principal; empty means the
	// caller, and for who-can it must be.
	Who string `json:"who,omitzero"`
	// Subject is asked about instead of Who: somebody whom only Kubernetes knows.
	Subject *Subject `json:"subject,omitzero"`
	Scope   string   `json:"scope"`
	Action  string   `json:"action,omitzero"`
	Data    bool     `json:"data,omitzero"`
	Kube    *Kube    `json:"kube,omitzero"`
	// Attributes are what conditions may ask, such as
	// "Microsoft.Authorization/roleAssignments:RoleDefinitionId", as @Request.
	Attributes map[string]string `json:"attributes,omitzero"`
	// At is the instant to decide at; zero means now.
	At time.Time `json:"at,omitzero"`
	// Only limits the answer to one plane: "azure" or "kubernetes".
	Only string `json:"only,omitzero"`
}

// Subject is an identity that Kubernetes alone knows.
type Subject struct {
	User   string   `json:"user"`
	Groups []string `json:"groups,omitzero"`
}

// Kube is a request to an API server.
type Kube struct {
	Verb        string `json:"verb"`
	APIGroup    string `json:"apiGroup,omitzero"`
	Resource    string `json:"resource,omitzero"`
	Subresource string `json:"subresource,omitzero"`
	Namespace   string `json:"namespace,omitzero"`
	Name        string `json:"name,omitzero"`
	Path        string `json:"path,omitzero"`
}

// A Decision is an answer: allow, deny or "no opinion".
type Decision struct {
	Effect   string `json:"effect"`
	Reason   string `json:"reason"`
	By       *Grant `json:"by,omitzero"`
	Revision int64  `json:"revision"`
	// NotEvaluated says what could not be taken into account. While it says
	// something, what is not granted here may be granted all the same.
	NotEvaluated []string `json:"notEvaluated,omitzero"`
}

// A Grant is a source of access, or of its denial.
type Grant struct {
	// Source is roleAssignment, denyAssignment, binding, directoryRole, ownership, or
	// default: what members of a tenant, and all over themselves, have by itself.
	Source string `json:"source"`
	// ID is of the assignment; Name and Namespace are of the binding or of the
	// deny assignment.
	ID        string    `json:"id,omitzero"`
	Namespace string    `json:"namespace,omitzero"`
	Name      string    `json:"name,omitzero"`
	Scope     string    `json:"scope"`
	Role      string    `json:"role,omitzero"`
	RoleID    string    `json:"roleId,omitzero"`
	Holder    Principal `json:"holder,omitzero"`
	Condition string    `json:"condition,omitzero"`
	NotBefore time.Time `json:"notBefore,omitzero"`
	NotAfter  time.Time `json:"notAfter,omitzero"`
}

// A Principal is named for people. Of a Kubernetes subject it has no id.
type Principal struct {
	ID   string `json:"id,omitzero"`
	Kind string `json:"kind"`
	Name string `json:"name"`
}

// A Considered is a grant and what it had to say.
type Considered struct {
	Grant   Grant       `json:"grant"`
	Outcome string      `json:"outcome"`
	Applies bool        `json:"applies,omitzero"`
	Via     []Principal `json:"via,omitzero"`
}

// An Explanation is a decision with everything that was considered.
type Explanation struct {
	Decision   `json:",inline"`
	Principal  Principal    `json:"principal,omitzero"`
	Groups     []Principal  `json:"groups,omitzero"`
	Operation  string       `json:"operation,omitzero"`
	Considered []Considered `json:"considered"`
	Nearest    *Considered  `json:"nearest,omitzero"`
	Fix        *Fix         `json:"fix,omitzero"`
	Azure      bool         `json:"azure"`
	Kubernetes bool         `json:"kubernetes"`
}

// A Fix is the smallest change known that would grant a refused request.
type Fix struct {
	Role        string `json:"role,omitzero"`
	RoleID      string `json:"roleId,omitzero"`
	ClusterRole string `json:"clusterRole,omitzero"`
	Scope       string `json:"scope"`
}

// Holders are all who can.
type Holders struct {
	Revision int64    `json:"revision"`
	Holders  []Holder `json:"holders"`
	// NotEvaluated is as in Decision.
	NotEvaluated []string `json:"notEvaluated,omitzero"`
}

// A Holder is one who can, and by which grant.
type Holder struct {
	Principal Principal   `json:"principal"`
	Everyone  bool        `json:"everyone,omitzero"`
	By        Grant       `json:"by"`
	Via       []Principal `json:"via,omitzero"`
}

// A Portfolio is what somebody can do at a place.
type Portfolio struct {
	Revision  int64        `json:"revision"`
	Held      []Considered `json:"held"`
	Abilities []Ability    `json:"abilities,omitzero"`
	// NotEvaluated is as in Decision.
	NotEvaluated []string `json:"notEvaluated,omitzero"`
}

// An Ability is what somebody can do with one resource.
type Ability struct {
	APIGroup string   `json:"apiGroup,omitzero"`
	Resource string   `json:"resource"`
	Verbs    []string `json:"verbs"`
}

// Password is a user's new password.
type Password struct {
	Password string `json:"password"`
}

// NewSecret asks for a client secret. Days is how long it lives, 180 if zero.
type NewSecret struct {
	Name string `json:"name,omitzero"`
	Days int    `json:"days,omitzero"`
}

// Secret is a new client secret. Text is shown this once.
type Secret struct {
	KeyID   string    `json:"keyId"`
	Text    string    `json:"text"`
	Hint    string    `json:"hint"`
	Expires time.Time `json:"expires"`
}

// Secrets are the client secrets of the applications that the caller may read: that
// they are there, and never what they are.
type Secrets struct {
	Secrets []KnownSecret `json:"secrets"`
}

// KnownSecret is a client secret that is there. Created is zero if that is not known.
type KnownSecret struct {
	App     string    `json:"app"`
	KeyID   string    `json:"keyId"`
	Name    string    `json:"name,omitzero"`
	Hint    string    `json:"hint,omitzero"`
	Created time.Time `json:"created,omitzero"`
	Expires time.Time `json:"expires"`
}

// NewIdentitySession asks to run programs as managed identities, each of which is
// named by its object id, client id, resource id or name. Minutes is how long, 480
// if zero.
type NewIdentitySession struct {
	Identities []string `json:"identities"`
	Minutes    int      `json:"minutes,omitzero"`
}

// IdentitySession is a new session. Secret is shown this once: whoever sends it to
// the metadata service gets tokens of the identities.
type IdentitySession struct {
	Secret     string     `json:"secret"`
	Expires    time.Time  `json:"expires"`
	Identities []Identity `json:"identities"`
}

// An Identity is a managed identity.
type Identity struct {
	Name     string `json:"name"`
	ID       string `json:"id"`
	ClientID string `json:"clientId"`
	Tenant   string `json:"tenant"`
	Resource string `json:"resource"`
}

// EndIdentitySession names a session by its secret.
type EndIdentitySession struct {
	Secret string `json:"secret"`
}

// IdentityUses are when managed identities got their latest tokens, at most ten
// minutes too early. An identity that is not there has got none since Since; without
// one, nobody can say.
type IdentityUses struct {
	Since  time.Time            `json:"since,omitzero"`
	Latest map[string]time.Time `json:"latest"` // by object id
}

// Trace is what the doors did lately, oldest first.
type Trace struct {
	Events []Event `json:"events"`
	// Rehearsal says what is rehearsed now; empty when nothing is.
	Rehearsal string `json:"rehearsal,omitzero"`
}

// An Event is one thing that a door did for somebody.
type Event struct {
	At       time.Time `json:"at"`
	Door     string    `json:"door"`
	Cluster  string    `json:"cluster,omitzero"`
	ID       string    `json:"id,omitzero"`
	User     string    `json:"user,omitzero"`
	Kube     *Kube     `json:"kube,omitzero"`
	Asked    string    `json:"asked,omitzero"` // the method, host and path of a request that was refused
	Effect   string    `json:"effect"`
	Reason   string    `json:"reason,omitzero"`
	By       string    `json:"by,omitzero"`
	Groups   int       `json:"groups,omitzero"`
	Revision int64     `json:"revision,omitzero"`
	Took     int64     `json:"tookNs"` // nanoseconds
	AuditID  string    `json:"auditId,omitzero"`
	// TraceID and CorrelationID are what the answer says: the trace id of the token
	// service, the request id of other doors.
	TraceID       string `json:"traceId,omitzero"`
	CorrelationID string `json:"correlationId,omitzero"`
	// Client is the client id that somebody came with; Issuer, Subject and Audience
	// are what his assertion says of itself, verified or not.
	Client   string `json:"client,omitzero"`
	Issuer   string `json:"issuer,omitzero"`
	Subject  string `json:"subject,omitzero"`
	Audience string `json:"audience,omitzero"`
}

// A ClusterRef names a cluster by its scope.
type ClusterRef struct {
	Scope string `json:"scope"`
}

// An Access is what people who sign in need to know about a cluster. It holds no
// secret.
type Access struct {
	Name          string `json:"name"`
	ResourceGroup string `json:"resourceGroup"`
	// Tenant is the id of the directory whose people sign in.
	Tenant string `json:"tenant"`
	// Endpoint is the URL of the API server, and CertificateAuthority, as PEM, who
	// signs its certificate. Both are empty until it runs.
	Endpoint             string `json:"endpoint,omitzero"`
	CertificateAuthority string `json:"certificateAuthority,omitzero"`
	// EntraSignIn is not set when nobody can sign in.
	EntraSignIn bool `json:"entraSignIn,omitzero"`
}

// A Kubeconfig is a file for kubectl, as YAML.
type Kubeconfig struct {
	Kubeconfig string `json:"kubeconfig"`
}
