package oidc_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/identityrequest"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/store"
)

// requestWorld is a federated world whose workload is trusted by an approved request
// for an hour and a half from now, and that request.
func requestWorld(t *testing.T) (*world, foreigner, identityrequest.Request) {
	t.Helper()
	w, kube := newFederatedWorld(t)
	w.remove(workloadCredential.Key())
	aks := resource.Cluster{
		Scope: scope.MustParse("/subscriptions/50000000-0000-4000-8000-000000000001/resourceGroups/rg/providers/Microsoft.ContainerService/managedClusters/aks"),
		Name:  "aks", ResourceGroup: "rg", Tenant: tenantA.ID, OIDCIssuer: true, IssuerURL: clusterIssuer,
	}
	now := w.clock.Now()
	r, err := identityrequest.Request{
		ID: identityrequest.NewID(), Tenant: tenantA.ID, Requester: faye.ID, Identity: workload.Resource,
		Cluster: aks.Scope, Namespace: "web", ServiceAccounts: []string{"frontend"}, Lasts: azurerbac.Duration(90 * time.Minute),
	}.Ask(now, "")
	if err != nil {
		t.Fatal(err)
	}
	w.commit(aks, r)
	r, err = r.Approve(principal.ID{9}, now, "", identityrequest.Given{Object: workload.ID, Client: workload.ClientID, Issuer: clusterIssuer, NotAfter: r.EndFrom(now)})
	if err != nil {
		t.Fatal(err)
	}
	w.commit(r, r.Credentials()[0])
	return w, kube, r
}

// JIT-01, JIT-03: what was approved ends by the clock, with no write; no token of it
// lives longer; and a clock that is set back makes none again that was retired.
func TestAnApprovedIdentityEnds(t *testing.T) {
	t.Parallel()
	w, kube, r := requestWorld(t)
	rev := w.store.Current().Revision()
	post := func() reply {
		return w.post(tokenPath(tenantA.ID.String()), exchangeForm(workload.ClientID.String(), kube.token(nil)))
	}
	if got := post(); got.Status != http.StatusOK || got.Body["expires_in"].(float64) < 3590 {
		t.Fatalf("at first: %d %s", got.Status, got.Raw)
	}
	w.clock.forward(time.Hour)
	got := post()
	if got.Status != http.StatusOK {
		t.Fatalf("half an hour before its end: %d %s", got.Status, got.Raw)
	}
	if c := w.verify(got.Access, "https://vault.azure.net"); c.Expires.After(r.Given.NotAfter) || got.Body["expires_in"].(float64) > 1800 {
		t.Errorf("a token until %s of what ends at %s", c.Expires, r.Given.NotAfter)
	}
	w.clock.forward(30 * time.Minute)
	if got := post(); got.Access != "" || got.Code != 70025 {
		t.Errorf("after its end: %d %s, want AADSTS70025", got.Status, got.Raw)
	}
	if now := w.store.Current().Revision(); now != rev {
		t.Errorf("something was written: revision %d, then %d", rev, now)
	}
	over, err := r.Retire(faye.ID, w.clock.Now(), "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.store.Commit(t.Context(), store.Change{Ops: []estate.Op{{Put: over}, {Delete: r.Credentials()[0].Key()}}}); err != nil {
		t.Fatal(err)
	}
	w.clock.forward(-90 * time.Minute)
	if got := post(); got.Access != "" || got.Code != 70025 {
		t.Errorf("retired, and the clock is set back: %d %s", got.Status, got.Raw)
	}
}

// JIT-11: what is taken away counts at once, also while the issuer is being asked.
func TestAnApprovedIdentityIsTakenAway(t *testing.T) {
	t.Parallel()
	for law, key := range map[string]func(identityrequest.Request) record.Key{
		"the cluster is deleted":    func(r identityrequest.Request) record.Key { return record.KeyOf(record.Cluster, r.Cluster.String()) },
		"the credential is deleted": func(r identityrequest.Request) record.Key { return r.Credentials()[0].Key() },
	} {
		t.Run(law, func(t *testing.T) {
			t.Parallel()
			w, kube, r := requestWorld(t)
			w.foreign.before = func() { w.remove(key(r)); w.foreign.before = nil }
			if got := w.post(tokenPath(tenantA.ID.String()), exchangeForm(workload.ClientID.String(), kube.token(nil))); got.Access != "" || got.Status >= 500 {
				t.Errorf("%d %s", got.Status, got.Raw)
			}
		})
	}
}
