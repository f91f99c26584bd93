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

// Version is that of the Kubernetes whose roles and bindings are known here.
const Version = "1.36"

// bootstrap holds the cluster roles and cluster role bindings that the API
// server of Kubernetes 1.36.3 creates when it starts, as a list of objects, and
// controllers those of its own controllers, with what it creates in its own
// namespaces. The differential tests compare them with the code they were taken
// from.
//
//go:embed bootstrap.json
var bootstrap []byte

//go:embed controllers.json
var controllers []byte

// anyCluster stands in until Defaults names the real one.
var anyCluster = scope.MustParse("/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/any/providers/Microsoft.ContainerService/managedClusters/any")

var (
	defaults = sync.OnceValue(func() []record.Record { return recordsOf("bootstrap.json", bootstrap) })
	ofItself = sync.OnceValue(func() []record.Record { return recordsOf("controllers.json", controllers) })
)

func recordsOf(name string, text []byte) []record.Record {
	var objects []jsontext.Value
	if err := record.Unmarshal(text, &objects); err != nil {
		panic(fmt.Sprintf("%s: %v", name, err))
	}
	records := make([]record.Record, 0, len(objects))
	for _, o := range objects {
		rec, err := FromObject(anyCluster, o)
		if err != nil {
			panic(fmt.Sprintf("%s: %v", name, err))
		}
		records = append(records, rec)
	}
	return records
}

// Defaults yields the roles and bindings that every cluster is born with:
// cluster-admin, admin, edit and view with what they aggregate, discovery and
// so on. Their rules are shared between clusters and must not be changed.
func Defaults(cluster scope.Scope) iter.Seq[record.Record] { return in(cluster, defaults) }

// OfItself yields the roles and bindings that Kubernetes makes for its own
// controllers and in its own namespaces. They are not among Defaults: nobody but
// Kubernetes has them.
func OfItself(cluster scope.Scope) iter.Seq[record.Record] { return in(cluster, ofItself) }

func in(cluster scope.Scope, all func() []record.Record) iter.Seq[record.Record] {
	return func(yield func(record.Record) bool) {
		for _, rec := range all() {
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
