package token_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/token"
)

// JWT-12, JWT-13: each row changes one thing about a good token of a registry, or about what is
// expected of it.
func TestTokensOfRegistries(t *testing.T) {
	t.Parallel()
	key := func(purpose token.Purpose) token.SigningKey {
		k, err := token.GenerateKey(tenant, purpose, token.ES256, now.Add(-time.Hour), now.Add(48*time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	ours, access := key(token.RegistryToken), key(token.AccessToken)
	set, err := token.NewKeySet(ours.Key, access.Key)
	if err != nil {
		t.Fatal(err)
	}
	good := func() token.RegistryClaims {
		return token.RegistryClaims{Grant: token.RegistryAccess, Registry: "one.azurecr.io", Tenant: tenant, ObjectID: claims().ObjectID, ID: "j",
			IssuedAt: now.Truncate(time.Second).UTC(), Expires: now.Truncate(time.Second).Add(time.Hour).UTC(),
			Access: []token.RegistryRight{{Type: "repository", Name: "a", Actions: []string{"pull"}}}}
	}
	sign := func(c token.RegistryClaims) string {
		t.Helper()
		raw, err := token.SignRegistry(ours, c)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	raw := sign(good())
	got, err := token.VerifyRegistry(raw, set, tenant, "one.azurecr.io", token.RegistryAccess, now)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(good(), got); diff != "" {
		t.Errorf("it comes back as (-want +got):\n%s", diff)
	}
	for law, err := range map[string]error{
		"another registry": second(token.VerifyRegistry(raw, set, tenant, "two.azurecr.io", token.RegistryAccess, now)),
		"no registry":      second(token.VerifyRegistry(raw, set, tenant, "", token.RegistryAccess, now)),
		"another grant":    second(token.VerifyRegistry(raw, set, tenant, "one.azurecr.io", token.RegistryRefresh, now)),
		"no grant":         second(token.VerifyRegistry(raw, set, tenant, "one.azurecr.io", "", now)),
		"another tenant":   second(token.VerifyRegistry(raw, set, directory.TenantID{9}, "one.azurecr.io", token.RegistryAccess, now)),
		"no keys":          second(token.VerifyRegistry(raw, token.KeySet{}, tenant, "one.azurecr.io", token.RegistryAccess, now)),
		"after its end":    second(token.VerifyRegistry(raw, set, tenant, "one.azurecr.io", token.RegistryAccess, now.Add(time.Hour))),
		"before its time":  second(token.VerifyRegistry(raw, set, tenant, "one.azurecr.io", token.RegistryAccess, now.Add(-10*time.Minute))),
		"as a token of the directory": second(token.Verify(raw, set, token.Want{Tenant: tenant, Issuers: []string{"Azure Container Registry"},
			Audiences: []string{"one.azurecr.io"}, Purpose: token.RegistryToken}, now)),
	} {
		if !errors.Is(err, token.ErrInvalid) {
			t.Errorf("%s: %v", law, err)
		}
	}
	for law, change := range map[string]func(*token.RegistryClaims){
		"no grant":                      func(c *token.RegistryClaims) { c.Grant = "" },
		"a refresh token with rights":   func(c *token.RegistryClaims) { c.Grant, c.SignIn = token.RegistryRefresh, "u" },
		"a refresh token of no sign-in": func(c *token.RegistryClaims) { c.Grant, c.Access = token.RegistryRefresh, nil },
		"nobody":                        func(c *token.RegistryClaims) { c.ObjectID = principal.ID{} },
		"no end":                        func(c *token.RegistryClaims) { c.Expires = time.Time{} },
		"no registry":                   func(c *token.RegistryClaims) { c.Registry = "" },
	} {
		c := good()
		change(&c)
		if raw, err := token.SignRegistry(ours, c); err == nil {
			t.Errorf("%s is signed: %s", law, raw)
		}
	}
	if raw, err := token.SignRegistry(access, good()); !errors.Is(err, token.ErrKey) {
		t.Errorf("a key for access tokens signs it: %s", raw)
	}
}

func second[T any](_ T, err error) error { return err }
