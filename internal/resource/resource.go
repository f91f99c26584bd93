// Package resource models the places that grants are made at and that have a
// life of their own: management groups, subscriptions, resource groups, clusters,
// and other resources that the house keeps without reading them.
package resource

import (
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/principal"
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
	Scope       scope.Scope        `json:"scope"`
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
	// ManagedBy is the id of the resource that made the group for itself.
	ManagedBy string `json:"managedBy,omitzero"`
}

// A Cluster is a Kubernetes control plane whose identity features this house
// provides: one that the house started, or one that was attached.
type Cluster struct {
	Scope scope.Scope `json:"scope"`
	// Name and ResourceGroup keep the letters they were created with.
	Name          string `json:"name"`
	ResourceGroup string `json:"resourceGroup"`
	Location      string `json:"location,omitzero"`
	// Tenant is the directory whose tokens the cluster accepts.
	Tenant directory.TenantID `json:"tenant"`
	// EntraSignIn makes the cluster accept tokens of the tenant.
	EntraSignIn bool `json:"entraSignIn,omitzero"`
	// AzureRBAC makes role assignments grant access to the Kubernetes API.
	AzureRBAC bool `json:"azureRBAC,omitzero"`
	// AdminGroups are bound to the ClusterRole cluster-admin.
	AdminGroups []principal.ID `json:"adminGroups,omitzero"`
	// DisableLocalAccounts refuses the cluster's own admin certificates.
	DisableLocalAccounts bool `json:"disableLocalAccounts,omitzero"`
	// Mirrored is set once the roles and bindings of the cluster itself have been
	// read into the estate; until then it is taken to have those that Kubernetes
	// gives every new cluster.
	Mirrored bool `json:"mirrored,omitzero"`
	// Attached is set for a cluster that the house did not start.
	Attached bool `json:"attached,omitzero"`
	// Endpoint is the URL of the API server, once known.
	Endpoint string `json:"endpoint,omitzero"`
	// CertificateAuthority is who signs the API server's certificate, as PEM.
	CertificateAuthority string `json:"certificateAuthority,omitzero"`
	// RevokedCertificates are the credential ids (X509SHA256=…, as kube-apiserver
	// writes them) of local admin certificates that must be refused although they
	// have not expired.
	RevokedCertificates []string `json:"revokedCertificates,omitzero"`
}

func (m ManagementGroup) Key() record.Key {
	return record.KeyOf(record.ManagementGroup, m.Scope.String())
}
func (s Subscription) Key() record.Key { return record.KeyOf(record.Subscription, s.Scope.String()) }
func (g Group) Key() record.Key        { return record.KeyOf(record.ResourceGroup, g.Scope.String()) }
func (c Cluster) Key() record.Key      { return record.KeyOf(record.Cluster, c.Scope.String()) }

func (m ManagementGroup) Validate() error {
	if m.Scope.Type() != typeManagementGroup || m.Tenant.IsZero() {
		return record.Invalid("management group %q without tenant, or not a management group's scope", m.Scope)
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
	return g.Tags.Validate()
}

func (c Cluster) Validate() error {
	switch {
	case c.Scope.Type() != typeCluster:
		return record.Invalid("%q is not the scope of a cluster", c.Scope)
	case c.Tenant.IsZero():
		return record.Invalid("cluster %q has no tenant", c.Scope)
	case c.AzureRBAC && !c.EntraSignIn:
		return record.Invalid("cluster %q: Azure RBAC needs Entra sign-in", c.Scope)
	case c.DisableLocalAccounts && !c.EntraSignIn:
		return record.Invalid("cluster %q: disabling local accounts needs Entra sign-in", c.Scope)
	}
	return nil
}
