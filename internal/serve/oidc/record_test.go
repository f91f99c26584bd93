package oidc_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/issue"
	"github.com/gatehouse-io/gatehouse/internal/serve"
	"github.com/gatehouse-io/gatehouse/internal/serve/oidc"
	"github.com/gatehouse-io/gatehouse/internal/serve/servetest"
)

// Whatever is refused leaves one line in the log and one event in the trace, by the
// ids that whoever was refused has seen: none, and nobody finds out why; two, and a
// count of guesses is wrong.
func TestARefusalLeavesOneRecord(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var log servetest.Journal
	w.server = httptest.NewTLSServer(oidc.New(oidc.Config{Issuer: w.issuer, Trace: w.trace, Log: log.Log()}))
	t.Cleanup(w.server.Close)
	signIn := func(b *browser, page reply, name string) reply {
		return b.submit(page, "username", name, "password", "wrong "+password, "action", "signin")
	}
	userinfo := "/" + tenantA.ID.String() + "/openid/userinfo"
	v1 := strings.Replace(tokenPath(tenantA.ID.String()), "/v2.0", "", 1)
	for law, refuse := range map[string]func() reply{
		"a wrong password":                  func() reply { return w.post(tokenPath("organizations"), ropc("password", "wrong "+password)) },
		"a wrong password, version 1":       func() reply { return w.post(v1, ropc("password", "wrong "+password)) },
		"a client that is none":             func() reply { return w.post(tokenPath(tenantA.ID.String()), ropc("client_id", faye.ID.String())) },
		"a tenant that is none":             func() reply { return w.post(tokenPath("nobody.example"), ropc()) },
		"a grant that is none":              func() reply { return w.post(tokenPath("organizations"), ropc("grant_type", "magic")) },
		"a parameter twice":                 func() reply { return w.postRaw(tokenPath("organizations"), "scope=a&scope=b") },
		"a secret in the address":           func() reply { return w.post(tokenPath("organizations")+"?client_secret=x", ropc()) },
		"a body too large":                  func() reply { return w.post(tokenPath("organizations"), ropc("scope", strings.Repeat("x", 2<<20))) },
		"a device of no client":             func() reply { return w.post("/organizations/oauth2/v2.0/devicecode", form("scope", "openid")) },
		"userinfo without a token":          func() reply { return w.get(userinfo) },
		"the keys of a tenant that is none": func() reply { return w.get("/nobody.example/discovery/v2.0/keys") },
		"a sign-in to an address of nobody's": func() reply {
			return w.get(authorizePath(with(authorizeQuery(), "redirect_uri", "https://evil.example/")))
		},
		"a sign-in for what there is not": func() reply { return w.browser().get(authorizePath(with(authorizeQuery(), "response_type", "magic"))) },
		"a form that was not opened here": func() reply { return w.post(authorizePath(authorizeQuery()), form("username", faye.UserPrincipalName)) },
		"a wrong password on the page": func() reply {
			b := w.browser()
			return signIn(b, b.get(authorizePath(authorizeQuery())), faye.UserPrincipalName)
		},
		"nobody's password on the page": func() reply {
			b := w.browser()
			return signIn(b, b.get(authorizePath(authorizeQuery())), "nobody@contoso.com")
		},
		"a code that no device shows":          func() reply { b := w.browser(); return b.submit(b.get(issue.DevicePage), "user_code", "AAAAAAAAA") },
		"a device page with a code in the URL": func() reply { return w.get(issue.DevicePage + "?user_code=AAAAAAAAA") },
	} {
		before := len(w.trace.Recent(100, func(serve.Event) bool { return true }))
		r := refuse()
		id := r.Header.Get("X-Request-Id")
		// A redirect is an answer to the client; its refusal is in the trace alone.
		if r.Status != http.StatusSeeOther {
			log.Refused(t, law, "id", id)
		}
		found := w.trace.Recent(100, func(e serve.Event) bool {
			return e.Effect == "refused" && id != "" && strings.HasSuffix(strings.ReplaceAll(e.TraceID, "-", ""), id)
		})
		if all := len(w.trace.Recent(100, func(serve.Event) bool { return true })); len(found) != 1 || all != before+1 {
			t.Errorf("%s: %d %d of %d new events tell of it: %+v", law, r.Status, len(found), all-before, found)
			continue
		}
		if correlation, sent := r.Body["correlation_id"]; sent && correlation != found[0].CorrelationID {
			t.Errorf("%s: the answer has the correlation id %v, the trace %s", law, correlation, found[0].CorrelationID)
		}
		if strings.Contains(found[0].Reason, password) {
			t.Errorf("%s: a password is in the trace: %s", law, found[0].Reason)
		}
	}
	for law, r := range map[string]reply{
		"a token that is asked for by GET": w.get(tokenPath("organizations")),
		"what is not there":                w.get("/organizations/oauth2/v3.0/token"),
		"a path of two spellings":          w.get("/organizations//oauth2/v2.0/token"),
	} {
		if attrs := log.Refused(t, law, "id", r.Header.Get("X-Request-Id")); attrs["status"] != "404" && attrs["status"] != "405" {
			t.Errorf("%s: %v", law, attrs)
		}
	}
}
