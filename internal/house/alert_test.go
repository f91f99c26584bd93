package house_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/wire"
)

// alerts are those in the audit log, as its readers see them.
func (g *gate) alerts() (all []wire.AuditAlert) {
	g.t.Helper()
	for r, err := range g.operator.Audit(g.t.Context(), 1) {
		if err != nil {
			g.t.Fatal(err)
		}
		all = append(all, r.Alerts...)
	}
	return all
}

// Story 25: whoever uses a cluster's identity through a session, or shows its token to
// another cluster, is in the audit log; so is a credential for it. An identity of no
// cluster is not, and no secret is.
func TestIdentitiesOfClustersOutsideAreAlerts(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	g.put(ofCluster)
	g.put(given(52, identityOperator, scope.MustParse(subOfDoors)))
	g.put(given(53, clusterOwner, clusterAt))
	other := resource.Cluster{Scope: scope.MustParse(subOfDoors + "/resourceGroups/rg/providers/Microsoft.ContainerService/managedClusters/other"), Name: "other", ResourceGroup: "rg",
		Tenant: tenant.ID, EntraSignIn: true, Attached: true, KubeletIdentity: resource.IdentityRef{Resource: identity.Resource, Object: identity.ID}}

	session, err := g.as(ana).NewIdentitySession(t.Context(), wire.NewIdentitySession{Identities: []string{"mi", "aks"}})
	if err != nil {
		t.Fatal(err)
	}
	mi := "&client_id=" + identity.ClientID.String()
	raw, status, text := g.use(session.Secret, mi)
	if status != http.StatusOK || len(g.alerts()) != 0 {
		t.Fatalf("an identity of no cluster: %d %s, alerts %v", status, text, g.alerts())
	}
	g.put(other)
	for range 2 {
		if _, status, text := g.use(session.Secret, mi); status != http.StatusOK {
			t.Fatalf("%d %s", status, text)
		}
	}
	if _, status, text := g.use(session.Secret, "&client_id="+ofCluster.ClientID.String()); status != http.StatusOK {
		t.Fatalf("%d %s", status, text)
	}
	if !g.authenticated(raw) {
		t.Error("another cluster's identity is who it is")
	}
	g.put(directory.FederatedCredential{Owner: identity.ClientID, Name: "git", Issuer: "https://ci.example", Subject: "repo:x", Audiences: []string{"api://AzureADTokenExchange"}})

	want := []string{
		"mi identity session " + ana.ID.String() + " ",
		"aks identity session " + ana.ID.String() + " ",
		"mi API server " + clusterAt.String() + " ",
		"mi federated credential written https://ci.example git: repo:x",
	}
	var got []string
	for _, a := range g.alerts() {
		got = append(got, a.Identity.Name+" "+a.Way+" "+a.From+" "+a.Detail)
	}
	if a, b := strings.Join(want, "\n"), strings.Join(got, "\n"); a != b {
		t.Errorf("alerts are\n%s\nwant\n%s", b, a)
	}
	if log := g.log.String(); strings.Contains(log, session.Secret) || strings.Contains(log, raw) || !strings.Contains(log, "alert: identity "+identity.ID.String()) {
		t.Error("ZA-01: a secret is in the log, or the alert is not")
	}
}
