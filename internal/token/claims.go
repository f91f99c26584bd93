package token

import (
	"fmt"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/principal"
)

// The versions of Entra's token shapes, as the claim ver writes them. The
// resource chooses, not the endpoint: see directory.Application.TokenVersion.
const (
	V1 = "1.0"
	V2 = "2.0"
)

// MaxGroups is how many groups a token carries. A token of somebody in more of
// them names a place to ask instead.
const MaxGroups = 200

// Claims is what a token of this house says, in either version of its shape.
// Zero Claims speak for nobody.
type Claims struct {
	Version string  // ver: V1 or V2
	Use     Purpose // token_use: AccessToken or IDToken; a claim of this house

	Issuer   string             // iss
	Audience string             // aud, exactly one
	Subject  string             // sub: visible ASCII, at most 255 characters
	Tenant   directory.TenantID // tid
	ObjectID principal.ID       // oid
	ID       string             // uti, unique for every token

	// iat, nbf, exp and auth_time, written in whole seconds. AuthTime is optional.
	IssuedAt, NotBefore, Expires, AuthTime time.Time

	// AppID is the client that asked, and AppAuth how it proved itself: "0" not at
	// all, "1" by a secret, "2" by a certificate or assertion. Version 1 writes
	// appid and appidacr, version 2 azp and azpacr. Access tokens alone have them.
	AppID   directory.AppID
	AppAuth string

	// UPN is the name of a user of this tenant: upn. Version 1 alone.
	UPN string
	// Username is for display: unique_name in version 1, preferred_username in 2.
	Username string
	// Name is the display name: name.
	Name string
	// GivenName and FamilyName: given_name and family_name. Version 1 alone.
	GivenName, FamilyName string
	// AMR is how the user signed in (pwd, mfa, ...) and ACR what that is worth:
	// amr and acr. Version 1 alone.
	AMR []string
	ACR string

	// Scopes are what a user lets the client do: scp, separated by blanks.
	Scopes []string
	// Roles are what an administrator lets the client or user do: roles.
	Roles []string
	// Groups are the user's groups: groups. With more than MaxGroups of them, or
	// none and an Overage, the token names Overage instead.
	Groups []principal.ID
	// Overage is the URL at which the groups can be had, written as
	// _claim_sources and _claim_names. When a token is read it is set if and only
	// if its groups are there.
	Overage string

	// IDType is idtyp: "app" for a token without a user, or "user".
	IDType string
	// KeyID is the thumbprint of the client's key that an access token is good with
	// alone: the kid in cnf. Empty for a bearer token.
	KeyID string
	// Nonce is what the client sent to recognise its ID token: nonce.
	Nonce string
	// Capabilities are those of the client: xms_cc.
	Capabilities []string
}

// HasOverage reports whether the groups must be asked for at Overage.
func (c Claims) HasOverage() bool { return c.Overage != "" }

// check holds for everything that is signed and everything that is read.
func (c Claims) check() error {
	bad := func(what string, value any) error {
		return fmt.Errorf("%w: %s %.64q", ErrMalformed, what, fmt.Sprint(value))
	}
	switch {
	case c.Version != V1 && c.Version != V2:
		return bad("ver", c.Version)
	case c.Use != AccessToken && c.Use != IDToken:
		return bad("token_use", c.Use)
	case !isID(c.Issuer):
		return bad("iss", c.Issuer)
	case !isID(c.Audience):
		return bad("aud", c.Audience)
	case !isID(c.Subject):
		return bad("sub", c.Subject)
	case c.Tenant.IsZero():
		return bad("tid", c.Tenant)
	case c.ObjectID.IsZero():
		return bad("oid", c.ObjectID)
	case !isID(c.ID):
		return bad("uti", c.ID)
	case c.IssuedAt.IsZero() || c.NotBefore.IsZero() || c.Expires.Unix() <= c.IssuedAt.Unix():
		return bad("iat, nbf or exp", c.Expires)
	case c.AppID.IsZero() == (c.Use == AccessToken):
		return bad("appid or azp", c.AppID)
	case c.AppAuth != "" && (c.AppID.IsZero() || c.AppAuth != "0" && c.AppAuth != "1" && c.AppAuth != "2"):
		return bad("appidacr or azpacr", c.AppAuth)
	case c.KeyID != "" && (c.Use != AccessToken || !isID(c.KeyID)):
		return bad("cnf", c.KeyID)
	case c.IDType != "" && c.IDType != "app" && c.IDType != "user":
		return bad("idtyp", c.IDType)
	case c.Overage != "" && !isID(c.Overage):
		return bad("_claim_sources", c.Overage)
	case len(c.Groups) > MaxGroups && c.Overage == "":
		return bad("groups", len(c.Groups))
	}
	for _, s := range c.Scopes {
		if !isID(s) {
			return bad("scp", s)
		}
	}
	return nil
}
