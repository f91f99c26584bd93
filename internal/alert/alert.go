// Package alert tells when an identity that a cluster has for itself, which is that
// of its control plane, of its kubelets or of an add-on, is used outside of that
// cluster, or made usable there. What counts as outside is in
// docs/decisions/0025-alerts.md.
//
// It judges what the house knows when it gives a token out, when a cluster asks whose
// a token is, and when something is written. Where a token is used that the house gave
// out before, it does not know.
package alert

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

// A Way is how an identity is used, or could be.
type Way string

// The ways. The empty Way is none.
const (
	// Federated is a token that the house gave for one of another issuer.
	Federated Way = "federated credential"
	// Bound is a token that the house gave to a workload of a cluster that has an
	// identity binding.
	Bound Way = "identity binding"
	// Agent is a token that the house gave to a node agent, for a pod.
	Agent Way = "node agent"
	// Session is a token that the house gave at the endpoints of machines to whoever
	// holds the secret of an identity session. No node of a cluster does.
	Session Way = "identity session"
	// Review is a token that an API server asked about.
	Review Way = "API server"
	// WroteCredential and WroteBinding are no use yet: from now on there can be one.
	WroteCredential Way = "federated credential written"
	WroteBinding    Way = "identity binding written"
)

// An Alert is one identity of a cluster, used or made usable outside of it. It holds
// no secret and no token.
type Alert struct {
	Identity principal.ID `json:"identity"`
	// Resource is the identity's own scope, or that of the cluster that a
	// system-assigned one belongs to.
	Resource scope.Scope `json:"resource"`
	// Clusters are whose identity it is, at least one.
	Clusters []scope.Scope `json:"clusters"`
	Way      Way           `json:"way"`
	// From is where: an issuer, the scope of a cluster, or the object id of whoever
	// began an identity session.
	From string `json:"from"`
	// Detail is what else is known about the first use: the subject of a token, a pod,
	// the name of a credential.
	Detail string `json:"detail,omitzero"`
}

// maxText bounds what others wrote, in bytes.
const maxText = 600

// String is the alert in one line.
func (a Alert) String() string {
	text := fmt.Sprintf("identity %s of cluster %s outside of it: %s, %s", a.Identity, a.Clusters[0], a.Way, a.From)
	if a.Detail != "" {
		text += " (" + a.Detail + ")"
	}
	return text
}

// FromIssuer judges a token for which an issuer's token stands, of a subject there.
func FromIssuer(est *estate.Snapshot, id principal.ID, issuer, subject string) (Alert, bool) {
	homes := est.ClustersOf(id)
	if slices.ContainsFunc(homes, func(c resource.Cluster) bool { return c.OIDCIssuer && c.IssuerURL == issuer }) {
		return Alert{}, false
	}
	return newAlert(est, id, homes, Federated, issuer, subject)
}

// FromCluster judges what happens in a cluster.
func FromCluster(est *estate.Snapshot, id principal.ID, way Way, at scope.Scope, detail string) (Alert, bool) {
	homes := est.ClustersOf(id)
	if slices.ContainsFunc(homes, func(c resource.Cluster) bool { return c.Scope == at }) {
		return Alert{}, false
	}
	return newAlert(est, id, homes, way, at.String(), detail)
}

// FromPerson judges what somebody does who is no cluster.
func FromPerson(est *estate.Snapshot, id, who principal.ID) (Alert, bool) {
	return newAlert(est, id, est.ClustersOf(id), Session, who.String(), "")
}

// newAlert makes an alert about an identity that is some cluster's own.
func newAlert(est *estate.Snapshot, id principal.ID, homes []resource.Cluster, way Way, from, detail string) (Alert, bool) {
	mi, ok := est.ManagedIdentity(id)
	if !ok || len(homes) == 0 {
		return Alert{}, false
	}
	a := Alert{Identity: id, Resource: mi.Resource, Way: way, From: printable(from), Detail: printable(detail)}
	for _, c := range homes {
		a.Clusters = append(a.Clusters, c.Scope)
	}
	return a, true
}

// printable returns the beginning of what somebody wrote, without what could forge a
// line of a log, or turn around what stands behind it.
func printable(s string) string {
	clean := strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
	for len(clean) > maxText {
		_, size := utf8.DecodeLastRuneInString(clean)
		clean = clean[:len(clean)-size]
	}
	return clean
}
