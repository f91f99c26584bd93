package api

import (
	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/directoryrole"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/identityrequest"
	"github.com/gatehouse-io/gatehouse/internal/kuberbac"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/resource"
)

// nameOf names a record for people, with the names that its references have in est.
func nameOf(est *estate.Snapshot, rec record.Record) string {
	who := func(id principal.ID) string {
		if p, ok := est.Principal(id); ok {
			return p.Name
		}
		return id.String()
	}
	role := func(id azurerbac.DefinitionID) string {
		if d, ok := est.Definition(id); ok {
			return d.RoleName
		}
		return id.String()
	}
	switch r := rec.(type) {
	case directory.Tenant:
		if len(r.Domains) > 0 {
			return r.Domains[0]
		}
		return r.DisplayName
	case directory.User:
		return r.UserPrincipalName
	case directory.Group:
		return r.DisplayName
	case directory.Membership:
		return who(r.Member) + " in " + who(r.Group)
	case directory.RoleAssignment:
		name := r.Role.String()
		if role, ok := directoryrole.Get(r.Role); ok {
			name = role.RoleName
		}
		return name + " to " + who(r.Principal)
	case directory.Ownership:
		if a, ok := est.ApplicationByID(r.Object); ok {
			return a.DisplayName + " by " + who(r.Owner)
		}
		return who(r.Object) + " by " + who(r.Owner)
	case directory.Application:
		return r.DisplayName
	case directory.ServicePrincipal:
		return r.DisplayName
	case directory.ManagedIdentity:
		return r.DisplayName
	case resource.Cluster:
		return r.Name
	case resource.Group:
		return r.Name
	case azurerbac.Definition:
		return r.RoleName
	case azurerbac.Assignment:
		return role(r.Role) + " at " + r.Scope.String() + " to " + who(r.Principal)
	case azurerbac.Eligibility:
		return role(r.Role) + " at " + r.Scope.String() + " for " + who(r.Principal)
	case azurerbac.Request:
		return string(r.Type) + " " + role(r.Role) + " at " + r.Scope.String() + " for " + who(r.Principal)
	case azurerbac.Policy:
		return role(r.Role) + " at " + r.Scope.String()
	case identityrequest.Request:
		return r.Identity.Name() + " for " + inNamespace(r.Namespace, r.Cluster.Name())
	case azurerbac.DenyAssignment:
		return r.Name
	case kuberbac.Role:
		return inNamespace(r.Namespace, r.Name) + " of " + r.Cluster.Name()
	case kuberbac.Binding:
		return inNamespace(r.Namespace, r.Name) + " of " + r.Cluster.Name()
	}
	return ""
}

func inNamespace(namespace, name string) string {
	if namespace == "" {
		return name
	}
	return namespace + "/" + name
}
