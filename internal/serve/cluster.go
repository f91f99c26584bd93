package serve

import (
	"net/http"
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/scope"
)

// ClusterPrefix is where the doors of clusters are:
//
//	{ClusterPrefix}{scope of the cluster}/{review}
const ClusterPrefix = "/webhook/v1"

// CertificateURI returns the URI in the client certificate of a cluster's API server.
func CertificateURI(cluster scope.Scope) string { return certificateURI + cluster.String() }

const (
	certificateURI     = certificateScheme + ":" + certificateOpaque
	certificateScheme  = "gatehouse"
	certificateOpaque  = "cluster:"
	typeManagedCluster = "microsoft.containerservice/managedclusters"
)

// A ClusterHandler answers the API server of a cluster.
type ClusterHandler func(w http.ResponseWriter, r *http.Request, cluster scope.Scope) error

// ForClusters returns a handler for the paths below ClusterPrefix that end in
// review. It calls h with the cluster that the path names, and refuses who does
// not show that cluster's certificate. Headers say nothing about who asks.
func ForClusters(review string, h ClusterHandler) Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		cluster, ok := clusterOfPath(r.URL.Path, review)
		if !ok {
			return Refuse(http.StatusNotFound, "NotFound", "There is nothing here.")
		}
		if r.Method != http.MethodPost {
			w.Header().Set("Allow", http.MethodPost)
			return Refuse(http.StatusMethodNotAllowed, "MethodNotAllowed", "Reviews are POSTed.")
		}
		if !certified(r, cluster) {
			return Refuse(http.StatusForbidden, "WrongCertificate", "The client certificate is not that of this cluster.")
		}
		return h(w, r, cluster)
	}
}

func clusterOfPath(path, review string) (scope.Scope, bool) {
	rest, ok := strings.CutPrefix(path, ClusterPrefix)
	if !ok {
		return scope.Scope{}, false
	}
	if rest, ok = strings.CutSuffix(rest, "/"+review); !ok {
		return scope.Scope{}, false
	}
	cluster, err := scope.Parse(rest)
	if err != nil || cluster.Type() != typeManagedCluster || len(rest) != len(cluster.String()) {
		return scope.Scope{}, false
	}
	return cluster, true
}

// certified reports whether r came over a connection whose client certificate was
// verified by this server and names cluster and no other cluster.
func certified(r *http.Request, cluster scope.Scope) bool {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 || len(r.TLS.VerifiedChains[0]) == 0 {
		return false
	}
	named := 0
	match := false
	for _, u := range r.TLS.VerifiedChains[0][0].URIs {
		if u.Scheme != certificateScheme {
			continue
		}
		name, ok := strings.CutPrefix(u.Opaque, certificateOpaque)
		if !ok {
			continue
		}
		named++
		match = name == cluster.String()
	}
	return match && named == 1
}
