package authz_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"crypto/tls"
	"crypto/x509"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	authorizationv1 "k8s.io/api/authorization/v1"

	"github.com/gatehouse-io/gatehouse/internal/kuberbac"
	"github.com/gatehouse-io/gatehouse/internal/serve/authz"
	"github.com/gatehouse-io/gatehouse/internal/serve/servetest"
)

var seeds = []string{
	`{"kind":"SubjectAccessReview","apiVersion":"authorization.k8s.io/v1","metadata":{"creationTimestamp":null},"spec":{"resourceAttributes":{"namespace":"default","verb":"list","version":"v1","resource":"pods","fieldSelector":{"requirements":[{"key":"metadata.name","operator":"In","values":["a"]}]}},"user":"jet@teknews.cloud","groups":["system:authenticated"],"extra":{"oid":["20000000-0000-4000-8000-000000000002"]},"uid":"x"},"status":{"allowed":true}}`,
	`{"kind":"SubjectAccessReview","apiVersion":"authorization.k8s.io/v1","spec":{"nonResourceAttributes":{"path":"/api","verb":"get"},"user":"system:anonymous","groups":null,"extra":{}}}`,
	`{"kind":"SubjectAccessReview","apiVersion":"authorization.k8s.io/v1","spec":{"Resourceattributes":null,"user":"a"}}`,
	`{"kind":"SubjectAccessReview","apiVersion":"authorization.k8s.io/v1","spec":{"resourceAttributes":null,"nonResourceAttributes":{},"user":"\ud83d\ude00"}}`,
}

// FuzzReaders: what our reader accepts, encoding/json reads into the type of
// k8s.io/api as the same question. An error comes with the empty question.
func FuzzReaders(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		user, groups, oid, credentials, resource, path, attributes, err := authz.ReadForTest(body)
		if err != nil {
			if user != "" || groups != nil || oid != nil || resource || path || attributes != (kuberbac.Attributes{}) {
				t.Fatalf("a question together with %v", err)
			}
			return
		}
		var other authorizationv1.SubjectAccessReview
		if err := json.Unmarshal(body, &other); err != nil {
			return // a type that we do not look at, such as metadata
		}
		spec := other.Spec
		var want kuberbac.Attributes
		if r := spec.ResourceAttributes; r != nil {
			want = kuberbac.Attributes{Verb: r.Verb, APIGroup: r.Group, Resource: r.Resource, Subresource: r.Subresource, Namespace: r.Namespace, Name: r.Name}
		}
		if n := spec.NonResourceAttributes; n != nil {
			want.Path = n.Path
			if spec.ResourceAttributes == nil {
				want.Verb = n.Verb
			}
		}
		if resource && path { // refused later, whatever the verb is
			want.Verb = attributes.Verb
		}
		if diff := cmp.Diff(want, attributes); diff != "" || resource != (spec.ResourceAttributes != nil) || path != (spec.NonResourceAttributes != nil) {
			t.Fatalf("(-json +ours)\n%s", diff)
		}
		lists := func(l ...[]string) [][]string { return l }
		if diff := cmp.Diff(
			lists([]string{spec.User}, spec.Groups, spec.Extra["oid"], spec.Extra["authentication.kubernetes.io/credential-id"]),
			lists([]string{user}, groups, oid, credentials), cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("(-json +ours)\n%s", diff)
		}
	})
}

// FuzzDoor: whatever arrives, the door does not fall over, an error never comes
// with an allow, and nothing is allowed and denied at once.
func FuzzDoor(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	world := servetest.NewWorld(f)
	door, err := authz.New(authz.Config{Estates: world})
	if err != nil {
		f.Fatal(err)
	}
	h := door.Handler()
	state := &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{{URIs: []*url.URL{servetest.URI(f, servetest.AKS1)}}}}}
	f.Fuzz(func(t *testing.T, body []byte) {
		r := httptest.NewRequest(http.MethodPost, path(servetest.AKS1), strings.NewReader(string(body)))
		r.Header.Set("Content-Type", "application/json")
		r.TLS = state
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		switch w.Code {
		case http.StatusOK:
			var res authorizationv1.SubjectAccessReview
			if err := json.Unmarshal(w.Body.Bytes(), &res); err != nil {
				t.Fatal(err)
			}
			if s := res.Status; s.Allowed && (s.Denied || s.EvaluationError != "") || s.EvaluationError != "" && !s.Denied || len(s.Reason) > 4096 {
				t.Fatalf("%+v", s)
			}
		case http.StatusBadRequest:
			if strings.Contains(w.Body.String(), `"allowed"`) && !strings.Contains(string(body), "allowed") {
				t.Fatalf("an error with an answer: %s", w.Body)
			}
		default:
			t.Fatalf("status %d: %s", w.Code, w.Body)
		}
	})
}
