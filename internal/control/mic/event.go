package mic

import (
	"iter"
	"maps"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
	coreclient "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/record"

	"github.com/gatehouse-io/gatehouse/internal/podid"
)

// Reasons of events, in upstream's words.
const (
	applied    = "binding applied"
	removed    = "binding removed"
	applyError = "binding apply error"
)

// events tell the authors of pods what became of their asking. They may be lost:
// nothing depends on them.
type events struct {
	record.EventRecorder
	stop func()
	told map[types.UID]string // why pods get nothing
}

func newEvents(core coreclient.CoreV1Interface) *events {
	broadcaster := record.NewBroadcaster()
	broadcaster.StartRecordingToSink(&coreclient.EventSinkImpl{Interface: core.Events("")})
	return &events{
		EventRecorder: broadcaster.NewRecorder(scheme.Scheme, corev1.EventSource{Component: "gatehouse-mic"}),
		stop:          broadcaster.Shutdown, told: make(map[types.UID]string),
	}
}

func reference(namespace, name, uid string) *corev1.ObjectReference {
	return &corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: namespace, Name: name, UID: types.UID(uid)}
}

func podOf(a podid.AzureAssignedIdentity) *corev1.ObjectReference {
	return reference(a.Spec.PodNamespace, a.Spec.Pod, a.PodUID())
}

// done tells of a step.
func (e *events) done(s podid.Step) {
	a := s.Object
	switch {
	case a.PodUID() == "":
	case s.Do == podid.Assign:
		e.Eventf(podOf(a), corev1.EventTypeNormal, applied, "AzureIdentityBinding %s gives the pod the AzureIdentity %s on node %s",
			a.Spec.AzureBindingRef.Metadata.Ref(), a.Spec.AzureIdentityRef.Metadata.Ref(), a.Spec.NodeName)
	case s.Do == podid.Delete:
		e.Eventf(podOf(a), corev1.EventTypeNormal, removed, "the pod has the AzureIdentity %s no more", a.Spec.AzureIdentityRef.Metadata.Ref())
	}
}

func (e *events) failed(a podid.AzureAssignedIdentity, err error) {
	if a.PodUID() != "" {
		e.Eventf(podOf(a), corev1.EventTypeWarning, applyError, "%v", err)
	}
}

// refused tells pods that ask and get nothing why, once each. Only one goroutine
// calls it.
func (e *events) refused(rules *podid.Rules, pods iter.Seq[podid.Pod]) {
	seen := make(map[types.UID]bool)
	for p := range pods {
		uid := types.UID(p.UID)
		why := rules.Why(p)
		if why == "" {
			continue
		}
		seen[uid] = true
		if e.told[uid] != why {
			e.told[uid] = why
			e.Event(reference(p.Namespace, p.Name, p.UID), corev1.EventTypeWarning, applyError, why)
		}
	}
	maps.DeleteFunc(e.told, func(uid types.UID, _ string) bool { return !seen[uid] })
}
