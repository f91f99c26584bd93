package check

import (
	"slices"
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/kuberbac"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/resource"
)

// narrow is the fix that takes what leads to tokens of service accounts from some
// subjects of a binding. Where the role is bound to nobody else, that is taken out of
// the role; else they are taken out of the binding.
func (l *look) narrow(b kuberbac.Binding, of []int) Fix {
	c, _ := l.est.Cluster(b.Cluster)
	fix := unbind(c, b, of...)
	role, ok := l.roleOf(b)
	if !ok {
		return fix
	}
	rest, stars := harmless(role.Rules, b.Namespace != "")
	if len(rest) == 0 && !stars && role.Aggregate == nil {
		return fix
	}
	if len(of) == len(b.Subjects) && !stars && l.ownRole(role, b) {
		if narrowed := narrowRole(c, role, rest); narrowed.Ops != nil {
			return narrowed
		}
	}
	kind := "Role "
	if b.RoleIsCluster {
		kind = "ClusterRole "
	}
	fix.Besides = "the binding " + b.Name + " gives more than that, by " + kind + b.Role
	return fix
}

// roleOf is the role of a binding; false if there is none.
func (l *look) roleOf(b kuberbac.Binding) (kuberbac.Role, bool) {
	namespace := b.Namespace
	if b.RoleIsCluster {
		namespace = ""
	}
	for r := range l.est.KubeRoles(b.Cluster) {
		if r.Namespace == namespace && r.Name == b.Role {
			return r, true
		}
	}
	made, ok := l.shared.defaultRoles[b.Role]
	return made, ok && b.RoleIsCluster
}

// ownRole reports whether a role, with rules of its own, is there for one binding alone:
// Kubernetes does not make it, and no other binding and no other role takes from it.
func (l *look) ownRole(role kuberbac.Role, b kuberbac.Binding) bool {
	if _, made := l.shared.defaultRoles[role.Name]; made && role.Namespace == "" || role.Aggregate != nil {
		return false
	}
	for _, other := range l.shared.bindings[b.Cluster] {
		same := other.Role == b.Role && other.RoleIsCluster == b.RoleIsCluster && (b.RoleIsCluster || other.Namespace == b.Namespace)
		if same && other.Key() != b.Key() {
			return false
		}
	}
	if role.Namespace != "" {
		return true
	}
	for r := range l.est.KubeRoles(b.Cluster) {
		if slices.ContainsFunc(r.Aggregate, func(s kuberbac.Selector) bool { return s.Matches(role.Labels) }) {
			return false
		}
	}
	return true
}

// narrowRole is the fix that gives a role fewer rules. It does nothing when they were
// changed meanwhile.
func narrowRole(c resource.Cluster, role kuberbac.Role, rest []kuberbac.Rule) Fix {
	was, err := record.Marshal(role.Rules)
	is, err2 := record.Marshal(rest)
	if err != nil || err2 != nil {
		return Fix{}
	}
	patch := `[{"op":"test","path":"/rules","value":` + string(was) + `},{"op":"replace","path":"/rules","value":` + string(is) + "}]"
	command := []string{"kubectl", "--context", c.Name, "patch", "clusterrole", role.Name}
	if role.Namespace != "" {
		command = []string{"kubectl", "--context", c.Name, "patch", "role", role.Name, "-n", role.Namespace}
	}
	role.Rules = rest
	return Fix{Commands: []string{words(append(command, "--type", "json", "-p", patch)...)}, Ops: []estate.Op{{Put: role}}}
}

// harmless is what is left of some rules without what leads to tokens of service
// accounts. Where a star takes that in, it cannot be taken out.
func harmless(rules []kuberbac.Rule, namespaced bool) (rest []kuberbac.Rule, stars bool) {
	for _, r := range rules {
		if !leads(r, namespaced) {
			rest = append(rest, r)
			continue
		}
		for _, group := range r.APIGroups {
			for _, res := range r.Resources {
				one := kuberbac.Rule{APIGroups: []string{group}, Resources: []string{res}}
				for _, verb := range r.Verbs {
					single := one
					single.Verbs = []string{verb}
					if !leads(single, namespaced) {
						one.Verbs = append(one.Verbs, verb)
					} else if strings.Contains(group+res+verb, "*") {
						stars = true
					}
				}
				if len(one.Verbs) > 0 {
					rest = join(rest, one)
				}
			}
		}
	}
	return rest, stars
}

// join adds a rule about one resource, to the last one where that says the same.
func join(rules []kuberbac.Rule, one kuberbac.Rule) []kuberbac.Rule {
	if n := len(rules) - 1; n >= 0 && len(rules[n].ResourceNames) == 0 && slices.Equal(rules[n].APIGroups, one.APIGroups) && slices.Equal(rules[n].Verbs, one.Verbs) {
		rules[n].Resources = append(slices.Clip(rules[n].Resources), one.Resources...)
		return rules
	}
	return append(rules, one)
}

// leads reports whether a rule gives any of makers, by a binding in a namespace or by
// one of the whole cluster.
func leads(r kuberbac.Rule, namespaced bool) bool {
	return slices.ContainsFunc(makers, func(m maker) bool { return !(namespaced && m.Resource == nodes) && r.Allows(&m.Attributes) })
}
