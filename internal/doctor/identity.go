package doctor

import (
	"slices"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/inject"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

// Exchange is the audience of tokens that are exchanged.
const Exchange = inject.DefaultAudience

// An Estate is what is known of the directory. Unread, if it is not empty, says why
// there may be more: then nothing is missing from it for certain.
type Estate struct {
	*estate.Snapshot
	Unread string
	// Now is the instant that is asked about: some credentials have an end.
	Now time.Time
}

// An Identity is an application or a managed identity that a token is asked for.
type Identity struct {
	Client   directory.AppID
	Object   principal.ID // of the managed identity or service principal
	Tenant   directory.TenantID
	Name     string
	Managed  bool
	Resource scope.Scope // of a managed identity
	Disabled bool
	// credentials are the names of its federated credentials.
	credentials []string
}

func (i Identity) String() string {
	if i.Managed {
		return "managed identity " + i.Name
	}
	return "application " + i.Name
}

func managed(m directory.ManagedIdentity) Identity {
	name := m.DisplayName
	if name == "" {
		name = m.Resource.Name()
	}
	return Identity{Client: m.ClientID, Object: m.ID, Tenant: m.Tenant, Name: name, Managed: true, Resource: m.Resource, Disabled: m.Disabled}
}

// Identity returns who has a client id.
func (e Estate) Identity(client directory.AppID) (Identity, bool) {
	if m, ok := e.ManagedIdentityByClient(client); ok {
		return managed(m), true
	}
	a, ok := e.Application(client)
	if !ok {
		return Identity{}, false
	}
	i := Identity{Client: client, Tenant: a.Tenant, Name: a.DisplayName, Disabled: a.Disabled}
	if sp, ok := e.ServicePrincipalOf(a.Tenant, client); ok {
		i.Object, i.Disabled = sp.ID, i.Disabled || sp.Disabled
	}
	return i, true
}

// TokenHolders are the managed identities and applications that a token can be asked
// for, in order of client id.
func (e Estate) TokenHolders() []Identity {
	var all []Identity
	for m := range e.Identities() {
		all = append(all, managed(m))
	}
	for a := range e.Applications() {
		if i, ok := e.Identity(a.AppID); ok && !i.Managed {
			all = append(all, i)
		}
	}
	slices.SortFunc(all, func(a, b Identity) int { return slices.Compare(a.Client[:], b.Client[:]) })
	return all
}
