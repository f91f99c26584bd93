package plane

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
)

// Render is what helm template prints of the chart in a folder.
func Render(t *testing.T, dir, namespace string, values map[string]any) (string, error) {
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
