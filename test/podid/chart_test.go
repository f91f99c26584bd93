package podid_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/gatehouse-io/gatehouse/test/plane"
)

const (
	chartDir = "../../deploy/helm/gatehouse-pod-identity"
	plainDir = "../../deploy/kustomize/pod-identity"
	system   = "gatehouse-pod-identity"
)

func TestThePlainManifestsAreTheChart(t *testing.T) {
	t.Parallel()
	rendered, err := plane.Render(t, chartDir, system, nil)
	if err != nil {
		t.Fatal(err)
	}
	crds, err := os.ReadFile(filepath.Join(chartDir, "crds", "crds.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	plane.SameManifests(t, map[string]string{filepath.Join(plainDir, "agents.yaml"): rendered, filepath.Join(plainDir, "crds.yaml"): string(crds)})
}

func TestTheChartKnowsItsValues(t *testing.T) {
	t.Parallel()
	plane.CheckValues(t, chartDir, system, []plane.Rendering{
		{Law: "nothing is needed", Has: []string{"- mic\n", "replicas: 2"}, HasNot: []string{"--cluster-wide"}},
		{Law: "identities of other namespaces are asked for", Values: map[string]any{"clusterWide": true}, Has: []string{"- --cluster-wide"}},
		{Law: "a misspelt value is found", Values: map[string]any{"clusterwide": true}, Refused: "clusterwide"},
		{Law: "a word is no yes", Values: map[string]any{"clusterWide": "false"}, Refused: "clusterWide"},
		{Law: "own images", Values: map[string]any{"image": map[string]any{"repository": "r.example/g", "tag": "7"}}, Has: []string{`"r.example/g:7"`}},
	})
}
