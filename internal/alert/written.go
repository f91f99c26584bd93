package alert

import (
	"slices"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/resource"
)

// Written returns the ways out of their clusters that identities have in after, that
// they did not have in before, and that came of ops: by a credential or a binding, or
// because a cluster made an identity its own that had them.
func Written(before, after *estate.Snapshot, ops []estate.Op) []Alert {
	var all []Alert
	for _, id := range touched(before, after, ops) {
		was := waysOut(before, id)
		for _, a := range waysOut(after, id) {
			if !slices.ContainsFunc(was, func(b Alert) bool { return b.Way == a.Way && b.From == a.From && b.Detail == a.Detail }) {
				all = append(all, a)
			}
		}
	}
	return all
}

// touched are the identities whose ways out ops may change, each once.
func touched(before, after *estate.Snapshot, ops []estate.Op) []principal.ID {
	var ids []principal.ID
	add := func(id principal.ID) {
		if !id.IsZero() && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	of := func(r record.Record) {
		switch r := r.(type) {
		case directory.FederatedCredential:
			if mi, ok := after.ManagedIdentityByClient(r.Owner); ok {
				add(mi.ID)
			}
		case directory.ManagedIdentity:
			add(r.ID)
		case resource.Cluster:
			for _, ref := range r.Identities() {
				add(ref.Object)
			}
			for _, b := range r.IdentityBindings {
				add(b.Identity.Object)
			}
		}
	}
	for _, op := range ops {
		if key := op.Key(); key.Kind == record.Cluster {
			if old, ok := before.Get(key); ok {
				of(old) // it may have been the home of one
			}
		}
		of(op.Put)
	}
	return ids
}

// waysOut are how an identity of a cluster can be used outside of it.
func waysOut(est *estate.Snapshot, id principal.ID) []Alert {
	mi, ok := est.ManagedIdentity(id)
	if !ok || len(est.ClustersOf(id)) == 0 {
		return nil
	}
	var all []Alert
	lent := directory.BindingCredential(mi)
	for _, f := range est.FederatedCredentials(mi.ClientID) {
		if f.Name == lent.Name && f.SameTrust(lent) {
			continue // good for the clusters that have a binding, and for nobody else
		}
		subject := f.Subject
		if f.SubjectPattern != "" {
			subject = f.SubjectPattern.Expression()
		}
		if a, out := FromIssuer(est, id, f.Issuer, f.Name+": "+subject); out {
			a.Way = WroteCredential
			all = append(all, a)
		}
	}
	for _, c := range est.ClustersBinding(id) {
		if a, out := FromCluster(est, id, WroteBinding, c.Scope, ""); out {
			all = append(all, a)
		}
	}
	return all
}
