package manifest

import (
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/record"
)

// A Change is what applying a record does to an estate.
type Change struct {
	Key record.Key
	// Before is nil for a new record, After for one that goes.
	Before, After record.Record
}

// Op is the change as the estate takes it.
func (c Change) Op() estate.Op {
	if c.After == nil {
		return estate.Op{Delete: c.Key}
	}
	return estate.Op{Put: c.After}
}

// Diff returns what putting the records changes in an estate, in order of
// kind and key. Records that are there already change nothing; with prune, what
// the estate has and the records lack is deleted.
func Diff(est *estate.Snapshot, records []record.Record, prune bool) []Change {
	var changes, gone []Change
	wanted := make(map[record.Key]bool, len(records))
	for _, rec := range records {
		key := rec.Key()
		wanted[key] = true
		before, ok := est.Get(key)
		switch {
		case !ok:
			changes = append(changes, Change{Key: key, After: rec})
		case !equal(before, rec):
			changes = append(changes, Change{Key: key, Before: before, After: rec})
		}
	}
	if prune {
		for rec := range est.Records() {
			if !wanted[rec.Key()] {
				gone = append(gone, Change{Key: rec.Key(), Before: rec})
			}
		}
	}
	return append(changes, gone...)
}

// Ops returns the changes as the estate takes them.
func Ops(changes []Change) []estate.Op {
	ops := make([]estate.Op, len(changes))
	for i, c := range changes {
		ops[i] = c.Op()
	}
	return ops
}
