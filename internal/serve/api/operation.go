package api

import (
	"bytes"
	"slices"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/azurerbac/condition"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/kuberbac"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

// typeOf is the resource type whose operations guard a kind of record:
// {type}/read, {type}/write and {type}/delete.
var typeOf = map[record.Kind]string{
	record.Tenant:              "Microsoft.Directory/tenants",
	record.User:                "Microsoft.Directory/users",
	record.Group:               "Microsoft.Directory/groups",
	record.Membership:          "Microsoft.Directory/groups/members",
	record.Application:         "Microsoft.Directory/applications",
	record.ServicePrincipal:    "Microsoft.Directory/servicePrincipals",
	record.FederatedCredential: "Microsoft.Directory/applications/federatedIdentityCredentials",
	record.ManagedIdentity:     "Microsoft.ManagedIdentity/userAssignedIdentities",
	record.ManagementGroup:     "Microsoft.Management/managementGroups",
	record.Subscription:        "Microsoft.Resources/subscriptions",
	record.ResourceGroup:       "Microsoft.Resources/subscriptions/resourceGroups",
	record.Cluster:             "Microsoft.ContainerService/managedClusters",
	record.RoleDefinition:      "Microsoft.Authorization/roleDefinitions",
	record.RoleAssignment:      "Microsoft.Authorization/roleAssignments",
	record.DenyAssignment:      "Microsoft.Authorization/denyAssignments",
	record.KubeRole:            "Microsoft.ContainerService/managedClusters/roles",
	record.KubeBinding:         "Microsoft.ContainerService/managedClusters/roleBindings",
}

// An operation is one thing that the caller must be allowed.
type operation struct {
	action string
	at     scope.Scope
	attr   attributes
}

// placesOf returns where a record is, and the resource type that guards it there.
// Whoever changes it needs the operation at every one of these places, whoever
// reads it at one of them. What belongs to the directory is at the root.
func placesOf(est *estate.Snapshot, r record.Record) (string, []scope.Scope) {
	kind := r.Key().Kind
	at := scope.Root
	switch r := r.(type) {
	case directory.FederatedCredential:
		if mi, ok := est.ManagedIdentityByClient(r.Owner); ok {
			return typeOf[record.ManagedIdentity] + "/federatedIdentityCredentials", []scope.Scope{mi.Resource}
		}
	case directory.ManagedIdentity:
		at = r.Resource
	case resource.ManagementGroup:
		at = r.Scope
	case resource.Subscription:
		at = r.Scope
	case resource.Group:
		at = r.Scope
	case resource.Cluster:
		at = r.Scope
	case azurerbac.Definition:
		return typeOf[kind], slices.Clone(r.AssignableScopes)
	case azurerbac.Assignment:
		at = r.Scope
	case azurerbac.DenyAssignment:
		at = r.Scope
	case kuberbac.Role:
		at = r.Cluster
	case kuberbac.Binding:
		at = r.Cluster
	}
	return typeOf[kind], []scope.Scope{at}
}

// toPut returns what the caller must be allowed in order to write next over old,
// which is nil for a new record.
func toPut(est *estate.Snapshot, old, next record.Record) []operation {
	ops := each(est, next, "write", nil)
	switch next := next.(type) {
	case directory.Membership:
		if old == nil {
			ops = append(ops, toGive(est, next.Group, next.Member)...)
		}
		return ops
	case directory.FederatedCredential:
		// Whoever can sign in as a principal has what it has (DIR-13).
		ops = append(ops, toActAs(est, next.Owner)...)
		if old != nil {
			ops = append(ops, each(est, old, "write", nil)...)
		}
		return ops
	case azurerbac.Assignment:
		// The condition of a delegation speaks of the new assignment as @Request. An
		// assignment that is written over goes away, and that is asked as well: else
		// whoever may only give out a small role could turn a great one into it.
		ops = each(est, next, "write", assignmentAttributes(est, condition.Request, next))
		if old, ok := old.(azurerbac.Assignment); ok {
			ops = append(ops, toDelete(est, old)...)
		}
		return ops
	case resource.ManagementGroup, resource.Subscription:
		moved := underParent(next.Key().Kind, old != nil, parentOf(old), parentOf(next))
		if old == nil {
			return moved // it is nowhere yet: its parent decides
		}
		ops = append(ops, moved...)
	}
	if old != nil {
		ops = append(ops, each(est, old, "write", nil)...)
		if tenantOf(old) != tenantOf(next) {
			// Which tenant is trusted decides whose tokens count: not a matter of the place.
			ops = append(ops, operation{action: typeOf[next.Key().Kind] + "/write", at: scope.Root})
		}
	}
	return ops
}

// toDelete returns what the caller must be allowed in order to delete r.
func toDelete(est *estate.Snapshot, r record.Record) []operation {
	ops := each(est, r, "delete", nil)
	switch r := r.(type) {
	case azurerbac.Assignment:
		return each(est, r, "delete", assignmentAttributes(est, condition.Resource, r))
	case directory.Membership:
		// Who leaves a group is no longer forbidden what the group is.
		if who, ok := est.Resolve(r.Group); ok {
			for _, g := range who.Denies {
				ops = append(ops, operation{action: typeOf[record.DenyAssignment] + "/write", at: g.Scope})
			}
		}
	}
	return ops
}

// toGive returns what it takes to give somebody all that a principal has: to
// assign each of its roles to him. Else whoever may fill a group, or set a
// password, could make himself owner of everything.
func toGive(est *estate.Snapshot, of, to principal.ID) []operation {
	who, ok := est.Resolve(of)
	if !ok {
		return nil
	}
	ops := make([]operation, 0, len(who.Azure))
	for _, g := range who.Azure {
		given := azurerbac.Assignment{Scope: g.Scope, Principal: to, Role: g.Assigned.Role}
		ops = append(ops, operation{
			action: typeOf[record.RoleAssignment] + "/write", at: g.Scope,
			attr: assignmentAttributes(est, condition.Request, given),
		})
	}
	// Admin groups of clusters are a matter of who may write the cluster.
	for c := range est.Clusters() {
		for _, admins := range c.AdminGroups {
			if _, in := slices.BinarySearchFunc(who.Groups, admins, compareIDs); in || admins == of {
				ops = append(ops, operation{action: typeOf[record.Cluster] + "/write", at: c.Scope})
				break
			}
		}
	}
	return ops
}

// toActAs returns what it takes to get a credential of an application or managed
// identity: to give what it has, an application in every tenant.
func toActAs(est *estate.Snapshot, app directory.AppID) []operation {
	var ops []operation
	if mi, ok := est.ManagedIdentityByClient(app); ok {
		ops = toGive(est, mi.ID, mi.ID)
	}
	for t := range est.Tenants() {
		if sp, ok := est.ServicePrincipalOf(t.ID, app); ok {
			ops = append(ops, toGive(est, sp.ID, sp.ID)...)
		}
	}
	return ops
}

func compareIDs(a, b principal.ID) int { return bytes.Compare(a[:], b[:]) }

func each(est *estate.Snapshot, r record.Record, verb string, attr attributes) []operation {
	typ, places := placesOf(est, r)
	ops := make([]operation, len(places))
	for i, at := range places {
		ops[i] = operation{action: typ + "/" + verb, at: at, attr: attr}
	}
	return ops
}

// underParent returns what it takes to put a management group or subscription
// under a parent: to write at the new one and at the one it leaves.
func underParent(kind record.Kind, exists bool, from, to scope.Scope) []operation {
	if exists && from == to {
		return nil
	}
	places := []scope.Scope{to}
	if exists {
		places = append(places, from)
	}
	var ops []operation
	for _, at := range places {
		if at.IsZero() {
			at = scope.Root
		}
		ops = append(ops, operation{action: typeOf[kind] + "/write", at: at})
	}
	return ops
}

func parentOf(r record.Record) scope.Scope {
	switch r := r.(type) {
	case resource.ManagementGroup:
		return r.Parent
	case resource.Subscription:
		return r.Parent
	}
	return scope.Scope{}
}

func tenantOf(r record.Record) directory.TenantID {
	switch r := r.(type) {
	case resource.ManagementGroup:
		return r.Tenant
	case resource.Subscription:
		return r.Tenant
	case resource.Cluster:
		return r.Tenant
	}
	return directory.TenantID{}
}

// Names of the attributes by which a delegation is limited.
var (
	attrRole = condition.CanonicalName("Microsoft.Authorization/roleAssignments:RoleDefinitionId")
	attrWho  = condition.CanonicalName("Microsoft.Authorization/roleAssignments:PrincipalId")
	attrKind = condition.CanonicalName("Microsoft.Authorization/roleAssignments:PrincipalType")
)

// assignmentAttributes are those of an assignment. What sort of principal it is
// for comes from the directory: what a caller says about it is no fact.
func assignmentAttributes(est *estate.Snapshot, source condition.Source, a azurerbac.Assignment) attributes {
	kind := a.PrincipalType
	if p, ok := est.Principal(a.Principal); ok {
		kind = p.Kind
	} else if source == condition.Request {
		kind = "" // nobody yet
	}
	return func(asked condition.Source, name string) (condition.Value, bool) {
		if asked != source {
			return condition.Value{}, false
		}
		switch name {
		case attrRole:
			return condition.GUID(a.Role), true
		case attrWho:
			return condition.GUID(a.Principal), true
		case attrKind:
			return condition.String(kind.AzureType()), kind != ""
		}
		return condition.Value{}, false
	}
}
