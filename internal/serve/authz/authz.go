// Package authz answers the SubjectAccessReviews of Kubernetes API servers
// (authorization.k8s.io/v1): may this user do that?
//
// It speaks for Azure RBAC. What a role assignment grants is allowed; what none
// grants is "no opinion", so that the cluster's own RBAC, which is asked next, can
// still grant it. It denies, which ends the chain, in the name of those facts
// that no other authorizer knows: the account is gone or disabled, a group was
// left, a certificate was revoked, a deny assignment forbids it, or this house
// cannot tell because its own knowledge is too old.
//
// Principals are known by the object id in spec.extra alone, and their groups are
// resolved at the instant of the question.
package authz

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve"
)

// Path is the last segment of this door's paths; see serve.ClusterPrefix.
const Path = "subjectaccessreview"

// LocalAdmins is the group of the certificates by which somebody administers a
// cluster without signing in.
const LocalAdmins = "gatehouse:local-admins"

// LocalMonitors is the group of certificates that read a cluster's metrics.
const LocalMonitors = "gatehouse:local-monitors"

// maxBody bounds a review in bytes. An API server refuses requests with more than
// 1 MB of headers, so no honest review comes near it.
const maxBody = 3 << 20

// estates is what this door needs from the store.
type estates interface {
	Current() *estate.Snapshot
	Fresh(now time.Time) error // an error when the snapshot is too old to trust
}

// Config is what the door needs. Estates is required.
type Config struct {
	Estates estates
	// Effective returns the estate that says who has what, when its argument is the
	// current one. Nil means that it is that one. Who is disabled, and what was
	// revoked, is always asked of the current one.
	Effective func(*estate.Snapshot) *estate.Snapshot
	Log       *slog.Logger                       // nil means no log
	Events    func(context.Context, serve.Event) // nil means that nobody listens; it must not block
	Now       func() time.Time                   // nil means time.Now
}

// A Door answers SubjectAccessReviews. It is safe for concurrent use.
type Door struct {
	conf Config
}

// New checks a configuration and returns the door.
func New(conf Config) (*Door, error) {
	if conf.Estates == nil {
		return nil, errors.New("authz: estates are required")
	}
	if conf.Now == nil {
		conf.Now = time.Now
	}
	if conf.Effective == nil {
		conf.Effective = func(est *estate.Snapshot) *estate.Snapshot { return est }
	}
	return &Door{conf}, nil
}

// Handler serves the paths {serve.ClusterPrefix}{cluster}/subjectaccessreview.
func (d *Door) Handler() http.Handler {
	return serve.Handle(serve.ForClusters(Path, d.review), serve.Options{Log: d.conf.Log, Fail: fail, Quiet: true, Now: d.conf.Now})
}

// fail answers what went wrong. The API server's own mistakes get their status;
// ours are a denial, because it would retry a 500 for seconds (catalogue 0.2).
func fail(w http.ResponseWriter, _ *http.Request, err error) {
	if status, _, _ := serve.Status(err); status < http.StatusInternalServerError {
		serve.Problem(w, err)
		return
	}
	serve.WriteJSON(w, http.StatusOK, appendReply(nil, broken("internal error")))
}

func (d *Door) review(w http.ResponseWriter, r *http.Request, at scope.Scope) error {
	var q question
	if err := serve.Body(w, r, maxBody, func(body []byte) (err error) {
		q, err = readReview(body)
		return err
	}); err != nil {
		return err
	}
	start := d.conf.Now()
	est := d.conf.Estates.Current()
	law := d.conf.Effective(est)
	v := answer(est, law, at, &q, start)
	end := d.conf.Now()
	if v.knows {
		// Asked behind the answer: this process may have slept on the way to it.
		if err := d.conf.Estates.Fresh(end); err != nil {
			v = broken(err.Error())
		}
	}
	if d.conf.Events != nil {
		e := serve.Event{
			At: start, Door: "authz", Cluster: at, ID: v.id, User: q.user, Attributes: q.attributes,
			Effect: v.effect.String(), Reason: v.reason, By: v.by, Groups: v.groups, Took: end.Sub(start),
		}
		if v.failure != "" {
			e.Reason = v.failure
		}
		if law != nil {
			e.Revision = law.Revision()
		}
		if ids := r.Header["Audit-Id"]; len(ids) > 0 {
			e.AuditID = serve.Printable(ids[0], 64)
		}
		d.conf.Events(r.Context(), e)
	}
	var room [512]byte
	serve.WriteJSON(w, http.StatusOK, appendReply(room[:0], v))
	return nil
}
