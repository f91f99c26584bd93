package issue

import (
	"slices"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/token"
)

// A client is an application that asks for tokens.
type client struct {
	id        directory.AppID
	name      string
	public    bool
	redirects []string
	// firstParty is set for the clients that come with the house. They are
	// trusted to ask for any resource with a refresh token.
	firstParty bool
	// managed is set for a managed identity, which asks for itself alone.
	managed bool
	// key names the key that the access token is to be bound to, if any.
	key string
	// foreign is what a token of another issuer said by which it showed who it is.
	foreign token.Foreign
	// bound is what a cluster said by which it showed who it is.
	bound Bound
	// proof is how it showed who it is, as the claims appidacr and azpacr write it.
	proof clientProof
}

// A clientProof is how a client authenticated. The zero value is "not at all".
type clientProof string

const (
	unproven       clientProof = ""
	proofPublic    clientProof = "0"
	proofSecret    clientProof = "1"
	proofAssertion clientProof = "2"
)

var loopback = []string{"http://localhost", "http://localhost/", "http://127.0.0.1", "http://127.0.0.1/", "http://[::1]", "http://[::1]/"}

var wellKnownClients = []client{
	{id: AzureCLI, name: "Microsoft Azure CLI", public: true, redirects: loopback, firstParty: true},
	{id: KubernetesClient, name: "Azure Kubernetes Service AAD Client", public: true, redirects: loopback},
	{id: ManagementClient, name: "Gatehouse CLI", public: true, redirects: loopback, firstParty: true},
}

// findClient returns the client with an id, if it may be used in the realm. Where
// the tenant is still open, its presence there is checked by admit.
func findClient(est *estate.Snapshot, realm Realm, id string) (client, error) {
	if id == "" {
		return client{}, errMissing("client_id")
	}
	appID, ok := parseApp(id)
	if !ok {
		return client{}, errClient(id, realm)
	}
	c, ok := clientOf(est, appID)
	if !ok {
		return client{}, errClient(id, realm)
	}
	if !realm.IsAlias() {
		if _, err := c.presence(est, realm.ID); err != nil {
			return client{}, err
		}
	}
	return c, nil
}

func clientOf(est *estate.Snapshot, id directory.AppID) (client, bool) {
	for _, c := range wellKnownClients {
		if c.id == id {
			return c, true
		}
	}
	if mi, ok := est.ManagedIdentityByClient(id); ok {
		return client{id: id, name: mi.DisplayName, managed: true}, true
	}
	a, ok := est.Application(id)
	if !ok {
		return client{}, false
	}
	return client{id: id, name: a.DisplayName, public: a.Public, redirects: a.RedirectURIs}, true
}

// WellKnown reports whether an application id is that of a client or resource
// which comes with the house, and is the same in every tenant.
func WellKnown(id directory.AppID) bool {
	return slices.ContainsFunc(wellKnownClients, func(c client) bool { return c.id == id }) ||
		slices.ContainsFunc(wellKnownResources, func(r resource) bool { return r.app == id })
}

// presence returns the object id by which the client is known in a tenant. It is
// zero for a client that comes with the house and has no record there.
func (c client) presence(est *estate.Snapshot, tenant directory.TenantID) (principal.ID, error) {
	if c.managed {
		mi, ok := est.ManagedIdentityByClient(c.id)
		switch {
		case !ok || mi.Tenant != tenant:
			return principal.ID{}, errClient(c.id.String(), Realm{ID: tenant})
		case mi.Disabled:
			return principal.ID{}, errDisabledApp(c.name)
		}
		return mi.ID, nil
	}
	if a, ok := est.Application(c.id); ok {
		switch {
		case a.Disabled:
			return principal.ID{}, errDisabledApp(c.name)
		case a.AssignmentRequired:
			// There is no record yet that assigns anybody, so nobody is.
			return principal.ID{}, errUnassigned(c.name)
		}
	}
	sp, ok := est.ServicePrincipalOf(tenant, c.id)
	switch {
	case ok && sp.Disabled:
		return principal.ID{}, errDisabledApp(c.name)
	case ok:
		return sp.ID, nil
	case slices.ContainsFunc(wellKnownClients, func(w client) bool { return w.id == c.id }):
		return principal.ID{}, nil
	}
	return principal.ID{}, errClient(c.id.String(), Realm{ID: tenant})
}

// holds reports whether a credential counts in a realm: one of the application
// does everywhere, one of a service principal where that is.
func (c client) holds(est *estate.Snapshot, realm Realm, of principal.ID) bool {
	if of.IsZero() {
		return true
	}
	sp, ok := est.ServicePrincipalOf(realm.ID, c.id)
	return ok && !realm.IsAlias() && sp.ID == of
}

// answersAt reports whether the client may be answered at a redirect URI.
func (c client) answersAt(uri string) bool {
	return uri != "" && len(uri) <= maxRedirect && slices.ContainsFunc(c.redirects, func(r string) bool { return redirectMatches(r, uri, c.public) })
}

// maxRedirect is the longest redirect URI, in bytes.
const maxRedirect = 2048
