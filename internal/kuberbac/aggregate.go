package kuberbac

import (
	"iter"
	"slices"
	"strings"
)

// The operators of a Requirement.
const (
	In           = "In"
	NotIn        = "NotIn"
	Exists       = "Exists"
	DoesNotExist = "DoesNotExist"
)

// Matches reports whether the labels satisfy the selector. The empty selector
// matches everything, as in Kubernetes; an unknown operator matches nothing.
func (s Selector) Matches(labels map[string]string) bool {
	for key, want := range s.MatchLabels {
		if got, ok := labels[key]; !ok || got != want {
			return false
		}
	}
	for _, q := range s.MatchExpressions {
		if !q.matches(labels) {
			return false
		}
	}
	return true
}

func (q Requirement) matches(labels map[string]string) bool {
	value, ok := labels[q.Key]
	switch q.Operator {
	case In:
		return ok && slices.Contains(q.Values, value)
	case NotIn: // also where the label is missing
		return !ok || !slices.Contains(q.Values, value)
	case Exists:
		return ok
	case DoesNotExist:
		return !ok
	}
	return false
}

// Aggregate returns the rules that role has: its own, or, when it aggregates,
// those of the cluster roles in all that its selectors match. It is where the
// cluster role aggregation controller comes to rest: roles that aggregate are
// followed, each rule is kept once, by order of selector and then of name.
// Roles that aggregate each other have the rules of all of them.
//
// Roles of other clusters and of namespaces are ignored. The rules are shared
// with the roles and must not be changed.
func Aggregate(role Role, all iter.Seq[Role]) []Rule {
	if role.Aggregate == nil || role.Namespace != "" {
		return role.Rules
	}
	g := gathering{seen: map[string]bool{}}
	for r := range all {
		if r.Cluster == role.Cluster && r.Namespace == "" {
			g.roles = append(g.roles, r)
		}
	}
	slices.SortFunc(g.roles, func(a, b Role) int { return strings.Compare(a.Name, b.Name) })
	g.visit(role)
	return g.rules
}

// A gathering walks the cluster roles of one cluster, depth first. To visit a
// role once is enough: its rules would all be there already.
type gathering struct {
	roles []Role // by name
	seen  map[string]bool
	rules []Rule
}

func (g *gathering) visit(role Role) {
	g.seen[role.Name] = true
	for _, s := range role.Aggregate {
		for _, r := range g.roles {
			if g.seen[r.Name] || !s.Matches(r.Labels) {
				continue
			}
			if r.Aggregate != nil {
				g.visit(r)
				continue
			}
			g.seen[r.Name] = true
			g.add(r.Rules)
		}
	}
}

func (g *gathering) add(rules []Rule) {
	for _, r := range rules {
		if !slices.ContainsFunc(g.rules, r.equal) {
			g.rules = append(g.rules, r)
		}
	}
}

// equal compares lists in order, as the controller does.
func (r Rule) equal(s Rule) bool {
	return slices.Equal(r.Verbs, s.Verbs) && slices.Equal(r.APIGroups, s.APIGroups) && slices.Equal(r.Resources, s.Resources) &&
		slices.Equal(r.ResourceNames, s.ResourceNames) && slices.Equal(r.NonResourceURLs, s.NonResourceURLs)
}
