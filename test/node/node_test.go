package node_test

import (
	"os"
	"strings"
	"testing"

	"github.com/gatehouse-io/gatehouse/test/node"
)

func TestMain(m *testing.M) { os.Exit(node.Main(m)) }

func TestPodsOnARealNode(t *testing.T) {
	n := node.Start(t)
	t.Run("kubectl reads what a pod prints, and runs a program in it", func(t *testing.T) { kubectl(t, n.In(t)) })
	t.Logf("%d MB", node.Resident()>>20)
}

func kubectl(t *testing.T, n *node.Node) {
	n.Namespace("plain")
	pod := n.Run("plain", "web", node.Spec{})
	n.Until("kubectl logs", func() bool {
		return strings.Contains(n.Must("", "-n", "plain", "logs", "web"), "serving")
	})
	if out := n.Must("", "-n", "plain", "exec", "web", "--", "/pod", "secret"); !strings.Contains(out, "no answer: ") {
		t.Error(out)
	}
	t.Logf("%s at %s", pod.Pod.Name, pod.Address)
}
