package arm_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve/servetest"
)

// An identity is listed with the clusters that are it, for those who may read them.
func TestTheClustersThatUseAnIdentity(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.network()
	h.grant(900, servetest.Identity, identityOperator, kubelet)
	body := clusterBody(assigned(mi), `,"identityProfile":{"kubeletidentity":{"resourceId":"`+kubelet+`"}}`)
	if got := h.call(root, "PUT", newAKS+version, body); got.status != 201 {
		t.Fatalf("%d %s", got.status, got.text)
	}
	h.ends(newAt, resource.Failure{})
	users := func(id string) []string {
		t.Helper()
		got := h.call(contrib, "POST", id+"/listAssociatedResources"+version, "{}")
		var out struct {
			Value []struct{ ID, Name, Type, ResourceGroup, SubscriptionID string }
		}
		if json.Unmarshal([]byte(got.text), &out) != nil || got.status != 200 {
			t.Fatalf("%d %s", got.status, got.text)
		}
		var names []string
		for _, u := range out.Value {
			if !strings.EqualFold(u.ID, newAKS) || u.Type != "Microsoft.ContainerService/managedClusters" || u.ResourceGroup != "web" || u.SubscriptionID != servetest.Subscription.Name() {
				t.Errorf("a user is %+v", u)
			}
			names = append(names, u.Name)
		}
		return names
	}
	for what, id := range map[string]string{"the control plane": mi, "the nodes": kubelet} {
		if got := users(id); !slices.Equal(got, []string{"New-1"}) {
			t.Errorf("%s: the identity is used by %v", what, got)
		}
	}
	h.grant(901, servetest.Faye, identityOperator, mi) // reads identities, and no cluster
	h.grant(902, servetest.Faye, contributor, mi)
	if got := h.call(servetest.Faye, "POST", mi+"/listAssociatedResources"+version, "{}"); got.status != 200 || strings.Contains(got.text, "New-1") {
		t.Errorf("ARM-07: for whoever may not read the cluster: %d %s", got.status, got.text)
	}
	// Another identity in the place of one that is gone is nobody's.
	old, _ := h.store.Current().ManagedIdentity(servetest.Identity)
	if got := h.call(root, "DELETE", mi+version, ""); got.status != 200 {
		t.Fatalf("%d %s", got.status, got.text)
	}
	next := old
	next.ID, next.ClientID = principal.NewID(), directory.NewAppID()
	h.put(next)
	if got := users(mi); len(got) != 0 {
		t.Errorf("the next identity of the name is used by %v", got)
	}
}

// What a resource is by itself is found at its place, while it is there.
func TestTheIdentityOfTheSystemIsFoundAtItsResource(t *testing.T) {
	t.Parallel()
	h := made(t, system, "")
	c := h.cluster(newAt)
	m, _ := h.store.Current().ManagedIdentity(c.Identity.Object)
	const at = "/providers/Microsoft.ManagedIdentity/identities/"
	got := h.call(contrib, "GET", newAKS+at+"default"+version, "")
	var out struct {
		ID, Name, Type, Location string
		Properties               map[string]string
	}
	if json.Unmarshal([]byte(got.text), &out) != nil || got.status != 200 {
		t.Fatalf("%d %s", got.status, got.text)
	}
	want := map[string]string{"principalId": m.ID.String(), "clientId": m.ClientID.String(), "tenantId": servetest.Tenant.String()}
	if !strings.EqualFold(out.ID, newAKS+at+"default") || out.Name != "default" || out.Type != "Microsoft.ManagedIdentity/identities" || out.Location != "westeurope" || !maps.Equal(out.Properties, want) {
		t.Errorf("it is %s", got.text)
	}
	h.walk([]step{
		{"under another name", contrib, "GET", newAKS + at + "other", "", 404, "ResourceNotFound"},
		{"of a cluster that has none of the system", contrib, "GET", servetest.AKS1.String() + at + "default", "", 404, "ResourceNotFound"},
		{"of a user-assigned identity", contrib, "GET", mi + at + "default", "", 404, "ResourceNotFound"},
		{"AZ-14: for whoever may not read it", servetest.Faye, "GET", newAKS + at + "default", "", 403, "Microsoft.ManagedIdentity/identities/read"},
		{"another identity takes its place", ownerRG, "PUT", newAKS, `{"location":"westeurope",` + assigned(mi) + `"properties":{}}`, 200, ""},
		{"it is gone", contrib, "GET", newAKS + at + "default", "", 404, "ResourceNotFound"},
	})
	h.ends(newAt, resource.Failure{})
}

func TestClustersAreListedWithTheirTagsAndIdentity(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	if got := h.call(contrib, "PUT", newAKS+version, strings.Replace(clusterBody(system, ""), `{"location"`, `{"tags":{"team":"web"},"location"`, 1)); got.status != 201 {
		t.Fatalf("%d %s", got.status, got.text)
	}
	identity := h.cluster(scope.MustParse(newAKS)).Identity.Object.String()
	for law, filter := range map[string]string{"by its tag": "tagName+eq+'team'+and+tagValue+eq+'web'", "by its type": "resourceType+eq+'Microsoft.ContainerService/managedClusters'"} {
		got := h.call(contrib, "GET", servetest.Subscription.String()+"/resources"+version+"&$filter="+filter, "")
		if got.status != 200 || !strings.Contains(got.text, `"tags":{"team":"web"}`) || !strings.Contains(got.text, identity) {
			t.Errorf("%s: %d %s", law, got.status, got.text)
		}
	}
}
