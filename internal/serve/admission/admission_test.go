package admission_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gatehouse-io/gatehouse/internal/inject"
	"github.com/gatehouse-io/gatehouse/internal/pki"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve"
	"github.com/gatehouse-io/gatehouse/internal/serve/admission"
	"github.com/gatehouse-io/gatehouse/internal/serve/servetest"
)

const group = "/subscriptions/8c8b1b0e-0000-4000-8000-000000000001/resourceGroups/web/providers/Microsoft.ContainerService/managedClusters/"

var (
	on      = scope.MustParse(group + "aks-1")
	off     = scope.MustParse(group + "aks-2")
	unknown = scope.MustParse(group + "aks-3")
)

const clientID = "11111111-2222-4333-8444-555555555555"

// A stage is a door before a cluster whose service accounts a test writes.
type stage struct {
	*servetest.Server
	door     *admission.Door
	mu       sync.Mutex
	accounts map[string]*corev1.ServiceAccount
	asked    []string
	events   []serve.Event
}

func account(namespace, name string) *corev1.ServiceAccount {
	return &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name,
		Annotations: map[string]string{inject.ClientIDAnnotation: clientID}}}
}

func newStage(t testing.TB) *stage {
	t.Helper()
	s := newDoor(t)
	mux := http.NewServeMux()
	mux.Handle("/", s.door.Handler())
	mux.Handle("/alone/", http.StripPrefix("/alone", s.door.Alone()))
	s.Server = servetest.Start(t, mux, true)
	return s
}

// newDoor is a stage without a listener.
func newDoor(t testing.TB) *stage {
	t.Helper()
	s := &stage{accounts: map[string]*corev1.ServiceAccount{"shop/web": account("shop", "web"), "shop/strayed": account("elsewhere", "strayed")}}
	door, err := admission.New(admission.Config{
		Within: 50 * time.Millisecond,
		Accounts: func(ctx context.Context, at scope.Scope, namespace, name string) (*corev1.ServiceAccount, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.asked = append(s.asked, at.Name()+" "+namespace+"/"+name)
			switch name {
			case "slow":
				<-ctx.Done()
				return nil, ctx.Err()
			case "broken":
				return nil, errors.New("the API server is down")
			case "panics":
				panic("nothing is thrown at callers")
			}
			if sa := s.accounts[namespace+"/"+name]; sa != nil {
				return sa, nil
			}
			return nil, fmt.Errorf("get: %w", admission.ErrNotFound)
		},
		Settings: func(at scope.Scope) (*inject.Config, error) {
			switch at {
			case on, scope.Scope{}:
				return &inject.Config{Tenant: "00000000-0000-4000-8000-00000000000a", AuthorityHost: "https://login.microsoftonline.com/"}, nil
			case off:
				return nil, nil
			}
			return nil, errors.New("no such cluster")
		},
		Events: func(_ context.Context, e serve.Event) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.events = append(s.events, e)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.door = door
	return s
}

const podText = `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web-0","labels":{"azure.workload.identity/use":"true"}},"spec":{"serviceAccountName":"web","containers":[{"name":"app","image":"a"}]}}`

// reviewOf is what an API server sends; changes are pairs of what stands in it
// and what stands there instead.
func reviewOf(pod string, changes ...string) string {
	text := `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"u-1","kind":{"group":"","version":"v1","kind":"Pod"},` +
		`"resource":{"group":"","version":"v1","resource":"pods"},"requestKind":{"group":"","version":"v1","kind":"Pod"},"name":"web-0","namespace":"shop",` +
		`"operation":"CREATE","userInfo":{"username":"ana@example.com","groups":["system:authenticated"]},"object":` + pod + `,"oldObject":null,"dryRun":false,"options":{"kind":"CreateOptions","apiVersion":"meta.k8s.io/v1"}}}`
	return strings.NewReplacer(changes...).Replace(text)
}

func pathOf(cluster scope.Scope) string {
	return serve.ClusterPrefix + cluster.String() + "/" + admission.Path + "?timeout=10s"
}

// ask sends a review, and reads the answer as kube-apiserver does.
func (s *stage) ask(t testing.TB, cluster scope.Scope, review string) *admissionv1.AdmissionResponse {
	t.Helper()
	code, body := s.Post(s.Cluster(cluster), pathOf(cluster), review)
	if code != http.StatusOK {
		t.Fatalf("HTTP %d: %s", code, body)
	}
	var out admissionv1.AdmissionReview
	if err := json.Unmarshal([]byte(body), &out); err != nil {
		t.Fatal(err)
	}
	if out.Kind != "AdmissionReview" || out.APIVersion != "admission.k8s.io/v1" || out.Response == nil || out.Response.UID != "u-1" {
		t.Fatalf("no answer to this review: %s", body)
	}
	return out.Response
}

// patched applies the patch of an answer to a pod.
func patched(t testing.TB, pod string, res *admissionv1.AdmissionResponse) *corev1.Pod {
	t.Helper()
	if !res.Allowed || res.PatchType == nil || *res.PatchType != admissionv1.PatchTypeJSONPatch {
		t.Fatalf("no patch: %+v", res)
	}
	patch, err := jsonpatch.DecodePatch(res.Patch)
	if err != nil {
		t.Fatal(err)
	}
	text, err := patch.Apply([]byte(pod))
	if err != nil {
		t.Fatal(err)
	}
	out := new(corev1.Pod)
	if err := json.Unmarshal(text, out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestAPodGetsItsIdentity(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	got := patched(t, podText, s.ask(t, on, reviewOf(podText)))
	if c := got.Spec.Containers[0]; len(c.Env) != 4 || c.Env[0].Value != clientID || len(c.VolumeMounts) != 1 || len(got.Spec.Volumes) != 1 {
		t.Errorf("%+v", got.Spec)
	}
	if fmt.Sprint(s.asked) != "[aks-1 shop/web]" {
		t.Errorf("asked for %v", s.asked)
	}
	if len(s.events) != 1 || s.events[0].Effect != "patched" || s.events[0].Door != "admission" || s.events[0].User != "ana@example.com shop/web-0" {
		t.Errorf("traced %+v", s.events)
	}
}

// AD-11: what was written a moment ago counts.
func TestAServiceAccountCountsAsItIsNow(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	pod := strings.ReplaceAll(podText, `"web"`, `"new"`)
	if res := s.ask(t, on, reviewOf(pod)); res.Allowed {
		t.Fatalf("a pod without service account was let in: %+v", res)
	}
	for i := range 20 {
		id := fmt.Sprintf("identity-%d", i)
		sa := account("shop", "new")
		sa.Annotations[inject.ClientIDAnnotation] = id
		s.mu.Lock()
		s.accounts["shop/new"] = sa
		s.mu.Unlock()
		if got := patched(t, pod, s.ask(t, on, reviewOf(pod))).Spec.Containers[0].Env[0].Value; got != id {
			t.Fatalf("AZURE_CLIENT_ID is %s, written was %s", got, id)
		}
	}
}

// What is allowed without a patch: AD-02, labels; AD-03, ephemeral containers;
// AD-07, everything that creates no pod.
func TestWhatIsNotOursIsLeftAlone(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	create := `"operation":"CREATE"`
	for _, tt := range []struct {
		law, review string
		at          scope.Scope
		warning     bool
	}{
		{"AD-02: a pod without label", reviewOf(podText, `{"azure.workload.identity/use":"true"}`, "{}"), on, false},
		{"AD-02: the label True", reviewOf(podText, `"azure.workload.identity/use":"true"`, `"azure.workload.identity/use":"True"`), on, false},
		{"AD-03: an ephemeral container", reviewOf(podText, create, `"operation":"UPDATE","subResource":"ephemeralcontainers"`), on, false},
		{"AD-03: an ephemeral container, called a creation", reviewOf(podText, create, create+`,"subResource":"ephemeralcontainers"`), on, false},
		{"AD-07: an update", reviewOf(podText, create, `"operation":"UPDATE"`), on, false},
		{"AD-07: a connection", reviewOf(podText, create, `"operation":"CONNECT"`), on, false},
		{"AD-07: a deletion, which has no object", reviewOf("null", create, `"operation":"DELETE"`), on, false},
		{"AD-07: an operation in another letter case", reviewOf(podText, create, `"operation":"create"`), on, false},
		{"AD-07: another kind", reviewOf(podText, `"version":"v1","kind":"Pod"}`, `"version":"v1","kind":"PodTemplate"}`), on, false},
		{"AD-07: another version", reviewOf(podText, `"version":"v1","kind":"Pod"}`, `"version":"v2","kind":"Pod"}`), on, false},
		{"a cluster that has it switched off", reviewOf(podText), off, true},
		{"a pod that has all of it", reviewOf(complete(t, s)), on, false},
	} {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel()
			res := s.ask(t, tt.at, tt.review)
			if !res.Allowed || res.Patch != nil || res.PatchType != nil {
				t.Errorf("%+v", res)
			}
			if (len(res.Warnings) > 0) != tt.warning {
				t.Errorf("warnings %q", res.Warnings)
			}
		})
	}
}

func complete(t *testing.T, s *stage) string {
	t.Helper()
	text, err := json.Marshal(patched(t, podText, s.ask(t, on, reviewOf(podText))))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// AD-07: a trial has the same answer, and nothing happens by it or by any other.
func TestATrialIsAnsweredAlike(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	real, trial := s.ask(t, on, reviewOf(podText)), s.ask(t, on, reviewOf(podText, `"dryRun":false`, `"dryRun":true`))
	if string(real.Patch) != string(trial.Patch) || len(real.Patch) == 0 {
		t.Errorf("real %s\ntrial %s", real.Patch, trial.Patch)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	for _, tt := range []struct {
		law, review string
		at          scope.Scope
		want        string
	}{
		{"a service account that does not exist", reviewOf(podText, `"serviceAccountName":"web"`, `"serviceAccountName":"nobody"`), on,
			`service account "nobody" does not exist in namespace "shop"; create it before the pod`},
		{"a service account of another namespace does not count", reviewOf(podText, `"namespace":"shop"`, `"namespace":"kube-system"`), on, `does not exist in namespace "kube-system"`},
		{"a service account that answers from another namespace", reviewOf(podText, `"serviceAccountName":"web"`, `"serviceAccountName":"strayed"`), on, `found in "elsewhere"`},
		{"an API server that does not answer in time", reviewOf(podText, `"serviceAccountName":"web"`, `"serviceAccountName":"slow"`), on, "could not be read, try again: context deadline exceeded"},
		{"an API server that is down", reviewOf(podText, `"serviceAccountName":"web"`, `"serviceAccountName":"broken"`), on, "the API server is down"},
		{"a life that is too short", reviewOf(podText, `"name":"web-0","labels"`, `"name":"web-0","annotations":{"azure.workload.identity/service-account-token-expiration":"60"},"labels"`), on,
			"token expiration 60 not valid. Expected value to be between 3600 and 86400"},
		{"AD-06: another volume on our path", reviewOf(podText, `"image":"a"`, `"image":"a","volumeMounts":[{"name":"x","mountPath":"/var/run/secrets/azure/tokens"}]`), on, `mounts volume "x"`},
		{"a pod that is no object", reviewOf(`["pod"]`), on, "the pod cannot be read"},
		{"a pod without any text", reviewOf("null"), on, ""},
		{"a pod with a list where a name belongs", reviewOf(podText, `"name":"app"`, `"name":["app"]`), on, "the pod cannot be read"},
		{"a cluster that nobody knows", reviewOf(podText), unknown, "no such cluster"},
	} {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel()
			begin := time.Now()
			res := s.ask(t, tt.at, tt.review)
			if tt.want == "" { // nothing asks for an identity
				if !res.Allowed || res.Patch != nil {
					t.Errorf("%+v", res)
				}
				return
			}
			if res.Allowed || res.Patch != nil || res.Result == nil || res.Result.Code != 400 || !strings.Contains(res.Result.Message, tt.want) {
				t.Errorf("%+v, want a refusal with %q", res, tt.want)
			}
			// The slow one is given 50 ms; a busy machine takes its own time.
			if took := time.Since(begin); took > 30*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

// AD-13, AD-14: what is no review, or comes from somebody else, gets no answer.
func TestWhatIsNoReview(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	ours := s.Cluster(on)
	for _, tt := range []struct {
		law, body string
		client    *http.Client
		at        scope.Scope
		code      int
	}{
		{"AD-13: an older version", reviewOf(podText, "admission.k8s.io/v1\"", "admission.k8s.io/v1beta1\""), ours, on, 400},
		{"AD-13: a version of the future", reviewOf(podText, "admission.k8s.io/v1\"", "admission.k8s.io/v2\""), ours, on, 400},
		{"AD-13: no version", reviewOf(podText, `"apiVersion":"admission.k8s.io/v1",`, ""), ours, on, 400},
		{"AD-13: an empty version", reviewOf(podText, `"apiVersion":"admission.k8s.io/v1"`, `"apiVersion":""`), ours, on, 400},
		{"AD-13: another kind", reviewOf(podText, `"kind":"AdmissionReview"`, `"kind":"TokenReview"`), ours, on, 400},
		{"AD-13: no uid", reviewOf(podText, `"uid":"u-1",`, ""), ours, on, 400},
		{"AD-13: no request", `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1"}`, ours, on, 400},
		{"AD-13: a request twice", `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"a"},"request":{"uid":"b"}}`, ours, on, 400},
		{"AD-13: a label twice", reviewOf(podText, `{"azure.workload.identity/use":"true"}`, `{"azure.workload.identity/use":"no","azure.workload.identity/use":"true"}`), ours, on, 400},
		{"AD-13: half a review", reviewOf(podText)[:300], ours, on, 400},
		{"AD-13: something behind it", reviewOf(podText) + "{}", ours, on, 400},
		{"AD-13: nested 10,000 times", reviewOf(strings.Repeat(`{"a":`, 10_000) + "1" + strings.Repeat("}", 10_000)), ours, on, 400},
		{"AD-13: a huge object", reviewOf(`{"a":"` + strings.Repeat("x", 9<<20) + `"}`), ours, on, 413},
		{"AD-13: an empty body", "", ours, on, 400},
		{"AD-14: the certificate of another cluster", reviewOf(podText), s.Cluster(off), on, 403},
		{"a panic on the way is no allowance", reviewOf(podText, `"serviceAccountName":"web"`, `"serviceAccountName":"panics"`), ours, on, 500},
	} {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel()
			if code, body := s.Post(tt.client, pathOf(tt.at), tt.body); code != tt.code || strings.Contains(body, `"allowed":true`) {
				t.Errorf("HTTP %d %.300s, want %d", code, body, tt.code)
			}
		})
	}
	stranger := pki.Leaf{CommonName: "apiserver", URIs: []*url.URL{servetest.URI(t, on)}, Client: true, Life: time.Hour}
	for law, client := range map[string]*http.Client{
		"AD-14: nobody without a certificate gets as far as this door":            s.Anonymous(),
		"AD-14: nor with the cluster's name in a certificate of who may not sign": s.WithCertificate(servetest.NewCA(t), stranger),
	} {
		t.Run(law, func(t *testing.T) {
			t.Parallel()
			for _, path := range []string{pathOf(on), "/alone/mutate-v1-pod"} {
				if res, err := client.Post(s.URL+path, "application/json", strings.NewReader(reviewOf(podText))); err == nil {
					res.Body.Close()
					t.Errorf("%s answered %s", path, res.Status)
				}
			}
		})
	}
	t.Run("what is not JSON by its own words", func(t *testing.T) {
		t.Parallel()
		res, err := ours.Post(s.URL+pathOf(on), "text/plain", strings.NewReader(reviewOf(podText)))
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != http.StatusUnsupportedMediaType {
			t.Errorf("answered %s", res.Status)
		}
	})
}

func TestAlone(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	client := s.Cluster(on)
	for _, tt := range []struct {
		law, method, path string
		code              int
	}{
		{"the one cluster is answered", http.MethodPost, "/alone/mutate-v1-pod?timeout=5s", 200},
		{"elsewhere is nothing", http.MethodPost, "/alone/mutate-v1-pods", 404},
		{"reviews are posted", http.MethodGet, "/alone/mutate-v1-pod", 405},
	} {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel()
			req, err := http.NewRequestWithContext(t.Context(), tt.method, s.URL+tt.path, strings.NewReader(reviewOf(podText)))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/json")
			res, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			if res.StatusCode != tt.code {
				t.Errorf("answered %s, want %d", res.Status, tt.code)
			}
		})
	}
}

// FuzzReview: whatever is sent, a patch comes for no pod but one that asks for it,
// with the uid of its request.
func FuzzReview(f *testing.F) {
	f.Add([]byte(reviewOf(podText)))
	f.Add([]byte(reviewOf(podText, "CREATE", "UPDATE")))
	f.Add([]byte(`{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"u"}}`))
	f.Add([]byte(`{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"u","resource":false}}`))
	alone := newDoor(f).door.Alone()
	f.Fuzz(func(t *testing.T, body []byte) {
		req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/"+admission.Path, bytes.NewReader(body))
		req.Header.Set("Content-Type", "application/json")
		rec := httptest.NewRecorder()
		alone.ServeHTTP(rec, req)
		code, text := rec.Code, rec.Body.String()
		if code != http.StatusOK {
			if code >= 500 && code != http.StatusInternalServerError {
				t.Fatalf("HTTP %d: %s", code, text)
			}
			return
		}
		var out admissionv1.AdmissionReview
		if err := json.Unmarshal([]byte(text), &out); err != nil || out.Response == nil {
			t.Fatalf("%v: %s", err, text)
		}
		// Of the request what decides: the rest is for others, and of any form.
		var in struct {
			Request *struct {
				UID       types.UID
				Operation admissionv1.Operation
				Object    runtime.RawExtension
			}
		}
		if err := json.Unmarshal(body, &in); err != nil || in.Request == nil || in.Request.UID != out.Response.UID {
			t.Fatalf("%v: %s for %s", err, text, body)
		}
		if out.Response.Patch == nil {
			return
		}
		var pod corev1.Pod
		if err := json.Unmarshal(in.Request.Object.Raw, &pod); err != nil || !inject.Wanted(&pod) || in.Request.Operation != admissionv1.Create {
			t.Fatalf("%v: a patch for %s", err, body)
		}
	})
}
