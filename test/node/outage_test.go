package node_test

import (
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/gatehouse-io/gatehouse/test/node"
	"github.com/gatehouse-io/gatehouse/test/plane"
)

// lasts checks that a pod is still the one that it was.
func lasts(n *node.Node, pod node.Running) {
	n.T.Helper()
	is := plane.Get[corev1.Pod](n.Plane, "-n", pod.Pod.Namespace, "pod", pod.Pod.Name)
	if is.UID != pod.Pod.UID || is.Status.PodIP != pod.Address || is.Status.ContainerStatuses[0].RestartCount != 0 {
		n.T.Errorf("the pod is another one or was started again: %+v", is.Status)
	}
}

// recovers waits until the cluster does again what it did, and nobody helps.
func recovers(n *node.Node, pod node.Running, name string) {
	n.T.Helper()
	begin := time.Now()
	n.Until("kubectl is let in", func() bool {
		_, err := n.Kubectl("", "get", "nodes")
		return err == nil
	})
	n.T.Logf("kubectl is let in after %.1f s", time.Since(begin).Seconds())
	n.Until("the node is ready", n.Ready)
	// Until the house knows that the API server is back, it refuses such a pod, and
	// whoever made it tries again.
	n.Until("a pod with an identity is made", func() bool {
		out, err := n.Kubectl(n.Pod(name, node.Spec{Account: "web", Identity: true, Env: inVault}), "-n", "shop", "create", "-f", "-")
		if err != nil && !strings.Contains(out, "try again") {
			n.T.Fatal(out)
		}
		return err == nil
	})
	asks(n, n.Serving("shop", name), "secret?name=mine", mine())
	n.T.Logf("a new pod has its secret after %.1f s", time.Since(begin).Seconds())
	lasts(n, pod)
	asks(n, pod, "secret?name=mine", mine())
}

// apiServerAway: the API server hangs, and then dies.
func apiServerAway(t *testing.T, n *node.Node) {
	pod := n.Run("shop", "lasting", node.Spec{Account: "web", Identity: true, Env: inVault})
	asks(n, pod, "secret?name=mine", mine())
	process := n.APIServer()
	process.Signal(syscall.SIGSTOP)
	asks(n, pod, "secret?name=mine", mine())
	asks(n, pod, "fresh?name=mine", mine())
	process.Kill()
	asks(n, pod, "fresh?name=mine", mine())
	recovers(n, pod, "after-api-server")
}

// houseAway: the house is stopped, and its clusters with it.
func houseAway(t *testing.T, n *node.Node) {
	pod := n.Run("shop", "lasting-2", node.Spec{Account: "web", Identity: true, Env: inVault})
	asks(n, pod, "secret?name=mine", mine())
	n.Stop()
	asks(n, pod, "secret?name=mine", "no answer")
	asks(n, pod, "fresh?name=mine", "no answer")
	if text, err := pod.Ask(t.Context(), "token"); err != nil || !strings.Contains(text, `"sub":"system:serviceaccount:shop:web"`) {
		t.Errorf("its token: %s, %v", text, err)
	}
	n.Begin()
	asks(n, pod, "secret?name=mine", mine())
	asks(n, pod, "fresh?name=mine", mine())
	recovers(n, pod, "after-house")
}
