package resource_test

import (
	"errors"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/guid"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

func TestPlacesAreWhatTheirScopesSay(t *testing.T) {
	t.Parallel()
	tenant := directory.NewTenantID()
	mg := scope.MustParse("/providers/Microsoft.Management/managementGroups/corp")
	sub := scope.MustParse("/subscriptions/11111111-1111-1111-1111-111111111111")
	group := scope.MustParse(sub.String() + "/resourceGroups/rg")
	at := scope.MustParse(group.String() + "/providers/Microsoft.ContainerService/managedClusters/c1")
	vault := scope.MustParse(group.String() + "/providers/Microsoft.KeyVault/vaults/v")
	identity := scope.MustParse(group.String() + "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/i")
	who, app := principal.NewID(), directory.NewAppID()
	cluster := func(change func(*resource.Cluster)) resource.Cluster {
		c := resource.Cluster{Scope: at, Name: "c1", Tenant: tenant, EntraSignIn: true}
		change(&c)
		return c
	}
	for law, r := range map[string]record.Record{
		"the zero management group":            resource.ManagementGroup{},
		"a management group at a subscription": resource.ManagementGroup{Scope: sub, Tenant: tenant},
		"a management group in itself":         resource.ManagementGroup{Scope: mg, Tenant: tenant, Parent: mg},
		"a subscription without tenant":        resource.Subscription{Scope: sub},
		"a subscription in a resource group":   resource.Subscription{Scope: sub, Tenant: tenant, Parent: group},
		"a resource group at a cluster":        resource.Group{Scope: at, Name: "rg"},
		"the zero cluster":                     resource.Cluster{},
		"a cluster at a resource group":        resource.Cluster{Scope: group, Tenant: tenant},
		"Azure RBAC without sign-in":           resource.Cluster{Scope: at, Tenant: tenant, AzureRBAC: true},
		"neither sign-in nor local accounts":   resource.Cluster{Scope: at, Tenant: tenant, DisableLocalAccounts: true},
		"a resource at a cluster":              resource.Other{Scope: at, Name: "c1", Type: "Microsoft.ContainerService/managedClusters"},
		"a resource of another type":           resource.Other{Scope: vault, Name: "v", Type: "Microsoft.KeyVault/managedHSMs"},
		"a resource of another name":           resource.Other{Scope: vault, Name: "w", Type: "Microsoft.KeyVault/vaults"},
		"a resource in no group":               resource.Other{Scope: scope.MustParse(sub.String() + "/providers/Microsoft.KeyVault/vaults/v"), Name: "v", Type: "Microsoft.KeyVault/vaults"},
		"a resource with a tag twice":          resource.Other{Scope: vault, Name: "v", Type: "Microsoft.KeyVault/vaults", Tags: record.Tags{"a": "", "A": ""}},
		"a group with a tag without a name":    resource.Group{Scope: group, Name: "rg", Tags: record.Tags{"": "x"}},
		"workload identity without an issuer":  cluster(func(c *resource.Cluster) { c.WorkloadIdentity = true }),
		"an issuer without a slash at its end": cluster(func(c *resource.Cluster) { c.IssuerURL = "https://issuer.example/x" }),
		"an issuer over http":                  cluster(func(c *resource.Cluster) { c.IssuerURL = "http://issuer.example/" }),
		"FED-15: the default issuer":           cluster(func(c *resource.Cluster) { c.IssuerURL = "https://kubernetes.default.svc/" }),
		"FED-15: the one of kubeadm":           cluster(func(c *resource.Cluster) { c.IssuerURL = "https://kubernetes.default.svc.cluster.local/" }),
		"FED-15: with a port":                  cluster(func(c *resource.Cluster) { c.IssuerURL = "https://kubernetes.default.svc:443/" }),
		"FED-15: of another domain":            cluster(func(c *resource.Cluster) { c.IssuerURL = "https://Kubernetes.Default.Svc.corp.example/" }),
		"FED-15: without a slash":              cluster(func(c *resource.Cluster) { c.IssuerURL = "https://kubernetes.default.svc" }),
		"a host name with a port":              cluster(func(c *resource.Cluster) { c.FQDN = "c1.example:443" }),
		"a DNS prefix that ends in a hyphen":   cluster(func(c *resource.Cluster) { c.DNSPrefix = "c1-" }),
		"a tag with a slash":                   cluster(func(c *resource.Cluster) { c.Tags = record.Tags{"a/b": ""} }),
		"a user-assigned identity by name alone": cluster(func(c *resource.Cluster) {
			c.Identity = resource.ControlIdentity{Type: resource.UserAssigned, Resource: identity}
		}),
		"a system-assigned identity of another place": cluster(func(c *resource.Cluster) {
			c.Identity = resource.ControlIdentity{Type: resource.SystemAssigned, Resource: identity, Object: who}
		}),
		"both types at once": cluster(func(c *resource.Cluster) {
			c.Identity = resource.ControlIdentity{Type: "SystemAssigned, UserAssigned", Object: who}
		}),
		"a service principal without id": cluster(func(c *resource.Cluster) { c.Identity = resource.ControlIdentity{Type: resource.ServicePrincipal} }),
		"a kubelet that is a cluster":    cluster(func(c *resource.Cluster) { c.KubeletIdentity = resource.IdentityRef{Resource: at, Object: who} }),
		"a legacy sign-in by half":       cluster(func(c *resource.Cluster) { c.LegacySignIn.ServerApp = app }),
		"a legacy sign-in and Azure RBAC": cluster(func(c *resource.Cluster) {
			c.LegacySignIn = resource.LegacySignIn{ServerApp: app, ClientApp: app}
			c.AzureRBAC = true
		}),
		"work without an operation": cluster(func(c *resource.Cluster) { c.Doing.Kind = resource.Update }),
		"work on what others run": cluster(func(c *resource.Cluster) {
			c.Attached, c.Doing = true, resource.Work{Kind: resource.Update, Operation: guid.New[resource.Work](), Since: time.Unix(1, 0)}
		}),
	} {
		if err := r.Validate(); !errors.Is(err, record.ErrInvalid) {
			t.Errorf("%s: Validate = %v, want ErrInvalid", law, err)
		}
	}
	for law, r := range map[string]record.Record{
		"a management group": resource.ManagementGroup{Scope: mg, Tenant: tenant},
		"a subscription":     resource.Subscription{Scope: sub, Tenant: tenant, Parent: mg},
		"a resource group":   resource.Group{Scope: group, Name: "rg"},
		"a vault":            resource.Other{Scope: vault, Name: "V", Type: "microsoft.keyvault/Vaults"},
		"a cluster":          resource.Cluster{Scope: at, Name: "c1", Tenant: tenant, EntraSignIn: true, AzureRBAC: true, DisableLocalAccounts: true},
	} {
		if err := r.Validate(); err != nil {
			t.Errorf("%s: Validate = %v, want none", law, err)
		}
	}
}

func TestACluster(t *testing.T) {
	t.Parallel()
	at := scope.MustParse("/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/rg/providers/Microsoft.ContainerService/managedClusters/c1")
	identity := scope.MustParse("/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/mc/providers/Microsoft.ManagedIdentity/userAssignedIdentities/i")
	kubelet, addon, control := principal.NewID(), principal.NewID(), principal.NewID()
	c := resource.Cluster{Scope: at, Name: "C1", Tenant: directory.NewTenantID(), UID: guid.MustParse[resource.Cluster]("0a1b2c3d-4e5f-4a6b-8c7d-0123456789ab"), NodeResourceGroup: "MC_rg_C1_eastus",
		Identity:        resource.ControlIdentity{Type: resource.SystemAssigned, Object: control},
		KubeletIdentity: resource.IdentityRef{Resource: identity, Object: kubelet},
		Addons:          map[string]resource.Addon{"azurepolicy": {Enabled: true, Identity: resource.IdentityRef{Resource: identity, Object: addon}}}}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	if got := c.NodeGroup().String(); got != "/subscriptions/11111111-1111-1111-1111-111111111111/resourcegroups/mc_rg_c1_eastus" {
		t.Errorf("its node resource group is %s", got)
	}
	if got := c.ResourceUID(); got != "0a1b2c3d4e5f4a6b8c7d0123" {
		t.Errorf("its id in the form of AKS is %s", got)
	}
	for who, want := range map[principal.ID]bool{kubelet: true, addon: true, control: true, principal.NewID(): false, {}: false} {
		if c.UsesIdentity(who) != want {
			t.Errorf("it uses %s: %t, want %t", who, !want, want)
		}
	}
	for kind, want := range map[resource.WorkKind]string{resource.Create: "Creating", resource.Update: "Updating", resource.Delete: "Deleting"} {
		c.Doing = resource.Work{Kind: kind, Operation: guid.New[resource.Work](), Since: time.Unix(1, 0)}
		if got := c.ProvisioningState(); got != want {
			t.Errorf("while it is worked on: %s, want %s", got, want)
		}
	}
	c.Doing, c.Failure = resource.Work{}, resource.Failure{Code: "X", Message: "x"}
	if got := c.ProvisioningState(); got != "Failed" {
		t.Errorf("after a failure: %s", got)
	}
	c.Failure = resource.Failure{}
	if got := c.ProvisioningState(); got != "Succeeded" {
		t.Errorf("when all is well: %s", got)
	}
}

// What an older house wrote is read by this one.
func TestAStoredClusterOfBefore(t *testing.T) {
	t.Parallel()
	const stored = `{"scope":"/subscriptions/11111111-1111-1111-1111-111111111111/resourcegroups/rg/providers/microsoft.containerservice/managedclusters/c1","name":"c1","resourceGroup":"rg","tenant":"22222222-2222-4222-8222-222222222222","entraSignIn":true,"azureRBAC":true,"adminGroups":["33333333-3333-4333-8333-333333333333"],"mirrored":true,"endpoint":"https://127.0.0.1:1","certificateAuthority":"x"}`
	var c resource.Cluster
	if err := record.Unmarshal([]byte(stored), &c); err != nil {
		t.Fatal(err)
	}
	if err := c.Validate(); err != nil || c.ProvisioningState() != "Succeeded" {
		t.Errorf("Validate = %v, state %s", err, c.ProvisioningState())
	}
	again, err := record.Marshal(c)
	if err != nil || len(again) != len(stored) {
		t.Errorf("it is written as %s, %v: what is not said must stay unsaid", again, err)
	}
}
