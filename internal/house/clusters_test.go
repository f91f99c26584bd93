package house_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/house"
	"github.com/gatehouse-io/gatehouse/internal/sample"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

func TestTheSampleClustersStartAndTheirBindingsAreRead(t *testing.T) {
	t.Parallel()
	kube := os.Getenv("GATEHOUSE_KUBE")
	if kube == "" {
		t.Skip("GATEHOUSE_KUBE does not name gatehouse-kube; make test sets it")
	}
	conf := config(t, t.TempDir()+"/data")
	conf.Kube = kube
	start := time.Now()
	h, err := house.Start(t.Context(), conf)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Stop()
	t.Logf("up after %s", time.Since(start).Round(time.Millisecond))
	at := scope.MustParse(sample.Subscription + "/resourceGroups/rsg-aksIdentityState1/providers/Microsoft.ContainerService/managedClusters/aks-1")
	for est := h.Store().Current(); ; {
		if c, ok := est.Cluster(at); ok && c.Mirrored && strings.HasPrefix(c.Endpoint, "https://") {
			bound, seeded := 0, 0
			for b := range est.KubeBindings(at) {
				if b.Name == "aks-cluster-admin-binding-aad" && b.Role == "cluster-admin" && b.Subjects[0].Name == sample.AdminGroup {
					bound++
				}
				if b.Namespace == "default" && b.Role == "admin" {
					seeded++
				}
			}
			if seeded == 0 {
				t.Error("leonard's binding in default did not get into the cluster")
			}
			if bound != 1 {
				t.Errorf("the admin group is bound %d times, want once", bound)
			}
			break
		}
		if est, err = h.Store().Next(t.Context(), est.Revision()); err != nil {
			t.Fatal(err)
		}
	}
}
