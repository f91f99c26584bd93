package podid

import (
	"errors"
	"fmt"
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

// BehaviorAnnotation on an AzureIdentity, with the value "namespaced" in any
// letter case, lets only pods and bindings of its own namespace use it.
const BehaviorAnnotation = "aadpodidentity.k8s.io/Behavior"

// An IdentityType says how tokens of an AzureIdentity are got.
type IdentityType int

const (
	UserAssigned      IdentityType = 0 // a user-assigned managed identity
	ClientSecret      IdentityType = 1 // a service principal with a secret
	ClientCertificate IdentityType = 2 // a service principal with a certificate
)

// An AzureIdentity says in the cluster that an identity is there: a managed one,
// or a service principal whose credential is in a Secret. It grants nothing.
type AzureIdentity struct {
	head
	Spec   IdentitySpec `json:"spec"`
	Status skipped      `json:"status,omitzero"`
}

// IdentitySpec is the spec of an AzureIdentity. ResourceID is that of a managed
// identity; TenantID, ClientPassword and what follows are a service principal's.
type IdentitySpec struct {
	Type       IdentityType    `json:"type"`
	ResourceID scope.Scope     `json:"resourceID,omitzero"`
	ClientID   directory.AppID `json:"clientID,omitzero"`
	// ClientPassword names the Secret: of a type 1, the first value of its data is
	// the secret; of a type 2, its keys are certificate and password.
	ClientPassword     SecretRef            `json:"clientPassword,omitzero"`
	TenantID           directory.TenantID   `json:"tenantID,omitzero"`
	AuxiliaryTenantIDs []directory.TenantID `json:"auxiliaryTenantIDs,omitempty"`
	ADResourceID       string               `json:"adResourceID,omitzero"`
	ADEndpoint         string               `json:"adEndpoint,omitzero"`

	Replicas skipped `json:"replicas,omitzero"`
	Metadata skipped `json:"metadata,omitzero"`
}

// A SecretRef names a Secret of the cluster.
type SecretRef struct {
	Name      string `json:"name,omitzero"`
	Namespace string `json:"namespace,omitzero"`
}

const identityKind = "AzureIdentity"

// ParseIdentity reads an AzureIdentity, in JSON. Errors wrap record.ErrInvalid.
func ParseIdentity(data []byte) (AzureIdentity, error) {
	a, err := parse[AzureIdentity](data, identityKind)
	a.Spec.compact()
	return a, err
}

// compact makes nil of an empty list, which means the same.
func (s *IdentitySpec) compact() {
	if len(s.AuxiliaryTenantIDs) == 0 {
		s.AuxiliaryTenantIDs = nil
	}
}

// Namespaced reports whether only its own namespace may use the identity,
// whatever holds for others.
func (a AzureIdentity) Namespaced() bool {
	return strings.EqualFold(a.Metadata.Annotations[BehaviorAnnotation], "namespaced")
}

// userAssigned is the type of a user-assigned identity's resource id.
const userAssigned = "microsoft.managedidentity/userassignedidentities"

// Validate says what is wrong with an identity.
func (a AzureIdentity) Validate() error {
	return invalid(identityKind, a.Metadata, a.check(identityKind), a.Spec.check())
}

func (s IdentitySpec) check() error {
	if s.ClientID.IsZero() {
		return errors.New("spec.clientID is missing")
	}
	switch s.Type {
	case UserAssigned:
		group, _ := s.ResourceID.ResourceGroup()
		if parent, _ := s.ResourceID.Parent(); group.IsZero() || parent != group || s.ResourceID.Type() != userAssigned {
			return fmt.Errorf("spec.resourceID %.300q is not that of a user-assigned identity", s.ResourceID)
		}
		if s.ClientPassword != (SecretRef{}) {
			return errors.New("spec.clientPassword is set, and a managed identity has none: it is a service principal, or it is not")
		}
	case ClientSecret, ClientCertificate:
		switch {
		case !s.ResourceID.IsZero():
			return errors.New("spec.resourceID is set, and a service principal has none: it is a managed identity, or it is not")
		case s.TenantID.IsZero():
			return errors.New("spec.tenantID is missing")
		case !isSubdomain(s.ClientPassword.Name) || !isLabel(s.ClientPassword.Namespace):
			return errors.New("spec.clientPassword does not name a Secret and its namespace")
		}
	default:
		return fmt.Errorf("spec.type %d is none of 0 (user-assigned), 1 (client secret), 2 (client certificate)", s.Type)
	}
	return nil
}
