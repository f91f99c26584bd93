package authn_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gatehouse-io/gatehouse/internal/alert"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/kuberbac"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve"
	"github.com/gatehouse-io/gatehouse/internal/serve/authn"
	"github.com/gatehouse-io/gatehouse/internal/serve/servetest"
	"github.com/gatehouse-io/gatehouse/internal/token"
)

const apiAudience = "https://kubernetes.default.svc"

type knocker struct {
	t                   testing.TB
	world               *servetest.World
	server              *servetest.Server
	events              *serve.Trace
	access, id, foreign token.SigningKey
	live                func(token.Claims) (bool, error) // nil: every sign-in stands
	alerts              []alert.Alert
	untold              error // why an alert cannot be written
}

func issuers(t directory.TenantID) []string {
	return []string{"https://127.0.0.1:8443/" + t.String() + "/"}
}

func newKnocker(t testing.TB) *knocker {
	t.Helper()
	k := &knocker{t: t, world: servetest.NewWorld(t), events: serve.NewTrace(100)}
	now := time.Now()
	key := func(tenant directory.TenantID, p token.Purpose) token.SigningKey {
		key, err := token.GenerateKey(tenant, p, token.ES256, now.Add(-time.Hour), now.Add(24*time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	k.access, k.id, k.foreign = key(servetest.Tenant, token.AccessToken), key(servetest.Tenant, token.IDToken), key(servetest.Tenant2, token.AccessToken)
	set, err := token.NewKeySet(k.access.Key, k.id.Key, k.foreign.Key)
	if err != nil {
		t.Fatal(err)
	}
	door, err := authn.New(authn.Config{
		Estates: k.world, Keys: func() token.KeySet { return set }, Issuers: issuers,
		ReviewAudiences: []string{apiAudience, "gatehouse"},
		Live: func(_ context.Context, c token.Claims) (bool, error) {
			if k.live == nil {
				return true, nil
			}
			return k.live(c)
		},
		Alert: func(_ context.Context, a alert.Alert) error {
			k.alerts = append(k.alerts, a)
			return k.untold
		},
		Events: func(_ context.Context, e serve.Event) { k.events.Add(e) },
	})
	if err != nil {
		t.Fatal(err)
	}
	k.server = servetest.Start(t, door.Handler(), true)
	return k
}

// claims of an access token for AKS.
func claims(who principal.ID, change ...func(*token.Claims)) token.Claims {
	now := time.Now().Truncate(time.Second)
	c := token.Claims{
		Version: token.V1, Use: token.AccessToken, Issuer: issuers(servetest.Tenant)[0], Audience: authn.ServerApp,
		Subject: "s", Tenant: servetest.Tenant, ObjectID: who, ID: "u",
		IssuedAt: now, NotBefore: now, Expires: now.Add(time.Hour),
		AppID: directory.AppID(servetest.ID("80faf920-1908-4b52-b5ef-a8e7bedfc67a")), AppAuth: "0",
	}
	for _, f := range change {
		f(&c)
	}
	return c
}

func (k *knocker) sign(key token.SigningKey, c token.Claims) string {
	k.t.Helper()
	raw, err := token.Sign(key, c, "JWT")
	if err != nil {
		k.t.Fatal(err)
	}
	return raw
}

func (k *knocker) ask(cluster scope.Scope, raw string, audiences ...string) authenticationv1.TokenReviewStatus {
	k.t.Helper()
	body, err := json.Marshal(authenticationv1.TokenReview{
		TypeMeta: metav1.TypeMeta{Kind: "TokenReview", APIVersion: "authentication.k8s.io/v1"},
		Spec:     authenticationv1.TokenReviewSpec{Token: raw, Audiences: audiences},
	})
	if err != nil {
		k.t.Fatal(err)
	}
	status, text := k.server.Post(k.server.Cluster(cluster), path(cluster), string(body))
	if status != http.StatusOK {
		k.t.Fatalf("status %d: %s", status, text)
	}
	return parse(k.t, text)
}

func path(cluster scope.Scope) string {
	return serve.ClusterPrefix + cluster.String() + "/" + authn.Path
}

func parse(t testing.TB, text string) authenticationv1.TokenReviewStatus {
	t.Helper()
	var res authenticationv1.TokenReview
	if err := json.Unmarshal([]byte(text), &res); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	s := res.Status
	if res.Kind != "TokenReview" || res.APIVersion != "authentication.k8s.io/v1" {
		t.Errorf("the answer is a %s of %s", res.Kind, res.APIVersion)
	}
	if s.Authenticated && (len(s.Audiences) == 0 || s.Error != "" || s.User.Username == "") { // JWT-30
		t.Errorf("authenticated without audiences or user, or with an error: %s", text)
	}
	if !s.Authenticated && (s.User.Username != "" || len(s.User.Groups) > 0 || s.Error == "") {
		t.Errorf("not authenticated, but with a user, or without a reason: %s", text)
	}
	return s
}

func extra(id principal.ID) map[string]authenticationv1.ExtraValue {
	return map[string]authenticationv1.ExtraValue{"oid": {id.String()}, "tid": {servetest.Tenant.String()}}
}

func TestWhoATokenIs(t *testing.T) {
	t.Parallel()
	k := newKnocker(t)
	for _, tt := range []struct {
		law    string
		claims token.Claims
		want   authenticationv1.UserInfo
	}{
		{"a user is his user principal name, with all groups that he is in now",
			claims(servetest.Faye, func(c *token.Claims) { c.UPN = "old-name@teknews.cloud"; c.Groups = []principal.ID{servetest.Admins} }),
			authenticationv1.UserInfo{Username: "faye@teknews.cloud", UID: servetest.Faye.String(), Groups: []string{servetest.DevTeam.String(), servetest.Staff.String()}, Extra: extra(servetest.Faye)}},
		{"spn: is another name of the audience",
			claims(servetest.Jet, func(c *token.Claims) { c.Audience = "spn:" + authn.ServerApp }),
			authenticationv1.UserInfo{Username: "jet@teknews.cloud", UID: servetest.Jet.String(), Extra: extra(servetest.Jet)}},
		{"a guest is his object id", claims(servetest.Ed),
			authenticationv1.UserInfo{Username: servetest.Ed.String(), UID: servetest.Ed.String(), Extra: extra(servetest.Ed)}},
		{"a service principal is its object id", claims(servetest.Robot, func(c *token.Claims) { c.IDType = "app" }),
			authenticationv1.UserInfo{Username: servetest.Robot.String(), UID: servetest.Robot.String(), Extra: extra(servetest.Robot)}},
		{"so is a managed identity", claims(servetest.Identity, func(c *token.Claims) { c.IDType = "app" }),
			authenticationv1.UserInfo{Username: servetest.Identity.String(), UID: servetest.Identity.String(), Extra: extra(servetest.Identity)}},
	} {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel()
			k := *k
			k.t = t
			got := k.ask(servetest.AKS1, k.sign(k.access, tt.claims))
			if !got.Authenticated {
				t.Fatalf("refused: %s", got.Error)
			}
			if diff := cmp.Diff(tt.want, got.User); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// A cluster with the legacy integration takes tokens for its own application, and
// for no other (story 20).
func TestALegacyCluster(t *testing.T) {
	t.Parallel()
	k := newKnocker(t)
	c, _ := k.world.Current().Cluster(servetest.AKS1)
	c.AzureRBAC, c.LegacySignIn = false, resource.LegacySignIn{ServerApp: servetest.RobotApp, ClientApp: servetest.RobotApp}
	k.world.Put(c)
	for audience, want := range map[string]bool{
		servetest.RobotApp.String(): true, "spn:" + servetest.RobotApp.String(): true, authn.ServerApp: false, "spn:" + authn.ServerApp: false,
	} {
		got := k.ask(servetest.AKS1, k.sign(k.access, claims(servetest.Faye, func(c *token.Claims) { c.Audience = audience })))
		if got.Authenticated != want {
			t.Errorf("a token for %s: %+v", audience, got)
		}
		if got := k.ask(servetest.AKS2, k.sign(k.access, claims(servetest.Faye, func(c *token.Claims) { c.Audience = audience }))); got.Authenticated == want {
			t.Errorf("the same at a managed cluster: %+v", got)
		}
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	k := newKnocker(t)
	good := claims(servetest.Faye)
	for _, tt := range []struct {
		law     string
		cluster scope.Scope
		raw     string
	}{
		{"no token", servetest.AKS1, ""},
		{"what is no token", servetest.AKS1, "hunter2"},
		{"JWT-14: a token for the management API", servetest.AKS1, k.sign(k.access, claims(servetest.Faye, func(c *token.Claims) { c.Audience = "api://gatehouse" }))},
		{"JWT-14: a token for Azure", servetest.AKS1, k.sign(k.access, claims(servetest.Faye, func(c *token.Claims) { c.Audience = "https://management.azure.com/" }))},
		{"JWT-14: a token for the API server's own audience", servetest.AKS1, k.sign(k.access, claims(servetest.Faye, func(c *token.Claims) { c.Audience = apiAudience }))},
		{"an ID token", servetest.AKS1, k.sign(k.id, claims(servetest.Faye, func(c *token.Claims) { c.Use, c.AppID, c.AppAuth = token.IDToken, directory.AppID{}, "" }))},
		{"KR-15: a token of another tenant", servetest.AKS1, k.sign(k.foreign, claims(servetest.Vicious, func(c *token.Claims) {
			c.Tenant, c.Issuer = servetest.Tenant2, issuers(servetest.Tenant2)[0]
		}))},
		{"KR-15: an outsider in a token of our tenant", servetest.AKS1, k.sign(k.access, claims(servetest.Vicious))},
		{"another issuer", servetest.AKS1, k.sign(k.access, claims(servetest.Faye, func(c *token.Claims) { c.Issuer = "https://evil.example/" }))},
		{"an expired token", servetest.AKS1, k.sign(k.access, claims(servetest.Faye, func(c *token.Claims) {
			c.IssuedAt, c.NotBefore, c.Expires = c.IssuedAt.Add(-2*time.Hour), c.NotBefore.Add(-2*time.Hour), c.Expires.Add(-2*time.Hour)
		}))},
		{"JWT-29: a disabled user", servetest.AKS1, k.sign(k.access, claims(servetest.Spike))},
		{"JWT-29: a deleted user", servetest.AKS1, k.sign(k.access, claims(servetest.ID("20000000-0000-4000-8000-0000000000ff")))},
		{"a group", servetest.AKS1, k.sign(k.access, claims(servetest.Staff))},
		{"a cluster without Entra sign-in", servetest.AKS3, k.sign(k.access, good)},
		{"a cluster that is not registered", scope.MustParse(servetest.Group.String() + "/providers/Microsoft.ContainerService/managedClusters/aks-9"), k.sign(k.access, good)},
	} {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel()
			k := *k
			k.t = t
			if got := k.ask(tt.cluster, tt.raw); got.Authenticated {
				t.Errorf("authenticated as %s", got.User.Username)
			}
		})
	}
}

func TestAudiences(t *testing.T) { // JWT-30
	t.Parallel()
	k := newKnocker(t)
	raw := k.sign(k.access, claims(servetest.Faye))
	for _, tt := range []struct {
		law  string
		asks []string
		want []string // nil: not authenticated
	}{
		{"one that is ours", []string{apiAudience}, []string{apiAudience}},
		{"some that are ours", []string{"x", "gatehouse", "gatehouse", apiAudience}, []string{"gatehouse", apiAudience}},
		{"none that is ours", []string{"https://k"}, nil},
		{"the audience of the token is not that of the API server", []string{authn.ServerApp}, nil},
		{"not asked: we say which", nil, []string{apiAudience, "gatehouse"}},
	} {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel()
			k := *k
			k.t = t
			got := k.ask(servetest.AKS1, raw, tt.asks...)
			if got.Authenticated != (tt.want != nil) || !slices.Equal(got.Audiences, tt.want) {
				t.Errorf("%+v, want %q", got, tt.want)
			}
		})
	}
}

func TestChangesCountAtOnce(t *testing.T) { // JWT-29
	t.Parallel()
	k := newKnocker(t)
	user := k.sign(k.access, claims(servetest.Faye))
	robot := k.sign(k.access, claims(servetest.Robot, func(c *token.Claims) { c.IDType = "app" }))
	want := func(law, raw string, ok bool) {
		t.Helper()
		if got := k.ask(servetest.AKS1, raw); got.Authenticated != ok {
			t.Errorf("%s: %+v, want authenticated=%t", law, got, ok)
		}
	}
	want("a user", user, true)
	faye, _ := k.world.Current().User(servetest.Faye)
	revoked := faye
	revoked.TokensValidFrom = time.Now().Add(time.Minute)
	k.world.Put(revoked)
	want("a user whose sign-ins were revoked since", user, false)
	revoked.TokensValidFrom = time.Now().Add(-time.Minute)
	k.world.Put(revoked)
	want("a user whose sign-ins were revoked before", user, true)
	faye.Disabled = true
	k.world.Put(faye)
	want("a disabled user", user, false)
	want("a service principal", robot, true)
	app, _ := k.world.Current().Application(servetest.RobotApp)
	app.Disabled = true
	k.world.Put(app)
	want("a service principal of a disabled application", robot, false)
	k.world.Delete(directory.ServicePrincipal{ID: servetest.Robot}.Key())
	want("a deleted service principal", robot, false)
}

func TestATokenEndsWithItsSignIn(t *testing.T) { // OA-01, OA-25
	t.Parallel()
	k := newKnocker(t)
	raw := k.sign(k.access, claims(servetest.Faye))
	for _, tt := range []struct {
		law  string
		live bool
		err  error
		want bool
	}{
		{"a sign-in that stands", true, nil, true},
		{"a sign-in that was ended", false, nil, false},
		{"a sign-in that nobody can tell about", true, errors.New("store: no answer"), false},
	} {
		k.live = func(c token.Claims) (bool, error) {
			if c.ObjectID != servetest.Faye {
				t.Errorf("%s: asked about %s", tt.law, c.ObjectID)
			}
			return tt.live, tt.err
		}
		if got := k.ask(servetest.AKS1, raw); got.Authenticated != tt.want {
			t.Errorf("%s: authenticated = %t, want %t", tt.law, got.Authenticated, tt.want)
		}
	}
}

func TestManyGroups(t *testing.T) { // WH-19, DIR-03
	t.Parallel()
	k := newKnocker(t)
	var recs []record.Record
	gid := func(i int) principal.ID { return servetest.ID(fmt.Sprintf("31000000-0000-4000-8000-%012d", i)) }
	for i := range 2000 {
		recs = append(recs, directory.Group{ID: gid(i), Tenant: servetest.Tenant, DisplayName: fmt.Sprint("g", i)}, directory.Membership{Group: gid(i), Member: servetest.Robot})
	}
	recs = append(recs, directory.Membership{Group: servetest.Admins, Member: servetest.Robot})
	k.world.Put(recs...)
	raw := k.sign(k.access, claims(servetest.Robot, func(c *token.Claims) { c.IDType = "app" }))
	groups := func() []string {
		t.Helper()
		got := k.ask(servetest.AKS1, raw)
		text, _ := json.Marshal(got)
		if !got.Authenticated || len(text) >= 32<<10 {
			t.Fatalf("an answer of %d bytes: %s", len(text), got.Error)
		}
		if again := k.ask(servetest.AKS1, raw); !slices.Equal(got.User.Groups, again.User.Groups) {
			t.Error("the same question has two answers")
		}
		if !slices.IsSorted(got.User.Groups) {
			t.Error("not in order")
		}
		return got.User.Groups
	}
	if got := groups(); len(got) != 800 || !slices.Contains(got, servetest.Admins.String()) {
		t.Errorf("where bindings are not known: %d groups, want 800 with the admin group", len(got))
	}
	c, _ := k.world.Current().Cluster(servetest.AKS1)
	c.Mirrored = true
	k.world.Put(c, kuberbac.Binding{Cluster: c.Scope, Namespace: "a", Name: "b", RoleIsCluster: true, Role: "view", Subjects: []kuberbac.Subject{
		{Kind: kuberbac.Group, Name: gid(1999).String()},
		{Kind: kuberbac.Group, Name: strings.ToUpper("31000000-0000-4000-8000-00000000000a")},
		{Kind: kuberbac.Group, Name: servetest.Staff.String()},
		{Kind: kuberbac.User, Name: gid(7).String()},
	}})
	if diff := cmp.Diff([]string{servetest.Admins.String(), gid(1999).String()}, sorted(groups())); diff != "" {
		t.Errorf("where they are known, those that matter (-want +got)\n%s", diff)
	}
}

func sorted(s []string) []string { return slices.Sorted(slices.Values(s)) }

func TestOwnFailures(t *testing.T) { // WH-08, WH-24
	t.Parallel()
	for _, tt := range []struct {
		law     string
		prepare func(*servetest.World)
	}{
		{"the store is lost", func(w *servetest.World) { w.Age(errors.New("the directory is 31s old")) }},
		{"nothing is loaded yet", func(w *servetest.World) { w.Unload() }},
	} {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel()
			k := newKnocker(t)
			tt.prepare(k.world)
			if got := k.ask(servetest.AKS1, k.sign(k.access, claims(servetest.Faye))); got.Authenticated {
				t.Errorf("authenticated: %+v", got)
			}
		})
	}
}

func TestMalformedReviews(t *testing.T) { // WH-05, WH-06
	t.Parallel()
	k := newKnocker(t)
	client := k.server.Cluster(servetest.AKS1)
	raw := k.sign(k.access, claims(servetest.Faye))
	head := `"kind":"TokenReview","apiVersion":"authentication.k8s.io/v1",`
	spec := `"spec":{"token":"` + raw + `"}`
	for _, tt := range []struct {
		law, body string
		status    int
		ok        bool
	}{
		{"a whole review", "{" + head + spec + "}", 200, true},
		{"WH-06: a status is not repeated", "{" + head + `"status":{"authenticated":true,"user":{"username":"x"}},"spec":{"token":"x"}}`, 200, false},
		{"WH-05: two tokens", "{" + head + `"spec":{"token":"x","token":"` + raw + `"}}`, 400, false},
		{"WH-05: a token in another case", "{" + head + `"spec":{"Token":"` + raw + `"}}`, 400, false},
		{"WH-05: v1beta1", strings.Replace("{"+head+spec+"}", "/v1", "/v1beta1", 1), 400, false},
		{"WH-05: another kind", strings.Replace("{"+head+spec+"}", "TokenReview", "SubjectAccessReview", 1), 400, false},
		{"WH-05: trailing data", "{" + head + spec + "}{}", 400, false},
		{"a huge body", "{" + head + `"spec":{"token":"` + strings.Repeat("a", 300<<10) + `"}}`, 413, false},
	} {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel()
			status, text := k.server.Post(client, path(servetest.AKS1), tt.body)
			if status != tt.status {
				t.Fatalf("status %d: %s, want %d", status, text, tt.status)
			}
			if status == 200 && parse(t, text).Authenticated != tt.ok {
				t.Errorf("%s, want authenticated=%t", text, tt.ok)
			}
		})
	}
}

func TestCertificateIsTheClusters(t *testing.T) { // WH-02
	t.Parallel()
	k := newKnocker(t)
	status, text := k.server.Post(k.server.Cluster(servetest.AKS2), path(servetest.AKS1), "{}")
	if status != http.StatusForbidden {
		t.Errorf("the other cluster's API server is told %d %s", status, text)
	}
}

func TestEventsHoldNoToken(t *testing.T) {
	t.Parallel()
	k := newKnocker(t)
	raw := k.sign(k.access, claims(servetest.Faye))
	k.ask(servetest.AKS1, raw)
	k.ask(servetest.AKS1, "hunter2")
	got := k.events.Recent(2, func(serve.Event) bool { return true })
	if len(got) != 2 || got[0].Effect != "authenticated" || got[0].User != "faye@teknews.cloud" || got[0].Groups != 2 || got[1].Effect != "refused" {
		t.Fatalf("%+v", got)
	}
	if text := fmt.Sprintf("%+v", got); strings.Contains(text, raw) || strings.Contains(text, "hunter2") {
		t.Errorf("a token in %s", text)
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	for _, conf := range []authn.Config{
		{},
		{Estates: servetest.NewWorld(t), Keys: func() token.KeySet { return token.KeySet{} }, Issuers: issuers},
		{Estates: servetest.NewWorld(t), Keys: func() token.KeySet { return token.KeySet{} }, Issuers: issuers, Alert: func(context.Context, alert.Alert) error { return nil }, TokenAudiences: []string{}},
	} {
		if _, err := authn.New(conf); err == nil {
			t.Errorf("%+v was accepted", conf)
		}
	}
}

// Story 25: an API server is shown the token of another cluster's identity. It gets
// in as what it is, and somebody is told; when nobody can be, it does not.
func TestAnotherClustersIdentityIsAnAlert(t *testing.T) {
	t.Parallel()
	k := newKnocker(t)
	mi, _ := k.world.Current().ManagedIdentity(servetest.Identity)
	c, _ := k.world.Current().Cluster(servetest.AKS1)
	c.KubeletIdentity = resource.IdentityRef{Resource: mi.Resource, Object: mi.ID}
	k.world.Put(c)
	raw := k.sign(k.access, claims(mi.ID, func(c *token.Claims) { c.IDType = "app" }))
	if got := k.ask(servetest.AKS1, raw); !got.Authenticated || len(k.alerts) != 0 {
		t.Errorf("at its own cluster: %+v, alerts %v", got, k.alerts)
	}
	if got := k.ask(servetest.AKS2, raw); !got.Authenticated || len(k.alerts) != 1 {
		t.Fatalf("at another: %+v, alerts %v", got, k.alerts)
	}
	if a := k.alerts[0]; a.Identity != mi.ID || a.Way != alert.Review || a.From != servetest.AKS2.String() || a.Clusters[0] != servetest.AKS1 {
		t.Errorf("%+v", a)
	}
	k.untold = errors.New("the disk is full")
	if got := k.ask(servetest.AKS2, raw); got.Authenticated || !strings.Contains(got.Error, "cannot be written") {
		t.Errorf("untold: %+v", got)
	}
}
