package arm_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/sample"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve/servetest"
)

// belongings are what a cluster has of its own, without names and ids that differ from
// one cluster to another: its node resource group, its identities, and what they may do.
func belongings(est *estate.Snapshot, c resource.Cluster) []string {
	plain := func(text string) string {
		return strings.NewReplacer(strings.ToLower(c.Name), "NAME", c.Name, "NAME", strings.ToLower(c.ResourceGroup), "GROUP", c.ResourceGroup, "GROUP", subscriptionOf(c.Scope), "SUB").Replace(text)
	}
	g, _ := est.ResourceGroup(c.NodeGroup())
	all := []string{plain("group " + g.Name + " " + g.Location + " " + g.ManagedBy)}
	what := make(map[string]string)
	for _, ref := range c.Identities() {
		m, ok := est.ManagedIdentity(ref.Object)
		if !ok {
			all = append(all, "an identity that is not there: "+ref.Object.String())
			continue
		}
		what[m.ID.String()] = plain(m.DisplayName)
		if c.NodeGroup().Contains(m.Resource) || m.SystemAssigned {
			all = append(all, plain(fmt.Sprintf("identity %s at %s in %s, of the system: %t", m.DisplayName, m.Resource, m.Location, m.SystemAssigned)))
		}
	}
	for _, a := range est.AssignmentsAt(c.NodeGroup()) {
		all = append(all, plain(fmt.Sprintf("right of %s: %s, %s, %q", what[a.Principal.String()], a.Role, a.PrincipalType, a.Description)))
	}
	slices.Sort(all)
	return all
}

func subscriptionOf(at scope.Scope) string { sub, _ := at.Subscription(); return sub.Name() }

// The clusters of the sample have what clusters have that are made here: the same
// identities in the same places, with the same rights and no others.
func TestTheSampleHasWhatClustersGet(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	const control = "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/uaiaks1"
	h.walk([]step{{"an identity for a control plane", contrib, "PUT", servetest.Group.String() + control, `{"location":"westeurope"}`, 201, ""}})
	for name, identity := range map[string]string{"aks-1": assigned(servetest.Group.String() + control), "aks-2": system, "aks-3": system} {
		c, ok := sample.Estate().Cluster(scopeOf(sample.Subscription + "/resourceGroups/rsg-aksIdentityState" + name[4:] + "/providers/Microsoft.ContainerService/managedClusters/" + name))
		if !ok {
			t.Fatalf("the sample has no %s", name)
		}
		addons := make([]string, 0, len(c.Addons))
		for addon := range c.Addons {
			addons = append(addons, `"`+addon+`":{"enabled":true}`)
		}
		at := servetest.Group.String() + "/providers/Microsoft.ContainerService/managedClusters/made-" + name
		body := strings.NewReplacer(`"addonProfiles":{}`, `"addonProfiles":{`+strings.Join(addons, ",")+`}`, `"dnsPrefix":"new1"`, `"dnsPrefix":"made-`+name+`"`).Replace(clusterBody(identity, ""))
		if got := h.call(contrib, "PUT", at+version, body); got.status != 201 {
			t.Fatalf("PUT = %d %s", got.status, got.text)
		}
		made := h.cluster(scopeOf(at))
		if diff := cmp.Diff(belongings(h.store.Current(), made), belongings(sample.Estate(), c)); diff != "" {
			t.Errorf("%s (-as made, +in the sample):\n%s", name, diff)
		}
		if made.Identity.Type != c.Identity.Type || c.KubeletIdentity.IsZero() || len(made.Addons) != len(c.Addons) {
			t.Errorf("%s: %+v, made is %+v", name, c.Identity, made.Identity)
		}
	}
}
