package workloads_test

import (
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/guid"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/test/plane"
)

// own is the identity of the service account web.
var own = directory.ManagedIdentity{
	ID: principal.ID(guid.MustParse[struct{}]("40000000-0000-4000-8000-0000000000f2")), Tenant: plane.Tenant.ID,
	ClientID: directory.AppID(guid.MustParse[struct{}]("11111111-2222-4333-8444-666666666666")), DisplayName: "own", Location: "westeurope",
	Resource: scope.MustParse(plane.Group + "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/own"),
}

// AD-01: whoever may write a pod may write into it whose identity it is to use. It is
// given the words and not the identity: that is proved by who signed the token, and
// for whom, and nothing that a pod or an account says of itself.
func TestAPodThatNamesSomebodyElsesIdentityDoesNotGetIt(t *testing.T) {
	t.Parallel()
	p := newStage(t, true)
	for _, ns := range []string{"shop", "pay"} {
		p.Must("", "create", "namespace", ns)
	}
	account := func(name, client string) string {
		annotations := ""
		if client != "" {
			annotations = "azure.workload.identity/client-id: " + client
		}
		return "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: " + name + ", annotations: {" + annotations + "}}\n---\n"
	}
	p.Must(account("web", own.ClientID.String())+account("posing", clientID)+account("api", clientID), "-n", "shop", "apply", "-f", "-")
	p.Must(account("api", clientID), "-n", "pay", "apply", "-f", "-")
	trust := func(owner directory.ManagedIdentity, subject string) {
		p.Put(owner, directory.FederatedCredential{Owner: owner.ClientID, Name: "pods", Issuer: p.Cluster().IssuerURL,
			Subject: "system:serviceaccount:" + subject, Audiences: []string{"api://AzureADTokenExchange"}})
	}
	trust(bound, "pay:api")
	trust(own, "shop:web")
	mine := "env: [{name: AZURE_CLIENT_ID, value: " + clientID + "}]"

	for _, tt := range []struct {
		law, namespace, account, annotations, container string
		client                                          string // instead of the one in the pod
		ok                                              bool
	}{
		{"the pod that it belongs to gets it", "pay", "api", "", "", "", true},
		{"a pod gets what its account was given", "shop", "web", "", "", "", true},
		{"but not what its account says", "shop", "posing", "", "", "", false},
		{"nor what it says itself in a variable", "shop", "web", "", mine, "", false},
		{"nor in an annotation, whatever it asks for then", "shop", "web", "azure.workload.identity/client-id: " + clientID, "", clientID, false},
		{"nor by an account of the same name in its own namespace", "shop", "api", "", "", "", false},
	} {
		t.Run(tt.law, func(t *testing.T) {
			p := p.in(t)
			manifest := podOf("pod", asks, tt.annotations, "serviceAccountName: "+tt.account)
			if tt.container != "" {
				manifest = strings.Replace(manifest, "image: registry.example/app}", "image: registry.example/app, "+tt.container+"}", 1)
			}
			p.Must(manifest, "-n", tt.namespace, "create", "-f", "-")
			defer p.Must("", "-n", tt.namespace, "delete", "pod", "pod", "--now", "--wait=true")
			client := tt.client
			if client == "" {
				client = variable(plane.Get[corev1.Pod](p.Plane, "-n", tt.namespace, "pod", "pod"), "AZURE_CLIENT_ID")
			}
			if want := map[bool]string{true: own.ClientID.String(), false: clientID}[tt.ok && tt.namespace == "shop"]; client != want {
				t.Fatalf("the pod asks for %q, want %s", client, want)
			}
			// What kubelet asks for the pod's volume.
			token := strings.TrimSpace(p.Must("", "-n", tt.namespace, "create", "token", tt.account, "--audience", "api://AzureADTokenExchange",
				"--bound-object-kind", "Pod", "--bound-object-name", "pod"))
			status, body, err := sent(p.Client(), p.House.Authority(), asserted(client, token))
			switch {
			case err != nil:
				t.Fatal(err)
			case tt.ok && status != http.StatusOK:
				t.Errorf("%d %s", status, body)
			case !tt.ok && (status != http.StatusUnauthorized || !strings.Contains(body, "AADSTS700213") || strings.Contains(body, "access_token")):
				t.Errorf("%d %s", status, body)
			}
		})
	}
}

// variable is what the first container of a pod finds under a name.
func variable(pod corev1.Pod, name string) string {
	for _, v := range pod.Spec.Containers[0].Env {
		if v.Name == name {
			return v.Value
		}
	}
	return ""
}
