package arm

import (
	"fmt"
	"net/http"
	"reflect"
	"slices"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve"
)

const bindingType = clusterType + "/identityBindings"

const (
	identityBindings kind = "identityBindings"
	identityBinding  kind = "identityBinding"
)

type bindingBody struct {
	ID         string            `json:"id"`
	Name       string            `json:"name"`
	Type       string            `json:"type"`
	Properties bindingProperties `json:"properties"`
}

type bindingProperties struct {
	ManagedIdentity   boundIdentity `json:"managedIdentity"`
	OIDCIssuer        bindingIssuer `json:"oidcIssuer"`
	ProvisioningState string        `json:"provisioningState"`
}

type boundIdentity struct {
	ResourceID string `json:"resourceId"`
	ObjectID   string `json:"objectId"`
	ClientID   string `json:"clientId"`
	TenantID   string `json:"tenantId"`
}

type bindingIssuer struct {
	URL string `json:"oidcIssuerUrl"`
}

func (s *session) bindingBody(c resource.Cluster, b resource.IdentityBinding) bindingBody {
	body := bindingBody{ID: s.spell(c.Scope) + "/identityBindings/" + b.Name, Name: b.Name, Type: bindingType}
	body.Properties = bindingProperties{ManagedIdentity: boundIdentity{ResourceID: s.spell(b.Identity.Resource), ObjectID: b.Identity.Object.String()}, ProvisioningState: "Succeeded"}
	if m, ok := s.est.ManagedIdentity(b.Identity.Object); ok {
		body.Properties.ManagedIdentity.ClientID, body.Properties.ManagedIdentity.TenantID = m.ClientID.String(), m.Tenant.String()
		body.Properties.OIDCIssuer.URL = directory.BindingCredential(m).Issuer
	}
	return body
}

func listBindings(s *session, r *request) (answer, error) {
	c, err := s.clusterAt(r, "/identityBindings/read")
	if err != nil {
		return answer{}, err
	}
	var rows []row
	for _, b := range c.IdentityBindings {
		rows = append(rows, row{b.Name, s.bindingBody(c, b)})
	}
	return s.page(r, rows)
}

func getBinding(s *session, r *request) (answer, error) {
	c, err := s.clusterAt(r, "/identityBindings/read")
	if err != nil {
		return answer{}, err
	}
	b, found := c.Binding(r.name)
	if !found {
		return answer{}, noResource("The resource '%s/identityBindings/%s' was not found.", s.spell(r.at), serve.Printable(r.name, 80))
	}
	return ok(c, s.bindingBody(c, b)), nil
}

// putBinding binds an identity to a cluster, and gives the identity the credential
// that all its bindings share, which takes the right to do that.
func putBinding(s *session, r *request) (answer, error) {
	c, err := s.clusterAt(r, "/identityBindings/write")
	if err != nil {
		return answer{}, err
	}
	if err := idle(c); err != nil {
		return answer{}, err
	}
	m, err := s.toBind(r)
	if err != nil {
		return answer{}, err
	}
	b := resource.IdentityBinding{Name: r.name, Identity: resource.IdentityRef{Resource: m.Resource, Object: m.ID}}
	old, exists := c.Binding(r.name)
	next := c
	switch {
	case exists && old.Identity != b.Identity:
		return answer{}, serve.Refuse(http.StatusBadRequest, "PropertyChangeNotAllowed", "Changing property 'properties.managedIdentity.resourceId' is not allowed. Delete the identity binding and make another one.")
	case exists:
		b = old
	default:
		next.IdentityBindings = append(slices.Clone(c.IdentityBindings), b)
	}
	if err := next.Validate(); err != nil {
		return answer{}, err
	}
	if err := s.need(serve.ToPut(s.est, c, next)...); err != nil {
		return answer{}, err
	}
	out := wrote(exists, !exists, next, s.bindingBody(next, b))
	return out, s.lendCredential(&out, m)
}

// toBind returns the identity that a body names.
func (s *session) toBind(r *request) (directory.ManagedIdentity, error) {
	var in struct {
		Properties struct {
			ManagedIdentity struct {
				ResourceID string `json:"resourceId"`
			} `json:"managedIdentity"`
		} `json:"properties"`
	}
	if err := r.decode(&in); err != nil {
		return directory.ManagedIdentity{}, err
	}
	id := in.Properties.ManagedIdentity.ResourceID
	at, err := scope.Parse(id)
	if err != nil || at.Type() != lowerASCII(identityType) {
		return directory.ManagedIdentity{}, serve.Refuse(http.StatusBadRequest, "InvalidParameter", fmt.Sprintf(
			"The value of parameter properties.managedIdentity.resourceId is invalid: '%s' is not the id of a user-assigned identity.", serve.Printable(id, 300)))
	}
	// Who may not read an identity is not told whether there is one.
	if err := s.needAt(identityType+"/read", at); err != nil {
		return directory.ManagedIdentity{}, err
	}
	m, found := s.identity(at)
	if !found {
		return directory.ManagedIdentity{}, s.notThere(at)
	}
	return m, nil
}

// lendCredential adds the credential of identity bindings to what is written, where
// the identity does not have it yet.
func (s *session) lendCredential(out *answer, m directory.ManagedIdentity) error {
	want := directory.BindingCredential(m)
	var before record.Record
	if old, exists := s.federated(m, want.Name); exists {
		if reflect.DeepEqual(old, want) {
			return nil
		}
		before = old
	}
	if err := s.needAt(federatedType+"/write", m.Resource); err != nil {
		return err
	}
	if err := s.need(serve.ToPut(s.est, before, want)...); err != nil {
		return err
	}
	if before == nil {
		if err := serve.WithinLimits(s.est, want, s.now); err != nil {
			return err
		}
	}
	out.ops = append(out.ops, estate.Op{Put: want})
	return nil
}

// deleteBinding takes a binding away. The credential stays, for the others.
func deleteBinding(s *session, r *request) (answer, error) {
	if err := s.needAt(bindingType+"/delete", r.at); err != nil {
		return answer{}, err
	}
	c, exists := s.est.Cluster(r.at)
	b, found := c.Binding(r.name)
	if !exists || !found {
		return answer{status: http.StatusNoContent}, nil
	}
	if err := idle(c); err != nil {
		return answer{}, err
	}
	next := c
	next.IdentityBindings = slices.DeleteFunc(slices.Clone(c.IdentityBindings), func(other resource.IdentityBinding) bool { return other == b })
	if len(next.IdentityBindings) == 0 {
		next.IdentityBindings = nil
	}
	return answer{status: http.StatusOK, of: c.Key(), ops: []estate.Op{{Put: next}}}, nil
}
