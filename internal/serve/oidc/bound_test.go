package oidc_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/issue"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve/oidc"
)

// FED-17: what ends while the cluster is being asked whether an account may be an
// identity, its binding as well, gives no token any more.
func TestABindingThatEndsWhileTheClusterIsAsked(t *testing.T) {
	t.Parallel()
	otherWorkload := workload
	otherWorkload.ID, otherWorkload.ClientID = principal.ID{5, 2}, directory.AppID{5, 2}
	otherWorkload.Resource = scope.MustParse("/subscriptions/50000000-0000-4000-8000-000000000001/resourceGroups/rg/providers/Microsoft.ManagedIdentity/userAssignedIdentities/other")
	aks := resource.Cluster{
		Scope: scope.MustParse("/subscriptions/50000000-0000-4000-8000-000000000001/resourceGroups/rg/providers/Microsoft.ContainerService/managedClusters/aks"),
		Name:  "aks", ResourceGroup: "rg", Tenant: tenantA.ID, OIDCIssuer: true, IssuerURL: clusterIssuer, WorkloadIdentity: true,
		IdentityBindings: []resource.IdentityBinding{{Name: "web", Identity: resource.IdentityRef{Resource: workload.Resource, Object: workload.ID}}},
	}
	unbound, another := aks, aks
	unbound.IdentityBindings = nil
	another.IdentityBindings = []resource.IdentityBinding{{Name: "web", Identity: resource.IdentityRef{Resource: otherWorkload.Resource, Object: otherWorkload.ID}}}
	off := workload
	off.Disabled = true
	for law, tt := range map[string]struct {
		end  func(*world)
		good bool
	}{
		"nothing ends":                         {func(*world) {}, true},
		"the binding":                          {func(w *world) { w.commit(unbound) }, false},
		"the binding, for another identity":    {func(w *world) { w.commit(another) }, false},
		"the cluster":                          {func(w *world) { w.remove(aks.Key()) }, false},
		"the credential that all bindings use": {func(w *world) { w.remove(directory.BindingCredential(workload).Key()) }, false},
		"the identity is disabled":             {func(w *world) { w.commit(off) }, false},
	} {
		t.Run(law, func(t *testing.T) {
			t.Parallel()
			w, _ := newFederatedWorld(t)
			w.commit(aks, otherWorkload, directory.BindingCredential(workload))
			door := oidc.New(oidc.Config{Issuer: w.issuer, Trace: w.trace})
			server := httptest.NewTLSServer(door.Bound(func(context.Context, string, issue.Secret) (issue.Bound, error) {
				tt.end(w)
				return issue.Bound{Identity: workload.ID, At: aks.Scope, Account: "system:serviceaccount:web:frontend"}, nil
			}))
			defer server.Close()
			got := postTo(t, server, tokenPath(tenantA.ID.String()), exchangeForm(workload.ClientID.String(), "x"))
			if (got.Status == http.StatusOK) != tt.good || (got.Access != "") != tt.good {
				t.Errorf("%d %s", got.Status, got.Raw)
			}
		})
	}
}
