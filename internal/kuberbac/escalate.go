package kuberbac

import (
	"iter"
	"slices"
	"strings"
)

// apiGroup is the API group of roles and bindings.
const apiGroup = "rbac.authorization.k8s.io"

// Covers reports whether owner allows everything that wanted allows, and
// returns what it does not, broken down to one verb on one resource or path.
// It answers as Kubernetes does before it lets a user write a role: every
// single right must be covered by one rule, not by several together.
func Covers(owner, wanted []Rule) (bool, []Rule) {
	var missing []Rule
	for _, w := range wanted {
		for single := range w.singles() {
			if !slices.ContainsFunc(owner, func(o Rule) bool { return o.covers(single) }) {
				missing = append(missing, single)
			}
		}
	}
	return len(missing) == 0, missing
}

// singles yields the rights of a rule one by one.
func (r Rule) singles() iter.Seq[Rule] {
	return func(yield func(Rule) bool) {
		names := [][]string{nil}
		if len(r.ResourceNames) > 0 {
			names = slices.Collect(slices.Chunk(r.ResourceNames, 1))
		}
		for group := range slices.Chunk(r.APIGroups, 1) {
			for resource := range slices.Chunk(r.Resources, 1) {
				for verb := range slices.Chunk(r.Verbs, 1) {
					for _, name := range names {
						if !yield(Rule{Verbs: verb, APIGroups: group, Resources: resource, ResourceNames: name}) {
							return
						}
					}
				}
			}
		}
		for path := range slices.Chunk(r.NonResourceURLs, 1) {
			for verb := range slices.Chunk(r.Verbs, 1) {
				if !yield(Rule{Verbs: verb, NonResourceURLs: path}) {
					return
				}
			}
		}
	}
}

// covers reports whether the rule allows a single right, as yielded by singles.
func (r Rule) covers(single Rule) bool {
	if !has(r.Verbs, single.Verbs[0]) {
		return false
	}
	if len(single.NonResourceURLs) > 0 {
		// Validate refuses paths together with names; should there be both,
		// Kubernetes takes the rule for narrower than a path without names.
		return len(r.ResourceNames) == 0 && slices.ContainsFunc(r.NonResourceURLs, func(own string) bool {
			return coversPath(own, single.NonResourceURLs[0])
		})
	}
	return has(r.APIGroups, single.APIGroups[0]) && r.coversResource(single.Resources[0]) &&
		(len(r.ResourceNames) == 0 || len(single.ResourceNames) > 0 && slices.Contains(r.ResourceNames, single.ResourceNames[0]))
}

func (r Rule) coversResource(resource string) bool {
	if has(r.Resources, resource) {
		return true
	}
	_, sub, ok := strings.Cut(resource, "/")
	return ok && slices.ContainsFunc(r.Resources, func(s string) bool {
		own, ok := strings.CutPrefix(s, "*/")
		return ok && own == sub
	})
}

// Demands returns the rules that a writer of the role must hold (Covers) unless
// he may escalate (CanEscalate): the rules it grants, and for a role that
// aggregates everything there is, because it takes on whatever comes to match.
func (r Role) Demands() []Rule {
	if r.Aggregate == nil {
		return r.Rules
	}
	return append(slices.Clip(r.Rules),
		Rule{Verbs: []string{all}, APIGroups: []string{all}, Resources: []string{all}},
		Rule{Verbs: []string{all}, NonResourceURLs: []string{all}})
}

// CanEscalate returns the question that decides whether a user may write the
// role whatever it grants: may he escalate it? The name is part of the question
// only when the role exists: the API server does not know it while it decides
// about a create, so that a right to escalate by name is no right to create.
func CanEscalate(role Role, exists bool) Attributes {
	a := Attributes{Verb: "escalate", APIGroup: apiGroup, Resource: resourceOf(role.Namespace == ""), Namespace: role.Namespace}
	if exists {
		a.Name = role.Name
	}
	return a
}

// CanBind returns the question that decides whether a user may write the
// binding whatever its role grants: may he bind that role, where the binding is?
func CanBind(b Binding) Attributes {
	return Attributes{Verb: "bind", APIGroup: apiGroup, Resource: resourceOf(b.RoleIsCluster), Namespace: b.Namespace, Name: b.Role}
}

func resourceOf(clusterRole bool) string {
	if clusterRole {
		return "clusterroles"
	}
	return "roles"
}
