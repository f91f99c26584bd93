package house

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	authenticationclient "k8s.io/client-go/kubernetes/typed/authentication/v1"
	authorizationclient "k8s.io/client-go/kubernetes/typed/authorization/v1"
	"k8s.io/client-go/rest"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/guid"
	"github.com/gatehouse-io/gatehouse/internal/inject"
	"github.com/gatehouse-io/gatehouse/internal/issue"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/serve/oidc"
	"github.com/gatehouse-io/gatehouse/internal/token"
)

// proxyPath is where the token proxies of clusters are, by the cluster's id.
const proxyPath = "/gatehouse/token-proxy/"

// proxyOf is the URL of a cluster's token proxy, for its pods.
func (c *clusters) proxyOf(rec resource.Cluster) string {
	return strings.TrimSuffix(c.authority, "/") + proxyPath + rec.UID.String()
}

// tokenProxies serves the token proxies of all clusters.
func (c *clusters) tokenProxies(door *oidc.Door) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		uid, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, proxyPath), "/")
		id, err := guid.Parse[resource.Cluster](uid)
		if err != nil || id.String() != uid {
			http.NotFound(w, r)
			return
		}
		http.StripPrefix(proxyPath+uid, door.Bound(func(ctx context.Context, client string, assertion issue.Secret) (issue.Bound, error) {
			return c.prove(ctx, id, client, assertion)
		})).ServeHTTP(w, r)
	})
}

// prove lets a cluster judge a service account's token, and whether the account may
// use the managed identity with a client id.
func (c *clusters) prove(ctx context.Context, id resource.ClusterID, client string, assertion issue.Secret) (issue.Bound, error) {
	est := c.store.Current()
	rec, ok := clusterWith(est, id)
	if !ok || !rec.WorkloadIdentity || rec.Doing.Kind == resource.Delete {
		return issue.Bound{}, issue.ErrUnbound(client, id.String())
	}
	var app directory.AppID
	if app.UnmarshalText([]byte(client)) != nil || app.IsZero() {
		return issue.Bound{}, issue.ErrUnbound(client, rec.Name)
	}
	m, ok := est.ManagedIdentityByClient(app)
	if !ok || !rec.Binds(resource.IdentityRef{Resource: m.Resource, Object: m.ID}) {
		return issue.Bound{}, issue.ErrUnbound(client, rec.Name)
	}
	j, err := c.judge(rec)
	if err != nil {
		return issue.Bound{}, err
	}
	who, err := j.workload(ctx, rec.Name, assertion, inject.BindingAudience)
	if err != nil {
		return issue.Bound{}, err
	}
	if err := j.entitled(ctx, rec.Name, who, app); err != nil {
		return issue.Bound{}, err
	}
	return issue.Bound{Identity: m.ID, At: rec.Scope, Account: who.Username}, nil
}

// vouch refuses a token for exchange that the cluster that made it no longer takes:
// its service account or its pod is gone (FED-21).
func (c *clusters) vouch(ctx context.Context, rec resource.Cluster, says token.Foreign, raw issue.Secret) error {
	j, err := c.judge(rec)
	if err != nil {
		return err
	}
	who, err := j.workload(ctx, rec.Name, raw, says.Audience)
	if err == nil && who.Username != says.Subject {
		err = issue.ErrWorkload(rec.Name, "it is of another account than it says.")
	}
	return err
}

// judge returns the judge of a cluster that runs.
func (c *clusters) judge(rec resource.Cluster) (*judge, error) {
	if r, ok := c.running(rec); ok {
		if j := r.judge.Load(); j != nil {
			return j, nil
		}
	}
	return nil, issue.ErrClusterAway(rec.Name, notRunning(rec.Name))
}

func clusterWith(est *estate.Snapshot, id resource.ClusterID) (resource.Cluster, bool) {
	for rec := range est.Clusters() {
		if rec.UID == id {
			return rec, true
		}
	}
	return resource.Cluster{}, false
}

// A judge asks an API server who somebody is, and what he may do.
type judge struct {
	tokens   authenticationclient.TokenReviewInterface
	subjects authorizationclient.SubjectAccessReviewInterface
}

func newJudge(conf *rest.Config) (*judge, error) {
	tokens, err := authenticationclient.NewForConfig(conf)
	if err != nil {
		return nil, err
	}
	subjects, err := authorizationclient.NewForConfig(conf)
	if err != nil {
		return nil, err
	}
	return &judge{tokens.TokenReviews(), subjects.SubjectAccessReviews()}, nil
}

// workload returns the service account that a token for an audience is of. The API
// server knows whether the account and its pod are still there.
func (j *judge) workload(ctx context.Context, cluster string, assertion issue.Secret, audience string) (authenticationv1.UserInfo, error) {
	if assertion.IsZero() {
		return authenticationv1.UserInfo{}, issue.ErrWorkload(cluster, "there is no client_assertion.")
	}
	out, err := j.tokens.Create(ctx, &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{
		Token: assertion.Reveal(), Audiences: []string{audience},
	}}, metav1.CreateOptions{})
	switch {
	case err != nil:
		return authenticationv1.UserInfo{}, issue.ErrClusterAway(cluster, err)
	case !out.Status.Authenticated:
		return authenticationv1.UserInfo{}, issue.ErrWorkload(cluster, fmt.Sprintf(
			"it is no token of a service account of the cluster for the audience %s, or has ended with its pod or its time.", audience))
	case !slices.Contains(out.Status.Audiences, audience), !strings.HasPrefix(out.Status.User.Username, "system:serviceaccount:"):
		return authenticationv1.UserInfo{}, issue.ErrWorkload(cluster, "it is not of a service account, or not for "+audience+".")
	}
	return out.Status.User, nil
}

// entitled refuses an account that Kubernetes RBAC does not let use an identity.
func (j *judge) entitled(ctx context.Context, cluster string, who authenticationv1.UserInfo, client directory.AppID) error {
	extra := make(map[string]authorizationv1.ExtraValue, len(who.Extra))
	for name, values := range who.Extra {
		extra[name] = authorizationv1.ExtraValue(values)
	}
	out, err := j.subjects.Create(ctx, &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: who.Username, UID: who.UID, Groups: who.Groups, Extra: extra,
		ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: inject.UseIdentityVerb, Group: inject.UseIdentityGroup, Resource: client.String()},
	}}, metav1.CreateOptions{})
	switch {
	case err != nil:
		return issue.ErrClusterAway(cluster, err)
	case !out.Status.Allowed || out.Status.Denied:
		return issue.ErrUnentitled(who.Username, client.String(), cluster)
	}
	return nil
}
