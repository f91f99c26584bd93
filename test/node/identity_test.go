package node_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/test/node"
	"github.com/gatehouse-io/gatehouse/test/plane"
)

// The estate: an identity and an application that may read one of two secrets, and
// an identity that trusts another issuer.
var (
	vault     = scope.MustParse(plane.Group + "/providers/Microsoft.KeyVault/vaults/" + vaultName)
	web       = managedIdentity("web")
	elsewhere = managedIdentity("elsewhere")
	pool      = managedIdentity("pool") // the kubelet identity, from pod identity on
	app       = directory.Application{ID: principal.NewID(), AppID: directory.NewAppID(), Tenant: plane.Tenant.ID, DisplayName: "shop"}
	appOwn    = directory.ServicePrincipal{ID: principal.NewID(), AppID: app.AppID, Tenant: plane.Tenant.ID, DisplayName: "shop"}
)

const (
	vaultName      = "kv-shop"
	secretsUser    = "Key Vault Secrets User"
	secretsOfficer = "Key Vault Secrets Officer"
)

func managedIdentity(name string) directory.ManagedIdentity {
	return directory.ManagedIdentity{ID: principal.NewID(), ClientID: directory.NewAppID(), Tenant: plane.Tenant.ID, DisplayName: name,
		Resource: scope.MustParse(plane.Group + "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/" + name)}
}

func records(t *testing.T) []record.Record {
	t.Helper()
	properties, err := resource.ParseProperties([]byte(`{"enableRbacAuthorization":true}`))
	if err != nil {
		t.Fatal(err)
	}
	return append(registryRecords(), web, elsewhere, app, appOwn, resource.Other{Scope: vault, Name: vaultName, Type: "Microsoft.KeyVault/vaults", Properties: properties},
		grant(t, plane.Boss.ID, secretsOfficer, vault.String()),
		grant(t, web.ID, secretsUser, vault.String()+"/secrets/mine"),
		grant(t, elsewhere.ID, secretsUser, vault.String()+"/secrets/mine"),
		grant(t, appOwn.ID, secretsUser, vault.String()+"/secrets/mine"))
}

func grant(t testing.TB, to principal.ID, role, at string) azurerbac.Assignment {
	t.Helper()
	def, ok := estate.New().DefinitionByName(role)
	if !ok {
		t.Fatalf("there is no role %s", role)
	}
	return azurerbac.Assignment{ID: azurerbac.NewAssignmentID(), Scope: scope.MustParse(at), Principal: to, Role: def.ID}
}

// ask asks an API of the house as its administrator, and returns the answer.
func ask(n *node.Node, resource, method, path string, in any) map[string]any {
	n.T.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		n.T.Fatal(err)
	}
	req, err := http.NewRequestWithContext(n.T.Context(), method, n.House.Authority()+path, bytes.NewReader(body))
	if err != nil {
		n.T.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+n.TokenFor(resource))
	req.Header.Set("Content-Type", "application/json")
	res, err := n.Client().Do(req)
	if err != nil {
		n.T.Fatal(err)
	}
	defer res.Body.Close()
	var out map[string]any
	if err := json.NewDecoder(res.Body).Decode(&out); err != nil || res.StatusCode/100 != 2 {
		n.T.Fatalf("%s %s: %s %v %v", method, path, res.Status, out, err)
	}
	return out
}

// callVault calls the vault by its own API.
func callVault(n *node.Node, method, path string, in any) map[string]any {
	n.T.Helper()
	return ask(n, "https://vault.azure.net", method, "/vaults/"+vaultName+"/"+path+"?api-version=7.4", in)
}

// setSecret sets a secret of the vault, and returns its version.
func setSecret(n *node.Node, name, value string) string {
	n.T.Helper()
	id, _ := callVault(n, http.MethodPut, "secrets/"+name, map[string]string{"value": value})["id"].(string)
	return id[strings.LastIndex(id, "/")+1:]
}

const value = "value of mine"

// digest is what a pod says of a text.
func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return fmt.Sprintf("%d bytes, %s", len(text), hex.EncodeToString(sum[:4]))
}

// mine is what a pod says that has read the secret.
func mine() string { return digest(value) }

// account makes a service account that names an identity.
func account(n *node.Node, namespace, name string, client directory.AppID) {
	n.T.Helper()
	n.Must(fmt.Sprintf("apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: %s, annotations: {azure.workload.identity/client-id: %s}}", name, client), "-n", namespace, "create", "-f", "-")
}

// trusts lets an account of this cluster speak for an identity or application.
func trusts(n *node.Node, owner directory.AppID, namespace, account string) {
	n.T.Helper()
	n.Put(directory.FederatedCredential{Owner: owner, Name: namespace + "-" + account, Issuer: n.Cluster().IssuerURL,
		Subject: "system:serviceaccount:" + namespace + ":" + account, Audiences: []string{"api://AzureADTokenExchange"}})
}

// asks is a pod's question and the answer that it must get.
func asks(n *node.Node, pod node.Running, path, want string) {
	n.T.Helper()
	got, err := pod.Ask(n.T.Context(), path)
	if err != nil || !strings.HasPrefix(got, want) {
		n.T.Errorf("%s asked for %s: %q, %v; want %q", pod.Pod.Name, path, got, err, want)
	}
}

var inVault = map[string]string{"VAULT": vaultName, "SECRET": "mine"}

// Stories 27 to 29.
func identity(t *testing.T, n *node.Node) {
	n.Namespace("shop")
	setSecret(n, "mine", value)
	setSecret(n, "theirs", "value of theirs")
	account(n, "shop", "web", web.ClientID)
	trusts(n, web.ClientID, "shop", "web")
	pod := n.Run("shop", "web", node.Spec{Account: "web", Identity: true, Env: inVault})

	t.Run("a pod with an identity reads the one secret that it was given", func(t *testing.T) {
		n := n.In(t)
		asks(n, pod, "secret?name=mine", mine())
		asks(n, pod, "secret?name=theirs", "refused: 403 Forbidden")
		if out := n.Must("", "-n", "shop", "exec", "web", "--", "/pod", "secret"); strings.TrimSpace(out) != mine() {
			t.Errorf("in the pod's own shell: %s", out)
		}
	})

	t.Run("an application's service principal does as well", func(t *testing.T) {
		n := n.In(t)
		account(n, "shop", "app", app.AppID)
		trusts(n, app.AppID, "shop", "app")
		asks(n, n.Run("shop", "app", node.Spec{Account: "app", Identity: true, Env: inVault}), "secret?name=mine", mine())
	})

	t.Run("FED-02 another account that names the identity is not it", func(t *testing.T) {
		n := n.In(t)
		account(n, "shop", "stranger", web.ClientID)
		asks(n, n.Run("shop", "stranger", node.Spec{Account: "stranger", Identity: true, Env: inVault}), "fresh?name=mine", "refused: AADSTS700213")
	})

	t.Run("FED-01 an identity that trusts another cluster does not trust this one", func(t *testing.T) {
		n := n.In(t)
		n.Put(directory.FederatedCredential{Owner: elsewhere.ClientID, Name: "there", Issuer: "https://issuer.example/",
			Subject: "system:serviceaccount:shop:elsewhere", Audiences: []string{"api://AzureADTokenExchange"}})
		account(n, "shop", "elsewhere", elsewhere.ClientID)
		asks(n, n.Run("shop", "elsewhere", node.Spec{Account: "elsewhere", Identity: true, Env: inVault}), "fresh?name=mine", "refused: AADSTS700211")
	})

	t.Run("FED-03 the token that every pod has for the API server is good for nothing here", func(t *testing.T) {
		asks(n.In(t), pod, "fresh?name=mine&file=/var/run/secrets/kubernetes.io/serviceaccount/token", "refused: AADSTS700212")
	})

	t.Run("a pod that does not ask has none", func(t *testing.T) {
		n := n.In(t)
		asks(n, n.Run("shop", "plain", node.Spec{Account: "web", Env: inVault}), "fresh?name=mine", "no answer: no client ID specified")
	})
}

// claims are those of a pod's token that change when it is renewed.
type claims struct {
	ID       string `json:"jti"`
	IssuedAt int64  `json:"iat"`
	Expires  int64  `json:"exp"`
	Subject  string `json:"sub"`
}

func tokenOf(n *node.Node, pod node.Running) (c claims) {
	n.T.Helper()
	text, err := pod.Ask(n.T.Context(), "token")
	if err == nil {
		err = json.Unmarshal([]byte(text), &c)
	}
	if err != nil || c.ID == "" {
		n.T.Fatalf("%v in %q", err, text)
	}
	return c
}

// renewal: kubelet renews a token of an hour when a fifth of it is left. It is told
// that this is sooner.
func renewal(t *testing.T, n *node.Node) {
	n.Uplink.Hasten(12*time.Minute + 15*time.Second)
	pod := n.Run("shop", "renewed", node.Spec{Account: "web", Identity: true, Env: inVault})
	asks(n, pod, "secret?name=mine", mine())
	first := tokenOf(n, pod)
	var second claims
	begin := time.Now()
	n.Until("kubelet renews the token", func() bool {
		second = tokenOf(n, pod)
		return second.ID != first.ID
	})
	n.Uplink.Hasten(0)
	t.Logf("after %.1f s", time.Since(begin).Seconds())
	if second.IssuedAt <= first.IssuedAt || second.Expires-second.IssuedAt != 3600 || second.Subject != first.Subject {
		t.Errorf("%+v came after %+v", second, first)
	}
	asks(n, pod, "fresh?name=mine", mine())
	asks(n, pod, "secret?name=mine", mine())
	if is := plane.Get[corev1.Pod](n.Plane, "-n", "shop", "pod", "renewed"); is.Status.ContainerStatuses[0].RestartCount != 0 {
		t.Errorf("%+v", is.Status.ContainerStatuses)
	}
}
