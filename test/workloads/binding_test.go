package workloads_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	corev1 "k8s.io/api/core/v1"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/guid"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/test/plane"
)

const bindingAudience = "api://AKSIdentityBinding"

// bound is an identity that the cluster has a binding for.
var bound = directory.ManagedIdentity{
	ID: principal.ID(guid.MustParse[struct{}]("40000000-0000-4000-8000-0000000000f1")), Tenant: plane.Tenant.ID, ClientID: directory.AppID(guid.MustParse[struct{}](clientID)), DisplayName: "bound", Location: "westeurope",
	Resource: scope.MustParse(plane.Group + "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/bound"),
}

// serviceToken is a token of a service account; one that is bound to a pod ends with it.
func serviceToken(p *plane.Plane, account, audience, pod string) string {
	args := []string{"-n", "shop", "create", "token", account, "--audience", audience}
	if pod != "" {
		args = append(args, "--bound-object-kind", "Pod", "--bound-object-name", pod)
	}
	return strings.TrimSpace(p.Must("", args...))
}

// TestAsAWorkload is no test: it is what runs in a pod, for
// TestIdentityBindingsStandForFederatedCredentials.
func TestAsAWorkload(t *testing.T) {
	if os.Getenv("AZURE_KUBERNETES_TOKEN_PROXY") == "" {
		t.Skip("it is started by another test")
	}
	cred, err := azidentity.NewWorkloadIdentityCredential(&azidentity.WorkloadIdentityCredentialOptions{EnableAzureProxy: true, DisableInstanceDiscovery: os.Getenv("DISCOVERY") == ""})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	tok, err := cred.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{"https://vault.azure.net/.default"}})
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println("GOT", tok.Token)
}

func TestIdentityBindingsStandForFederatedCredentials(t *testing.T) {
	t.Parallel()
	p := plane.Start(t, plane.Options{WorkloadIdentity: true})
	p.Must("", "create", "namespace", "shop")
	p.Must(accounts+"---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {name: other, annotations: {azure.workload.identity/client-id: "+clientID+"}}\n", "-n", "shop", "apply", "-f", "-")
	p.Must(`
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: use-bound}
rules: [{verbs: [use-managed-identity], apiGroups: [cid.wi.aks.azure.com], resources: ["`+clientID+`"]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: use-bound}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: use-bound}
subjects: [{kind: ServiceAccount, name: web, namespace: shop}]
`, "apply", "-f", "-")
	p.Must(podOf("bound", asks, `azure.workload.identity/use-identity-binding: "true"`, "serviceAccountName: web"), "-n", "shop", "create", "-f", "-")
	pod := plane.Get[corev1.Pod](p, "-n", "shop", "pod", "bound")
	vars := map[string]string{}
	for _, v := range pod.Spec.Containers[0].Env {
		vars[v.Name] = v.Value
	}
	tok := pod.Spec.Volumes[0].Projected
	for _, v := range pod.Spec.Volumes {
		if v.Name == "azure-identity-token" {
			tok = v.Projected
		}
	}
	if tok == nil || tok.Sources[0].ServiceAccountToken.Audience != bindingAudience {
		t.Fatalf("the token of the pod is not for its proxy: %+v", pod.Spec.Volumes)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(vars["AZURE_KUBERNETES_CA_DATA"])) {
		t.Fatalf("the pod was not told whom to trust: %v", vars)
	}
	client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	t.Cleanup(client.CloseIdleConnections)
	ask := func(base, assertion, id, grant string) (int, string) {
		form := asserted(id, assertion)
		form.Set("grant_type", grant)
		status, body, err := sent(client, base, form)
		if err != nil {
			t.Fatal(err)
		}
		return status, body
	}
	proxy := vars["AZURE_KUBERNETES_TOKEN_PROXY"]
	web := serviceToken(p, "web", bindingAudience, "bound")

	// What the proxy does the doctor says, before anybody asks it.
	doctor := func(what, name string, code int, says string) {
		t.Helper()
		out, errs, got := (&stage{p}).gatehouse("", "doctor", what, name, "--cluster", p.Cluster().Name, "--kubeconfig", filepath.Join(p.Dir, "kubeconfig"))
		if got != code || !strings.Contains(out, says) {
			t.Errorf("the doctor on %s %s: exit code %d, want %d, and %q in\n%s%s", what, name, got, code, says, out, errs)
		}
	}
	refused := func(law, assertion, id, grant, want string) {
		t.Helper()
		if status, body := ask(proxy, assertion, id, grant); status < 400 || !strings.Contains(body, want) || strings.Contains(body, "access_token") {
			t.Errorf("%s: %d %s, want %s", law, status, body, want)
		}
	}
	const credentials = "client_credentials"
	refused("no identity is there", web, clientID, credentials, "AADSTS700016")
	p.Put(bound)
	doctor("pod", "shop/bound", 1, "the cluster has no identity binding for managed identity bound")
	refused("no binding names it", web, clientID, credentials, "AADSTS700016")
	p.Change(func(c *resource.Cluster) {
		c.IdentityBindings = []resource.IdentityBinding{{Name: "ib", Identity: resource.IdentityRef{Resource: bound.Resource, Object: bound.ID}}}
	})
	doctor("pod", "shop/bound", 1, "does not have the credential of identity bindings")
	refused("the identity does not have the credential of bindings", web, clientID, credentials, "AADSTS700211")
	p.Put(directory.BindingCredential(bound))

	status, body := ask(proxy, web, clientID, credentials)
	if status != 200 || !strings.Contains(body, "access_token") {
		t.Fatalf("the binding does not hold: %d %s", status, body)
	}
	doctor("pod", "shop/bound", 0, "the cluster lets the service account use the identity")
	doctor("sa", "shop/web", 0, "the cluster lets the service account use the identity")
	doctor("sa", "shop/other", 1, "the cluster does not let the service account use the identity")

	refused("the account may not use the identity", serviceToken(p, "other", bindingAudience, ""), clientID, credentials, "'system:serviceaccount:shop:other' may not use the managed identity")
	refused("FED-03 a token for the token service is none for the proxy", serviceToken(p, "web", "api://AzureADTokenExchange", ""), clientID, credentials, "AADSTS700027")
	refused("nor one for the API server", p.Token(), clientID, credentials, "AADSTS700027")
	refused("nothing", "", clientID, credentials, "AADSTS700027")
	refused("another client", web, "11111111-2222-4333-8444-555555555556", credentials, "AADSTS700016")
	refused("another grant", web, clientID, "refresh_token", "AADSTS70003")
	if status, body := ask(p.House.Authority(), web, clientID, credentials); status != 401 || !strings.Contains(body, "AADSTS700211") {
		t.Errorf("the token of the proxy at the token service: %d %s", status, body)
	}
	if status, body := ask(strings.Replace(proxy, "token-proxy/", "token-proxy/0", 1), web, clientID, credentials); status != 404 {
		t.Errorf("the proxy of no cluster: %d %s", status, body)
	}

	t.Run("the SDK for Go, with nothing but what the webhook gave the pod", func(t *testing.T) {
		file := p.Write("token", web)
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestAsAWorkload$", "-test.v")
		cmd.Env = []string{"HOME=" + p.Dir, "AZURE_FEDERATED_TOKEN_FILE=" + file}
		for name, value := range vars {
			if name != "AZURE_FEDERATED_TOKEN_FILE" {
				cmd.Env = append(cmd.Env, name+"="+value)
			}
		}
		out, err := cmd.CombinedOutput()
		if err != nil || !bytes.Contains(out, []byte("GOT ")) {
			t.Fatalf("%v\n%s", err, out)
		}
		_, raw, _ := strings.Cut(string(out), "GOT ")
		raw, _, _ = strings.Cut(raw, "\n")
		var claims struct{ Oid, Aud string }
		if err := json.Unmarshal(payload(t, raw), &claims); err != nil || claims.Oid != bound.ID.String() {
			t.Errorf("the token is of %+v, %v", claims, err)
		}
	})

	p.Must("", "-n", "shop", "delete", "pod", "bound", "--now")
	p.Until("the token has ended with its pod", func() bool {
		status, _ := ask(proxy, web, clientID, credentials)
		return status == 401
	})
	fresh := serviceToken(p, "web", bindingAudience, "")
	if status, body := ask(proxy, fresh, clientID, credentials); status != 200 {
		t.Fatalf("a token without a pod: %d %s", status, body)
	}
	p.Must("", "delete", "clusterrolebinding", "use-bound")
	p.Until("the right has ended with its binding in the cluster", func() bool {
		status, _ := ask(proxy, fresh, clientID, credentials)
		return status == 403
	})
}

func payload(t *testing.T, raw string) []byte {
	t.Helper()
	parts := strings.Split(raw, ".")
	if len(parts) != 3 {
		t.Fatalf("%d parts", len(parts))
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	return text
}
