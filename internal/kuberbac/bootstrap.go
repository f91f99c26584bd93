package kuberbac

import (
	_ "embed"
	"fmt"
	"iter"
	"sync"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

// bootstrap holds the cluster roles and cluster role bindings that the API
// server of Kubernetes 1.36.3 creates when it starts, without those of its own
// controllers, as a list of objects. The differential tests compare it with the
// code it was taken from.
//
//go:embed bootstrap.json
var bootstrap []byte

// anyCluster stands in until Defaults names the real one.
var anyCluster = scope.MustParse("/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/any/providers/Microsoft.ContainerService/managedClusters/any")

var defaults = sync.OnceValue(func() []record.Record {
	var objects []jsontext.Value
	if err := record.Unmarshal(bootstrap, &objects); err != nil {
		panic(fmt.Sprintf("bootstrap.json: %v", err))
	}
	records := make([]record.Record, 0, len(objects))
	for _, o := range objects {
		rec, err := FromObject(anyCluster, o)
		if err != nil {
			panic(fmt.Sprintf("bootstrap.json: %v", err))
		}
		records = append(records, rec)
	}
	return records
})

// Defaults yields the roles and bindings that every cluster is born with:
// cluster-admin, admin, edit and view with what they aggregate, discovery and
// so on. Their rules are shared between clusters and must not be changed.
func Defaults(cluster scope.Scope) iter.Seq[record.Record] {
	return func(yield func(record.Record) bool) {
		for _, rec := range defaults() {
			switch v := rec.(type) {
			case Role:
				v.Cluster = cluster
				rec = v
			case Binding:
				v.Cluster = cluster
				rec = v
			}
			if !yield(rec) {
				return
			}
		}
	}
}
