package mirror

import (
	"bytes"
	"errors"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/guid"
	"github.com/gatehouse-io/gatehouse/internal/kuberbac"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/serve/servetest"
	"github.com/gatehouse-io/gatehouse/internal/store"
)

// The mirror of a deleted cluster does not take from another one in its place what that
// is to begin with, nor give it what the old one had.
func TestAMirrorWritesNothingAboutANamesake(t *testing.T) { // AZ-20
	t.Parallel()
	sealer, err := store.NewKey(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	st, err := store.Open(t.Context(), store.Config{KV: new(store.Memory), Sealer: sealer, Init: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	world := servetest.NewWorld(t).Current()
	cluster, _ := world.Cluster(servetest.AKS1)
	cluster.UID, cluster.Mirrored = guid.New[resource.Cluster](), false
	begins := kuberbac.Binding{Cluster: cluster.Scope, Name: "first", RoleIsCluster: true, Role: "cluster-admin"}
	var ops []estate.Op
	for r := range world.Records() {
		if r.Key() != cluster.Key() {
			ops = append(ops, estate.Op{Put: r})
		}
	}
	if _, err := st.Commit(t.Context(), store.Change{Why: "test", Ops: append(ops, estate.Op{Put: cluster}, estate.Op{Put: begins})}); err != nil {
		t.Fatal(err)
	}
	old := &mirror{Config: Config{Cluster: cluster.Scope, UID: guid.New[resource.Cluster](), Store: st}}
	if err := old.write(t.Context()); !errors.Is(err, estate.ErrNotFound) {
		t.Errorf("the mirror of the one before: %v, want %v", err, estate.ErrNotFound)
	}
	now := st.Current()
	if c, _ := now.Cluster(cluster.Scope); c.Mirrored {
		t.Error("it says that the cluster was read")
	}
	if _, there := now.Get(begins.Key()); !there {
		t.Error("it took a binding away")
	}
	own := &mirror{Config: Config{Cluster: cluster.Scope, UID: cluster.UID, Store: st}}
	if err := own.write(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, there := st.Current().Get(begins.Key()); there {
		t.Error("its own mirror leaves a binding that the cluster does not have")
	}
}
