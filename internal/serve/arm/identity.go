package arm

import (
	"fmt"
	"net/http"
	"reflect"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve"
)

const identityType = "Microsoft.ManagedIdentity/userAssignedIdentities"

// The kinds of the provider Microsoft.ManagedIdentity.
const (
	identities     kind = "userAssignedIdentities"
	identity       kind = "userAssignedIdentity"
	identityUsers  kind = "associatedResources"
	systemIdentity kind = "identities"
)

var identityShapes = map[string]kind{
	"subscriptions/*|providers/microsoft.managedidentity/userassignedidentities":                                                   identities,
	"subscriptions/*/resourcegroups/*|providers/microsoft.managedidentity/userassignedidentities":                                  identities,
	"subscriptions/*/resourcegroups/*/providers/microsoft.managedidentity/userassignedidentities/*":                                identity,
	"subscriptions/*/resourcegroups/*/providers/microsoft.managedidentity/userassignedidentities/*|listassociatedresources":        identityUsers,
	"subscriptions/*/resourcegroups/*/providers/microsoft.managedidentity/userassignedidentities/*|federatedidentitycredentials":   federatedCredentials,
	"subscriptions/*/resourcegroups/*/providers/microsoft.managedidentity/userassignedidentities/*|federatedidentitycredentials/*": federatedCredential,
}

var identityHandlers = map[kind]map[string]handler{
	identities:           {"GET": listIdentities},
	identity:             {"GET": getIdentity, "PUT": putIdentity, "PATCH": patchIdentity, "DELETE": deleteIdentity},
	identityUsers:        {"POST": listIdentityUsers},
	systemIdentity:       {"GET": getSystemIdentity},
	federatedCredentials: {"GET": listFederated},
	federatedCredential:  {"GET": getFederated, "PUT": putFederated, "DELETE": deleteFederated},
}

type identityBody struct {
	ID         string             `json:"id"`
	Name       string             `json:"name"`
	Type       string             `json:"type"`
	Location   string             `json:"location"`
	Tags       record.Tags        `json:"tags"`
	Properties identityProperties `json:"properties"`
}

type identityProperties struct {
	TenantID       string `json:"tenantId"`
	PrincipalID    string `json:"principalId"`
	ClientID       string `json:"clientId"`
	IsolationScope string `json:"isolationScope,omitzero"`
}

func (s *session) identityBody(m directory.ManagedIdentity) identityBody {
	return identityBody{
		ID: s.idOf(m.Resource, m.DisplayName), Name: m.DisplayName, Type: identityType, Location: m.Location, Tags: tagsOf(m.Tags),
		Properties: identityProperties{m.Tenant.String(), m.ID.String(), m.ClientID.String(), m.IsolationScope},
	}
}

// tagsOf are tags that are written as an object when there are none.
func tagsOf(t record.Tags) record.Tags {
	if t == nil {
		return record.Tags{}
	}
	return t
}

// identity returns the user-assigned identity at a place.
func (s *session) identity(at scope.Scope) (directory.ManagedIdentity, bool) {
	m, ok := s.est.IdentityAt(at)
	return m, ok && !m.SystemAssigned && m.Tenant == s.tenant
}

func listIdentities(s *session, r *request) (answer, error) {
	if err := s.listable(identityType+"/read", r.at); err != nil {
		return answer{}, err
	}
	var rows []row
	for m := range s.est.Identities() {
		if !m.SystemAssigned && r.at.Contains(m.Resource) && s.may(identityType+"/read", m.Resource) {
			rows = append(rows, row{m.Resource.String(), s.identityBody(m)})
		}
	}
	return s.page(r, rows)
}

func getIdentity(s *session, r *request) (answer, error) {
	if err := s.needAt(identityType+"/read", r.at); err != nil {
		return answer{}, err
	}
	m, found := s.identity(r.at)
	if !found {
		return answer{}, s.notThere(r.at)
	}
	return ok(m, s.identityBody(m)), nil
}

var identityRule = rule(`[A-Za-z0-9][-\w]{2,127}`, 128, "3 to 128 letters, digits, hyphens and underscores, the first a letter or digit")

type identityInput struct {
	Location   *string      `json:"location"`
	Tags       *record.Tags `json:"tags"`
	Properties struct {
		IsolationScope *string `json:"isolationScope"`
	} `json:"properties"`
}

func putIdentity(s *session, r *request) (answer, error) {
	old, exists := s.identity(r.at)
	next := directory.ManagedIdentity{
		ID: principal.ID(r.mint("principal")), ClientID: directory.AppID(r.mint("client")), Tenant: s.tenant, Resource: r.at, DisplayName: r.last(),
	}
	var before record.Record
	if exists {
		before, next = old, old
		next.Tags, next.IsolationScope = nil, ""
	}
	if err := s.need(serve.ToPut(s.est, before, next)...); err != nil {
		return answer{}, err
	}
	if err := s.exists(up(r.at)); err != nil {
		return answer{}, err
	}
	if err := s.open(r.at); err != nil {
		return answer{}, err
	}
	if !exists && !identityRule.allows(next.DisplayName) {
		return answer{}, badName(identityType, next.DisplayName, identityRule.text)
	}
	var in identityInput
	if err := r.decode(&in); err != nil {
		return answer{}, err
	}
	if in.Location == nil && !exists {
		return answer{}, noLocation()
	}
	if err := in.into(&next, s.groupLocation(r.at)); err != nil {
		return answer{}, err
	}
	return wrote(exists, !exists || !reflect.DeepEqual(next, old), next, s.identityBody(next)), nil
}

func patchIdentity(s *session, r *request) (answer, error) {
	old, exists := s.identity(r.at)
	if !exists {
		if err := s.needAt(identityType+"/write", r.at); err != nil {
			return answer{}, err
		}
		return answer{}, s.notThere(r.at)
	}
	if err := s.need(serve.ToPut(s.est, old, old)...); err != nil {
		return answer{}, err
	}
	var in identityInput
	if err := r.decode(&in); err != nil {
		return answer{}, err
	}
	next := old
	if err := in.into(&next, s.groupLocation(r.at)); err != nil {
		return answer{}, err
	}
	return wrote(true, !reflect.DeepEqual(next, old), next, s.identityBody(next)), nil
}

// into puts what a body says into an identity, whose resource group is at a location.
func (in *identityInput) into(m *directory.ManagedIdentity, group string) error {
	if in.Location != nil {
		var err error
		if m.Location, err = locationOf(identityType, m.DisplayName, m.Location, *in.Location, group); err != nil {
			return err
		}
	}
	if in.Tags != nil {
		if m.Tags = *in.Tags; len(m.Tags) == 0 {
			m.Tags = nil
		}
	}
	if at := in.Properties.IsolationScope; at != nil {
		if m.IsolationScope = *at; *at == "None" {
			m.IsolationScope = ""
		}
	}
	return m.Validate()
}

// deleteIdentity deletes an identity with its federated credentials. What it was
// given stays, and grants nothing; a cluster that names it goes on naming it.
func deleteIdentity(s *session, r *request) (answer, error) {
	m, exists := s.identity(r.at)
	if !exists {
		return answer{status: http.StatusNoContent}, s.needAt(identityType+"/delete", r.at)
	}
	ops, err := s.removal(m)
	return answer{status: http.StatusOK, ops: ops, of: m.Key()}, err
}

type userBody struct {
	ID                      string `json:"id"`
	Name                    string `json:"name"`
	Type                    string `json:"type"`
	ResourceGroup           string `json:"resourceGroup"`
	SubscriptionID          string `json:"subscriptionId"`
	SubscriptionDisplayName string `json:"subscriptionDisplayName"`
}

// listIdentityUsers lists the resources that name an identity: those that the caller
// may read, and no count of the others.
func listIdentityUsers(s *session, r *request) (answer, error) {
	if err := s.needAt(identityType+"/listAssociatedResources/action", r.at); err != nil {
		return answer{}, err
	}
	id, found := s.identity(r.at)
	if !found {
		return answer{}, s.notThere(r.at)
	}
	var rows []row
	add := func(at scope.Scope, name, typ string) {
		if !s.ours(at) || !s.may(typ+"/read", at) {
			return
		}
		in, _ := at.Subscription()
		sub, _ := s.est.Subscription(in)
		rg, _ := at.ResourceGroup()
		group, _ := s.est.ResourceGroup(rg)
		rows = append(rows, row{at.String(), userBody{s.idOf(at, name), name, typ, group.Name, in.Name(), sub.DisplayName}})
	}
	for o := range s.est.Resources() {
		if o.NamesIdentity(r.at) {
			add(o.Scope, o.Name, o.Type)
		}
	}
	for c := range s.est.Clusters() {
		if c.UsesIdentity(id.ID) {
			add(c.Scope, c.Name, clusterType)
		}
	}
	return s.page(r, rows)
}

// getSystemIdentity shows the identity that a resource has of itself. Whoever may
// read the resource may read it.
func getSystemIdentity(s *session, r *request) (answer, error) {
	if err := s.needAt("Microsoft.ManagedIdentity/identities/read", r.at); err != nil {
		return answer{}, err
	}
	m, found := s.est.IdentityAt(r.at)
	if !found || !m.SystemAssigned || m.Tenant != s.tenant || r.name != "default" {
		return answer{}, noResource("The resource '%s' has no system-assigned identity '%s'.", s.spell(r.at), serve.Printable(r.name, 80))
	}
	body := s.identityBody(m)
	body.ID, body.Name, body.Type = s.spell(r.at)+"/providers/Microsoft.ManagedIdentity/identities/default", "default", "Microsoft.ManagedIdentity/identities"
	return ok(m, body), nil
}

func badName(typ, name, rule string) error {
	return serve.Refuse(http.StatusBadRequest, "InvalidResourceName", fmt.Sprintf("'%s' is not the name of a resource of type %s: %s.", serve.Printable(name, 140), typ, rule))
}
