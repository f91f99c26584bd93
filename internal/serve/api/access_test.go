package api_test

import (
	"strings"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/serve/servetest"
	"github.com/gatehouse-io/gatehouse/internal/store"
)

func TestAKubeconfigTakesItsOwnRight(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	clusterUser := role("4abbcc35-e782-43d8-92c5-2d3f1bd2253f") // Azure Kubernetes Service Cluster User Role
	grant := azurerbac.Assignment{ID: assignmentID(50), Scope: servetest.AKS1, Principal: servetest.Faye, Role: clusterUser}
	if _, err := h.store.Commit(t.Context(), store.Change{Why: "test", Ops: []estate.Op{{Put: grant}}}); err != nil {
		t.Fatal(err)
	}
	got, err := h.as(servetest.Faye).Access(t.Context(), servetest.AKS1)
	if err != nil {
		t.Fatal(err)
	}
	if got.Name != "aks-1" || got.ResourceGroup != "web" || got.Tenant != servetest.Tenant.String() || !got.EntraSignIn {
		t.Errorf("got %+v", got)
	}
	// RBAC Reader is a role for the Kubernetes API alone: it fetches no kubeconfig.
	_, err = h.as(servetest.Jet).Access(t.Context(), servetest.AKS1)
	want := "(AuthorizationFailed) The client 'jet@teknews.cloud' with object id '" + servetest.Jet.String() +
		"' does not have authorization to perform action 'Microsoft.ContainerService/managedClusters/listClusterUserCredential/action' over scope '" + servetest.AKS1.String() + "'"
	if err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got  %v\nwant %s ...", err, want)
	}
}
