package estate

import (
	"iter"
	"maps"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/benbjohnson/immutable"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/kuberbac"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

// AdminBinding is the cluster role binding by which a cluster's admin groups
// are cluster-admin, as AKS names it.
const AdminBinding = "aks-cluster-admin-binding-aad"

// A Grant is one source of access, or of its denial, as the engine sees it. At
// most one of Assigned, Given, Owned, Deny and Binding is set: what comes by
// itself, as the rights of a member in his directory do, has a Role alone.
type Grant struct {
	// Holder is the principal that the grant names: who asks, or a group he is in.
	// It is zero for Kubernetes subjects that are no principals, see Subject.
	Holder   principal.ID
	Subject  kuberbac.Subject
	Scope    scope.Scope
	Assigned *Assigned
	Given    *directory.RoleAssignment
	Owned    *directory.Ownership
	Role     *azurerbac.Role // nil for Deny and Binding alone
	Deny     *azurerbac.Deny
	Binding  *kuberbac.Binding
	Rules    *Rules // of Binding; nil when its role is missing
}

// Record is the stored record that makes the grant; nil for what comes by itself.
func (g *Grant) Record() record.Record {
	switch {
	case g.Assigned != nil:
		return g.Assigned.Assignment
	case g.Given != nil:
		return *g.Given
	case g.Owned != nil:
		return *g.Owned
	case g.Deny != nil:
		return g.Deny.DenyAssignment
	case g.Binding != nil:
		return *g.Binding
	}
	return nil
}

// Resolved is what one principal has been given, over all groups that it is in.
// It is worked out once and kept beside the principal's node. After a change of
// the estate it is first proven to be still true: every node and subject that it
// was made from must be the same version. So a change costs nothing up front,
// however many principals it touches.
type Resolved struct {
	proven atomic.Pointer[stamp] // the last snapshot it was proven for

	nodesAt    *immutable.Map[principal.ID, *node]
	subjectsAt *immutable.Map[kuberbac.Subject, *holder]
	world      *world
	nodes      []nodeVersion
	subjects   []subjectVersion

	Principal Principal
	// Groups is the transitive closure, in order of id.
	Groups []principal.ID
	// Azure are role assignments, in order of the principal and then its groups,
	// and Directory what was given in the directory, likewise; Denies are the deny
	// assignments that speak of the principal.
	Azure, Directory, Denies []*Grant
	byScope                  atomic.Pointer[map[scope.Scope][]*Grant]
	clusters                 atomic.Pointer[map[scope.Scope]*ClusterGrants]
}

// shared are the grants of one node or subject in one world. All principals that
// hold them point to the same ones.
type shared struct {
	world *world
	list  []*Grant
}

type nodeVersion struct {
	id principal.ID
	n  *node
}

type subjectVersion struct {
	subject kuberbac.Subject
	h       *holder
}

// ClusterGrants is what one principal has been given on one cluster.
type ClusterGrants struct {
	// Wide are role assignments at the cluster or above it.
	Wide []*Grant
	// In are role assignments at a namespace of the cluster.
	In ByNamespace
	// Denies and DeniesIn are the same for deny assignments.
	Denies   []*Grant
	DeniesIn ByNamespace
	// Bound are cluster role bindings, BoundIn role bindings by namespace.
	Bound   []*Grant
	BoundIn ByNamespace
}

// ByNamespace are grants by the name of a namespace, in order of name. It is
// kept once for every principal and cluster, so it is small before all else.
type ByNamespace []inNamespace

type inNamespace struct {
	name   string
	grants []*Grant
}

func (b ByNamespace) find(name string) (int, bool) {
	return slices.BinarySearchFunc(b, name, func(n inNamespace, name string) int { return strings.Compare(n.name, name) })
}

// Of returns the grants in a namespace.
func (b ByNamespace) Of(name string) []*Grant {
	if i, ok := b.find(name); ok {
		return b[i].grants
	}
	return nil
}

// All yields the namespaces and their grants.
func (b ByNamespace) All() iter.Seq2[string, []*Grant] {
	return func(yield func(string, []*Grant) bool) {
		for _, n := range b {
			if !yield(n.name, n.grants) {
				return
			}
		}
	}
}

func (b *ByNamespace) add(name string, g *Grant) {
	i, ok := b.find(name)
	if !ok {
		*b = slices.Insert(*b, i, inNamespace{name: name})
	}
	(*b)[i].grants = append((*b)[i].grants, g)
}

// Resolve returns what a principal has been given, and false for a principal
// that the estate does not have.
func (s *Snapshot) Resolve(id principal.ID) (*Resolved, bool) {
	n, ok := s.nodes.get(id)
	if !ok || n.rec == nil {
		return nil, false
	}
	if r := n.resolved.Load(); r != nil && (r.proven.Load() == s.stamp || r.prove(s)) {
		return r, true
	}
	r := s.resolve(id, n)
	r.proven.Store(s.stamp)
	n.resolved.Store(r)
	return r, true
}

// prove reports whether r is true in s, and remembers it.
func (r *Resolved) prove(s *Snapshot) bool {
	if r.world != s.world {
		return false
	}
	if !s.nodes.same(r.nodesAt) {
		for _, v := range r.nodes {
			if n, _ := s.nodes.get(v.id); n != v.n {
				return false
			}
		}
	}
	if !s.subjects.same(r.subjectsAt) {
		for _, v := range r.subjects {
			if h, _ := s.subjects.get(v.subject); h != v.h {
				return false
			}
		}
	}
	r.proven.Store(s.stamp)
	return true
}

func (s *Snapshot) resolve(id principal.ID, n *node) *Resolved {
	r := &Resolved{nodesAt: s.nodes.m, subjectsAt: s.subjects.m, world: s.world}
	r.Principal, _ = s.describe(id, n)
	r.nodes = append(r.nodes, nodeVersion{id, n})
	r.Groups = s.closure(n, func(g principal.ID, gn *node) {
		r.nodes = append(r.nodes, nodeVersion{g, gn})
	})
	tenant := r.Principal.Tenant
	r.Azure = append(r.Azure, s.standing(s.grantsOf(id, n), r.Groups)...)
	r.Directory = s.directoryGrants(id, n, tenant)
	for _, g := range r.Groups {
		gn, _ := s.nodes.get(g)
		r.Azure = append(r.Azure, s.standing(s.grantsOf(g, gn), nil)...)
		r.Directory = append(r.Directory, s.directoryGrants(g, gn, tenant)...)
	}
	r.Azure = slices.Clip(r.Azure)
	for _, d := range s.world.denies {
		if holder, ok := r.denied(d); ok {
			r.Denies = append(r.Denies, &Grant{Holder: holder, Scope: d.Scope, Deny: d})
		}
	}
	slices.SortFunc(r.Denies, func(a, b *Grant) int {
		return compareIDs(principal.ID(a.Deny.ID), principal.ID(b.Deny.ID))
	})
	for _, subject := range KubeSubjects(r.Principal, r.Groups) {
		h, _ := s.subjects.get(subject)
		r.subjects = append(r.subjects, subjectVersion{subject, h})
	}
	r.clusters.Store(&map[scope.Scope]*ClusterGrants{})
	return r
}

// grantsOf returns the role assignments that name a principal itself.
func (s *Snapshot) grantsOf(id principal.ID, n *node) []*Grant {
	if g := n.grants.Load(); g != nil && g.world == s.world {
		return g.list
	}
	next := &shared{world: s.world}
	for _, a := range n.assigned {
		if role, ok := s.world.role(a.Role); ok {
			next.list = append(next.list, &Grant{Holder: id, Scope: a.Scope, Assigned: a, Role: role})
		}
	}
	n.grants.Store(next)
	return next.list
}

// denied reports whether a deny assignment speaks of the principal, and through whom.
func (r *Resolved) denied(d *azurerbac.Deny) (principal.ID, bool) {
	in := func(ids []principal.ID) (principal.ID, bool) {
		for _, id := range ids {
			if id == r.Principal.ID {
				return id, true
			}
			if _, found := slices.BinarySearchFunc(r.Groups, id, compareIDs); found {
				return id, true
			}
		}
		return principal.ID{}, false
	}
	if _, out := in(d.ExcludePrincipals); out {
		return principal.ID{}, false
	}
	if d.Everyone {
		return r.Principal.ID, true
	}
	return in(d.Principals)
}

// fewGrants is the number up to which looking at every grant is faster than hashing.
const fewGrants = 8

// At calls yield with the roles of the principal at exactly a scope, those of
// Azure first, until it returns false, and reports whether it never did.
func (r *Resolved) At(sc scope.Scope, yield func(*Grant) bool) bool {
	if len(r.Azure)+len(r.Directory) > fewGrants {
		for _, g := range r.indexed()[sc] {
			if !yield(g) {
				return false
			}
		}
		return true
	}
	for _, list := range [...][]*Grant{r.Azure, r.Directory} {
		for _, g := range list {
			if g.Scope == sc && !yield(g) {
				return false
			}
		}
	}
	return true
}

func (r *Resolved) indexed() map[scope.Scope][]*Grant {
	if m := r.byScope.Load(); m != nil {
		return *m
	}
	m := make(map[scope.Scope][]*Grant)
	for _, list := range [...][]*Grant{r.Azure, r.Directory} {
		for _, g := range list {
			m[g.Scope] = append(m[g.Scope], g)
		}
	}
	r.byScope.Store(&m)
	return m
}

// KubeSubjects are the subjects under which bindings may name a principal: its
// Kubernetes user name (see KubeUser), the object ids of its groups, and the group of everybody who is signed in.
func KubeSubjects(p Principal, groups []principal.ID) []kuberbac.Subject {
	out := make([]kuberbac.Subject, 0, len(groups)+2)
	out = append(out, kuberbac.Subject{Kind: kuberbac.User, Name: KubeUser(p)})
	for _, g := range groups {
		out = append(out, kuberbac.Subject{Kind: kuberbac.Group, Name: g.String()})
	}
	return append(out, kuberbac.Subject{Kind: kuberbac.Group, Name: authenticated})
}

const authenticated = "system:authenticated"

// KubeUser is the name by which clusters know a principal: the user principal
// name of a user of the tenant, the object id of guests and of all others.
func KubeUser(p Principal) string {
	if p.Kind == principal.User && !p.Guest {
		return p.Name
	}
	return p.ID.String()
}

// On returns what the principal has been given on a cluster of the snapshot
// that r was resolved from.
func (r *Resolved) On(cluster scope.Scope) *ClusterGrants {
	known := r.clusters.Load()
	if c, ok := (*known)[cluster]; ok {
		return c
	}
	c := r.on(cluster)
	next := maps.Clone(*known)
	next[cluster] = c
	// A lost race costs the loser one more turn, later.
	r.clusters.CompareAndSwap(known, &next)
	return c
}

func (r *Resolved) on(cluster scope.Scope) *ClusterGrants {
	c := &ClusterGrants{}
	above := make(map[scope.Scope]bool)
	for sc := range ancestors(r.world, cluster) {
		above[sc] = true
	}
	place := func(g *Grant, wide *[]*Grant, in *ByNamespace) {
		if above[g.Scope] {
			*wide = append(*wide, g)
		} else if cluster.Contains(g.Scope) {
			if at, ns, ok := g.Scope.CutNamespace(); ok && at == cluster {
				in.add(ns, g)
			}
		}
	}
	for _, g := range r.Azure {
		place(g, &c.Wide, &c.In)
	}
	for _, g := range r.Denies {
		place(g, &c.Denies, &c.DeniesIn)
	}
	w := r.world
	for i, v := range r.subjects {
		if v.h != nil {
			for _, g := range w.bindingsOf(v.h, v.subject, r.holderOf(i)) {
				if g.Binding.Cluster == cluster {
					c.bind(g)
				}
			}
		}
	}
	if known, ok := w.clusters[cluster]; ok {
		for b := range w.impliedBindings(*known) {
			for i, v := range r.subjects {
				if slices.Contains(b.Subjects, v.subject) {
					c.bind(w.boundGrant(b, v.subject, r.holderOf(i)))
					break
				}
			}
		}
	}
	return c
}

// holderOf is the principal behind the i-th of the KubeSubjects.
func (r *Resolved) holderOf(i int) principal.ID {
	switch {
	case i == 0:
		return r.Principal.ID
	case i <= len(r.Groups):
		return r.Groups[i-1]
	}
	return principal.ID{}
}

func (c *ClusterGrants) bind(g *Grant) {
	same := func(o *Grant) bool { return o.Rules == g.Rules && o.Rules != nil }
	if g.Binding.Namespace == "" {
		// Several bindings of one role at one place say the same; the first speaks.
		if !slices.ContainsFunc(c.Bound, same) {
			c.Bound = append(c.Bound, g)
		}
		return
	}
	if ns := g.Binding.Namespace; !slices.ContainsFunc(c.BoundIn.Of(ns), same) {
		c.BoundIn.add(ns, g)
	}
}

// bindingsOf returns the bindings that name a subject, as grants to the principal
// behind it. Those of a group are kept for all its members; who is behind the
// name of a user may change, so those of a user are not.
func (w *world) bindingsOf(h *holder, subject kuberbac.Subject, behind principal.ID) []*Grant {
	keep := subject.Kind == kuberbac.Group
	if g := h.grants.Load(); keep && g != nil && g.world == w {
		return g.list
	}
	next := &shared{world: w}
	for _, b := range h.bindings {
		next.list = append(next.list, w.boundGrant(b, subject, behind))
	}
	if keep {
		h.grants.Store(next)
	}
	return next.list
}

func ancestors(w *world, sc scope.Scope) func(func(scope.Scope) bool) {
	return (&Snapshot{world: w}).Ancestors(sc)
}

// BoundTo returns the bindings that name one of some Kubernetes subjects and
// speak of a place: those of the whole cluster, and with a namespace those in it.
func (s *Snapshot) BoundTo(cluster scope.Scope, namespace string, subjects []kuberbac.Subject) []*Grant {
	var out []*Grant
	known, isKnown := s.world.clusters[cluster]
	for _, subject := range subjects {
		if h, ok := s.subjects.get(subject); ok {
			places := h.byPlace()
			for _, b := range places[kubePlace{cluster, ""}] {
				out = append(out, s.world.boundGrant(b, subject, principal.ID{}))
			}
			if namespace != "" {
				for _, b := range places[kubePlace{cluster, namespace}] {
					out = append(out, s.world.boundGrant(b, subject, principal.ID{}))
				}
			}
		}
		if isKnown {
			for b := range s.world.impliedBindings(*known) {
				if slices.Contains(b.Subjects, subject) {
					out = append(out, s.world.boundGrant(b, subject, principal.ID{}))
				}
			}
		}
	}
	return out
}

func (h *holder) byPlace() map[kubePlace][]*kuberbac.Binding {
	if m := h.index.Load(); m != nil {
		return *m
	}
	m := make(map[kubePlace][]*kuberbac.Binding)
	for _, b := range h.bindings {
		p := kubePlace{b.Cluster, b.Namespace}
		m[p] = append(m[p], b)
	}
	h.index.Store(&m)
	return m
}

// Bound yields every binding of a cluster that speaks of a place, once for each
// subject that it names, with the principal behind the subject if there is one.
func (s *Snapshot) Bound(cluster scope.Scope, namespace string) []*Grant {
	var out []*Grant
	add := func(b *kuberbac.Binding) {
		for _, subject := range b.Subjects {
			out = append(out, s.world.boundGrant(b, subject, s.behind(subject)))
		}
	}
	for k, b := range s.bindings.all() {
		if k.cluster == cluster && (k.namespace == "" || k.namespace == namespace) {
			add(b)
		}
	}
	if known, ok := s.world.clusters[cluster]; ok {
		for b := range s.world.impliedBindings(*known) {
			if b.Namespace == "" || b.Namespace == namespace {
				add(b)
			}
		}
	}
	return out
}

// behind returns the principal that a Kubernetes subject names, or nobody.
func (s *Snapshot) behind(subject kuberbac.Subject) principal.ID {
	switch subject.Kind {
	case kuberbac.User:
		id, ok := s.upns.get(subject.Name)
		if !ok {
			var err error
			if id, err = principal.ParseID(subject.Name); err != nil {
				return principal.ID{}
			}
		}
		if p, ok := s.Principal(id); ok && p.Kind != principal.Group && KubeUser(p) == subject.Name {
			return id
		}
	case kuberbac.Group:
		if id, err := principal.ParseID(subject.Name); err == nil && id.String() == subject.Name {
			if _, ok := rec[directory.Group](s, id); ok {
				return id
			}
		}
	}
	return principal.ID{}
}
