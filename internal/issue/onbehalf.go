package issue

import (
	"context"
	"errors"

	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/token"
)

// onBehalfGrant is the grant of RFC 7523 section 2.1, which Entra uses to let a
// service call another one in the name of the person who called it.
const onBehalfGrant = "urn:ietf:params:oauth:grant-type:jwt-bearer"

// onBehalf answers a service that was sent a person's access token, and wants one
// of that person for another service. The new token belongs to the same sign-in
// and ends with it, never outlives the token that it was made from, and comes
// without a refresh token: who may act for somebody while he is away is decided
// when he signs in.
func (i *Issuer) onBehalf(ctx context.Context, est *estate.Snapshot, req TokenRequest, realm Realm, c client) (Answer, error) {
	switch {
	case c.proof == proofPublic:
		return Answer{}, refuse(invalidClient, 7000218, "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.")
	case req.UserAssertion.IsZero():
		return Answer{}, errMissing("assertion")
	case req.TokenUse != "on_behalf_of":
		return Answer{}, refuse(invalidRequest, 900144, "The request body must contain the following parameter: 'requested_token_use' with value 'on_behalf_of'.")
	case !req.V1 && req.Scope == "":
		return Answer{}, errMissing("scope")
	case req.V1 && req.Resource == "":
		return Answer{}, errMissing("resource")
	}
	scopes, err := req.scopes(Scopes{})
	if err != nil {
		return Answer{}, err
	}
	claims, err := i.userAssertion(ctx, est, req.UserAssertion, realm, c)
	if err != nil {
		return Answer{}, err
	}
	return i.grant(ctx, proof{
		realm: realm, client: c, scopes: scopes, v1: req.V1, spn: req.spn(),
		who:    Identity{Tenant: claims.Tenant, User: claims.ObjectID, SignedIn: claims.AuthTime, Methods: claims.AMR},
		family: familyOf(claims), until: claims.Expires,
	})
}

// userAssertion returns what a person's access token says that was made for the
// client, if its sign-in still stands. Whether the person does is for admit to say.
func (i *Issuer) userAssertion(ctx context.Context, est *estate.Snapshot, raw Secret, realm Realm, c client) (token.Claims, error) {
	tenant, ok := i.tenantOf(raw, realm)
	if !ok {
		return token.Claims{}, refuse(invalidGrant, 50013, "Assertion failed signature validation.")
	}
	service, ok := resourceOf(est, c.id)
	if !ok {
		return token.Claims{}, errClient(c.id.String(), realm)
	}
	claims, err := token.Verify(raw.Reveal(), i.keys.Set(), token.Want{
		Tenant: tenant, Issuers: i.Issuers(tenant), Audiences: service.audiences(), Purpose: token.AccessToken,
	}, i.now())
	switch {
	case errors.Is(err, token.ErrAudience):
		return token.Claims{}, refuse(invalidGrant, 500131, "Assertion audience does not match the Client app presenting the assertion. "+
			"The expected audience is '%s' or one of the Application Uris of this application with App ID '%s' (%s). "+
			"The downstream client must request a token for the expected audience (the application that made the OBO request) and this application should use that token as the assertion.",
			c.id, c.id, c.name).because(err)
	case errors.Is(err, token.ErrExpired):
		return token.Claims{}, refuse(invalidGrant, 500133, "Assertion is not within its valid time range. Ensure that the access token is not expired before using it for user assertion, or request a new token.").because(err)
	case err != nil:
		return token.Claims{}, refuse(invalidGrant, 50013, "Assertion failed signature validation.").because(err)
	case claims.IDType == "app":
		return token.Claims{}, refuse(invalidGrant, 7000114, "Application '%s' is not allowed to make application on-behalf-of calls.", c.id)
	}
	live, err := i.Live(ctx, claims)
	if err != nil {
		return token.Claims{}, err
	}
	if !live {
		return token.Claims{}, refuse(invalidGrant, 50173, "The provided grant has expired due to it being revoked, a fresh auth token is needed.")
	}
	return claims, nil
}
