package plane

import (
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
)

// Render is what helm template prints of the chart in a folder.
func Render(t testing.TB, dir, namespace string, values map[string]any) (string, error) {
	t.Helper()
	chart, err := loader.LoadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	vals, err := chartutil.ToRenderValues(chart, values, chartutil.ReleaseOptions{Name: "gatehouse", Namespace: namespace}, nil)
	if err != nil {
		return "", err
	}
	files, err := engine.Render(chart, vals)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if text := strings.TrimSpace(files[name]); text != "" && filepath.Ext(name) == ".yaml" {
			out.WriteString("---\n" + text + "\n")
		}
	}
	return out.String(), nil
}

var update = flag.Bool("update", false, "write the plain manifests of charts anew")

// SameManifests checks that plain manifests are what they are made from, by their
// paths, or writes them with -update.
func SameManifests(t *testing.T, want map[string]string) {
	t.Helper()
	for path, text := range want {
		if *update {
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(text, string(got)); diff != "" {
			t.Errorf("%s is not the chart's any more (-chart +manifests); run with -update:\n%s", path, diff)
		}
	}
}

// A Rendering is what a chart makes of some values.
type Rendering struct {
	Law         string
	Values      map[string]any
	Has, HasNot []string // in what is rendered
	Refused     string   // part of the error; empty if there is to be none
}

// CheckValues renders a chart for each case.
func CheckValues(t *testing.T, dir, namespace string, cases []Rendering) {
	t.Helper()
	for _, tt := range cases {
		t.Run(tt.Law, func(t *testing.T) {
			t.Parallel()
			got, err := Render(t, dir, namespace, tt.Values)
			if (err != nil) != (tt.Refused != "") || err != nil && !strings.Contains(err.Error(), tt.Refused) {
				t.Fatalf("%v, want an error about %q", err, tt.Refused)
			}
			for _, part := range tt.Has {
				if !strings.Contains(got, part) {
					t.Errorf("has no %q", part)
				}
			}
			for _, part := range tt.HasNot {
				if strings.Contains(got, part) {
					t.Errorf("has %q", part)
				}
			}
		})
	}
}
