package oidc_test

import (
	"net/http"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/alert"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve/servetest"
	"github.com/gatehouse-io/gatehouse/internal/store"
	"github.com/gatehouse-io/gatehouse/internal/token"
)

// alerts are those of uses in the audit log.
func (w *world) alerts() (all []alert.Alert) {
	w.t.Helper()
	for r, err := range w.store.Audit(w.t.Context(), 0) {
		if err != nil {
			w.t.Fatal(err)
		}
		for _, a := range r.Alerts {
			if a.Way != alert.WroteCredential {
				all = append(all, a)
			}
		}
	}
	return all
}

// Story 25: an identity of a cluster that gets its tokens from another issuer than the
// cluster's is an alert, once; and without one there is no token.
func TestAClustersIdentityElsewhereIsAnAlert(t *testing.T) {
	t.Parallel()
	kv := &servetest.Outage{Memory: new(store.Memory)}
	w := newWorldOn(t, kv, token.ES256)
	elsewhere := workloadCredential
	elsewhere.Name, elsewhere.Issuer = "elsewhere", "https://ci.example"
	w.commit(workload, workloadCredential, elsewhere)
	home, ci := w.foreigner(token.RS256, clusterIssuer), w.foreigner(token.ES256, "https://ci.example")
	cluster := resource.Cluster{
		Scope: scope.MustParse("/subscriptions/50000000-0000-4000-8000-000000000001/resourceGroups/rg/providers/Microsoft.ContainerService/managedClusters/aks"),
		Name:  "aks", ResourceGroup: "rg", Tenant: tenantA.ID, OIDCIssuer: true, IssuerURL: clusterIssuer,
	}
	w.commit(cluster)
	fromCI := func() int {
		r := w.post(tokenPath(tenantA.ID.String()), exchangeForm(workload.ClientID.String(), ci.token(map[string]any{"iss": "https://ci.example"})))
		if r.Status != http.StatusOK && r.Access != "" {
			t.Errorf("a token and an error: %s", r.Raw)
		}
		return r.Status
	}
	if got := fromCI(); got != http.StatusOK || len(w.alerts()) != 0 {
		t.Fatalf("an identity of no cluster: %d, alerts %v", got, w.alerts())
	}
	cluster.KubeletIdentity = resource.IdentityRef{Resource: workload.Resource, Object: workload.ID}
	w.commit(cluster)
	if r := w.post(tokenPath(tenantA.ID.String()), exchangeForm(workload.ClientID.String(), home.token(nil))); r.Status != http.StatusOK || len(w.alerts()) != 0 {
		t.Fatalf("its own cluster: %s, alerts %v", r.Raw, w.alerts())
	}

	kv.On.Store(true)
	if got := fromCI(); got != http.StatusServiceUnavailable {
		t.Errorf("when the alert cannot be written: %d", got)
	}
	if r := w.post(tokenPath(tenantA.ID.String()), exchangeForm(workload.ClientID.String(), home.token(nil))); r.Status != http.StatusOK {
		t.Errorf("its own cluster needs no write: %s", r.Raw)
	}
	kv.On.Store(false)

	for range 3 {
		if got := fromCI(); got != http.StatusOK {
			t.Fatalf("another issuer: %d", got)
		}
	}
	all := w.alerts()
	if len(all) != 1 {
		t.Fatalf("%d alerts, want 1: %v", len(all), all)
	}
	if a := all[0]; a.Identity != workload.ID || a.Way != alert.Federated || a.From != "https://ci.example" || a.Detail != account || a.Clusters[0] != cluster.Scope {
		t.Errorf("%+v", a)
	}
}
