package issue

import (
	"context"
	"errors"
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/alert"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/store"
	"github.com/gatehouse-io/gatehouse/internal/token"
)

// A TokenRequest is what came to a token endpoint. Empty fields were not sent
// (RFC 6749, section 3.2).
type TokenRequest struct {
	Realm      string // the first segment of the path
	V1         bool   // the version 1.0 endpoint
	APIVersion string // of the version 1.0 endpoint

	GrantType     string
	ClientID      string
	ClientSecret  Secret
	AssertionType string
	Assertion     Secret

	Scope    string
	Resource string // the version 1.0 endpoint's

	Code         Secret
	RedirectURI  string
	Verifier     Secret
	DeviceCode   Secret
	RefreshToken Secret
	Username     string
	Password     Secret
	// UserAssertion is assertion, a person's token that a service was sent, and
	// TokenUse is requested_token_use.
	UserAssertion Secret
	TokenUse      string

	// Bound is set by the token proxy of a cluster, and by nobody else, when the
	// cluster has checked who asks for a managed identity: it stands for the proof
	// of the client.
	Bound *Bound

	// TokenType is token_type, by which a client asks for a token that is bound to
	// the key that Confirmation, req_cnf, names.
	TokenType    string
	Confirmation string

	Source string // where it comes from, to count guesses by
}

// scopes returns what is asked for, or what was asked for before if nothing is.
func (r TokenRequest) scopes(before Scopes) (Scopes, error) {
	switch {
	case r.V1 && r.Resource != "":
		return scopesOf(r.Resource)
	case r.Scope != "":
		s, err := ParseScopes(r.Scope)
		if err == nil && len(s.Names) == 0 {
			// OpenID Connect scopes alone: the resource stays as it was.
			s.Resource, s.Names, s.Verbatim = before.Resource, before.Names, before.Verbatim
		}
		return s, err
	}
	return before, nil
}

// For reports whether a request names a resource, by its identifier or by its
// application id, as what the token is to be for.
func (r TokenRequest) For(resource string) bool {
	s, err := r.scopes(Scopes{})
	return err == nil && s.Resource == resource
}

// spn reports whether a version 1.0 audience gets the prefix that ADAL's first
// api-version stands for.
func (r TokenRequest) spn() bool { return r.V1 && r.APIVersion == "1.0" }

// boundTo returns the key that the access token is to be bound to, or "".
func (r TokenRequest) boundTo() (kid string, err error) {
	switch {
	case lowerASCII(r.TokenType) == "bearer" || r.TokenType == "" && r.Confirmation == "":
		return "", nil
	case r.TokenType != "pop":
		return "", refuse(invalidRequest, 90015, "'%.32s' is not a supported value of 'token_type'.", r.TokenType)
	case r.Confirmation == "":
		return "", errMissing("req_cnf")
	}
	kid, err = token.ParseConfirmation(r.Confirmation)
	if err != nil {
		return "", refuse(invalidRequest, 90015, "The 'req_cnf' does not name a key by its SHA-256 thumbprint.").because(err)
	}
	return kid, nil
}

// Token answers a token request. It is the one entrance of every grant.
func (i *Issuer) Token(ctx context.Context, req TokenRequest) (Answer, error) {
	ans, err := i.token(ctx, req)
	if err != nil {
		return Answer{}, err // never tokens and an error
	}
	return ans, nil
}

func (i *Issuer) token(ctx context.Context, req TokenRequest) (Answer, error) {
	est, err := i.estate()
	if err != nil {
		return Answer{}, err
	}
	realm, err := ResolveRealm(est, req.Realm)
	if err != nil {
		return Answer{}, err
	}
	switch req.GrantType {
	case "":
		return Answer{}, errMissing("grant_type")
	case "authorization_code", "refresh_token", "client_credentials", "password", deviceGrant, "device_code", onBehalfGrant:
	default:
		return Answer{}, refuse(unsupportedGrant, 70003, "The app requested an unsupported grant type '%.100s'.", req.GrantType)
	}
	key, err := req.boundTo()
	if err != nil {
		return Answer{}, err
	}
	c, err := i.authenticate(ctx, est, req, realm)
	if err != nil {
		return Answer{}, err
	}
	c.key = key
	switch req.GrantType {
	case "authorization_code":
		return i.redeem(ctx, req, realm, c)
	case "refresh_token":
		return i.refresh(ctx, req, realm, c)
	case "client_credentials":
		return i.clientCredentials(ctx, req, realm, c)
	case "password":
		return i.password(ctx, est, req, realm, c)
	case onBehalfGrant:
		return i.onBehalf(ctx, est, req, realm, c)
	}
	return i.poll(ctx, req, realm, c)
}

// deviceGrant is RFC 8628's name; MSAL for Go uses the short one.
const deviceGrant = "urn:ietf:params:oauth:grant-type:device_code"

// grant is the last step of every grant: the proof, held against the estate of
// this instant, becomes tokens.
func (i *Issuer) grant(ctx context.Context, p proof) (Answer, error) {
	est, err := i.estate()
	if err != nil {
		return Answer{}, err
	}
	a, err := i.admit(est, p)
	if err != nil {
		return Answer{}, err
	}
	if err := i.watch(ctx, est, a); err != nil {
		return Answer{}, err
	}
	return i.mint(ctx, a)
}

// watch tells of an identity of a cluster that gets a token outside of that cluster.
// One that cannot be told of gets none.
func (i *Issuer) watch(ctx context.Context, est *estate.Snapshot, a admitted) error {
	c := a.client
	if !c.managed || c.foreign.Issuer == "" {
		return nil // whoever asks by ManagedIdentity knows for whom
	}
	found, outside := alert.FromIssuer(est, a.clientObject, c.foreign.Issuer, c.foreign.Subject)
	if !c.bound.IsZero() {
		found, outside = alert.FromCluster(est, a.clientObject, alert.Bound, c.bound.At, c.bound.Account)
	}
	if !outside {
		return nil
	}
	if err := i.state.Alert(ctx, found); err != nil {
		return errUnavailable(err)
	}
	return nil
}

// clientCredentials answers an application that asks for itself.
func (i *Issuer) clientCredentials(ctx context.Context, req TokenRequest, realm Realm, c client) (Answer, error) {
	if c.proof == proofPublic {
		return Answer{}, refuse(invalidClient, 7000218, "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.")
	}
	if !req.V1 && req.Scope == "" {
		return Answer{}, errMissing("scope")
	}
	if req.V1 && req.Resource == "" {
		return Answer{}, errMissing("resource")
	}
	scopes, err := req.scopes(Scopes{})
	if err != nil {
		return Answer{}, err
	}
	return i.grant(ctx, proof{realm: realm, client: c, scopes: scopes, v1: req.V1, spn: req.spn()})
}

// password answers the resource owner password grant, where a tenant allows it.
func (i *Issuer) password(ctx context.Context, est *estate.Snapshot, req TokenRequest, realm Realm, c client) (Answer, error) {
	off := refuse(unsupportedGrant, 70003, "The app requested an unsupported grant type 'password'. The directory does not allow it.")
	tenant := realm.ID
	if realm.IsAlias() {
		if realm.String() == "common" {
			return Answer{}, refuse(invalidRequest, 9001023, "The grant type is not supported over the /common endpoint. Please use the /organizations or tenant-specific endpoint.")
		}
		_, domain, _ := strings.Cut(req.Username, "@")
		t, ok := DomainTenant(est, domain)
		if !ok {
			return Answer{}, off // as for any tenant that does not allow it
		}
		tenant = t.ID
	}
	t, ok := est.Tenant(tenant)
	switch {
	case !ok || !t.AllowPasswordGrant:
		return Answer{}, off
	case req.Username == "":
		return Answer{}, errMissing("username")
	case req.Password.IsZero():
		return Answer{}, errMissing("password")
	}
	scopes, err := req.scopes(Scopes{})
	if err != nil {
		return Answer{}, err
	}
	who, err := i.SignIn(ctx, Realm{ID: tenant}, req.Username, req.Password, req.Source)
	if err != nil {
		return Answer{}, err
	}
	if u, _ := est.User(who.User); u.Guest {
		return Answer{}, refuse(invalidGrant, 50020, "User account from another identity provider can't use the password grant in tenant '%s'.", tenant)
	}
	return i.begin(ctx, proof{realm: realm, client: c, scopes: scopes, who: who, family: newFamilyID(), v1: req.V1, spn: req.spn()})
}

// begin answers a proof that starts a sign-in, and uses up what proved it: the
// ops and the new family are written in one transaction, or errChanged.
func (i *Issuer) begin(ctx context.Context, p proof, ops ...store.PrivateOp) (Answer, error) {
	ans, err := i.grant(ctx, p)
	if err != nil {
		return Answer{}, err
	}
	f, refresh := newFamily(p)
	op, err := f.put(p.family, 0, i.now())
	if err != nil {
		return Answer{}, err
	}
	if err := i.commit(ctx, append(ops, op)...); err != nil {
		return Answer{}, err
	}
	ans.RefreshToken = refresh.Reveal()
	return ans, nil
}

// isLost reports whether somebody else was faster with what is used once.
func isLost(err error) bool { return errors.Is(err, errChanged) }
