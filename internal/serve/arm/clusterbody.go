package arm

import (
	"maps"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	control "github.com/gatehouse-io/gatehouse/internal/cluster"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/resource"
)

// identityShown is a managed identity as AKS writes it down.
type identityShown struct {
	ResourceID string `json:"resourceId"`
	ClientID   string `json:"clientId,omitzero"`
	ObjectID   string `json:"objectId"`
}

func (s *session) identityShown(ref resource.IdentityRef) identityShown {
	return identityShown{s.spell(ref.Resource), s.clientOf(ref.Object), ref.Object.String()}
}

// clientOf is the client id of a managed identity, or "" for one that is gone.
func (s *session) clientOf(id principal.ID) string {
	m, ok := s.est.ManagedIdentity(id)
	if !ok {
		return ""
	}
	return m.ClientID.String()
}

// clusterBody is a cluster as clients read it. Those of Azure send all of it back
// when they change one thing, so it has to be complete.
func (s *session) clusterBody(c resource.Cluster) any {
	body := membersOf(c.More)
	body.set("id", s.idOf(c.Scope, c.Name))
	body.set("name", c.Name)
	body.set("type", "Microsoft.ContainerService/ManagedClusters")
	body.set("location", c.Location)
	if c.Tags != nil {
		body.set("tags", c.Tags)
	}
	body.preset("sku", map[string]string{"name": "Base", "tier": "Free"})
	if shown := s.controlIdentity(c); shown != nil {
		body.set("identity", shown)
	}
	p := membersOf(c.Properties)
	p.set("provisioningState", c.ProvisioningState())
	p.set("powerState", map[string]string{"code": powerState(c)})
	p.set("kubernetesVersion", shownVersion(c))
	p.set("currentKubernetesVersion", shownVersion(c))
	p.set("enableRBAC", true)
	p.set("maxAgentPools", 100)
	p.set("disableLocalAccounts", c.DisableLocalAccounts)
	setText := func(name, text string) {
		if text != "" {
			p.set(name, text)
		}
	}
	setText("dnsPrefix", c.DNSPrefix)
	setText("fqdn", c.FQDN)
	if prefix, rest, ok := strings.Cut(c.FQDN, ".hcp."); ok {
		p.set("azurePortalFQDN", prefix+".portal.hcp."+rest)
	}
	setText("nodeResourceGroup", c.NodeResourceGroup)
	setText("resourceUID", c.ResourceUID())
	if c.LockNodeResourceGroup {
		p.set("nodeResourceGroupProfile", map[string]string{"restrictionLevel": "ReadOnly"})
	}
	if c.EntraSignIn {
		p.set("aadProfile", aadShown(c))
	}
	if !c.KubeletIdentity.IsZero() {
		p.set("identityProfile", map[string]identityShown{"kubeletidentity": s.identityShown(c.KubeletIdentity)})
	}
	if len(c.Addons) > 0 {
		p.set("addonProfiles", s.addonsShown(c))
	}
	p.set("servicePrincipalProfile", map[string]string{"clientId": principalShown(c)})
	p.set("oidcIssuerProfile", oidcShown{c.OIDCIssuer, c.IssuerURL})
	if c.WorkloadIdentity {
		p.inside("securityProfile", "workloadIdentity", map[string]bool{"enabled": true})
	}
	if c.DisableRunCommand {
		p.inside("apiServerAccessProfile", "disableRunCommand", true)
	}
	p.set("agentPoolProfiles", pools(c))
	p.preset("networkProfile", networkDefault)
	body.set("properties", p)
	return body
}

// inside puts a member into an object that is a member.
func (m members) inside(object, name string, v any) {
	inner := make(members)
	if now, ok := m[object]; ok && json.Unmarshal(now, &inner) != nil {
		inner = make(members)
	}
	inner.set(name, v)
	m.set(object, inner)
}

// networkDefault is what there is without any word about it: the addresses of
// services are those of the control planes that the house runs.
var networkDefault = map[string]any{
	"networkPlugin": "azure", "networkPluginMode": "overlay", "loadBalancerSku": "standard", "outboundType": "loadBalancer",
	"serviceCidr": "10.96.0.0/16", "dnsServiceIP": "10.96.0.10", "ipFamilies": []string{"IPv4"},
}

type systemShown struct {
	Type        string `json:"type"`
	PrincipalID string `json:"principalId"`
	TenantID    string `json:"tenantId"`
}

type assignedShown struct {
	Type     string                    `json:"type"`
	Assigned map[string]assignedMember `json:"userAssignedIdentities"`
}

type assignedMember struct {
	ClientID    string `json:"clientId,omitzero"`
	PrincipalID string `json:"principalId"`
}

func (s *session) controlIdentity(c resource.Cluster) any {
	switch i := c.Identity; i.Type {
	case resource.SystemAssigned:
		return systemShown{string(i.Type), i.Object.String(), s.tenant.String()}
	case resource.UserAssigned:
		return assignedShown{string(i.Type), map[string]assignedMember{s.spell(i.Resource): {s.clientOf(i.Object), i.Object.String()}}}
	}
	return nil
}

// principalShown is the service principal of a cluster; msi stands for a managed
// identity.
func principalShown(c resource.Cluster) string {
	if c.Identity.Type == resource.ServicePrincipal {
		return c.Identity.Application.String()
	}
	return "msi"
}

type aadProfile struct {
	Managed             bool     `json:"managed"`
	EnableAzureRBAC     *bool    `json:"enableAzureRBAC"`
	AdminGroupObjectIDs []string `json:"adminGroupObjectIDs"`
	ClientAppID         string   `json:"clientAppID,omitzero"`
	ServerAppID         string   `json:"serverAppID,omitzero"`
	TenantID            string   `json:"tenantID"`
}

func aadShown(c resource.Cluster) aadProfile {
	p := aadProfile{Managed: true, EnableAzureRBAC: &c.AzureRBAC, TenantID: c.Tenant.String()}
	for _, g := range c.AdminGroups {
		p.AdminGroupObjectIDs = append(p.AdminGroupObjectIDs, g.String())
	}
	if l := c.LegacySignIn; !l.IsZero() {
		p.Managed, p.EnableAzureRBAC = false, nil
		p.ClientAppID, p.ServerAppID = l.ClientApp.String(), l.ServerApp.String()
	}
	return p
}

type addonShown struct {
	Enabled  bool                `json:"enabled"`
	Config   resource.Properties `json:"config,omitzero"`
	Identity *identityShown      `json:"identity,omitzero"`
}

func (s *session) addonsShown(c resource.Cluster) map[string]addonShown {
	out := make(map[string]addonShown)
	for name, a := range c.Addons {
		shown := addonShown{Enabled: a.Enabled, Config: a.Config}
		if !a.Identity.IsZero() {
			id := s.identityShown(a.Identity)
			shown.Identity = &id
		}
		out[name] = shown
	}
	return out
}

type oidcShown struct {
	Enabled   bool   `json:"enabled"`
	IssuerURL string `json:"issuerURL,omitzero"`
}

func powerState(c resource.Cluster) string {
	if c.Stopped {
		return "Stopped"
	}
	return "Running"
}

// shownVersion is the version of Kubernetes that a cluster runs, as far as is known.
func shownVersion(c resource.Cluster) string {
	if c.Attached || c.KubernetesVersion != "" && c.KubernetesVersion != kubeMinor {
		return c.KubernetesVersion
	}
	return control.KubernetesVersion
}

// kubeMinor is the version without its last number, which asks for any of it.
var kubeMinor = control.KubernetesVersion[:strings.LastIndexByte(control.KubernetesVersion, '.')]

// pools are the agent pools of a cluster. They are what was asked for: the house
// runs no nodes. A cluster always has one, because az reads none out of it without.
func pools(c resource.Cluster) []members {
	var list []members
	if json.Unmarshal(membersOf(c.Properties)["agentPoolProfiles"], &list) != nil || len(list) == 0 {
		list = []members{{"name": jsontext.Value(`"nodepool1"`), "count": jsontext.Value(`0`), "mode": jsontext.Value(`"System"`)}}
	}
	for _, m := range list {
		m.preset("type", "VirtualMachineScaleSets")
		m.preset("osType", "Linux")
		m.preset("mode", "User")
		m.set("provisioningState", c.ProvisioningState())
		m.set("powerState", map[string]string{"code": powerState(c)})
		m.preset("orchestratorVersion", shownVersion(c))
		m.set("currentOrchestratorVersion", shownVersion(c))
	}
	return list
}

// names of the members that a client reads and cannot write (ARM-09): those at
// their side are worked out or have fields of their own.
var readOnly = []string{
	"provisioningState", "powerState", "currentKubernetesVersion", "fqdn", "privateFQDN", "azurePortalFQDN", "resourceUID", "maxAgentPools",
}

// addonNames are the add-ons of a cluster in order.
func addonNames(c resource.Cluster) []string { return slices.Sorted(maps.Keys(c.Addons)) }
