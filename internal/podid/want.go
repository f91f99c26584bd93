package podid

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"iter"
	"strings"
)

// sharedNamespace is where assigned identities of a cluster-wide identity are,
// as upstream has it; those of a namespaced one are in its namespace.
const sharedNamespace = "default"

// Want returns the assigned identities that there ought to be for pods, each in
// state Assigned.
func (r *Rules) Want(pods iter.Seq[Pod]) []AzureAssignedIdentity {
	var want []AzureAssignedIdentity
	for pod := range pods {
		for _, m := range r.Match(pod) {
			want = append(want, r.assign(pod, m))
		}
	}
	return want
}

func (r *Rules) assign(pod Pod, m Match) AzureAssignedIdentity {
	a := AzureAssignedIdentity{
		head: head{APIVersion, assignedKind, Metadata{
			Name: assignedName(pod.Ref(), m.Identity.Metadata.Name), Namespace: sharedNamespace,
			Annotations: map[string]string{PodUIDAnnotation: pod.UID},
		}},
		Spec: AssignedSpec{
			AzureIdentityRef: m.Identity, AzureBindingRef: m.Binding,
			Pod: pod.Name, PodNamespace: pod.Namespace, NodeName: pod.NodeName,
		},
		Status: AssignedStatus{Status: Assigned, AvailableReplicas: 1},
	}
	if r.mode == Namespaced || m.Identity.Namespaced() {
		a.Metadata.Namespace = m.Identity.Metadata.Namespace
	}
	if isLabelValue(pod.NodeName) {
		a.Metadata.Labels = map[string]string{NodeLabel: pod.NodeName}
	}
	// Inside, only what says which object it was and what it said.
	a.Spec.AzureIdentityRef.Metadata = m.Identity.Metadata.inside(BehaviorAnnotation)
	a.Spec.AzureBindingRef.Metadata = m.Binding.Metadata.inside()
	return a
}

// inside is what is kept of metadata in another object. The resource version is
// not: a new label on an identity is no reason to take it away and give it again.
func (m Metadata) inside(annotations ...string) Metadata {
	kept := Metadata{Name: m.Name, Namespace: m.Namespace, UID: m.UID}
	for _, name := range annotations {
		if v, ok := m.Annotations[name]; ok {
			kept.Annotations = map[string]string{name: v}
		}
	}
	return kept
}

// assignedName is upstream's name for an assigned identity. It does not tell
// apart what it is glued from, and may be too long.
func assignedName(pod Ref, identity string) string {
	return pod.Name + "-" + pod.Namespace + "-" + identity
}

// otherName is a name for when upstream's is too long or taken by another: it
// ends in a digest of everything that the object is for, each with its length.
func (a AzureAssignedIdentity) otherName() string {
	sum := sha256.New()
	id := a.Spec.AzureIdentityRef.Metadata
	for _, part := range []string{a.Spec.PodNamespace, a.Spec.Pod, a.PodUID(), id.Namespace, id.Name} {
		var size [8]byte
		binary.BigEndian.PutUint64(size[:], uint64(len(part)))
		sum.Write(size[:])
		sum.Write([]byte(part))
	}
	suffix := "-" + hex.EncodeToString(sum.Sum(nil)[:10])
	name := a.Metadata.Name
	if room := 253 - len(suffix); len(name) > room {
		name = strings.TrimRight(name[:room], "-.")
	}
	return name + suffix
}
