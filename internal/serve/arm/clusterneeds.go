package arm

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve"
)

// What a cluster needs outside of its own resource group, and who has to be allowed
// it: the caller, as for every resource that a body links to, and the identity that
// the control plane is, before anything is built (story 22).

// Operations that it takes.
const (
	readSubnet  = "Microsoft.Network/virtualNetworks/subnets/read"
	joinSubnet  = "Microsoft.Network/virtualNetworks/subnets/join/action"
	joinBalance = "Microsoft.Network/virtualNetworks/subnets/joinLoadBalancer/action"
	readZone    = "Microsoft.Network/privateDnsZones/read"
	writeZone   = "Microsoft.Network/privateDnsZones/write"
	readRoutes  = "Microsoft.Network/routeTables/read"
	writeRoutes = "Microsoft.Network/routeTables/write"
	readDisks   = "Microsoft.Compute/diskEncryptionSets/read"
)

// A link is a resource that a cluster is told to use, and what the caller must be
// allowed there to name it.
type link struct {
	at           scope.Scope
	what, action string
}

// surroundings are the resources that a cluster is told to use, as its properties
// name them.
type surroundings struct {
	subnets   []link // of nodes and of pods
	apiServer []link // the subnet of the API server
	zones     []link // for the name of a private API server
	disks     []link // what encrypts the nodes' disks
	kubenet   bool
}

func (s surroundings) all() []link { return slices.Concat(s.subnets, s.apiServer, s.zones, s.disks) }

// surroundingsOf reads the surroundings out of the properties of a cluster.
func surroundingsOf(properties resource.Properties) (s surroundings, err error) {
	var p struct {
		Pools []struct {
			Nodes string `json:"vnetSubnetID"`
			Pods  string `json:"podSubnetID"`
		} `json:"agentPoolProfiles"`
		Access struct {
			Zone   string `json:"privateDNSZone"`
			Subnet string `json:"subnetId"`
		} `json:"apiServerAccessProfile"`
		Network struct {
			Plugin string `json:"networkPlugin"`
		} `json:"networkProfile"`
		Disks string `json:"diskEncryptionSetID"`
	}
	// In whatever letter case a client writes the names: Azure takes any.
	if err := json.Unmarshal([]byte(properties.String()), &p, json.MatchCaseInsensitiveNames(true)); err != nil {
		return s, badContent(err)
	}
	s.kubenet = strings.EqualFold(p.Network.Plugin, "kubenet")
	add := func(to *[]link, what, text, typ, action string) {
		if text == "" || err != nil {
			return
		}
		at, e := scope.Parse(text)
		if e != nil || at.Type() != lowerASCII(typ) {
			err = badParameter(what, fmt.Sprintf("'%s' is not the id of a resource of type %s.", serve.Printable(text, 200), typ))
		} else if l := (link{at, what, action}); !slices.Contains(*to, l) {
			*to = append(*to, l)
		}
	}
	const subnet, zone, set = "Microsoft.Network/virtualNetworks/subnets", "Microsoft.Network/privateDnsZones", "Microsoft.Compute/diskEncryptionSets"
	for _, pool := range p.Pools {
		add(&s.subnets, "agentPoolProfile.vnetSubnetID", pool.Nodes, subnet, joinSubnet)
		add(&s.subnets, "agentPoolProfile.podSubnetID", pool.Pods, subnet, joinSubnet)
	}
	add(&s.apiServer, "apiServerAccessProfile.subnetId", p.Access.Subnet, subnet, joinSubnet)
	if name := strings.ToLower(p.Access.Zone); name != "system" && name != "none" {
		add(&s.zones, "apiServerAccessProfile.privateDNSZone", p.Access.Zone, zone, "")
	}
	add(&s.disks, "diskEncryptionSetID", p.Disks, set, readDisks)
	return s, err
}

// around returns what the next cluster uses. What the old one did not use must be
// there, and the caller be allowed to name it.
func (d *draft) around() (surroundings, error) {
	s, err := surroundingsOf(d.next.Properties)
	if err != nil {
		return s, err
	}
	old, _ := surroundingsOf(d.old.Properties) // what cannot be read is used by nobody
	before := old.all()
	for _, l := range s.all() {
		if slices.Contains(before, l) {
			continue
		}
		if err := d.reach(l.at); err != nil {
			return s, err
		}
		if l.action != "" {
			if err := d.mayLink(l.action, l.at); err != nil {
				return s, err
			}
		}
		if _, there := d.est.Resource(l.at); !there {
			return s, d.notThere(l.at)
		}
	}
	return s, nil
}

// mayLink refuses a caller who may write the cluster, and may not do what it takes to
// name another resource in it.
func (d *draft) mayLink(action string, at scope.Scope) error {
	if d.may(action, at) {
		return nil
	}
	return serve.Refuse(http.StatusForbidden, "LinkedAuthorizationFailed", fmt.Sprintf(
		"The client '%s' with object id '%s' has permission to perform action '%s/write' on scope '%s'; however, it does not have permission to perform action(s) '%s' on the linked scope(s) '%s' (respectively) or the linked scope(s) are invalid.",
		d.caller.Name, d.caller.ID, clusterType, d.idOf(d.r.at, d.next.Name), action, d.spell(at)))
}

// linked returns a user-assigned identity that the caller may assign. As in Azure,
// that is asked before whether there is one, and each time that it is named.
func (d *draft) linked(at scope.Scope) (directory.ManagedIdentity, error) {
	if err := d.reach(at); err != nil {
		return directory.ManagedIdentity{}, err
	}
	if err := d.mayLink(serve.AttachIdentity, at); err != nil {
		return directory.ManagedIdentity{}, err
	}
	id, ok := d.identity(at)
	if !ok {
		return directory.ManagedIdentity{}, d.notThere(at)
	}
	return id, nil
}

// routes are the route tables of the subnets of a cluster that writes into them.
func (d *draft) routes(s surroundings) (tables []link) {
	for _, subnet := range s.subnets {
		o, _ := d.est.Resource(subnet.at)
		var p struct {
			Table struct {
				ID string `json:"id"`
			} `json:"routeTable"`
		}
		if !s.kubenet || json.Unmarshal([]byte(o.Properties.String()), &p) != nil {
			continue
		}
		if at, err := scope.Parse(p.Table.ID); err == nil && at.Type() == "microsoft.network/routetables" {
			tables = append(tables, link{at: at})
		}
	}
	return tables
}

// preflight refuses a cluster whose identity lacks a right that it will need, before
// anything is made, by the estate that decisions are made by. An identity of the
// system comes with its cluster: nobody could have given it anything before, so it is
// asked from the first update on, and what cannot wait until then is refused.
func (d *draft) preflight() error {
	s, err := d.around()
	if err != nil {
		return err
	}
	routes := d.routes(s)
	control := d.next.Identity
	if control.Type == resource.SystemAssigned && control.Object != d.old.Identity.Object {
		switch {
		case len(s.zones) > 0:
			return badParameter(s.zones[0].what, "A private DNS zone of one's own needs a user-assigned identity or a service principal, which is given Private DNS Zone Contributor on it before. Please see https://aka.ms/aks/private-clusters for more details.")
		case len(routes) > 0:
			return serve.Refuse(http.StatusBadRequest, "CustomRouteTableWithUnsupportedMSIType",
				"Clusters using managed identity type SystemAssigned do not support bringing your own route table. Please see https://aka.ms/aks/customrt for more information")
		}
		return nil
	}
	const (
		missing = "ResourceMissingPermissionError"
		text    = "Service principal or user-assigned identity must be given certain permissions to resource %[1]s."
		kubelet = "The cluster using user-assigned managed identity must be granted 'Managed Identity Operator' role to assign kubelet identity. You can run 'az role assignment create --assignee %[2]s --role 'Managed Identity Operator' --scope %[1]s' to grant the permission."
		zone    = "Service principal or user-assigned identity must be given permission to read and write to custom private dns zone %[1]s."
		table   = "Managed identity or service principle must be given permission to read and write to custom route table %[1]s. Please see https://aka.ms/aks/customrt for more information."
	)
	for _, n := range []struct {
		at         []link
		code, text string
		actions    []string
	}{
		{d.broughtKubelet(), "CustomKubeletIdentityMissingPermissionError", kubelet, []string{serve.AttachIdentity}},
		{s.zones, "CustomPrivateDNSZoneMissingPermissionError", zone, []string{readZone, writeZone}},
		{s.subnets, missing, text, []string{readSubnet, joinSubnet}},
		{s.apiServer, missing, text, []string{readSubnet, joinSubnet, joinBalance}},
		{routes, "CustomRouteTableMissingPermission", table, []string{readRoutes, writeRoutes}},
		{s.disks, missing, text, []string{readDisks}},
	} {
		for _, l := range n.at {
			for _, action := range n.actions {
				if !(serve.Operation{Action: action, At: l.at}).Allowed(d.law, control.Object, d.now) {
					return serve.Refuse(http.StatusBadRequest, n.code, fmt.Sprintf(n.text, d.spell(l.at), control.Object)+" Check access result not allowed for action "+action+".")
				}
			}
		}
	}
	return nil
}

// broughtKubelet is a kubelet identity that the cluster did not make.
func (d *draft) broughtKubelet() []link {
	at := d.next.KubeletIdentity.Resource
	if at.IsZero() || d.next.NodeGroup().Contains(at) {
		return nil
	}
	return []link{{at: at}}
}
