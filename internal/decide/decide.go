// Package decide answers one question: may this principal do this, here, now?
// It joins both planes, role assignments of Azure RBAC and bindings of
// Kubernetes RBAC, over one immutable estate.
//
// Decide is pure: same estate, same request, same answer. Explain, WhoCan and
// WhatCan walk the same grants and judge each with the same function, so that
// the answers cannot differ.
package decide

import (
	"time"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac/condition"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/kuberbac"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

// An Effect is what a decision comes to. The zero Effect refuses.
type Effect uint8

// The effects.
const (
	NoOpinion Effect = iota // nothing grants it; callers must treat this as a refusal
	Allow
	Deny // something forbids it, whatever else grants it
)

func (e Effect) String() string {
	switch e {
	case Allow:
		return "allow"
	case Deny:
		return "deny"
	}
	return "no opinion"
}

// MarshalText implements encoding.TextMarshaler.
func (e Effect) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// A Plane is one of the two systems that grant access to a cluster.
type Plane uint8

// The planes. The zero Plane is both together, as a cluster asks them.
const (
	Both       Plane = iota
	Azure            // role assignments and deny assignments
	Kubernetes       // bindings of the cluster itself
)

// A Subject is who asks: a principal of the directory, or, with ID zero, an
// identity that only Kubernetes knows, such as a service account, by user name
// and groups. The names and groups of a principal are taken from the estate.
type Subject struct {
	ID     principal.ID
	User   string
	Groups []string
}

// A Request is one question. Exactly one of Action and Kube.Verb is set.
type Request struct {
	Who Subject
	// Scope is the place asked about; for a Kubernetes request that of the cluster.
	Scope scope.Scope
	// Action is an Azure operation, such as
	// Microsoft.ContainerService/managedClusters/read; Data marks a data action.
	Action string
	Data   bool
	// Kube is a request to the API server of the cluster.
	Kube kuberbac.Attributes
	// Attributes are what conditions may ask about the request and the resource,
	// besides what the request itself tells. Nil means none.
	Attributes func(condition.Source, string) (condition.Value, bool)
	Now        time.Time
	Only       Plane
}

// A Reason says why a decision came out as it did.
type Reason uint8

// The reasons.
const (
	NoGrant          Reason = iota // no opinion: nothing that the principal has covers it
	Granted                        // allow: By covers it
	DenyAssignment                 // deny: By forbids it
	UnknownPrincipal               // deny: the directory has no such principal (any more)
	Disabled                       // deny: the principal is disabled
	Malformed                      // deny: the question is none
	Nobody                         // no opinion: nobody asks
	NotAdmitted                    // deny: the place does not admit principals of this tenant
)

var reasonTexts = [...]string{
	NoGrant:          "no grant covers it",
	Granted:          "granted",
	DenyAssignment:   "forbidden by a deny assignment",
	UnknownPrincipal: "the directory has no such principal",
	Disabled:         "the principal is disabled",
	Malformed:        "the question is malformed",
	Nobody:           "nobody asks",
	NotAdmitted:      "the place does not admit principals of this tenant",
}

func (r Reason) String() string { return reasonTexts[r] }

// MarshalText implements encoding.TextMarshaler.
func (r Reason) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// A Decision is the answer to one request.
type Decision struct {
	Effect Effect
	Reason Reason
	// By is the grant that made the decision: nil when none did.
	By *estate.Grant
	// Revision is that of the estate which was asked.
	Revision int64
}

// Decide answers a request. Deny assignments go before everything that grants.
func Decide(est *estate.Snapshot, req Request) Decision {
	dec := Decision{Revision: est.Revision()}
	var q question
	if !q.ask(est, &req) {
		dec.Effect, dec.Reason = Deny, Malformed
		return dec
	}
	var who *estate.Resolved
	if !req.Who.ID.IsZero() {
		var ok bool
		if who, ok = est.Resolve(req.Who.ID); !ok {
			dec.Effect, dec.Reason = Deny, UnknownPrincipal
			return dec
		}
		if who.Principal.Disabled {
			dec.Effect, dec.Reason = Deny, Disabled
			return dec
		}
		if !admits(est, &q, req.Scope, who.Principal.Tenant) {
			dec.Effect, dec.Reason = Deny, NotAdmitted
			return dec
		}
	} else if req.Who.User == "" && len(req.Who.Groups) == 0 {
		dec.Reason = Nobody
		return dec
	}
	covering(est, &req, &q, who, func(g *estate.Grant) bool {
		if !judge(&req, &q, g).Applies() {
			return true
		}
		dec.By = g
		if g.Deny != nil {
			dec.Effect, dec.Reason = Deny, DenyAssignment
		} else {
			dec.Effect, dec.Reason = Allow, Granted
		}
		return false
	})
	return dec
}

// admits reports whether principals of a tenant may ask about a place at all: a
// cluster admits those of its own tenant, when it lets the tenant sign in, and a
// subscription or management group those of the tenant that it belongs to.
func admits(est *estate.Snapshot, q *question, at scope.Scope, tenant directory.TenantID) bool {
	if q.kube {
		c, known := est.Cluster(at)
		return !known || c.EntraSignIn && c.Tenant == tenant
	}
	sub, ok := at.Subscription()
	if !ok {
		mg, known := est.ManagementGroup(at)
		return !known || mg.Tenant == tenant
	}
	r, known := est.Subscription(sub)
	return !known || r.Tenant == tenant
}

// covering yields the grants of one subject that are at or above the place of
// the request: deny assignments first, then roles of Azure and of the directory,
// then bindings. who is nil for a subject that is no principal. Every question of
// this package is asked through it.
func covering(est *estate.Snapshot, req *Request, q *question, who *estate.Resolved, yield func(*estate.Grant) bool) {
	each := func(list []*estate.Grant) bool {
		for _, g := range list {
			if !yield(g) {
				return false
			}
		}
		return true
	}
	if who == nil {
		if q.kube && req.Only != Azure {
			each(est.BoundTo(req.Scope, req.Kube.Namespace, kubeSubjects(req.Who)))
		}
		return
	}
	if !q.kube {
		for _, g := range who.Denies {
			if reaches(est, g.Scope, req.Scope) && !yield(g) {
				return
			}
		}
		for at := range est.Ancestors(req.Scope) {
			if !who.At(at, yield) {
				return
			}
		}
		each(est.Implied(who.Principal, req.Scope))
		return
	}
	c, ns := who.On(req.Scope), req.Kube.Namespace
	if q.azure {
		if !each(c.Denies) || len(c.DeniesIn) > 0 && !each(c.DeniesIn.Of(ns)) {
			return
		}
		if !each(c.Wide) || len(c.In) > 0 && !each(c.In.Of(ns)) {
			return
		}
	}
	if req.Only != Azure {
		if each(c.Bound) && ns != "" {
			each(c.BoundIn.Of(ns))
		}
	}
}

func reaches(est *estate.Snapshot, grant, target scope.Scope) bool {
	for at := range est.Ancestors(target) {
		if at == grant {
			return true
		}
	}
	return false
}

// kubeSubjects are the subjects under which bindings may name an identity that
// only Kubernetes knows.
func kubeSubjects(who Subject) []kuberbac.Subject {
	out := make([]kuberbac.Subject, 0, len(who.Groups)+2)
	if who.User != "" {
		out = append(out, kuberbac.Subject{Kind: kuberbac.User, Name: who.User})
		if sa, ok := kuberbac.ServiceAccountOf(who.User); ok {
			out = append(out, sa)
		}
	}
	for _, g := range who.Groups {
		out = append(out, kuberbac.Subject{Kind: kuberbac.Group, Name: g})
	}
	return out
}
