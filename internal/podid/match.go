package podid

import (
	"cmp"
	"fmt"
	"iter"
	"slices"
)

// A Mode says whose identities a pod may get.
type Mode int

const (
	// Namespaced lets a pod have identities of its own namespace only.
	Namespaced Mode = iota
	// ClusterWide lets a pod have identities of every namespace, but for those that
	// say themselves that they are namespaced. Whoever may label a pod anywhere may
	// then use them. This is what upstream does unless it is told otherwise.
	ClusterWide
)

// Rules are what decides which identities pods get, made ready to be asked.
type Rules struct {
	mode       Mode
	identities map[Ref]AzureIdentity
	bindings   map[string][]AzureIdentityBinding      // by selector
	exceptions map[string][]AzurePodIdentityException // by namespace
}

// NewRules makes rules of the objects of a cluster. Objects that do not pass
// their Validate are left out: they give nothing, and leave nobody alone.
func NewRules(mode Mode, identities iter.Seq[AzureIdentity], bindings iter.Seq[AzureIdentityBinding], exceptions iter.Seq[AzurePodIdentityException]) *Rules {
	r := &Rules{
		mode: mode, identities: make(map[Ref]AzureIdentity),
		bindings: make(map[string][]AzureIdentityBinding), exceptions: make(map[string][]AzurePodIdentityException),
	}
	for id := range identities {
		if id.Validate() == nil {
			r.identities[id.Metadata.Ref()] = id
		}
	}
	for b := range bindings {
		if b.Validate() == nil {
			r.bindings[b.Spec.Selector] = append(r.bindings[b.Spec.Selector], b)
		}
	}
	for e := range exceptions {
		if e.Validate() == nil {
			r.exceptions[e.Metadata.Namespace] = append(r.exceptions[e.Metadata.Namespace], e)
		}
	}
	for _, list := range r.bindings {
		slices.SortFunc(list, func(a, b AzureIdentityBinding) int { return compareRefs(a.Metadata.Ref(), b.Metadata.Ref()) })
	}
	return r
}

func compareRefs(a, b Ref) int {
	return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
}

// A Match is an identity that a pod gets, and the binding that gives it.
type Match struct {
	Identity AzureIdentity
	Binding  AzureIdentityBinding
}

// Match returns the identities that a pod gets, by namespace and name; one that
// several bindings give comes once, with the first of them. A pod gets none
// before it is on a node, once it has ended, on its host's network, and when an
// exception leaves it alone.
func (r *Rules) Match(pod Pod) []Match {
	selector := pod.Labels[BindingLabel]
	if selector == "" || !pod.eligible() || r.Excepted(pod) {
		return nil
	}
	var got []Match
	seen := make(map[Ref]bool)
	for _, b := range r.bindings[selector] {
		id, ok := r.identities[b.Identity()]
		if !ok || seen[b.Identity()] || !r.reaches(id, pod) {
			continue
		}
		seen[b.Identity()] = true
		got = append(got, Match{id, b})
	}
	slices.SortFunc(got, func(a, b Match) int {
		return compareRefs(a.Identity.Metadata.Ref(), b.Identity.Metadata.Ref())
	})
	return got
}

// reaches reports whether an identity may be used where a pod is. Its binding is
// in its own namespace in any case.
func (r *Rules) reaches(id AzureIdentity, pod Pod) bool {
	if r.mode == ClusterWide && !id.Namespaced() {
		return true
	}
	return id.Metadata.Namespace == pod.Namespace
}

// Excepted reports whether an exception leaves a pod alone.
func (r *Rules) Excepted(pod Pod) bool {
	return Excepted(slices.Values(r.exceptions[pod.Namespace]), pod)
}

// Why says in words why a pod that asks for an identity gets none: for its
// author, so of other namespaces it says nothing. It is "" when the pod gets one,
// does not ask, is not on a node yet or any more, or is left alone.
func (r *Rules) Why(pod Pod) string {
	selector := pod.Labels[BindingLabel]
	switch {
	case selector == "" || pod.NodeName == "" || pod.Ended || r.Excepted(pod) || len(r.Match(pod)) > 0:
		return ""
	case pod.HostNetwork:
		return "a pod on its host's network cannot be told from the host, and gets no identity"
	}
	for _, b := range r.bindings[selector] {
		if b.Metadata.Namespace == pod.Namespace {
			return fmt.Sprintf("AzureIdentityBinding %q names the AzureIdentity %q, and there is none in namespace %s that is valid", b.Metadata.Name, b.Spec.AzureIdentity, pod.Namespace)
		}
	}
	return fmt.Sprintf("no AzureIdentityBinding that this pod may use has the selector %q", selector)
}
