package arm

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve"
	"github.com/gatehouse-io/gatehouse/internal/store"
)

// An Operation is work that somebody started and asks about until it is over. It
// is private state, so that every replica knows it and a restart does not end it.
type Operation struct {
	ID   resource.OperationID `json:"id"`
	Kind resource.WorkKind    `json:"kind"`
	// Of is what is worked on: a cluster, or a resource group.
	Of      scope.Scope      `json:"of"`
	By      principal.ID     `json:"by"`
	Status  string           `json:"status"`
	Started time.Time        `json:"started"`
	Ended   time.Time        `json:"ended,omitzero"`
	Failure resource.Failure `json:"failure,omitzero"`
}

// The statuses of an operation.
const (
	InProgress = "InProgress"
	Succeeded  = "Succeeded"
	Failed     = "Failed"
	Canceled   = "Canceled"
)

// bucketOperations holds operations by their id.
const bucketOperations = "operation"

// How long an operation can be asked about: while it goes on, and when it is over.
const (
	operationLife = 7 * 24 * time.Hour
	operationKept = 24 * time.Hour
)

// NewOperation is work on something that begins now.
func NewOperation(w resource.Work, of scope.Scope, by principal.ID) Operation {
	return Operation{ID: w.Operation, Kind: w.Kind, Of: of, By: by, Status: InProgress, Started: w.Since}
}

// Op is the write that keeps an operation.
func (o Operation) Op() (store.PrivateOp, error) {
	value, err := record.Marshal(o)
	expires := o.Started.Add(operationLife)
	if !o.Ended.IsZero() {
		expires = o.Ended.Add(operationKept)
	}
	return store.PrivateOp{Bucket: bucketOperations, ID: []string{o.ID.String()}, Value: value, Expires: expires}, err
}

// private is what a store keeps beside the estate.
type private interface {
	Private(ctx context.Context, bucket string, id ...string) (store.PrivateItem, error)
}

// LoadOperation returns an operation, or store.ErrNotFound.
func LoadOperation(ctx context.Context, st private, id resource.OperationID) (Operation, error) {
	item, err := st.Private(ctx, bucketOperations, id.String())
	if err != nil {
		return Operation{}, err
	}
	var o Operation
	return o, record.Unmarshal(item.Value, &o)
}

// EndOperation is the write that ends an operation, if it is still known.
func EndOperation(ctx context.Context, st private, id resource.OperationID, status string, why resource.Failure, now time.Time) ([]store.PrivateOp, error) {
	o, err := LoadOperation(ctx, st, id)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil // started by a change of the estate, or forgotten
	}
	if err != nil {
		return nil, err
	}
	o.Status, o.Failure, o.Ended = status, why, now.UTC().Round(0)
	op, err := o.Op()
	return []store.PrivateOp{op}, err
}

// begin makes an answer one of work that goes on, and says where to ask about it.
func (s *session) begin(out *answer, w resource.Work, of scope.Scope) error {
	op, err := NewOperation(w, of, s.caller.ID).Op()
	if err != nil {
		return err
	}
	out.private = append(out.private, op)
	s.point(out, w, of)
	return nil
}

// cancel ends the work on a cluster that another wish takes the place of.
func (s *session) cancel(out *answer, c resource.Cluster) error {
	if c.Doing.IsZero() {
		return nil
	}
	o := NewOperation(c.Doing, c.Scope, principal.ID{}) // for who may read the cluster
	o.Status, o.Ended = Canceled, s.now.UTC().Round(0)
	op, err := o.Op()
	out.private = append(out.private, op)
	return err
}

// pollAfter is when clients ask again, in seconds. Without it, Azure's wait for half
// a minute.
const pollAfter = "1"

// point says where to ask about work that goes on.
func (s *session) point(out *answer, w resource.Work, of scope.Scope) {
	if out.header == nil {
		out.header = make(http.Header)
	}
	out.header.Set("Retry-After", pollAfter)
	base := s.base + s.operationsAt(of)
	const version = "?api-version=2016-03-30"
	if of.Type() != "resourcegroups" {
		out.header.Set("Azure-AsyncOperation", base+"operations/"+w.Operation.String()+version)
	}
	out.header.Set("Location", base+"operationresults/"+w.Operation.String()+version)
}

// operationsAt is the path below which the operations on something are.
func (s *session) operationsAt(of scope.Scope) string {
	sub, _ := of.Subscription()
	if of.Type() == "resourcegroups" {
		return sub.String() + "/"
	}
	return sub.String() + "/providers/Microsoft.ContainerService/locations/" + s.locationAt(of) + "/"
}

func (s *session) locationAt(of scope.Scope) string {
	if c, ok := s.est.Cluster(of); ok && c.Location != "" {
		return c.Location
	}
	return "local"
}

// The kinds of operations.
const (
	operation       kind = "operation"
	operationResult kind = "operationResult"
	groupResult     kind = "groupOperationResult"
)

var operationShapes = map[string]kind{
	"subscriptions/*|providers/microsoft.containerservice/locations/*/operations/*":       operation,
	"subscriptions/*|providers/microsoft.containerservice/locations/*/operationresults/*": operationResult,
	"subscriptions/*|operationresults/*":                                                  groupResult,
}

var operationHandlers = map[kind]map[string]handler{
	operation:       {"GET": getOperation},
	operationResult: {"GET": getOperationResult},
	groupResult:     {"GET": getOperationResult},
}

// known returns an operation that the caller may know of: who started it, and who
// may read what it works on. To all others, there is none (ARM-12).
func (s *session) known(ctx context.Context, d *Door, r *request) (Operation, error) {
	none := serve.Refuse(http.StatusNotFound, "NotFound", "The operation '"+serve.Printable(r.name, 40)+"' is not found.")
	var id resource.OperationID
	if id.UnmarshalText([]byte(r.name)) != nil || id.IsZero() {
		return Operation{}, none
	}
	o, err := LoadOperation(ctx, d.conf.State, id)
	if errors.Is(err, store.ErrNotFound) {
		return Operation{}, none
	}
	if err != nil {
		return Operation{}, err
	}
	read := clusterType + "/read"
	if o.Of.Type() == "resourcegroups" {
		read = groupType + "/read"
	}
	isGroup := o.Of.Type() == "resourcegroups"
	if !r.at.Contains(o.Of) || (r.kind == groupResult) != isGroup || !s.ours(o.Of) || o.By != s.caller.ID && !s.may(read, o.Of) {
		return Operation{}, none
	}
	return o, nil
}

type workBody struct {
	ID        string     `json:"id"`
	Name      string     `json:"name"`
	Status    string     `json:"status"`
	StartTime time.Time  `json:"startTime"`
	EndTime   time.Time  `json:"endTime,omitzero"`
	Error     *errorBody `json:"error,omitzero"`
}

type errorBody struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

func getOperation(s *session, r *request) (answer, error) {
	if err := s.reach(r.at); err != nil {
		return answer{}, err
	}
	return answer{then: func(ctx context.Context, d *Door) (answer, error) {
		o, err := s.known(ctx, d, r)
		if err != nil {
			return answer{}, err
		}
		body := workBody{ID: r.path, Name: o.ID.String(), Status: o.Status, StartTime: o.Started, EndTime: o.Ended}
		if !o.Failure.IsZero() {
			body.Error = &errorBody{o.Failure.Code, o.Failure.Message}
		}
		out := answer{status: http.StatusOK, body: body}
		if o.Status == InProgress {
			out.header = http.Header{"Retry-After": {pollAfter}}
		}
		return out, nil
	}}, nil
}

// getOperationResult answers 202 until the work is over.
func getOperationResult(s *session, r *request) (answer, error) {
	if err := s.reach(r.at); err != nil {
		return answer{}, err
	}
	return answer{then: func(ctx context.Context, d *Door) (answer, error) {
		o, err := s.known(ctx, d, r)
		switch {
		case err != nil:
			return answer{}, err
		case o.Status == InProgress:
			out := answer{status: http.StatusAccepted, header: http.Header{"Retry-After": {pollAfter}}}
			out.header.Set("Location", s.base+r.path+"?api-version=2016-03-30")
			return out, nil
		case o.Status != Succeeded:
			why := o.Failure
			if why.IsZero() {
				why = resource.Failure{Code: "OperationPreempted", Message: "The operation was preempted by another one."}
			}
			return answer{}, serve.Refuse(http.StatusConflict, why.Code, why.Message)
		case r.kind == groupResult:
			return answer{status: http.StatusOK}, nil
		}
		return answer{status: http.StatusNoContent}, nil
	}}, nil
}

// idle refuses work on a cluster that is being worked on.
func idle(c resource.Cluster) error {
	if c.Doing.IsZero() {
		return nil
	}
	return serve.Refuse(http.StatusConflict, "OperationNotAllowed", "Operation is not allowed: Another operation ("+string(c.Doing.Kind)+
		") is in progress, please wait for it to finish before starting a new operation. See https://aka.ms/aks-pending-operation for more details")
}

// open refuses to put anything into a group that is being deleted.
func (s *session) open(at scope.Scope) error {
	rg, ok := at.ResourceGroup()
	if !ok {
		return nil
	}
	if g, ok := s.est.ResourceGroup(rg); ok && !g.Doing.IsZero() {
		return serve.Refuse(http.StatusConflict, "ResourceGroupBeingDeleted", "The resource group '"+g.Name+"' is in deprovisioning state and cannot perform this operation.")
	}
	return nil
}

// on returns the session as it would be after a change.
func (s *session) on(ops []estate.Op) (*session, error) {
	est, err := s.est.Apply(s.est.Revision(), ops...)
	if err != nil {
		return nil, err
	}
	next := *s
	next.est = est
	return &next, nil
}

// work is what begins with a request.
func (s *session) work(r *request, k resource.WorkKind, of scope.Scope) resource.Work {
	return resource.Work{Kind: k, Operation: resource.OperationID(r.mint("operation" + strings.ToLower(of.String()))), Since: s.now.UTC().Round(0)}
}
