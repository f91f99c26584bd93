package issue

import (
	"context"
	"crypto/x509"
	"errors"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/store"
	"github.com/gatehouse-io/gatehouse/internal/token"
)

// assertionType is the only client assertion type there is (RFC 7523).
const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// authenticate finds the client, and lets it prove who it is in exactly one way.
// A public client proves nothing and must not try: whatever it had would be in
// everybody's hands.
func (i *Issuer) authenticate(ctx context.Context, est *estate.Snapshot, req TokenRequest, realm Realm) (client, error) {
	c, err := findClient(est, realm, req.ClientID)
	if err != nil {
		return client{}, err
	}
	if req.Bound != nil {
		return req.Bound.client(est, c, req.GrantType)
	}
	hasAssertion := !req.Assertion.IsZero() || req.AssertionType != ""
	switch {
	case !req.ClientSecret.IsZero() && hasAssertion:
		return client{}, refuse(invalidRequest, 7000219, "'client_assertion' and 'client_secret' must not be sent together.")
	case c.public && (!req.ClientSecret.IsZero() || hasAssertion):
		return client{}, refuse(invalidClient, 700025, "Client is public so neither 'client_assertion' nor 'client_secret' should be presented.")
	case c.public:
		c.proof = proofPublic
		return c, nil
	case !req.ClientSecret.IsZero():
		if err := i.checkSecret(ctx, est, c, realm, req.ClientSecret); err != nil {
			return client{}, err
		}
		c.proof = proofSecret
		return c, nil
	case hasAssertion:
		return i.checkAssertion(ctx, est, c, req, realm)
	}
	return client{}, refuse(invalidClient, 7000218, "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.")
}

func (i *Issuer) checkSecret(ctx context.Context, est *estate.Snapshot, c client, realm Realm, secret Secret) error {
	items, err := i.state.PrivateList(ctx, bucketSecret, c.id.String())
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return errUnavailable(err)
	}
	given := digest("clientsecret", secret.Reveal())
	now := i.now()
	for _, item := range items {
		var s storedSecret
		if err := record.Unmarshal(item.Value, &s); err != nil {
			return err
		}
		switch {
		case !equal(given, s.Digest) || !c.holds(est, realm, s.Principal):
		case !now.Before(s.Expires):
			return refuse(invalidClient, 7000222, "The provided client secret keys for app '%s' are expired.", c.id)
		default:
			return nil
		}
	}
	return refuse(invalidClient, 7000215, "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID, for a secret added to app '%s'.", c.id)
}

// checkAssertion returns the client proven by an assertion (RFC 7523, section 3),
// which the client signed itself, or another issuer did that the client trusts.
func (i *Issuer) checkAssertion(ctx context.Context, est *estate.Snapshot, c client, req TokenRequest, realm Realm) (client, error) {
	if req.AssertionType != assertionType {
		return client{}, refuse(invalidRequest, 900144, "The request body must contain the following parameter: 'client_assertion_type' with value '%s'.", assertionType)
	}
	if req.Assertion.IsZero() {
		return client{}, errMissing("client_assertion")
	}
	c.proof = proofAssertion
	raw := req.Assertion.Reveal()
	says, err := token.Peek(raw)
	if err != nil {
		return client{}, badAssertion(err)
	}
	if says.Issuer == "" || lowerASCII(says.Issuer) == c.id.String() {
		return c, i.checkSigned(ctx, est, c, req, realm)
	}
	if c.foreign, err = i.federated(ctx, est, c, realm, raw, says); err != nil {
		return client{}, err
	}
	return c, nil
}

// checkSigned verifies what a client signed with its certificate's key, and
// remembers its id until it expires, so that nobody can send it again to any
// replica.
func (i *Issuer) checkSigned(ctx context.Context, est *estate.Snapshot, c client, req TokenRequest, realm Realm) error {
	certs, err := i.certificates(ctx, est, c, realm)
	if err != nil {
		return err
	}
	now := i.machine()
	a, err := token.VerifyAssertion(req.Assertion.Reveal(), certs, token.AssertionWant{ClientID: c.id, Audiences: i.assertionAudiences(req, realm)}, now)
	if err != nil {
		return assertionRefusal(err)
	}
	return i.once(ctx, now, a.Expires, c.id.String(), digest("jti", a.ID))
}

// once refuses an assertion that was used before, at whatever replica, and uses it
// up. id tells assertions apart until one ends.
func (i *Issuer) once(ctx context.Context, now, ends time.Time, id ...string) error {
	var absent int64
	op, err := put(seen{At: now}, ends.Add(token.Leeway), &absent, bucketReplay, id...)
	if err != nil {
		return err
	}
	op.Real = true // the assertion ends by the clock of who signed it
	err = i.commit(ctx, op)
	if errors.Is(err, errChanged) {
		return refuse(invalidClient, 700027, "Client assertion failed signature validation: the assertion was used before.")
	}
	return err
}

type seen struct {
	At time.Time `json:"at"`
}

// assertionAudiences are the spellings of this very endpoint: with the tenant's
// id, and as the client came.
func (i *Issuer) assertionAudiences(req TokenRequest, realm Realm) []string {
	path := "/oauth2/v2.0/token"
	if req.V1 {
		path = "/oauth2/token"
	}
	auds := []string{i.authority + "/" + realm.String() + path}
	if req.Realm != realm.String() {
		auds = append(auds, i.authority+"/"+req.Realm+path)
	}
	return auds
}

func assertionRefusal(err error) error {
	switch {
	case errors.Is(err, token.ErrKey):
		return refuse(invalidClient, 700027, "The certificate with identifier used to sign the client assertion is not registered on application, or may not be used any more.").because(err)
	case errors.Is(err, token.ErrSignature):
		return refuse(invalidClient, 700027, "Client assertion failed signature validation.").because(err)
	case errors.Is(err, token.ErrAudience):
		return refuse(invalidClient, 700023, "Client assertion audience claim does not match Realm issuer.").because(err)
	case errors.Is(err, token.ErrIssuer), errors.Is(err, token.ErrSubject):
		return refuse(invalidClient, 700021, "Client assertion application identifier doesn't match 'client_id' parameter.").because(err)
	case errors.Is(err, token.ErrExpired):
		return refuse(invalidClient, 700024, "%s", expiredText(err)).because(err)
	}
	return refuse(invalidClient, 50027, "JWT token is invalid or malformed.").because(err)
}

func (i *Issuer) certificates(ctx context.Context, est *estate.Snapshot, c client, realm Realm) ([]*x509.Certificate, error) {
	items, err := i.state.PrivateList(ctx, bucketCertificate, c.id.String())
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, errUnavailable(err)
	}
	var certs []*x509.Certificate
	for _, item := range items {
		var s storedCertificate
		if err := record.Unmarshal(item.Value, &s); err != nil {
			return nil, err
		}
		if !c.holds(est, realm, s.Principal) {
			continue
		}
		cert, err := x509.ParseCertificate(s.DER)
		if err != nil {
			return nil, err
		}
		certs = append(certs, cert)
	}
	return certs, nil
}
