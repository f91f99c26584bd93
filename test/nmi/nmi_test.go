// Package nmi_test tries the node agent of pod identity where it works: in network
// namespaces with real cables and nftables, against a real API server and a house.
//
// The tests are the kubelet and MIC: they write what those would write into the API
// server, and start a process in each pod's namespace and control group.
package nmi_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/guid"
	"github.com/gatehouse-io/gatehouse/internal/podid"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/test/plane"
)

const operator = "f1a07417-d97a-45cb-824c-7a7467783830" // Managed Identity Operator

func idOf[T ~[16]byte](text string) T { return T(guid.MustParse[struct{}](text)) }

func identity(n int, name string) directory.ManagedIdentity {
	return directory.ManagedIdentity{
		ID: idOf[principal.ID](fmt.Sprintf("70000000-0000-4000-8000-%012d", n)), ClientID: idOf[directory.AppID](fmt.Sprintf("71000000-0000-4000-8000-%012d", n)),
		Tenant: plane.Tenant.ID, DisplayName: name, Resource: scope.MustParse(plane.Group + "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/" + name),
	}
}

// The identities. The kubelet identity may assign blue and green, and not red.
var (
	kubelet = identity(1, "kubelet")
	blue    = identity(2, "blue")
	green   = identity(3, "green")
	red     = identity(4, "red")
)

func operates(n int, at directory.ManagedIdentity) azurerbac.Assignment {
	return azurerbac.Assignment{ID: idOf[azurerbac.AssignmentID](fmt.Sprintf("72000000-0000-4000-8000-%012d", n)), Scope: at.Resource, Principal: kubelet.ID, Role: idOf[azurerbac.DefinitionID](operator)}
}

// newStage starts a house with a cluster.
func newStage(t testing.TB) stage {
	t.Helper()
	if why := missing(); why != "" {
		if os.Getenv("CI") == "true" {
			t.Fatal(why)
		}
		t.Skip(why)
	}
	sweep()
	p := plane.Start(t, plane.Options{Records: []record.Record{kubelet, blue, green, red, operates(1, blue), operates(2, green)}})
	p.Change(func(c *resource.Cluster) {
		c.KubeletIdentity = resource.IdentityRef{Resource: kubelet.Resource, Object: kubelet.ID}
	})
	s := stage{Plane: p, core: coreOf(t, p.Kubeconfig(p.Token())), nodes: new(atomic.Int64), server: host(t, p.Cluster().Endpoint), house: host(t, p.House.Authority())}
	s.create(kinds())
	s.create(rights(t))
	for _, ns := range []string{"shop", "other"} {
		s.Must("", "create", "namespace", ns)
	}
	s.Until("the service accounts are there", func() bool {
		_, err := s.core.ServiceAccounts("shop").Get(t.Context(), "default", metav1.GetOptions{})
		_, other := s.core.ServiceAccounts("other").Get(t.Context(), "default", metav1.GetOptions{})
		return err == nil && other == nil
	})
	s.Must("", "wait", "--for=condition=Established", "crd/azureidentities.aadpodidentity.k8s.io", "crd/azureidentitybindings.aadpodidentity.k8s.io",
		"crd/azurepodidentityexceptions.aadpodidentity.k8s.io", "crd/azureassignedidentities.aadpodidentity.k8s.io")
	for _, mi := range []directory.ManagedIdentity{blue, green, red} {
		s.create(azureIdentity("shop", mi.DisplayName, mi) + binding("shop", mi.DisplayName, mi.DisplayName))
	}
	s.create(binding("shop", "both-blue", "blue", "both") + binding("shop", "both-green", "green", "both"))
	s.create("---\napiVersion: aadpodidentity.k8s.io/v1\nkind: AzurePodIdentityException\nmetadata: {name: addons, namespace: shop}\nspec: {podLabels: {excepted: \"yes\"}}\n")
	return s
}

// kinds are the kinds of pod identity, with schemas that let everything pass: what
// the API server would refuse, the agent has to refuse as well.
func kinds() string {
	var out strings.Builder
	for plural, kind := range map[string]string{podid.Identities: "AzureIdentity", podid.Bindings: "AzureIdentityBinding",
		podid.AssignedIdentities: "AzureAssignedIdentity", podid.Exceptions: "AzurePodIdentityException"} {
		fmt.Fprintf(&out, "---\napiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: %[1]s.%[3]s, annotations: {api-approved.kubernetes.io: \"unapproved, as upstream\"}}\nspec:\n  group: %[3]s\n  scope: Namespaced\n"+
			"  names: {kind: %[2]s, plural: %[1]s, singular: %[4]s}\n  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]\n",
			plural, kind, podid.Group, strings.ToLower(kind))
	}
	return out.String()
}

func host(t testing.TB, raw string) string {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}

func azureIdentity(ns, name string, mi directory.ManagedIdentity) string {
	return fmt.Sprintf("---\napiVersion: aadpodidentity.k8s.io/v1\nkind: AzureIdentity\nmetadata: {name: %s, namespace: %s}\nspec: {type: 0, resourceID: %s, clientID: %s}\n", name, ns, mi.Resource, mi.ClientID)
}

// binding gives an identity to the pods with a selector, which is its name by default.
func binding(ns, name, identity string, selector ...string) string {
	return fmt.Sprintf("---\napiVersion: aadpodidentity.k8s.io/v1\nkind: AzureIdentityBinding\nmetadata: {name: %s, namespace: %s}\nspec: {azureIdentity: %s, selector: %s}\n", name, ns, identity, append(selector, name)[0])
}

func bound(selector string) map[string]string { return map[string]string{podid.BindingLabel: selector} }

// figures is the one that is tried alone.
const figures = "a thousand pods at once"

func TestPodIdentity(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	for _, tt := range []struct {
		law string
		try func(*testing.T, stage)
	}{
		{"story 30: a pod gets its identity's token and no other", ownIdentity},
		{"story 30: with MIC, a pod gets what is assigned to it", standard},
		{"story 31: who is refused, and who is passed through", others},
		{"story 31: an identity of another namespace is not a pod's", namespaces},
		{"there is one way to ask, and nothing is passed on", oneWayToAsk},
		{"a pod that asks too much is told to come later", pace},
		{"what the agent leaves behind, and what root of the node may ask", host0600},
		{"the rules stay, whatever becomes of the agent", rulesStay},
		{"an agent that cannot do its work lets nothing by", neverOpen},
		{"a metadata service that is on the node", onTheNode},
		{"the node itself", nodeItself},
		{"a forged source is not answered", forgedSource},
		{"a bridge is refused", bridges},
		{"IPv6", sixes},
		{"an address goes from pod to pod", addressReuse},
		{"what is no pod of an address", notThatPod},
		{"outages", outages},
		{"what is taken away is gone at the next request", atOnce},
		{"a stolen token of an agent", stolen},
		{figures, thousand},
	} {
		t.Run(tt.law, func(t *testing.T) {
			if tt.law != figures {
				t.Parallel()
			}
			tt.try(t, s.in(t))
		})
	}
}

// PI-09.
func ownIdentity(t *testing.T, s stage) {
	n := s.node().start("--operation-mode", "managed")
	web := n.pod("web", bound("blue"))
	web.token().gets(t, blue.ID.String())
	web.token("client_id", blue.ClientID.String()).gets(t, blue.ID.String())
	web.token("msi_res_id", strings.ToUpper(blue.Resource.String())).gets(t, blue.ID.String())
	web.token("object_id", blue.ID.String()).gets(t, blue.ID.String())
	for name, value := range map[string]string{"client_id": green.ClientID.String(), "msi_res_id": green.Resource.String(), "object_id": green.ID.String()} {
		if a := web.token(name, value); a.of() != "" || a.status < 400 {
			t.Errorf("%s of another identity: %s", name, a)
		}
	}
	web.token("client_id", green.ClientID.String()).refused(t, 404, "no azure identity found for request client_id "+green.ClientID.String())

	both := n.pod("both", bound("both"))
	both.token().gets(t, blue.ID.String()) // the first by name
	both.token("client_id", green.ClientID.String()).gets(t, green.ID.String())
	both.token("object_id", green.ID.String()).gets(t, green.ID.String())
	both.token("client_id", red.ClientID.String()).refused(t, 404, "no azure identity found")

	var body map[string]string
	if err := json.Unmarshal([]byte(web.token().body), &body); err != nil || body["token_type"] != "Bearer" || body["resource"] != resourceManager || body["client_id"] != blue.ClientID.String() {
		t.Errorf("%v, %v", body, err)
	}
	n.pod("red", bound("red")).token().refused(t, 403, "Give it the role Managed Identity Operator there")
}

// PI-03.
func others(t *testing.T, s stage) {
	n := s.node().start("--operation-mode", "managed")
	n.pod("plain", nil).token().refused(t, 404, "no azure identity found for pod:shop/plain-"+n.name)
	n.pod("unknown", bound("nobody")).token().refused(t, 404, "no azure identity found")

	excepted := n.pod("excepted", map[string]string{podid.BindingLabel: "blue", "excepted": "yes"})
	excepted.token().gets(t, kubelet.ID.String())
	excepted.token("client_id", blue.ClientID.String()).refused(t, 403, "Identity not found")

	// A pod on its host's network is nobody's, even behind a cable, and excepted or not.
	for i, labels := range []map[string]string{bound("blue"), {"excepted": "yes"}, {podid.BindingLabel: "blue", "excepted": "yes"}} {
		address := fmt.Sprintf("10.250.0.%d", 1+i)
		onHost := n.scheduled(fmt.Sprintf("on-host-%d", i), labels, func(p *corev1.Pod) { p.Spec.HostNetwork = true })
		n.says(onHost, corev1.PodRunning, address)
		p := n.cable(address).runs(onHost)
		p.token().refused(t, 404, "no running pod of node "+n.name+" has the address "+address)
		p.token("client_id", kubelet.ClientID.String()).refused(t, 404, "no running pod of node")
	}

	web := n.pod("web", bound("blue"))
	plain := n.pod("other", nil)
	for _, header := range []string{"X-Forwarded-For", "Forwarded", "X-Real-IP", "True-Client-IP", "X-Original-Forwarded-For", "podns", "podname"} {
		if a := plain.ask(tokenURL(), "Metadata", "true", header, web.address); a.of() != "" || a.status < 400 {
			t.Errorf("%s: %s", header, a)
		}
	}
}
