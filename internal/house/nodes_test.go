package house_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/guid"
	"github.com/gatehouse-io/gatehouse/internal/house"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/scope"
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

// A cluster that is made again at the place of another has other people in it. Until the
// house has ended the old control plane, that one vouches for nobody in the new cluster.
func TestAClusterIsNotAskedAboutANamesake(t *testing.T) { // FED-15
	t.Parallel()
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		http.NotFound(w, r)
	}))
	t.Cleanup(server.Close)
	old := resource.Cluster{Scope: scope.MustParse("/subscriptions/50000000-0000-4000-8000-000000000001/resourceGroups/web/providers/Microsoft.ContainerService/managedClusters/aks-1"), UID: guid.New[resource.Cluster]()}
	again := old
	again.UID = guid.New[resource.Cluster]()
	for law, tt := range map[string]struct {
		rec   resource.Cluster
		asked int64
	}{"the cluster itself": {old, 2}, "another one in its place": {again, 0}, "one that has no id yet": {resource.Cluster{Scope: old.Scope}, 0}} {
		asked.Store(0)
		token, pod := house.Ask(t.Context(), server.URL, old, tt.rec)
		if token == nil || pod == nil || errors.Is(token, house.ErrNotRunning) != (tt.asked == 0) || errors.Is(pod, house.ErrNotRunning) != (tt.asked == 0) {
			t.Errorf("%s: about a token %v, about a pod %v", law, token, pod)
		}
		if asked.Load() != tt.asked {
			t.Errorf("%s: asked %d times, want %d", law, asked.Load(), tt.asked)
		}
	}
}
