package graph

import (
	"context"
	"net/http"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve"
	"github.com/gatehouse-io/gatehouse/internal/store"
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
	body   []byte
}

func (d *Door) session(r *http.Request) (*session, error) {
	if err := serve.Bearing(r); err != nil {
		return nil, err
	}
	est := d.conf.State.Current()
	if est == nil {
		return nil, serve.Refuse(http.StatusServiceUnavailable, "serviceNotAvailable", "The directory is not loaded yet.")
	}
	now := d.conf.Now()
	if err := d.conf.State.Fresh(now); err != nil {
		return nil, err
	}
	caller, tenant, err := d.tokens.Bearer(r, est, now)
	if err != nil {
		return nil, err
	}
	return &session{est: est, law: d.conf.Effective(est), now: now, tenant: tenant, caller: caller}, nil
}

// need refuses a caller who may not do something in all of his directory.
func (s *session) need(actions ...string) error {
	return s.needAt(directory.Place(s.tenant), actions...)
}

// needOf refuses a caller who may not do something with an object. One that is not
// there is as one over which he has no more rights than over all.
func (s *session) needOf(o object, actions ...string) error {
	return s.needAt(s.place(o), actions...)
}

// place is where an object is. Roles and who has them are the directory's own.
func (s *session) place(o object) scope.Scope {
	switch o.v.(type) {
	case *azurerbac.Role, directory.RoleAssignment:
		return directory.Place(s.tenant)
	}
	if o.id.IsZero() {
		return directory.Place(s.tenant)
	}
	return directory.PlaceOf(s.tenant, o.id)
}

func (s *session) needAt(at scope.Scope, actions ...string) error {
	for _, a := range actions {
		if err := s.needAll([]serve.Operation{{Action: a, At: at}}); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) needAll(ops []serve.Operation) error {
	for _, o := range ops {
		if !o.Allowed(s.law, s.caller.ID, s.now) {
			return denied()
		}
	}
	return nil
}

// needRead refuses a caller who may not read an object as one of some kinds.
func (s *session) needRead(o object, kinds ...*kind) error {
	for _, k := range kinds {
		if err := s.needOf(o, k.action+"/read"); err != nil {
			return err
		}
	}
	return nil
}

// mayRead reports whether the caller may read an object.
func (s *session) mayRead(o object) bool { return s.needRead(o, o.kind) == nil }

// A plan says what a change comes to, if the caller of a session may make it.
type plan func(*session) ([]estate.Op, error)

// commit makes the change of a plan. Another change may come first, and be the
// one that takes the caller's right or what the plan was made for, so the plan is
// made anew on the estate that the change is made on.
func (d *Door) commit(ctx context.Context, s *session, why string, p plan, private ...store.PrivateOp) error {
	ops, err := p(s)
	if err != nil {
		return err
	}
	_, err = d.conf.State.Commit(ctx, store.Change{
		By: s.caller.ID, Why: why, Ops: ops, Private: private, Base: s.est,
		Check: func(now *estate.Snapshot) error {
			if now.Revision() == s.est.Revision() {
				return nil
			}
			again := *s
			again.est = now
			again.law = d.conf.Effective(now)
			_, err := p(&again)
			return err
		},
	})
	return err
}
