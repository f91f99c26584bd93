package podid_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-io/gatehouse/test/plane"
)

var update = flag.Bool("update", false, "write the plain manifests anew")

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
	for name, want := range map[string]string{"agents.yaml": rendered, "crds.yaml": string(crds)} {
		path := filepath.Join(plainDir, name)
		if *update {
			if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, string(got)); diff != "" {
			t.Errorf("%s is not the chart's any more (-chart +manifests); run with -update:\n%s", name, diff)
		}
	}
}

func TestTheChartKnowsItsValues(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		law      string
		values   map[string]any
		has      []string // in what is rendered
		hasNot   []string
		refusals string // part of the error
	}{
		{law: "nothing is needed", has: []string{"- mic\n", "replicas: 2"}, hasNot: []string{"--cluster-wide"}},
		{law: "identities of other namespaces are asked for", values: map[string]any{"clusterWide": true}, has: []string{"- --cluster-wide"}},
		{law: "a misspelt value is found", values: map[string]any{"clusterwide": true}, refusals: "clusterwide"},
		{law: "a word is no yes", values: map[string]any{"clusterWide": "false"}, refusals: "clusterWide"},
		{law: "own images", values: map[string]any{"image": map[string]any{"repository": "r.example/g", "tag": "7"}}, has: []string{`"r.example/g:7"`}},
	} {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel()
			got, err := plane.Render(t, chartDir, system, tt.values)
			if (err != nil) != (tt.refusals != "") || err != nil && !strings.Contains(err.Error(), tt.refusals) {
				t.Fatalf("%v, want an error about %q", err, tt.refusals)
			}
			for _, part := range tt.has {
				if !strings.Contains(got, part) {
					t.Errorf("has no %q", part)
				}
			}
			for _, part := range tt.hasNot {
				if strings.Contains(got, part) {
					t.Errorf("has %q", part)
				}
			}
		})
	}
}
