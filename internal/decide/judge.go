package decide

import (
	"slices"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/azurerbac/condition"
	"github.com/gatehouse-io/gatehouse/internal/estate"
)

// An Outcome says what one grant has to say about one request.
type Outcome uint8

// The outcomes. Only Covers and, for a deny assignment, ConditionError apply.
const (
	OtherAction    Outcome = iota // it does not speak of this operation
	Covers                        // it grants, or forbids, this
	NotYet                        // it would, but begins later
	Expired                       // it would, but has ended
	ConditionFalse                // it would, but its condition does not hold
	ConditionError                // it would, but its condition could not be evaluated
	RoleMissing                   // its role does not exist
	OtherPlace                    // it would, but elsewhere
	forbids                       // a deny assignment whose condition failed: it applies
)

var outcomeTexts = [...]string{
	OtherAction:    "does not cover the operation",
	Covers:         "covers it",
	NotYet:         "would cover it, but begins later",
	Expired:        "would cover it, but has ended",
	ConditionFalse: "would cover it, but its condition does not hold",
	ConditionError: "would cover it, but its condition could not be evaluated",
	RoleMissing:    "its role does not exist",
	OtherPlace:     "would cover it, but at another place",
	forbids:        "forbids it, because its condition could not be evaluated",
}

func (o Outcome) String() string { return outcomeTexts[o] }

// MarshalText implements encoding.TextMarshaler.
func (o Outcome) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// Applies reports whether the grant makes the decision.
func (o Outcome) Applies() bool { return o == Covers || o == forbids }

// judge says what a grant at or above the place of a request has to say. It is
// the only place where a grant is held against a request.
func judge(req *Request, q *question, g *estate.Grant) Outcome {
	switch {
	case g.Binding != nil:
		if g.Rules == nil {
			return RoleMissing
		}
		if q.kube && g.Rules.Allows(&req.Kube) != nil {
			return Covers
		}
		return OtherAction
	case g.Deny != nil:
		if g.Deny.DoNotApplyToChildren && g.Scope != q.target(req) {
			return OtherAction
		}
		return judgeDeny(req, q, g)
	case g.Role != nil:
		return judgeRole(req, q, g)
	}
	return OtherAction
}

func judgeRole(req *Request, q *question, g *estate.Grant) Outcome {
	best := OtherAction
	for i := range g.Role.Permissions {
		p := &g.Role.Permissions[i]
		if !covers(p, &g.Role.Definition.Permissions[i], q) {
			continue
		}
		out := Covers
		if g.Assigned != nil {
			out = window(g.Assigned, req.Now)
		}
		if out == Covers {
			out = holds(req, q, g, p.Condition)
		}
		if out == Covers && g.Assigned != nil {
			out = holds(req, q, g, g.Assigned.Expr)
		}
		if out == Covers {
			return Covers
		}
		best = max(best, out)
	}
	return best
}

func judgeDeny(req *Request, q *question, g *estate.Grant) Outcome {
	for i := range g.Deny.Permissions {
		p := &g.Deny.Permissions[i]
		if !q.star && !p.Covers(q.action(), q.data) || q.star && !q.touches(&g.Deny.DenyAssignment.Permissions[i]) {
			continue
		}
		// A condition that cannot be evaluated must not lift a prohibition (AZ-11).
		switch holds(req, q, g, p.Condition) {
		case Covers:
			return Covers
		case ConditionError:
			return forbids
		}
	}
	return OtherAction
}

// covers reports whether a permission covers the operation. A question with a
// wildcard, "may he do everything?", is covered by a permission that takes
// nothing of it away again.
func covers(p *azurerbac.Compiled, plain *azurerbac.Permission, q *question) bool {
	if !p.Covers(q.action(), q.data) {
		return false
	}
	return !q.star || !q.meetsAny(not(plain, q.data))
}

func not(p *azurerbac.Permission, data bool) []string {
	if data {
		return p.NotDataActions
	}
	return p.NotActions
}

func window(a *estate.Assigned, now time.Time) Outcome {
	if !a.NotBefore.IsZero() && now.Before(a.NotBefore) {
		return NotYet
	}
	// Whoever forgets the instant must not find everything still to run.
	if !a.NotAfter.IsZero() && (now.IsZero() || !now.Before(a.NotAfter)) {
		return Expired
	}
	return Covers
}

func holds(req *Request, q *question, g *estate.Grant, expr *condition.Expr) Outcome {
	if expr == nil {
		return Covers
	}
	return evaluate(*req, *q, g, expr)
}

// evaluate takes copies: a condition's look-ups keep what they are given alive,
// and the way without a condition must not pay for that.
//
//go:noinline
func evaluate(req Request, q question, g *estate.Grant, expr *condition.Expr) Outcome {
	ok, err := expr.Eval(condition.Input{
		Action: string(q.action()),
		Now:    req.Now,
		Attribute: func(source condition.Source, name string) (condition.Value, bool) {
			return q.attribute(&req, source, name)
		},
	})
	switch {
	case err != nil:
		return ConditionError
	case !ok:
		return ConditionFalse
	}
	return Covers
}

// attributes of AKS, in the canonical form of condition.CanonicalName. What AKS
// calls the kind of a custom resource is its plural resource name.
const (
	attrGroup       = "microsoft.containerservice/managedclusters/customresources:group"
	attrKind        = "microsoft.containerservice/managedclusters/customresources:kind"
	attrSubresource = "microsoft.containerservice/managedclusters/resources:subresource"
	attrSecurity    = "microsoft.directory/customsecurityattributes/id:"
)

func (q *question) attribute(req *Request, source condition.Source, name string) (condition.Value, bool) {
	if q.kube && source == condition.Request {
		switch {
		case name == attrGroup && q.custom:
			return condition.String(req.Kube.APIGroup), true
		case name == attrKind && q.custom:
			return condition.String(req.Kube.Resource), true
		case name == attrSubresource && req.Kube.Subresource != "":
			return condition.String(req.Kube.Subresource), true
		}
	}
	if source == condition.Principal && len(name) > len(attrSecurity) && name[:len(attrSecurity)] == attrSecurity {
		for k, v := range q.security(req) {
			if condition.CanonicalName(attrSecurity+k) == name {
				return condition.String(v...), true
			}
		}
		return condition.Value{}, false
	}
	if req.Attributes != nil {
		return req.Attributes(source, name)
	}
	return condition.Value{}, false
}

// security are the custom security attributes of who asks.
func (q *question) security(req *Request) map[string][]string {
	if u, ok := q.est.User(req.Who.ID); ok {
		return u.Attributes
	}
	sp, _ := q.est.ServicePrincipal(req.Who.ID)
	return sp.Attributes
}

// touches reports whether a deny assignment's permission forbids any part of a
// question with a wildcard.
func (q *question) touches(p *azurerbac.Permission) bool {
	if q.data {
		return q.meetsAny(p.DataActions)
	}
	return q.meetsAny(p.Actions)
}

func (q *question) meetsAny(patterns []string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return meet(string(q.action()), lower(p)) })
}

// meet reports whether two patterns with * match a common text.
func meet(a, b string) bool {
	// next[j]: do the rests a[i+1:] and b[j:] meet? Worked out from the end.
	next := make([]bool, len(b)+1)
	row := make([]bool, len(b)+1)
	for i := len(a); i >= 0; i-- {
		for j := len(b); j >= 0; j-- {
			switch {
			case i == len(a) && j == len(b):
				row[j] = true
			case i < len(a) && a[i] == '*':
				row[j] = next[j] || j < len(b) && row[j+1]
			case j < len(b) && b[j] == '*':
				row[j] = row[j+1] || i < len(a) && next[j]
				if noSegment := j > 0 && b[j-1] == '/' && j+1 < len(b) && b[j+1] == '/'; noSegment {
					row[j] = row[j] || row[j+2] // see azurerbac.Pattern
				}
			default:
				row[j] = i < len(a) && j < len(b) && a[i] == b[j] && next[j+1]
			}
		}
		next, row = row, next
	}
	return next[0]
}
