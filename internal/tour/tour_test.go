package tour_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/gatehouse-io/gatehouse/internal/serve/api/client"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/wire"
	"github.com/gatehouse-io/gatehouse/internal/tour"
)

func TestStoriesAreNumberedInOrderAndNameTheirSource(t *testing.T) {
	t.Parallel()
	last := 0
	for _, s := range tour.Stories() {
		if s.Number <= last || s.Title == "" || s.Source == "" {
			t.Errorf("story %d after %d, title %q, source %q", s.Number, last, s.Title, s.Source)
		}
		last = s.Number
		if found, ok := tour.Find(s.Number); !ok || found.Title != s.Title {
			t.Errorf("Find(%d) = %q, %t", s.Number, found.Title, ok)
		}
	}
	if _, ok := tour.Find(99); ok {
		t.Error("there is a story 99")
	}
}

const (
	aks1 = "/subscriptions/s/resourcegroups/g/providers/microsoft.containerservice/managedclusters/aks-1"
	aks2 = "/subscriptions/s/resourcegroups/g/providers/microsoft.containerservice/managedclusters/aks-2"
	user = "faye@teknews.cloud"
)

var began = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func after(ms int) time.Time { return began.Add(time.Duration(ms) * time.Millisecond) }

var (
	issued  = wire.Event{At: after(0), Door: "oidc", User: user, Effect: "issued", Reason: "urn:ietf:params:oauth:grant-type:device_code for 6dae42f8-4368-4678-94ff-3960e28e3630"}
	forAPI  = wire.Event{At: after(10), Door: "oidc", User: user, Effect: "issued", Reason: "refresh_token for api://gatehouse"}
	checked = wire.Event{At: after(100), Door: "authn", Cluster: aks1, User: user, Effect: "authenticated", Groups: 2, Took: 150_000}
	looked  = wire.Event{At: after(101), Door: "authz", Cluster: aks1, User: user, Effect: "allow", Kube: &wire.Kube{Verb: "get", Path: "/api"}}
	asks    = wire.Event{At: after(102), Door: "authz", Cluster: aks1, User: user, Kube: &wire.Kube{Verb: "list", Resource: "pods", Namespace: "dev"}}
)

func answered(e wire.Event, effect, reason string) wire.Event {
	e.Effect, e.Reason = effect, reason
	return e
}

// house answers the trace with events, and every why with what a plane says.
func house(t *testing.T, events []wire.Event, planes map[string]wire.Explanation) *client.Client {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+wire.PathTrace, func(w http.ResponseWriter, _ *http.Request) { json.MarshalWrite(w, wire.Trace{Events: events}) })
	mux.HandleFunc("POST "+wire.PathWhy, func(w http.ResponseWriter, r *http.Request) {
		var q wire.Question
		if err := json.UnmarshalRead(r.Body, &q); err != nil {
			t.Error(err)
		}
		json.MarshalWrite(w, planes[q.Only])
	})
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	return &client.Client{Base: srv.URL, HTTP: srv.Client(), Token: func(context.Context) (string, error) { return "t", nil }}
}

func says(effect string) wire.Explanation {
	return wire.Explanation{Decision: wire.Decision{Effect: effect, Reason: "because"}, Azure: true, Kubernetes: true}
}

func TestTheWayOfARequestHasTenSteps(t *testing.T) {
	t.Parallel()
	refused := wire.Event{At: after(200), Door: "authn", Cluster: aks1, Effect: "refused", Reason: "the account is disabled"}
	elsewhere := asks
	elsewhere.Cluster, elsewhere.At = aks2, after(300)
	for _, tt := range []struct {
		law, cluster string
		events       []wire.Event
		azure, kube  string
		skipped      string // the steps that the request did not take
		has          []string
	}{
		{"allowed by Azure RBAC", "", []wire.Event{issued, forAPI, checked, looked, answered(asks, "allow", "Role Assignment 1")}, "allow", "no opinion", "6 8",
			[]string{"asks aks-1 for list pods in dev", "by device code for 6dae42f8", "2 groups", "Azure RBAC: allow: Role Assignment 1", "Kubernetes RBAC is not asked any more", "success"}},
		{"allowed by Kubernetes RBAC", "", []wire.Event{issued, checked, answered(asks, "no opinion", "no")}, "no opinion", "allow", "6 8",
			[]string{"Azure RBAC: no opinion", "Kubernetes RBAC: allow: because"}},
		{"refused by both", "", []wire.Event{issued, checked, answered(asks, "no opinion", "Update role assignment.")}, "no opinion", "no opinion", "6 9",
			[]string{"Kubernetes RBAC: no opinion", "no authorizer allows", "403 Forbidden: Update role assignment."}},
		{"denied by the house, whatever Kubernetes RBAC would say", "", []wire.Event{issued, checked, answered(asks, "deny", "Access denied: the account is disabled.")}, "deny", "allow", "6 9",
			[]string{"the house denies: Access denied: the account is disabled.", "a denial ends it", "403 Forbidden"}},
		{"a token that is refused ends it, also after earlier requests", "", []wire.Event{issued, checked, answered(asks, "allow", ""), refused}, "", "", "5 7 8 9",
			[]string{"the house refuses the token: the account is disabled", "401 Unauthorized"}},
		{"what is forgotten is said to be", "", []wire.Event{answered(asks, "allow", "")}, "allow", "", "2 4 6 8", []string{"older than what the house remembers"}},
		{"one cluster alone", aks1, []wire.Event{issued, checked, answered(asks, "allow", ""), elsewhere}, "allow", "", "6 8", []string{"asks aks-1 for"}},
	} {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel()
			flow, err := tour.Trace(t.Context(), house(t, tt.events, map[string]wire.Explanation{"azure": says(tt.azure), "kubernetes": says(tt.kube)}), user, tt.cluster)
			if err != nil {
				t.Fatal(err)
			}
			var skipped []string
			var all strings.Builder
			for i, s := range flow.Steps {
				if s.Number != i+1 || s.Title == "" || s.Text == "" {
					t.Errorf("step %d is %+v", i+1, s)
				}
				if s.Skipped {
					skipped = append(skipped, []string{"", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10"}[s.Number])
				}
				all.WriteString(s.Text + "\n")
			}
			if len(flow.Steps) != 10 || strings.Join(skipped, " ") != tt.skipped {
				t.Errorf("%d steps, skipped %v, want 10 and %s\n%s", len(flow.Steps), skipped, tt.skipped, all.String())
			}
			for _, want := range tt.has {
				if !strings.Contains(all.String(), want) {
					t.Errorf("no %q in\n%s", want, all.String())
				}
			}
		})
	}
}

func TestNobodysRequestIsAnError(t *testing.T) {
	t.Parallel()
	if _, err := tour.Trace(t.Context(), house(t, []wire.Event{issued}, nil), user, ""); !errors.Is(err, tour.ErrNoRequest) {
		t.Errorf("got %v", err)
	}
}
