package graph

import (
	"context"
	"net/http"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve"
	"github.com/gatehouse-io/gatehouse/internal/store"
)

// Operations on credentials, which are not records. They are those of the house's
// own door.
const (
	actionPassword = "Microsoft.Directory/users/password/write"
	actionSecret   = "Microsoft.Directory/applications/credentials/write"
)

// A session is one request of somebody whom the house knows.
type session struct {
	est    *estate.Snapshot
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
	return &session{est: est, now: now, tenant: tenant, caller: caller}, nil
}

// need refuses a caller who may not do something in the directory.
func (s *session) need(actions ...string) error {
	for _, a := range actions {
		if err := s.needAll([]serve.Operation{{Action: a, At: scope.Root}}); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) needAll(ops []serve.Operation) error {
	for _, o := range ops {
		if !o.Allowed(s.est, s.caller.ID, s.now) {
			return denied()
		}
	}
	return nil
}

// needRead refuses a caller who may not read an object of some kinds; himself he may.
func (s *session) needRead(id principal.ID, kinds ...*kind) error {
	if id == s.caller.ID {
		return nil
	}
	for _, k := range kinds {
		if err := s.need(k.action + "/read"); err != nil {
			return err
		}
	}
	return nil
}

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
			_, err := p(&again)
			return err
		},
	})
	return err
}
