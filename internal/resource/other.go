package resource

import (
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

// An Other is a resource of Azure that this house keeps as a place for grants, and
// for those who use it: a key vault, a registry, a virtual network and so on.
type Other struct {
	Scope scope.Scope `json:"scope"`
	// Name and Type keep the letters they were created with; Type is written like
	// Microsoft.KeyVault/vaults.
	Name     string      `json:"name"`
	Type     string      `json:"type"`
	Location string      `json:"location,omitzero"`
	Tags     record.Tags `json:"tags,omitzero"`
	// Properties and More are what its type has of its own: what stands under
	// properties in Azure, and what stands beside it, such as sku and kind.
	Properties Properties `json:"properties,omitzero"`
	More       Properties `json:"more,omitzero"`
}

// Key returns the key of the resource: its scope.
func (o Other) Key() record.Key { return record.KeyOf(record.Resource, o.Scope.String()) }

// elsewhere are the types that have a kind of record of their own.
var elsewhere = map[string]bool{
	"": true, typeManagementGroup: true, typeSubscription: true, typeResourceGroup: true, typeCluster: true,
	"microsoft.containerservice/managedclusters/namespaces": true,
	"microsoft.managedidentity/userassignedidentities":      true,
}

// Validate checks the resource by itself.
func (o Other) Validate() error {
	typ := o.Scope.Type()
	switch _, inGroup := o.Scope.ResourceGroup(); {
	case elsewhere[typ] || strings.HasPrefix(typ, "microsoft.authorization/"):
		return record.Invalid("%q is not the scope of a resource, or of one that has a kind of its own", o.Scope)
	case !inGroup:
		return record.Invalid("resource %q is in no resource group", o.Scope)
	case lower(o.Type) != typ:
		return record.Invalid("resource %q: the type %.80q is not that of its scope", o.Scope, o.Type)
	case lower(o.Name) != o.Scope.Name():
		return record.Invalid("resource %q: the name %.80q is not that of its scope", o.Scope, o.Name)
	}
	return o.Tags.Validate()
}

// NamesIdentity reports whether the identity block of the resource names the
// user-assigned managed identity at a place.
func (o Other) NamesIdentity(at scope.Scope) bool {
	var block struct {
		Identity struct {
			UserAssigned map[string]any `json:"userAssignedIdentities"`
		} `json:"identity"`
	}
	if json.Unmarshal([]byte(o.More.String()), &block) != nil {
		return false
	}
	for id := range block.Identity.UserAssigned {
		if named, err := scope.Parse(id); err == nil && named == at {
			return true
		}
	}
	return false
}

// lower folds ASCII letters only, as scopes do.
func lower(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

// global are the types whose names are a host name of the public cloud, so that
// there is one of each name in the world.
var global = map[string]bool{
	"microsoft.keyvault/vaults":              true,
	"microsoft.containerregistry/registries": true,
	"microsoft.storage/storageaccounts":      true,
}

// Global reports whether no other resource of the type may have the same name.
// The type is in lower case, as scopes have it.
func Global(typ string) bool { return global[typ] }
