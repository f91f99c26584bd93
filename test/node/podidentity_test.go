package node_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"

	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/test/node"
	"github.com/gatehouse-io/gatehouse/test/plane"
)

// agents installs pod identity from its manifests: the objects, MIC, which is a
// process of this machine, and the node agent, which is a pod on it.
func agents(n *node.Node) {
	n.T.Helper()
	const deploy = "../../deploy/kustomize"
	n.Must("", "apply", "-f", filepath.Join(deploy, "pod-identity", "namespace.yaml"), "-f", filepath.Join(deploy, "pod-identity", "crds.yaml"))
	n.Must("", "wait", "--for=condition=Established", "crd", "--all", "--timeout=3m")
	n.Must("", "apply", "-f", filepath.Join(deploy, "pod-identity", "agents.yaml"))
	n.Must("", "-n", "gatehouse-pod-identity", "delete", "deployment", "gatehouse-mic")
	mic(n)

	base, err := filepath.Abs(filepath.Join(deploy, "node"))
	if err != nil {
		n.T.Fatal(err)
	}
	dir := filepath.Join(n.Dir, "agent")
	if base, err = filepath.Rel(dir, base); err != nil {
		n.T.Fatal(err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		n.T.Fatal(err)
	}
	n.Write("agent/kustomization.yaml", fmt.Sprintf(`
resources: [%s]
patches:
  - target: {kind: ConfigMap, name: gatehouse-node}
    patch: |
      - {op: replace, path: /data/house, value: %q}
      - {op: replace, path: /data/ca.crt, value: %q}
  - target: {kind: DaemonSet, name: gatehouse-node}
    patch: |
      - op: replace
        path: /spec/template/spec/volumes/0/projected/sources/0/serviceAccountToken/audience
        value: %s/gatehouse/nodes/token
`, base, n.House.Authority(), n.CA(), n.House.Authority()))
	n.Must("", "apply", "-k", dir)
	n.T.Cleanup(func() {
		logs, _ := filepath.Glob("/var/log/pods/kube-system_gatehouse-node-*/nmi/*.log")
		for _, name := range logs {
			if text, err := os.ReadFile(name); err == nil && n.T.Failed() {
				n.T.Logf("the end of the log of the agent:\n%s", text[max(0, len(text)-6000):])
			}
		}
	})
	n.Schedule("kube-system")
	n.Until("the agent is ready", func() bool {
		return plane.Get[appsv1.DaemonSet](n.Plane, "-n", "kube-system", "daemonset", "gatehouse-node").Status.NumberReady == 1
	})
}

// mic starts MIC, until the test ends.
func mic(n *node.Node) {
	n.T.Helper()
	account := strings.TrimSpace(n.Must("", "-n", "gatehouse-pod-identity", "create", "token", "gatehouse-mic", "--duration=1h"))
	n.Program("mic", os.Getenv("GATEHOUSE_BIN"), "mic", "--kubeconfig", n.Write("mic.kubeconfig", n.Kubeconfig(account)), "--health-listen", "127.0.0.1:9440")
}

// Story 30.
func podIdentity(t *testing.T, n *node.Node) {
	n.Put(pool, grant(t, pool.ID, "Managed Identity Operator", web.Resource.String()))
	n.Change(func(c *resource.Cluster) {
		c.KubeletIdentity = resource.IdentityRef{Resource: pool.Resource, Object: pool.ID}
	})
	agents(n)
	n.Must(fmt.Sprintf(`
apiVersion: aadpodidentity.k8s.io/v1
kind: AzureIdentity
metadata: {name: web}
spec: {type: 0, resourceID: %s, clientID: %s}
---
apiVersion: aadpodidentity.k8s.io/v1
kind: AzureIdentityBinding
metadata: {name: web}
spec: {azureIdentity: web, selector: web}
`, web.Resource, web.ClientID), "-n", "shop", "apply", "-f", "-")
	bound := n.Run("shop", "bound", node.Spec{Labels: map[string]string{"aadpodidbinding": "web"}, Env: inVault})
	unbound := n.Run("shop", "unbound", node.Spec{Env: inVault})

	t.Run("a pod with a binding is given its identity's token at the metadata address", func(t *testing.T) {
		n := n.In(t)
		asks(n, bound, "managed?name=mine", mine())
		asks(n, bound, "managed?name=mine&client="+web.ClientID.String(), mine())
		asks(n, bound, "managed?name=theirs", "refused: 403 Forbidden")
	})
	t.Run("PI-09 it is given no other identity's", func(t *testing.T) {
		n := n.In(t)
		for _, other := range []string{elsewhere.ClientID.String(), pool.ClientID.String()} {
			asks(n, bound, "managed?name=mine&client="+other, "refused: 4")
		}
	})
	t.Run("PI-09 a pod without a binding is refused, whichever it names", func(t *testing.T) {
		n := n.In(t)
		asks(n, unbound, "managed?name=mine", "refused: 4")
		asks(n, unbound, "managed?name=mine&client="+web.ClientID.String(), "refused: 4")
	})
	for _, tt := range []struct {
		law string
		run func(*testing.T, *node.Node)
	}{
		{"pods outlive the node agent, and reach no other metadata service", agentAway},
		{"pods outlive kubelet, and have their identity meanwhile", programAway(func(n *node.Node) *node.Program { return n.Kubelet }, "kubelet")},
		{"pods outlive containerd, and have their identity meanwhile", programAway(func(n *node.Node) *node.Program { return n.Runtime }, "containerd")},
	} {
		t.Run(tt.law, func(t *testing.T) { tt.run(t, n.In(t)) })
	}
}

// installed: the chart, as its own API server and its own node take it.
func installed(t *testing.T, n *node.Node) {
	render := func(nmi bool) string {
		t.Helper()
		text, err := plane.Render(t, "../../deploy/helm/gatehouse-node", "kube-system", map[string]any{
			"house": map[string]any{"url": n.House.Authority(), "ca": string(n.CA())}, "nmi": map[string]any{"enabled": nmi},
			"csi": map[string]any{"enabled": true, "hostFolder": "/run/gatehouse-csi"}})
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	n.Must(render(true), "apply", "--dry-run=server", "-f", "-")
	n.Must(render(false), "apply", "-f", "-")
	n.Schedule("kube-system")
	n.Until("the provider of vaults listens", func() bool {
		at, err := os.Stat("/run/gatehouse-csi/azure.sock")
		return err == nil && at.Mode().Type() == os.ModeSocket && plane.Get[appsv1.DaemonSet](n.Plane, "-n", "kube-system", "daemonset", "gatehouse-csi").Status.NumberReady == 1
	})
}
