package house_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/house"
	"github.com/gatehouse-io/gatehouse/internal/sample"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/store"
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
	deletedClusterLeavesNothing(t, h, conf, at)
}

// deletedClusterLeavesNothing deletes a cluster and makes it again at the same
// scope: the new one has none of the old one's bindings (AZ-20).
func deletedClusterLeavesNothing(t *testing.T, h *house.House, conf house.Config, at scope.Scope) {
	t.Helper()
	est := h.Store().Current()
	was, _ := est.Cluster(at)
	ops := []estate.Op{{Delete: was.Key()}}
	for _, key := range est.Dependents(was.Key()) {
		ops = append(ops, estate.Op{Delete: key})
	}
	if _, err := h.Store().Commit(t.Context(), store.Change{Why: "test", Ops: ops}); err != nil {
		t.Fatal(err)
	}
	dir := string(conf.Dir) + "/clusters/" + at.Name()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(2 * time.Minute); ; <-tick.C {
		if _, err := os.Stat(dir); os.IsNotExist(err) {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the directory of the deleted cluster is still there")
		}
	}
	again := was
	again.Mirrored, again.Endpoint, again.CertificateAuthority, again.AdminGroups = false, "", "", nil
	if _, err := h.Store().Commit(t.Context(), store.Change{Why: "test", Ops: []estate.Op{{Put: again}}}); err != nil {
		t.Fatal(err)
	}
	for est, err := h.Store().Current(), error(nil); ; {
		if c, ok := est.Cluster(at); ok && c.Mirrored {
			for b := range est.KubeBindings(at) {
				if b.Namespace == "default" || b.Name == "aks-cluster-admin-binding-aad" {
					t.Errorf("the new cluster has the old one's binding %s", b.Key())
				}
			}
			return
		}
		if est, err = h.Store().Next(t.Context(), est.Revision()); err != nil {
			t.Fatal(err)
		}
	}
}
