package manifest

import (
	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/identityrequest"
	"github.com/gatehouse-io/gatehouse/internal/kuberbac"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/scope"
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
// the estate has and the records lack is deleted. What a running house found out
// about its clusters and when it ended somebody's sign-ins are no difference, and what
// it reads from clusters is not pruned: files say what shall be, and that is what is.
func Diff(est *estate.Snapshot, records []record.Record, prune bool) []Change {
	var changes, gone []Change
	wanted := make(map[record.Key]bool, len(records))
	for _, rec := range records {
		key := rec.Key()
		wanted[key] = true
		before, ok := est.Get(key)
		rec = withFound(rec, before)
		switch {
		case !ok:
			changes = append(changes, Change{Key: key, After: rec})
		case !equal(before, rec):
			changes = append(changes, Change{Key: key, Before: before, After: rec})
		}
	}
	if prune {
		asked := byRequest(est)
		for rec := range est.Records() {
			if !wanted[rec.Key()] && !isRead(est, rec) && !byUse(rec, wanted) && !asked[rec.Key()] {
				gone = append(gone, Change{Key: rec.Key(), Before: rec})
			}
		}
	}
	return append(changes, gone...)
}

// withFound fills in what a house knows of a cluster or a user and a file leaves out,
// and what has happened to a request for an identity since the file was written.
func withFound(rec, before record.Record) record.Record {
	if asked, ok := rec.(identityrequest.Request); ok {
		if now, ok := before.(identityrequest.Request); ok && now.Continues(asked) {
			return now
		}
	}
	if u, ok := rec.(directory.User); ok {
		if was, known := before.(directory.User); known && u.TokensValidFrom.Before(was.TokensValidFrom) {
			u.TokensValidFrom = was.TokensValidFrom
		}
		return u
	}
	next, ok := rec.(resource.Cluster)
	was, known := before.(resource.Cluster)
	if !ok || !known {
		return rec
	}
	next.Mirrored = next.Mirrored || was.Mirrored
	if next.Endpoint == "" {
		next.Endpoint = was.Endpoint
	}
	if next.CertificateAuthority == "" {
		next.CertificateAuthority = was.CertificateAuthority
	}
	return next
}

// isRead reports whether a record is read from a cluster, which has the last word.
func isRead(est *estate.Snapshot, rec record.Record) bool {
	var at scope.Scope
	switch r := rec.(type) {
	case kuberbac.Role:
		at = r.Cluster
	case kuberbac.Binding:
		at = r.Cluster
	}
	c, ok := est.Cluster(at)
	return ok && c.Mirrored
}

// byUse reports whether a record came about by people's activating what they are
// eligible for, and asking for it or for an identity: no file says that, and none
// takes it away. An activation goes with its eligibility.
func byUse(rec record.Record, wanted map[record.Key]bool) bool {
	switch r := rec.(type) {
	case azurerbac.Request, identityrequest.Request:
		return true
	case azurerbac.Assignment:
		return !r.Eligibility.IsZero() && wanted[azurerbac.Eligibility{ID: r.Eligibility}.Key()]
	}
	return false
}

// byRequest are the keys of what approved requests for identities made. It goes when
// they are retired.
func byRequest(est *estate.Snapshot) map[record.Key]bool {
	keys := make(map[record.Key]bool)
	for r := range est.IdentityRequests() {
		if !r.Holds() {
			continue
		}
		for _, f := range r.Credentials() {
			keys[f.Key()] = true
		}
		for _, a := range r.Assigns() {
			keys[a.Key()] = true
		}
		if m, ok := r.Makes(); ok {
			keys[m.Key()] = true
		}
	}
	return keys
}

// Ops returns the changes as the estate takes them.
func Ops(changes []Change) []estate.Op {
	ops := make([]estate.Op, len(changes))
	for i, c := range changes {
		ops[i] = c.Op()
	}
	return ops
}
