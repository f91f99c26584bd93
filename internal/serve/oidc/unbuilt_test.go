package oidc_test

import (
	"net/http"
	"testing"
)

// OA-41: these grants by which a token becomes another token are not built.
// Whatever is sent with them, they give nothing, to no client and in no version of
// the endpoint.
func TestNoTokenBuysAnotherOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tid := tenantA.ID.String()
	mine := w.post(tokenPath(tid), ropc("scope", aksScope))
	if mine.Access == "" || mine.Refresh == "" || mine.ID == "" {
		t.Fatalf("%d %s", mine.Status, mine.Raw)
	}
	app := w.post(tokenPath(tid), clientCredentials(w)).Access
	const (
		saml     = "urn:ietf:params:oauth:grant-type:saml2-bearer"
		exchange = "urn:ietf:params:oauth:grant-type:token-exchange"
		kind     = "urn:ietf:params:oauth:token-type:"
	)
	scope := "https://orders.example/.default"
	for name, subject := range map[string]string{"a user's": mine.Access, "an application's": app, "an id token": mine.ID, "a refresh token": mine.Refresh, "nothing": ""} {
		for _, grant := range []string{saml, exchange} {
			for _, path := range []string{tokenPath(tid), "/" + tid + "/oauth2/token"} {
				f := with(clientCredentials(w), "grant_type", grant, "scope", scope, "assertion", subject, "requested_token_use", "on_behalf_of",
					"subject_token", subject, "subject_token_type", kind+"access_token", "actor_token", app, "actor_token_type", kind+"access_token", "requested_token_type", kind+"access_token")
				if r := w.post(path, f); r.Status != http.StatusBadRequest || r.Error != "unsupported_grant_type" || r.Access+r.Refresh+r.ID != "" {
					t.Errorf("%s of %s at %s: %d %s", grant, name, path, r.Status, r.Raw)
				}
			}
		}
	}
}
