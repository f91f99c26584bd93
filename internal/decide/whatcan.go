package decide

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/kuberbac"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

// A Held is one grant that somebody has at or above a place.
type Held struct {
	Grant *estate.Grant
	Via   []principal.ID
	// Outcome is Covers for a grant in force, else why it is not: NotYet,
	// Expired, RoleMissing. Conditions are not evaluated here, for they depend on
	// the operation.
	Outcome Outcome
}

// An Ability is what somebody can do with one resource of a cluster.
type Ability struct {
	APIGroup, Resource string
	// Verbs are those of Verbs that Decide allows.
	Verbs []string
}

// Verbs are the verbs that WhatCan asks about.
var Verbs = []string{"get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"}

// A Portfolio is what somebody can do at a place.
type Portfolio struct {
	Held      []Held
	Abilities []Ability // of a cluster or namespace; those without any verb left out
	Revision  int64
}

// WhatCan returns what a subject has at a place, which for a cluster may be one
// of its namespaces, and what that lets him do there.
func WhatCan(est *estate.Snapshot, who Subject, at scope.Scope, now time.Time) Portfolio {
	out := Portfolio{Revision: est.Revision()}
	cluster, ns, isNamespace := at.CutNamespace()
	if !isNamespace {
		cluster = at
	}
	req := Request{Who: who, Scope: cluster, Now: now}
	_, isCluster := est.Cluster(cluster)
	var q question
	if isCluster || isNamespace {
		req.Kube = kuberbac.Attributes{Verb: "get", Resource: "pods", Namespace: ns}
	} else {
		req.Action = "*"
	}
	if !q.ask(est, &req) {
		return out
	}
	var resolved *estate.Resolved
	if !who.ID.IsZero() {
		r, ok := est.Resolve(who.ID)
		if !ok || r.Principal.Disabled || !admits(est, &q, req.Scope, r.Principal.Tenant) {
			return out
		}
		resolved = r
	}
	covering(est, &req, &q, resolved, func(g *estate.Grant) bool {
		h := Held{Grant: g, Outcome: Covers}
		if g.Assigned != nil {
			h.Outcome = window(g.Assigned, now)
		} else if g.Binding != nil && g.Rules == nil {
			h.Outcome = RoleMissing
		}
		if !g.Holder.IsZero() && g.Holder != who.ID {
			h.Via = est.Chain(who.ID, g.Holder)
		}
		out.Held = append(out.Held, h)
		return true
	})
	if q.kube {
		out.Abilities = abilities(est, req)
	}
	return out
}

func abilities(est *estate.Snapshot, req Request) []Ability {
	var out []Ability
	order := slices.SortedFunc(maps.Keys(known), func(a, b groupResource) int {
		if c := strings.Compare(a.group, b.group); c != 0 {
			return c
		}
		return strings.Compare(a.resource, b.resource)
	})
	for _, res := range order {
		a := Ability{APIGroup: res.group, Resource: res.resource}
		for _, verb := range Verbs {
			req.Kube = kuberbac.Attributes{Verb: verb, APIGroup: res.group, Resource: res.resource, Namespace: req.Kube.Namespace}
			if Decide(est, req).Effect == Allow {
				a.Verbs = append(a.Verbs, verb)
			}
		}
		if len(a.Verbs) > 0 {
			out = append(out, a)
		}
	}
	return out
}
