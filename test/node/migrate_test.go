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

// migration: story 35. The pods of a workload have their secret by pod identity, by
// both ways, and by workload identity alone, and nobody writes its manifest anew.
func migration(t *testing.T, n *node.Node) {
	mic(n)
	for _, kind := range []string{"Deployment", "StatefulSet", "CronJob"} {
		t.Run("a "+kind, func(t *testing.T) { moves(n.In(t), kind) })
	}
}

func moves(n *node.Node, kind string) {
	name := "mover-" + strings.ToLower(kind)
	n.Must("", "-n", "shop", "create", "serviceaccount", name)
	deploy(n, kind, name, node.Spec{Account: name, Labels: map[string]string{"aadpodidbinding": "web"}, Env: inVault})
	pod := onePod(n, kind, name, node.Running{})
	asks(n, pod, "managed?name=mine", mine())
	asks(n, pod, "fresh?name=mine", "no answer: no client ID specified")

	if way := migrated(n, "--check", kind, name); way.State != migrate.ToDo {
		n.T.Fatalf("before, it is %+v", way)
	}
	if way := migrated(n, "--apply", kind, name); way.State != migrate.Ready {
		n.T.Fatalf("with both, it is %+v", way)
	}
	both := onePod(n, kind, name, pod)
	asks(n, both, "secret?name=mine", mine())
	asks(n, both, "secret?name=theirs", "refused: 403 Forbidden")
	asks(n, both, "managed?name=mine", mine())

	if way := migrated(n, "--finish", kind, name); way.Name != "" {
		n.T.Fatalf("in the end, it is %+v", way)
	}
	last := onePod(n, kind, name, both)
	asks(n, last, "secret?name=mine", mine())
	asks(n, last, "managed?name=mine", "refused: 4")
	n.Must("", "-n", "shop", "delete", kind, name)
}

// deploy makes a workload with one pod at a time.
func deploy(n *node.Node, kind, name string, spec node.Spec) {
	n.T.Helper()
	var pod map[string]any
	if err := json.Unmarshal([]byte(n.Pod(name, spec)), &pod); err != nil {
		n.T.Fatal(err)
	}
	meta := pod["metadata"].(map[string]any)
	delete(meta, "name")
	meta["labels"].(map[string]any)["app"] = name
	template := map[string]any{"metadata": meta, "spec": pod["spec"]}
	group, of := "apps/v1", map[string]any{"selector": map[string]any{"matchLabels": map[string]any{"app": name}}, "template": template}
	switch kind {
	case "Deployment":
		of["strategy"] = map[string]any{"type": "Recreate"}
	case "StatefulSet":
		of["serviceName"] = name
	case "CronJob": // one that is run by hand: it would wait for a minute
		pod["spec"].(map[string]any)["restartPolicy"] = "Never"
		group, of = "batch/v1", map[string]any{"schedule": "@yearly", "suspend": true, "jobTemplate": map[string]any{"spec": map[string]any{"template": template}}}
	}
	text, err := json.Marshal(map[string]any{"apiVersion": group, "kind": kind, "metadata": map[string]any{"name": name}, "spec": of})
	if err != nil {
		n.T.Fatal(err)
	}
	n.Must(string(text), "-n", "shop", "create", "-f", "-")
}

// onePod waits for the pod of a workload that is not the one of before. A CronJob is
// run for it; the others make it by themselves.
func onePod(n *node.Node, kind, name string, before node.Running) node.Running {
	n.T.Helper()
	if kind == "CronJob" {
		n.Must("", "-n", "shop", "delete", "job", name, "--ignore-not-found", "--cascade=foreground")
		n.Must("", "-n", "shop", "create", "job", name, "--from=cronjob/"+name)
	}
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
// workload. Others may be in its way.
func migrated(n *node.Node, step, kind, name string) (of migrate.Way) {
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
		if way.Kind == kind && way.Name == name {
			of = way
		}
	}
	return of
}
