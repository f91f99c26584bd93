package arm

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve"
)

type identityGiven struct {
	Type         string                    `json:"type"`
	UserAssigned map[string]jsontext.Value `json:"userAssignedIdentities"`
}

// identities reads what the control plane and the nodes are. An identity that is
// named needs the right to assign it; one that is not is made.
func (d *draft) identities(in *identityGiven) error {
	var sp struct {
		ClientID string `json:"clientId"`
		// The secret is taken and forgotten: the house never acts as the program.
		Secret string `json:"secret"`
	}
	if _, err := d.part("servicePrincipalProfile", &sp); err != nil {
		return err
	}
	if strings.EqualFold(sp.ClientID, "msi") {
		sp.ClientID = ""
	}
	var err error
	switch {
	case in != nil && !strings.EqualFold(in.Type, "None"):
		err = d.assign(in)
	case sp.ClientID != "":
		err = d.actAs(sp.ClientID)
	case !d.exists:
		return missing("servicePrincipalProfile")
	}
	if err != nil {
		return err
	}
	var profile map[string]identityShown
	if _, err := d.part("identityProfile", &profile); err != nil {
		return err
	}
	kubelet, named := profile["kubeletidentity"]
	if !named || kubelet.ResourceID == "" {
		return nil
	}
	at, err := scope.Parse(kubelet.ResourceID)
	if err != nil {
		return badParameter("identityProfile.kubeletidentity.resourceId", "It is not the id of a user-assigned identity.")
	}
	if at == d.old.KubeletIdentity.Resource {
		return nil
	}
	id, err := d.linked(at)
	if err != nil {
		return err
	}
	if d.next.Identity.Type != resource.UserAssigned {
		return serve.Refuse(http.StatusBadRequest, "CustomKubeletIdentityOnlySupportedOnUserAssignedMSICluster", "Custom kubelet identity is only supported on user assigned MSI cluster.")
	}
	d.next.KubeletIdentity = resource.IdentityRef{Resource: id.Resource, Object: id.ID}
	return nil
}

// assign reads a managed identity of the control plane.
func (d *draft) assign(in *identityGiven) error {
	switch {
	case strings.EqualFold(in.Type, string(resource.SystemAssigned)):
		if d.old.Identity.Type != resource.SystemAssigned {
			d.next.Identity = resource.ControlIdentity{Type: resource.SystemAssigned, Object: principal.ID(d.r.mint("control plane"))}
		}
		return nil
	case !strings.EqualFold(in.Type, string(resource.UserAssigned)):
		return badParameter("identity.type", "It is SystemAssigned or UserAssigned.")
	case len(in.UserAssigned) != 1:
		return badParameter("identity.userAssignedIdentities", "A cluster has exactly one user-assigned identity.")
	}
	for text := range in.UserAssigned {
		at, err := scope.Parse(text)
		if err != nil || at.Type() != strings.ToLower(identityType) {
			return badParameter("identity.userAssignedIdentities", fmt.Sprintf("'%s' is not the id of a user-assigned identity.", serve.Printable(text, 200)))
		}
		if _, there := d.identity(at); !there && d.old.Identity.Resource == at {
			return nil // it is gone, and the cluster goes on naming it
		}
		id, err := d.linked(at)
		if err != nil {
			return err
		}
		d.next.Identity = resource.ControlIdentity{Type: resource.UserAssigned, Resource: id.Resource, Object: id.ID}
	}
	return nil
}

// actAs reads a service principal of the control plane.
func (d *draft) actAs(client string) error {
	var app directory.AppID
	if err := app.UnmarshalText([]byte(client)); err != nil || app.IsZero() {
		return badParameter("servicePrincipalProfile.clientId", "It is not the id of an application.")
	}
	if t := d.old.Identity.Type; t == resource.SystemAssigned || t == resource.UserAssigned {
		return serve.Refuse(http.StatusBadRequest, "BadRequest", "A cluster with a managed identity cannot go back to a service principal.")
	}
	sp, ok := d.est.ServicePrincipalOf(d.tenant, app)
	if !ok {
		return serve.Refuse(http.StatusBadRequest, "ServicePrincipalNotFound", fmt.Sprintf("Service principal clientID: %s not found in Active Directory tenant %s.", app, d.tenant))
	}
	d.next.Identity = resource.ControlIdentity{Type: resource.ServicePrincipal, Application: app, Object: sp.ID}
	return nil
}

var poolName = regexp.MustCompile(`^[a-z][a-z0-9]{0,11}$`)

// readOnlyOfPools are the members of an agent pool that a client reads and cannot
// write (ARM-09).
var readOnlyOfPools = []string{"provisioningState", "powerState", "currentOrchestratorVersion", "nodeImageVersion"}

// pools checks the agent pools, which are kept as they are.
func (d *draft) pools() error {
	var list []members
	text, there := d.rest["agentPoolProfiles"]
	if !there || text.Kind() == 'n' {
		if !d.exists {
			return missing("agentPoolProfiles")
		}
		return nil
	}
	if err := json.Unmarshal(text, &list); err != nil {
		return badContent(fmt.Errorf("agentPoolProfiles: %w", err))
	}
	names := make(map[string]bool)
	system := false
	for _, p := range list {
		name := p.text("name")
		if !poolName.MatchString(name) || names[name] {
			return badParameter("agentPoolProfile.name", fmt.Sprintf("'%s' is not a name of its own of 1 to 12 lower-case letters and digits that begins with a letter. Please see https://aka.ms/aks-naming-rules for more details.", serve.Printable(name, 40)))
		}
		names[name] = true
		system = system || p.text("mode") == "System"
		for _, name := range readOnlyOfPools {
			delete(p, name)
		}
	}
	d.rest.set("agentPoolProfiles", list)
	if !system {
		return badParameter("agentPoolProfiles", "There has to be at least one system agent pool.")
	}
	return nil
}

// addons reads the add-ons. Which one each identity is, the house says (ARM-09).
func (d *draft) addons() error {
	var in map[string]*struct {
		Enabled bool                `json:"enabled"`
		Config  resource.Properties `json:"config"`
	}
	there, err := d.part("addonProfiles", &in)
	if err != nil || !there {
		return err
	}
	next := make(map[string]resource.Addon)
	for name, a := range in {
		if a == nil {
			continue
		}
		for other := range next {
			if sameName(other, name) {
				return badParameter("addonProfiles", fmt.Sprintf("The add-on '%s' is there twice.", serve.Printable(name, 40)))
			}
		}
		addon := resource.Addon{Enabled: a.Enabled, Config: a.Config}
		for was, old := range d.old.Addons {
			if sameName(was, name) && a.Enabled {
				addon.Identity = old.Identity
			}
		}
		next[name] = addon
	}
	d.next.Addons = next
	if len(next) == 0 {
		d.next.Addons = nil
	}
	return nil
}

// belongings makes what a cluster has of its own, in its node resource group, and
// takes away what it no longer has. It fills in the references to it.
func (d *draft) belongings() []estate.Op {
	b := &belongings{d: d, group: d.next.NodeGroup()}
	c := &d.next
	if !d.exists {
		b.put(resource.Group{Scope: b.group, Name: c.NodeResourceGroup, Location: c.Location, ManagedBy: d.idOf(c.Scope, c.Name)})
	}
	if _, there := d.est.ResourceGroup(b.group); !there && d.exists {
		b.group = scope.Scope{} // a cluster without one, or whose group somebody deleted
	}
	if c.Identity.Type == resource.SystemAssigned && d.old.Identity.Object != c.Identity.Object {
		b.put(directory.ManagedIdentity{
			ID: c.Identity.Object, ClientID: directory.AppID(d.r.mint("control plane client")), Tenant: d.tenant,
			Resource: c.Scope, SystemAssigned: true, DisplayName: c.Name, Location: c.Location,
		})
	}
	if c.Identity.Type != resource.ServicePrincipal { // which its nodes and add-ons are as well
		b.ofNodes()
	}
	b.rights()
	b.lock()
	b.dropped()
	return b.ops
}

type belongings struct {
	d     *draft
	group scope.Scope // no place when the cluster has none
	ops   []estate.Op
}

func (b *belongings) put(r record.Record) { b.ops = append(b.ops, estate.Op{Put: r}) }

// make makes an identity in the node resource group. One that is there under its name
// is somebody else's, who may have seen to it that he can sign in as it, and would get
// what the cluster's is given: the estate refuses two at one place.
func (b *belongings) make(name string) resource.IdentityRef {
	if b.group.IsZero() {
		return resource.IdentityRef{}
	}
	at, err := scope.Parse(b.group.String() + "/providers/" + identityType + "/" + name)
	if err != nil {
		return resource.IdentityRef{} // no name of a cluster is so odd
	}
	id := directory.ManagedIdentity{
		ID: principal.ID(b.d.r.mint(name)), ClientID: directory.AppID(b.d.r.mint(name + " client")), Tenant: b.d.tenant,
		Resource: at, DisplayName: name, Location: b.d.next.Location,
	}
	b.put(id)
	return resource.IdentityRef{Resource: at, Object: id.ID}
}

// ofNodes makes the identities of the nodes and add-ons that have none yet.
func (b *belongings) ofNodes() {
	c := &b.d.next
	if c.KubeletIdentity.IsZero() {
		c.KubeletIdentity = b.make(c.Name + "-agentpool")
	}
	for _, name := range addonNames(*c) {
		a := c.Addons[name]
		if _, has := azurerbac.AddonRoles(name); has && a.Enabled && a.Identity.IsZero() {
			a.Identity = b.make(strings.ToLower(name) + "-" + c.Name)
			c.Addons[name] = a
		}
	}
}

// lockName is how the lock of a node resource group is called.
const lockName = "Node resource group of a cluster"

// lock lets nobody but the control plane change what is in the node resource group.
func (b *belongings) lock() {
	if b.group.IsZero() {
		return
	}
	for d := range b.d.est.DenyAssignments() {
		if d.Scope == b.group && d.Name == lockName && d.SystemProtected {
			if b.d.next.LockNodeResourceGroup && slices.Equal(d.ExcludePrincipals, []principal.ID{b.d.next.Identity.Object}) {
				return
			}
			b.ops = append(b.ops, estate.Op{Delete: d.Key()})
		}
	}
	if !b.d.next.LockNodeResourceGroup {
		return
	}
	b.put(azurerbac.DenyAssignment{
		ID: azurerbac.DenyAssignmentID(b.d.r.mint("lock")), Name: lockName, Scope: b.group, Everyone: true, SystemProtected: true,
		Description:       "made by cluster " + b.d.next.Name + ", whose nodeResourceGroupProfile.restrictionLevel is ReadOnly",
		ExcludePrincipals: []principal.ID{b.d.next.Identity.Object},
		Permissions:       []azurerbac.Permission{{Actions: []string{"*/write", "*/delete", "*/action"}}},
	})
}

// dropped deletes the identities that were the cluster's own and are no longer: that
// of the system, and those that were made for it. One that somebody brought stays.
func (b *belongings) dropped() {
	for _, ref := range b.d.old.Identities() {
		if b.d.next.UsesIdentity(ref.Object) {
			continue
		}
		m, ok := b.d.est.ManagedIdentity(ref.Object)
		if !ok || m.Resource != b.d.old.Scope && (b.group.IsZero() || !b.group.Contains(m.Resource)) {
			continue
		}
		ops, _, err := serve.Deletion(b.d.est, m.Key(), true)
		if err == nil {
			b.ops = append(b.ops, ops...)
		}
	}
}
