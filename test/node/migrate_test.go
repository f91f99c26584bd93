package node_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/gatehouse-io/gatehouse/internal/podid/migrate"
	"github.com/gatehouse-io/gatehouse/test/node"
	"github.com/gatehouse-io/gatehouse/test/plane"
)

// migration: story 35. The pods of a Deployment have their secret by pod identity, by
// both ways, and by workload identity alone, and nobody writes their manifest anew.
func migration(t *testing.T, n *node.Node) {
	mic(n)
	n.Must("", "-n", "shop", "create", "serviceaccount", "mover")
	deploy(n, "mover", node.Spec{Account: "mover", Labels: map[string]string{"aadpodidbinding": "web"}, Env: inVault})
	pod := onePod(n, "mover", node.Running{})
	asks(n, pod, "managed?name=mine", mine())
	asks(n, pod, "fresh?name=mine", "no answer: no client ID specified")

	if way := migrated(n, "--check", "mover"); way.State != migrate.ToDo {
		t.Fatalf("before, it is %+v", way)
	}
	if way := migrated(n, "--apply", "mover"); way.State != migrate.Ready {
		t.Fatalf("with both, it is %+v", way)
	}
	both := onePod(n, "mover", pod)
	asks(n, both, "secret?name=mine", mine())
	asks(n, both, "secret?name=theirs", "refused: 403 Forbidden")
	asks(n, both, "managed?name=mine", mine())

	if way := migrated(n, "--finish", "mover"); way.Name != "" {
		t.Fatalf("in the end, it is %+v", way)
	}
	last := onePod(n, "mover", both)
	asks(n, last, "secret?name=mine", mine())
	asks(n, last, "managed?name=mine", "refused: 4")
	n.Must("", "-n", "shop", "delete", "deployment", "mover")
}

// deploy makes a Deployment with one pod at a time.
func deploy(n *node.Node, name string, spec node.Spec) {
	n.T.Helper()
	var pod map[string]any
	if err := json.Unmarshal([]byte(n.Pod(name, spec)), &pod); err != nil {
		n.T.Fatal(err)
	}
	meta := pod["metadata"].(map[string]any)
	delete(meta, "name")
	meta["labels"].(map[string]any)["app"] = name
	text, err := json.Marshal(map[string]any{
		"apiVersion": "apps/v1", "kind": "Deployment", "metadata": map[string]any{"name": name},
		"spec": map[string]any{"strategy": map[string]any{"type": "Recreate"}, "selector": map[string]any{"matchLabels": map[string]any{"app": name}}, "template": map[string]any{"metadata": meta, "spec": pod["spec"]}},
	})
	if err != nil {
		n.T.Fatal(err)
	}
	n.Must(string(text), "-n", "shop", "create", "-f", "-")
}

// onePod waits for the pod of a Deployment that is not the one of before.
func onePod(n *node.Node, name string, before node.Running) node.Running {
	n.T.Helper()
	var is string
	n.Until("there is another pod of "+name, func() bool {
		list := plane.Get[corev1.PodList](n.Plane, "-n", "shop", "pods", "-l", "app="+name).Items
		if len(list) != 1 || list[0].UID == before.Pod.UID {
			return false
		}
		is = list[0].Name
		return true
	})
	return n.Serving("shop", is)
}

// migrated runs gatehouse migrate pod-identity, and returns what it says of a
// Deployment. Other workloads may be in its way.
func migrated(n *node.Node, step, name string) (of migrate.Way) {
	n.T.Helper()
	cmd := exec.CommandContext(n.T.Context(), os.Getenv("GATEHOUSE_BIN"), "migrate", "pod-identity", step, "--yes", "--cluster", "wl", "--kubeconfig", filepath.Join(n.Dir, "kubeconfig"), "-o", "json")
	cmd.Env = []string{"HOME=" + n.Dir, "GATEHOUSE_DIR=" + filepath.Join(n.Dir, "data")}
	var complaint strings.Builder
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	var plan migrate.Plan
	if json.Unmarshal(out, &plan) != nil {
		n.T.Fatalf("%s: %v: %s%s", step, err, out, complaint.String())
	}
	for _, way := range plan.Workloads {
		if way.Kind == "Deployment" && way.Name == name {
			of = way
		}
	}
	return of
}
