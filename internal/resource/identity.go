package resource

import (
	"maps"
	"slices"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

// An IdentityRef is a managed identity that a cluster uses. When the identity at
// Resource is deleted and another one is made there, the reference goes on naming
// the one that is gone.
type IdentityRef struct {
	Resource scope.Scope  `json:"resource"`
	Object   principal.ID `json:"object"`
}

// IsZero reports whether the reference names no identity.
func (r IdentityRef) IsZero() bool { return r == IdentityRef{} }

// An IdentityType is what sort of identity a control plane has.
type IdentityType string

// The types. The empty type is no identity, as attached clusters have.
const (
	SystemAssigned   IdentityType = "SystemAssigned"
	UserAssigned     IdentityType = "UserAssigned"
	ServicePrincipal IdentityType = "ServicePrincipal"
)

// A ControlIdentity is what a control plane is when it asks for something in Azure.
type ControlIdentity struct {
	Type IdentityType `json:"type"`
	// Resource is the user-assigned identity; its object id goes with it.
	Resource scope.Scope  `json:"resource,omitzero"`
	Object   principal.ID `json:"object,omitzero"`
	// Application is that of a service principal.
	Application directory.AppID `json:"application,omitzero"`
}

// IsZero reports whether there is no identity.
func (i ControlIdentity) IsZero() bool { return i == ControlIdentity{} }

// An Addon is one of the programs that AKS runs in a cluster when asked to.
type Addon struct {
	Enabled bool `json:"enabled"`
	// Config is the add-on's own object, which the house does not read.
	Config Properties `json:"config,omitzero"`
	// Identity is what the add-on is in Azure.
	Identity IdentityRef `json:"identity,omitzero"`
}

// LegacySignIn names the two applications of the integration that AKS had first.
type LegacySignIn struct {
	ServerApp directory.AppID `json:"serverApp"`
	ClientApp directory.AppID `json:"clientApp"`
}

// IsZero reports whether the cluster does not use it.
func (l LegacySignIn) IsZero() bool { return l == LegacySignIn{} }

// Identities are the managed identities that a cluster uses. That of the system has
// no resource of its own.
func (c Cluster) Identities() []IdentityRef {
	all := []IdentityRef{c.KubeletIdentity, {c.Identity.Resource, c.Identity.Object}}
	for _, name := range slices.Sorted(maps.Keys(c.Addons)) {
		all = append(all, c.Addons[name].Identity)
	}
	return slices.DeleteFunc(all, func(r IdentityRef) bool { return r.Object.IsZero() })
}

// OnNodes reports whether a managed identity is the kubelets' or an add-on's. What runs
// on the nodes can be those, and never the control plane's.
func (c Cluster) OnNodes(id principal.ID) bool {
	if id.IsZero() {
		return false
	}
	for _, a := range c.Addons {
		if a.Identity.Object == id {
			return true
		}
	}
	return c.KubeletIdentity.Object == id
}

const typeIdentity = "microsoft.managedidentity/userassignedidentities"

func (c Cluster) checkIdentities() error {
	switch i := c.Identity; i.Type {
	case "":
		if !i.IsZero() {
			return record.Invalid("an identity without a type")
		}
	case SystemAssigned:
		if !i.Resource.IsZero() || !i.Application.IsZero() {
			return record.Invalid("a system-assigned identity has an object id alone")
		}
	case UserAssigned:
		if i.Resource.Type() != typeIdentity || i.Object.IsZero() || !i.Application.IsZero() {
			return record.Invalid("a user-assigned identity is named by its resource and its object id")
		}
	case ServicePrincipal:
		if i.Application.IsZero() || !i.Resource.IsZero() {
			return record.Invalid("a service principal is named by its application")
		}
	default:
		return record.Invalid("%.40q is no type of identity", string(i.Type))
	}
	refs := []IdentityRef{c.KubeletIdentity}
	for name, a := range c.Addons {
		if name == "" || len(name) > 80 {
			return record.Invalid("%.100q is no name of an add-on", name)
		}
		refs = append(refs, a.Identity)
	}
	for _, r := range refs {
		if !r.IsZero() && (r.Resource.Type() != typeIdentity || r.Object.IsZero()) {
			return record.Invalid("an identity is named by its resource and its object id")
		}
	}
	return nil
}
