// Package authn answers the TokenReviews of Kubernetes API servers
// (authentication.k8s.io/v1): whose token is this?
//
// A token is only proof of an object id. Whether that principal exists, is
// enabled and belongs to the cluster's tenant, what it is called and which groups
// it is in is read from the directory at the instant of the question, never from
// the token. No name or group that starts with "system:" ever leaves this door,
// and an authenticated answer always says for which audiences it is.
package authn

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/alert"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve"
	"github.com/gatehouse-io/gatehouse/internal/token"
)

// ServerApp is the application id of the AKS Microsoft Entra server, which
// clients of every cluster ask their tokens for.
const ServerApp = "6dae42f8-4368-4678-94ff-3960e28e3630"

// Path is the last segment of this door's paths; see serve.ClusterPrefix.
const Path = "tokenreview"

// maxBody bounds a review in bytes: a token and a list of audiences.
const maxBody = 256 << 10

// estates is what this door needs from the store.
type estates interface {
	Current() *estate.Snapshot
	Fresh(now time.Time) error // an error when the snapshot is too old to trust
}

// Config is what the door needs. Estates, Keys, Issuers and Alert are required.
type Config struct {
	Estates estates
	Keys    func() token.KeySet
	// Issuers returns the values of iss that a tenant's tokens may carry.
	Issuers func(directory.TenantID) []string
	// Effective returns the estate that says what somebody is called and which groups
	// he is in, when its argument is the current one. Nil means that it is that one.
	// Who may not sign in any more is always asked of the current one.
	Effective func(*estate.Snapshot) *estate.Snapshot
	// Live says whether the sign-in that a verified token came from still stands.
	// Nil means that every one does.
	Live func(context.Context, token.Claims) (bool, error)
	// Alert tells that a cluster was shown the token of another cluster's identity.
	// Who cannot be told of does not get in.
	Alert func(context.Context, alert.Alert) error
	// TokenAudiences are the values of aud that a token may carry: nil means
	// ServerApp and "spn:"+ServerApp.
	TokenAudiences []string
	// ReviewAudiences are the names by which API servers ask whether a token is
	// for them (--api-audiences). Nil means TokenAudiences.
	ReviewAudiences []string
	Log             *slog.Logger                       // nil means no log
	Events          func(context.Context, serve.Event) // nil means that nobody listens
	Now             func() time.Time                   // nil means time.Now
	// Machine is the clock that clients share, by which they date what they sign; nil
	// means Now.
	Machine func() time.Time
}

// A Door answers TokenReviews. It is safe for concurrent use.
type Door struct {
	conf   Config
	nonces nonces
}

// New checks a configuration and returns the door.
func New(conf Config) (*Door, error) {
	if conf.Estates == nil || conf.Keys == nil || conf.Issuers == nil || conf.Alert == nil {
		return nil, errors.New("authn: estates, keys, issuers and alerts are required")
	}
	if conf.TokenAudiences == nil {
		conf.TokenAudiences = []string{ServerApp, "spn:" + ServerApp}
	}
	if conf.ReviewAudiences == nil {
		conf.ReviewAudiences = conf.TokenAudiences
	}
	if len(conf.TokenAudiences) == 0 || len(conf.ReviewAudiences) == 0 {
		return nil, errors.New("authn: an empty list of audiences would authenticate nobody")
	}
	if conf.Log == nil {
		conf.Log = slog.New(slog.DiscardHandler)
	}
	if conf.Events == nil {
		conf.Events = func(context.Context, serve.Event) {}
	}
	if conf.Now == nil {
		conf.Now = time.Now
	}
	if conf.Machine == nil {
		conf.Machine = conf.Now
	}
	if conf.Effective == nil {
		conf.Effective = func(est *estate.Snapshot) *estate.Snapshot { return est }
	}
	return &Door{conf: conf}, nil
}

// Handler serves the paths {serve.ClusterPrefix}{cluster}/tokenreview.
func (d *Door) Handler() http.Handler {
	return serve.Handle(serve.ForClusters(Path, d.review), serve.Options{Log: d.conf.Log, Fail: fail, Quiet: true, Now: d.conf.Now})
}

// fail answers what went wrong. The API server's own mistakes get their status;
// ours are a clear "not authenticated", because it would retry a 500 for seconds.
func fail(w http.ResponseWriter, _ *http.Request, err error) {
	if status, _, _ := serve.Status(err); status < http.StatusInternalServerError {
		serve.Problem(w, err)
		return
	}
	serve.WriteJSON(w, http.StatusOK, []byte(`{"kind":"TokenReview","apiVersion":"authentication.k8s.io/v1","status":{"error":"internal error of the token review"}}`))
}

func (d *Door) review(w http.ResponseWriter, r *http.Request, at scope.Scope) error {
	var ask question
	if err := serve.Body(w, r, maxBody, func(body []byte) (err error) {
		ask, err = readReview(body)
		return err
	}); err != nil {
		return err
	}
	start := d.conf.Now()
	est := d.conf.Estates.Current()
	event := serve.Event{At: start, Door: "authn", Cluster: at, Effect: "refused", AuditID: serve.Printable(r.Header.Get("Audit-ID"), 64)}
	ans, err := d.authenticate(r.Context(), est, at, ask, start, &event)
	if err == nil {
		// Asked again behind the answer: this process may have slept in between.
		err = d.conf.Estates.Fresh(d.conf.Now())
	}
	if err != nil {
		ans = answer{Error: serve.Printable(err.Error(), 1024)}
		event.Reason = ans.Error
		if errors.Is(err, errSystem) {
			d.conf.Log.ErrorContext(r.Context(), "a directory principal has a name of the control plane", "id", event.ID.String())
		}
	} else {
		event.Effect, event.User, event.Groups = "authenticated", ans.User.Username, len(ans.User.Groups)
	}
	event.Took = d.conf.Now().Sub(start)
	d.conf.Events(r.Context(), event)
	return serve.JSON(w, http.StatusOK, reply{Kind: envelope.Kind, APIVersion: envelope.APIVersion, Status: ans})
}

// Why a token is refused. The texts go to the API server's log.
var (
	errNotLoaded = errors.New("the directory is not loaded yet")
	errCluster   = errors.New("this cluster does not accept Entra sign-in")
	errAudience  = errors.New("the token is not for the audiences that were asked about")
	errEnded     = errors.New("the sign-in that the token came from was ended")
	errNobody    = errors.New("the token names no directory principal")
	errGroups    = errors.New("service principal with group membership exceeding the limit of groups in a token is not supported")
	errUntold    = errors.New("the token is that of another cluster's identity, and the alert about it cannot be written")
	errSystem    = errors.New("the name of the account is reserved for the Kubernetes control plane")
)

// authenticate says whose token it is. An error comes with no answer. What it
// learns on the way goes into event.
func (d *Door) authenticate(ctx context.Context, est *estate.Snapshot, at scope.Scope, ask question, now time.Time, event *serve.Event) (answer, error) {
	if est == nil {
		return answer{}, errNotLoaded
	}
	if err := d.conf.Estates.Fresh(now); err != nil {
		return answer{}, err
	}
	event.Revision = est.Revision()
	cluster, ok := est.Cluster(at)
	if !ok || !cluster.EntraSignIn {
		return answer{}, errCluster
	}
	audiences := d.conf.ReviewAudiences
	if len(ask.audiences) > 0 {
		audiences = intersect(ask.audiences, audiences)
	}
	if len(audiences) == 0 {
		return answer{}, errAudience
	}
	id, err := d.verify(ctx, est, cluster, ask.token, now)
	if err != nil {
		return answer{}, err
	}
	event.ID = id
	if a, outside := alert.FromCluster(est, id, alert.Review, at, ""); outside {
		if err := d.conf.Alert(ctx, a); err != nil {
			return answer{}, errUntold
		}
	}
	caller, err := serve.CallerOf(est, cluster.Tenant, id)
	if err != nil {
		return answer{}, err
	}
	if law := d.conf.Effective(est); law != est {
		// A rehearsal lets decisions lag behind.
		est = law
		event.Revision = est.Revision()
		if caller, err = serve.CallerOf(est, cluster.Tenant, id); err != nil {
			return answer{}, err
		}
	}
	if err := tooMany(est.Rehearsal().Limits, caller); err != nil {
		return answer{}, err
	}
	ans := answer{Authenticated: true, Audiences: audiences, User: user{
		Username: caller.Name,
		UID:      id.String(),
		Groups:   groups(est, cluster, caller),
		Extra:    map[string][]string{"oid": {id.String()}, "tid": {cluster.Tenant.String()}},
	}}
	if err := noSystem(ans.User); err != nil {
		return answer{}, err
	}
	return ans, nil
}

// verify returns the object id that a token proves.
func (d *Door) verify(ctx context.Context, est *estate.Snapshot, cluster resource.Cluster, raw string, now time.Time) (principal.ID, error) {
	if raw == "" {
		return principal.ID{}, record.Invalid("the review carries no token")
	}
	claims, err := d.claims(raw, cluster, token.Want{
		Tenant:    cluster.Tenant,
		Issuers:   d.conf.Issuers(cluster.Tenant),
		Audiences: d.tokenAudiences(cluster),
		Purpose:   token.AccessToken,
	}, now)
	if err != nil {
		return principal.ID{}, fmt.Errorf("token: %w", err)
	}
	if claims.ObjectID.IsZero() {
		return principal.ID{}, errNobody
	}
	if err := serve.CheckIssued(est, claims.ObjectID, claims.IssuedAt); err != nil {
		return principal.ID{}, err
	}
	if d.conf.Live != nil {
		if live, err := d.conf.Live(ctx, claims); err != nil {
			return principal.ID{}, fmt.Errorf("token: %w", err)
		} else if !live {
			return principal.ID{}, errEnded
		}
	}
	return claims.ObjectID, nil
}

// tokenAudiences are the values of aud that a token for a cluster may carry. One with
// the legacy integration has an application of its own, and takes no other's tokens.
func (d *Door) tokenAudiences(cluster resource.Cluster) []string {
	if app := cluster.LegacySignIn.ServerApp; !app.IsZero() {
		return []string{app.String(), "spn:" + app.String()}
	}
	return d.conf.TokenAudiences
}

// intersect returns what was asked for and is ours, each once, in the order asked.
func intersect(asked, ours []string) []string {
	var both []string
	for _, a := range asked {
		if slices.Contains(ours, a) && !slices.Contains(both, a) {
			both = append(both, a)
		}
	}
	return both
}

// noSystem is the second lock on a door that the directory already keeps shut:
// an API server asks no authorizer about members of system:masters.
func noSystem(u user) error {
	if directory.IsSystemName(u.Username) || slices.ContainsFunc(u.Groups, directory.IsSystemName) {
		return errSystem
	}
	return nil
}
