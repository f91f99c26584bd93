package decide

import (
	"iter"
	"slices"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/directoryrole"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/kuberbac"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

// A Considered is one grant and what it had to say.
type Considered struct {
	Grant   *estate.Grant
	Outcome Outcome
	// Via is the chain of groups by which the asker holds the grant: the first is
	// one that he is directly in, the last is the one that the grant names. Empty
	// for a grant that names himself.
	Via []principal.ID
	// Rule is the rule of a Kubernetes role that covers the request.
	Rule *kuberbac.Rule
}

// A Fix is the smallest change known that would grant a refused request: a role
// of the least reach, assigned or bound at the place asked about.
type Fix struct {
	// Role is a role of Azure or of the directory; ClusterRole the name of a
	// Kubernetes one. One is set.
	Role        *azurerbac.Role
	ClusterRole string
	Scope       scope.Scope
}

// An Explanation is a decision with everything that was considered for it.
type Explanation struct {
	Decision
	Principal estate.Principal
	Groups    []principal.ID
	// Operation is the Azure operation that was asked for, in lower case; empty
	// when Azure RBAC does not count at this place.
	Operation string
	// Considered are all grants of the asker that could matter to the place or
	// the operation, those that apply first.
	Considered []Considered
	// Nearest is the grant that came closest to granting; nil when the answer is
	// allow, or when none came close.
	Nearest *Considered
	// Fix is nil when the answer is allow, and when no grant could help.
	Fix *Fix
	// AzureCounts and KubernetesCounts say which planes were asked.
	AzureCounts, KubernetesCounts bool
}

// Explain answers like Decide, and says why.
func Explain(est *estate.Snapshot, req Request) Explanation {
	e := Explanation{Decision: Decide(est, req)}
	var q question
	if !q.ask(est, &req) {
		return e
	}
	e.Operation = string(q.action())
	e.AzureCounts, e.KubernetesCounts = q.azure, q.kube && req.Only != Azure
	if req.Who.ID.IsZero() {
		covering(est, &req, &q, nil, func(g *estate.Grant) bool {
			e.consider(est, &req, &q, g, judge(&req, &q, g))
			return true
		})
	} else {
		who, ok := est.Resolve(req.Who.ID)
		if !ok {
			return e
		}
		e.Principal, e.Groups = who.Principal, who.Groups
		here := make(map[*estate.Grant]bool)
		covering(est, &req, &q, who, func(g *estate.Grant) bool {
			here[g] = true
			e.consider(est, &req, &q, g, judge(&req, &q, g))
			return true
		})
		for g := range elsewhere(&req, &q, who) {
			if here[g] {
				continue
			}
			// Who holds the right operation elsewhere is nearer than who does not.
			if out := judge(&req, &q, g); out == Covers && g.Deny == nil {
				e.consider(est, &req, &q, g, OtherPlace)
			}
		}
	}
	slices.SortStableFunc(e.Considered, func(a, b Considered) int { return closeness(b.Outcome) - closeness(a.Outcome) })
	if e.Effect != Allow {
		e.miss(est, &req, &q)
	}
	return e
}

// elsewhere yields the grants of a principal on other places of the same planes.
func elsewhere(req *Request, q *question, who *estate.Resolved) func(func(*estate.Grant) bool) {
	return func(yield func(*estate.Grant) bool) {
		if q.azure {
			for _, list := range [...][]*estate.Grant{who.Azure, who.Directory} {
				for _, g := range list {
					if !yield(g) {
						return
					}
				}
			}
		}
		if !q.kube || req.Only == Azure {
			return
		}
		c := who.On(req.Scope)
		for _, grants := range c.BoundIn.All() {
			for _, g := range grants {
				if !yield(g) {
					return
				}
			}
		}
	}
}

func (e *Explanation) consider(est *estate.Snapshot, req *Request, q *question, g *estate.Grant, out Outcome) {
	c := Considered{Grant: g, Outcome: out}
	if !g.Holder.IsZero() && g.Holder != req.Who.ID {
		c.Via = est.Chain(req.Who.ID, g.Holder)
	}
	if q.kube && g.Rules != nil && (out == Covers || out == OtherPlace) {
		c.Rule = g.Rules.Allows(&req.Kube)
	}
	e.Considered = append(e.Considered, c)
}

// closeness orders outcomes by how near they are to granting.
func closeness(o Outcome) int {
	switch o {
	case Covers, forbids:
		return 5
	case ConditionFalse, ConditionError, NotYet, Expired:
		return 4
	case OtherPlace:
		return 3
	case RoleMissing:
		return 2
	}
	return 0
}

// miss finds the nearest grant and the smallest fix of a refusal. Against a
// prohibition no grant helps.
func (e *Explanation) miss(est *estate.Snapshot, req *Request, q *question) {
	if e.Effect == Deny {
		return
	}
	for i := range e.Considered {
		if c := &e.Considered[i]; !c.Outcome.Applies() && closeness(c.Outcome) > 0 {
			e.Nearest = c
			break
		}
	}
	if e.AzureCounts {
		roles, measure := est.Definitions(), func(role *azurerbac.Role) int { return reach(role, q.data) }
		if _, _, ok := directory.CutPlace(req.Scope); ok {
			roles, measure = directoryrole.All(), directoryrole.Reach
		}
		if role := leastRole(roles, q, measure); role != nil {
			e.Fix = &Fix{Role: role, Scope: q.target(req)}
			return
		}
	}
	if e.KubernetesCounts {
		for _, name := range []string{"view", "edit", "admin", "cluster-admin"} {
			if rules := est.KubeRules(req.Scope, name); rules != nil && rules.Allows(&req.Kube) != nil {
				e.Fix = &Fix{ClusterRole: name, Scope: q.target(req)}
				return
			}
		}
	}
}

// leastRole returns the role that covers the operation and least besides, by some
// measure, then the first by name.
func leastRole(roles iter.Seq[*azurerbac.Role], q *question, measure func(*azurerbac.Role) int) *azurerbac.Role {
	var (
		best  *azurerbac.Role
		least int
	)
	for role := range roles {
		if !roleCovers(role, q.action(), q.data) {
			continue
		}
		if n := measure(role); best == nil || n < least {
			best, least = role, n
		}
	}
	return best
}

func roleCovers(role *azurerbac.Role, action []byte, data bool) bool {
	for i := range role.Permissions {
		if p := &role.Permissions[i]; p.Condition == nil && p.Covers(action, data) {
			return true
		}
	}
	return false
}

// reach measures how much a role gives: how many operations of the catalogue,
// or, on the control plane, how much its patterns leave open.
func reach(role *azurerbac.Role, data bool) int {
	n := 0
	if !data {
		for _, p := range role.Definition.Permissions {
			for _, a := range p.Actions {
				n++
				if i := slices.Index([]byte(a), '*'); i >= 0 {
					n += 1000 / (1 + i)
				}
			}
		}
		return n
	}
	for res := range known {
		for _, verb := range []string{"get", "create", "delete"} {
			var q question
			q.appendKube(&kuberbac.Attributes{Verb: verb, APIGroup: res.group, Resource: res.resource})
			if roleCovers(role, q.action(), true) {
				n++
			}
		}
	}
	if roleCovers(role, []byte(clusters+"customresources/read"), true) {
		n += 10
	}
	return n
}
