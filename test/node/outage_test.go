package node_test

import (
	"net"
	"net/http"
	"os/exec"
	"strings"
	"sync/atomic"
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

// A cloud is the metadata service of the machine's owner, which no pod must reach.
func newCloud(n *node.Node) *atomic.Int64 {
	n.T.Helper()
	if out, err := exec.CommandContext(n.T.Context(), "ip", "address", "replace", "169.254.169.254/32", "dev", "lo").CombinedOutput(); err != nil {
		n.T.Fatalf("ip: %v: %s", err, out)
	}
	l, err := net.Listen("tcp", "169.254.169.254:80")
	if err != nil {
		n.T.Fatal(err)
	}
	hits := new(atomic.Int64)
	srv := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits.Add(1) })}
	go srv.Serve(l)
	n.T.Cleanup(func() { srv.Close() })
	return hits
}

// hasIdentity waits until MIC and the agent have given a pod its identity.
func hasIdentity(n *node.Node, pod node.Running) {
	n.T.Helper()
	n.Until(pod.Pod.Name+" has its identity", func() bool {
		got, err := pod.Ask(n.T.Context(), "managed?name=mine")
		return err == nil && got == mine()
	})
}

// agentAway: the node agent is killed and, while kubelet does not start it again, the
// rules that it left refuse. PI-12.
func agentAway(t *testing.T, n *node.Node) {
	labels := map[string]string{"aadpodidbinding": "web"}
	pod := n.Run("shop", "lasting-3", node.Spec{Labels: labels, Env: inVault})
	hasIdentity(n, pod)
	newcomer := n.Run("shop", "newcomer", node.Spec{Labels: labels, Env: inVault})
	hits := newCloud(n)

	n.Kubelet.Signal(syscall.SIGSTOP)
	defer n.Kubelet.Signal(syscall.SIGCONT)
	n.Agent().Kill()
	n.Until("the agent has ended", func() bool {
		c, err := net.DialTimeout("tcp", "127.0.0.1:8085", time.Second) // its health; at its other address nobody of the node is answered
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	asks(n, pod, "managed?name=mine", mine()) // by the token that it has
	asks(n, newcomer, "managed?name=mine", "no answer")
	asks(n, newcomer, "managed?name=mine&client="+web.ClientID.String(), "no answer")
	if hits.Load() != 0 {
		t.Errorf("pods reached the metadata service of the machine's owner %d times", hits.Load())
	}
	res, err := http.Get("http://169.254.169.254/")
	if err != nil || hits.Load() != 1 {
		t.Fatalf("it is not there for the machine itself: %v", err)
	}
	res.Body.Close()

	begin := time.Now()
	n.Kubelet.Signal(syscall.SIGCONT)
	// It asks all the time, also between the rules of the new agent and its first answer. A
	// connection to the machine's own metadata service, made then, it would keep.
	hasIdentity(n, newcomer)
	t.Logf("the pod that asked meanwhile has its identity after %.1f s", time.Since(begin).Seconds())
	lasts(n, pod)
	lasts(n, newcomer)
	if hits.Load() != 1 {
		t.Errorf("pods reached the metadata service of the machine's owner %d times", hits.Load()-1)
	}
}

// programAway: kubelet or containerd is killed, and started again as an init system
// does. Pods and their identities are not concerned.
func programAway(of func(*node.Node) *node.Program, name string) func(*testing.T, *node.Node) {
	return func(t *testing.T, n *node.Node) {
		pod := n.Run("shop", "with-"+name, node.Spec{Account: "web", Identity: true, Labels: map[string]string{"aadpodidbinding": "web"}, Env: inVault})
		asks(n, pod, "secret?name=mine", mine())
		hasIdentity(n, pod)
		of(n).Kill()
		asks(n, pod, "fresh?name=mine", mine())
		asks(n, pod, "managed?name=mine", mine())
		if err := of(n).Start(); err != nil {
			t.Fatal(err)
		}
		recovers(n, pod, "after-"+name)
	}
}
