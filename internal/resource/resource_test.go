package resource_test

import (
	"errors"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/directory"
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
