package token

import (
	"fmt"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/principal"
)

// A RegistryGrant is what a token of a container registry is for, as the claim
// grant_type writes it.
type RegistryGrant string

// The grants.
const (
	RegistryRefresh RegistryGrant = "refresh_token" // gets access tokens of its registry, and nothing else
	RegistryAccess  RegistryGrant = "access_token"  // may do what Access names
)

// registryIssuer is iss of every token of a registry.
const registryIssuer = "Azure Container Registry"

// RegistryClaims is what a token of a container registry says, in the shape of Azure
// Container Registry and of the specification of Docker's registry tokens, by which
// registries read them. Zero RegistryClaims speak for nobody.
type RegistryClaims struct {
	Grant    RegistryGrant
	Registry string             // aud: the login server, and no other's
	Tenant   directory.TenantID // tenant
	ObjectID principal.ID       // sub
	ID       string             // jti
	// SignIn is uti of the access token that a refresh token was given for.
	SignIn            string
	IssuedAt, Expires time.Time
	Access            []RegistryRight // of access tokens alone
}

// A RegistryRight is what may be done with one thing in a registry.
type RegistryRight struct {
	Type    string   `json:"type"` // repository or registry
	Name    string   `json:"name"`
	Actions []string `json:"actions"` // pull, push and so on
}

// registryWire is a payload as it is written.
type registryWire struct {
	ID        text            `json:"jti"`
	Subject   text            `json:"sub"`
	NotBefore date            `json:"nbf"`
	Expires   date            `json:"exp"`
	IssuedAt  date            `json:"iat"`
	Issuer    text            `json:"iss"`
	Audience  text            `json:"aud"`
	Version   text            `json:"version"`
	Tenant    text            `json:"tenant"`
	SignIn    text            `json:"uti,omitzero"`
	Access    []RegistryRight `json:"access,omitzero"`
	Grant     text            `json:"grant_type"`
	Rest      jsontext.Value  `json:",embed"`
}

var registryMembers = []string{"jti", "sub", "nbf", "exp", "iat", "iss", "aud", "version", "tenant", "uti", "access", "grant_type"}

// SignRegistry returns the claims signed with a key for registries of their tenant.
func SignRegistry(key SigningKey, c RegistryClaims) (string, error) {
	if key.Purpose != RegistryToken || c.Tenant != key.Tenant {
		return "", fmt.Errorf("%w: key %s does not sign for registries of tenant %s", ErrKey, key.ID, c.Tenant)
	}
	if err := c.check(); err != nil {
		return "", err
	}
	return Sign(key, registryWire{
		ID: text(c.ID), Subject: text(c.ObjectID.String()), Issuer: registryIssuer, Audience: text(c.Registry), Version: "1.0",
		NotBefore: date{c.IssuedAt}, IssuedAt: date{c.IssuedAt}, Expires: date{c.Expires},
		Tenant: text(c.Tenant.String()), SignIn: text(c.SignIn), Access: c.Access, Grant: text(c.Grant),
	}, "JWT")
}

// VerifyRegistry returns the claims of a token for one registry of a tenant and one
// grant, which is valid now. Every error wraps ErrInvalid and comes with zero claims.
func VerifyRegistry(raw string, keys KeySet, tenant directory.TenantID, registry string, grant RegistryGrant, now time.Time) (RegistryClaims, error) {
	payload, err := unseal(raw, keys, tenant, RegistryToken, now)
	if err != nil {
		return RegistryClaims{}, err
	}
	var w registryWire
	if err := unmarshal(payload, &w, func() jsontext.Value { return w.Rest }, registryMembers); err != nil {
		return RegistryClaims{}, fmt.Errorf("payload: %w", err)
	}
	c := RegistryClaims{Grant: RegistryGrant(w.Grant), Registry: string(w.Audience), ID: string(w.ID), SignIn: string(w.SignIn),
		IssuedAt: w.IssuedAt.Time, Expires: w.Expires.Time, Access: w.Access}
	if err := readID(&c.Tenant, w.Tenant); err != nil {
		return RegistryClaims{}, fmt.Errorf("tenant: %w", err)
	}
	if err := readID(&c.ObjectID, w.Subject); err != nil {
		return RegistryClaims{}, fmt.Errorf("sub: %w", err)
	}
	switch {
	case w.Issuer != registryIssuer || c.Tenant != tenant:
		return RegistryClaims{}, fmt.Errorf("%w: %.64q for tenant %s", ErrIssuer, string(w.Issuer), c.Tenant)
	case c.Registry != registry || registry == "":
		return RegistryClaims{}, fmt.Errorf("%w: %.200q", ErrAudience, c.Registry)
	case c.Grant != grant || grant == "":
		return RegistryClaims{}, fmt.Errorf("%w: the token is for %.32q", ErrKey, string(c.Grant))
	}
	if err := c.check(); err != nil {
		return RegistryClaims{}, err
	}
	if err := checkTimes(c.IssuedAt, w.NotBefore.Time, c.Expires, now); err != nil {
		return RegistryClaims{}, err
	}
	return c, nil
}

// check holds for everything that is signed and everything that is read.
func (c RegistryClaims) check() error {
	switch {
	case c.Grant != RegistryRefresh && c.Grant != RegistryAccess,
		c.Grant == RegistryRefresh && (len(c.Access) > 0 || !isID(c.SignIn)), c.Grant == RegistryAccess && c.SignIn != "":
		return fmt.Errorf("%w: grant_type %.32q", ErrMalformed, string(c.Grant))
	case !isID(c.Registry) || !isID(c.ID) || c.Tenant.IsZero() || c.ObjectID.IsZero():
		return fmt.Errorf("%w: aud, jti, tenant or sub", ErrMalformed)
	case c.IssuedAt.IsZero() || !c.IssuedAt.Before(c.Expires):
		return fmt.Errorf("%w: iat or exp", ErrMalformed)
	}
	return nil
}
