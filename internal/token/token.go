// Package token signs and verifies JSON Web Tokens (RFC 7519) as values: given
// the keys and the instant, the answer is the same every time.
//
// Each sort of token comes in through a door of its own:
//
//   - Verify: access and ID tokens of this house, in the shapes of Entra ID;
//   - VerifyForeign: tokens of other issuers, for federated credentials;
//   - VerifyAssertion: what a client signs with its certificate to log in;
//   - VerifyPoP: an access token inside of a request that its holder signed;
//   - VerifyRegistry: what clients of a container registry hold;
//   - Peek: what an unverified token says about itself, to choose among keys.
//
// A token has exactly one spelling that is accepted, its algorithm is that of
// the key and never the header's choice, and no error comes with claims. The JOSE
// parts are written on crypto/rsa and crypto/ecdsa: go-jose accepts several
// base64url spellings of one token and reads headers leniently, and what remains
// after doing both strictly here is two calls.
package token

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/directory"
)

// MaxSize is the longest token that is looked at, in bytes. API servers and
// proxies refuse headers of this size anyway.
const MaxSize = 16 << 10

// MaxLife is the longest time between the issue and the end of a token. Entra's
// own limit for access tokens is a day; managed identities get one.
const MaxLife = 24 * time.Hour

// Leeway is how far in the future a token may have been issued: the clock of the
// issuing machine may be ahead of ours, and libraries write fractional seconds.
// A minute is above what machines with NTP differ by. There is no leeway at the
// end: a token would outlive its promise, and clients renew before it.
const Leeway = time.Minute

// Errors of this package. Each wraps ErrInvalid; callers branch with errors.Is.
var (
	// ErrInvalid means that the token, key or certificate is refused.
	ErrInvalid = errors.New("invalid token")
	// ErrMalformed means that it is not written the one way that is read here.
	ErrMalformed = fmt.Errorf("%w: malformed", ErrInvalid)
	// ErrKey means that no key for this purpose, tenant, algorithm and time has
	// the name that the token gives.
	ErrKey = fmt.Errorf("%w: no such key", ErrInvalid)
	// ErrSignature means that the key did not sign this token.
	ErrSignature = fmt.Errorf("%w: wrong signature", ErrInvalid)
	// ErrIssuer means another issuer, or a tenant that is not the issuer's.
	ErrIssuer = fmt.Errorf("%w: wrong issuer", ErrInvalid)
	// ErrSubject means another subject than the one wanted.
	ErrSubject = fmt.Errorf("%w: wrong subject", ErrInvalid)
	// ErrSubjectCase means a subject that differs in letter case alone.
	ErrSubjectCase = fmt.Errorf("%w in its letter case", ErrSubject)
	// ErrAudience means that it was made for somebody else.
	ErrAudience = fmt.Errorf("%w: wrong audience", ErrInvalid)
	// ErrAudiences means that a foreign token is not for exactly one audience.
	ErrAudiences = fmt.Errorf("%w: not one audience", ErrMalformed)
	// ErrBound means that it is good in a request signed by its holder's key alone.
	ErrBound = fmt.Errorf("%w: bound to a key", ErrInvalid)
	// ErrExpired means that it is not valid at this instant: expired, not yet
	// valid, or valid for longer than any token may be.
	ErrExpired = fmt.Errorf("%w: outside its time", ErrInvalid)
)

// Want is what the verifier of a token of this house insists on. The zero Want
// refuses every token.
type Want struct {
	// Tenant must be the key's tenant and the token's tid.
	Tenant directory.TenantID
	// Issuers are the exact texts that iss may have.
	Issuers []string
	// Audiences are the exact texts that aud may have; a token has one audience.
	Audiences []string
	// Purpose must be the key's purpose and the token's token_use.
	Purpose Purpose
}

// Verify returns the claims of a token of this house, if it was signed by a key
// of the wanted tenant and purpose that is valid now, and is itself valid now. A
// token that is bound to a client's key is refused: see VerifyPoP. Every error
// wraps ErrInvalid and comes with zero Claims.
func Verify(raw string, keys KeySet, want Want, now time.Time) (Claims, error) {
	claims, err := verify(raw, keys, want, now)
	if err == nil && claims.KeyID != "" {
		return Claims{}, ErrBound
	}
	return claims, err
}

func verify(raw string, keys KeySet, want Want, now time.Time) (Claims, error) {
	payload, err := unseal(raw, keys, want.Tenant, want.Purpose, now)
	if err != nil {
		return Claims{}, err
	}
	claims, err := parseClaims(payload)
	if err != nil {
		return Claims{}, err
	}
	if err := claims.satisfy(want, now); err != nil {
		return Claims{}, err
	}
	return claims, nil
}

// unseal returns what a key of a tenant and purpose, which is valid now, has signed.
func unseal(raw string, keys KeySet, tenant directory.TenantID, purpose Purpose, now time.Time) ([]byte, error) {
	jws, err := split(raw)
	if err != nil {
		return nil, err
	}
	if jws.header.Kid == "" || jws.header.Typ != "JWT" {
		return nil, fmt.Errorf("%w: header without kid or of type %.32q", ErrMalformed, string(jws.header.Typ))
	}
	key, ok := keys.Find(string(jws.header.Kid))
	switch {
	case !ok:
		return nil, fmt.Errorf("%w: kid %.64q", ErrKey, string(jws.header.Kid))
	case key.Alg != string(jws.header.Alg):
		return nil, fmt.Errorf("%w: kid %.64q is not for algorithm %.16q", ErrKey, key.ID, string(jws.header.Alg))
	case key.Tenant.IsZero() || key.Tenant != tenant || key.Purpose == "" || key.Purpose != purpose:
		return nil, fmt.Errorf("%w: kid %.64q is for %q of tenant %s", ErrKey, key.ID, key.Purpose, key.Tenant)
	case !key.validAt(now):
		return nil, fmt.Errorf("%w: kid %.64q is not valid now", ErrKey, key.ID)
	case !key.verify(key.Alg, jws.signed, jws.signature):
		return nil, ErrSignature
	}
	payload, err := decode(jws.payload)
	if err != nil {
		return nil, fmt.Errorf("payload: %w", err)
	}
	return payload, nil
}

func (c Claims) satisfy(want Want, now time.Time) error {
	switch {
	case !slices.Contains(want.Issuers, c.Issuer):
		return fmt.Errorf("%w: %.200q", ErrIssuer, c.Issuer)
	case c.Tenant != want.Tenant:
		return fmt.Errorf("%w: %q does not speak for tenant %s", ErrIssuer, c.Issuer, c.Tenant)
	case !slices.Contains(want.Audiences, c.Audience):
		return fmt.Errorf("%w: %.200q", ErrAudience, c.Audience)
	case c.Use != want.Purpose:
		return fmt.Errorf("%w: the token is for %.32q", ErrKey, c.Use)
	}
	return checkTimes(c.IssuedAt, c.NotBefore, c.Expires, now)
}

// checkTimes holds a token's times against now. Zero issued and notBefore are
// absent; an absent end is refused.
func checkTimes(issued, notBefore, expires, now time.Time) error {
	switch {
	case expires.IsZero():
		return fmt.Errorf("%w: it has no end", ErrExpired)
	case !now.Before(expires):
		return fmt.Errorf("%w: it ended at %s", ErrExpired, expires.Format(time.RFC3339))
	case issued.After(now.Add(Leeway)) || notBefore.After(now.Add(Leeway)):
		return fmt.Errorf("%w: it is not valid yet", ErrExpired)
	case expires.Sub(now) > MaxLife+Leeway || !issued.IsZero() && expires.Sub(issued) > MaxLife:
		return fmt.Errorf("%w: it would live for more than %s", ErrExpired, MaxLife)
	}
	return nil
}
