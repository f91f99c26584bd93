// Package resource models the places that grants are made at and that have a
// life of their own: management groups, subscriptions, resource groups, clusters,
// and other resources that the house keeps without reading them.
package resource

import (
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

const (
	typeManagementGroup = "microsoft.management/managementgroups"
	typeSubscription    = "subscriptions"
	typeResourceGroup   = "resourcegroups"
	typeCluster         = "microsoft.containerservice/managedclusters"
)

// A ManagementGroup contains subscriptions and management groups.
type ManagementGroup struct {
	Scope scope.Scope `json:"scope"`
	// Name keeps the letters it was created with; "" is the name in its scope.
	Name        string             `json:"name,omitzero"`
	Tenant      directory.TenantID `json:"tenant"`
	DisplayName string             `json:"displayName,omitzero"`
	// Parent is a management group; no place means directly below the root.
	Parent scope.Scope `json:"parent,omitzero"`
}

// A Subscription contains resource groups. It trusts one tenant.
type Subscription struct {
	Scope       scope.Scope        `json:"scope"`
	Tenant      directory.TenantID `json:"tenant"`
	DisplayName string             `json:"displayName,omitzero"`
	// Parent is a management group; no place means directly below the root.
	Parent scope.Scope `json:"parent,omitzero"`
}

// A Group is a resource group. Name keeps the letters it was created with.
type Group struct {
	Scope    scope.Scope `json:"scope"`
	Name     string      `json:"name"`
	Location string      `json:"location,omitzero"`
	Tags     record.Tags `json:"tags,omitzero"`
	// ManagedBy is the id of the resource that made the group for itself, and takes
	// it away with itself.
	ManagedBy string `json:"managedBy,omitzero"`
	// Doing is set while the group is being deleted: clusters take their time.
	Doing Work `json:"doing,omitzero"`
}

func (m ManagementGroup) Key() record.Key {
	return record.KeyOf(record.ManagementGroup, m.Scope.String())
}
func (s Subscription) Key() record.Key { return record.KeyOf(record.Subscription, s.Scope.String()) }
func (g Group) Key() record.Key        { return record.KeyOf(record.ResourceGroup, g.Scope.String()) }

func (m ManagementGroup) Validate() error {
	if m.Scope.Type() != typeManagementGroup || m.Tenant.IsZero() {
		return record.Invalid("management group %q without tenant, or not a management group's scope", m.Scope)
	}
	if m.Name != "" && lower(m.Name) != m.Scope.Name() {
		return record.Invalid("management group %q: the name %.100q is not that of its scope", m.Scope, m.Name)
	}
	return checkParent(m.Scope, m.Parent)
}

func (s Subscription) Validate() error {
	if s.Scope.Type() != typeSubscription || s.Tenant.IsZero() {
		return record.Invalid("subscription %q without tenant, or not a subscription's scope", s.Scope)
	}
	return checkParent(s.Scope, s.Parent)
}

func checkParent(s, parent scope.Scope) error {
	if !parent.IsZero() && (parent.Type() != typeManagementGroup || parent == s) {
		return record.Invalid("%q: parent %q is not another management group", s, parent)
	}
	return nil
}

func (g Group) Validate() error {
	if g.Scope.Type() != typeResourceGroup {
		return record.Invalid("%q is not the scope of a resource group", g.Scope)
	}
	if err := g.Tags.Validate(); err != nil {
		return err
	}
	return g.Doing.validate()
}
