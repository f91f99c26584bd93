package nmi_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/podid"
	"github.com/gatehouse-io/gatehouse/internal/record"
)

// assigns writes what MIC writes for a pod, in a state.
func (n *node) assigns(p *corev1.Pod, mi directory.ManagedIdentity, state podid.AssignedState) {
	n.T.Helper()
	get := func(kind, name string) []byte {
		return []byte(n.Must("", "-n", "shop", "get", kind, name, "-o", "json"))
	}
	id, err := podid.ParseIdentity(get(podid.Identities, mi.DisplayName))
	if err != nil {
		n.T.Fatal(err)
	}
	b, err := podid.ParseBinding(get(podid.Bindings, mi.DisplayName))
	if err != nil {
		n.T.Fatal(err)
	}
	rules := podid.NewRules(podid.Namespaced, slices.Values([]podid.AzureIdentity{id}), slices.Values([]podid.AzureIdentityBinding{b}), slices.Values([]podid.AzurePodIdentityException(nil)))
	want := rules.Want(slices.Values([]podid.Pod{{Namespace: p.Namespace, Name: p.Name, UID: string(p.UID), NodeName: p.Spec.NodeName, Labels: bound(mi.DisplayName)}}))
	if len(want) != 1 {
		n.T.Fatalf("%d are wanted", len(want))
	}
	want[0].Status.Status = state
	text, err := record.Marshal(want[0])
	if err != nil {
		n.T.Fatal(err)
	}
	n.create(string(text))
}

// Story 30 with MIC: a pod gets what is assigned to it, when it is in force, and as
// long as its binding is there.
func standard(t *testing.T, s stage) {
	n := s.node().start("--retry-attempts-for-created", "3", "--retry-attempts-for-assigned", "2")
	web := n.pod("web", bound("blue"))
	web.token().refused(t, http.StatusNotFound, "getting assigned identities for pod shop/web-"+n.name+" in CREATED state failed after 3 attempts, retry duration [0]s, error: <nil>. Check MIC pod logs")
	n.assigns(web.pod, blue, podid.Created)
	web.token().refused(t, http.StatusNotFound, "in ASSIGNED state failed after 5 attempts")
	n.assigns(web.pod, blue, podid.Assigned)
	web.token().gets(t, blue.ID.String())
	n.assigns(web.pod, blue, podid.Unassigned)
	web.token().refused(t, http.StatusNotFound, "in ASSIGNED state failed")

	// It waits for MIC.
	n.end(15)
	n.start("--retry-attempts-for-created", "100")
	slow := n.pod("slow", bound("green"))
	got := make(chan answer)
	go func() { got <- slow.token() }()
	n.Until("the pod has asked", func() bool {
		return strings.Contains(in(t, n.ns, "ss", "-Htn", "state", "established", "sport", "=", ":2579"), slow.address)
	})
	n.assigns(slow.pod, green, podid.Assigned)
	if a := <-got; a.of() != green.ID.String() {
		t.Errorf("after MIC has assigned it: %s", a)
	}

	// Another pod of the name is another pod.
	n.gone(slow.pod)
	slow.unplug()
	again := n.pod("slow", bound("green"))
	n.end(15)
	n.start("--retry-attempts-for-created", "2", "--retry-attempts-for-assigned", "1")
	again.token().refused(t, http.StatusNotFound, "in CREATED state failed")

	// What the pod's binding gives no more, it has no more, before MIC takes it away.
	s.create(binding("shop", "brief", "blue"))
	brief := n.pod("brief", bound("brief"))
	n.assigns(brief.pod, blue, podid.Assigned)
	brief.token().gets(t, blue.ID.String())
	s.Must("", "-n", "shop", "delete", "azureidentitybinding", "brief")
	brief.token().refused(t, http.StatusNotFound, "no azure identity found")
}

// Story 31: an identity of another namespace.
func namespaces(t *testing.T, s stage) {
	n := s.node().start("--operation-mode", "managed")
	p := n.cable(n.free()).runs(n.scheduled("web", bound("blue"), func(p *corev1.Pod) { p.Namespace = "other" }))
	n.says(p.pod, corev1.PodRunning, p.address)
	p.token().refused(t, http.StatusNotFound, "no azure identity found for pod:other/web-"+n.name)
	s.create(azureIdentity("other", "mine", green) + binding("other", "mine", "mine", "blue"))
	p.token().gets(t, green.ID.String())
	p.token("client_id", blue.ClientID.String()).refused(t, http.StatusNotFound, "no azure identity found")
	s.Must("", "-n", "other", "delete", "azureidentity", "mine")
	p.token().refused(t, http.StatusNotFound, "no azure identity found")
}
