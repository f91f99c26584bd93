// Package api is the house's own management door: JSON over HTTPS, with a bearer
// token for the house itself.
//
// The house obeys its own rules. A token proves an object id and nothing else;
// whether its bearer may do what he asks for is put to package decide, as an
// Azure operation at a place, for every record that he reads or changes.
package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/cluster"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/identityrequest"
	"github.com/gatehouse-io/gatehouse/internal/issue"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/wire"
	"github.com/gatehouse-io/gatehouse/internal/serve/rehearse"
	"github.com/gatehouse-io/gatehouse/internal/store"
	"github.com/gatehouse-io/gatehouse/internal/token"
)

// App is the application id of the house as a resource, and Audience its
// identifier URI: a token for this door is for one of them.
const (
	App      = "9a7e5e00-0000-4000-8000-67617465686f"
	Audience = "api://gatehouse"
)

// Prefix is where this door is.
const Prefix = "/gatehouse/v1/"

// state is what this door needs from the store.
type state interface {
	Current() *estate.Snapshot
	Fresh(now time.Time) error
	AtLeast(ctx context.Context, rev int64) (*estate.Snapshot, error)
	Commit(ctx context.Context, c store.Change) (int64, error)
	Rev(key record.Key) int64
	Audit(ctx context.Context, from int64) iter.Seq2[store.AuditRecord, error]
	VerifyAudit(ctx context.Context) (int64, error)
	PrivateList(ctx context.Context, bucket string, idPrefix ...string) ([]store.PrivateItem, error)
	Uses(ctx context.Context) (since time.Time, latest map[principal.ID]time.Time, err error)
}

// Config is what the door needs. State, Keys and Issuers are required; what else
// is nil is answered with 501.
type Config struct {
	State state
	Keys  func() token.KeySet
	// Issuers returns the values of iss that a tenant's tokens may carry.
	Issuers func(directory.TenantID) []string
	// Live says whether the sign-in that a verified token came from still stands.
	// Nil means that every one does.
	Live func(context.Context, token.Claims) (bool, error)
	// ChangePassword sets a user's password and ends his sessions.
	ChangePassword func(ctx context.Context, by, user principal.ID, password string) error
	// CheckIssuer refuses an issuer that a federated credential must not name; nil
	// refuses none.
	CheckIssuer func(issuer string) error
	// Sessions let people run programs as managed identities.
	Sessions Sessions
	// Ring holds the signing keys.
	Ring Ring
	// AdminKubeconfig issues a local administrator's certificate of a cluster to a
	// caller who has been authorised.
	AdminKubeconfig func(ctx context.Context, cluster scope.Scope, who principal.ID) ([]byte, error)
	// AttachCluster issues what an attached cluster needs to ask the house, to a
	// caller who has been authorised.
	AttachCluster func(ctx context.Context, cluster scope.Scope, who principal.ID) (Attachment, error)
	// ClusterState says how a cluster is that the house runs: running, starting,
	// failed or "not run here".
	ClusterState func(cluster scope.Scope) string
	// Examine lets the doctor look at a control plane that the house runs.
	Examine func(ctx context.Context, cluster scope.Scope) ([]cluster.Finding, error)
	// Effective returns the estate by which the doors decide, when its argument is the
	// current one. Nil means that it is that one. Questions are answered from it. This
	// door itself decides by the current one, so that a rehearsal can be ended.
	Effective func(*estate.Snapshot) *estate.Snapshot
	// Stage is the rehearsal; KnobsTurned is called after its knobs were turned here.
	Stage       rehearse.Stage
	KnobsTurned func(context.Context)
	// Trace holds the latest events of all doors; nil means none.
	Trace *serve.Trace
	Log   *slog.Logger     // nil means no log
	Now   func() time.Time // nil means time.Now
}

// Sessions are identity sessions, to callers who have been authorised.
type Sessions interface {
	StartIdentitySession(ctx context.Context, by principal.ID, identities []principal.ID, life time.Duration) (issue.Secret, issue.IdentitySession, error)
	EndIdentitySession(ctx context.Context, by principal.ID, secret issue.Secret) error
}

// A Door serves the management API. It is safe for concurrent use.
type Door struct {
	conf Config
}

// New checks a configuration and returns the door.
func New(conf Config) (*Door, error) {
	if conf.State == nil || conf.Keys == nil || conf.Issuers == nil {
		return nil, errors.New("api: state, keys and issuers are required")
	}
	if conf.Now == nil {
		conf.Now = time.Now
	}
	if conf.Effective == nil {
		conf.Effective = func(est *estate.Snapshot) *estate.Snapshot { return est }
	}
	if conf.KnobsTurned == nil {
		conf.KnobsTurned = func(context.Context) {}
	}
	return &Door{conf}, nil
}

// Handler serves the paths below Prefix.
func (d *Door) Handler() http.Handler {
	mux := http.NewServeMux()
	for pattern, h := range map[string]handler{
		"GET " + wire.PathWhoAmI:              d.whoAmI,
		"GET " + wire.PathEstate:              d.estate,
		"POST " + wire.PathChanges:            d.changes,
		"POST " + wire.PathCanI:               canI,
		"POST " + wire.PathWhy:                why,
		"POST " + wire.PathWhoCan:             whoCan,
		"POST " + wire.PathWhatCan:            whatCan,
		"GET " + wire.PathTrace:               d.trace,
		"GET " + wire.PathIdentityUses:        d.identityUses,
		"POST " + wire.PathPassword:           d.password,
		"POST " + wire.PathSecrets:            d.newSecret,
		"GET " + wire.PathAllSecrets:          d.secrets,
		"POST " + wire.PathIdentitySessions:   d.newIdentitySession,
		"POST " + wire.PathEndIdentitySession: d.endIdentitySession,
		"GET " + wire.PathKeys:                d.listKeys,
		"POST " + wire.PathRotate:             d.rotate,
		"POST " + wire.PathStopKey:            d.stopKey,
		"POST " + wire.PathIssuing:            d.issuing,
		"GET " + wire.PathAudit:               d.audit,
		"GET " + wire.PathVerify:              d.verifyAudit,
		"GET " + wire.PathClusters:            d.clusters,
		"POST " + wire.PathAdmin:              d.adminKubeconfig,
		"POST " + wire.PathAttach:             d.attach,
		"POST " + wire.PathExamine:            d.examine,
		"GET " + wire.PathRehearsal:           d.rehearsal,
		"POST " + wire.PathAccess:             userAccess,
		"POST " + wire.PathIdentityRequests:   d.askIdentity,
		"GET " + wire.PathIdentityRequests:    listIdentityRequests,
		"GET " + wire.PathIdentityRequest:     showIdentityRequest,
		"POST " + wire.PathApproveRequest:     d.approveIdentity,
		"POST " + wire.PathRefuseRequest:      d.refuseIdentity,
		"POST " + wire.PathWithdrawRequest:    d.withdrawIdentity,
		"POST " + wire.PathRenewRequest:       d.renewIdentity,
		"POST " + wire.PathRetireRequest:      d.retireIdentity,
	} {
		mux.Handle(pattern, d.handle(h))
	}
	mux.Handle("/", serve.Handle(func(http.ResponseWriter, *http.Request) error {
		return serve.Refuse(http.StatusNotFound, "NotFound", "There is nothing here.")
	}, d.options()))
	return mux
}

// A handler answers a request of a known caller.
type handler func(w http.ResponseWriter, r *http.Request, s *session) error

func (d *Door) handle(h handler) http.Handler {
	return serve.Handle(func(w http.ResponseWriter, r *http.Request) error {
		s, err := d.session(r)
		if err != nil {
			return err
		}
		if r.ContentLength == 0 { // over HTTP/2 no body is not http.NoBody
			return serve.To(s.caller, h(w, r, s))
		}
		limit := int64(maxSmall)
		if r.URL.Path == wire.PathChanges {
			limit = maxChanges
		}
		return serve.To(s.caller, serve.Body(w, r, limit, func(body []byte) error {
			// A body may take its time, and its sender may be disabled meanwhile. What
			// he may do is asked of the directory as it is when all has arrived.
			s, err := d.session(r)
			if err != nil {
				return err
			}
			r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
			return h(w, r, s)
		}))
	}, d.options())
}

func (d *Door) options() serve.Options {
	return serve.Options{Log: d.conf.Log, Fail: fail, Now: d.conf.Now, Refusals: serve.Refusals{Door: "api", Add: d.conf.Trace.Add, Say: func(err error) string {
		_, code, message := serve.Status(explain(err))
		return code + ": " + message
	}}}
}

func fail(w http.ResponseWriter, _ *http.Request, err error) {
	err = explain(err)
	if status, _, _ := serve.Status(err); status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="gatehouse"`)
	}
	serve.Problem(w, err)
}

// explain gives the errors of the estate and of the store their status and code.
func explain(err error) error {
	var known *serve.Error
	if errors.As(err, &known) {
		return err
	}
	for _, e := range [...]struct {
		is     error
		status int
		code   string
		hint   string
	}{
		{store.ErrUnavailable, http.StatusServiceUnavailable, "ServiceUnavailable", ""},
		{store.ErrStale, http.StatusServiceUnavailable, "ServiceUnavailable", ""},
		{store.ErrNoSpace, http.StatusInsufficientStorage, "InsufficientStorage", "; nothing was changed, questions are still answered: free space on the disk of the data directory"},
		{store.ErrTooLarge, http.StatusRequestEntityTooLarge, "RequestTooLarge", "; it is never split, because half of it could be lost: make it in parts yourself, what others refer to first"},
		{store.ErrConflict, http.StatusConflict, "Conflict", "; look again and repeat it"},
		{estate.ErrExists, http.StatusConflict, "AlreadyExists", ""},
		{estate.ErrInUse, http.StatusConflict, "InUse", ""},
		{estate.ErrNotFound, http.StatusNotFound, "NotFound", ""},
		{store.ErrNotFound, http.StatusNotFound, "NotFound", ""},
		{estate.ErrImmutable, http.StatusBadRequest, "UpdateNotPermitted", ""},
		{estate.ErrLastAdmin, http.StatusConflict, "LastGlobalAdministrator", "; give somebody else the role first"},
		{estate.ErrUnknown, http.StatusBadRequest, "UnknownReference", ""},
		{store.ErrNoRehearsal, http.StatusForbidden, "RehearsalNotAllowed", ": start it with --rehearsal to turn knobs on; never where others rely on it"},
		{identityrequest.ErrStatus, http.StatusConflict, "IdentityRequestStatus", ""},
		{identityrequest.ErrOwn, http.StatusForbidden, "OwnIdentityRequest", ""},
		{identityrequest.ErrWider, http.StatusBadRequest, "WiderThanAsked", "; approve it as it is, for less, or let it be asked again"},
		{store.ErrTampered, http.StatusInternalServerError, "AuditTampered", ""},
	} {
		if errors.Is(err, e.is) {
			return &serve.Error{Status: e.status, Code: e.code, Message: err.Error() + e.hint, Err: err}
		}
	}
	return err
}

// A session is one request of somebody whom the house knows.
type session struct {
	est    *estate.Snapshot
	law    *estate.Snapshot // by which the doors decide; see Config.Effective
	now    time.Time
	tenant directory.TenantID
	caller serve.Caller
}

// waitAtLeast bounds how long a request waits for the revision it asks for.
const waitAtLeast = 10 * time.Second

func (d *Door) session(r *http.Request) (*session, error) {
	if err := serve.Bearing(r); err != nil {
		return nil, err
	}
	est, err := d.snapshot(r)
	if err != nil {
		return nil, err
	}
	now := d.conf.Now()
	if err := d.conf.State.Fresh(now); err != nil {
		return nil, err
	}
	tokens := serve.Tokens{Keys: d.conf.Keys, Issuers: d.conf.Issuers, Live: d.conf.Live, Audiences: []string{Audience, App}}
	caller, tenant, err := tokens.Bearer(r, est, now)
	if err != nil {
		return nil, err
	}
	return &session{est: est, law: d.conf.Effective(est), now: now, tenant: tenant, caller: caller}, nil
}

// snapshot returns the estate to answer from: at least of the revision that the
// caller names in ?atLeast, or the newest there is.
func (d *Door) snapshot(r *http.Request) (*estate.Snapshot, error) {
	text := r.URL.Query().Get("atLeast")
	if text == "" {
		if est := d.conf.State.Current(); est != nil {
			return est, nil
		}
		return nil, serve.Refuse(http.StatusServiceUnavailable, "ServiceUnavailable", "The directory is not loaded yet.")
	}
	rev, err := strconv.ParseInt(text, 10, 64)
	if err != nil || rev < 0 {
		return nil, record.Invalid("atLeast=%.40q is not a revision", text)
	}
	ctx, cancel := context.WithTimeout(r.Context(), waitAtLeast)
	defer cancel()
	return d.conf.State.AtLeast(ctx, rev)
}

// may reports whether the caller may do something.
func (s *session) may(action string, at scope.Scope, attr serve.Attributes) bool {
	return serve.Operation{Action: action, At: at, Attributes: attr}.Allowed(s.est, s.caller.ID, s.now)
}

// need returns the error of who may not, in the words of Azure Resource Manager.
func (s *session) need(action string, at scope.Scope, attr serve.Attributes) error {
	if s.may(action, at, attr) {
		return nil
	}
	which := "does not have authorization"
	if attr != nil {
		which = "does not have authorization or an ABAC condition not fulfilled"
	}
	return s.refused(action, at.String(), which)
}

func (s *session) refused(action, at, which string) error {
	return serve.Refuse(http.StatusForbidden, "AuthorizationFailed", fmt.Sprintf(
		"The client '%s' with object id '%s' %s to perform action '%s' over scope '%s' or the scope is invalid. If access was recently granted, please refresh your credentials.",
		s.caller.Name, s.caller.ID, which, action, at))
}

// needAll returns the error of the first operation that the caller may not.
func (s *session) needAll(ops []serve.Operation) error {
	for _, o := range ops {
		if err := s.need(o.Action, o.At, o.Attributes); err != nil {
			return err
		}
	}
	return nil
}

func (d *Door) whoAmI(w http.ResponseWriter, _ *http.Request, s *session) error {
	who := wire.WhoAmI{
		ID: s.caller.ID.String(), Kind: string(s.caller.Kind), Name: s.caller.Name, Tenant: s.tenant.String(),
		Groups: make([]string, len(s.caller.Groups)), Revision: s.est.Revision(), Rehearsal: d.conf.Stage.Summary(),
	}
	if p, ok := s.est.Principal(s.caller.ID); ok {
		who.Name = p.Name // Kubernetes calls a program by its id, people do not
	}
	for i, g := range s.caller.Groups {
		who.Groups[i] = g.String()
	}
	return serve.JSON(w, http.StatusOK, who)
}
