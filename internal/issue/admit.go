package issue

import (
	"slices"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/principal"
)

// An Identity is a person who has just shown, or shown some time ago, who he is.
// The zero Identity is nobody.
type Identity struct {
	Tenant   directory.TenantID `json:"tenant"`
	User     principal.ID       `json:"user"`
	SignedIn time.Time          `json:"signedIn"`
	// Methods are how, as in the claim amr.
	Methods []string `json:"methods,omitzero"`
}

// A proof is what a grant has established before anything is decided.
type proof struct {
	realm  Realm
	client client
	scopes Scopes
	// who asks through the client; nobody means that the client asks for itself.
	who   Identity
	nonce string
	// family is the sign-in that the tokens belong to; "" for an application's own.
	family string
	// until is when what proved it ends, which no token outlives; zero is never.
	until time.Time
	// v1 is set at the version 1.0 endpoints. It decides the form of the id token
	// and of the answer; the access token follows the resource.
	v1 bool
	// spn makes the audience of a version 1.0 token carry the prefix "spn:".
	spn bool
}

// An admitted proof may become tokens. Only admit makes one.
type admitted struct {
	proof
	tenant       directory.TenantID
	clientObject principal.ID // zero for a client without a record in the tenant
	resource     resource
	audience     string
	permissions  []string
	echo         string
	user         directory.User // zero for an application
	groups       []principal.ID // transitive
	overage      bool           // a rehearsal's limit of groups in a token is exceeded
	revision     int64
}

// subject is the object that the tokens speak of.
func (a admitted) subject() principal.ID {
	if !a.user.ID.IsZero() {
		return a.user.ID
	}
	return a.clientObject
}

// name is what people call the subject.
func (a admitted) name() string {
	if !a.user.ID.IsZero() {
		return a.user.UserPrincipalName
	}
	return a.client.name
}

// admit decides whether a proof may become tokens now: the client, the resource
// and its scopes, the subject, the policy. Everything is looked up anew, because
// a code or a refresh token may be older than the order that ended its rights.
func (i *Issuer) admit(est *estate.Snapshot, p proof) (admitted, error) {
	a := admitted{proof: p, tenant: p.realm.ID, revision: est.Revision()}
	if p.client.proof == unproven {
		return admitted{}, refuse(invalidClient, 7000218, "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.")
	}
	if f := p.client.foreign; f.Issuer != "" {
		// A credential that was taken away ends here, however long it took to ask its
		// issuer (FED-17). What it is good for ends with it.
		end, err := stillTrusted(est, p.client.id, f, i.now())
		if err != nil {
			return admitted{}, err
		}
		if !end.IsZero() && (a.until.IsZero() || end.Before(a.until)) {
			a.until = end
		}
	}
	if b := p.client.bound; !b.IsZero() && !bound(est, b) {
		// So does a binding that was taken away while its cluster was asked.
		return admitted{}, ErrUnbound(p.client.id.String(), b.At.Name())
	}
	if p.client.managed && !p.who.User.IsZero() {
		return admitted{}, refuse(unauthorizedClient, 7000113, "Application '%s' is a managed identity: it gets tokens for itself alone.", p.client.id)
	}
	if p.who.User.IsZero() {
		if p.realm.IsAlias() {
			return admitted{}, refuse(invalidRequest, 9001023, "The grant type is not supported over the /common or /organizations endpoints. Please use the /consumers or tenant-specific endpoint.")
		}
	} else {
		if !p.realm.Admits(p.who.Tenant) {
			return admitted{}, refuse(invalidGrant, 50020, "User account from another identity provider does not exist in tenant '%s'.", p.realm)
		}
		a.tenant = p.who.Tenant
	}
	if _, ok := est.Tenant(a.tenant); !ok {
		return admitted{}, errTenant(a.tenant.String())
	}

	var err error
	if a.clientObject, err = p.client.presence(est, a.tenant); err != nil {
		return admitted{}, err
	}
	here := Realm{ID: a.tenant}
	if a.resource, a.audience, err = i.resolveResource(est, here, p.scopes.Resource); err != nil {
		return admitted{}, err
	}
	if a.resource.closed != nil {
		return admitted{}, a.resource.closed
	}
	if _, isGUID := parseApp(a.audience); isGUID && p.spn {
		a.audience = "spn:" + a.audience
	}

	if p.who.User.IsZero() {
		if p.client.proof == proofPublic || a.clientObject.IsZero() {
			return admitted{}, errClient(p.client.id.String(), here)
		}
		if !slices.Equal(p.scopes.Names, []string{defaultScope}) {
			return admitted{}, refuse(invalidScope, 1002012, "The provided value for scope %.200s is not valid. Client credential flows must have a scope value with /.default suffixed to the resource identifier (application ID URI).", p.scopes)
		}
	} else {
		if a.user, err = person(est, p.who); err != nil {
			return admitted{}, err
		}
		if a.permissions, a.echo, err = a.resource.grant(p.scopes); err != nil {
			return admitted{}, err
		}
	}
	if a.resource.groupClaims {
		a.groups = est.GroupsOf(a.subject())
		a.overage = est.Rehearsal().Limits.GroupsInToken.Exceeded(len(a.groups))
	}
	return a, nil
}

// person returns the user behind an identity, if it still stands: the user
// exists, is enabled, belongs to the tenant, and has not ended his sessions.
func person(est *estate.Snapshot, who Identity) (directory.User, error) {
	u, ok := est.User(who.User)
	switch {
	case !ok || u.Tenant != who.Tenant:
		return directory.User{}, refuse(invalidGrant, 50034, "The user account does not exist in the directory '%s'.", who.Tenant)
	case u.Disabled:
		return directory.User{}, refuse(invalidGrant, 50057, "The user account is disabled.")
	case who.SignedIn.Before(u.TokensValidFrom):
		return directory.User{}, refuse(invalidGrant, 50173, "The provided grant has expired due to it being revoked, a fresh auth token is needed.")
	}
	return u, nil
}
