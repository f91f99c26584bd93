package node_test

import (
	"os"
	"strings"
	"testing"

	"github.com/gatehouse-io/gatehouse/test/node"
	"github.com/gatehouse-io/gatehouse/test/plane"
)

func TestMain(m *testing.M) { os.Exit(node.Main(m)) }

func TestPodsOnARealNode(t *testing.T) {
	other := newIssuer(t)
	n := node.Start(t, plane.Options{Records: records(t), Configure: other.trusted})
	var most int64
	for _, tt := range []struct {
		law string
		run func(*testing.T, *node.Node)
	}{
		{"kubectl reads what a pod prints, and runs a program in it", kubectl},
		{"workload identity", identity},
		{"a cluster that is not the house's", other.speaks},
		{"pod identity", podIdentity},
		{"workloads move from pod identity to workload identity", migration},
		{"the chart installs what runs on nodes", installed},
		{"images are pulled by the kubelet identity", pulls},
		{"the Secrets Store CSI driver", secretsStore},
		{"kubelet renews a token, and the pod goes on with the new one", renewal},
		{"pods outlive the API server, and have their identity meanwhile", apiServerAway},
		{"pods outlive the house, and have their identity again by themselves", houseAway},
	} {
		t.Run(tt.law, func(t *testing.T) {
			tt.run(t, n.In(t))
			most = max(most, node.Resident())
		})
	}
	t.Logf("at most %d MB", most>>20)
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
