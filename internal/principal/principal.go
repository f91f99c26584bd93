// Package principal says who: the object id of a user, group, service principal
// or managed identity, and which of these it is. A principal is known by its
// object id and by nothing else; names are for people.
package principal

import "github.com/gatehouse-io/gatehouse/internal/guid"

type object struct{}

// ID is the object id of a principal. The zero ID is nobody.
type ID = guid.Of[object]

// ParseID returns the object id written as s.
func ParseID(s string) (ID, error) { return guid.Parse[object](s) }

// NewID returns a fresh random object id.
func NewID() ID { return guid.New[object]() }

// Kind is what sort of directory object a principal is, by the name that Azure
// uses for it in principalType. The zero Kind is unknown.
type Kind string

// The kinds of principal. A managed identity is a service principal to Azure
// RBAC; the house keeps them apart because they are created and die differently.
const (
	User             Kind = "User"
	Group            Kind = "Group"
	ServicePrincipal Kind = "ServicePrincipal"
	ManagedIdentity  Kind = "ManagedIdentity"
)

// AzureType is the kind as role assignments write it: User, Group or ServicePrincipal.
func (k Kind) AzureType() string {
	if k == ManagedIdentity {
		return string(ServicePrincipal)
	}
	return string(k)
}
