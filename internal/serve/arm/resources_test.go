package arm_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/serve"
	"github.com/gatehouse-io/gatehouse/internal/serve/servetest"
)

// A step is one request to an estate that the steps before it have changed.
type step struct {
	name         string
	who          principal.ID
	method, path string
	body         string
	status       int
	has          string
}

func (h *house) walk(steps []step) {
	h.t.Helper()
	for _, tt := range steps {
		got := h.call(tt.who, tt.method, tt.path+version, tt.body)
		if got.status != tt.status || !strings.Contains(got.text, tt.has) {
			h.t.Errorf("%s: %s %s = %d %.1500s, want %d and %s", tt.name, tt.method, tt.path, got.status, got.text, tt.status, tt.has)
		}
	}
}

func TestIdentitiesLiveAndDie(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	sub, group := servetest.Subscription.String(), servetest.Group.String()
	types := group + "/providers/Microsoft.ManagedIdentity/userAssignedIdentities"
	id := types + "/My-Identity"
	feds := id + "/federatedIdentityCredentials"
	fed := func(issuer, subject string, audiences string) string {
		return `{"properties":{"issuer":"` + issuer + `","subject":"` + subject + `","audiences":[` + audiences + `]}}`
	}
	good := fed("https://issuer.example/a/", "system:serviceaccount:ns:sa", `"api://AzureADTokenExchange"`)
	h.walk([]step{
		{"nothing is there yet", contrib, "GET", id, "", 404, "The Resource 'Microsoft.ManagedIdentity/userAssignedIdentities/my-identity' under resource group 'web' was not found."},
		{"who may not make one", servetest.Jet, "PUT", id, `{"location":"westeurope"}`, 403, "Microsoft.ManagedIdentity/userAssignedIdentities/write"},
		{"one needs a location", contrib, "PUT", id, `{}`, 400, "LocationRequired"},
		{"names have a grammar (ARM-05)", contrib, "PUT", types + "/-x-", `{"location":"westeurope"}`, 400, "InvalidResourceName"},
		{"and a refusal says it, of a blank", contrib, "PUT", types + "/shop%20web", `{"location":"westeurope"}`, 400, "InvalidResourceId\",\"message\":\"The path '" + types + "/shop web' is not that of a resource. Its name is 3 to 128 letters, digits, hyphens and underscores, the first a letter or digit."},
		{"and of an umlaut", contrib, "PUT", types + "/sh%C3%B6p", `{"location":"westeurope"}`, 400, "Its name is 3 to 128 letters"},
		{"a location is a region", contrib, "PUT", id, `{"location":"nowhere"}`, 400, "LocationNotAvailableForResourceType\",\"message\":\"The provided location 'nowhere' is not available for resource type 'Microsoft.ManagedIdentity/userAssignedIdentities'. List of available regions for the resource type is 'eastus,"},
		{"no identity is everywhere", contrib, "PUT", id, `{"location":"global"}`, 400, "LocationNotAvailableForResourceType"},
		{"no group, no identity", contrib, "PUT", sub + "/resourceGroups/nil/providers/Microsoft.ManagedIdentity/userAssignedIdentities/abc", `{"location":"westeurope"}`, 404, "ResourceGroupNotFound"},
		{"one is made, under ids that the house chooses (ARM-09)", contrib, "PUT", id, `{"location":"West Europe","tags":{"Team":"web"},"properties":{"principalId":"` + root.String() + `","tenantId":"x"}}`, 201, `"name":"My-Identity"`},
		{"it is shown as it was written", contrib, "GET", strings.ToLower(id), "", 200, sub + `/resourceGroups/web/providers/Microsoft.ManagedIdentity/userAssignedIdentities/My-Identity"`},
		{"its place is normal", contrib, "GET", id, "", 200, `"location":"westeurope"`},
		{"writing it again changes nothing", contrib, "PUT", id, `{"location":"westeurope","tags":{"Team":"web"}}`, 200, `"Team":"web"`},
		{"it does not move", contrib, "PUT", id, `{"location":"northeurope"}`, 409, "InvalidResourceLocation"},
		{"a patch says what changes", contrib, "PATCH", id, `{"properties":{"isolationScope":"Regional"}}`, 200, `"isolationScope":"Regional"`},
		{"and nothing else", contrib, "GET", id, "", 200, `"Team":"web"`},
		{"51 tags are too many", contrib, "PATCH", id, `{"tags":{"<":""}}`, 400, "tag name"},
		{"in the list of the group", contrib, "GET", types, "", 200, "My-Identity"},
		{"in the list of the subscription", contrib, "GET", sub + "/providers/Microsoft.ManagedIdentity/userAssignedIdentities", "", 200, "My-Identity"},
		{"a list hides what may not be read (ARM-11)", servetest.Jet, "GET", types, "", 200, `{"value":[]}`},
		{"who has nothing there has no list", servetest.Ed, "GET", types, "", 403, "AuthorizationFailed"},

		{"credentials of nobody", contrib, "GET", types + "/nobody/federatedIdentityCredentials", "", 404, "ResourceNotFound"},
		{"no properties", root, "PUT", feds + "/f-1", `{}`, 400, "Federated Identity Credential from HTTP body has empty properties"},
		{"two audiences", root, "PUT", feds + "/f-1", fed("https://i.example/", "s", `"a","b"`), 400, "Federated Identity Credentials must have exactly one audience."},
		{"a bad name", root, "PUT", feds + "/f$1", good, 400, "Federated Identity Credential name 'f$1' is invalid. It has 3 to 120 letters"},
		{"an issuer without TLS", root, "PUT", feds + "/f-1", fed("http://i.example/", "s", `"a"`), 400, "not a plain https URL"},
		{"a credential", root, "PUT", feds + "/f-1", good, 201, `"subject":"system:serviceaccount:ns:sa"`},
		{"again", root, "PUT", feds + "/F-1", good, 200, `"name":"f-1"`},
		{"the same under another name", root, "PUT", feds + "/f-2", good, 400, "Issuer and subject combination already exists for this Managed Identity."},
		{"a pattern of subjects", root, "PUT", feds + "/many", `{"properties":{"issuer":"https://issuer.example/a/","audiences":["api://x"],"claimsMatchingExpression":{"value":"claims['sub'] matches 'system:serviceaccount:ns:*'","languageVersion":1}}}`, 201, `"claimsMatchingExpression":{"value":"claims['sub'] matches 'system:serviceaccount:ns:*'","languageVersion":1}`},
		{"is no pattern of everybody", root, "PUT", feds + "/all", `{"properties":{"issuer":"https://issuer.example/a/","audiences":["api://x"],"claimsMatchingExpression":{"value":"claims['sub'] matches 'system:*'","languageVersion":1}}}`, 400, "wildcard in its first two parts"},
		{"is taken away", root, "DELETE", feds + "/many", "", 200, ""},
		{"it is kept byte for byte", root, "GET", feds + "/f-1", "", 200, `"issuer":"https://issuer.example/a/"`},
		{"it is listed", root, "GET", feds, "", 200, `"name":"f-1"`},
		{"who may make none", servetest.Jet, "PUT", feds + "/f-3", good, 403, "federatedIdentityCredentials/write"},
		{"another is deleted", root, "DELETE", feds + "/f-9", "", 204, ""},
		{"nobody uses it", contrib, "POST", id + "/listAssociatedResources", "{}", 200, `{"value":[]}`},
		{"who may not delete", servetest.Jet, "DELETE", id, "", 403, "AuthorizationFailed"},
	})
	mi, _ := h.store.Current().IdentityAt(scopeOf(id))
	h.walk([]step{
		{"it gets a role", root, "PUT", group + provider + "/roleAssignments/" + number(70), assign(servetest.Reader.String(), mi.ID, `,"principalType":"ServicePrincipal"`), 201, `"principalType":"ServicePrincipal"`},
		{"DIR-13 who may give less than the identity has may not sign in as it", contrib, "PUT", feds + "/f-3", fed("https://issuer.example/a/", "other", `"a"`), 403, "roleAssignments/write"},
		{"it goes", contrib, "DELETE", id, "", 200, ""},
		{"it is gone", contrib, "DELETE", id, "", 204, ""},
		{"what it was given stays, of nobody", root, "GET", group + provider + "/roleAssignments/" + number(70), "", 200, mi.ID.String()},
		{"another one of the name", contrib, "PUT", id, `{"location":"westeurope"}`, 201, ""},
	})
	est := h.store.Current()
	if got := est.FederatedCredentials(mi.ClientID); len(got) != 0 {
		t.Errorf("its credentials are left: %v", got)
	}
	// AZ-19: a new one inherits nothing.
	if next, ok := est.IdentityAt(scopeOf(id)); !ok || next.ID == mi.ID || next.ClientID == mi.ClientID || len(est.AssignmentsOf(next.ID)) != 0 {
		t.Errorf("the second identity is %v, the first was %v", next, mi)
	}
}

func TestOtherResources(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	sub, group := servetest.Subscription.String(), servetest.Group.String()
	vaults := "/providers/Microsoft.KeyVault/vaults"
	vault := group + vaults + "/Web-Secrets"
	net := group + "/providers/Microsoft.Network/virtualNetworks/net"
	aks := group + "/providers/Microsoft.ContainerService/managedClusters/"
	const insights = "/providers/Microsoft.Insights/dataCollectionRule"
	follows := `{"properties":{"dataCollectionRuleId":"` + group + insights + `s/logs"}}`
	properties := `{"tenantId":"` + servetest.Tenant.String() + `","sku":{"family":"A","name":"standard"},"enableRbacAuthorization":true,"accessPolicies":[]`
	h.walk([]step{
		{"nothing is there", contrib, "GET", vault, "", 404, "ResourceNotFound"},
		{"who may not make one", servetest.Jet, "PUT", vault, `{}`, 403, "Microsoft.KeyVault/vaults/write"},
		{"a vault of another tenant", contrib, "PUT", vault, `{"location":"westeurope","properties":{"tenantId":"` + servetest.Tenant2.String() + `","sku":{}}}`, 400, "tenantId"},
		{"a vault", contrib, "PUT", vault, `{"location":"westeurope","properties":` + properties + `}}`, 201, `"vaultUri":"https://web-secrets.vault.azure.net/"`},
		{"it keeps what was said", contrib, "GET", strings.ToUpper(vault), "", 200, `"enableRbacAuthorization":true`},
		{"it is done", contrib, "GET", vault, "", 200, `"provisioningState":"Succeeded"`},
		{"a name is taken in the world", contrib, "PUT", sub + "/resourceGroups/web" + vaults + "/web-secrets2", `{"location":"westeurope","properties":` + properties + `}}`, 201, ""},
		{"another group", contrib, "PUT", sub + "/resourceGroups/other", `{"location":"westeurope"}`, 201, ""},
		{"whatever its letters", contrib, "PUT", sub + "/resourceGroups/other" + vaults + "/WEB-secrets", `{"location":"westeurope","properties":` + properties + `}}`, 409, "VaultAlreadyExists"},
		{"a hyphen at the end", contrib, "PUT", group + vaults + "/web-", `{"location":"westeurope","properties":` + properties + `}}`, 400, "InvalidResourceName"},
		{"a patch merges", contrib, "PATCH", vault, `{"tags":{"a":"b"},"properties":{"enableSoftDelete":false,"sku":{"name":"premium"}}}`, 200, `"sku":{"family":"A","name":"premium"}`},
		{"and keeps the rest", contrib, "GET", vault, "", 200, `"enableRbacAuthorization":true`},
		{"ARM-14 a name twice, far inside", contrib, "PATCH", vault, `{"properties":{"x":{"a":1,"a":2}}}`, 400, "InvalidRequestContent"},
		{"nested beyond sense", contrib, "PATCH", vault, `{"properties":{"x":` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + `}}`, 400, "nested"},
		{"protection from purging", contrib, "PATCH", sub + "/resourceGroups/web" + vaults + "/web-secrets2", `{"properties":{"enablePurgeProtection":true}}`, 200, `"enablePurgeProtection":true`},
		{"is not taken away", root, "PATCH", sub + "/resourceGroups/web" + vaults + "/web-secrets2", `{"properties":{"enablePurgeProtection":false}}`, 400, "irreversible"},
		{"nor left out", root, "PUT", sub + "/resourceGroups/web" + vaults + "/web-secrets2", `{"location":"westeurope","properties":` + properties + `}}`, 400, "irreversible"},
		{"a registry", contrib, "PUT", group + "/providers/Microsoft.ContainerRegistry/registries/TekNews", `{"location":"westeurope","sku":{"name":"Basic"},"properties":{"adminUserEnabled":false}}`, 201, `"loginServer":"teknews.azurecr.io"`},
		{"an account", contrib, "PUT", group + "/providers/Microsoft.Storage/storageAccounts/teknews1", `{"location":"westeurope","sku":{"name":"Standard_LRS"},"kind":"StorageV2"}`, 200, "https://teknews1.blob.core.windows.net/"},
		{"a vault is not everywhere", contrib, "PUT", group + "/providers/Microsoft.KeyVault/vaults/everywhere", `{"location":"global","properties":{"tenantId":"` + servetest.Tenant.String() + `","sku":{"family":"A","name":"standard"}}}`, 400, "LocationNotAvailableForResourceType"},
		{"a zone", contrib, "PUT", group + "/providers/Microsoft.Network/privateDnsZones/privatelink.westeurope.azmk8s.io", `{"location":"global"}`, 201, `"location":"global"`},
		{"a workspace", contrib, "PUT", group + "/providers/Microsoft.OperationalInsights/workspaces/logs", `{"location":"westeurope"}`, 201, `"customerId":"`},
		{"a rule of what is collected", contrib, "PUT", group + insights + "s/logs", `{"location":"westeurope","properties":{"dataFlows":[]}}`, 200, `/dataCollectionRules/logs"`},
		{"a cluster follows it", contrib, "PUT", aks + "aks-1" + insights + "Associations/Insights", follows, 200, `/managedClusters/aks-1/providers/Microsoft.Insights/dataCollectionRuleAssociations/Insights"`},
		{"which is listed", contrib, "GET", aks + "aks-1" + insights + "Associations", "", 200, `dataCollectionRules/logs"`},
		{"who may not let it", servetest.Jet, "PUT", aks + "aks-1" + insights + "Associations/mine", follows, 403, "Microsoft.Insights/dataCollectionRuleAssociations/write"},
		{"a cluster that is not there", contrib, "PUT", aks + "nil" + insights + "Associations/Insights", follows, 404, "ResourceNotFound"},
		{"a rule follows nobody", contrib, "PUT", group + insights + "Associations/Insights", follows, 404, "InvalidResourceType"},
		{"a network with subnets", contrib, "PUT", net, `{"location":"westeurope","properties":{"addressSpace":{"addressPrefixes":["10.0.0.0/8"]},"subnets":[{"name":"Nodes","properties":{"addressPrefix":"10.1.0.0/16"}},{"name":"pods"}]}}`, 201, `/virtualNetworks/net/subnets/Nodes"`},
		{"a subnet by itself", contrib, "GET", net + "/subnets/nodes", "", 200, `"addressPrefix":"10.1.0.0/16"`},
		{"one more", contrib, "PUT", net + "/subnets/aci", `{"properties":{"addressPrefix":"10.2.0.0/16"}}`, 201, `"name":"aci"`},
		{"they are listed", contrib, "GET", net + "/subnets", "", 200, "aci"},
		{"a subnet of no network", contrib, "PUT", group + "/providers/Microsoft.Network/virtualNetworks/nil/subnets/x", `{}`, 404, "virtualNetworks/nil"},
		{"what is not named any more goes", contrib, "PUT", net, `{"location":"westeurope","properties":{"subnets":[{"name":"Nodes","properties":{"addressPrefix":"10.1.0.0/16"}}]}}`, 200, "Nodes"},
		{"so it did", contrib, "GET", net + "/subnets/pods", "", 404, "ResourceNotFound"},
		{"a role at a vault", root, "PUT", vault + provider + "/roleAssignments/" + number(71), assign(servetest.Reader.String(), servetest.Faye, ""), 201, `/vaults/Web-Secrets"`},
		{"a role at no vault", root, "PUT", group + vaults + "/none" + provider + "/roleAssignments/" + number(72), assign(servetest.Reader.String(), servetest.Faye, ""), 404, "ResourceNotFound"},
		{"a role at a type that is not here", root, "PUT", group + "/providers/Microsoft.Foo/bars/x" + provider + "/roleAssignments/" + number(72), assign(servetest.Reader.String(), servetest.Faye, ""), 404, "InvalidResourceType"},
		{"a role inside of a vault", root, "PUT", vault + "/secrets/one" + provider + "/roleAssignments/" + number(73), assign(servetest.Reader.String(), servetest.Faye, ""), 201, ""},
		{"a role at a subnet", root, "PUT", net + "/subnets/nodes" + provider + "/roleAssignments/" + number(74), assign(servetest.Reader.String(), servetest.Faye, ""), 201, ""},
		{"by type", contrib, "GET", group + vaults, "", 200, "Web-Secrets"},
		{"a vault goes", contrib, "DELETE", vault, "", 200, ""},
		{"AZ-20 with what was granted in it", root, "GET", vault + provider + "/roleAssignments/" + number(71), "", 404, "RoleAssignmentNotFound"},
		{"AZ-20 and below", root, "GET", vault + "/secrets/one" + provider + "/roleAssignments/" + number(73), "", 404, "RoleAssignmentNotFound"},
		{"it is gone", contrib, "DELETE", vault, "", 204, ""},
		{"ARM-15 a network goes with its subnets", contrib, "DELETE", net, "", 200, ""},
	})
	for rec := range h.store.Current().Records() {
		if strings.Contains(rec.Key().String(), "virtualnetworks/net") {
			t.Errorf("%s is left", rec.Key())
		}
	}
	est := h.store.Current()
	c, _ := est.Cluster(scopeOf(aks + "aks-1"))
	ops, _, err := serve.Deletion(est, c.Key(), true)
	follower := resource.Other{Scope: scopeOf(aks + "aks-1" + insights + "Associations/Insights")}.Key().String()
	if err != nil || !slices.ContainsFunc(ops, func(op estate.Op) bool { return op.Delete.String() == follower }) {
		t.Errorf("ARM-15 a cluster goes without what it follows: %v", err)
	}
}

func TestListsOfResources(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	sub, group := servetest.Subscription.String(), servetest.Group.String()
	h.walk([]step{
		{"a registry", contrib, "PUT", group + "/providers/Microsoft.ContainerRegistry/registries/TekNews", `{"location":"westeurope","sku":{"name":"Basic"},"tags":{"Team":"web"}}`, 201, ""},
		{"a network", contrib, "PUT", group + "/providers/Microsoft.Network/virtualNetworks/net", `{"location":"westeurope","properties":{"subnets":[{"name":"a"}]}}`, 201, ""},
	})
	for _, tt := range []struct {
		name, path, filter string
		who                principal.ID
		want               string
	}{
		{"by type", sub, "resourceType eq 'microsoft.containerregistry/registries'", contrib, "TekNews"},
		{"by name and type", sub, "name eq 'teknews' and resourceType eq 'Microsoft.ContainerRegistry/registries'", contrib, "TekNews"},
		{"by tag", sub, "tagname eq 'team' and tagvalue eq 'web'", contrib, "TekNews"},
		{"by another value", sub, "tagName eq 'team' and tagValue eq 'ops'", contrib, ""},
		{"clusters and identities are resources, subnets are parts", group, "", contrib, "TekNews aks-1 aks-2 aks-3 mi net"},
		{"ARM-11 only what may be read", sub, "", servetest.Jet, ""},
	} {
		got := h.call(tt.who, "GET", tt.path+"/resources"+version+"&$filter="+strings.ReplaceAll(tt.filter, " ", "%20"), "")
		var list struct{ Value []struct{ ID, Name string } }
		if err := json.Unmarshal([]byte(got.text), &list); err != nil || got.status != 200 {
			t.Errorf("%s: %d %s", tt.name, got.status, got.text)
		}
		have := make(map[string]bool)
		for _, v := range list.Value {
			have[v.Name] = true
		}
		if names := strings.Join(sortedKeys(have), " "); names != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, names, tt.want)
		}
	}
}

func TestTagsOfGroups(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ops := servetest.Subscription.String() + "/resourceGroups/ops"
	h.walk([]step{
		{"a group", contrib, "PUT", ops, `{"location":"westeurope","tags":{"env":"test"},"managedBy":"/x"}`, 201, `"managedBy":"/x"`},
		{"a patch", contrib, "PATCH", ops, `{"tags":{"env":"live","team":"a"}}`, 200, `"env":"live"`},
		{"it was kept", contrib, "GET", ops, "", 200, `"team":"a"`},
		{"writing it without tags takes them away", contrib, "PUT", ops, `{"location":"westeurope"}`, 200, `"tags":{}`},
		{"a tag twice in other letters", contrib, "PATCH", ops, `{"tags":{"a":"","A":""}}`, 400, "twice"},
		{"who may not", servetest.Jet, "PATCH", ops, `{"tags":{}}`, 403, "AuthorizationFailed"},
		{"no group", contrib, "PATCH", ops + "x", `{"tags":{}}`, 404, "ResourceGroupNotFound"},
	})
}

func TestWhereThingsAreAlreadyTheyStay(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	home := scopeOf(servetest.Subscription.String() + "/resourceGroups/home")
	h.put(resource.Group{Scope: home, Name: "home", Location: "homelab"})
	at := home.String() + "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/abc" + version
	for _, tt := range []struct {
		law, path, location string
		want                int
	}{
		{"a group that a file put elsewhere is written again", home.String() + version, "homelab", 200},
		{"what is made in it is there", at, "homelab", 201},
		{"and written again", at, "Homelab", 200},
		{"and does not move", at, "westeurope", 409},
		{"elsewhere nothing is made there", servetest.Group.String() + "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/abc" + version, "homelab", 400},
	} {
		if got := h.call(contrib, "PUT", tt.path, `{"location":"`+tt.location+`"}`); got.status != tt.want {
			t.Errorf("%s: %d %s, want %d", tt.law, got.status, got.text, tt.want)
		}
	}
}
