package arm_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	control "github.com/gatehouse-io/gatehouse/internal/cluster"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/pki"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve/arm"
	"github.com/gatehouse-io/gatehouse/internal/serve/servetest"
	"github.com/gatehouse-io/gatehouse/internal/store"
)

var (
	aksPath = servetest.Group.String() + "/providers/Microsoft.ContainerService/managedClusters"
	newAKS  = aksPath + "/New-1"
	newAt   = scope.MustParse(newAKS)
	nodes   = servetest.Subscription.String() + "/resourceGroups/MC_web_New-1_westeurope"
	mi      = servetest.Group.String() + "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/mi"
	support = servetest.ID("20000000-0000-4000-8000-0000000000a6") // may do everything in clusters, and assign no identity
)

const pool = `"agentPoolProfiles":[{"name":"nodepool1","count":3,"vmSize":"Standard_DS2_v2","mode":"System","custom":{"kept":[1,null]}}]`

// clusterBody is what az sends to make a cluster, and more.
func clusterBody(identity, more string) string {
	return `{"location":"westeurope",` + identity + `"properties":{"dnsPrefix":"new1","kubernetesVersion":"","enableRBAC":true,"addonProfiles":{},"disableLocalAccounts":false,"networkProfile":{"networkPlugin":"kubenet"},` + pool + more + `}}`
}

const system = `"identity":{"type":"SystemAssigned"},`

func assigned(id string) string {
	return `"identity":{"type":"UserAssigned","userAssignedIdentities":{"` + id + `":{}}},`
}

// ends does for a cluster what the house does when the work is over.
func (h *house) ends(at scope.Scope, failed resource.Failure) {
	h.t.Helper()
	est := h.store.Current()
	c, ok := est.Cluster(at)
	if !ok || c.Doing.IsZero() {
		h.t.Fatalf("nothing is being done to %s", at)
	}
	status := arm.Succeeded
	if !failed.IsZero() {
		status = arm.Failed
	}
	private, err := arm.EndOperation(h.t.Context(), h.store, c.Doing.Operation, status, failed, time.Now())
	if err != nil {
		h.t.Fatal(err)
	}
	c.Doing, c.Failure, c.Endpoint, c.CertificateAuthority = resource.Work{}, failed, "https://127.0.0.1:6443", "pem"
	if _, err := h.store.Commit(h.t.Context(), store.Change{Ops: []estate.Op{{Put: c}}, Private: private, Why: "test"}); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) cluster(at scope.Scope) resource.Cluster {
	h.t.Helper()
	c, ok := h.store.Current().Cluster(at)
	if !ok {
		h.t.Fatalf("there is no cluster %s", at)
	}
	return c
}

// made returns a house in which a cluster was made.
func made(t *testing.T, identity, more string, change ...func(*arm.Config)) *house {
	t.Helper()
	h := newHouse(t, change...)
	if got := h.call(contrib, "PUT", newAKS+version, clusterBody(identity, more)); got.status != 201 {
		t.Fatalf("PUT = %d %s", got.status, got.text)
	}
	h.ends(newAt, resource.Failure{})
	return h
}

func TestAClusterIsMade(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	aad := `,"aadProfile":{"managed":true,"enableAzureRBAC":true,"adminGroupObjectIDs":["` + servetest.Admins.String() + `"]}`
	got := h.call(contrib, "PUT", newAKS+version, clusterBody(system, aad+`,"addonProfiles":{"azurepolicy":{"enabled":true},"azureKeyvaultSecretsProvider":{"enabled":true,"config":{"enableSecretRotation":"false"}},"openServiceMesh":{"enabled":true}},"securityProfile":{"workloadIdentity":{"enabled":true},"defender":{"x":1}},"apiServerAccessProfile":{"disableRunCommand":true}`))
	if got.status != 400 || !strings.Contains(got.text, "addonProfiles") {
		t.Errorf("ARM-14: a member that is there twice: %d %s", got.status, got.text)
	}
	body := strings.Replace(clusterBody(system, aad+`,"securityProfile":{"workloadIdentity":{"enabled":true},"defender":{"x":1}},"apiServerAccessProfile":{"disableRunCommand":true}`), `"addonProfiles":{}`,
		`"addonProfiles":{"azurepolicy":{"enabled":true},"azureKeyvaultSecretsProvider":{"enabled":true,"config":{"enableSecretRotation":"false"}},"openServiceMesh":{"enabled":true},"omsagent":{"enabled":false}}`, 1)
	got = h.call(contrib, "PUT", newAKS+version, body)
	if got.status != 201 {
		t.Fatalf("PUT = %d %s", got.status, got.text)
	}
	poll := got.header.Get("Azure-AsyncOperation")
	if !regexp.MustCompile(`^https://management\.azure\.com/subscriptions/[^/]+/providers/Microsoft\.ContainerService/locations/westeurope/operations/[-0-9a-f]{36}\?api-version=`).MatchString(poll) || got.header.Get("Retry-After") != "1" || got.header.Get("Location") == "" {
		t.Errorf("the headers are %v", got.header)
	}
	poll = strings.TrimPrefix(poll, "https://management.azure.com")
	if now := h.call(contrib, "GET", poll, ""); now.status != 200 || !strings.Contains(now.text, `"status":"InProgress"`) || now.header.Get("Retry-After") != "1" {
		t.Errorf("the operation: %d %s", now.status, now.text)
	}
	if now := h.call(contrib, "GET", newAKS+version, ""); !strings.Contains(now.text, `"provisioningState":"Creating"`) {
		t.Errorf("meanwhile the cluster is %s", now.text)
	}
	if now := h.call(contrib, "PUT", newAKS+version, body); now.status != 409 || now.code() != "OperationNotAllowed" || !strings.Contains(now.text, "Another operation (Create) is in progress") {
		t.Errorf("a second change: %d %s", now.status, now.text)
	}
	h.ends(newAt, resource.Failure{})
	if now := h.call(contrib, "GET", poll, ""); !strings.Contains(now.text, `"status":"Succeeded"`) || !strings.Contains(now.text, `"endTime"`) {
		t.Errorf("the operation is over: %s", now.text)
	}

	c := h.cluster(newAt)
	est := h.store.Current()
	if control, ok := est.ManagedIdentity(c.Identity.Object); !ok || !control.SystemAssigned || control.Resource != newAt || control.DisplayName != "New-1" {
		t.Errorf("its identity is %+v", control)
	}
	for name, ref := range map[string]resource.IdentityRef{"New-1-agentpool": c.KubeletIdentity, "azurepolicy-New-1": c.Addons["azurepolicy"].Identity, "azurekeyvaultsecretsprovider-New-1": c.Addons["azureKeyvaultSecretsProvider"].Identity} {
		m, ok := est.ManagedIdentity(ref.Object)
		if !ok || m.DisplayName != name || m.Resource != ref.Resource || !scope.MustParse(nodes).Contains(m.Resource) || m.SystemAssigned || m.Location != "westeurope" {
			t.Errorf("identity %s is %+v", name, m)
		}
	}
	for _, name := range []string{"openServiceMesh", "omsagent"} {
		if id := c.Addons[name].Identity; !id.IsZero() {
			t.Errorf("the add-on %s has the identity %+v", name, id)
		}
	}
	if g, ok := est.ResourceGroup(scope.MustParse(nodes)); !ok || g.Name != "MC_web_New-1_westeurope" || !strings.EqualFold(g.ManagedBy, newAKS) {
		t.Errorf("the node resource group is %+v", g)
	}
	given := 0
	for _, a := range est.AssignmentsAt(scope.MustParse(nodes)) {
		if a.Principal == c.Identity.Object && a.Role.String() == contributor {
			given++
		}
	}
	if given != 1 {
		t.Errorf("the control plane is Contributor of its group %d times", given)
	}

	var shown struct {
		ID, Name, Type, Location string
		Identity                 struct{ Type, PrincipalID, TenantID string }
		Properties               map[string]any
	}
	text := h.call(contrib, "GET", newAKS+version, "").text
	if err := json.Unmarshal([]byte(text), &shown); err != nil {
		t.Fatal(err)
	}
	if shown.ID != servetest.Subscription.String()+"/resourceGroups/web/providers/Microsoft.ContainerService/managedClusters/New-1" || shown.Identity.PrincipalID != c.Identity.Object.String() || shown.Identity.TenantID != servetest.Tenant.String() {
		t.Errorf("it is shown as %s", text)
	}
	p := shown.Properties
	for path, want := range map[string]any{
		"provisioningState": "Succeeded", "powerState": map[string]any{"code": "Running"}, "dnsPrefix": "new1", "nodeResourceGroup": "MC_web_New-1_westeurope",
		"kubernetesVersion": control.KubernetesVersion, "currentKubernetesVersion": control.KubernetesVersion, "resourceUID": c.ResourceUID(), "fqdn": c.FQDN,
		"aadProfile":              map[string]any{"managed": true, "enableAzureRBAC": true, "adminGroupObjectIDs": []any{servetest.Admins.String()}, "tenantID": servetest.Tenant.String()},
		"servicePrincipalProfile": map[string]any{"clientId": "msi"}, "oidcIssuerProfile": map[string]any{"enabled": true, "issuerURL": c.IssuerURL},
		"securityProfile": map[string]any{"workloadIdentity": map[string]any{"enabled": true}, "defender": map[string]any{"x": 1.0}}, "apiServerAccessProfile": map[string]any{"disableRunCommand": true},
		"networkProfile": map[string]any{"networkPlugin": "kubenet"}, "disableLocalAccounts": false, "enableRBAC": true,
	} {
		if diff := cmp.Diff(want, p[path]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
	}
	if !regexp.MustCompile(`^new1-[0-9a-f]{8}\.hcp\.westeurope\.azmk8s\.io$`).MatchString(c.FQDN) || c.IssuerURL != "https://westeurope.oic.prod-aks.azure.com/"+servetest.Tenant.String()+"/"+c.UID.String()+"/" {
		t.Errorf("it is called %s and issues as %s", c.FQDN, c.IssuerURL)
	}
	kubelet, _ := est.ManagedIdentity(c.KubeletIdentity.Object)
	if diff := cmp.Diff(map[string]any{"kubeletidentity": map[string]any{"resourceId": nodes + "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/New-1-agentpool", "clientId": kubelet.ClientID.String(), "objectId": kubelet.ID.String()}}, p["identityProfile"]); diff != "" {
		t.Errorf("identityProfile (-want +got):\n%s", diff)
	}
	one := p["agentPoolProfiles"].([]any)[0].(map[string]any)
	if one["provisioningState"] != "Succeeded" || one["count"] != 3.0 || fmt.Sprint(one["custom"]) != "map[kept:[1 <nil>]]" {
		t.Errorf("its agent pool is %v", one)
	}

	// az sends all of it back when it changes one thing: nothing else changes (ARM-09).
	got = h.call(contrib, "PUT", newAKS+version, text)
	if got.status != 200 {
		t.Fatalf("sent back: %d %s", got.status, got.text)
	}
	h.ends(newAt, resource.Failure{})
	sent := c
	sent.Properties, sent.More = h.cluster(newAt).Properties, h.cluster(newAt).More // with what there is without a word
	if diff := cmp.Diff(sent, h.cluster(newAt), cmp.AllowUnexported(scope.Scope{})); diff != "" {
		t.Errorf("sent back, it changed (-was +is):\n%s", diff)
	}
	forged := strings.NewReplacer(c.Identity.Object.String(), root.String(), kubelet.ID.String(), root.String(), kubelet.ClientID.String(), root.String(), c.FQDN, "evil.example", c.IssuerURL, "https://evil.example/", c.ResourceUID(), "0").Replace(text)
	if got := h.call(contrib, "PUT", newAKS+version, forged); got.status != 200 {
		t.Fatalf("with forged ids: %d %s", got.status, got.text)
	}
	h.ends(newAt, resource.Failure{})
	if diff := cmp.Diff(sent, h.cluster(newAt), cmp.AllowUnexported(scope.Scope{})); diff != "" {
		t.Errorf("ARM-09: what the client forged got in (-was +is):\n%s", diff)
	}
}

// Each row is one PUT to a fresh house, and what it must come to.
func TestWhatAClusterMustBe(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		law, name, body string
		status          int
		has             string
	}{
		{"no agent pool", "a", `{"location":"westeurope",` + system + `"properties":{"dnsPrefix":"x"}}`, 400, "agentPoolProfiles is missing"},
		{"no DNS prefix", "a", `{"location":"westeurope",` + system + `"properties":{` + pool + `}}`, 400, "dnsPrefix is missing"},
		{"no location", "a", `{` + system + `"properties":{"dnsPrefix":"x",` + pool + `}}`, 400, "LocationRequired"},
		{"no identity at all", "a", clusterBody("", ""), 400, "servicePrincipalProfile is missing"},
		{"Azure RBAC without sign-in", "a", clusterBody(system, `,"aadProfile":{"enableAzureRBAC":true}`), 400, "aadProfile.enableAzureRBAC"},
		{"no local accounts without sign-in", "a", strings.Replace(clusterBody(system, ""), `"disableLocalAccounts":false`, `"disableLocalAccounts":true`, 1), 400, "disableLocalAccounts"},
		{"an admin group by name", "a", clusterBody(system, `,"aadProfile":{"managed":true,"adminGroupObjectIDs":["admins"]}`), 400, "adminGroupObjectIDs"},
		{"the tenant of others with Azure RBAC", "a", clusterBody(system, `,"aadProfile":{"managed":true,"enableAzureRBAC":true,"tenantID":"`+servetest.Tenant2.String()+`"}`), 400, "that of the subscription"},
		{"the tenant of others without", "a", clusterBody(system, `,"aadProfile":{"managed":true,"tenantID":"`+servetest.Tenant2.String()+`"}`), 201, `"tenantID":"` + servetest.Tenant2.String()},
		{"a tenant that nobody knows", "a", clusterBody(system, `,"aadProfile":{"managed":true,"tenantID":"`+root.String()+`"}`), 400, "no such tenant"},
		{"without Kubernetes RBAC", "a", strings.Replace(clusterBody(system, ""), `"enableRBAC":true`, `"enableRBAC":false`, 1), 400, "enableRBAC"},
		{"a version that does not run here", "a", strings.Replace(clusterBody(system, ""), `"kubernetesVersion":""`, `"kubernetesVersion":"1.27.3"`, 1), 400, "K8sVersionNotSupported"},
		{"the version that does", "a", strings.Replace(clusterBody(system, ""), `"kubernetesVersion":""`, `"kubernetesVersion":"`+control.KubernetesVersion+`"`, 1), 201, control.KubernetesVersion},
		{"workload identity without an issuer", "a", clusterBody(system, `,"oidcIssuerProfile":{"enabled":false},"securityProfile":{"workloadIdentity":{"enabled":true}}`), 400, "needs the OIDC issuer"},
		{"without an issuer", "a", clusterBody(system, `,"oidcIssuerProfile":{"enabled":false}`), 201, `"oidcIssuerProfile":{"enabled":false}`},
		{"a node resource group that exists", "a", clusterBody(system, `,"nodeResourceGroup":"web"`), 400, "exists already"},
		{"a node resource group of a name too long", "a", clusterBody(system, `,"nodeResourceGroup":"`+strings.Repeat("a", 81)+`"`), 400, "maximum is 80"},
		{"a node resource group in another place", "a", clusterBody(system, `,"nodeResourceGroup":"../web"`), 400, "nodeResourceGroup"},
		{"two pools of a name", "a", clusterBody(system, `,"agentPoolProfiles":null`), 400, "agentPoolProfiles"},
		{"a pool of a name with capitals", "a", strings.Replace(clusterBody(system, ""), "nodepool1", "NodePool1", 1), 400, "agentPoolProfile.name"},
		{"no pool for the system", "a", strings.Replace(clusterBody(system, ""), `"mode":"System"`, `"mode":"User"`, 1), 400, "at least one system agent pool"},
		{"both types of identity", "a", clusterBody(`"identity":{"type":"SystemAssigned, UserAssigned"},`, ""), 400, "identity.type"},
		{"two user-assigned identities", "a", clusterBody(`"identity":{"type":"UserAssigned","userAssignedIdentities":{"`+mi+`":{},"`+mi+`2":{}}},`, ""), 400, "exactly one"},
		{"an identity that is something else", "a", clusterBody(assigned(newAKS), ""), 400, "not the id of a user-assigned identity"},
		{"an identity that is not there", "a", clusterBody(assigned(mi+"2"), ""), 404, "was not found"},
		{"a user-assigned identity", "a", clusterBody(assigned(mi), ""), 201, `"userAssignedIdentities":{"` + servetest.Subscription.String() + `/resourceGroups/web/providers/Microsoft.ManagedIdentity/userAssignedIdentities/mi":{"clientId":"43000000-0000-4000-8000-000000000001"`},
		{"a service principal", "a", clusterBody("", `,"servicePrincipalProfile":{"clientId":"`+servetest.RobotApp.String()+`","secret":"hush"}`), 201, `"servicePrincipalProfile":{"clientId":"` + servetest.RobotApp.String() + `"}`},
		{"a service principal that nobody knows", "a", clusterBody("", `,"servicePrincipalProfile":{"clientId":"`+root.String()+`"}`), 400, "ServicePrincipalNotFound"},
		{"a kubelet identity with an identity of the system", "a", clusterBody(system, `,"identityProfile":{"kubeletidentity":{"resourceId":"`+mi+`"}}`), 400, "CustomKubeletIdentityOnlySupportedOnUserAssignedMSICluster"},
		{"a kubelet identity that the control plane may not assign", "a", clusterBody(assigned(mi), `,"identityProfile":{"kubeletidentity":{"resourceId":"`+mi+`"}}`), 400, "CustomKubeletIdentityMissingPermissionError"},
		{"the legacy sign-in", "a", clusterBody(system, `,"aadProfile":{"serverAppID":"`+servetest.RobotApp.String()+`","clientAppID":"`+root.String()+`","serverAppSecret":"hush"}`), 201, `"managed":false`},
		{"half of the legacy sign-in", "a", clusterBody(system, `,"aadProfile":{"serverAppID":"`+servetest.RobotApp.String()+`"}`), 400, "legacy integration"},
		{"no object for a profile", "a", clusterBody(system, `,"aadProfile":[1]`), 400, "InvalidRequestContent"},
		{"ARM-05: a name with a dot", "a.b", clusterBody(system, ""), 400, "aks-naming-rules"},
		{"ARM-05: a name of 64 letters", strings.Repeat("a", 64), clusterBody(system, ""), 400, "aks-naming-rules"},
		{"ARM-05: a name that ends in a hyphen", "a-", clusterBody(system, ""), 400, "aks-naming-rules"},
		{"ARM-05: one letter", "a", clusterBody(system, ""), 201, `"name":"a"`},
	} {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			got := h.call(ownerRG, "PUT", aksPath+"/"+tt.name+version, tt.body)
			if got.status != tt.status || !strings.Contains(got.text, tt.has) {
				t.Errorf("%d %s, want %d and %s", got.status, got.text, tt.status, tt.has)
			}
			if strings.Contains(got.text, "hush") {
				t.Error("the answer repeats a secret")
			}
			for r := range h.store.Current().Records() {
				if text, err := json.Marshal(r); err != nil || strings.Contains(string(text), "hush") {
					t.Errorf("a secret is kept in %s %v", text, err)
				}
			}
		})
	}
}

func TestWhatAClusterMayBecome(t *testing.T) {
	t.Parallel()
	h := made(t, system, `,"aadProfile":{"managed":true},"oidcIssuerProfile":{"enabled":true},"nodeResourceGroupProfile":{"restrictionLevel":"ReadOnly"}`)
	theirs := mi + "-of-theirs"
	if got := h.call(root, "PUT", theirs+version, `{"location":"westeurope"}`); got.status != 201 {
		t.Fatalf("%d %s", got.status, got.text)
	}
	brought, _ := h.store.Current().IdentityAt(scope.MustParse(theirs))
	props := func(text string) string { return `{"location":"westeurope","properties":{` + text + `}}` }
	put := func(law, body string, status int, has string) {
		t.Helper()
		got := h.call(ownerRG, "PUT", newAKS+version, body)
		if got.status != status || !strings.Contains(got.text, has) {
			t.Errorf("%s: %d %s, want %d and %s", law, got.status, got.text, status, has)
		}
		if got.status == 200 {
			h.ends(newAt, resource.Failure{})
		}
	}
	put("sign-in is never managed less", props(`"aadProfile":{"managed":false}`), 400, "cannot be disabled once it is enabled")
	put("the issuer stays", props(`"oidcIssuerProfile":{"enabled":false}`), 400, "OIDC issuer feature cannot be disabled")
	put("the DNS prefix stays", props(`"dnsPrefix":"other"`), 400, "Changing property 'dnsPrefix' is not allowed")
	put("the node resource group stays", props(`"nodeResourceGroup":"other"`), 400, "PropertyChangeNotAllowed")
	put("it does not move", `{"location":"northeurope","properties":{}}`, 409, "InvalidResourceLocation")
	put("it does not go back to a service principal", props(`"servicePrincipalProfile":{"clientId":"`+servetest.RobotApp.String()+`"}`), 400, "cannot go back")
	put("what is not said stays", props(""), 200, `"aadProfile":{"managed":true`)
	put("Azure RBAC on", props(`"aadProfile":{"managed":true,"enableAzureRBAC":true}`), 200, `"enableAzureRBAC":true`)
	put("and off", props(`"aadProfile":{"managed":true,"enableAzureRBAC":false}`), 200, `"enableAzureRBAC":false`)
	put("another tenant takes who rules the house", props(`"aadProfile":{"tenantID":"`+servetest.Tenant2.String()+`"}`), 403, "AuthorizationFailed")
	put("admin groups", props(`"aadProfile":{"managed":true,"adminGroupObjectIDs":["`+servetest.Admins.String()+`"]}`), 200, servetest.Admins.String())
	put("no admin groups", props(`"aadProfile":{"managed":true,"adminGroupObjectIDs":[]}`), 200, `"adminGroupObjectIDs":[]`)
	put("no local accounts", props(`"disableLocalAccounts":true`), 200, `"disableLocalAccounts":true`)

	lock := func() int {
		n := 0
		for d := range h.store.Current().DenyAssignments() {
			if d.Scope == scope.MustParse(nodes) && d.Everyone && d.SystemProtected {
				n++
			}
		}
		return n
	}
	inGroup := nodes + "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/mine"
	if got := h.call(root, "PUT", inGroup+version, `{"location":"westeurope"}`); lock() != 1 || got.status != 403 {
		t.Errorf("the node resource group is locked %d times, and its owner may write in it: %d", lock(), got.status)
	}
	before := h.cluster(newAt)
	put("another identity", `{"location":"westeurope",`+assigned(theirs)+`"properties":{"nodeResourceGroupProfile":{"restrictionLevel":"Unrestricted"}}}`, 200, `"type":"UserAssigned"`)
	if got := h.call(root, "PUT", inGroup+version, `{"location":"westeurope"}`); lock() != 0 || got.status != 201 {
		t.Errorf("the lock is still there %d times: %d %s", lock(), got.status, got.text)
	}
	est := h.store.Current()
	if _, ok := est.ManagedIdentity(before.Identity.Object); ok {
		t.Error("the identity of the system outlived its use")
	}
	var has []string
	for _, a := range est.AssignmentsAt(scope.MustParse(nodes)) {
		has = append(has, a.Principal.String())
	}
	if len(has) != 1 || has[0] != brought.ID.String() {
		t.Errorf("the Contributors of the node resource group are %v", has)
	}
	put("an add-on", props(`"addonProfiles":{"azurepolicy":{"enabled":true}}`), 200, `userAssignedIdentities/azurepolicy-New-1`)
	addon := h.cluster(newAt).Addons["azurepolicy"].Identity
	put("and off again", props(`"addonProfiles":{"azurepolicy":{"enabled":false}}`), 200, `"azurepolicy":{"enabled":false}`)
	if _, ok := h.store.Current().ManagedIdentity(addon.Object); ok {
		t.Error("the identity of an add-on that is off is still there")
	}
	planted := nodes + "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/azurepolicy-New-1"
	if got := h.call(root, "PUT", planted+version, `{"location":"westeurope"}`); got.status != http.StatusCreated {
		t.Fatalf("%d %s", got.status, got.text)
	}
	put("DIR-05 an add-on that somebody else's identity waits for", props(`"addonProfiles":{"azurepolicy":{"enabled":true}}`), http.StatusConflict, "azurepolicy-new-1 is that of managed identity")
	if got := h.call(root, "DELETE", planted+version, ""); got.status != http.StatusOK {
		t.Fatalf("%d %s", got.status, got.text)
	}
	put("without it", props(`"addonProfiles":{"azurepolicy":{"enabled":true}}`), 200, `userAssignedIdentities/azurepolicy-New-1`)
	// A cluster goes on naming an identity that is gone; another one in its place is another one.
	if got := h.call(root, "DELETE", theirs+version, ""); got.status != 200 {
		t.Fatalf("%d %s", got.status, got.text)
	}
	put("the identity is gone", props(`"disableLocalAccounts":false`), 200, `"principalId":"`+brought.ID.String())
	if got := h.call(root, "PUT", theirs+version, `{"location":"westeurope"}`); got.status != 201 {
		t.Fatalf("%d %s", got.status, got.text)
	}
	if got := h.call(contrib, "GET", newAKS+version, ""); !strings.Contains(got.text, brought.ID.String()) {
		t.Errorf("the new identity took the place of the old one by itself: %s", got.text)
	}
}

// A service principal is all that its cluster is. Nodes and add-ons get identities of
// their own when the cluster gets one.
func TestAddonsOfAServicePrincipal(t *testing.T) {
	t.Parallel()
	body := clusterBody("", `,"servicePrincipalProfile":{"clientId":"`+servetest.RobotApp.String()+`","secret":"hush"}`)
	h := newHouse(t)
	got := h.call(contrib, "PUT", newAKS+version, strings.Replace(body, `"addonProfiles":{}`, `"addonProfiles":{"azurepolicy":{"enabled":true},"aciConnectorLinux":{"enabled":true}}`, 1))
	if got.status != http.StatusCreated || !strings.Contains(got.text, `"azurepolicy":{"enabled":true}`) {
		t.Fatalf("%d %s", got.status, got.text)
	}
	h.ends(newAt, resource.Failure{})
	for m := range h.store.Current().Identities() {
		if m.Resource.Name() == "new-1" || scope.MustParse(nodes).Contains(m.Resource) {
			t.Errorf("it has %s", m.Resource)
		}
	}
	if got = h.call(contrib, "PUT", newAKS+version, `{"location":"westeurope",`+system+`"properties":{}}`); got.status != http.StatusOK {
		t.Fatalf("%d %s", got.status, got.text)
	}
	var names []string
	for _, ref := range h.cluster(newAt).Identities() {
		m, _ := h.store.Current().ManagedIdentity(ref.Object)
		names = append(names, m.DisplayName)
	}
	if diff := cmp.Diff([]string{"New-1-agentpool", "New-1", "aciconnectorlinux-New-1", "azurepolicy-New-1"}, names); diff != "" {
		t.Errorf("with an identity of the system (-want +got):\n%s", diff)
	}
}

// The legacy integration becomes managed with one update (story 20).
func TestALegacyClusterBecomesManaged(t *testing.T) {
	t.Parallel()
	h := made(t, system, `,"aadProfile":{"serverAppID":"`+servetest.RobotApp.String()+`","clientAppID":"`+root.String()+`"}`)
	user := h.call(contrib, "POST", newAKS+"/listClusterUserCredential"+version, "")
	if text := kubeconfig(t, user, "clusterUser"); !strings.Contains(text, servetest.RobotApp.String()) || !strings.Contains(text, "--legacy") {
		t.Errorf("the kubeconfig of a legacy cluster: %s", text)
	}
	if got := h.call(contrib, "PUT", newAKS+version, `{"location":"westeurope","properties":{"aadProfile":{"enableAzureRBAC":true}}}`); got.status != 400 {
		t.Errorf("Azure RBAC on a legacy cluster: %d %s", got.status, got.text)
	}
	if got := h.call(contrib, "PUT", newAKS+version, `{"location":"westeurope","properties":{"aadProfile":{"managed":true}}}`); got.status != 200 || strings.Contains(got.text, "serverAppID") || !strings.Contains(got.text, `"managed":true`) {
		t.Errorf("the update: %d %s", got.status, got.text)
	}
}

func TestWhoMayDoWhatToACluster(t *testing.T) {
	t.Parallel()
	h := made(t, system, `,"aadProfile":{"managed":true}`)
	clusterUser := "4abbcc35-e782-43d8-92c5-2d3f1bd2253f"
	h.call(root, "PUT", newAKS+provider+"/roleAssignments/"+number(900)+version, assign(clusterUser, servetest.Faye, ""))
	h.put(directory.User{ID: support, Tenant: servetest.Tenant, UserPrincipalName: "support@teknews.cloud"})
	aksContributor := "ed7f3fbd-7b88-4dd4-9017-9adb7ce333f8" // Azure Kubernetes Service Contributor Role
	if got := h.call(root, "PUT", servetest.Group.String()+provider+"/roleAssignments/"+number(901)+version, assign(aksContributor, support, "")); got.status != 201 {
		t.Fatalf("%d %s", got.status, got.text)
	}
	all := []struct{ method, path, action string }{
		{"GET", "", "read"}, {"PUT", "", "write"}, {"PATCH", "", "write"}, {"DELETE", "", "delete"},
		{"POST", "/listClusterUserCredential", "listClusterUserCredential/action"}, {"POST", "/listClusterAdminCredential", "listClusterAdminCredential/action"},
		{"POST", "/listClusterMonitoringUserCredential", "listClusterMonitoringUserCredential/action"}, {"POST", "/accessProfiles/clusterAdmin/listCredential", "accessProfiles/listCredential/action"},
		{"GET", "/accessProfiles/clusterUser", "accessProfiles/read"}, {"POST", "/rotateClusterCertificates", "rotateClusterCertificates/action"},
		{"POST", "/rotateServiceAccountSigningKeys", "rotateServiceAccountSigningKeys/action"}, {"POST", "/resetAADProfile", "resetAADProfile/action"},
		{"POST", "/resetServicePrincipalProfile", "resetServicePrincipalProfile/action"}, {"POST", "/start", "start/action"}, {"POST", "/stop", "stop/action"}, {"POST", "/abort", "abort/action"},
		{"POST", "/runCommand", "runCommand/action"}, {"GET", "/commandResults/x", "commandResults/read"}, {"GET", "/upgradeProfiles/default", "upgradeProfiles/read"}, {"GET", "/agentPools", "agentPools/read"}, {"GET", "/agentPools/nodepool1", "agentPools/read"},
	}
	for _, op := range all {
		got := h.call(servetest.Jet, op.method, newAKS+op.path+version, "{}")
		want := "Microsoft.ContainerService/managedClusters/" + op.action + "' over scope '" + servetest.Subscription.String() + "/resourceGroups/web/providers/Microsoft.ContainerService/managedClusters/New-1'"
		if got.status != 403 || got.code() != "AuthorizationFailed" || !strings.Contains(got.text, want) {
			t.Errorf("%s %s without a role: %d %s", op.method, op.path, got.status, got.text)
		}
		// Nobody is told what there is in the subscription of another tenant.
		if got := h.call(root, op.method, strings.Replace(newAKS, servetest.Subscription.Name(), sub2.Name(), 1)+op.path+version, "{}"); got.code() != "SubscriptionNotFound" || got.status != 404 {
			t.Errorf("ARM-07: %s %s in the subscription of others: %d %s", op.method, op.path, got.status, got.text)
		}
		if got := h.call(contrib, op.method, newAKS+op.path, "{}"); got.status != 400 || got.code() != "MissingApiVersionParameter" {
			t.Errorf("%s %s without api-version: %d %s", op.method, op.path, got.status, got.text)
		}
	}
	h.walk([]step{
		{"Cluster User gets the user's kubeconfig", servetest.Faye, "POST", newAKS + "/listClusterUserCredential", "", 200, `"name":"clusterUser"`},
		{"and not the administrator's", servetest.Faye, "POST", newAKS + "/listClusterAdminCredential", "", 403, "listClusterAdminCredential/action"},
		{"he sees the cluster", servetest.Faye, "GET", newAKS, "", 200, "New-1"},
		{"who may write clusters", support, "GET", newAKS, "", 200, "New-1"},
		{"may not let them be an identity that he may not assign", support, "PUT", newAKS, `{"location":"westeurope",` + assigned(mi) + `"properties":{}}`, 403, "LinkedAuthorizationFailed"},
		{"whether there is one or not", support, "PUT", newAKS, `{"location":"westeurope",` + assigned(mi+"x") + `"properties":{}}`, 403, "LinkedAuthorizationFailed"},
		{"lists show what may be read", support, "GET", aksPath, "", 200, `"name":"New-1"`},
		{"of the subscription too", support, "GET", servetest.Subscription.String() + "/providers/Microsoft.ContainerService/managedClusters", "", 200, `"name":"aks-1"`},
		{"who has a role for something in it sees what he may read: nothing (ARM-11)", servetest.Jet, "GET", aksPath, "", 200, `{"value":[]}`},
		{"letter case does not matter (ARM-03)", support, "GET", strings.ToUpper(newAKS), "", 200, `managedClusters/New-1"`},
		{"run command is decided, and refused", contrib, "POST", newAKS + "/runCommand", `{"command":"kubectl get ns"}`, 501, "kubectl with a kubeconfig of your own"},
		{"versions", support, "GET", servetest.Subscription.String() + "/providers/Microsoft.ContainerService/locations/westeurope/kubernetesVersions", "", 200, control.KubernetesVersion},
		{"a pool", support, "GET", newAKS + "/agentPools/NodePool1", "", 200, `"count":3`},
		{"a pool that is not there", support, "GET", newAKS + "/agentPools/other", "", 404, "ResourceNotFound"},
		{"no other version", support, "GET", newAKS + "/upgradeProfiles/default", "", 200, `"upgrades":[]`},
		{"tags", support, "PATCH", newAKS, `{"tags":{"team":"web"}}`, 200, `"tags":{"team":"web"}`},
		{"what is not there", contrib, "GET", aksPath + "/nil", "", 404, "The Resource 'Microsoft.ContainerService/managedClusters/nil' under resource group 'web' was not found."},
		{"to delete what is not there", contrib, "DELETE", aksPath + "/nil", "", 204, ""},
	})
}

// kubeconfig returns the text of a kubeconfig that was answered.
func kubeconfig(t *testing.T, got reply, name string) string {
	t.Helper()
	var body struct {
		Kubeconfigs []struct{ Name, Value string }
	}
	if err := json.Unmarshal([]byte(got.text), &body); err != nil || got.status != 200 || len(body.Kubeconfigs) != 1 || body.Kubeconfigs[0].Name != name {
		t.Fatalf("%d %s %v", got.status, got.text, err)
	}
	text, err := base64.StdEncoding.DecodeString(body.Kubeconfigs[0].Value)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// desk hands out certificates that say for whom they are.
type desk struct{}

func (desk) Credential(_ context.Context, _ scope.Scope, who principal.ID, monitor bool) (pki.Pair, error) {
	return pki.Pair{CertPEM: fmt.Appendf(nil, "cert of %s %t", who, monitor), KeyPEM: []byte("key")}, nil
}

func TestKubeconfigs(t *testing.T) {
	t.Parallel()
	with := func(authority string) func(*arm.Config) {
		return func(c *arm.Config) { c.Clusters, c.Authority = desk{}, authority }
	}
	h := made(t, system, `,"aadProfile":{"managed":true}`, with("https://login.microsoftonline.com"))
	post := func(h *house, path string) reply { return h.call(contrib, "POST", newAKS+path, "") }
	cert := base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "cert of %s false", contrib))
	// What az writes of AKS's own answer, but for the spaces.
	plain := "args: - get-token - --environment - AzurePublicCloud - --server-id - 6dae42f8-4368-4678-94ff-3960e28e3630" +
		" - --client-id - 80faf920-1908-4b52-b5ef-a8e7bedfc67a - --tenant-id - " + servetest.Tenant.String() + " - --login - devicecode env: []"
	flat := func(text string) string { return strings.Join(strings.Fields(text), " ") }
	user := kubeconfig(t, post(h, "/listClusterUserCredential"+version), "clusterUser")
	for _, want := range []string{plain, "current-context: New-1 ", "name: clusterUser_web_New-1 ", "server: https://127.0.0.1:6443 "} {
		if !strings.Contains(flat(user), want) {
			t.Errorf("under the public cloud's name, want %q in\n%s", want, user)
		}
	}
	if again := kubeconfig(t, post(h, "/listClusterUserCredential"+version+"&format=exec"), "clusterUser"); again != user {
		t.Errorf("the form exec is another one:\n%s", again)
	}
	old := kubeconfig(t, post(h, "/listClusterUserCredential"+version+"&format=azure"), "clusterUser")
	if !strings.Contains(flat(old), "auth-provider: name: azure config: apiserver-id: 6dae42f8-4368-4678-94ff-3960e28e3630 client-id: 80faf920") {
		t.Errorf("the form azure is\n%s", old)
	}
	if got := post(h, "/listClusterUserCredential"+version+"&format=xml"); got.status != 400 {
		t.Errorf("an unknown form: %d %s", got.status, got.text)
	}
	admin := kubeconfig(t, post(h, "/listClusterAdminCredential"+version), "clusterAdmin")
	for _, want := range []string{"current-context: New-1\n", "name: clusterAdmin_web_New-1\n", "client-certificate-data: " + cert} {
		if !strings.Contains(admin, want) {
			t.Errorf("want %q in\n%s", want, admin)
		}
	}
	if text := kubeconfig(t, post(h, "/listClusterMonitoringUserCredential"+version), "clusterMonitoringUser"); !strings.Contains(text, base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "cert of %s true", contrib))) {
		t.Errorf("the one for metrics is\n%s", text)
	}
	if got := post(h, "/accessProfiles/clusterAdmin/listCredential"+version); got.status != 200 || !strings.Contains(got.text, base64.StdEncoding.EncodeToString([]byte(admin))) {
		t.Errorf("by the older way: %d %s", got.status, got.text)
	}
	own := made(t, system, `,"aadProfile":{"managed":true}`, with("https://127.0.0.1:8443"))
	if text := kubeconfig(t, post(own, "/listClusterUserCredential"+version), "clusterUser"); !strings.Contains(flat(text), "- --authority-host - https://127.0.0.1:8443/ - --disable-instance-discovery") {
		t.Errorf("under the house's own name:\n%s", text)
	}
	// Who cannot sign in gets a certificate.
	plainCluster := made(t, system, "", with(""))
	if text := kubeconfig(t, post(plainCluster, "/listClusterUserCredential"+version), "clusterUser"); !strings.Contains(text, cert) || !strings.Contains(text, "name: clusterUser_web_New-1\n") {
		t.Errorf("of a cluster without sign-in:\n%s", text)
	}
	c := h.cluster(newAt)
	c.DisableLocalAccounts = true
	h.put(c)
	for _, path := range []string{"/listClusterAdminCredential", "/listClusterMonitoringUserCredential", "/accessProfiles/clusterAdmin/listCredential"} { // LA-01
		if got := post(h, path+version); got.status != 400 || got.code() != "BadRequest" || !strings.Contains(got.text, "Getting static credential is not allowed because this cluster is set to disable local accounts.") {
			t.Errorf("LA-01: %s of a cluster without local accounts: %d %s", path, got.status, got.text)
		}
	}
	nobody := made(t, system, "")
	if got := post(nobody, "/listClusterAdminCredential"+version); got.status != 409 || got.code() != "NotRunning" {
		t.Errorf("where no control plane runs: %d %s", got.status, got.text)
	}
	early := newHouse(t)
	early.call(contrib, "PUT", newAKS+version, clusterBody(system, ""))
	if got := post(early, "/listClusterUserCredential"+version); got.status != 409 || !strings.Contains(got.text, "Creating") {
		t.Errorf("before it answers: %d %s", got.status, got.text)
	}
}

func TestOperations(t *testing.T) {
	t.Parallel()
	h := made(t, system, `,"aadProfile":{"managed":true}`)
	start := func(path string, status int) (poll, result string) {
		t.Helper()
		method := http.MethodPost
		if path == "" {
			method = http.MethodDelete
		}
		got := h.call(contrib, method, newAKS+path+version, "")
		if got.status != status {
			t.Fatalf("%s: %d %s", path, got.status, got.text)
		}
		cut := func(s string) string { return strings.TrimPrefix(s, "https://management.azure.com") }
		return cut(got.header.Get("Azure-AsyncOperation")), cut(got.header.Get("Location"))
	}
	want := func(law, path string, who principal.ID, status int, has string) {
		t.Helper()
		if got := h.call(who, "GET", path, ""); got.status != status || !strings.Contains(got.text, has) {
			t.Errorf("%s: GET %s = %d %s, want %d and %s", law, path, got.status, got.text, status, has)
		}
	}
	poll, result := start("/rotateClusterCertificates", 202)
	want("while it goes on", poll, contrib, 200, `"status":"InProgress"`)
	want("its result is not there yet", result, contrib, 202, "")
	if c := h.cluster(newAt); c.ProvisioningState() != "RotatingClusterCertificates" {
		t.Errorf("the cluster is %s", c.ProvisioningState())
	}
	// ARM-12: an operation is for those who may see what it works on.
	want("ARM-12: who may read nothing there", poll, servetest.Jet, 404, "is not found")
	want("ARM-12: an id that was made up", regexp.MustCompile(`[0-9a-f-]{36}\?`).ReplaceAllString(poll, root.String()+"?"), contrib, 404, "is not found")
	want("ARM-12: an id that is none", regexp.MustCompile(`[0-9a-f-]{36}\?`).ReplaceAllString(poll, "..?"), contrib, 404, "is not found")
	want("ARM-12: in the subscription of others", strings.Replace(poll, servetest.Subscription.Name(), sub2.Name(), 1), root, 404, "SubscriptionNotFound")
	want("ARM-12: as the operation of a group", "/subscriptions/"+servetest.Subscription.Name()+"/operationresults/"+regexp.MustCompile(`[0-9a-f-]{36}\?`).FindString(result)+"api-version=2021-04-01", contrib, 404, "is not found")
	h.ends(newAt, resource.Failure{})
	want("when it is over", poll, contrib, 200, `"status":"Succeeded"`)
	want("its result", result, contrib, 204, "")

	poll, result = start("/rotateServiceAccountSigningKeys", 202)
	h.ends(newAt, resource.Failure{Code: "ControlPlaneFailed", Message: "it is on fire"})
	want("a failure is told", poll, contrib, 200, `"status":"Failed"`)
	want("with its reason", poll, contrib, 200, `"error":{"code":"ControlPlaneFailed","message":"it is on fire"}`)
	want("as the result too", result, contrib, 409, "it is on fire")
	want("and the cluster has failed", newAKS+version, contrib, 200, `"provisioningState":"Failed"`)

	poll, _ = start("/stop", 202)
	if c := h.cluster(newAt); !c.Stopped {
		t.Error("it is not to stop")
	}
	if got := h.call(contrib, "POST", newAKS+"/start"+version, ""); got.status != 409 || got.code() != "OperationNotAllowed" {
		t.Errorf("two things at once: %d %s", got.status, got.text)
	}
	if got := h.call(contrib, "POST", newAKS+"/abort"+version, ""); got.status != 204 {
		t.Errorf("abort: %d %s", got.status, got.text)
	}
	want("what was aborted is canceled", poll, contrib, 200, `"status":"Canceled"`)
	if got := h.call(contrib, "POST", newAKS+"/stop"+version, ""); got.status != 204 {
		t.Errorf("to stop what is stopped: %d %s", got.status, got.text)
	}
	if got := h.call(contrib, "POST", newAKS+"/rotateClusterCertificates"+version, ""); got.status != 400 {
		t.Errorf("rotate while it is stopped: %d %s", got.status, got.text)
	}
	start("/start", 202)
	poll, _ = start("", 202)
	want("the cluster is on its way out", newAKS+version, contrib, 200, `"provisioningState":"Deleting"`)
	if again, _ := start("", 202); again != poll {
		t.Errorf("deleted twice, it is another operation: %s and %s", again, poll)
	}
	if got := h.call(contrib, "POST", newAKS+"/abort"+version, ""); got.status != 409 {
		t.Errorf("abort of a deletion: %d %s", got.status, got.text)
	}
}

func TestAGroupWaitsForItsClusters(t *testing.T) {
	t.Parallel()
	h := made(t, system, "")
	group := servetest.Group.String()
	got := h.call(ownerRG, "DELETE", group+version, "")
	location := strings.TrimPrefix(got.header.Get("Location"), "https://management.azure.com")
	if got.status != 202 || !strings.HasPrefix(location, servetest.Subscription.String()+"/operationresults/") || got.header.Get("Retry-After") != "1" {
		t.Fatalf("DELETE = %d %v %s", got.status, got.header, got.text)
	}
	for c := range h.store.Current().Clusters() {
		if c.Doing.Kind != resource.Delete {
			t.Errorf("cluster %s is %s", c.Name, c.ProvisioningState())
		}
	}
	h.walk([]step{
		{"the group is on its way out", ownerRG, "GET", group, "", 200, `"provisioningState":"Deleting"`},
		{"nothing comes into it any more (ARM-15)", ownerRG, "PUT", aksPath + "/late", clusterBody(system, ""), 409, "ResourceGroupBeingDeleted"},
		{"nor an identity", ownerRG, "PUT", mi + "2", `{"location":"westeurope"}`, 409, "ResourceGroupBeingDeleted"},
		{"nor is it made anew", ownerRG, "PUT", group, `{"location":"westeurope"}`, 409, "ResourceGroupBeingDeleted"},
		{"the order is the same one", ownerRG, "DELETE", group, "", 202, ""},
	})
	if now := h.call(ownerRG, "GET", location, ""); now.status != 202 || now.header.Get("Location") == "" {
		t.Errorf("the result: %d %v", now.status, now.header)
	}
	if now := h.call(servetest.Jet, "GET", location, ""); now.status != 404 {
		t.Errorf("ARM-12: the result for somebody else: %d", now.status)
	}
}
