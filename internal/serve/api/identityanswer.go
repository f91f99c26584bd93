package api

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/identityrequest"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/serve"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/wire"
	"github.com/gatehouse-io/gatehouse/internal/store"
)

// An outcome is what an answer to a request comes to: the request with one event
// more, all that changes with it, and what keeps the identity of one that is retired.
type outcome struct {
	next identityrequest.Request
	ops  []estate.Op
	kept []wire.Kept
}

// An answer works out what one comes to, if the caller may give it.
type answer func(s *session, q identityrequest.Request) (outcome, error)

// reply gives an answer to the request that the path names, in one change.
func (d *Door) reply(w http.ResponseWriter, r *http.Request, s *session, why string, give answer) error {
	q, err := s.request(r)
	if err != nil {
		return err
	}
	out, err := give(s, q)
	if err != nil {
		return err
	}
	rev, err := d.answered(r.Context(), s, q, why, out, give)
	if err != nil {
		return err
	}
	now, err := d.conf.State.AtLeast(r.Context(), rev)
	if err != nil {
		return err
	}
	told := s.wireRequest(now, out.next, rev)
	told.Kept = out.kept
	return serve.JSON(w, http.StatusOK, told)
}

func (d *Door) answered(ctx context.Context, s *session, q identityrequest.Request, why string, out outcome, give answer) (int64, error) {
	c := store.Change{By: s.caller.ID, Why: why, Base: s.est, Ops: out.ops}
	return d.commit(ctx, s, c, func(again *session) error {
		// That the request is the same one is seen to by the store.
		then, err := give(again, q)
		if err == nil && !reflect.DeepEqual(then, out) {
			err = fmt.Errorf("what the answer depends on was changed meanwhile: %w", store.ErrConflict)
		}
		return err
	})
}

// said reads what is said to a request.
func said(w http.ResponseWriter, r *http.Request) (in wire.AnswerToRequest, lasts azurerbac.Duration, err error) {
	if err = serve.Decode(w, r, maxSmall, &in); err == nil && in.Lasts != "" {
		lasts, err = azurerbac.ParseDuration(in.Lasts)
	}
	return in, lasts, err
}

// refuseIdentity refuses a request, which who may approve the association can do.
func (d *Door) refuseIdentity(w http.ResponseWriter, r *http.Request, s *session) error {
	in, _, err := said(w, r)
	if err != nil {
		return err
	}
	return d.reply(w, r, s, cmp.Or(in.Why, "a request for an identity is refused"), func(s *session, q identityrequest.Request) (outcome, error) {
		if err := s.need(actionTrust, q.Identity, nil); err != nil {
			return outcome{}, err
		}
		if q.Holds() {
			return alone(q.RefuseRenewal(s.caller.ID, s.now, in.Why))
		}
		return alone(q.Refuse(s.caller.ID, s.now, in.Why))
	})
}

// renewIdentity asks that a request of the caller's own, which was approved, go on.
func (d *Door) renewIdentity(w http.ResponseWriter, r *http.Request, s *session) error {
	in, _, err := said(w, r)
	if err != nil {
		return err
	}
	return d.reply(w, r, s, cmp.Or(in.Why, "an identity is asked to go on"), func(s *session, q identityrequest.Request) (outcome, error) {
		next, err := q.AskRenewal(s.caller.ID, s.now, in.Why)
		if err != nil {
			return outcome{}, err
		}
		if err := s.stands(q); err != nil {
			return outcome{}, err
		}
		if !runsPods(s.est, s.caller.ID, q, s.now) {
			return outcome{}, s.refused(actionPods, q.Cluster.String()+"/namespaces/"+q.Namespace, "does not have authorization")
		}
		return alone(next, nil)
	})
}

// stands refuses a request of which something is gone: it would go on for what is in its place.
func (s *session) stands(q identityrequest.Request) error {
	if lacks := s.est.RequestLacks(q); len(lacks) > 0 {
		return fmt.Errorf("identity request %s is %s: %s: %w", q.ID, identityrequest.IsGone, strings.Join(lacks, "; "), identityrequest.ErrStatus)
	}
	return nil
}

// renewal works out what the approval of a renewal changes: the end of the request, by
// which its credentials count, and that of the role assignments which it made. It takes
// the right to write those and the credentials, as the approval took.
func (s *session) renewal(q identityrequest.Request, lasts azurerbac.Duration, why string) (outcome, error) {
	until := q.EndFrom(s.now)
	if lasts != 0 {
		until = s.now.UTC().Round(0).Add(time.Duration(lasts)).Truncate(time.Second)
	}
	out, err := alone(q.Renew(s.caller.ID, s.now, why, until))
	if err != nil {
		return outcome{}, err
	}
	if err := s.stands(q); err != nil {
		return outcome{}, err
	}
	if err := s.entitled(q); err != nil {
		return outcome{}, err
	}
	for _, f := range out.next.Credentials() { // as if they were made now
		if err := s.needAll(serve.ToPut(s.est, nil, f)); err != nil {
			return outcome{}, err
		}
	}
	for _, a := range assignedBy(s.est, q) {
		a.NotAfter = until
		ops, err := s.write(a)
		if err != nil {
			return outcome{}, err
		}
		out.ops = append(out.ops, ops...)
	}
	return out, nil
}

// withdrawIdentity takes back a request of the caller's own.
func (d *Door) withdrawIdentity(w http.ResponseWriter, r *http.Request, s *session) error {
	in, _, err := said(w, r)
	if err != nil {
		return err
	}
	return d.reply(w, r, s, cmp.Or(in.Why, "a request for an identity is withdrawn"), func(s *session, q identityrequest.Request) (outcome, error) {
		return alone(q.Withdraw(s.caller.ID, s.now, in.Why))
	})
}

func alone(next identityrequest.Request, err error) (outcome, error) {
	return outcome{next: next, ops: []estate.Op{{Put: next}}}, err
}

// approveIdentity approves a request and makes all that was asked for, or less. It
// takes the right to everything that is made.
func (d *Door) approveIdentity(w http.ResponseWriter, r *http.Request, s *session) error {
	in, lasts, err := said(w, r)
	if err != nil {
		return err
	}
	ids := identityrequest.Given{Object: principal.NewID(), Client: directory.NewAppID()}
	for range identityrequest.MaxRoles {
		ids.Assignments = append(ids.Assignments, azurerbac.NewAssignmentID())
	}
	return d.reply(w, r, s, cmp.Or(in.Why, "a request for an identity is approved"), func(s *session, q identityrequest.Request) (outcome, error) {
		return s.approval(q, ids, lasts, in.Why)
	})
}

// approval works out what an approval makes. ids are what is new is to be called.
func (s *session) approval(q identityrequest.Request, ids identityrequest.Given, lasts azurerbac.Duration, why string) (outcome, error) {
	if err := s.need(actionTrust, q.Identity, nil); err != nil {
		return outcome{}, err
	}
	if q.Holds() {
		return s.renewal(q, lasts, why)
	}
	if err := q.Answerable(s.caller.ID, s.now); err != nil {
		return outcome{}, err
	}
	g, err := s.given(q, ids, lasts)
	if err != nil {
		return outcome{}, err
	}
	next, err := q.Approve(s.caller.ID, s.now, why, g)
	if err != nil {
		return outcome{}, err
	}
	out := outcome{next: next, ops: []estate.Op{{Put: next}}}
	at := *s
	if m, makes := next.Makes(); makes {
		ops, err := s.write(m)
		if err != nil {
			return outcome{}, err
		}
		// What is new has nothing, so that nothing is allowed by its being there. What
		// else is made is about it.
		if at.est, err = s.est.Apply(s.est.Revision(), ops...); err != nil {
			return outcome{}, err
		}
		out.ops = append(out.ops, ops...)
	}
	var made []record.Record
	for _, a := range next.Assigns() {
		made = append(made, a)
	}
	for _, f := range next.Credentials() {
		made = append(made, f)
	}
	for _, rec := range made {
		ops, err := at.write(rec)
		if err != nil {
			return outcome{}, err
		}
		out.ops = append(out.ops, ops...)
	}
	return out, nil
}

// given is what an approval gives, as things are now. Who asked must still be
// somebody who may ask (JIT-05).
func (s *session) given(q identityrequest.Request, ids identityrequest.Given, lasts azurerbac.Duration) (identityrequest.Given, error) {
	c, err := issuerFor(s.est, q)
	if err != nil {
		return identityrequest.Given{}, err
	}
	m, err := identityFor(s.est, q)
	if err != nil {
		return identityrequest.Given{}, err
	}
	if err := s.entitled(q); err != nil {
		return identityrequest.Given{}, err
	}
	g := identityrequest.Given{Object: m.ID, Client: m.ClientID, ClusterUID: c.UID, Issuer: c.IssuerURL, NotAfter: q.EndFrom(s.now)}
	if q.IsNew() {
		g.Object, g.Client, g.Assignments = ids.Object, ids.Client, slices.Clone(ids.Assignments[:len(q.New.Roles)])
	}
	if lasts != 0 {
		g.NotAfter = s.now.UTC().Round(0).Add(time.Duration(lasts)).Truncate(time.Second)
	}
	return g, nil
}

// entitled refuses a request of somebody who could not ask for it now.
func (s *session) entitled(q identityrequest.Request) error {
	if runsPods(s.est, q.Requester, q, s.now) {
		return nil
	}
	return serve.Refuse(http.StatusConflict, "RequesterNotEntitled", fmt.Sprintf(
		"%s may no longer create pods in namespace %s of cluster %s, and so not ask for an identity there.", wire.PrincipalOf(s.est, q.Requester).Name, q.Namespace, q.Cluster.Name()))
}

// retireIdentity takes back what an approval made. The requester may do it, and who
// may answer requests for the identity.
func (d *Door) retireIdentity(w http.ResponseWriter, r *http.Request, s *session) error {
	in, _, err := said(w, r)
	if err != nil {
		return err
	}
	return d.reply(w, r, s, cmp.Or(in.Why, "an identity that was asked for is retired"), func(s *session, q identityrequest.Request) (outcome, error) {
		if q.Requester != s.caller.ID {
			if err := s.need(actionTrust, q.Identity, nil); err != nil {
				return outcome{}, err
			}
		}
		return s.retirement(q, in.Why)
	})
}

// retirement works out what goes: the credentials and role assignments that the
// request made, and the identity, if the request made it and nothing else uses it.
func (s *session) retirement(q identityrequest.Request, why string) (outcome, error) {
	out, err := alone(q.Retire(s.caller.ID, s.now, why))
	if err != nil {
		return outcome{}, err
	}
	going := make(map[record.Key]bool)
	for _, f := range s.est.CredentialsBy(q) {
		going[f.Key()] = true
		out.ops = append(out.ops, estate.Op{Delete: f.Key()})
	}
	for _, a := range assignedBy(s.est, q) {
		going[a.Key()] = true
		out.ops = append(out.ops, estate.Op{Delete: a.Key()})
	}
	m, makes := q.Makes()
	if now, there := s.est.ManagedIdentity(m.ID); !makes || !there || now.Resource != q.Identity {
		return out, nil
	}
	if out.kept = usersOf(s.est, m, going); len(out.kept) == 0 {
		out.ops = append(out.ops, estate.Op{Delete: m.Key()})
	}
	return out, nil
}

// usersOf counts what a managed identity is good for besides what is going.
func usersOf(est *estate.Snapshot, m directory.ManagedIdentity, going map[record.Key]bool) []wire.Kept {
	count := make(map[record.Kind]int)
	seen := make(map[record.Key]bool)
	use := func(key record.Key) {
		if !going[key] && !seen[key] {
			seen[key] = true
			count[key.Kind]++
		}
	}
	for _, key := range est.Dependents(m.Key()) {
		use(key)
	}
	for _, a := range est.AssignmentsOf(m.ID) {
		use(a.Key())
	}
	for c := range est.Clusters() {
		bound := func(b resource.IdentityBinding) bool { return b.Identity.Object == m.ID }
		if c.UsesIdentity(m.ID) || slices.ContainsFunc(c.IdentityBindings, bound) {
			use(c.Key())
		}
	}
	for o := range est.Resources() {
		if o.NamesIdentity(m.Resource) {
			use(o.Key())
		}
	}
	var kept []wire.Kept
	for _, kind := range slices.Sorted(maps.Keys(count)) {
		kept = append(kept, wire.Kept{Kind: kind, Count: count[kind]})
	}
	return kept
}
