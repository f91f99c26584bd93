// Package sample holds the estate "teknews": the people, groups, places and
// grants on which the tour, the tests and newcomers try the house. Every id in
// it is fixed, so that what is printed about it is the same everywhere.
package sample

import (
	"embed"
	"fmt"
	"io/fs"
	"sync"

	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/manifest"
	"github.com/gatehouse-io/gatehouse/internal/record"
)

// The ids by which everything else in the sample is found.
const (
	Tenant       = "7e4e3500-0000-4000-8000-000000000001"
	Subscription = "/subscriptions/5b000000-0000-4000-8000-000000000001"
	// AdminGroup is the object id of aks-cluster-admins, the admin group of every cluster.
	AdminGroup = "b0000000-0000-4000-8000-000000000001"
)

//go:embed teknews
var files embed.FS

// FS returns the files of the sample, as a person would keep them in a folder.
func FS() fs.FS {
	sub, err := fs.Sub(files, "teknews")
	if err != nil {
		panic(fmt.Sprintf("embedded sample: %v", err)) // the folder is compiled in
	}
	return sub
}

var load = sync.OnceValue(func() *estate.Snapshot {
	est, err := manifest.LoadDir(FS())
	if err != nil {
		panic(fmt.Sprintf("embedded sample: %v", err)) // checked by a test
	}
	return est
})

// Estate returns the sample as a snapshot at revision 0.
func Estate() *estate.Snapshot { return load() }

// Records returns the records of the sample in the order in which they can be stored.
func Records() []record.Record {
	var recs []record.Record
	for rec := range Estate().Records() {
		recs = append(recs, rec)
	}
	return recs
}
