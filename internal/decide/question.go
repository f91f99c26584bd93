package decide

import (
	"bytes"
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/kuberbac"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

// A question is a request made ready to be held against grants.
type question struct {
	est    *estate.Snapshot
	data   bool
	kube   bool
	azure  bool // role assignments count
	star   bool // the operation has a wildcard
	custom bool // the resource is a custom resource
	// The Azure operation in lower case: buf[:n], or long when it does not fit.
	// A slice of buf kept in here would put every question on the heap.
	n    int
	buf  [224]byte
	long []byte
}

// action is the Azure operation in lower case; empty when Azure RBAC has nothing
// to say.
func (q *question) action() []byte {
	if q.long != nil {
		return q.long
	}
	return q.buf[:q.n]
}

func (q *question) setAction(b []byte) {
	if len(b) > len(q.buf) {
		q.long = bytes.Clone(b)
		return
	}
	q.n = len(b)
}

// clusters is the resource type whose data actions are requests to a cluster.
const clusters = "microsoft.containerservice/managedclusters/"

// ask prepares a request, and reports false when it asks nothing that could be
// answered: no operation or two, no place, or names that are none (AZ-03, AZ-26).
func (q *question) ask(est *estate.Snapshot, req *Request) bool {
	q.est = est
	q.kube = req.Kube.Verb != ""
	if q.kube == (req.Action != "") || req.Scope.IsZero() {
		return false
	}
	if !q.kube {
		q.azure = true
		q.data = req.Data
		q.star = strings.IndexByte(req.Action, '*') >= 0
		q.setAction(appendLower(q.buf[:0], req.Action))
		return true
	}
	if req.Only == Kubernetes {
		return true
	}
	cluster, known := est.Cluster(req.Scope)
	if q.azure = known && cluster.AzureRBAC; !q.azure {
		return true
	}
	if !wellFormed(&req.Kube) {
		return false
	}
	q.data = true
	q.appendKube(&req.Kube)
	return true
}

// target is the place that the request is about, namespace included.
func (q *question) target(req *Request) scope.Scope {
	if !q.kube || req.Kube.Namespace == "" {
		return req.Scope
	}
	sc, err := req.Scope.Namespace(req.Kube.Namespace)
	if err != nil {
		return req.Scope
	}
	return sc
}

// wellFormed refuses what a path or a scope could read in two ways. The API
// server passes on what the client wrote, dot segments included.
func wellFormed(a *kuberbac.Attributes) bool {
	if a.Path != "" {
		if a.Path[0] != '/' {
			return false
		}
		for seg := range strings.SplitSeq(a.Path[1:], "/") {
			if seg == "." || seg == ".." || strings.ContainsAny(seg, "%\\\x00") {
				return false
			}
		}
		return plain(a.Verb)
	}
	return a.Resource != "" && plain(a.Verb) && plain(a.APIGroup) && plain(a.Resource) && plain(a.Namespace) && a.Namespace == strings.ToLower(a.Namespace) && plainSub(a.Subresource)
}

// plain reports whether s is one segment: no separators, no dots alone.
func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c == '/' || c == '\\' || c == '%' || c <= ' ' || c >= 0x7f {
			return false
		}
	}
	return s != "." && s != ".."
}

// plainSub is plain for subresources, which the API server may hand on as a path.
func plainSub(s string) bool {
	if s == "" {
		return true
	}
	for seg := range strings.SplitSeq(s, "/") {
		if seg == "" || !plain(seg) {
			return false
		}
	}
	return true
}

// appendKube writes the data action of a Kubernetes request:
//
//	microsoft.containerservice/managedclusters/[{group}/]{resource}/{suffix}
//
// docs/divergences.md says where this differs from AKS, and why.
func (q *question) appendKube(a *kuberbac.Attributes) {
	q.star = a.Verb == "*" || a.APIGroup == "*" || a.Resource == "*" || a.Subresource == "*"
	b := append(q.buf[:0], clusters...)
	if a.Path != "" {
		b = appendPath(b, a.Path)
		b = append(b, '/')
		q.setAction(appendSuffix(b, a.Verb))
		return
	}
	own := false
	switch {
	case a.APIGroup == "*" || a.APIGroup == "" && a.Resource == "*":
		// Everything of some group is asked for as everything: the broader question
		// is refused more often, never less.
		b = append(b, '*')
	case a.Resource == "*" && knownGroups[a.APIGroup], known[groupResource{a.APIGroup, a.Resource}]:
		if a.APIGroup != "" {
			b = append(appendLower(b, a.APIGroup), '/')
		}
		b = appendLower(b, a.Resource)
	default:
		q.custom = true
		b = append(b, "customresources"...)
	}
	if a.Subresource != "" {
		own = !follows(a.Resource, a.Subresource)
		if a.Resource == "pods" && a.Subresource == "exec" && a.APIGroup == "" {
			q.setAction(append(b, "/exec/action"...))
			return
		}
	}
	b = append(b, '/')
	if own {
		// A subresource that gives more than its resource is an operation of its own.
		q.setAction(append(appendLower(b, a.Subresource), "/action"...))
		return
	}
	q.setAction(appendSuffix(b, a.Verb))
}

// appendSuffix writes what a verb is called in Azure.
func appendSuffix(b []byte, verb string) []byte {
	switch verb {
	case "get", "list", "watch":
		return append(b, "read"...)
	case "create", "update", "patch":
		return append(b, "write"...)
	case "delete", "deletecollection":
		return append(b, "delete"...)
	case "*":
		return append(b, '*')
	}
	return append(appendLower(b, verb), "/action"...)
}

// appendPath writes a path that is no resource. Paths that kube-apiserver does
// not serve are kept apart, so that none of them is spelled like a resource.
func appendPath(b []byte, path string) []byte {
	first, _, _ := strings.Cut(path[1:], "/")
	if !servedPaths[first] {
		b = append(b, "nonresource/"...)
	}
	return appendLower(b, path[1:])
}

// follows reports whether a subresource is only another view of its resource, so
// that reading or writing it is reading or writing the resource. exec, attach,
// portforward, proxy, ephemeralcontainers, token and everything unknown are not,
// and neither are the logs of nodes.
func follows(resource, sub string) bool {
	switch sub {
	case "status", "scale":
		return true
	case "log", "eviction", "binding", "resize":
		return resource == "pods"
	case "finalize":
		return resource == "namespaces"
	case "approval":
		return resource == "certificatesigningrequests"
	}
	return false
}

func appendLower(b []byte, s string) []byte {
	for i := range len(s) {
		c := s[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		b = append(b, c)
	}
	return b
}

func lower(s string) string { return string(appendLower(nil, s)) }
