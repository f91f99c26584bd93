package house_test

import (
	"errors"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/house"
	"github.com/gatehouse-io/gatehouse/internal/resource"
)

// PI-07: a cluster of the house whose API server does not run cannot be asked where a
// pod is, and what was not asked is not taken for true. Attached ones never can.
func TestWhatAClusterWasNotAskedIsNotTrue(t *testing.T) {
	t.Parallel()
	for name, on := range map[string]func(resource.Cluster) error{
		"a pod":    func(c resource.Cluster) error { return house.PodOn(t.Context(), c) },
		"an agent": func(c resource.Cluster) error { return house.AgentOn(t.Context(), c) },
	} {
		if err := on(resource.Cluster{Name: "stopped"}); !errors.Is(err, house.ErrNotRunning) {
			t.Errorf("%s of a cluster that does not run: %v, want %v", name, err, house.ErrNotRunning)
		}
		if err := on(resource.Cluster{Name: "edge", Attached: true}); err != nil {
			t.Errorf("%s of an attached cluster: %v", name, err)
		}
	}
}
