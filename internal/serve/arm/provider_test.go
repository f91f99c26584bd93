package arm_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/serve/servetest"
)

func TestWhatThereIs(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	sub := servetest.Subscription.String()
	h.walk([]step{
		{"locations", servetest.Ed, "GET", sub + "/locations", "", 200, `"regionalDisplayName":"(Europe) West Europe"`},
		{"locations of another tenant's subscription (ARM-07)", root, "GET", sub2.String() + "/locations", "", 404, "SubscriptionNotFound"},
		{"a provider", root, "GET", sub + "/providers/microsoft.keyvault", "", 200, `"registrationState":"Registered"`},
		{"its types", root, "GET", sub + "/providers/Microsoft.KeyVault", "", 200, `"resourceType":"vaults"`},
		{"a provider with one type here", root, "GET", sub + "/providers/Microsoft.Insights", "", 200, `"resourceType":"activityLogAlerts"`},
		{"no provider", root, "GET", sub + "/providers/Microsoft.Nothing", "", 404, "InvalidResourceNamespace"},
		{"providers without a subscription", servetest.Ed, "GET", "/providers", "", 200, `"namespace":"Microsoft.Authorization"`},
		{"registering takes the right", servetest.Jet, "POST", sub + "/providers/Microsoft.KeyVault/register", "", 403, "Microsoft.KeyVault/register/action"},
		{"registering", contrib, "POST", sub + "/providers/Microsoft.KeyVault/register", "", 200, "Registered"},
		{"operations of a provider", servetest.Ed, "GET", "/providers/Microsoft.ManagedIdentity/operations", "", 200, `"name":"Microsoft.ManagedIdentity/userAssignedIdentities/assign/action"`},
		{"operations by type", servetest.Ed, "GET", "/providers/Microsoft.Authorization/providerOperations/Microsoft.KeyVault", "", 200, `"resourceTypes":[]`},
		{"operations of all", servetest.Ed, "GET", "/providers/Microsoft.Authorization/providerOperations", "", 200, `"name":"Microsoft.ContainerService"`},
		{"an operation that no provider has", ownerRG, "PUT", servetest.Group.String() + provider + "/roleDefinitions/" + number(9),
			`{"properties":{"roleName":"Ops","permissions":[{"dataActions":["Microsoft.ContainerService/managedClusters/podz/read"]}],"assignableScopes":["` + servetest.Group.String() + `"]}}`, 400,
			"'Microsoft.ContainerService/managedClusters/podz/read' does not match any of the actions supported by the providers."},
	})
	got := h.call(servetest.Ed, "GET", "/providers/Microsoft.Authorization/providerOperations/Microsoft.KeyVault"+version+"&$expand=resourceTypes", "")
	if !strings.Contains(got.text, `"name":"vaults/secrets","operations":[`) && !strings.Contains(got.text, "Microsoft.KeyVault/vaults/secrets/getSecret/action") {
		t.Errorf("expanded: %.500s", got.text)
	}
}

// guard makes its map of what a cluster has from this list: the operations that are
// data actions and name the type, with their verb in the last segment or two.
func TestGuardReadsTheOperationsOfClusters(t *testing.T) {
	t.Parallel()
	got := newHouse(t).call(servetest.Ed, "GET", "/providers/Microsoft.ContainerService/operations?api-version=2018-10-31", "")
	var list struct {
		Value []struct {
			Name         string
			IsDataAction bool
			Display      struct{ Resource, Operation string }
		}
		NextLink string
	}
	if err := json.Unmarshal([]byte(got.text), &list); err != nil || list.NextLink != "" {
		t.Fatalf("%d %.300s: %v", got.status, got.text, err)
	}
	var data []string
	for _, op := range list.Value {
		if rest, ok := strings.CutPrefix(op.Name, "Microsoft.ContainerService/managedClusters/"); ok && op.IsDataAction {
			data = append(data, rest)
		}
	}
	for _, want := range []string{"pods/read", "pods/exec/action", "apps/deployments/delete", "nodes/write", "rbac.authorization.k8s.io/roles/bind/action", "customresources/read"} {
		if !slices.Contains(data, want) {
			t.Errorf("there is no data action %s", want)
		}
	}
}

func TestManagementGroups(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	sub := servetest.Subscription.String()
	const groups = "/providers/Microsoft.Management/managementGroups"
	parent := func(name, id string) string {
		return `{"properties":{"displayName":"` + name + `","details":{"parent":{"id":"` + id + `"}}}}`
	}
	h.walk([]step{
		{"none", root, "GET", groups, "", 200, `{"value":[]}`},
		{"who may not make one", contrib, "PUT", groups + "/Corp", `{}`, 403, "Microsoft.Management/managementGroups/write"},
		{"one", root, "PUT", groups + "/Corp", `{"name":"Corp","properties":{"displayName":"The Corporation"}}`, 200, `"name":"Corp"`},
		{"its parent is none", root, "GET", groups + "/corp", "", 200, `"parent":null`},
		{"one in it", root, "PUT", groups + "/dev", parent("Dev", groups+"/corp"), 200, `"parent":{"id":"/providers/Microsoft.Management/managementGroups/Corp","name":"Corp","displayName":"The Corporation"}`},
		{"one in nothing", root, "PUT", groups + "/x", parent("x", groups+"/nil"), 404, "ManagementGroupNotFound"},
		{"a parent that is no group", root, "PUT", groups + "/x", parent("x", sub), 400, "not the id of a management group"},
		{"AZ-21 no circles", root, "PATCH", groups + "/corp", `{"parentGroupId":"` + groups + `/dev"}`, 400, "contains itself"},
		{"a subscription moves in", root, "PUT", groups + "/dev/subscriptions/" + servetest.Subscription.Name(), "", 200, `"state":"Active"`},
		{"only by who may", contrib, "PUT", groups + "/corp/subscriptions/" + servetest.Subscription.Name(), "", 403, "AuthorizationFailed"},
		{"ARM-07 not one of another tenant", root, "PUT", groups + "/dev/subscriptions/" + sub2.Name(), "", 404, "SubscriptionNotFound"},
		{"it is in it", root, "GET", groups + "/dev/subscriptions", "", 200, servetest.Subscription.Name()},
		{"all that is below", root, "GET", groups + "/corp/descendants", "", 200, `"type":"/subscriptions"`},
		{"a role above counts below", root, "PUT", groups + "/corp" + provider + "/roleAssignments/" + number(80), assign(contributor, servetest.Faye, ""), 201, "managementGroups/Corp" + provider},
		{"at once", servetest.Faye, "PUT", sub + "/resourceGroups/one", `{"location":"westeurope"}`, 201, ""},
		{"a new name", root, "PATCH", groups + "/corp", `{"displayName":"Corporation"}`, 200, `"displayName":"Corporation"`},
		{"not while something is in it", root, "DELETE", groups + "/dev", "", 409, "has children"},
		{"what may be read", servetest.Faye, "GET", groups, "", 200, `"name":"dev"`},
		{"entities", servetest.Faye, "POST", "/providers/Microsoft.Management/getEntities", "", 200, servetest.Subscription.Name()},
		{"who may not know of it", servetest.Ed, "GET", groups + "/corp", "", 403, "or the scope is invalid"},
		{"is told the same of one that is not there", servetest.Ed, "GET", groups + "/nil", "", 403, "or the scope is invalid"},
		{"ARM-07 of another tenant", alien, "GET", groups + "/corp", "", 401, ""}, // his token is of another issuer here
		{"the subscription moves out", root, "DELETE", groups + "/dev/subscriptions/" + servetest.Subscription.Name(), "", 200, ""},
		{"AZ-21 and what it inherited ends", servetest.Faye, "PUT", sub + "/resourceGroups/two", `{"location":"westeurope"}`, 403, "AuthorizationFailed"},
		{"a group goes", root, "DELETE", groups + "/dev", "", 204, ""},
		{"with what was granted at it", root, "DELETE", groups + "/corp", "", 204, ""},
		{"it is gone", root, "DELETE", groups + "/corp", "", 204, ""},
	})
	if got := h.store.Current().AssignmentsOf(servetest.Faye); len(got) != 0 {
		t.Errorf("left: %v", got)
	}
	h.walk([]step{{"again", root, "PUT", groups + "/corp", ``, 200, ""}, {"in it", root, "PUT", groups + "/dev", parent("Dev", groups+"/corp"), 200, ""}})
	got := h.call(root, "GET", groups+"/corp"+version+"&$expand=children&$recurse=true", "")
	if !strings.Contains(got.text, `"children":[{`) || !strings.Contains(got.text, "managementGroups/dev") {
		t.Errorf("expanded: %s", got.text)
	}
}
