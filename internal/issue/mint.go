package issue

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/token"
)

// An Answer is what a client gets for a grant.
type Answer struct {
	AccessToken  string
	IssuedAt     time.Time
	Expires      time.Time
	Scope        string // "" for an application's own token
	Resource     string // as it was asked for
	TokenType    string // of the access token: Bearer or pop
	RefreshToken string
	IDToken      string
	ClientInfo   string // for MSAL: base64url of the user's and the tenant's id

	// Whom the tokens speak of, for the log.
	Subject  principal.ID
	Name     string
	Groups   int
	Revision int64 // of the estate they were decided by
}

// mint makes the tokens of an admitted proof. It is the only caller of the keys.
func (i *Issuer) mint(ctx context.Context, a admitted) (Answer, error) {
	now := time.Unix(i.now().Unix(), 0).UTC()
	ans := Answer{IssuedAt: now, Expires: a.end(now), Scope: a.echo, Resource: a.scopes.Resource,
		Subject: a.subject(), Name: a.name(), Groups: len(a.groups), Revision: a.revision}
	ans.TokenType = "Bearer"
	if a.client.key != "" {
		ans.TokenType = "pop"
	}
	var err error
	if ans.AccessToken, err = i.sign(ctx, a.accessClaims(i.authority, now)); err != nil {
		return Answer{}, err
	}
	if a.user.ID.IsZero() {
		i.state.Used(ans.Subject)
		return ans, nil
	}
	ans.ClientInfo = clientInfo(a.user)
	if a.scopes.OpenID {
		if ans.IDToken, err = i.sign(ctx, a.idClaims(i.authority, now)); err != nil {
			return Answer{}, err
		}
	}
	return ans, nil
}

// end is when tokens end that are made now.
func (a admitted) end(now time.Time) time.Time {
	if end := now.Add(AccessLife); a.until.IsZero() || end.Before(a.until) {
		return end
	}
	return a.until
}

// sign signs the claims. That too many are waiting, that issuing is stopped, and
// that there is no key are all reasons to come back later.
func (i *Issuer) sign(ctx context.Context, c token.Claims) (string, error) {
	raw, err := i.keys.Sign(ctx, c)
	if err != nil {
		return "", errUnavailable(fmt.Errorf("sign a token for %s: %w", c.ObjectID, err))
	}
	return raw, nil
}

// accessClaims is a token for the resource. Its version is the resource's choice.
func (a admitted) accessClaims(authority string, now time.Time) token.Claims {
	c := token.Claims{
		Version: token.V1, Use: token.AccessToken,
		Issuer: IssuerV1(authority, a.tenant.String()), Audience: a.audience,
		Tenant: a.tenant, ObjectID: a.subject(), ID: a.tokenID(),
		IssuedAt: now, NotBefore: now, Expires: a.end(now),
		AppID: a.client.id, AppAuth: string(a.client.proof),
		Groups: a.groups, ACR: "1", KeyID: a.client.key,
	}
	if a.resource.version == 2 {
		c.Version, c.Issuer, c.Audience = token.V2, IssuerV2(authority, a.tenant.String()), a.resource.app.String()
	}
	kind := "servicePrincipals"
	if u := a.user; !u.ID.IsZero() {
		kind = "users"
		c.Subject = pairwise(a.tenant, a.resource.app, u.ID)
		c.Scopes = a.permissions
		c.Name, c.UPN, c.Username = u.DisplayName, u.UserPrincipalName, u.UserPrincipalName
		c.AMR, c.AuthTime = a.who.Methods, a.who.SignedIn
	} else {
		// An application is known to every resource by its object id.
		c.Subject, c.IDType = a.clientObject.String(), "app"
	}
	if a.overage {
		c.Groups = nil // the pointer alone
	}
	if len(a.groups) > token.MaxGroups || a.overage {
		// The form that verifiers know from Entra. Nobody should call it: this
		// house resolves groups itself.
		c.Overage = fmt.Sprintf("https://graph.windows.net/%s/%s/%s/getMemberObjects", a.tenant, kind, a.subject())
	}
	return c
}

// idClaims is a token for the client. Its version is that of the endpoint.
func (a admitted) idClaims(authority string, now time.Time) token.Claims {
	u := a.user
	c := token.Claims{
		Version: token.V2, Use: token.IDToken,
		Issuer: IssuerV2(authority, a.tenant.String()), Audience: a.client.id.String(),
		Subject: pairwise(a.tenant, a.client.id, u.ID), Tenant: a.tenant, ObjectID: u.ID, ID: a.tokenID(),
		IssuedAt: now, NotBefore: now, Expires: a.end(now), AuthTime: a.who.SignedIn,
		Name: u.DisplayName, Username: u.UserPrincipalName, Nonce: a.nonce,
	}
	if a.v1 {
		c.Version, c.Issuer, c.UPN, c.AMR = token.V1, IssuerV1(authority, a.tenant.String()), u.UserPrincipalName, a.who.Methods
	}
	return c
}

// tokenID is the claim uti. It starts with the sign-in that the token belongs to,
// so that whoever asks can tell whether that was ended; see Live.
func (a admitted) tokenID() string {
	if a.family == "" {
		return token.NewID()
	}
	return a.family + "." + token.NewID()
}

// familyOf returns the sign-in that a token belongs to, or "".
func familyOf(c token.Claims) string {
	family, _, ok := strings.Cut(c.ID, ".")
	if !ok {
		return ""
	}
	return family
}

// pairwise is the claim sub: another one for every application, as OpenID Connect
// Core section 8.1 has it. It is no secret, for oid stands beside it.
func pairwise(tenant directory.TenantID, app directory.AppID, user principal.ID) string {
	h := sha256.New()
	h.Write([]byte("gatehouse pairwise subject\x00"))
	h.Write(tenant[:])
	h.Write(app[:])
	h.Write(user[:])
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

func clientInfo(u directory.User) string {
	// Two GUIDs cannot fail to encode.
	data, _ := json.Marshal(struct {
		UID  string `json:"uid"`
		UTID string `json:"utid"`
	}{u.ID.String(), u.Tenant.String()})
	return base64.RawURLEncoding.EncodeToString(data)
}
