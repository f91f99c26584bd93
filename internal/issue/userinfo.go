package issue

import (
	"context"
	"net/http"
	"slices"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/token"
)

// UserInfo is what OpenID Connect's userinfo endpoint tells a client.
type UserInfo struct {
	Subject string // as in the client's id token
	Name    string
	Email   string
}

// UserInfo answers the holder of an access token for Graph that was asked for
// with openid.
func (i *Issuer) UserInfo(ctx context.Context, segment string, raw Secret) (UserInfo, error) {
	est, err := i.estate()
	if err != nil {
		return UserInfo{}, err
	}
	realm, err := ResolveRealm(est, segment)
	if err != nil {
		return UserInfo{}, err
	}
	bad := func(err error) error {
		return (&Error{OAuth: "invalid_token", Code: 50027, Status: http.StatusUnauthorized, Text: "The access token is not valid."}).because(err)
	}
	tenant, ok := i.tenantOf(raw, realm)
	if !ok {
		return UserInfo{}, bad(nil)
	}
	graph, _ := resourceOf(est, Graph)
	want := token.Want{Tenant: tenant, Issuers: i.IssuersV1(tenant), Audiences: graph.audiences(), Purpose: token.AccessToken}
	claims, err := token.Verify(raw.Reveal(), i.keys.Set(), want, i.now())
	if err != nil {
		return UserInfo{}, bad(err)
	}
	u, err := person(est, Identity{Tenant: tenant, User: claims.ObjectID, SignedIn: claims.AuthTime})
	if err != nil {
		return UserInfo{}, bad(err)
	}
	if live, err := i.Live(ctx, claims); err != nil {
		return UserInfo{}, err
	} else if !live {
		return UserInfo{}, bad(nil)
	}
	if !slices.Contains(claims.Scopes, "openid") {
		return UserInfo{}, &Error{OAuth: "insufficient_scope", Code: 50027, Status: http.StatusForbidden, Text: "The access token was not asked for with the scope 'openid'."}
	}
	info := UserInfo{Subject: pairwise(tenant, claims.AppID, u.ID)}
	if slices.Contains(claims.Scopes, "profile") {
		info.Name = u.DisplayName
	}
	if slices.Contains(claims.Scopes, "email") {
		info.Email = u.Mail
	}
	return info, nil
}

// tenantOf is the tenant whose keys a token must be verified with: that of the
// realm, or, for an alias, the one that the token's kid belongs to.
func (i *Issuer) tenantOf(raw Secret, realm Realm) (directory.TenantID, bool) {
	if !realm.IsAlias() {
		return realm.ID, true
	}
	says, err := token.Peek(raw.Reveal())
	if err != nil {
		return directory.TenantID{}, false
	}
	key, ok := i.keys.Set().Find(says.KeyID)
	return key.Tenant, ok
}

// audiences are all that a version 1.0 token for the resource may be for.
func (r resource) audiences() []string {
	var out []string
	for _, a := range append([]string{r.app.String(), "api://" + r.app.String()}, r.uris...) {
		out = append(out, a, a+"/", "spn:"+a, "spn:"+a+"/")
	}
	return out
}

// ReturnAfterLogout reports whether a browser may be sent to an address after it
// was signed out: it is registered, byte for byte, by the client with this id. An
// id token that was sent along (OpenID Connect RP-Initiated Logout, section 2) must
// be the client's and valid.
func (i *Issuer) ReturnAfterLogout(segment, clientID string, hint Secret, address string) bool {
	est, err := i.estate()
	if err != nil || address == "" {
		return false
	}
	realm, err := ResolveRealm(est, segment)
	if err != nil {
		return false
	}
	c, err := findClient(est, realm, clientID)
	if err != nil || !slices.Contains(c.redirects, address) {
		return false
	}
	if hint.IsZero() {
		return true
	}
	tenant, ok := i.tenantOf(hint, realm)
	want := token.Want{
		Tenant: tenant, Purpose: token.IDToken, Audiences: []string{c.id.String()},
		Issuers: i.Issuers(tenant),
	}
	_, err = token.Verify(hint.Reveal(), i.keys.Set(), want, i.now())
	return ok && err == nil
}
