package node_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/issue"
	"github.com/gatehouse-io/gatehouse/internal/store"
	"github.com/gatehouse-io/gatehouse/test/node"
	"github.com/gatehouse-io/gatehouse/test/plane"
)

// poll is how often the driver looks into the vault.
const poll = 2 * time.Second

// A class is a SecretProviderClass: a way to an identity, and objects of the vault.
type class struct {
	way     map[string]string
	objects []string // the name and the type, with a blank between
	synced  string   // the Kubernetes secret that the driver makes of the first; empty: none
}

// create writes it into the namespace shop.
func (c class) create(n *node.Node, name string) {
	n.T.Helper()
	parameters := map[string]string{"keyvaultName": vaultName, "tenantId": plane.Tenant.ID.String()}
	for k, v := range c.way {
		parameters[k] = v
	}
	var array strings.Builder
	for _, o := range c.objects {
		name, kind, _ := strings.Cut(o, " ")
		fmt.Fprintf(&array, "  - |\n    objectName: %s\n    objectType: %s\n", name, kind)
	}
	parameters["objects"] = "array:\n" + array.String()
	spec := map[string]any{"provider": "azure", "parameters": parameters}
	if c.synced != "" {
		name, _, _ := strings.Cut(c.objects[0], " ")
		spec["secretObjects"] = []any{map[string]any{"secretName": c.synced, "type": "Opaque", "data": []any{map[string]string{"objectName": name, "key": "password"}}}}
	}
	text, err := json.Marshal(map[string]any{"apiVersion": "secrets-store.csi.x-k8s.io/v1", "kind": "SecretProviderClass", "metadata": map[string]string{"name": name}, "spec": spec})
	if err != nil {
		n.T.Fatal(err)
	}
	n.Must(string(text), "-n", "shop", "apply", "-f", "-")
}

// waits creates a pod that must not start, and returns when one event of it has all
// these words.
func waits(n *node.Node, name string, spec node.Spec, why ...string) {
	n.T.Helper()
	n.Must(n.Pod(name, spec), "-n", "shop", "create", "-f", "-")
	n.Until(fmt.Sprintf("an event of %s says %q", name, why), func() bool { return events(n, name, why...) > 0 })
	if is := plane.Get[corev1.Pod](n.Plane, "-n", "shop", "pod", name); is.Status.Phase != corev1.PodPending {
		n.T.Errorf("%s: %s", name, is.Status.Phase)
	}
}

// events is how often something happened to a pod that all these words tell of.
func events(n *node.Node, pod string, words ...string) (count int32) {
	n.T.Helper()
next:
	for _, e := range plane.Get[corev1.EventList](n.Plane, "-n", "shop", "events", "--field-selector", "involvedObject.name="+pod).Items {
		for _, w := range words {
			if !strings.Contains(e.Reason+" "+e.Message, w) {
				continue next
			}
		}
		count += max(e.Count, 1)
	}
	return count
}

// versions are those of the objects in a pod, as the driver keeps them.
func versions(n *node.Node, pod, class string) map[string]string {
	n.T.Helper()
	is := plane.Get[struct {
		Status struct {
			Objects []struct{ ID, Version string }
		}
	}](n.Plane, "-n", "shop", "secretproviderclasspodstatus", pod+"-shop-"+class)
	out := make(map[string]string)
	for _, o := range is.Status.Objects {
		out[o.ID] = o.Version
	}
	return out
}

// synced is the password in a secret of Kubernetes that the driver makes; empty: it
// is not there.
func synced(n *node.Node, name string) string {
	n.T.Helper()
	out, err := n.Kubectl("", "-n", "shop", "get", "secret", name, "-o", "jsonpath={.data.password}")
	text, decodeErr := base64.StdEncoding.DecodeString(out)
	if err != nil || decodeErr != nil {
		return ""
	}
	return string(text)
}

// Story 32: files of a vault in pods, by the driver itself.
func secretsStore(t *testing.T, n *node.Node) {
	node.NeedDriver(t)
	turns := grant(t, web.ID, secretsUser, vault.String()+"/secrets/turning")
	n.Put(grant(t, plane.Boss.ID, "Key Vault Certificates Officer", vault.String()), grant(t, web.ID, secretsUser, vault.String()+"/secrets/tls"), turns)
	callVault(n, http.MethodPost, "certificates/tls/create", map[string]any{"policy": map[string]any{
		"key_props": map[string]any{"kty": "RSA", "key_size": 2048, "exportable": true}, "secret_props": map[string]any{"contentType": "application/x-pkcs12"},
		"x509_props": map[string]any{"subject": "CN=web.example"}, "issuer": map[string]any{"name": "Self"}}})
	n.Until("the certificate is issued", func() bool {
		return callVault(n, http.MethodGet, "certificates/tls/pending", nil)["status"] == "completed"
	})
	driver := n.SecretsStore(poll, "--metadata", machine(n), "--nmi-socket", "/run/gatehouse/nmi.sock")
	workload := map[string]string{"clientID": web.ClientID.String()}
	both := []string{"mine secret", "tls secret"}
	class{way: workload, objects: both}.create(n, "workload")
	class{way: workload, objects: []string{"mine secret", "theirs secret"}}.create(n, "too-much")

	t.Run("a pod waits while the driver sends no token of it, and starts by itself when it does", func(t *testing.T) {
		n := n.In(t)
		waits(n, "patient", node.Spec{Account: "web", Class: "workload"}, "FailedMount", "tokenRequests")
		n.Must("", "patch", "csidriver", "secrets-store.csi.k8s.io", "--type=merge", "-p", `{"spec":{"tokenRequests":[{"audience":"api://AzureADTokenExchange"}]}}`)
		pod := n.Serving("shop", "patient")
		asks(n, pod, "file?name=mine", mine())
		asks(n, pod, "pair?name=tls", "CN=web.example")
	})

	t.Run("by workload identity, a pod has nothing if its account may not have all of it, and is told why", func(t *testing.T) {
		n := n.In(t)
		waits(n, "greedy", node.Spec{Account: "web", Class: "too-much"}, "FailedMount", "PermissionDenied", "secret theirs of vault kv-shop: 403")
	})

	t.Run("FED-02 another account that names the identity is not it", func(t *testing.T) {
		waits(n.In(t), "pretender", node.Spec{Account: "stranger", Class: "workload"}, "FailedMount", "Unauthenticated", "AADSTS700213")
	})

	t.Run("by the identity of the machine, and by no other of it", func(t *testing.T) {
		n := n.In(t)
		class{way: map[string]string{"useVMManagedIdentity": "true", "userAssignedIdentityID": web.ClientID.String()}, objects: both}.create(n, "machine")
		class{way: map[string]string{"useVMManagedIdentity": "true", "userAssignedIdentityID": elsewhere.ClientID.String()}, objects: both}.create(n, "another-machine")
		pod := n.Run("shop", "on-machine", node.Spec{Class: "machine"})
		asks(n, pod, "file?name=mine", mine())
		asks(n, pod, "pair?name=tls", "CN=web.example")
		waits(n, "on-another-machine", node.Spec{Class: "another-machine"}, "FailedMount", "Unauthenticated", "Identity not found")
	})

	t.Run("PI-09 by pod identity, and not without a binding", func(t *testing.T) {
		n := n.In(t)
		mic(n)
		class{way: map[string]string{"usePodIdentity": "true"}, objects: both}.create(n, "pod-identity")
		pod := n.Run("shop", "bound-volume", node.Spec{Class: "pod-identity", Labels: map[string]string{"aadpodidbinding": "web"}})
		asks(n, pod, "file?name=mine", mine())
		asks(n, pod, "pair?name=tls", "CN=web.example")
		waits(n, "unbound-volume", node.Spec{Class: "pod-identity"}, "FailedMount", "the identity of pod shop/unbound-volume")
	})

	t.Run("by a service principal, whose secret is in the cluster", func(t *testing.T) {
		n := n.In(t)
		class{objects: []string{"mine secret"}}.create(n, "principal")
		secret, err := issue.NewClientSecret(app.AppID, "csi", time.Now(), time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := n.House.Store().Commit(t.Context(), store.Change{Why: "test", Private: []store.PrivateOp{secret.Op}}); err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string]string{"shop-principal": secret.Text.Reveal(), "no-principal": "canary"} {
			n.Must("", "-n", "shop", "create", "secret", "generic", name, "--from-literal=clientid="+app.AppID.String(), "--from-literal=clientsecret="+text)
			n.Must("", "-n", "shop", "label", "secret", name, "secrets-store.csi.k8s.io/used=true")
		}
		asks(n, n.Run("shop", "principal", node.Spec{Class: "principal", PublishSecret: "shop-principal"}), "file?name=mine", mine())
		waits(n, "no-principal", node.Spec{Class: "principal", PublishSecret: "no-principal"}, "FailedMount", "Unauthenticated", "AADSTS7000215")
		if events(n, "no-principal", "canary") != 0 { // ZA-01
			t.Error("an event has the secret")
		}
	})

	var turning node.Running
	t.Run("a new version comes into the file, and the driver knows which", func(t *testing.T) {
		n := n.In(t)
		first := setSecret(n, "turning", "one")
		class{way: workload, objects: []string{"turning secret"}, synced: "turning"}.create(n, "turning")
		turning = n.Run("shop", "turning", node.Spec{Account: "web", Class: "turning"})
		asks(n, turning, "file?name=turning", digest("one"))
		has := func(text, version string) func() bool {
			return func() bool {
				return versions(n, "turning", "turning")["secret/turning"] == version && synced(n, "turning") == text
			}
		}
		n.Until("the driver knows the version, and makes a secret of Kubernetes", has("one", first))
		second := setSecret(n, "turning", "two")
		begin := time.Now()
		n.Until("the file has the new version", func() bool {
			got, err := turning.Ask(t.Context(), "file?name=turning")
			return err == nil && got == digest("two")
		})
		t.Logf("after %.1f s", time.Since(begin).Seconds())
		n.Until("the driver knows the new version, and the secret of Kubernetes has it", has("two", second))
		lasts(n, turning)
	})
	if turning.Address == "" {
		t.FailNow()
	}
	// reads waits until the pod has a text in its file.
	reads := func(n *node.Node, pod node.Running, text string) {
		n.T.Helper()
		n.Until("the file says "+text, func() bool {
			got, err := pod.Ask(n.T.Context(), "file?name=turning")
			return err == nil && got == digest(text)
		})
	}
	// fails waits until the driver has tried in vain once more to bring a file up to date.
	fails := func(n *node.Node, why string) {
		n.T.Helper()
		before := events(n, "turning", "MountRotationFailed", why)
		n.Until("the driver fails again: "+why, func() bool { return events(n, "turning", "MountRotationFailed", why) > before })
	}

	t.Run("a right that is taken away leaves the file, and closes the vault to new pods", func(t *testing.T) {
		n := n.In(t)
		if _, err := n.House.Store().Commit(t.Context(), store.Change{Why: "test", Ops: []estate.Op{{Delete: turns.Key()}}}); err != nil {
			t.Fatal(err)
		}
		setSecret(n, "turning", "three")
		fails(n, "secret turning of vault kv-shop: 403")
		asks(n, turning, "file?name=turning", digest("two"))
		waits(n, "late", node.Spec{Account: "web", Class: "turning"}, "FailedMount", "PermissionDenied")
		n.Put(turns)
		reads(n, turning, "three")
		asks(n, n.Serving("shop", "late"), "file?name=turning", digest("three"))
	})

	t.Run("a secret that is deleted leaves the file", func(t *testing.T) {
		n := n.In(t)
		callVault(n, http.MethodDelete, "secrets/turning", nil)
		fails(n, "secret turning of vault kv-shop: 404")
		asks(n, turning, "file?name=turning", digest("three"))
		callVault(n, http.MethodPost, "deletedsecrets/turning/recover", nil)
		setSecret(n, "turning", "four")
		reads(n, turning, "four")
	})

	t.Run("files outlive the provider, and it goes on by itself when it is back", func(t *testing.T) {
		n := n.In(t)
		driver.KillProvider()
		setSecret(n, "turning", "five")
		n.Must(n.Pod("early", node.Spec{Account: "web", Class: "turning"}), "-n", "shop", "create", "-f", "-")
		asks(n, turning, "file?name=turning", digest("four"))
		driver.StartProvider()
		reads(n, turning, "five")
		asks(n, n.Serving("shop", "early"), "file?name=turning", digest("five"))
	})

	t.Run("files outlive the driver, and it goes on by itself when it is back", func(t *testing.T) {
		n := n.In(t)
		driver.KillDriver()
		setSecret(n, "turning", "six")
		n.Must(n.Pod("earlier", node.Spec{Account: "web", Class: "turning"}), "-n", "shop", "create", "-f", "-")
		asks(n, turning, "file?name=turning", digest("five"))
		driver.StartDriver()
		reads(n, turning, "six")
		asks(n, n.Serving("shop", "earlier"), "file?name=turning", digest("six"))
		lasts(n, turning)
	})

	t.Run("files outlive that the provider cannot reach the house", func(t *testing.T) {
		n := n.In(t)
		driver.CutHouse()
		setSecret(n, "turning", "seven")
		fails(n, "Unavailable")
		asks(n, turning, "file?name=turning", digest("six"))
		waits(n, "cut", node.Spec{Account: "web", Class: "turning"}, "FailedMount", "Unavailable", "the identity with client id")
		driver.MendHouse()
		reads(n, turning, "seven")
		asks(n, n.Serving("shop", "cut"), "file?name=turning", digest("seven"))
	})

	t.Run("files outlive the API server and the house, and the driver goes on by itself when they are back", func(t *testing.T) {
		n := n.In(t)
		n.APIServer().Kill()
		asks(n, turning, "file?name=turning", digest("seven"))
		n.Stop()
		asks(n, turning, "file?name=turning", digest("seven"))
		n.Begin()
		setSecret(n, "turning", "eight")
		begin := time.Now()
		reads(n, turning, "eight")
		t.Logf("%.1f s after the house is back, the file is new", time.Since(begin).Seconds())
		asks(n, n.Run("shop", "after-all", node.Spec{Account: "web", Class: "workload"}), "pair?name=tls", "CN=web.example")
		lasts(n, turning)
	})
}

// machine is the metadata service of this machine, which has the identity web: it
// passes on what it is asked to the house's own, as what holds a session of it.
func machine(n *node.Node) string {
	n.T.Helper()
	n.Put(grant(n.T, plane.Boss.ID, "Managed Identity Operator", web.Resource.String()))
	secret, _ := ask(n, "api://gatehouse", http.MethodPost, "/gatehouse/v1/identity-sessions", map[string]any{"identities": []string{web.ClientID.String()}})["secret"].(string)
	house, err := url.Parse(n.House.Authority())
	if err != nil {
		n.T.Fatal(err)
	}
	srv := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(house)
			r.Out.Header.Set("X-Identity-Header", secret)
		},
		Transport: n.Client().Transport,
	})
	n.T.Cleanup(srv.Close)
	return srv.URL
}
