package serve

import (
	"slices"
	"sync"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/kuberbac"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

// An Event is one thing that a door did for somebody, or refused him, for
// `gatehouse trace`.
// It holds no secret and no token.
type Event struct {
	At   time.Time
	Door string // authn, authz, admission, oidc, imds, nodes, registry, arm, graph, keyvault, api
	// Cluster is whose API server asked; no place outside the cluster doors.
	Cluster scope.Scope
	ID      principal.ID // nobody, when that is not known
	User    string       // the name that the cluster or the client used
	// Attributes are what was asked, in a SubjectAccessReview.
	Attributes kuberbac.Attributes
	// Asked is what was asked otherwise: the method, the host and the path of a request
	// that was refused, without its query.
	Asked string
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
	// TraceID and CorrelationID are what the answer says, so that whoever got it finds
	// the event: the trace id of the token service, the request id of other doors.
	TraceID, CorrelationID string
	// Client is the client id that somebody came with. Issuer, Subject and Audience are
	// what the assertion that he presented says of itself; nobody may have verified it.
	Client, Issuer, Subject, Audience string
}

// A Trace keeps the latest events of all doors. It is bounded, and safe for
// concurrent use. The nil Trace forgets everything.
//
// What was refused to somebody, what was refused to nobody knows whom, and the rest
// are bounded apart: a flood of refusals pushes out nothing but refusals, and who
// does not even sign in pushes out nothing about those who do (RX-12).
type Trace struct {
	size int // of each ring

	mu    sync.Mutex
	seq   uint64 // of the latest event
	rings [3]ring
}

// A ring has the latest events of a sort, from next on, oldest first, once it is full.
type ring struct {
	events []numbered
	next   int
}

type numbered struct {
	seq uint64
	Event
}

// NewTrace returns a Trace of size events of each sort, which must be positive.
func NewTrace(size int) *Trace { return &Trace{size: size} }

// sort is the ring of an event.
func (e Event) sort() int {
	switch {
	case e.Effect != Refused:
		return 0
	case !e.ID.IsZero():
		return 1
	}
	return 2
}

// Add records an event, in place of the oldest of its sort when there are too many.
func (t *Trace) Add(e Event) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.seq++
	n, r := numbered{t.seq, e}, &t.rings[e.sort()]
	if len(r.events) < t.size {
		r.events = append(r.events, n)
		return
	}
	r.events[r.next] = n
	r.next = (r.next + 1) % t.size
}

// Recent returns at most limit of the events that match, oldest first.
func (t *Trace) Recent(limit int, match func(Event) bool) []Event {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	var all [len(t.rings)][]numbered
	for i, r := range t.rings {
		all[i] = slices.Concat(r.events[r.next:], r.events[:r.next])
	}
	t.mu.Unlock()
	var found []Event
	for len(found) < limit {
		newest, seq := -1, uint64(0)
		for i, events := range all {
			if n := len(events); n > 0 && events[n-1].seq > seq {
				newest, seq = i, events[n-1].seq
			}
		}
		if newest < 0 {
			break
		}
		last := len(all[newest]) - 1
		if e := all[newest][last].Event; match(e) {
			found = append(found, e)
		}
		all[newest] = all[newest][:last]
	}
	slices.Reverse(found)
	return found
}
