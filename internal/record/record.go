// Package record says what every stored noun has in common: a key that names
// it, a check that it is well formed, and one strict JSON form.
package record

import (
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"
)

// ErrInvalid is wrapped by every error about a malformed record.
var ErrInvalid = errors.New("invalid")

// Invalid returns an error that says what is wrong with a record.
func Invalid(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrInvalid}, args...)...)
}

// A Kind names a sort of record, as it is written in estate files.
type Kind string

// The kinds of record.
const (
	Tenant              Kind = "Tenant"
	User                Kind = "User"
	Group               Kind = "Group"
	Membership          Kind = "Membership"
	Application         Kind = "Application"
	ServicePrincipal    Kind = "ServicePrincipal"
	ManagedIdentity     Kind = "ManagedIdentity"
	FederatedCredential Kind = "FederatedCredential"
	ManagementGroup     Kind = "ManagementGroup"
	Subscription        Kind = "Subscription"
	ResourceGroup       Kind = "ResourceGroup"
	Cluster             Kind = "Cluster"
	Resource            Kind = "Resource"
	RoleDefinition      Kind = "RoleDefinition"
	RoleAssignment      Kind = "RoleAssignment"
	DenyAssignment      Kind = "DenyAssignment"
	RoleEligibility     Kind = "RoleEligibility"
	RoleScheduleRequest Kind = "RoleScheduleRequest"
	KubeRole            Kind = "KubeRole"
	KubeBinding         Kind = "KubeBinding"
	Rehearsal           Kind = "Rehearsal"

	// DirectoryRoleAssignment gives a role of the directory; RoleAssignment one of Azure.
	DirectoryRoleAssignment Kind = "DirectoryRoleAssignment"
	Ownership               Kind = "Ownership"
	RoleManagementPolicy    Kind = "RoleManagementPolicy"
	IdentityRequest         Kind = "IdentityRequest"
)

// Kinds lists every kind, each after the kinds that its records may refer to.
var Kinds = []Kind{
	Tenant, User, Group, Application, ServicePrincipal, ManagedIdentity, Membership, FederatedCredential,
	DirectoryRoleAssignment, Ownership,
	ManagementGroup, Subscription, ResourceGroup, Cluster, Resource,
	RoleDefinition, RoleManagementPolicy, RoleEligibility, RoleAssignment, RoleScheduleRequest, DenyAssignment, KubeRole, KubeBinding,
	IdentityRequest, Rehearsal,
}

// A Key names one record. Its parts stay apart: they are compared one by one,
// and whoever writes them as one text must escape them.
type Key struct {
	Kind  Kind
	Parts [3]string
}

// KeyOf returns the key of a record of a kind.
func KeyOf(kind Kind, parts ...string) Key {
	k := Key{Kind: kind}
	copy(k.Parts[:], parts)
	return k
}

// String is for messages; it is not parsed again.
func (k Key) String() string {
	s := string(k.Kind)
	for _, p := range k.Parts {
		if p != "" {
			s += " " + p
		}
	}
	return s
}

// A Record is one noun of the estate, as a value.
type Record interface {
	Key() Key
	Validate() error
}

// Marshal returns the JSON form of a value. It is deterministic.
func Marshal(v any) ([]byte, error) { return json.Marshal(v, json.Deterministic(true)) }

// Unmarshal reads exactly one JSON value into v. Member names must match
// exactly and once; unknown members, invalid UTF-8 and anything behind the
// value are errors, so that no two readers can take one text for two things.
func Unmarshal(data []byte, v any) error {
	if err := json.Unmarshal(data, v, json.RejectUnknownMembers(true)); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return nil
}
