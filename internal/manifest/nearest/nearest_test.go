package nearest_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-io/gatehouse/internal/manifest/nearest"
)

func TestNames(t *testing.T) {
	t.Parallel()
	have := []string{
		"faye@teknews.cloud", "jet@teknews.cloud", "penny@teknews.cloud",
		"Azure Kubernetes Service Cluster User Role", "Azure Kubernetes Service Cluster Admin Role", "Reader", "Owner",
	}
	tests := []struct {
		name string
		want string
		out  []string
	}{
		{"two letters changed places", "fyae@teknews.cloud", []string{"faye@teknews.cloud"}},
		{"people of one domain are not alike for that", "zoe@teknews.cloud", nil},
		{"the last word is missing", "Azure Kubernetes Service Cluster User", []string{"Azure Kubernetes Service Cluster User Role", "Azure Kubernetes Service Cluster Admin Role"}},
		{"letter case does not count", "READR", []string{"Reader"}},
		{"nothing is like it", "zzzzzzzzzzzz", nil},
		{"the empty name is like nothing", "", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := nearest.Names(tt.want, slices.Values(have), 3)
			if diff := cmp.Diff(tt.out, got); diff != "" {
				t.Errorf("nearest to %q (-want +got):\n%s", tt.want, diff)
			}
		})
	}
}
