package serve

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/azurerbac/condition"
	"github.com/gatehouse-io/gatehouse/internal/decide"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/identityrequest"
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
	record.Rehearsal:           "Microsoft.Gatehouse/rehearsals",

	record.RoleEligibility:         "Microsoft.Authorization/roleEligibilityScheduleRequests",
	record.RoleScheduleRequest:     "Microsoft.Authorization/roleAssignmentScheduleRequests",
	record.RoleManagementPolicy:    "Microsoft.Authorization/roleManagementPolicies",
	record.DirectoryRoleAssignment: "Microsoft.Directory/roleAssignments",
	record.IdentityRequest:         "Microsoft.Gatehouse/identityRequests",
}

// Operations that are those of no kind of record.
const (
	// ActionPassword sets a user's password.
	ActionPassword = "Microsoft.Directory/users/password/write"
	// ActionSecret adds and removes secrets and certificates of an application.
	ActionSecret = "Microsoft.Directory/applications/credentials/write"
	// ActionPrincipalSecret does so for a service principal alone.
	ActionPrincipalSecret = "Microsoft.Directory/servicePrincipals/credentials/write"
	// actionGiveRole gives a role of the directory.
	actionGiveRole = "Microsoft.Directory/roleAssignments/write"
)

// An Operation is one thing that a caller must be allowed.
type Operation struct {
	Action     string
	Data       bool // it is a data action: it speaks about what a resource holds
	At         scope.Scope
	Attributes Attributes // what the condition of a grant may ask about it; may be nil
}

// Attributes are what the condition of a grant may ask about one operation.
type Attributes func(condition.Source, string) (condition.Value, bool)

// Allowed reports whether a principal may do the operation at an instant.
func (o Operation) Allowed(est *estate.Snapshot, who principal.ID, now time.Time) bool {
	return decide.Decide(est, decide.Request{
		Who: decide.Subject{ID: who}, Scope: o.At, Action: o.Action, Data: o.Data, Attributes: o.Attributes, Now: now,
	}).Effect == decide.Allow
}

// PlacesOf returns where a record is, and the resource type that guards it there.
// Whoever changes it needs the operation at every one of these places, whoever
// reads it at one of them. What belongs to a directory is at its object's place;
// see directory.PlaceOf. What is nowhere yet is at the root.
func PlacesOf(est *estate.Snapshot, r record.Record) (string, []scope.Scope) {
	kind := r.Key().Kind
	at := scope.Root
	switch r := r.(type) {
	case directory.FederatedCredential:
		if mi, ok := est.ManagedIdentityByClient(r.Owner); ok {
			return typeOf[record.ManagedIdentity] + "/federatedIdentityCredentials", []scope.Scope{mi.Resource}
		}
		return directoryPlace(est, r)
	case directory.ManagedIdentity:
		at = r.Resource
	case directory.Tenant, directory.User, directory.Group, directory.Membership, directory.Application, directory.ServicePrincipal,
		directory.RoleAssignment, directory.Ownership:
		return directoryPlace(est, r)
	case resource.ManagementGroup:
		at = r.Scope
	case resource.Subscription:
		at = r.Scope
	case resource.Group:
		at = r.Scope
	case resource.Cluster:
		at = r.Scope
	case resource.Other:
		return r.Type, []scope.Scope{r.Scope}
	case azurerbac.Definition:
		return typeOf[kind], slices.Clone(r.AssignableScopes)
	case azurerbac.Assignment:
		at = r.Scope
	case azurerbac.Eligibility:
		at = r.Scope
	case azurerbac.Request:
		if at = r.Scope; r.ForEligibility {
			kind = record.RoleEligibility
		}
	case azurerbac.Policy:
		at = r.Scope
	case azurerbac.DenyAssignment:
		at = r.Scope
	case kuberbac.Role:
		at = r.Cluster
	case kuberbac.Binding:
		at = r.Cluster
	case identityrequest.Request:
		// Whoever may read the credentials of an identity may read why they are there.
		return typeOf[record.ManagedIdentity] + "/federatedIdentityCredentials", []scope.Scope{r.Identity}
	}
	return typeOf[kind], []scope.Scope{at}
}

// ToPut returns what the caller must be allowed in order to write next over old,
// which is nil for a new record.
func ToPut(est *estate.Snapshot, old, next record.Record) []Operation {
	ops := operations(est, next, "write", nil)
	switch next := next.(type) {
	case directory.User, directory.Group, directory.Application, directory.ServicePrincipal, directory.Ownership:
		ops = append(ops, toPutObject(est, old, next)...)
	case directory.Membership:
		if old == nil {
			ops = append(ops, ToGive(est, next.Group, next.Member)...)
		}
		return append(ops, toFill(est, next.Group)...)
	case directory.FederatedCredential:
		// Whoever can sign in as a principal has what it has (DIR-13).
		ops = append(ops, ToActAs(est, next.Owner)...)
		if old != nil {
			ops = append(ops, operations(est, old, "write", nil)...)
		}
		return ops
	case azurerbac.Assignment:
		// The condition of a delegation speaks of the new assignment as @Request. An
		// assignment that is written over goes away, and that is asked as well: else
		// whoever may only give out a small role could turn a great one into it.
		ops = operations(est, next, "write", assignmentAttributes(est, condition.Request, next))
		if old, ok := old.(azurerbac.Assignment); ok {
			ops = append(ops, ToDelete(est, old)...)
		}
		return ops
	case azurerbac.Eligibility:
		// Who is made eligible can make himself what he is eligible for: it takes what
		// it takes to assign the role to him, and what limits that limits this.
		ops = append(ops, operations(est, next.Assigned(next.Principal), "write", assignmentAttributes(est, condition.Request, next.Assigned(next.Principal)))...)
		if old, ok := old.(azurerbac.Eligibility); ok {
			ops = append(ops, ToDelete(est, old)...)
		}
		return ops
	case identityrequest.Request:
		// Who writes the record says what others did: that is for those who rule the
		// house. Everybody else asks and answers; see package api.
		return historyOperations("write")
	case resource.Cluster:
		was, _ := old.(resource.Cluster)
		if next.IssuerURL != "" && next.IssuerURL != was.IssuerURL {
			// Who names an issuer has its keys speak for whoever trusts that issuer.
			ops = append(ops, Operation{Action: typeOf[record.Cluster] + "/write", At: scope.Root})
		}
		ops = append(ops, toAttach(est, was, next)...)
		for _, b := range next.IdentityBindings {
			if mi, there := est.ManagedIdentity(b.Identity.Object); there && !was.Binds(b.Identity) {
				// Whoever runs workloads there gets what the identity has, and what it will be
				// given: that takes what a credential of its own takes.
				ops = append(ops, ToPut(est, nil, directory.FederatedCredential{Owner: mi.ClientID})...)
			}
		}
		if group, there := est.ResourceGroup(next.NodeGroup()); there && next.NodeResourceGroup != was.NodeResourceGroup {
			// It is deleted with the cluster.
			ops = append(ops, operations(est, group, "delete", nil)...)
		}
	case resource.Group:
		if was, ok := old.(resource.Group); ok && next.ManagedBy != was.ManagedBy {
			ops = append(ops, operations(est, old, "delete", nil)...)
		}
	case resource.ManagementGroup, resource.Subscription:
		moved := underParent(next.Key().Kind, old != nil, parentOf(old), parentOf(next))
		if old == nil {
			return moved // it is nowhere yet: its parent decides
		}
		ops = append(ops, moved...)
	}
	if old != nil {
		ops = append(ops, operations(est, old, "write", nil)...)
		if tenantOf(old) != tenantOf(next) {
			// Which tenant is trusted decides whose tokens count: not a matter of the place.
			ops = append(ops, Operation{Action: typeOf[next.Key().Kind] + "/write", At: scope.Root})
		}
	}
	return ops
}

// ToDelete returns what the caller must be allowed in order to delete r.
func ToDelete(est *estate.Snapshot, r record.Record) []Operation {
	ops := operations(est, r, "delete", nil)
	switch r := r.(type) {
	case azurerbac.Assignment:
		return operations(est, r, "delete", assignmentAttributes(est, condition.Resource, r))
	case azurerbac.Eligibility:
		was := r.Assigned(r.Principal)
		return append(operations(est, r, "write", nil), operations(est, was, "delete", assignmentAttributes(est, condition.Resource, was))...)
	case azurerbac.Request, azurerbac.Policy:
		return operations(est, r, "write", nil)
	case identityrequest.Request:
		return historyOperations("delete")
	case directory.Group:
		return append(ops, toFill(est, r.ID)...)
	case directory.Ownership:
		return append(ops, toFill(est, r.Object)...)
	case directory.Membership:
		ops = append(ops, toFill(est, r.Group)...)
		// Who leaves a group is no longer forbidden what the group is.
		if who, ok := est.Resolve(r.Group); ok {
			for _, g := range who.Denies {
				ops = append(ops, Operation{Action: typeOf[record.DenyAssignment] + "/write", At: g.Scope})
			}
		}
	}
	return ops
}

// historyOperations are what it takes to change what is told of requests for
// identities.
func historyOperations(verb string) []Operation {
	return []Operation{{Action: typeOf[record.IdentityRequest] + "/" + verb, At: scope.Root}}
}

// AttachIdentity is the operation that it takes to let a resource be a managed identity.
const AttachIdentity = "Microsoft.ManagedIdentity/userAssignedIdentities/assign/action"

// toAttach returns what it takes to let a cluster be the identities that it was
// not: whoever rules the cluster has what they have. What was the control plane's alone
// comes to the nodes, and so to pods, as if it were another's.
func toAttach(est *estate.Snapshot, was, next resource.Cluster) []Operation {
	var ops []Operation
	for _, ref := range next.Identities() {
		if was.OnNodes(ref.Object) || was.UsesIdentity(ref.Object) && !next.OnNodes(ref.Object) {
			continue
		}
		at := ref.Resource
		if mi, ok := est.ManagedIdentity(ref.Object); ok {
			at = mi.Resource
		} else if at.IsZero() {
			at = next.Scope
		}
		ops = append(ops, Operation{Action: AttachIdentity, At: at})
	}
	return ops
}

// ToUse returns what it takes to run programs as a managed identity: to attach it
// to a machine, or to write the resource that it belongs to.
func ToUse(mi directory.ManagedIdentity) Operation {
	if mi.SystemAssigned {
		return Operation{Action: mi.Resource.Type() + "/write", At: mi.Resource}
	}
	return Operation{Action: AttachIdentity, At: mi.Resource}
}

func compareIDs(a, b principal.ID) int { return bytes.Compare(a[:], b[:]) }

func operations(est *estate.Snapshot, r record.Record, verb string, attr Attributes) []Operation {
	typ, places := PlacesOf(est, r)
	ops := make([]Operation, len(places))
	for i, at := range places {
		ops[i] = Operation{Action: typ + "/" + verb, At: at, Attributes: attr}
	}
	return ops
}

// underParent returns what it takes to put a management group or subscription
// under a parent: to write at the new one and at the one it leaves.
func underParent(kind record.Kind, exists bool, from, to scope.Scope) []Operation {
	if exists && from == to {
		return nil
	}
	places := []scope.Scope{to}
	if exists {
		places = append(places, from)
	}
	var ops []Operation
	for _, at := range places {
		if at.IsZero() {
			at = scope.Root
		}
		ops = append(ops, Operation{Action: typeOf[kind] + "/write", At: at})
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

// Unclaimed refuses a new principal under an object id that still has role
// assignments or eligibilities: they were given to somebody who is gone, and whoever may only make
// an identity must not make his heir.
func Unclaimed(est *estate.Snapshot, next record.Record) error {
	var id principal.ID
	switch r := next.(type) {
	case directory.User:
		id = r.ID
	case directory.Group:
		id = r.ID
	case directory.ServicePrincipal:
		id = r.ID
	case directory.ManagedIdentity:
		id = r.ID
	default:
		return nil
	}
	what := ""
	if left := est.AssignmentsOf(id); len(left) > 0 {
		what = "role assignment " + left[0].ID.String()
	} else if left := est.EligibilitiesOf(id); len(left) > 0 {
		what = "role eligibility " + left[0].ID.String()
	} else {
		return nil
	}
	return Refuse(http.StatusConflict, "PrincipalIdInUse", fmt.Sprintf(
		"The object id %s still has %s, of a principal that was deleted. Delete that first, or make the principal under a new id.", id, what))
}

// Deletion returns the ops that delete the record with a key and, if asked for,
// all that makes no sense without it, and what the caller must be allowed for
// each. An error is estate.ErrNotFound.
func Deletion(est *estate.Snapshot, key record.Key, dependents bool) ([]estate.Op, []Operation, error) {
	return DeletionWith(est, key, dependents, nil)
}

// DeletionWith is Deletion in a change that also deletes the objects in gone.
func DeletionWith(est *estate.Snapshot, key record.Key, dependents bool, gone Gone) ([]estate.Op, []Operation, error) {
	seen := make(map[record.Key]bool)
	var ops []estate.Op
	var recs []record.Record
	var walk func(key record.Key) error
	walk = func(key record.Key) error {
		if seen[key] {
			return nil
		}
		seen[key] = true
		old, ok := est.Get(key)
		if !ok {
			return fmt.Errorf("delete %s: %w", key, estate.ErrNotFound)
		}
		ops, recs = append(ops, estate.Op{Delete: key}), append(recs, old)
		if !dependents {
			return nil
		}
		for _, dep := range est.Dependents(key) {
			if err := walk(dep); err != nil {
				return err
			}
		}
		return nil
	}
	if err := walk(key); err != nil {
		return nil, nil, err
	}
	all := Gone{}
	maps.Copy(all, gone)
	for _, r := range recs {
		all.Note(r)
	}
	var needs []Operation
	for _, r := range recs {
		if !all.Takes(r) {
			needs = append(needs, ToDelete(est, r)...)
		}
	}
	return ops, needs, nil
}

// assignmentAttributes are those of an assignment. What sort of principal it is
// for comes from the directory: what a caller says about it is no fact.
func assignmentAttributes(est *estate.Snapshot, source condition.Source, a azurerbac.Assignment) Attributes {
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
