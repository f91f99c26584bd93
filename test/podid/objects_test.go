package podid_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/podid"
	"github.com/gatehouse-io/gatehouse/test/plane"
)

// parse reads an object as gatehouse does.
func parse(kind string, data []byte) (err error) {
	switch kind {
	case "AzureIdentity":
		_, err = podid.ParseIdentity(data)
	case "AzureIdentityBinding":
		_, err = podid.ParseBinding(data)
	case "AzureAssignedIdentity":
		_, err = podid.ParseAssigned(data)
	case "AzurePodIdentityException":
		_, err = podid.ParseException(data)
	}
	return err
}

// What the API server takes, gatehouse can read; what it could not read is refused
// when it is written.
func TestTheAPIServerAndGatehouseAgreeOnObjects(t *testing.T) {
	t.Parallel()
	s := newStage(t, plane.Options{})
	s.Must("", "apply", "-f", filepath.Join(plainDir, "crds.yaml"))
	s.Must("", "wait", "--for=condition=Established", "crd", "--all", "--timeout=3m")
	const (
		managed = `type: 0, resourceID: ` + resourceID + `web, clientID: ` + clientID
		sp      = `type: 1, clientID: ` + clientID + `, tenantID: 7e000000-0000-4000-8000-000000000001, clientPassword: {name: sp, namespace: web}`
		inside  = `azureIdentityRef: {apiVersion: aadpodidentity.k8s.io/v1, kind: AzureIdentity, metadata: {name: web, namespace: web}, spec: {` + managed + `}}, azureBindingRef: {apiVersion: aadpodidentity.k8s.io/v1, kind: AzureIdentityBinding, metadata: {name: b, namespace: web}, spec: {azureIdentity: web, selector: web}}`
	)
	for _, tt := range []struct {
		law, kind, spec string
		refused         string // part of the reason; "" means it is taken
	}{
		{"a managed identity", "AzureIdentity", managed, ""},
		{"one without a type is a managed one", "AzureIdentity", strings.TrimPrefix(managed, "type: 0, "), ""},
		{"one in capitals", "AzureIdentity", `type: 0, resourceID: ` + strings.ToUpper(resourceID) + `WEB, clientID: ` + strings.ToUpper(clientID), ""},
		{"what upstream's tools write beside it", "AzureIdentity", managed + `, metadata: {}, clientPassword: {}, replicas: null, auxiliaryTenantIDs: null, tenantID: "", adEndpoint: "", adResourceID: ""`, ""},
		{"a service principal with a secret", "AzureIdentity", sp, ""},
		{"a service principal with a certificate", "AzureIdentity", strings.Replace(sp, "type: 1", "type: 2", 1), ""},
		{"no client id", "AzureIdentity", `type: 0, resourceID: ` + resourceID + `web`, "clientID"},
		{"an empty client id", "AzureIdentity", `type: 0, clientID: "", resourceID: ` + resourceID + `web`, "clientID"},
		{"the client id of nobody", "AzureIdentity", `type: 0, clientID: 00000000-0000-0000-0000-000000000000, resourceID: ` + resourceID + `web`, "names nobody"},
		{"the old spelling of a member", "AzureIdentity", `type: 0, clientid: ` + clientID + `, resourceid: ` + resourceID + `web`, "clientID"},
		{"a managed identity without its resource", "AzureIdentity", `type: 0, clientID: ` + clientID, "needs its resourceID"},
		{"another resource", "AzureIdentity", `type: 0, clientID: ` + clientID + `, resourceID: /subscriptions/5b000000-0000-4000-8000-000000000001/resourceGroups/web`, "resourceID"},
		{"a resource below an identity", "AzureIdentity", strings.Replace(managed, "Identities/web", "Identities/web/x/y", 1), "resourceID"},
		{"a way up", "AzureIdentity", strings.Replace(managed, "Identities/web", "Identities/..", 1), "resourceID"},
		{"an escape", "AzureIdentity", strings.Replace(managed, "Identities/web", "Identities/%77eb", 1), "resourceID"},
		{"a managed identity with a password", "AzureIdentity", managed + `, clientPassword: {name: a, namespace: b}`, "has no clientPassword"},
		{"a service principal with a resource", "AzureIdentity", sp + `, resourceID: ` + resourceID + `web`, "has no resourceID"},
		{"a service principal without its tenant", "AzureIdentity", `type: 1, clientID: ` + clientID + `, clientPassword: {name: sp, namespace: web}`, "needs its tenantID"},
		{"a service principal without its Secret", "AzureIdentity", `type: 2, clientID: ` + clientID + `, tenantID: 7e000000-0000-4000-8000-000000000001`, "clientPassword"},
		{"a type that there is not", "AzureIdentity", strings.Replace(sp, "type: 1", "type: 3", 1), "type"},
		{"a type in words", "AzureIdentity", strings.Replace(managed, "type: 0", "type: msi", 1), "type"},

		{"a binding", "AzureIdentityBinding", `azureIdentity: web, selector: web, weight: 2`, ""},
		{"a binding of no identity", "AzureIdentityBinding", `selector: web`, "azureIdentity"},
		{"a binding to elsewhere", "AzureIdentityBinding", `azureIdentity: other/web, selector: web`, "azureIdentity"},
		{"a binding of no pods", "AzureIdentityBinding", `azureIdentity: web`, "selector"},
		{"a binding of all pods", "AzureIdentityBinding", `azureIdentity: web, selector: ""`, "selector"},
		{"a selector that no label can have", "AzureIdentityBinding", `azureIdentity: web, selector: a/b`, "selector"},

		{"an assigned identity", "AzureAssignedIdentity", inside + `, pod: web-0, podNamespace: web, nodename: node-1.example`, ""},
		{"one without a pod", "AzureAssignedIdentity", inside + `, podNamespace: web, nodename: node-1`, "pod"},
		{"one without a node", "AzureAssignedIdentity", inside + `, pod: web-0, podNamespace: web`, "nodename"},
		{"one without an identity", "AzureAssignedIdentity", `pod: web-0, podNamespace: web, nodename: node-1`, "azureIdentityRef"},
		{"one with an identity that would be refused", "AzureAssignedIdentity", strings.Replace(inside, "type: 0", "type: 1", 1) + `, pod: web-0, podNamespace: web, nodename: node-1`, "has no resourceID"},
		{"one with another object in place of the identity", "AzureAssignedIdentity", strings.Replace(inside, "kind: AzureIdentity,", "kind: Pod,", 1) + `, pod: web-0, podNamespace: web, nodename: node-1`, "kind"},

		{"an exception", "AzurePodIdentityException", `podLabels: {app: web, example.com/tier: ""}`, ""},
		{"an exception for nobody", "AzurePodIdentityException", `podLabels: {}`, "podLabels"},
		{"an exception without labels", "AzurePodIdentityException", ``, "podLabels"},
		{"an exception with a label that cannot be", "AzurePodIdentityException", `podLabels: {app: "a b"}`, "podLabels"},
	} {
		t.Run(tt.law, func(t *testing.T) {
			s := s.in(t)
			out, err := s.Kubectl("apiVersion: aadpodidentity.k8s.io/v1\nkind: "+tt.kind+"\nmetadata: {name: x, namespace: web}\nspec: {"+tt.spec+"}\n", "create", "--validate=ignore", "--dry-run=server", "-o", "json", "-f", "-")
			if tt.refused != "" {
				if err == nil || !strings.Contains(out, tt.refused) {
					t.Errorf("%v: %s, want a refusal about %q", err, out, tt.refused)
				}
				return
			}
			if err != nil {
				t.Fatal(out)
			}
			if err := parse(tt.kind, []byte(out)); err != nil {
				t.Errorf("the API server takes it, and gatehouse does not: %v", err)
			}
		})
	}
}
