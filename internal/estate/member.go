package estate

import (
	"iter"
	"slices"

	"github.com/gatehouse-io/gatehouse/internal/principal"
)

// A memberSet is the direct members of one group, in order of id once frozen.
type memberSet struct{ ids []principal.ID }

func (m *memberSet) add(id principal.ID) { m.ids = append(m.ids, id) }

func (m *memberSet) freeze() {
	slices.SortFunc(m.ids, compareIDs)
	m.ids = slices.Compact(m.ids)
}

func (m *memberSet) with(id principal.ID) *memberSet {
	i, found := slices.BinarySearchFunc(m.ids, id, compareIDs)
	if found {
		return m
	}
	ids := make([]principal.ID, 0, len(m.ids)+1)
	ids = append(append(append(ids, m.ids[:i]...), id), m.ids[i:]...)
	return &memberSet{ids}
}

func (m *memberSet) without(id principal.ID) *memberSet {
	return &memberSet{without(m.ids, func(x principal.ID) bool { return x == id })}
}

func (m *memberSet) has(id principal.ID) bool {
	_, found := slices.BinarySearchFunc(m.ids, id, compareIDs)
	return found
}

// closure visits every existing group that a principal is in, directly or
// through other groups, each once. seen is called for every group id that was
// looked at, whether it exists or not.
func (s *Snapshot) closure(of *node, seen func(principal.ID, *node)) []principal.ID {
	var (
		out     []principal.ID
		visited map[principal.ID]bool
	)
	queue := of.memberOf
	for i := 0; i < len(queue); i++ {
		id := queue[i]
		if visited[id] {
			continue
		}
		if visited == nil {
			visited = make(map[principal.ID]bool, 2*len(queue))
		}
		visited[id] = true
		n, _ := s.nodes.get(id)
		if seen != nil {
			seen(id, n)
		}
		if n == nil || n.rec == nil || n.kind != principal.Group {
			continue
		}
		out = append(out, id)
		// Clipped, so that appending never writes into the node's own list.
		queue = append(queue[:len(queue):len(queue)], n.memberOf...)
	}
	slices.SortFunc(out, compareIDs)
	return out
}

// GroupsOf returns the groups that a principal is in, directly or through other
// groups, in order of id. It survives cycles and diamonds; a group in a cycle is
// a member of itself only if it is there. The result must not be modified.
func (s *Snapshot) GroupsOf(id principal.ID) []principal.ID {
	r, ok := s.Resolve(id)
	if !ok {
		return nil
	}
	return r.Groups
}

// IsMember reports whether member is in group, directly or through others.
func (s *Snapshot) IsMember(member, group principal.ID) bool {
	_, found := slices.BinarySearchFunc(s.GroupsOf(member), group, compareIDs)
	return found
}

// Members yields the direct members of a group that exist, in order of id.
func (s *Snapshot) Members(group principal.ID) iter.Seq[principal.ID] {
	return func(yield func(principal.ID) bool) {
		set, ok := s.members.get(group)
		if !ok {
			return
		}
		for _, id := range set.ids {
			if n, ok := s.nodes.get(id); ok && n.rec != nil && !yield(id) {
				return
			}
		}
	}
}

// MembersTransitive yields everything that is in a group, groups included, each once.
func (s *Snapshot) MembersTransitive(group principal.ID) iter.Seq[principal.ID] {
	return func(yield func(principal.ID) bool) {
		visited := make(map[principal.ID]bool)
		for queue := []principal.ID{group}; len(queue) > 0; {
			at := queue[0]
			queue = queue[1:]
			for id := range s.Members(at) {
				if visited[id] {
					continue
				}
				visited[id] = true
				if !yield(id) {
					return
				}
				if n, _ := s.nodes.get(id); n.kind == principal.Group {
					queue = append(queue, id)
				}
			}
		}
	}
}

// Chain returns one shortest chain of groups by which a principal is in a
// group: the first is one that it is directly in, the last is the group itself.
func (s *Snapshot) Chain(member, group principal.ID) []principal.ID {
	from, ok := s.nodes.get(member)
	if !ok {
		return nil
	}
	came := make(map[principal.ID]principal.ID)
	for _, g := range from.memberOf {
		came[g] = member
	}
	for queue := slices.Clone(from.memberOf); len(queue) > 0; {
		at := queue[0]
		queue = queue[1:]
		n, _ := s.nodes.get(at)
		if n == nil || n.rec == nil || n.kind != principal.Group {
			continue
		}
		if at == group {
			var chain []principal.ID
			for ; at != member; at = came[at] {
				chain = append(chain, at)
			}
			slices.Reverse(chain)
			return chain
		}
		for _, g := range n.memberOf {
			if _, ok := came[g]; !ok {
				came[g] = at
				queue = append(queue, g)
			}
		}
	}
	return nil
}
