package arm

import (
	"cmp"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve"
)

// A session is one request of somebody whom the house knows.
type session struct {
	est *estate.Snapshot
	// law is the estate by which it is decided who may do what. It is est, unless a
	// rehearsal lets decisions lag behind.
	law    *estate.Snapshot
	now    time.Time
	tenant directory.TenantID
	caller serve.Caller
	base   string // of next links
	rev    func(record.Key) int64
	issuer func(string) error // see Config.CheckIssuer
	asked  string             // the place of the request, as it was written
}

func (d *Door) session(r *http.Request, k kind) (*session, error) {
	if err := serve.Bearing(r); err != nil {
		return nil, err
	}
	s, err := d.again(&session{})
	if err != nil {
		return nil, err
	}
	tokens := serve.Tokens{Keys: d.conf.Keys, Issuers: d.conf.Issuers, Live: d.conf.Live, Audiences: audiencesOf(k)}
	s.caller, s.tenant, err = tokens.Bearer(r, s.est, s.now)
	return s, err
}

// again returns a session with the estate as it is now.
func (d *Door) again(was *session) (*session, error) {
	s := *was
	s.est, s.now, s.base, s.rev, s.issuer = d.conf.State.Current(), d.conf.Now(), d.conf.Base, d.conf.State.Rev, d.conf.CheckIssuer
	if s.est == nil {
		return nil, serve.Refuse(http.StatusServiceUnavailable, "ServiceUnavailable", "The directory is not loaded yet.")
	}
	s.law = d.conf.Effective(s.est)
	return &s, d.conf.State.Fresh(s.now)
}

func (s *session) may(action string, at scope.Scope) bool {
	return serve.Operation{Action: action, At: at}.Allowed(s.law, s.caller.ID, s.now)
}

// need refuses who may not do something at a place. It asks nothing about whether
// there is such a place: who may not know it is told the same either way.
func (s *session) need(ops ...serve.Operation) error {
	for _, o := range ops {
		hidden := s.reach(o.At)
		switch {
		case hidden == nil && o.Allowed(s.law, s.caller.ID, s.now):
		case hidden == nil || s.unseen(o.At):
			return s.refusal(o)
		default:
			return hidden
		}
	}
	return nil
}

// refusal is what is said to who may not do something. The place is named as it was
// asked for and not as it was created: its letters would tell that it is there.
func (s *session) refusal(o serve.Operation) error {
	which := "does not have authorization"
	if o.Attributes != nil && s.conditional() {
		which = "does not have authorization or an ABAC condition not fulfilled"
	}
	return serve.Refuse(http.StatusForbidden, "AuthorizationFailed", fmt.Sprintf(
		"The client '%s' with object id '%s' %s to perform action '%s' over scope '%s' or the scope is invalid. If access was recently granted, please refresh your credentials.",
		s.caller.Name, s.caller.ID, which, o.Action, spellAs(o.At, s.asked)))
}

func (s *session) needAt(action string, at scope.Scope) error {
	return s.need(serve.Operation{Action: action, At: at})
}

// conditional reports whether a condition limits anything that the caller has.
func (s *session) conditional() bool {
	who, ok := s.est.Resolve(s.caller.ID)
	return ok && slices.ContainsFunc(who.Azure, func(g *estate.Grant) bool { return g.Assigned.Expr != nil })
}

// ours reports whether a place can be of the caller's tenant. One of another
// tenant, and one that does not exist, are the same to him (ARM-07).
func (s *session) ours(at scope.Scope) bool {
	if sub, ok := at.Subscription(); ok {
		r, known := s.est.Subscription(sub)
		return known && r.Tenant == s.tenant
	}
	for up := range at.Ancestors() {
		if up.Type() == "microsoft.management/managementgroups" {
			mg, known := s.est.ManagementGroup(up)
			return known && mg.Tenant == s.tenant
		}
	}
	return true
}

// shared reports whether a place is of no tenant: the root, and what is neither in
// a subscription nor in a management group.
func shared(at scope.Scope) bool {
	if _, ok := at.Subscription(); ok {
		return false
	}
	for up := range at.Ancestors() {
		if up.Type() == "microsoft.management/managementgroups" {
			return false
		}
	}
	return true
}

// unseen reports whether a place is in a management group that is not of the
// caller's tenant, for a caller who may not know which ones are.
func (s *session) unseen(at scope.Scope) bool {
	_, inSubscription := at.Subscription()
	return !inSubscription && !s.ours(at) && !s.may(managementType+"/read", scope.Root)
}

// reach refuses a place that is not of the caller's tenant.
func (s *session) reach(at scope.Scope) error {
	if s.ours(at) {
		return nil
	}
	if sub, ok := at.Subscription(); ok {
		return serve.Refuse(http.StatusNotFound, "SubscriptionNotFound", fmt.Sprintf("The subscription '%s' could not be found.", sub.Name()))
	}
	if s.unseen(at) {
		return s.refusal(serve.Operation{Action: managementType + "/read", At: at})
	}
	return serve.Refuse(http.StatusNotFound, "ManagementGroupNotFound", "The management group could not be found.")
}

// decode reads a body. Members that this house does not know are no matter, since
// every version of the API has others; a name that is there twice is.
func (r *request) decode(v any) error {
	if err := json.Unmarshal(r.body, v); err != nil {
		return badContent(err)
	}
	return nil
}

func badContent(err error) error {
	return &serve.Error{Status: http.StatusBadRequest, Code: "InvalidRequestContent", Message: "The request content was invalid and could not be deserialized: " + serve.Printable(err.Error(), 300), Err: err}
}

// showing finishes an answer whose body is of the estate as it will be.
func (s *session) showing(out answer, body func(*session) any) (answer, error) {
	after, err := s.est.Apply(s.est.Revision(), out.ops...)
	if err != nil {
		return answer{}, err
	}
	then := *s
	then.est = after
	out.body = body(&then)
	return out, nil
}

// sorted orders ops by what they are about, so that two lists can be compared.
func sorted(ops []estate.Op) []estate.Op {
	slices.SortFunc(ops, func(a, b estate.Op) int {
		x, y := a.Key(), b.Key()
		return cmp.Or(cmp.Compare(x.Kind, y.Kind), slices.Compare(x.Parts[:], y.Parts[:]))
	})
	return ops
}

func sameOps(a, b []estate.Op) bool { return reflect.DeepEqual(a, b) }
