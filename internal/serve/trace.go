package serve

import (
	"slices"
	"sync"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/kuberbac"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

// An Event is one thing that a door did for somebody, for `gatehouse trace`.
// It holds no secret and no token.
type Event struct {
	At   time.Time
	Door string // authn, authz, admission, oidc, api
	// Cluster is whose API server asked; no place outside the cluster doors.
	Cluster scope.Scope
	ID      principal.ID // nobody, when that is not known
	User    string       // the name that the cluster or the client used
	// Attributes are what was asked, in a SubjectAccessReview.
	Attributes kuberbac.Attributes
	// Effect is the answer: allow, deny, no opinion, authenticated, refused, issued,
	// patched, untouched.
	Effect string
	Reason string // in words
	// By names the grants that made the answer, if any.
	By       string
	Groups   int   // how many groups the house found
	Revision int64 // of the estate that was asked
	Took     time.Duration
	AuditID  string // of the Kubernetes audit event, when the API server sends it
	// TraceID and CorrelationID are what the answer of the token service says, so that
	// whoever got it finds the event.
	TraceID, CorrelationID string
	// Client is the client id that somebody came with. Issuer, Subject and Audience are
	// what the assertion that he presented says of itself; nobody may have verified it.
	Client, Issuer, Subject, Audience string
}

// A Trace keeps the latest events of all doors. It is bounded, and safe for
// concurrent use. The nil Trace forgets everything.
type Trace struct {
	mu   sync.Mutex
	ring []Event
	next int
	full bool
}

// NewTrace returns a Trace of size events, which must be positive.
func NewTrace(size int) *Trace { return &Trace{ring: make([]Event, size)} }

// Add records an event, in place of the oldest when the trace is full.
func (t *Trace) Add(e Event) {
	if t == nil {
		return
	}
	t.mu.Lock()
	t.ring[t.next] = e
	if t.next++; t.next == len(t.ring) {
		t.next, t.full = 0, true
	}
	t.mu.Unlock()
}

// Recent returns at most limit of the events that match, oldest first.
func (t *Trace) Recent(limit int, match func(Event) bool) []Event {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	all := slices.Clone(t.ring[:t.next])
	if t.full {
		all = slices.Concat(t.ring[t.next:], t.ring[:t.next])
	}
	t.mu.Unlock()
	var found []Event
	for _, e := range slices.Backward(all) {
		if len(found) == limit {
			break
		}
		if match(e) {
			found = append(found, e)
		}
	}
	slices.Reverse(found)
	return found
}
