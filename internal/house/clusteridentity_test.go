package house_test

import (
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/wire"
)

// arm asks Azure Resource Manager with a token.
func (g *gate) arm(token, method, path, body string) (int, string) {
	g.t.Helper()
	req, err := http.NewRequestWithContext(g.t.Context(), method, g.op.Authority+path+"?api-version=2022-11-01", strings.NewReader(body))
	if err != nil {
		g.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	res, err := g.public.Do(req)
	if err != nil {
		g.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

// keys are those of all records.
func (g *gate) keys() map[string]bool {
	all := make(map[string]bool)
	for r := range g.house.Store().Current().Records() {
		all[r.Key().String()] = true
	}
	return all
}

// until waits for what the house does by itself.
func (g *gate) until(what string, done func() bool) {
	g.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(2 * time.Minute); !done(); <-tick.C {
		if time.Now().After(end) {
			g.t.Fatalf("%s: not within two minutes", what)
		}
	}
}

// Story 21, AZ-20: an identity of the system dies with its cluster, and so do those
// that were made for it; what they were given elsewhere grants nothing, whoever comes
// after them. An identity that somebody brought outlives the cluster.
func TestIdentitiesEndWithTheirCluster(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	boss := tokenFor(t, g.conf.Dir, "https://management.azure.com")
	const group = subOfDoors + "/resourceGroups/rg"
	const at = group + "/providers/Microsoft.ContainerService/managedClusters/mortal"
	const brought = group + "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/brought"
	put := func(block string) resource.Cluster {
		t.Helper()
		code, text := g.arm(boss, http.MethodPut, at, `{"location":"westeurope","identity":`+block+`,"properties":{"dnsPrefix":"m","agentPoolProfiles":[{"name":"p","mode":"System"}],`+
			`"addonProfiles":{"azurepolicy":{"enabled":true},"omsagent":{"enabled":true},"azureKeyvaultSecretsProvider":{"enabled":true},"aciConnectorLinux":{"enabled":true}}}}`)
		if code != http.StatusCreated {
			t.Fatalf("%d %s", code, text)
		}
		var c resource.Cluster
		g.until("the end of the creation", func() bool {
			c, _ = g.house.Store().Current().Cluster(scope.MustParse(at))
			return c.Doing.IsZero()
		})
		return c
	}
	end := func() {
		t.Helper()
		if code, text := g.arm(boss, http.MethodDelete, at, ""); code != http.StatusAccepted {
			t.Fatalf("%d %s", code, text)
		}
		g.until("the end of the cluster", func() bool {
			_, there := g.house.Store().Current().Cluster(scope.MustParse(at))
			return !there
		})
	}
	if code, text := g.arm(boss, http.MethodPut, brought, `{"location":"westeurope"}`); code != http.StatusCreated {
		t.Fatalf("%d %s", code, text)
	}
	before := g.keys()
	c := put(`{"type":"SystemAssigned"}`)

	// Least privilege: what AKS gives, and where.
	est := g.house.Store().Current()
	rights := make(map[string]string)
	for _, ref := range c.Identities() {
		m, ok := est.ManagedIdentity(ref.Object)
		if !ok || m.Location != "westeurope" {
			t.Errorf("identity %+v: %+v", ref, m)
		}
		rights[m.DisplayName] = ""
		for _, a := range est.AssignmentsOf(ref.Object) {
			role, _ := est.Definition(a.Role)
			rights[m.DisplayName] += role.RoleName + " at " + a.Scope.Name()
		}
	}
	want := map[string]string{"mortal": "Contributor at mc_rg_mortal_westeurope", "mortal-agentpool": "", "azurepolicy-mortal": "", "omsagent-mortal": "",
		"azurekeyvaultsecretsprovider-mortal": "", "aciconnectorlinux-mortal": "Contributor at mc_rg_mortal_westeurope"}
	if !maps.Equal(rights, want) {
		t.Errorf("the identities have %v, want %v", rights, want)
	}

	// The identity of the system has a token, and a right elsewhere.
	elsewhere := azurerbac.Assignment{ID: idOf[azurerbac.AssignmentID]("60000000-0000-4000-8000-0000000000e1"), Scope: scope.MustParse(group), Principal: c.Identity.Object, Role: readerRole}
	g.put(elsewhere)
	session, err := g.operator.NewIdentitySession(t.Context(), wire.NewIdentitySession{Identities: []string{c.Identity.Object.String()}})
	if err != nil {
		t.Fatal(err)
	}
	ask := func() (string, int, string) {
		return g.machine(g.public, http.MethodGet, g.op.Authority+"/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://management.azure.com/", "", "Metadata", "true", "X-IDENTITY-HEADER", session.Secret)
	}
	token, status, text := ask()
	if status != http.StatusOK {
		t.Fatalf("%d %s", status, text)
	}
	if code, text := g.arm(token, http.MethodGet, group, ""); code != http.StatusOK {
		t.Fatalf("what the identity may read: %d %s", code, text)
	}

	end()
	after := g.keys()
	delete(after, elsewhere.Key().String())
	if !maps.Equal(before, after) {
		for k := range after {
			if !before[k] {
				t.Errorf("%s is left behind", k)
			}
		}
		for k := range before {
			if !after[k] {
				t.Errorf("%s is gone as well", k)
			}
		}
	}
	if _, status, text := ask(); status != http.StatusBadRequest {
		t.Errorf("a token of the dead: %d %s", status, text)
	}
	if code, text := g.arm(token, http.MethodGet, group, ""); code != http.StatusUnauthorized {
		t.Errorf("an old token of the dead: %d %s", code, text)
	}

	// A cluster of the same name is somebody else.
	second := put(`{"type":"SystemAssigned"}`)
	if second.Identity.Object == c.Identity.Object || second.KubeletIdentity.Object == c.KubeletIdentity.Object {
		t.Error("the second cluster has an identity of the first")
	}
	if session, err = g.operator.NewIdentitySession(t.Context(), wire.NewIdentitySession{Identities: []string{second.Identity.Object.String()}}); err != nil {
		t.Fatal(err)
	}
	if token, status, text = ask(); status != http.StatusOK {
		t.Fatalf("%d %s", status, text)
	}
	if code, text := g.arm(token, http.MethodGet, group, ""); code != http.StatusForbidden {
		t.Errorf("the second cluster has the right of the first: %d %s", code, text)
	}
	// Nor does anybody get the id that the right is for.
	heir := directory.ManagedIdentity{ID: c.Identity.Object, ClientID: directory.NewAppID(), Tenant: tenant.ID, DisplayName: "heir",
		Resource: scope.MustParse(group + "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/heir")}
	spec, err := record.Marshal(heir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.operator.Commit(t.Context(), wire.Changes{Why: "test", Ops: []wire.Op{{Put: &wire.Record{Kind: record.ManagedIdentity, Spec: spec}}}}); code(err) != "PrincipalIdInUse" {
		t.Errorf("an heir under the same id: %v", err)
	}

	end()
	third := put(`{"type":"UserAssigned","userAssignedIdentities":{"` + brought + `":{}}}`)
	end()
	survivor, ok := g.house.Store().Current().IdentityAt(scope.MustParse(brought))
	if !ok || survivor.ID != third.Identity.Object {
		t.Errorf("the identity that was brought is %+v", survivor)
	}
	if left := g.house.Store().Current().AssignmentsOf(survivor.ID); len(left) != 0 {
		t.Errorf("it still has %v", left)
	}
	for _, id := range []principal.ID{c.Identity.Object, second.Identity.Object, third.KubeletIdentity.Object} {
		if _, there := g.house.Store().Current().Get(record.KeyOf(record.ManagedIdentity, id.String())); there {
			t.Errorf("%s is still there", id)
		}
	}
}
