package estate

import (
	"iter"
	"slices"
	"sync"

	"github.com/gatehouse-io/gatehouse/internal/kuberbac"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

// Rules are the rules of one role, indexed by the resource that they name.
type Rules struct {
	Role       kuberbac.Role
	list       []kuberbac.Rule
	byResource map[groupResource][]*kuberbac.Rule
	rest       []*kuberbac.Rule // wildcards and paths
}

type groupResource struct{ group, resource string }

// fewRules is the length up to which looking at every rule is faster than hashing.
const fewRules = 4

func newRules(role kuberbac.Role, list []kuberbac.Rule) *Rules {
	r := &Rules{Role: role, list: list}
	if len(list) <= fewRules {
		return r
	}
	r.byResource = make(map[groupResource][]*kuberbac.Rule)
	for i := range list {
		rule := &list[i]
		if len(rule.NonResourceURLs) > 0 || slices.Contains(rule.APIGroups, "*") || slices.ContainsFunc(rule.Resources, wild) {
			r.rest = append(r.rest, rule)
			continue
		}
		for _, g := range rule.APIGroups {
			for _, res := range rule.Resources {
				k := groupResource{g, base(res)}
				if l := r.byResource[k]; !slices.Contains(l, rule) {
					r.byResource[k] = append(l, rule)
				}
			}
		}
	}
	return r
}

func wild(resource string) bool { return resource != "" && resource[0] == '*' }

// base is the resource without its subresource.
func base(resource string) string {
	for i := range len(resource) {
		if resource[i] == '/' {
			return resource[:i]
		}
	}
	return resource
}

// All are the rules, in the order of the role.
func (r *Rules) All() []kuberbac.Rule { return r.list }

// Allows returns the first rule found that allows the request, or nil.
func (r *Rules) Allows(a *kuberbac.Attributes) *kuberbac.Rule {
	if r.byResource == nil {
		for i := range r.list {
			if r.list[i].Allows(a) {
				return &r.list[i]
			}
		}
		return nil
	}
	if a.Path == "" {
		for _, rule := range r.byResource[groupResource{a.APIGroup, base(a.Resource)}] {
			if rule.Allows(a) {
				return rule
			}
		}
	}
	for _, rule := range r.rest {
		if rule.Allows(a) {
			return rule
		}
	}
	return nil
}

// A ruleCache keeps the compiled rules of one world.
type ruleCache struct {
	mu sync.Mutex
	m  map[kubeKey]*Rules
}

// boundGrant is a binding as a grant to one of its subjects.
func (w *world) boundGrant(b *kuberbac.Binding, subject kuberbac.Subject, holder principal.ID) *Grant {
	sc := b.Cluster
	if b.Namespace != "" {
		if ns, err := b.Cluster.Namespace(b.Namespace); err == nil {
			sc = ns
		}
	}
	key := kubeKey{b.Cluster, b.Namespace, b.Role}
	if b.RoleIsCluster {
		key.namespace = ""
	} else if b.Namespace == "" {
		// A cluster role binding cannot refer to a role of a namespace.
		return &Grant{Holder: holder, Subject: subject, Scope: sc, Binding: b}
	}
	return &Grant{Holder: holder, Subject: subject, Scope: sc, Binding: b, Rules: w.rulesOf(key)}
}

// rulesOf returns the rules of a role, or nil when there is no such role.
func (w *world) rulesOf(key kubeKey) *Rules {
	w.rules.mu.Lock()
	defer w.rules.mu.Unlock()
	if r, ok := w.rules.m[key]; ok {
		return r
	}
	var r *Rules
	if role, ok := w.kubeRole(key); ok {
		list := role.Rules
		if role.Aggregate != nil {
			list = kuberbac.Aggregate(role, w.clusterRolesOf(key.cluster))
		}
		r = newRules(role, list)
	}
	if w.rules.m == nil {
		w.rules.m = make(map[kubeKey]*Rules)
	}
	w.rules.m[key] = r
	return r
}

// kubeRole returns a stored role, or the one that every new cluster has.
func (w *world) kubeRole(key kubeKey) (kuberbac.Role, bool) {
	if r, ok := w.kube.get(key); ok {
		return *r, true
	}
	if key.namespace == "" && w.unread(key.cluster) {
		if r, ok := bootstrap().roles[key.name]; ok {
			r.Cluster = key.cluster
			return r, true
		}
	}
	return kuberbac.Role{}, false
}

// unread reports whether a cluster is known whose own roles and bindings have
// not been read: it starts with those that Kubernetes gives every cluster.
func (w *world) unread(cluster scope.Scope) bool {
	c, ok := w.clusters[cluster]
	return ok && !c.Mirrored
}

func (w *world) clusterRolesOf(cluster scope.Scope) iter.Seq[kuberbac.Role] {
	return func(yield func(kuberbac.Role) bool) {
		names, _ := w.clusterRoles.get(cluster)
		for _, name := range names {
			if r, ok := w.kube.get(kubeKey{cluster, "", name}); ok && !yield(*r) {
				return
			}
		}
		if !w.unread(cluster) {
			return
		}
		for name, r := range bootstrap().roles {
			if _, own := w.kube.get(kubeKey{cluster, "", name}); own {
				continue
			}
			r.Cluster = cluster
			if !yield(r) {
				return
			}
		}
	}
}

// impliedBindings yields the bindings that a cluster is taken to have until its
// own have been read: that of its admin groups, and those that Kubernetes gives
// every cluster.
func (w *world) impliedBindings(c resource.Cluster) iter.Seq[*kuberbac.Binding] {
	return func(yield func(*kuberbac.Binding) bool) {
		if c.Mirrored {
			return
		}
		if len(c.AdminGroups) > 0 && c.EntraSignIn {
			b := &kuberbac.Binding{Cluster: c.Scope, Name: AdminBinding, RoleIsCluster: true, Role: "cluster-admin"}
			for _, g := range c.AdminGroups {
				b.Subjects = append(b.Subjects, kuberbac.Subject{Kind: kuberbac.Group, Name: g.String()})
			}
			if !yield(b) {
				return
			}
		}
		for _, b := range bootstrap().bindings {
			b.Cluster = c.Scope
			if !yield(&b) {
				return
			}
		}
	}
}

type bootstrapPolicy struct {
	roles    map[string]kuberbac.Role
	bindings []kuberbac.Binding
}

// bootstrap is the policy that kube-apiserver gives every new cluster.
var bootstrap = sync.OnceValue(func() bootstrapPolicy {
	p := bootstrapPolicy{roles: make(map[string]kuberbac.Role)}
	for r := range kuberbac.Defaults(scope.Scope{}) {
		switch r := r.(type) {
		case kuberbac.Role:
			p.roles[r.Name] = r
		case kuberbac.Binding:
			p.bindings = append(p.bindings, r)
		}
	}
	return p
})

// KubeRules returns the rules of a cluster role, or nil when there is none.
func (s *Snapshot) KubeRules(cluster scope.Scope, clusterRole string) *Rules {
	return s.world.rulesOf(kubeKey{cluster, "", clusterRole})
}

// BindingsOf returns the stored bindings, of all clusters, that name a subject.
func (s *Snapshot) BindingsOf(subject kuberbac.Subject) []*kuberbac.Binding {
	h, ok := s.subjects.get(subject)
	if !ok {
		return nil
	}
	return h.bindings
}

// KubeUnread reports whether nothing is known of what a cluster's own roles and
// bindings grant: the house did not make it, and nobody has read them. Answers
// about it are not the whole truth then.
func (s *Snapshot) KubeUnread(cluster scope.Scope) bool {
	c, ok := s.world.clusters[cluster]
	if !ok || !c.Attached || c.Mirrored {
		return false
	}
	for range s.KubeBindings(cluster) {
		return false
	}
	return true
}
