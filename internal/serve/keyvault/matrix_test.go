package keyvault_test

import (
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/serve/keyvault"
	"github.com/gatehouse-io/gatehouse/internal/serve/servetest"
	"github.com/gatehouse-io/gatehouse/internal/token"
)

// ARM-07 for vaults: whoever the house does not know, or who is of another tenant,
// is told one thing at every path, and changes nothing.
func TestEveryRouteRefusesWhoIsNobody(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.want(h.ask(admin, "PUT", "/secrets/there", `{"value":"`+canary+`"}`), "set", "200")
	h.want(h.ask(admin, "POST", "/keys/there/create", `{"kty":"EC","crv":"P-256"}`), "create", "200")
	strange, err := token.GenerateKey(servetest.Tenant, token.AccessToken, token.ES256, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	before := h.store.Current().Revision()
	for law, raw := range map[string]string{
		"without a token":                                   "",
		"no token at all":                                   "x",
		"for Azure Resource Manager":                        h.sign(h.key, servetest.Tenant, admin, "https://management.azure.com"),
		"for Graph":                                         h.sign(h.key, servetest.Tenant, admin, "https://graph.microsoft.com"),
		"by a key that nobody has":                          h.sign(strange, servetest.Tenant, admin, keyvault.Resource),
		"for somebody of another tenant":                    h.sign(h.key, servetest.Tenant, alien, keyvault.Resource),
		"for an administrator of the other tenant's vaults": h.sign(h.key2, servetest.Tenant2, alien, keyvault.Resource),
		"for somebody who is disabled":                      h.token(servetest.Spike),
		"for somebody who is deleted":                       h.token(servetest.ID("20000000-0000-4000-8000-0000000009aa")),
	} {
		answers := make(map[string]string)
		for _, r := range keyvault.Routes() {
			for _, name := range []string{"there", "never"} {
				path := "/" + strings.NewReplacer("*", name, "?", strings.Repeat("0", 32)).Replace(r.Path)
				got := h.bearing(raw, r.Method, path, `{}`)
				if got.status != 401 || got.header.Get("WWW-Authenticate") == "" || strings.Contains(got.text, canary) {
					t.Fatalf("%s: %s %s is answered %s %s", law, r.Method, path, got, got.text)
				}
				answers[strings.ReplaceAll(got.text, got.header.Get("X-Ms-Request-Id"), "ID")] = r.Method + " " + path
			}
		}
		if len(answers) != 1 {
			t.Errorf("%s: nobody tells %d answers apart: %v", law, len(answers), answers)
		}
	}
	if after := h.store.Current().Revision(); after != before {
		t.Errorf("what was refused changed the store: revision %d, before %d", after, before)
	}
}

// ARM-07 for vaults: who has no right is told the same, at every path, whether there
// is an object, was one, or never was.
func TestEveryRouteRefusesWhoMayNot(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for _, path := range []string{"/secrets/there", "/secrets/gone"} {
		h.want(h.ask(admin, "PUT", path, `{"value":"`+canary+`"}`), "set", "200")
	}
	for _, path := range []string{"/keys/there", "/keys/gone"} {
		h.want(h.ask(admin, "POST", path+"/create", `{"kty":"EC","crv":"P-256"}`), "create", "200")
	}
	h.want(h.ask(admin, "DELETE", "/secrets/gone", ""), "delete", "200")
	h.want(h.ask(admin, "DELETE", "/keys/gone", ""), "delete", "200")
	before := h.store.Current().Revision()
	for _, r := range keyvault.Routes() {
		answers := make(map[string]bool)
		for _, name := range []string{"there", "gone", "never"} {
			for _, body := range []string{"", "{}", "{"} {
				got := h.ask(owner, r.Method, "/"+strings.NewReplacer("*", name, "?", strings.Repeat("0", 32)).Replace(r.Path), body)
				if got.String() != "403 Forbidden ForbiddenByRbac" {
					t.Errorf("%s %s of %s with %q is answered %s", r.Method, r.Path, name, body, got)
				}
				answers[strings.NewReplacer(name, "NAME", got.header.Get("X-Ms-Request-Id"), "ID").Replace(got.text)] = true
			}
		}
		if len(answers) != 1 {
			t.Errorf("%s %s: who may not tells %d answers apart: %v", r.Method, r.Path, len(answers), answers)
		}
	}
	if after := h.store.Current().Revision(); after != before {
		t.Errorf("what was refused changed the store: revision %d, before %d", after, before)
	}
}
