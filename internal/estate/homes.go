package estate

import (
	"cmp"
	"slices"
	"sync"

	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/resource"
)

// homes are the clusters that have a managed identity for themselves, and those that
// lend one to their workloads by a binding. They are found when first asked for.
type homes struct {
	once  sync.Once
	own   map[principal.ID][]resource.Cluster
	bound map[principal.ID][]resource.Cluster
}

func (w *world) homesOf() *homes {
	h := w.homes
	h.once.Do(func() {
		h.own, h.bound = make(map[principal.ID][]resource.Cluster), make(map[principal.ID][]resource.Cluster)
		for _, c := range w.clusters {
			for _, ref := range c.Identities() {
				h.own[ref.Object] = append(h.own[ref.Object], *c)
			}
			for _, b := range c.IdentityBindings {
				h.bound[b.Identity.Object] = append(h.bound[b.Identity.Object], *c)
			}
		}
	})
	return h
}

// ClustersOf returns the clusters whose control plane, nodes or add-ons are the
// managed identity with an object id, ordered by scope.
func (s *Snapshot) ClustersOf(id principal.ID) []resource.Cluster {
	all := inOrder(s.world.homesOf().own[id])
	mi, ok := s.ManagedIdentity(id)
	if !ok || !mi.SystemAssigned {
		return all
	}
	// One of the system belongs to its cluster, whatever that says.
	if c, is := s.Cluster(mi.Resource); is && !slices.ContainsFunc(all, func(o resource.Cluster) bool { return o.Scope == c.Scope }) {
		all = inOrder(append(all, c))
	}
	return all
}

// ClustersBinding returns the clusters that have an identity binding for a managed
// identity, ordered by scope.
func (s *Snapshot) ClustersBinding(id principal.ID) []resource.Cluster {
	return inOrder(s.world.homesOf().bound[id])
}

// inOrder returns clusters by scope, each once.
func inOrder(list []resource.Cluster) []resource.Cluster {
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b resource.Cluster) int { return cmp.Compare(a.Scope.String(), b.Scope.String()) })
	return slices.CompactFunc(list, func(a, b resource.Cluster) bool { return a.Scope == b.Scope })
}
