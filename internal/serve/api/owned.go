package api

import (
	"fmt"
	"net/http"

	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/kuberbac"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve"
)

// Some things in the estate are not said by people but found out by the house:
// where a cluster answers, and what the cluster itself has bound. Whoever wrote
// them would be overwritten a moment later, and the estate be wrong until then.

// notMirrored refuses to write roles and bindings of a cluster whose own are read
// into the estate, unless the cluster goes with them.
func notMirrored(est *estate.Snapshot, ops []estate.Op) error {
	gone := make(map[record.Key]bool)
	for _, op := range ops {
		if op.Put == nil && op.Delete.Kind == record.Cluster {
			gone[op.Delete] = true
		}
	}
	for _, op := range ops {
		at, name, ok := inCluster(est, op)
		if !ok {
			continue
		}
		rec, known := est.Cluster(at)
		if !known || !rec.Mirrored || gone[rec.Key()] {
			continue
		}
		return serve.Refuse(http.StatusConflict, "ReadFromCluster", fmt.Sprintf(
			"%s %s is read from cluster %s, which has the last word on it. Change it there, with kubectl apply or kubectl delete; the estate follows by itself.",
			op.Key().Kind, name, rec.Name))
	}
	return nil
}

// inCluster returns the cluster and the name of a role or binding of Kubernetes.
func inCluster(est *estate.Snapshot, op estate.Op) (at scope.Scope, name string, ok bool) {
	rec := op.Put
	if rec == nil {
		if rec, ok = est.Get(op.Delete); !ok {
			return at, "", false
		}
	}
	switch r := rec.(type) {
	case kuberbac.Role:
		return r.Cluster, inNamespace(r.Namespace, r.Name), true
	case kuberbac.Binding:
		return r.Cluster, inNamespace(r.Namespace, r.Name), true
	}
	return at, "", false
}

// found returns a cluster as it may be written over old: with what the house found
// out about it and is doing to it, and run by whom it was run.
func found(next resource.Cluster, old record.Record) (resource.Cluster, error) {
	was, ok := old.(resource.Cluster)
	if ok && was.Attached != next.Attached {
		return next, serve.Refuse(http.StatusBadRequest, "UpdateNotPermitted", fmt.Sprintf(
			"Whether the house runs cluster %s or others do cannot be changed: delete it first, with all that it has.", was.Name))
	}
	next.Mirrored, next.Doing, next.Failure = was.Mirrored, was.Doing, was.Failure
	if ok {
		next.UID, next.FQDN = was.UID, was.FQDN
	}
	if next.IssuerURL == "" {
		next.IssuerURL = was.IssuerURL
	}
	if !next.Attached {
		next.Endpoint, next.CertificateAuthority, next.ServiceAccountKeys = was.Endpoint, was.CertificateAuthority, was.ServiceAccountKeys
	}
	return next, nil
}
