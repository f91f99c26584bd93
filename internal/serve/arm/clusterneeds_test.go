package arm_test

import (
	"strings"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve/servetest"
)

// Where a cluster's surroundings are: the group web is the caller's, that of the
// network is not.
var (
	netPath = servetest.Subscription.String() + "/resourceGroups/net/providers/"
	subnet  = netPath + "Microsoft.Network/virtualNetworks/vnet/subnets/nodes"
	pods    = netPath + "Microsoft.Network/virtualNetworks/vnet/subnets/pods"
	table   = netPath + "Microsoft.Network/routeTables/rt"
	zone    = netPath + "Microsoft.Network/privateDnsZones/privatelink.westeurope.azmk8s.io"
	disks   = netPath + "Microsoft.Compute/diskEncryptionSets/des"
	kubelet = servetest.Subscription.String() + "/resourceGroups/net/providers/Microsoft.ManagedIdentity/userAssignedIdentities/kubelet"
)

const (
	networkContributor = "4d97b98b-1d4f-4787-a291-c67834d212e7"
	zoneContributor    = "b12aa53e-6015-4669-85d0-8515ebb3ae7f"
	identityOperator   = "f1a07417-d97a-45cb-824c-7a7467783830"
	reader             = "acdd72a7-3385-48ef-bd42-f606fba81ae7"
)

// network puts the surroundings there.
func (h *house) network() {
	other := func(id, typ, properties string) resource.Other {
		h.t.Helper()
		o := resource.Other{Scope: scope.MustParse(id), Type: typ, Name: id[strings.LastIndexByte(id, '/')+1:], Location: "westeurope"}
		var err error
		if o.Properties, err = resource.ParseProperties([]byte(properties)); err != nil {
			h.t.Fatal(err)
		}
		return o
	}
	h.put(
		resource.Group{Scope: scope.MustParse(servetest.Subscription.String() + "/resourceGroups/net"), Name: "net", Location: "westeurope"},
		other(netPath+"Microsoft.Network/virtualNetworks/vnet", "Microsoft.Network/virtualNetworks", `{}`),
		other(subnet, "Microsoft.Network/virtualNetworks/subnets", `{"routeTable":{"id":"`+table+`"}}`),
		other(pods, "Microsoft.Network/virtualNetworks/subnets", `{}`),
		other(table, "Microsoft.Network/routeTables", `{}`),
		other(zone, "Microsoft.Network/privateDnsZones", `{}`),
		other(disks, "Microsoft.Compute/diskEncryptionSets", `{}`),
	)
	if got := h.call(root, "PUT", kubelet+version, `{"location":"westeurope"}`); got.status != 201 {
		h.t.Fatalf("%d %s", got.status, got.text)
	}
}

// grant gives a role at a place.
func (h *house) grant(n int, who principal.ID, what, at string) {
	h.put(azurerbac.Assignment{ID: azurerbac.AssignmentID(servetest.ID(number(n))), Scope: scope.MustParse(at), Principal: who, Role: role(what)})
}

// Story 22: each row is what a new cluster is to use, the roles that its identity has
// there, and what is then missing.
func TestAClusterWhoseIdentityLacksARightIsNotBuilt(t *testing.T) {
	t.Parallel()
	inSubnet := func(id string) string {
		return strings.Replace(pool, `"count":3`, `"count":3,"vnetSubnetID":"`+id+`"`, 1)
	}
	access := func(text string) string { return pool + `,"apiServerAccessProfile":{` + text + `}` }
	const kubenet, overlay = `"networkPlugin":"kubenet"`, `"networkPlugin":"azure"`
	type grants map[string]string
	for _, tt := range []struct {
		law, plugin, parts string
		has                grants
		code, at, action   string
	}{
		{"a subnet without any role", overlay, inSubnet(subnet), nil, "ResourceMissingPermissionError", subnet, "Microsoft.Network/virtualNetworks/subnets/read"},
		{"a subnet that may be read", overlay, inSubnet(subnet), grants{subnet: reader}, "ResourceMissingPermissionError", subnet, "Microsoft.Network/virtualNetworks/subnets/join/action"},
		{"another subnet of the network", overlay, inSubnet(subnet), grants{pods: networkContributor}, "ResourceMissingPermissionError", subnet, "Microsoft.Network/virtualNetworks/subnets/read"},
		{"a subnet that may be joined", overlay, inSubnet(subnet), grants{subnet: networkContributor}, "", "", ""},
		{"a subnet of a network that may be joined", overlay, inSubnet(subnet), grants{strings.TrimSuffix(subnet, "/subnets/nodes"): networkContributor}, "", "", ""},
		{"a subnet of pods", overlay, strings.Replace(inSubnet(subnet), `"vmSize"`, `"podSubnetID":"`+pods+`","vmSize"`, 1), grants{subnet: networkContributor}, "ResourceMissingPermissionError", pods, "Microsoft.Network/virtualNetworks/subnets/read"},
		{"the subnet of the API server", overlay, access(`"subnetId":"` + pods + `"`), grants{pods: reader}, "ResourceMissingPermissionError", pods, "Microsoft.Network/virtualNetworks/subnets/join/action"},
		{"a route table of others, with kubenet", kubenet, inSubnet(subnet), grants{subnet: networkContributor}, "CustomRouteTableMissingPermission", table, "Microsoft.Network/routeTables/read"},
		{"a route table that may be read", kubenet, inSubnet(subnet), grants{subnet: networkContributor, table: reader}, "CustomRouteTableMissingPermission", table, "Microsoft.Network/routeTables/write"},
		{"a route table that may be written", kubenet, inSubnet(subnet), grants{subnet: networkContributor, table: networkContributor}, "", "", ""},
		{"a DNS zone without any role", overlay, access(`"enablePrivateCluster":true,"privateDNSZone":"` + zone + `"`), nil, "CustomPrivateDNSZoneMissingPermissionError", zone, "Microsoft.Network/privateDnsZones/read"},
		{"a DNS zone that may be read", overlay, access(`"enablePrivateCluster":true,"privateDNSZone":"` + zone + `"`), grants{zone: reader}, "CustomPrivateDNSZoneMissingPermissionError", zone, "Microsoft.Network/privateDnsZones/write"},
		{"a DNS zone that may be written", overlay, access(`"enablePrivateCluster":true,"privateDNSZone":"` + zone + `"`), grants{zone: zoneContributor}, "", "", ""},
		{"the zone of the system", overlay, access(`"enablePrivateCluster":true,"privateDNSZone":"system"`), nil, "", "", ""},
		{"no zone", overlay, access(`"enablePrivateCluster":true,"privateDNSZone":"None"`), nil, "", "", ""},
		{"a disk encryption set", overlay, pool + `,"diskEncryptionSetID":"` + disks + `"`, nil, "ResourceMissingPermissionError", disks, "Microsoft.Compute/diskEncryptionSets/read"},
		{"a disk encryption set that may be read", overlay, pool + `,"diskEncryptionSetID":"` + disks + `"`, grants{disks: reader}, "", "", ""},
		{"a kubelet identity", overlay, pool + `,"identityProfile":{"kubeletidentity":{"resourceId":"` + kubelet + `"}}`, grants{kubelet: reader}, "CustomKubeletIdentityMissingPermissionError", kubelet, "Microsoft.ManagedIdentity/userAssignedIdentities/assign/action"},
		{"a kubelet identity that may be assigned", overlay, pool + `,"identityProfile":{"kubeletidentity":{"resourceId":"` + kubelet + `"}}`, grants{kubelet: identityOperator}, "", "", ""},
	} {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			h.network()
			n := 900
			for at, what := range tt.has {
				h.grant(n, servetest.Identity, what, at)
				n++
			}
			before := count(h.store.Current().Records())
			body := `{"location":"westeurope",` + assigned(mi) + `"properties":{"dnsPrefix":"new1","networkProfile":{` + tt.plugin + `},` + tt.parts + `}}`
			got := h.call(root, "PUT", newAKS+version, body)
			if tt.code == "" {
				if got.status != 201 {
					t.Fatalf("%d %s, want it made", got.status, got.text)
				}
				return
			}
			if got.status != 400 || got.code() != tt.code || !strings.Contains(got.text, "Check access result not allowed for action "+tt.action+".") || !strings.Contains(strings.ToLower(got.text), strings.ToLower(tt.at)) {
				t.Errorf("%d %s, want %s at %s for %s", got.status, got.text, tt.code, tt.at, tt.action)
			}
			if now := count(h.store.Current().Records()); now != before {
				t.Errorf("there were %d records before and %d after", before, now)
			}
		})
	}
}

// An identity of the system comes with the cluster, so nothing could be given to it
// before. From the first update on it is asked.
func TestAnIdentityOfTheSystemIsAskedFromItsFirstUpdateOn(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.network()
	put := func(more string) reply {
		h.t.Helper()
		return h.call(root, "PUT", newAKS+version, `{"location":"westeurope",`+system+`"properties":{"dnsPrefix":"new1",`+more+`}}`)
	}
	inSubnet := strings.Replace(pool, `"count":3`, `"count":3,"vnetSubnetID":"`+subnet+`"`, 1)
	if got := put(`"networkProfile":{"networkPlugin":"kubenet"},` + inSubnet); got.status != 400 || got.code() != "CustomRouteTableWithUnsupportedMSIType" {
		t.Errorf("with a route table: %d %s", got.status, got.text)
	}
	if got := put(pool + `,"apiServerAccessProfile":{"privateDNSZone":"` + zone + `"}`); got.status != 400 || !strings.Contains(got.text, "needs a user-assigned identity") {
		t.Errorf("with a DNS zone: %d %s", got.status, got.text)
	}
	if got := put(inSubnet); got.status != 201 {
		t.Fatalf("with a subnet: %d %s", got.status, got.text)
	}
	h.ends(newAt, resource.Failure{})
	if got := put(`"disableLocalAccounts":false`); got.status != 400 || got.code() != "ResourceMissingPermissionError" {
		t.Errorf("an update: %d %s", got.status, got.text)
	}
	h.grant(900, h.cluster(newAt).Identity.Object, networkContributor, subnet)
	if got := put(`"disableLocalAccounts":false`); got.status != 200 {
		t.Errorf("an update with the role: %d %s", got.status, got.text)
	}
}

// Whoever writes a cluster needs to be allowed what he links to it, as in Azure, and is
// told nothing of places of others.
func TestACallerIsAskedForWhatHeLinksToACluster(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.network()
	for n, at := range []string{subnet, zone, disks} {
		h.grant(900+n, servetest.Identity, owner, at)
	}
	body := func(more string) string {
		return `{"location":"westeurope",` + assigned(mi) + `"properties":{"dnsPrefix":"new1",` + more + `}}`
	}
	in := func(id string) string {
		return strings.Replace(pool, `"count":3`, `"count":3,"vnetSubnetID":"`+id+`"`, 1)
	}
	theirs := strings.Replace(subnet, servetest.Subscription.Name(), sub2.Name(), 1)
	h.walk([]step{
		{"a subnet", ownerRG, "PUT", newAKS, body(in(subnet)), 403, "it does not have permission to perform action(s) 'Microsoft.Network/virtualNetworks/subnets/join/action' on the linked scope(s)"},
		{"a disk encryption set", ownerRG, "PUT", newAKS, body(pool + `,"diskEncryptionSetID":"` + disks + `"`), 403, "Microsoft.Compute/diskEncryptionSets/read"},
		{"ARM-07: a subnet of another tenant", ownerRG, "PUT", newAKS, body(in(theirs)), 404, "SubscriptionNotFound"},
		{"a subnet that is not there", root, "PUT", newAKS, body(in(subnet + "2")), 404, "was not found"},
		{"a subnet that is something else", root, "PUT", newAKS, body(in(zone)), 400, "agentPoolProfile.vnetSubnetID"},
		{"ARM-05: a subnet in no form", root, "PUT", newAKS, body(in("../nodes")), 400, "agentPoolProfile.vnetSubnetID"},
		{"a subnet that he may join", root, "PUT", newAKS, body(in(subnet)), 201, `"vnetSubnetID":"` + subnet},
	})
	h.ends(newAt, resource.Failure{})
	h.walk([]step{{"what the cluster has had, he does not link again", ownerRG, "PUT", newAKS, body(in(subnet)), 200, ""}})
}

func count(all func(func(record.Record) bool)) int {
	n := 0
	for range all {
		n++
	}
	return n
}
