// Package arm is the door that speaks the API of Azure Resource Manager: tenants,
// subscriptions, resource groups, and the provider Microsoft.Authorization.
//
// A request is parsed once, into a route, and what is decided and what is done is
// both taken from that. A change is worked out from a snapshot by a pure function,
// which the store asks again when another change came first.
package arm

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/guid"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/rehearsal"
	"github.com/gatehouse-io/gatehouse/internal/serve"
	"github.com/gatehouse-io/gatehouse/internal/serve/rehearse"
	"github.com/gatehouse-io/gatehouse/internal/store"
	"github.com/gatehouse-io/gatehouse/internal/token"
)

// audiences are the values of aud that Azure Resource Manager accepts.
var audiences = []string{
	"https://management.azure.com/", "https://management.azure.com",
	"https://management.core.windows.net/", "https://management.core.windows.net",
}

// audiencesOf are those for a kind of thing: the question who may do what has a
// service of its own in its second version, whose tokens are good for it alone.
func audiencesOf(k kind) []string {
	if k == checkAccess {
		return append(slices.Clip(audiences), "https://authorization.azure.net/", "https://authorization.azure.net")
	}
	return audiences
}

const (
	maxBody  = 4 << 20 // bytes
	maxTries = 16      // of one change, when others are faster
)

// state is what this door needs from the store.
type state interface {
	Current() *estate.Snapshot
	Fresh(now time.Time) error
	Rev(record.Key) int64
	Private(ctx context.Context, bucket string, id ...string) (store.PrivateItem, error)
	Commit(ctx context.Context, c store.Change) (int64, error)
	AuditUntil(ctx context.Context, until time.Time) (int64, error)
	AuditBack(ctx context.Context, from int64) iter.Seq2[store.AuditRecord, error]
}

// Config is what the door needs. State, Keys, Issuers and Base are required.
type Config struct {
	State state
	Keys  func() token.KeySet
	// Issuers returns the values of iss that a tenant's tokens for this API may carry.
	Issuers func(directory.TenantID) []string
	// Base is the URL under which clients reach this door, without a path, such as
	// https://management.azure.com. Next links begin with it.
	Base string
	// Authority is where callers sign in, for the challenge of a 401; "" names none.
	Authority string
	// Effective returns the estate by which it is decided who may do what, when its
	// argument is the current one. Nil means that it is that one.
	Effective func(*estate.Snapshot) *estate.Snapshot
	// Meter counts who asks too often; nil counts and refuses nobody.
	Meter *rehearse.Meter
	// Live says whether the sign-in that a verified token came from still stands.
	// Nil means that every one does.
	Live func(context.Context, token.Claims) (bool, error)
	// CheckIssuer refuses issuers whose tokens the house would not look at, for
	// federated credentials. Nil means that every one will do.
	CheckIssuer func(issuer string) error
	// Clusters gives what only a house that runs clusters has; nil means that this
	// one runs none.
	Clusters Clusters
	Events   func(serve.Event) // takes what was refused; nil takes nothing
	Log      *slog.Logger      // nil means no log
	Now      func() time.Time  // nil means time.Now
}

// A Door serves the API. It is safe for concurrent use.
type Door struct{ conf Config }

// New checks a configuration and returns the door.
func New(conf Config) (*Door, error) {
	if conf.State == nil || conf.Keys == nil || conf.Issuers == nil {
		return nil, errors.New("arm: state, keys and issuers are required")
	}
	base, err := url.Parse(conf.Base)
	if err != nil || base.Scheme != "https" || base.Host == "" || strings.Trim(base.Path, "/") != "" {
		return nil, errors.New("arm: the base is a URL like https://management.azure.com")
	}
	conf.Base = "https://" + base.Host
	if conf.Now == nil {
		conf.Now = time.Now
	}
	if conf.Meter == nil {
		conf.Meter = rehearse.NewMeter(func() rehearsal.Throttle { return rehearsal.Throttle{} }, time.Now)
	}
	if conf.CheckIssuer == nil {
		conf.CheckIssuer = func(string) error { return nil }
	}
	if conf.Effective == nil {
		conf.Effective = func(est *estate.Snapshot) *estate.Snapshot { return est }
	}
	return &Door{conf}, nil
}

// Handler serves every path. It refuses odd paths itself, so nothing in front of it
// should clean them, as a ServeMux does.
func (d *Door) Handler() http.Handler {
	h := serve.Handle(d.serve, serve.Options{
		Log: d.conf.Log, Fail: d.fail, Now: d.conf.Now, Correlation: correlation,
		Refusals: serve.Refusals{Door: "arm", Add: d.conf.Events, Say: says},
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(&marked{w, r, d.conf.Now()}, r)
	})
}

// correlation is the header with the id that clients show people.
const correlation = "X-Ms-Correlation-Request-Id"

// marked adds the headers by which people find a request again.
type marked struct {
	http.ResponseWriter
	r   *http.Request
	now time.Time
}

func (m *marked) WriteHeader(status int) {
	head := m.Header()
	head.Set("X-Ms-Request-Id", head.Get("X-Request-Id"))
	id, err := guid.Parse[marked](m.r.Header.Get(correlation))
	if err != nil {
		id = guid.New[marked]()
	}
	head.Set(correlation, id.String())
	head.Set("X-Ms-Routing-Request-Id", "LOCAL:"+m.now.UTC().Format("20060102T150405Z")+":"+id.String())
	m.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach the connection.
func (m *marked) Unwrap() http.ResponseWriter { return m.ResponseWriter }

// serve answers one request.
func (d *Door) serve(w http.ResponseWriter, r *http.Request) error {
	at, odd := parseRoute(r.URL.EscapedPath())
	s, err := d.session(r, at.kind)
	if err != nil {
		return err // whoever is nobody learns nothing about paths
	}
	return serve.To(s.caller, d.answer(w, r, s, at, odd))
}

// answer answers the request of somebody, to a route or what is odd about its path.
func (d *Door) answer(w http.ResponseWriter, r *http.Request, s *session, at route, odd error) error {
	if odd != nil {
		return odd
	}
	if err := d.count(w, r, s, at); err != nil {
		return err
	}
	query, err := parseQuery(r.URL.RawQuery)
	if err != nil {
		return err
	}
	do, err := handlerOf(at.kind, r.Method)
	if err != nil {
		w.Header().Set("Allow", strings.Join(methodsOf(at.kind), ", "))
		return err
	}
	at.path = r.URL.Path
	req := &request{route: at, method: r.Method, query: query, header: r.Header}
	if r.ContentLength != 0 && (r.Method == http.MethodPut || r.Method == http.MethodPost || r.Method == http.MethodPatch) {
		err = serve.Body(w, r, maxBody, func(body []byte) error {
			// A body may take its time, and its sender may be disabled meanwhile.
			if s, err = d.session(r, at.kind); err != nil {
				return err
			}
			req.body = append([]byte(nil), body...)
			return nil
		})
		if err != nil {
			return err
		}
	}
	out, err := d.run(r.Context(), s, req, do)
	if err != nil {
		return err
	}
	if out.etag != "" {
		w.Header().Set("ETag", out.etag)
	}
	for name, values := range out.header {
		w.Header()[name] = values
	}
	if r.Method == http.MethodHead && out.status == http.StatusOK {
		out.status, out.body = http.StatusNoContent, nil
	}
	if out.body == nil {
		w.WriteHeader(out.status)
		return nil
	}
	return serve.JSON(w, out.status, out.body)
}

// A handler works out an answer, and what must be changed for it, from a session.
// It has no other effect, so that it can be asked again.
type handler func(s *session, r *request) (answer, error)

// An answer is what a request comes to: ops are made before it is given.
type answer struct {
	status int
	body   any // nil means none
	ops    []estate.Op
	of     record.Key // the record that the answer shows, whose entity tag it has; may be zero
	etag   string     // worked out from of
	why    string     // for the audit trail; "" says only through which door it came

	private []store.PrivateOp // made together with ops
	header  http.Header       // beside what every answer has
	// then works out the rest of an answer whose first half decided that it may be
	// given: it asks for what is not in the estate. Nil means that all is said.
	then func(context.Context, *Door) (answer, error)
}

// ok answers a thing that is kept as a record.
func ok(r record.Record, body any) answer {
	return answer{status: http.StatusOK, body: body, of: r.Key()}
}

// wrote answers a record that is put in the place of another one, or of none.
func wrote(existed, changed bool, next record.Record, body any) answer {
	out := answer{status: http.StatusCreated, body: body, of: next.Key()}
	if existed {
		out.status = http.StatusOK
	}
	if changed {
		out.ops = []estate.Op{{Put: next}}
	}
	return out
}

// run asks a handler and makes its change. The change is asked anew on the snapshot
// that it is made on: another one may come first, and be the one that takes the
// caller's right, or puts something into a group that is to be deleted.
func (d *Door) run(ctx context.Context, s *session, r *request, do handler) (answer, error) {
	for try := 1; ; try++ {
		out, err := s.ask(r, do)
		if err == nil && len(out.ops)+len(out.private) > 0 {
			err = d.commit(ctx, s, r, do, &out)
		}
		if err == nil && out.then != nil {
			return out.then(ctx, d)
		}
		if err == nil || try == maxTries || !errors.Is(err, store.ErrConflict) {
			return out, err
		}
		if s, err = d.again(s); err != nil {
			return answer{}, err
		}
	}
}

// ask asks a handler, and whether what it would do may be done as things are.
func (s *session) ask(r *request, do handler) (answer, error) {
	asked := *s
	asked.asked = r.text
	out, err := do(&asked, r)
	if err != nil {
		return answer{}, err
	}
	return out, s.tag(r, &out)
}

func (d *Door) commit(ctx context.Context, s *session, r *request, do handler, out *answer) error {
	was := *s
	rev, err := d.conf.State.Commit(ctx, store.Change{
		By: s.caller.ID, Why: cmp.Or(out.why, "Azure Resource Manager API"), Ops: out.ops, Private: out.private, Base: s.est,
		Check: func(now *estate.Snapshot) error {
			if now.Revision() == was.est.Revision() {
				return nil
			}
			again := was
			again.est, again.law = now, d.conf.Effective(now)
			next, err := again.ask(r, do)
			if err == nil && !sameOps(next.ops, out.ops) {
				return store.ErrConflict
			}
			return err
		},
	})
	for _, op := range out.ops {
		if op.Key() == out.of {
			out.etag = ""
			if op.Put != nil {
				out.etag = etag(rev)
			}
		}
	}
	return err
}

// says is what is answered to an error, but for the words of a 401.
func says(err error) string {
	_, code, message := serve.Status(explain(err))
	return code + ": " + message
}

func (d *Door) fail(w http.ResponseWriter, r *http.Request, err error) {
	err = explain(err)
	status, code, _ := serve.Status(err)
	if status == http.StatusUnauthorized {
		if code != "InvalidAuthenticationToken" {
			err = serve.Refuse(status, "InvalidAuthenticationToken", "The access token is missing or invalid.")
		}
		challenge := "Bearer "
		if d.conf.Authority != "" {
			challenge += `authorization_uri="` + d.conf.Authority + `", `
		}
		wanted := serve.Claims(r, d.conf.Now())
		if wanted == "" {
			wanted = `error="invalid_token", error_description="The access token is missing or invalid."`
		}
		w.Header().Set("WWW-Authenticate", challenge+wanted)
	}
	serve.Problem(w, err)
}

// explain gives the errors of the estate and of the store their status and code.
func explain(err error) error {
	if _, ok := errors.AsType[*serve.Error](err); ok {
		return err
	}
	for _, e := range [...]struct {
		is      error
		status  int
		code    string
		message string
	}{
		{store.ErrUnavailable, http.StatusServiceUnavailable, "ServiceUnavailable", "The store is not available. Try again."},
		{store.ErrStale, http.StatusServiceUnavailable, "ServiceUnavailable", "The directory may be out of date. Try again."},
		{store.ErrNoSpace, http.StatusInsufficientStorage, "InsufficientStorage", "The store is full. Nothing was changed."},
		{store.ErrTooLarge, http.StatusRequestEntityTooLarge, "RequestTooLarge", "The change is too large to be made at once. Nothing was changed."},
		{store.ErrConflict, http.StatusConflict, "Conflict", "Others changed the same at the same time. Nothing was changed: try again."},
		{estate.ErrExists, http.StatusConflict, "Conflict", ""},
		{estate.ErrInUse, http.StatusConflict, "Conflict", ""},
		{estate.ErrNotFound, http.StatusNotFound, "ResourceNotFound", ""},
		{estate.ErrImmutable, http.StatusBadRequest, "BadRequest", ""},
		{estate.ErrUnknown, http.StatusBadRequest, "BadRequest", ""},
	} {
		if errors.Is(err, e.is) {
			message := e.message
			if message == "" {
				message = err.Error()
			}
			return &serve.Error{Status: e.status, Code: e.code, Message: message, Err: err}
		}
	}
	return err
}
