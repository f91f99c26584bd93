package serve

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/token"
)

// Tokens are what a door for people and programs believes: access tokens of the
// house for some audiences. Keys, Issuers and Audiences are required.
type Tokens struct {
	Keys func() token.KeySet
	// Issuers returns the values of iss that a tenant's tokens may carry.
	Issuers func(directory.TenantID) []string
	// Live says whether the sign-in that a verified token came from still stands.
	// Nil means that every one does.
	Live      func(context.Context, token.Claims) (bool, error)
	Audiences []string
}

// Bearer returns who sent a request, by its bearer token and by what the
// directory says of him now, and his tenant. What is not right about the token is
// an Error with the status 401, which says no more than that.
func (t Tokens) Bearer(r *http.Request, est *estate.Snapshot, now time.Time) (Caller, directory.TenantID, error) {
	if err := Bearing(r); err != nil {
		return Caller{}, directory.TenantID{}, err
	}
	raw, _ := BearerToken(r)
	caller, claims, err := t.Verify(r.Context(), raw, est, now)
	return caller, claims.Tenant, err
}

// Verify returns who an access token speaks for, by what the directory says of him
// now, and what it says. What is not right about it is an Error with the status 401.
func (t Tokens) Verify(ctx context.Context, raw string, est *estate.Snapshot, now time.Time) (Caller, token.Claims, error) {
	keys := t.Keys()
	said, err := token.Peek(raw)
	if err != nil {
		return Caller{}, token.Claims{}, unauthenticated(err)
	}
	key, _ := keys.Find(said.KeyID)
	claims, err := token.Verify(raw, keys, token.Want{
		Tenant: key.Tenant, Issuers: t.Issuers(key.Tenant), Audiences: t.Audiences, Purpose: token.AccessToken,
	}, now)
	if err != nil {
		return Caller{}, token.Claims{}, unauthenticated(err)
	}
	caller, err := StillStands(ctx, est, claims, t.Live)
	if err != nil {
		return Caller{}, token.Claims{}, of(claims, err)
	}
	return caller, claims, nil
}

// of is an error about a verified token with whose it is, who may be nobody by now.
func of(claims token.Claims, err error) error {
	if errors.Is(err, ErrOtherTenant) { // its tenant has nobody like that
		return err
	}
	return To(Caller{ID: claims.ObjectID}, err)
}

// StillStands returns who somebody is now that a verified token speaks for: the
// directory knows him, his sign-ins were not revoked since, and the sign-in that the
// token came from was not ended. Live may be nil, for every one stands.
func StillStands(ctx context.Context, est *estate.Snapshot, claims token.Claims, live func(context.Context, token.Claims) (bool, error)) (Caller, error) {
	if err := CheckIssued(est, claims.ObjectID, claims.IssuedAt); err != nil {
		return Caller{}, unauthenticated(err)
	}
	if live != nil {
		stands, err := live(ctx, claims)
		if err != nil {
			return Caller{}, err
		}
		if !stands {
			return Caller{}, unauthenticated(errors.New("the sign-in that the token came from was ended"))
		}
	}
	caller, err := CallerOf(est, claims.Tenant, claims.ObjectID)
	if err != nil {
		return Caller{}, unauthenticated(err)
	}
	return caller, nil
}

// Bearing refuses a request that does not carry one bearer token, so that nothing
// is done, and nobody waits, for who does not even say who he is.
func Bearing(r *http.Request) error {
	if _, ok := BearerToken(r); !ok {
		return Refuse(http.StatusUnauthorized, "AuthenticationFailed", "The request must carry one bearer token, in the header Authorization.")
	}
	return nil
}

// Claims is the parameter of a challenge to who sent a token that is refused: the
// claims challenge of Microsoft's identity platform, in which a client that keeps
// tokens for as long as they say reads that it needs another one, issued from now
// on. It asks for that with its refresh token or its own credential, once. Without a
// token in the request it is "".
func Claims(r *http.Request, now time.Time) string {
	if _, ok := BearerToken(r); !ok {
		return ""
	}
	wanted := `{"access_token":{"nbf":{"essential":true,"value":"` + strconv.FormatInt(now.Unix(), 10) + `"}}}`
	return `error="insufficient_claims", claims="` + base64.StdEncoding.EncodeToString([]byte(wanted)) + `"`
}

func unauthenticated(err error) error {
	return &Error{Status: http.StatusUnauthorized, Code: "InvalidAuthenticationToken", Message: "The access token is not accepted.", Err: err}
}

// BearerToken returns the token of a request that has exactly one (RFC 6750, section 2.1).
func BearerToken(r *http.Request) (string, bool) {
	values := r.Header.Values("Authorization")
	if len(values) != 1 {
		return "", false
	}
	scheme, raw, ok := strings.Cut(values[0], " ")
	return raw, ok && strings.EqualFold(scheme, "Bearer") && raw != ""
}
