package podid

import (
	"cmp"
	"maps"
	"reflect"
	"slices"
)

// An Action is what a step does.
type Action int

const (
	Create   Action = iota + 1 // write the object, in state Created
	Assign                     // set its state to Assigned
	Unassign                   // set its state to Unassigned
	Delete                     // remove it
)

func (a Action) String() string {
	switch a {
	case Create:
		return "create"
	case Assign:
		return "assign"
	case Unassign:
		return "unassign"
	case Delete:
		return "delete"
	}
	return "nothing"
}

// A Step changes one assigned identity: to Object, or away with it.
type Step struct {
	Do     Action
	Object AzureAssignedIdentity
}

// Plan returns the steps from the assigned identities that there are to those
// that there ought to be, as Want returns them. What is taken away goes first,
// and what is changed is taken away and made anew, so that after no step a pod
// has an identity that it neither had nor ought to have.
//
// Of an object in have that could not be read, the metadata is enough: it is
// removed. No steps means that have is as it ought to be.
func Plan(have, want []AzureAssignedIdentity) []Step {
	p := planner{taken: make(map[Ref]bool), kept: make(map[key]AzureAssignedIdentity)}
	wanted := make(map[key]AzureAssignedIdentity, len(want))
	for _, w := range want {
		wanted[keyOf(w)] = w
	}
	for _, h := range slices.SortedFunc(slices.Values(have), byName) {
		w, ok := wanted[keyOf(h)]
		_, twice := p.kept[keyOf(h)]
		if !ok || twice || !same(h, w) {
			p.remove(h)
			continue
		}
		p.kept[keyOf(h)] = h
		p.taken[h.Metadata.Ref()] = true
	}
	for _, w := range slices.SortedFunc(maps.Values(wanted), byName) {
		p.reach(w)
	}
	return append(p.removals, p.additions...)
}

type planner struct {
	removals, additions []Step
	taken               map[Ref]bool
	kept                map[key]AzureAssignedIdentity
}

func (p *planner) remove(h AzureAssignedIdentity) {
	if h.Status.Status == Assigned {
		h.Status.Status = Unassigned
		p.removals = append(p.removals, Step{Unassign, h})
	}
	p.removals = append(p.removals, Step{Delete, h})
}

func (p *planner) reach(w AzureAssignedIdentity) {
	h, ok := p.kept[keyOf(w)]
	if !ok {
		h = w
		if name := h.Metadata.Name; len(name) > 253 || p.taken[h.Metadata.Ref()] {
			h.Metadata.Name = h.otherName()
		}
		p.taken[h.Metadata.Ref()] = true
		h.Status.Status = Created
		p.additions = append(p.additions, Step{Create, h})
	}
	if h.Status.Status != Assigned {
		h.Status.Status = Assigned
		p.additions = append(p.additions, Step{Assign, h})
	}
}

// A key says what an assigned identity is for, whatever its name.
type key struct {
	namespace     string
	pod, identity Ref
	uid           string
}

func keyOf(a AzureAssignedIdentity) key {
	return key{
		a.Metadata.Namespace, Ref{a.Spec.PodNamespace, a.Spec.Pod},
		a.Spec.AzureIdentityRef.Metadata.Ref(), a.PodUID(),
	}
}

// same reports whether two assigned identities of one key give the same thing
// for the same reason.
func same(a, b AzureAssignedIdentity) bool {
	return reflect.DeepEqual(a.Spec, b.Spec) && a.Metadata.Labels[NodeLabel] == b.Metadata.Labels[NodeLabel]
}

func byName(a, b AzureAssignedIdentity) int {
	return cmp.Or(compareRefs(a.Metadata.Ref(), b.Metadata.Ref()), cmp.Compare(a.PodUID(), b.PodUID()),
		compareRefs(a.Spec.AzureIdentityRef.Metadata.Ref(), b.Spec.AzureIdentityRef.Metadata.Ref()))
}
