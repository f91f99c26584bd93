package api

import (
	"github.com/gatehouse-io/gatehouse/internal/decide"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/kuberbac"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/wire"
)

func wireDecision(est *estate.Snapshot, d decide.Decision) wire.Decision {
	out := wire.Decision{Effect: d.Effect.String(), Reason: d.Reason.String(), Revision: d.Revision}
	if d.By != nil {
		out.By = new(wireGrant(est, d.By))
	}
	return out
}

func wireExplanation(est *estate.Snapshot, e decide.Explanation) wire.Explanation {
	out := wire.Explanation{
		Decision: wireDecision(est, e.Decision), Groups: wirePrincipals(est, e.Groups), Operation: e.Operation,
		Considered: make([]wire.Considered, len(e.Considered)), Azure: e.AzureCounts, Kubernetes: e.KubernetesCounts,
	}
	if !e.Principal.ID.IsZero() {
		out.Principal = wirePrincipal(est, e.Principal.ID)
	}
	for i, c := range e.Considered {
		out.Considered[i] = wireConsidered(est, c.Grant, c.Outcome, c.Via)
	}
	if n := e.Nearest; n != nil {
		out.Nearest = new(wireConsidered(est, n.Grant, n.Outcome, n.Via))
	}
	if f := e.Fix; f != nil {
		out.Fix = &wire.Fix{ClusterRole: f.ClusterRole, Scope: f.Scope.String()}
		if f.Role != nil {
			out.Fix.Role, out.Fix.RoleID = f.Role.RoleName, f.Role.Definition.ID.String()
		}
	}
	return out
}

func wireHolders(est *estate.Snapshot, holders []decide.Holder) wire.Holders {
	out := wire.Holders{Revision: est.Revision(), Holders: make([]wire.Holder, len(holders))}
	for i, h := range holders {
		who := wireSubject(h.Subject)
		if !h.Principal.ID.IsZero() {
			who = wirePrincipal(est, h.Principal.ID)
		}
		out.Holders[i] = wire.Holder{Principal: who, Everyone: h.Everyone, By: wireGrant(est, h.By), Via: wirePrincipals(est, h.Via)}
	}
	return out
}

func wirePortfolio(est *estate.Snapshot, p decide.Portfolio) wire.Portfolio {
	out := wire.Portfolio{Revision: p.Revision, Held: make([]wire.Considered, len(p.Held))}
	for i, h := range p.Held {
		out.Held[i] = wireConsidered(est, h.Grant, h.Outcome, h.Via)
	}
	for _, a := range p.Abilities {
		out.Abilities = append(out.Abilities, wire.Ability{APIGroup: a.APIGroup, Resource: a.Resource, Verbs: a.Verbs})
	}
	return out
}

func wireConsidered(est *estate.Snapshot, g *estate.Grant, o decide.Outcome, via []principal.ID) wire.Considered {
	return wire.Considered{Grant: wireGrant(est, g), Outcome: o.String(), Applies: o.Applies(), Via: wirePrincipals(est, via)}
}

func wireGrant(est *estate.Snapshot, g *estate.Grant) wire.Grant {
	out := wire.Grant{Scope: g.Scope.String(), Holder: wireSubject(g.Subject)}
	if !g.Holder.IsZero() {
		out.Holder = wirePrincipal(est, g.Holder)
	}
	switch {
	case g.Assigned != nil:
		a := g.Assigned
		out.Source, out.ID, out.RoleID, out.Condition = "roleAssignment", a.ID.String(), a.Role.String(), a.Condition
		out.NotBefore, out.NotAfter = a.NotBefore, a.NotAfter
		if g.Role != nil {
			out.Role = g.Role.RoleName
		}
	case g.Deny != nil:
		out.Source, out.ID, out.Name = "denyAssignment", g.Deny.DenyAssignment.ID.String(), g.Deny.DenyAssignment.Name
	case g.Binding != nil:
		b := g.Binding
		out.Source, out.Namespace, out.Name, out.Role = "binding", b.Namespace, b.Name, b.Role
		out.Scope = b.Cluster.String()
	}
	return out
}

func wirePrincipals(est *estate.Snapshot, ids []principal.ID) []wire.Principal {
	var out []wire.Principal
	for _, id := range ids {
		out = append(out, wirePrincipal(est, id))
	}
	return out
}

func wirePrincipal(est *estate.Snapshot, id principal.ID) wire.Principal {
	p, ok := est.Principal(id)
	if !ok {
		return wire.Principal{ID: id.String(), Kind: "Unknown"}
	}
	return wire.Principal{ID: id.String(), Kind: string(p.Kind), Name: p.Name}
}

func wireSubject(s kuberbac.Subject) wire.Principal {
	if s.Namespace != "" {
		return wire.Principal{Kind: string(s.Kind), Name: s.Namespace + "/" + s.Name}
	}
	return wire.Principal{Kind: string(s.Kind), Name: s.Name}
}
