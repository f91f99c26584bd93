package authz_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve"
	"github.com/gatehouse-io/gatehouse/internal/serve/authz"
	"github.com/gatehouse-io/gatehouse/internal/serve/servetest"
)

const (
	noGrant = "User does not have access to the resource in Azure. Update role assignment to allow access."
	system  = "Azure does not have opinion for this user."
	notAAD  = "Azure does not have opinion for this non AAD user. If you are an AAD user, please set Extra:oid parameter for impersonated user in the kubeconfig"
)

// A knocker asks questions as the API server of a cluster, over real TLS.
type knocker struct {
	t      testing.TB
	world  *servetest.World
	server *servetest.Server
	events *serve.Trace
}

func newKnocker(t testing.TB) *knocker {
	t.Helper()
	k := &knocker{t: t, world: servetest.NewWorld(t), events: serve.NewTrace(100)}
	door, err := authz.New(authz.Config{Estates: k.world, Events: traceEvents(k.events)})
	if err != nil {
		t.Fatal(err)
	}
	k.server = servetest.Start(t, door.Handler(), true)
	return k
}

func traceEvents(t *serve.Trace) func(context.Context, serve.Event) {
	return func(_ context.Context, e serve.Event) { t.Add(e) }
}

func path(cluster scope.Scope) string {
	return serve.ClusterPrefix + cluster.String() + "/" + authz.Path
}

func review(spec authorizationv1.SubjectAccessReviewSpec) authorizationv1.SubjectAccessReview {
	return authorizationv1.SubjectAccessReview{
		TypeMeta:   metav1.TypeMeta{Kind: "SubjectAccessReview", APIVersion: "authorization.k8s.io/v1"},
		ObjectMeta: metav1.ObjectMeta{ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "x"}}},
		Spec:       spec,
	}
}

func (k *knocker) ask(cluster scope.Scope, spec authorizationv1.SubjectAccessReviewSpec) authorizationv1.SubjectAccessReviewStatus {
	k.t.Helper()
	body, err := json.Marshal(review(spec))
	if err != nil {
		k.t.Fatal(err)
	}
	status, text := k.server.Post(k.server.Cluster(cluster), path(cluster), string(body))
	if status != http.StatusOK {
		k.t.Fatalf("status %d: %s", status, text)
	}
	return parse(k.t, text)
}

func parse(t testing.TB, text string) authorizationv1.SubjectAccessReviewStatus {
	t.Helper()
	var res authorizationv1.SubjectAccessReview
	if err := json.Unmarshal([]byte(text), &res); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	if res.Kind != "SubjectAccessReview" || res.APIVersion != "authorization.k8s.io/v1" {
		t.Errorf("the answer is a %s of %s", res.Kind, res.APIVersion)
	}
	if res.Status.Allowed && res.Status.Denied { // WH-25
		t.Errorf("both allowed and denied: %s", text)
	}
	return res.Status
}

func effect(s authorizationv1.SubjectAccessReviewStatus) string {
	switch {
	case s.Denied:
		return "deny"
	case s.Allowed:
		return "allow"
	}
	return "no opinion"
}

// by is a spec for a user of the directory.
func by(name string, id principal.ID, groups ...principal.ID) authorizationv1.SubjectAccessReviewSpec {
	s := authorizationv1.SubjectAccessReviewSpec{
		User: name, UID: id.String(), Groups: []string{"system:authenticated"},
		Extra: map[string]authorizationv1.ExtraValue{"oid": {id.String()}},
	}
	for _, g := range groups {
		s.Groups = append(s.Groups, g.String())
	}
	return s
}

func resource(s authorizationv1.SubjectAccessReviewSpec, verb, resource, namespace string) authorizationv1.SubjectAccessReviewSpec {
	s.ResourceAttributes = &authorizationv1.ResourceAttributes{Verb: verb, Resource: resource, Namespace: namespace, Version: "v1"}
	return s
}

func get(s authorizationv1.SubjectAccessReviewSpec, path string) authorizationv1.SubjectAccessReviewSpec {
	s.NonResourceAttributes = &authorizationv1.NonResourceAttributes{Verb: "get", Path: path}
	return s
}

func cert(s authorizationv1.SubjectAccessReviewSpec, id string) authorizationv1.SubjectAccessReviewSpec {
	s.Extra = map[string]authorizationv1.ExtraValue{"authentication.kubernetes.io/credential-id": {id}}
	return s
}

func TestReviews(t *testing.T) {
	t.Parallel()
	k := newKnocker(t)
	faye := by("faye@teknews.cloud", servetest.Faye, servetest.DevTeam, servetest.Staff)
	jet := by("jet@teknews.cloud", servetest.Jet)
	name := func(s authorizationv1.SubjectAccessReviewSpec, n string) authorizationv1.SubjectAccessReviewSpec {
		s.ResourceAttributes.Name = n
		return s
	}
	impersonate := resource(jet, "impersonate", "userextras", "")
	impersonate.ResourceAttributes.Group = "authentication.k8s.io"
	impersonate.ResourceAttributes.Subresource = "example.org/key"
	impersonate.ResourceAttributes.Name = "a/b"
	twoIDs := resource(by("jet@teknews.cloud", servetest.Jet), "list", "pods", "")
	twoIDs.Extra = map[string]authorizationv1.ExtraValue{"oid": {servetest.Jet.String(), servetest.Faye.String()}}
	for _, tt := range []struct {
		law     string
		cluster scope.Scope
		spec    authorizationv1.SubjectAccessReviewSpec
		effect  string
		reason  string // prefix
	}{
		{"a role assignment allows", servetest.AKS1, resource(jet, "list", "pods", ""), "allow",
			"Access allowed by Azure RBAC Role Assignment 60000000-0000-4000-8000-000000000001 of Role 7f6c6a51-bcf8-42ba-9220-52d62157d7db to user jet@teknews.cloud"},
		{"a nested group's assignment in a namespace allows", servetest.AKS1, resource(faye, "create", "pods", "dev"), "allow",
			"Access allowed by Azure RBAC Role Assignment 60000000-0000-4000-8000-000000000002 of Role a7ffa36f-339b-4b5c-8bdf-e2c188b2c0eb to user faye@teknews.cloud"},
		{"but not elsewhere", servetest.AKS1, resource(faye, "create", "pods", "prod"), "no opinion", noGrant},
		{"AZ-24: nor across all namespaces", servetest.AKS1, resource(faye, "list", "pods", ""), "no opinion", noGrant},
		{"story 2: without a grant the refusal is AKS's own", servetest.AKS1, resource(faye, "list", "namespaces", ""), "no opinion", noGrant},
		{"a reader reads no secrets", servetest.AKS1, resource(jet, "list", "secrets", "default"), "no opinion", noGrant},
		{"a deny assignment denies", servetest.AKS1, resource(jet, "list", "nodes", ""), "deny",
			"Access denied by Azure RBAC Deny Assignment 61000000-0000-4000-8000-000000000001"},
		{"story 3: without Azure RBAC nothing is said", servetest.AKS2, resource(jet, "list", "pods", ""), "no opinion", ""},
		{"nor about users that are no principals", servetest.AKS2, resource(authorizationv1.SubjectAccessReviewSpec{User: "masterclient"}, "list", "pods", ""), "no opinion", ""},
		{"nor about system users", servetest.AKS2, resource(authorizationv1.SubjectAccessReviewSpec{User: "system:node:a"}, "list", "pods", ""), "no opinion", ""},
		{"a service principal is its object id", servetest.AKS1, resource(by(servetest.Robot.String(), servetest.Robot), "list", "pods", ""), "no opinion", noGrant},
		{"so is a managed identity", servetest.AKS1, resource(by(servetest.Identity.String(), servetest.Identity), "list", "pods", ""), "no opinion", noGrant},
		{"and a guest", servetest.AKS1, resource(by(servetest.Ed.String(), servetest.Ed), "list", "pods", ""), "no opinion", noGrant},

		{"KR-13: a node", servetest.AKS1, resource(authorizationv1.SubjectAccessReviewSpec{User: "system:node:a"}, "list", "pods", ""), "no opinion", system},
		{"KR-13: a service account", servetest.AKS1, resource(authorizationv1.SubjectAccessReviewSpec{User: "system:serviceaccount:a:b"}, "list", "pods", ""), "no opinion", system},
		{"KR-13: in any letter case", servetest.AKS1, resource(authorizationv1.SubjectAccessReviewSpec{User: "System:Masters"}, "list", "pods", ""), "no opinion", system},
		{"KR-14: anonymous", servetest.AKS1, resource(authorizationv1.SubjectAccessReviewSpec{User: "system:anonymous", Groups: []string{"system:unauthenticated"}}, "list", "pods", ""), "no opinion", system},
		{"KR-14: no user at all", servetest.AKS1, resource(authorizationv1.SubjectAccessReviewSpec{Groups: []string{"system:unauthenticated"}}, "list", "pods", ""), "deny", "The request is malformed: the review names no user."},
		{"KR-15: an outsider", servetest.AKS1, resource(by("vicious@fabrikam.com", servetest.Vicious), "list", "pods", ""), "deny", "Access denied: the account is of another tenant."},
		{"a user without object id", servetest.AKS1, resource(authorizationv1.SubjectAccessReviewSpec{User: "jet@teknews.cloud"}, "list", "pods", ""), "no opinion", notAAD},
		{"an object id that is none", servetest.AKS1, resource(authorizationv1.SubjectAccessReviewSpec{User: "jet@teknews.cloud", Extra: map[string]authorizationv1.ExtraValue{"oid": {"jet"}}}, "list", "pods", ""), "deny", "Access denied: the object id"},
		{"an empty object id", servetest.AKS1, resource(authorizationv1.SubjectAccessReviewSpec{User: "jet@teknews.cloud", Extra: map[string]authorizationv1.ExtraValue{"oid": {""}}}, "list", "pods", ""), "deny", "Access denied: the object id"},
		{"two object ids", servetest.AKS1, twoIDs, "deny", "Access denied: the request does not name one object id."},
		{"a list of no object ids", servetest.AKS2, resource(authorizationv1.SubjectAccessReviewSpec{User: "jet@teknews.cloud", Extra: map[string]authorizationv1.ExtraValue{"oid": nil}}, "list", "pods", ""), "deny", "Access denied: the request does not name one object id."},
		{"JWT-29: a disabled user", servetest.AKS1, resource(by("spike@teknews.cloud", servetest.Spike), "list", "pods", ""), "deny", "Access denied: the account is disabled."},
		{"JWT-29: a disabled user where Azure RBAC is off", servetest.AKS2, resource(by("spike@teknews.cloud", servetest.Spike), "list", "pods", ""), "deny", "Access denied: the account is disabled."},
		{"JWT-29: a deleted user", servetest.AKS1, resource(by("julia@teknews.cloud", servetest.ID("20000000-0000-4000-8000-0000000000ff")), "list", "pods", ""), "deny", "Access denied: the account no longer exists."},
		{"a group is nobody", servetest.AKS1, resource(by(servetest.Staff.String(), servetest.Staff), "list", "pods", ""), "deny", "Access denied: the account no longer exists."},
		{"a name that is no longer his", servetest.AKS1, resource(by("black-dog@teknews.cloud", servetest.Jet), "list", "pods", ""), "deny", "Access denied: the account has another name now."},
		{"somebody else's name", servetest.AKS1, resource(by("faye@teknews.cloud", servetest.Jet), "list", "pods", ""), "deny", "Access denied: the account has another name now."},
		{"a group that he is not in", servetest.AKS1, resource(by("jet@teknews.cloud", servetest.Jet, servetest.Staff), "list", "pods", ""), "deny", "Access denied: the account is no longer in group 30000000-0000-4000-8000-000000000002."},
		{"a group that does not exist", servetest.AKS2, resource(by("jet@teknews.cloud", servetest.Jet, servetest.ID("30000000-0000-4000-8000-0000000000ff")), "list", "pods", ""), "deny", "Access denied: the account is no longer in group"},

		{"discovery is the cluster's own to grant", servetest.AKS1, get(faye, "/apis/apps/v1"), "no opinion", noGrant},
		{"the root of discovery too", servetest.AKS1, get(faye, "/version"), "no opinion", noGrant},
		{"but not to the disabled", servetest.AKS1, get(by("spike@teknews.cloud", servetest.Spike), "/apis"), "deny", ""},
		{"AZ-26: a path is not its prefix", servetest.AKS1, get(faye, "/apiserver-anything"), "no opinion", noGrant},
		{"AZ-26: dot segments", servetest.AKS1, get(faye, "/healthz/../metrics"), "deny", "The request is malformed"},
		{"AZ-26: one dot", servetest.AKS1, get(faye, "/api/./v1"), "deny", "The request is malformed"},
		{"AZ-26: an empty segment", servetest.AKS1, get(faye, "/api//v1"), "deny", "The request is malformed"},
		{"AZ-26: an escaped dot", servetest.AKS1, get(faye, "/healthz/%2E%2e/metrics"), "deny", "The request is malformed"},
		{"AZ-26: no slash in front", servetest.AKS1, get(faye, "healthz"), "deny", "The request is malformed"},
		{"AZ-26: a trailing slash is another path", servetest.AKS1, get(jet, "/metrics/"), "no opinion", noGrant},
		{"discovery is only read", servetest.AKS1, authorizationv1.SubjectAccessReviewSpec{User: faye.User, Extra: faye.Extra, NonResourceAttributes: &authorizationv1.NonResourceAttributes{Verb: "post", Path: "/api"}}, "no opinion", noGrant},

		{"AZ-03: a namespace of dots", servetest.AKS1, resource(jet, "list", "pods", ".."), "deny", "The request is malformed"},
		{"AZ-03: a resource of dots", servetest.AKS1, resource(jet, "list", "..", ""), "deny", "The request is malformed"},
		{"AZ-03: a resource with a slash", servetest.AKS1, resource(jet, "list", "pods/exec", ""), "deny", "The request is malformed"},
		{"AZ-03: a namespace with a slash", servetest.AKS1, resource(jet, "list", "pods", "a/b"), "deny", "The request is malformed"},
		{"AZ-03: a name with a slash", servetest.AKS1, name(resource(jet, "get", "pods", "a"), "../../secrets/x"), "deny", "The request is malformed"},
		{"AZ-03: a name of dots", servetest.AKS1, name(resource(jet, "get", "pods", "a"), ".."), "deny", "The request is malformed"},
		{"AZ-03: no resource", servetest.AKS1, resource(jet, "list", "", ""), "deny", "The request is malformed"},
		{"who impersonates may name anything", servetest.AKS1, impersonate, "no opinion", noGrant},
		{"WH-07: no verb", servetest.AKS1, resource(jet, "", "pods", ""), "deny", "The request is malformed: the review names no verb."},
		{"WH-07: neither block", servetest.AKS1, jet, "deny", "The request is malformed"},
		{"WH-07: both blocks", servetest.AKS1, get(resource(jet, "list", "pods", ""), "/api"), "deny", "The request is malformed"},
		{"WH-07: a name of 1 MB", servetest.AKS1, name(resource(jet, "get", "pods", "a"), strings.Repeat("a", 1<<20)), "deny", "The request is malformed"},
		{"WH-25: control characters stay out of reasons", servetest.AKS1, resource(by("jet\n\x1b[2J", servetest.Jet), "list", "pods", ""), "deny", "Access denied: the account has another name now."},
	} {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel()
			k := *k
			k.t = t
			got := k.ask(tt.cluster, tt.spec)
			if effect(got) != tt.effect || !strings.HasPrefix(got.Reason, tt.reason) || tt.reason == "" && tt.effect == "no opinion" && got.Reason != "" {
				t.Errorf("%s %q %s, want %s %q", effect(got), got.Reason, got.EvaluationError, tt.effect, tt.reason)
			}
			if len(got.Reason) > 4096 || strings.ContainsFunc(got.Reason, func(r rune) bool { return r < ' ' }) { // WH-25
				t.Errorf("a reason of %d bytes: %.200q", len(got.Reason), got.Reason)
			}
		})
	}
}

func TestSelectorsOnlyNarrow(t *testing.T) { // KR-17
	t.Parallel()
	k := newKnocker(t)
	for _, tt := range []struct {
		law, resource, effect string
	}{
		{"who may list may list less", "pods", "allow"},
		{"who may not list may not list less", "secrets", "no opinion"},
	} {
		t.Run(tt.law, func(t *testing.T) {
			k.t = t
			s := resource(by("jet@teknews.cloud", servetest.Jet), "list", tt.resource, "")
			s.ResourceAttributes.FieldSelector = &authorizationv1.FieldSelectorAttributes{Requirements: []metav1.FieldSelectorRequirement{{Key: "metadata.name", Operator: "Bogus", Values: []string{"a"}}}}
			s.ResourceAttributes.LabelSelector = &authorizationv1.LabelSelectorAttributes{RawSelector: "a=b"}
			if got := k.ask(servetest.AKS1, s); effect(got) != tt.effect {
				t.Errorf("%+v, want %s", got, tt.effect)
			}
		})
	}
}

func TestChangesCountAtOnce(t *testing.T) {
	t.Parallel()
	k := newKnocker(t)
	faye := resource(by("faye@teknews.cloud", servetest.Faye, servetest.DevTeam, servetest.Staff), "create", "pods", "dev")
	want := func(law, effectWanted string) {
		t.Helper()
		if got := k.ask(servetest.AKS1, faye); effect(got) != effectWanted {
			t.Errorf("%s: %s %q, want %s", law, effect(got), got.Reason, effectWanted)
		}
	}
	want("a member of the team", "allow")
	k.world.Delete(directory.Membership{Group: servetest.Staff, Member: servetest.DevTeam}.Key())
	want("a request that still carries a group that was left", "deny")
	faye.Groups = faye.Groups[:2]
	want("after asking again", "no opinion")
	k.world.Put(directory.Membership{Group: servetest.Staff, Member: servetest.Faye})
	want("a group joined since the token was reviewed", "allow")
	u, _ := k.world.Current().User(servetest.Faye)
	u.Disabled = true
	k.world.Put(u)
	want("a disabled account", "deny")
	u.Disabled, u.UserPrincipalName = false, "poker-alice@teknews.cloud"
	k.world.Put(u)
	want("a renamed account", "deny")

	robot := resource(by(servetest.Robot.String(), servetest.Robot), "list", "pods", "")
	if got := k.ask(servetest.AKS2, robot); effect(got) != "no opinion" {
		t.Errorf("a service principal: %+v", got)
	}
	app, _ := k.world.Current().Application(servetest.RobotApp)
	app.Disabled = true
	k.world.Put(app)
	if got := k.ask(servetest.AKS2, robot); effect(got) != "deny" { // JWT-29
		t.Errorf("a service principal of a disabled application: %+v", got)
	}
}

func TestGroupsWithoutEnd(t *testing.T) { // DIR-03
	t.Parallel()
	k := newKnocker(t)
	const n = 10_000
	var recs []record.Record
	var last principal.ID
	for i := range n {
		last = servetest.ID(fmt.Sprintf("31000000-0000-4000-8000-%012d", i))
		recs = append(recs, directory.Group{ID: last, Tenant: servetest.Tenant, DisplayName: fmt.Sprint("g", i)},
			directory.Membership{Group: last, Member: servetest.Faye}, directory.Membership{Group: last, Member: servetest.Robot})
	}
	recs = append(recs, azurerbac.Assignment{ID: azurerbac.AssignmentID(servetest.ID("60000000-0000-4000-8000-0000000000ff")), Scope: servetest.AKS1, Principal: last, Role: servetest.Reader})
	k.world.Put(recs...)
	for _, spec := range []authorizationv1.SubjectAccessReviewSpec{
		by("faye@teknews.cloud", servetest.Faye), by(servetest.Robot.String(), servetest.Robot),
	} {
		if got := k.ask(servetest.AKS1, resource(spec, "list", "pods", "x")); effect(got) != "allow" {
			t.Errorf("%s: %+v, want allow by the last of %d groups", spec.User, got, n)
		}
	}
}

func TestLocalAdmins(t *testing.T) { // LA-02, LA-10
	t.Parallel()
	k := newKnocker(t)
	as := func(user, group string) authorizationv1.SubjectAccessReviewSpec {
		return resource(authorizationv1.SubjectAccessReviewSpec{User: user, Groups: []string{group, "system:authenticated"}}, "list", "secrets", "")
	}
	by := func(id principal.ID) authorizationv1.SubjectAccessReviewSpec {
		return as("gatehouse:local-admin:"+id.String(), authz.LocalAdmins)
	}
	admin := by(servetest.Faye)
	const one, two = "X509SHA256=aa11", "X509SHA256=bb22"
	cluster, _ := k.world.Current().Cluster(servetest.AKS2)
	for _, tt := range []struct {
		law     string
		off     bool
		revoked []string
		spec    authorizationv1.SubjectAccessReviewSpec
		effect  string
	}{
		{"a local administrator is a matter of the cluster", false, nil, cert(admin, one), "no opinion"},
		{"LA: switched off, he is denied", true, nil, cert(admin, one), "deny"},
		{"LA: a revoked certificate is denied", false, []string{"cc33", "AA11"}, cert(admin, one), "deny"},
		{"LA: in the API server's spelling too", false, []string{one}, cert(admin, one), "deny"},
		{"LA: another one is not", false, []string{"aa11"}, cert(admin, two), "no opinion"},
		{"LA: one that is not told is denied once any is revoked", false, []string{"aa11"}, admin, "deny"},
		{"LA: certificates of others are not touched", false, []string{"aa11"}, resource(authorizationv1.SubjectAccessReviewSpec{User: "masterclient"}, "list", "secrets", ""), "no opinion"},
		{"LA-10: a program may hold one", false, nil, cert(by(servetest.Robot), one), "no opinion"},
		{"LA-10: who is disabled holds none", false, nil, cert(by(servetest.Spike), one), "deny"},
		{"LA-10: nor does he read metrics", false, nil, cert(as("gatehouse:local-monitor:"+servetest.Spike.String(), authz.LocalMonitors), one), "deny"},
		{"LA-10: who was deleted holds none", false, nil, cert(by(principal.NewID()), one), "deny"},
		{"LA-10: a certificate of nobody is denied", false, nil, cert(as("gatehouse:local-admin:", authz.LocalAdmins), one), "deny"},
	} {
		t.Run(tt.law, func(t *testing.T) {
			k.t = t
			c := cluster
			c.DisableLocalAccounts, c.RevokedCertificates = tt.off, tt.revoked
			k.world.Put(c)
			if got := k.ask(servetest.AKS2, tt.spec); effect(got) != tt.effect {
				t.Errorf("%+v, want %s", got, tt.effect)
			}
		})
	}
}

func TestOwnFailuresDeny(t *testing.T) { // WH-08, WH-17, WH-24
	t.Parallel()
	jet := resource(by("jet@teknews.cloud", servetest.Jet), "list", "pods", "")
	node := resource(authorizationv1.SubjectAccessReviewSpec{User: "system:node:a"}, "list", "pods", "")
	for _, tt := range []struct {
		law     string
		prepare func(*servetest.World)
	}{
		{"WH-08: the store is lost", func(w *servetest.World) { w.Age(errors.New("the directory is 31s old")) }},
		{"WH-24: nothing is loaded yet", func(w *servetest.World) { w.Unload() }},
		{"the cluster is not registered", func(w *servetest.World) {
			w.Delete(append(w.Current().Dependents(record.KeyOf(record.Cluster, servetest.AKS1.String())), record.KeyOf(record.Cluster, servetest.AKS1.String()))...)
		}},
	} {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel()
			k := newKnocker(t)
			tt.prepare(k.world)
			start := time.Now()
			got := k.ask(servetest.AKS1, jet)
			if effect(got) != "deny" || got.EvaluationError == "" {
				t.Errorf("%+v, want deny with an evaluation error", got)
			}
			if took := time.Since(start); took > 30*time.Second { // it waits for nothing
				t.Errorf("it took %s", took)
			}
			if got := k.ask(servetest.AKS1, node); effect(got) != "no opinion" {
				t.Errorf("KR-13: a node is told %+v", got)
			}
		})
	}
}

// sleeper goes stale between the decision and the answer, as a process does that
// is stopped there.
type sleeper struct {
	*servetest.World
}

func (s *sleeper) Current() *estate.Snapshot {
	est := s.World.Current()
	s.World.Age(errors.New("asleep for 60s"))
	return est
}

func TestSleepBehindTheDecision(t *testing.T) { // WH-17
	t.Parallel()
	world := &sleeper{World: servetest.NewWorld(t)}
	door, err := authz.New(authz.Config{Estates: world})
	if err != nil {
		t.Fatal(err)
	}
	k := &knocker{t: t, server: servetest.Start(t, door.Handler(), true)}
	if got := k.ask(servetest.AKS1, resource(by("jet@teknews.cloud", servetest.Jet), "list", "pods", "")); effect(got) != "deny" {
		t.Errorf("%+v: an answer from before the sleep", got)
	}
}

type panicker struct{}

func (panicker) Current() *estate.Snapshot { panic("hunter2") }
func (panicker) Fresh(time.Time) error     { return nil }

func TestPanicDenies(t *testing.T) { // WH-08
	t.Parallel()
	door, err := authz.New(authz.Config{Estates: panicker{}})
	if err != nil {
		t.Fatal(err)
	}
	k := &knocker{t: t, server: servetest.Start(t, door.Handler(), true)}
	got := k.ask(servetest.AKS1, resource(by("jet@teknews.cloud", servetest.Jet), "list", "pods", ""))
	if effect(got) != "deny" || got.EvaluationError != "internal error" {
		t.Errorf("%+v, want a denial that keeps the secret", got)
	}
}

func TestMalformedReviews(t *testing.T) { // WH-05, WH-06
	t.Parallel()
	k := newKnocker(t)
	client := k.server.Cluster(servetest.AKS1)
	const spec = `"spec":{"user":"jet@teknews.cloud","extra":{"oid":["20000000-0000-4000-8000-000000000002"]},"resourceAttributes":{"verb":"list","resource":"pods"}}`
	const head = `"kind":"SubjectAccessReview","apiVersion":"authorization.k8s.io/v1",`
	for _, tt := range []struct {
		law, body string
		status    int
		effect    string
	}{
		{"a whole review", "{" + head + spec + "}", 200, "allow"},
		{"members that we do not know", `{"new":[1],` + head + spec + "}", 200, "allow"},
		{"WH-06: a status is not repeated", "{" + head + `"status":{"allowed":true,"denied":true,"reason":"x"},` + strings.Replace(spec, "pods", "secrets", 1) + "}", 200, "no opinion"},
		{"WH-05: no JSON", "{" + head, 400, ""},
		{"WH-05: trailing data", "{" + head + spec + "}x", 400, ""},
		{"WH-05: a member twice", "{" + head + spec + "," + spec + "}", 400, ""},
		{"WH-05: a member in another case", "{" + head + spec + `,"Spec":{}}`, 400, ""},
		{"WH-05: another user hidden in the case", "{" + head + strings.Replace(spec, `"user"`, `"User":"faye@teknews.cloud","user"`, 1) + "}", 400, ""},
		{"WH-05: another kind", strings.Replace("{"+head+spec+"}", "SubjectAccessReview", "LocalSubjectAccessReview", 1), 400, ""},
		{"WH-05: another version", strings.Replace("{"+head+spec+"}", "/v1", "/v1beta1", 1), 400, ""},
		{"WH-05: no kind", "{" + spec + "}", 400, ""},
		{"WH-05: a list", "[]", 400, ""},
		{"WH-07: null", "null", 400, ""},
		{"WH-07: an empty spec", "{" + head + `"spec":{}}`, 200, "deny"},
		{"a huge body", "{" + head + spec + "}" + strings.Repeat(" ", 4<<20), 413, ""},
	} {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel()
			status, text := k.server.Post(client, path(servetest.AKS1), tt.body)
			if status != tt.status {
				t.Fatalf("status %d: %s, want %d", status, text, tt.status)
			}
			if status == 200 {
				if got := parse(t, text); effect(got) != tt.effect {
					t.Errorf("%+v, want %s", got, tt.effect)
				}
			} else if strings.Contains(text, "allowed") {
				t.Errorf("an error that speaks of allowing: %s", text)
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

func TestEvents(t *testing.T) {
	t.Parallel()
	k := newKnocker(t)
	body, _ := json.Marshal(review(resource(by("jet@teknews.cloud", servetest.Jet), "list", "pods", "")))
	k.server.Post(k.server.Cluster(servetest.AKS1), path(servetest.AKS1), string(body), "Audit-ID", "a-1")
	got := k.events.Recent(1, func(serve.Event) bool { return true })
	if len(got) != 1 {
		t.Fatal("no event")
	}
	e := got[0]
	want := serve.Event{
		At: e.At, Took: e.Took, Door: "authz", Cluster: servetest.AKS1, ID: servetest.Jet, User: "jet@teknews.cloud",
		Attributes: e.Attributes, Effect: "allow", Reason: e.Reason, By: "role assignment " + servetest.JetReads.String(),
		Revision: 1, AuditID: "a-1",
	}
	if diff := cmp.Diff(want, e, cmp.AllowUnexported(scope.Scope{})); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if e.Attributes.Verb != "list" || e.Attributes.Resource != "pods" {
		t.Errorf("event of %+v", e.Attributes)
	}
}

func TestNoSessionSurvivesItsAuthority(t *testing.T) { // WH-26
	t.Parallel()
	k := newKnocker(t)
	client := k.server.Cluster(servetest.AKS1) // with a session cache
	for range 3 {
		res, err := client.Get(k.server.URL)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, res.Body)
		res.Body.Close()
		if res.TLS.DidResume {
			t.Error("a session was resumed without looking at the certificate")
		}
		client.CloseIdleConnections()
	}
}
