package oidc_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/issue"
)

// mine is what faye gets for the web service: what it would be sent, and the rest.
func (w *world) mine(pairs ...string) reply {
	w.t.Helper()
	r := w.post(tokenPath(tenantA.ID.String()), ropc(append([]string{"scope", web.AppID.String() + "/.default openid offline_access"}, pairs...)...))
	if r.Status != http.StatusOK {
		w.t.Fatalf("%d %s", r.Status, r.Raw)
	}
	return r
}

func onBehalf(w *world, assertion string, pairs ...string) url.Values {
	return with(form("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer", "client_id", web.AppID.String(), "client_secret", w.secret,
		"assertion", assertion, "requested_token_use", "on_behalf_of", "scope", "https://orders.example/.default openid profile offline_access"), pairs...)
}

// A service that was called by somebody calls another one in his name.
func TestOnBehalfOf(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tid := tenantA.ID.String()
	mine := w.mine()
	w.clock.forward(20 * time.Minute)
	r := w.post(tokenPath(tid), onBehalf(w, mine.Access))
	if r.Status != http.StatusOK || r.Refresh != "" || r.ID == "" {
		t.Fatalf("%d %s", r.Status, r.Raw)
	}
	c := w.verify(r.Access, api.AppID.String())
	if c.ObjectID != faye.ID || c.AppID != web.AppID || c.AppAuth != "1" || c.IDType != "" || strings.Join(c.Scopes, " ") != "orders.read orders.write" || len(c.Groups) != 2 {
		t.Errorf("claims = %+v", c)
	}
	// It ends with the token that it was made from.
	if was := w.verify(mine.Access, web.AppID.String()); !c.Expires.Equal(was.Expires) || strings.Split(c.ID, ".")[0] != strings.Split(was.ID, ".")[0] {
		t.Errorf("until %s, the token before until %s; %s, %s", c.Expires, was.Expires, c.ID, was.ID)
	}
	if in, _ := r.Body["expires_in"].(float64); in > 2400 || in < 2390 {
		t.Errorf("expires_in = %v", in)
	}
	for law, f := range map[string]url.Values{
		"at an alias":     nil,
		"a named scope":   onBehalf(w, mine.Access, "scope", "https://orders.example/orders.read"),
		"for the cluster": onBehalf(w, mine.Access, "scope", aks+"/.default"),
		"by another name": onBehalf(w, w.mine("scope", "api://"+web.AppID.String()+"/.default").Access),
	} {
		path := tokenPath(tid)
		if f == nil {
			path, f = tokenPath("organizations"), onBehalf(w, mine.Access)
		}
		if r := w.post(path, f); r.Status != http.StatusOK {
			t.Errorf("%s: %d %s", law, r.Status, r.Raw)
		}
	}
	v1 := w.post("/"+tid+"/oauth2/token", onBehalf(w, mine.Access, "scope", "", "resource", aks))
	if v1.Status != http.StatusOK || v1.Refresh != "" {
		t.Fatalf("%d %s", v1.Status, v1.Raw)
	}
	w.verify(v1.Access, aks)
}

// OA-39, JWT-15: whatever is not the token of a person who is still signed in, made
// for this very service, gives nothing.
func TestOnBehalfOfRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tid := tenantA.ID.String()
	kube := w.foreigner("RS256", clusterIssuer)
	mine := w.mine()
	apps := w.post(tokenPath(tid), clientCredentials(w, "scope", web.AppID.String()+"/.default")).Access
	secretB := directory.ServicePrincipal{ID: [16]byte{3, 9}, AppID: web.AppID, Tenant: tenantB.ID, DisplayName: "Web"}
	b := tenantB
	b.AllowPasswordGrant = true
	w.commit(secretB, b)
	bens := w.post(tokenPath(tenantB.ID.String()), ropc("username", ben.UserPrincipalName, "scope", web.AppID.String()+"/.default")).Access
	if apps == "" || bens == "" {
		t.Fatal("no tokens to try")
	}
	for _, tt := range []struct {
		law, assertion string
		status, code   int
	}{
		{"OA-39: for another audience", w.mine("scope", "https://orders.example/.default").Access, 400, 500131},
		{"OA-39: for Graph", w.mine("scope", "openid").Access, 400, 500131},
		{"OA-39: an application's own token", apps, 400, 7000114},
		{"OA-39: an id token", mine.ID, 400, 50013},
		{"OA-39: a refresh token", mine.Refresh, 400, 50013},
		{"OA-39: of another tenant", bens, 400, 50013},
		{"JWT-15: a client secret", w.secret, 400, 50013},
		{"of another issuer", kube.token(map[string]any{"aud": web.AppID.String()}), 400, 50013},
		{"a changed byte", mine.Access[:len(mine.Access)-3] + "AAA", 400, 50013},
		{"no signature", mine.Access[:strings.LastIndexByte(mine.Access, '.')+1], 400, 50013},
	} {
		if r := w.post(tokenPath(tid), onBehalf(w, tt.assertion)); r.Status != tt.status || r.Code != tt.code || r.Error != "invalid_grant" || r.Access+r.Refresh+r.ID != "" {
			t.Errorf("%s: %d %s, want %d", tt.law, r.Status, r.Raw, tt.code)
		}
	}
	for law, f := range map[string]url.Values{
		"no assertion":                   onBehalf(w, ""),
		"no use":                         onBehalf(w, mine.Access, "requested_token_use", ""),
		"another use":                    onBehalf(w, mine.Access, "requested_token_use", "delegation"),
		"no scope":                       onBehalf(w, mine.Access, "scope", ""),
		"a scope that is not offered":    onBehalf(w, mine.Access, "scope", "https://orders.example/orders.delete"),
		"a resource that is not there":   onBehalf(w, mine.Access, "scope", "https://nowhere.example/.default"),
		"OA-42: a client without secret": onBehalf(w, mine.Access, "client_secret", ""),
		"OA-42: a wrong secret":          onBehalf(w, mine.Access, "client_secret", "x"),
		"OA-42: a public client":         onBehalf(w, mine.Access, "client_secret", "", "client_id", native.AppID.String()),
		"OA-42: another client":          onBehalf(w, mine.Access, "client_id", api.AppID.String()),
	} {
		if r := w.post(tokenPath(tid), f); r.Status < 400 || r.Status >= 500 || r.Access != "" {
			t.Errorf("%s: %d %s", law, r.Status, r.Raw)
		}
	}
	if r := w.post(tokenPath(tenantB.ID.String()), onBehalf(w, mine.Access)); r.Error != "invalid_grant" {
		t.Errorf("OA-39: at another tenant: %s", r.Raw)
	}
	// A managed identity asks for itself alone.
	w.commit(workload, workloadCredential)
	posing := with(exchangeForm(workload.ClientID.String(), kube.token(nil)), "grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer", "requested_token_use", "on_behalf_of", "assertion", mine.Access)
	if r := w.post(tokenPath(tid), posing); r.Status < 400 || r.Status >= 500 || r.Access != "" {
		t.Errorf("OA-42: a managed identity: %d %s", r.Status, r.Raw)
	}
	lasting, err := issue.NewClientSecret(web.AppID, "lasting", w.clock.Now(), 3*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	w.private(lasting.Op)
	w.clock.forward(time.Hour)
	if r := w.post(tokenPath(tid), onBehalf(w, mine.Access, "client_secret", lasting.Text.Reveal())); r.Code != 500133 || r.Error != "invalid_grant" {
		t.Errorf("OA-39: expired: %s", r.Raw)
	}
}

// OA-39: the person's sign-in must still stand, and what was made of it ends with it.
func TestOnBehalfOfEndsWithTheSignIn(t *testing.T) {
	t.Parallel()
	disabled, signedOut := faye, faye
	disabled.Disabled = true
	for law, tt := range map[string]struct {
		end  func(w *world, refresh string)
		code int
	}{
		"disabled": {func(w *world, _ string) { w.commit(disabled) }, 50057},
		"deleted": {func(w *world, _ string) {
			w.remove(directory.Membership{Group: inner.ID, Member: faye.ID}.Key(), faye.Key())
		}, 50034},
		"signed out everywhere": {func(w *world, _ string) {
			u := signedOut
			u.TokensValidFrom = w.clock.Now().Add(time.Second)
			w.commit(u)
		}, 50173},
		"a refresh token that was used twice": {func(w *world, refresh string) {
			f := form("grant_type", "refresh_token", "client_id", az, "refresh_token", refresh)
			w.post(tokenPath(tenantA.ID.String()), f)
			w.clock.forward(time.Minute)
			w.post(tokenPath(tenantA.ID.String()), f)
		}, 50173},
	} {
		t.Run(law, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			mine := w.mine()
			r := w.post(tokenPath(tenantA.ID.String()), onBehalf(w, mine.Access))
			if r.Status != http.StatusOK {
				t.Fatalf("%d %s", r.Status, r.Raw)
			}
			made := w.verify(r.Access, api.AppID.String())
			tt.end(w, mine.Refresh)
			if r := w.post(tokenPath(tenantA.ID.String()), onBehalf(w, mine.Access)); r.Code != tt.code || r.Error != "invalid_grant" || r.Access != "" {
				t.Errorf("%d %s, want %d", r.Status, r.Raw, tt.code)
			}
			if tt.code == 50173 && law != "signed out everywhere" {
				if live, err := w.issuer.Live(t.Context(), made); live || err != nil {
					t.Errorf("the token that was made of it lives: %t, %v", live, err)
				}
			}
		})
	}
}

// A chain of services does not keep a sign-in alive.
func TestOnBehalfOfGoesInCirclesOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	secret, err := issue.NewClientSecret(api.AppID, "test", w.clock.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	w.private(secret.Op)
	assertion, last := w.mine().Access, ""
	for i := range 4 {
		w.clock.forward(10 * time.Minute)
		client, text, scope := web.AppID.String(), w.secret, "https://orders.example/.default"
		if i%2 == 1 {
			client, text, scope = api.AppID.String(), secret.Text.Reveal(), web.AppID.String()+"/.default"
		}
		r := w.post(tokenPath(tenantA.ID.String()), onBehalf(w, assertion, "client_id", client, "client_secret", text, "scope", scope))
		if r.Status != http.StatusOK {
			t.Fatalf("%d %s", r.Status, r.Raw)
		}
		c, err := w.check(r.Access, "access", web.AppID.String(), api.AppID.String())
		if err != nil {
			t.Fatal(err)
		}
		if end := fmt.Sprint(c.Expires); last != "" && end != last {
			t.Errorf("round %d ends at %s, the one before at %s", i, end, last)
		} else {
			last = end
		}
		assertion = r.Access
	}
}
