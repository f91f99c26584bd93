package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac/condition"
	"github.com/gatehouse-io/gatehouse/internal/decide"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/kuberbac"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/wire"
)

// A folder answers from estate files, with the engine that the server uses.
type folder struct {
	est *estate.Snapshot
	now func() time.Time
}

func (f *folder) Snapshot(context.Context) (*estate.Snapshot, error) { return f.est, nil }

func (f *folder) CanI(_ context.Context, q wire.Question) (wire.Decision, error) {
	req, err := f.request(q)
	if err != nil {
		return wire.Decision{}, err
	}
	return f.decision(decide.Decide(f.est, req)), nil
}

func (f *folder) Why(_ context.Context, q wire.Question) (wire.Explanation, error) {
	req, err := f.request(q)
	if err != nil {
		return wire.Explanation{}, err
	}
	e := decide.Explain(f.est, req)
	out := wire.Explanation{
		Decision: f.decision(e.Decision), Principal: principalOf(e.Principal), Groups: f.principals(e.Groups),
		Operation: e.Operation, Azure: e.AzureCounts, Kubernetes: e.KubernetesCounts, Considered: []wire.Considered{},
	}
	for _, c := range e.Considered {
		out.Considered = append(out.Considered, f.considered(c.Grant, c.Outcome, c.Via))
	}
	if e.Nearest != nil {
		near := f.considered(e.Nearest.Grant, e.Nearest.Outcome, e.Nearest.Via)
		out.Nearest = &near
	}
	if e.Fix != nil {
		out.Fix = &wire.Fix{ClusterRole: e.Fix.ClusterRole, Scope: e.Fix.Scope.String()}
		if e.Fix.Role != nil {
			out.Fix.Role, out.Fix.RoleID = e.Fix.Role.RoleName, e.Fix.Role.ID.String()
		}
	}
	return out, nil
}

func (f *folder) WhoCan(_ context.Context, q wire.Question) (wire.Holders, error) {
	req, err := f.request(q)
	if err != nil {
		return wire.Holders{}, err
	}
	out := wire.Holders{Revision: f.est.Revision(), Holders: []wire.Holder{}}
	for _, h := range decide.WhoCan(f.est, req) {
		who := principalOf(h.Principal)
		if h.Principal.ID.IsZero() {
			who = subjectOf(h.Subject)
		}
		out.Holders = append(out.Holders, wire.Holder{Principal: who, Everyone: h.Everyone, By: f.grant(h.By), Via: f.principals(h.Via)})
	}
	return out, nil
}

func (f *folder) WhatCan(_ context.Context, q wire.Question) (wire.Portfolio, error) {
	req, err := f.request(q)
	if err != nil {
		return wire.Portfolio{}, err
	}
	p := decide.WhatCan(f.est, req.Who, req.Scope, req.Now)
	out := wire.Portfolio{Revision: p.Revision, Held: []wire.Considered{}}
	for _, h := range p.Held {
		out.Held = append(out.Held, f.considered(h.Grant, h.Outcome, h.Via))
	}
	for _, a := range p.Abilities {
		out.Abilities = append(out.Abilities, wire.Ability{APIGroup: a.APIGroup, Resource: a.Resource, Verbs: a.Verbs})
	}
	return out, nil
}

// request reads a question as the engine takes it.
func (f *folder) request(q wire.Question) (decide.Request, error) {
	at, err := scope.Parse(q.Scope)
	if err != nil {
		return decide.Request{}, err
	}
	req := decide.Request{Scope: at, Action: q.Action, Data: q.Data, Now: q.At}
	if req.Now.IsZero() {
		req.Now = f.now()
	}
	switch {
	case q.Subject != nil:
		req.Who = decide.Subject{User: q.Subject.User, Groups: q.Subject.Groups}
	case q.Who != "":
		if req.Who.ID, err = principal.ParseID(q.Who); err != nil {
			return decide.Request{}, err
		}
	}
	if k := q.Kube; k != nil {
		req.Kube = kuberbac.Attributes{Verb: k.Verb, APIGroup: k.APIGroup, Resource: k.Resource, Subresource: k.Subresource, Namespace: k.Namespace, Name: k.Name, Path: k.Path}
	}
	switch q.Only {
	case "":
	case "azure":
		req.Only = decide.Azure
	case "kubernetes":
		req.Only = decide.Kubernetes
	default:
		return decide.Request{}, fmt.Errorf("%q is not a plane: azure or kubernetes", q.Only)
	}
	if len(q.Attributes) > 0 {
		known := make(map[string]string, len(q.Attributes))
		for name, value := range q.Attributes {
			known[condition.CanonicalName(name)] = value
		}
		req.Attributes = func(source condition.Source, name string) (condition.Value, bool) {
			value, ok := known[name]
			if !ok || source != condition.Request {
				return condition.Value{}, false
			}
			if id, err := principal.ParseID(value); err == nil {
				return condition.GUID(id), true
			}
			return condition.String(value), true
		}
	}
	return req, nil
}

func (f *folder) decision(d decide.Decision) wire.Decision {
	out := wire.Decision{Effect: d.Effect.String(), Reason: d.Reason.String(), Revision: d.Revision}
	if d.By != nil {
		by := f.grant(d.By)
		out.By = &by
	}
	return out
}

func (f *folder) considered(g *estate.Grant, out decide.Outcome, via []principal.ID) wire.Considered {
	return wire.Considered{Grant: f.grant(g), Outcome: out.String(), Applies: out.Applies(), Via: f.principals(via)}
}

// grant puts a grant into words.
func (f *folder) grant(g *estate.Grant) wire.Grant {
	out := wire.Grant{Scope: g.Scope.String()}
	if p, ok := f.est.Principal(g.Holder); ok {
		out.Holder = principalOf(p)
	} else if g.Subject.Name != "" {
		out.Holder = subjectOf(g.Subject)
	}
	switch {
	case g.Assigned != nil:
		a := g.Assigned
		out.Source, out.ID, out.Condition = "roleAssignment", a.ID.String(), a.Condition
		out.NotBefore, out.NotAfter = a.NotBefore, a.NotAfter
		if g.Role != nil {
			out.Role, out.RoleID = g.Role.RoleName, g.Role.ID.String()
		}
	case g.Deny != nil:
		d := g.Deny.DenyAssignment
		out.Source, out.ID, out.Name = "denyAssignment", d.ID.String(), d.Name
	case g.Binding != nil:
		b := g.Binding
		out.Source, out.Namespace, out.Name, out.Role = "binding", b.Namespace, b.Name, b.Role
		out.Scope = b.Cluster.String()
	}
	return out
}

func (f *folder) principals(ids []principal.ID) []wire.Principal {
	var out []wire.Principal
	for _, id := range ids {
		if p, ok := f.est.Principal(id); ok {
			out = append(out, principalOf(p))
		} else {
			out = append(out, wire.Principal{ID: id.String(), Name: id.String()})
		}
	}
	return out
}

func principalOf(p estate.Principal) wire.Principal {
	return wire.Principal{ID: p.ID.String(), Kind: string(p.Kind), Name: p.Name}
}

func subjectOf(s kuberbac.Subject) wire.Principal {
	name := s.Name
	if s.Namespace != "" {
		name = s.Namespace + "/" + name
	}
	return wire.Principal{Kind: string(s.Kind), Name: name}
}
