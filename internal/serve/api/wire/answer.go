package wire

import (
	"github.com/gatehouse-io/gatehouse/internal/decide"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/kuberbac"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

// DecisionOf puts a decision into words: ids get the names that they have in est.
func DecisionOf(est *estate.Snapshot, req decide.Request, d decide.Decision) Decision {
	out := Decision{Effect: d.Effect.String(), Reason: d.Reason.String(), Revision: d.Revision, NotEvaluated: notEvaluated(est, req)}
	if d.By != nil {
		out.By = new(grantOf(est, d.By))
	}
	return out
}

// ExplanationOf puts an explanation into words.
func ExplanationOf(est *estate.Snapshot, req decide.Request, e decide.Explanation) Explanation {
	out := Explanation{
		Decision: DecisionOf(est, req, e.Decision), Groups: principalsOf(est, e.Groups), Operation: e.Operation,
		Considered: make([]Considered, len(e.Considered)), Azure: e.AzureCounts, Kubernetes: e.KubernetesCounts,
	}
	if !e.Principal.ID.IsZero() {
		out.Principal = PrincipalOf(est, e.Principal.ID)
	}
	for i, c := range e.Considered {
		out.Considered[i] = consideredOf(est, c.Grant, c.Outcome, c.Via)
	}
	if n := e.Nearest; n != nil {
		out.Nearest = new(consideredOf(est, n.Grant, n.Outcome, n.Via))
	}
	if f := e.Fix; f != nil {
		out.Fix = &Fix{ClusterRole: f.ClusterRole, Scope: f.Scope.String()}
		if f.Role != nil {
			out.Fix.Role, out.Fix.RoleID = f.Role.RoleName, f.Role.Definition.ID.String()
		}
	}
	return out
}

// HoldersOf puts those who can into words.
func HoldersOf(est *estate.Snapshot, req decide.Request, holders []decide.Holder) Holders {
	out := Holders{Revision: est.Revision(), Holders: make([]Holder, len(holders)), NotEvaluated: notEvaluated(est, req)}
	for i, h := range holders {
		who := subjectOf(h.Subject)
		if !h.Principal.ID.IsZero() {
			who = PrincipalOf(est, h.Principal.ID)
		}
		out.Holders[i] = Holder{Principal: who, Everyone: h.Everyone, By: grantOf(est, h.By), Via: principalsOf(est, h.Via)}
	}
	return out
}

// PortfolioOf puts what somebody can do into words.
func PortfolioOf(est *estate.Snapshot, at scope.Scope, p decide.Portfolio) Portfolio {
	if cluster, _, ok := at.CutNamespace(); ok {
		at = cluster
	}
	out := Portfolio{Revision: p.Revision, Held: make([]Considered, len(p.Held)), NotEvaluated: unread(est, at)}
	for i, h := range p.Held {
		out.Held[i] = consideredOf(est, h.Grant, h.Outcome, h.Via)
	}
	for _, a := range p.Abilities {
		out.Abilities = append(out.Abilities, Ability{APIGroup: a.APIGroup, Resource: a.Resource, Verbs: a.Verbs})
	}
	return out
}

func consideredOf(est *estate.Snapshot, g *estate.Grant, o decide.Outcome, via []principal.ID) Considered {
	return Considered{Grant: grantOf(est, g), Outcome: o.String(), Applies: o.Applies(), Via: principalsOf(est, via)}
}

func grantOf(est *estate.Snapshot, g *estate.Grant) Grant {
	out := Grant{Scope: g.Scope.String(), Holder: subjectOf(g.Subject)}
	if !g.Holder.IsZero() {
		out.Holder = PrincipalOf(est, g.Holder)
	}
	switch {
	case g.Assigned != nil:
		a := g.Assigned
		out.Source, out.ID, out.RoleID, out.Condition = "roleAssignment", a.ID.String(), a.Role.String(), a.Condition
		out.NotBefore, out.NotAfter = a.NotBefore, a.NotAfter
		if g.Role != nil {
			out.Role = g.Role.RoleName
		}
	case g.Given != nil, g.Owned != nil, g.Role != nil:
		out.Source, out.Role, out.RoleID = "default", g.Role.RoleName, g.Role.Definition.ID.String()
		if g.Given != nil {
			out.Source = "directoryRole"
		} else if g.Owned != nil {
			out.Source = "ownership"
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

func principalsOf(est *estate.Snapshot, ids []principal.ID) []Principal {
	var out []Principal
	for _, id := range ids {
		out = append(out, PrincipalOf(est, id))
	}
	return out
}

// PrincipalOf names a principal, also one that is gone.
func PrincipalOf(est *estate.Snapshot, id principal.ID) Principal {
	p, ok := est.Principal(id)
	if !ok {
		return Principal{ID: id.String(), Kind: "Unknown", Name: id.String()}
	}
	return Principal{ID: id.String(), Kind: string(p.Kind), Name: p.Name}
}

func subjectOf(s kuberbac.Subject) Principal {
	if s.Namespace != "" {
		return Principal{Kind: string(s.Kind), Name: s.Namespace + "/" + s.Name}
	}
	return Principal{Kind: string(s.Kind), Name: s.Name}
}

// notEvaluated says what an answer could not take into account.
func notEvaluated(est *estate.Snapshot, req decide.Request) []string {
	if req.Kube.Verb == "" || req.Only == decide.Azure {
		return nil
	}
	return unread(est, req.Scope)
}

func unread(est *estate.Snapshot, cluster scope.Scope) []string {
	if !est.KubeUnread(cluster) {
		return nil
	}
	return []string{"the roles and bindings of cluster " + cluster.Name() + " itself: nobody has read them"}
}
