package podid

import (
	"errors"
	"fmt"
)

// PodUIDAnnotation on an AzureAssignedIdentity is the UID of its pod. Upstream
// wrote none, and took every pod of the name for the one that was meant.
const PodUIDAnnotation = "gatehouse.io/pod-uid"

// NodeLabel on an AzureAssignedIdentity names its node, for whoever lists those
// of one node. Upstream's name.
const NodeLabel = "nodename"

// An AssignedState says how far an assignment has come. The zero AssignedState
// is no state: the object gives nothing.
type AssignedState string

const (
	Created    AssignedState = "Created"    // written down, not in force
	Assigned   AssignedState = "Assigned"   // the pod's node may get tokens for it
	Unassigned AssignedState = "Unassigned" // taken back, about to go
)

// An AzureAssignedIdentity says that one pod gets one identity. Only MIC writes
// it. The identity and the binding are inside, as they were when it was written.
type AzureAssignedIdentity struct {
	head
	Spec   AssignedSpec   `json:"spec"`
	Status AssignedStatus `json:"status,omitzero"`
}

// AssignedSpec is the spec of an AzureAssignedIdentity.
type AssignedSpec struct {
	AzureIdentityRef AzureIdentity        `json:"azureIdentityRef"`
	AzureBindingRef  AzureIdentityBinding `json:"azureBindingRef"`
	Pod              string               `json:"pod"`
	PodNamespace     string               `json:"podNamespace"`
	NodeName         string               `json:"nodename"`

	Replicas skipped `json:"replicas,omitzero"`
	Metadata skipped `json:"metadata,omitzero"`
}

// AssignedStatus is the status of an AzureAssignedIdentity.
type AssignedStatus struct {
	Status            AssignedState `json:"status,omitzero"`
	AvailableReplicas int           `json:"availableReplicas,omitzero"`

	Metadata skipped `json:"metadata,omitzero"`
}

const assignedKind = "AzureAssignedIdentity"

// ParseAssigned reads an AzureAssignedIdentity, in JSON, with the identity and
// the binding inside. Errors wrap record.ErrInvalid.
func ParseAssigned(data []byte) (AzureAssignedIdentity, error) {
	a, err := parse[AzureAssignedIdentity](data, assignedKind)
	a.Spec.AzureIdentityRef.Spec.compact()
	return a, err
}

// PodUID is the UID of the pod that is meant, or "" when it is not said.
func (a AzureAssignedIdentity) PodUID() string { return a.Metadata.Annotations[PodUIDAnnotation] }

// Gives reports whether the object, as it is now, gives its identity to a pod:
// the pod itself and no later one of its name, on the node where it was bound.
// A node agent asks this before each token.
func (a AzureAssignedIdentity) Gives(pod Pod) bool {
	return a.Status.Status == Assigned && a.speaksOf(pod) && pod.eligible()
}

func (a AzureAssignedIdentity) speaksOf(pod Pod) bool {
	return pod.UID != "" && a.PodUID() == pod.UID &&
		a.Spec.Pod == pod.Name && a.Spec.PodNamespace == pod.Namespace && a.Spec.NodeName == pod.NodeName
}

// Validate says what is wrong with an assigned identity.
func (a AzureAssignedIdentity) Validate() error {
	return invalid(assignedKind, a.Metadata, a.check(assignedKind), a.Spec.check(), a.Status.check())
}

func (s AssignedSpec) check() error {
	if err := errors.Join(s.AzureIdentityRef.Validate(), s.AzureBindingRef.Validate()); err != nil {
		return err
	}
	switch {
	case !isSubdomain(s.Pod) || !isLabel(s.PodNamespace):
		return errors.New("spec.pod and spec.podNamespace do not name a pod")
	case !isSubdomain(s.NodeName):
		return fmt.Errorf("spec.nodename %.300q is not the name of a node", s.NodeName)
	case s.AzureBindingRef.Identity() != s.AzureIdentityRef.Metadata.Ref():
		return fmt.Errorf("the binding inside speaks of %s, not of the identity inside", s.AzureBindingRef.Identity())
	}
	return nil
}

func (s AssignedStatus) check() error {
	switch s.Status {
	case "", Created, Assigned, Unassigned:
		return nil
	}
	return fmt.Errorf("status.status %.80q is none of Created, Assigned, Unassigned", s.Status)
}
