package oidc_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/token"
)

func TestABrowserSignsIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.browser()
	page := b.get(authorizePath(authorizeQuery()))
	done := b.submit(page, "username", "Faye@TekNews.cloud", "password", password, "action", "signin")
	q := location(t, done)
	if !strings.HasPrefix(done.Header.Get("Location"), "http://127.0.0.1:4711/cb?") {
		t.Errorf("Location %q", done.Header.Get("Location"))
	}
	// OA-17: the answer names its issuer, which is the tenant's own.
	if q.Get("state") != "s t+ä" || q.Get("iss") != authority+"/"+tenantA.ID.String()+"/v2.0" {
		t.Errorf("state %q, iss %q", q.Get("state"), q.Get("iss"))
	}
	r := w.post(tokenPath(tenantA.ID.String()), redeem(q.Get("code")))
	c := w.verify(r.Access, aks)
	if c.ObjectID != faye.ID || r.Refresh == "" {
		t.Errorf("%+v %s", c, r.Raw)
	}
	id, err := w.check(r.ID, token.IDToken, native.AppID.String())
	if err != nil || id.Nonce != "n-1" {
		t.Errorf("id token %+v %v", id, err)
	}

	// The second time the browser is signed in, and the person only confirms.
	again := b.get(authorizePath(authorizeQuery()))
	if again.Status != http.StatusOK || !strings.Contains(again.Raw, "Continue as faye@teknews.cloud") {
		t.Fatalf("%d %s", again.Status, again.Raw)
	}
	if q := location(t, b.submit(again, "action", "continue")); q.Get("code") == "" {
		t.Errorf("%v", q)
	}
	if q := location(t, b.submit(again, "action", "cancel")); q.Get("error") != "access_denied" || q.Get("code") != "" {
		t.Errorf("%v", q)
	}
	// The page was shown for faye; it must not act for whoever signed in since.
	if r := b.submit(again, "action", "continue", "user", guest.ID.String()); r.Status != http.StatusOK || !strings.Contains(r.Raw, `id="password"`) {
		t.Errorf("%d", r.Status)
	}
}

// MSAL for Go listens for a POST.
func TestAFormPostCarriesTheCodeAndWorksWithoutScript(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.browser()
	q := with(authorizeQuery(), "response_mode", "form_post", "redirect_uri", "http://localhost:9999/cb")
	r := b.submit(b.get(authorizePath(q)), "username", faye.UserPrincipalName, "password", password, "action", "signin")
	if r.Status != http.StatusOK || r.Header.Get("Location") != "" {
		t.Fatalf("%d %q", r.Status, r.Header.Get("Location"))
	}
	f := hidden(r)
	if f.Get("code") == "" || f.Get("state") != "s t+ä" || f.Get("iss") == "" {
		t.Errorf("fields %v", f)
	}
	csp := r.Header.Get("Content-Security-Policy")
	for _, want := range []string{`action="http://localhost:9999/cb"`, `<button id="continue" type="submit"`} {
		if !strings.Contains(r.Raw, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	if !strings.Contains(csp, "form-action 'self' http://localhost:9999;") || !strings.Contains(csp, "script-src 'nonce-") {
		t.Errorf("policy %q", csp)
	}
	got := w.post(tokenPath(tenantA.ID.String()), with(redeem(f.Get("code")), "redirect_uri", "http://localhost:9999/cb"))
	if got.Access == "" {
		t.Errorf("%s", got.Raw)
	}
}

// OA-01: of 50 attempts over two replicas one succeeds, and what it got is dead.
func TestACodeIsRedeemedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.addReplica()
	code := w.code(authorizeQuery())
	var wg sync.WaitGroup
	replies := make([]reply, 50)
	for i := range replies {
		wg.Go(func() {
			replies[i] = postTo(t, w.replicas[i%2], tokenPath(tenantA.ID.String()), redeem(code))
		})
	}
	wg.Wait()
	won := 0
	var winner reply
	for _, r := range replies {
		switch {
		case r.Status == http.StatusOK:
			won++
			winner = r
		case r.Error != "invalid_grant":
			t.Errorf("a loser got %d %s", r.Status, r.Raw)
		}
	}
	if won != 1 {
		t.Fatalf("%d of 50 succeeded", won)
	}
	for i, s := range w.replicas {
		if r := postTo(t, s, tokenPath(tenantA.ID.String()), form("grant_type", "refresh_token", "client_id", native.AppID.String(), "refresh_token", winner.Refresh)); r.Error != "invalid_grant" {
			t.Errorf("replica %d: the refresh token of a code that was used twice lives: %s", i, r.Raw)
		}
	}
	live, err := w.issuer.Live(t.Context(), w.verify(winner.Access, aks))
	if err != nil || live {
		t.Errorf("the access token's sign-in lives: %t, %v", live, err)
	}
	// A code used twice a long time apart is noticed as well.
	code = w.code(authorizeQuery())
	first := w.post(tokenPath(tenantA.ID.String()), redeem(code))
	if live, err := w.issuer.Live(t.Context(), w.verify(first.Access, aks)); err != nil || !live {
		t.Errorf("a good sign-in is not live: %v", err)
	}
	w.clock.forward(50 * time.Minute)
	if r := w.post(tokenPath(tenantA.ID.String()), redeem(code)); r.Code != 54005 {
		t.Errorf("%s", r.Raw)
	}
	if live, _ := w.issuer.Live(t.Context(), w.verify(first.Access, aks)); live {
		t.Error("a late replay ends nothing")
	}
}

// OA-02, OA-03, OA-08, OA-09, OA-32.
func TestACodeBelongsToItsRequest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tid := tenantA.ID.String()
	secret := form("client_id", web.AppID.String(), "redirect_uri", "https://app.example/callback", "scope", aksScope, "response_type", "code", "state", "s")
	plain := func() string { // a code of the confidential client, without a challenge
		b := w.browser()
		return location(t, b.submit(b.get(authorizePath(secret)), "username", faye.UserPrincipalName, "password", password, "action", "signin")).Get("code")
	}
	webRedeem := func(code string) url.Values {
		return form("grant_type", "authorization_code", "client_id", web.AppID.String(), "client_secret", w.secret, "code", code, "redirect_uri", "https://app.example/callback")
	}
	code, webCode := w.code(authorizeQuery()), plain()
	for _, tt := range []struct {
		name  string
		form  url.Values
		oauth string
	}{
		{"OA-02: another public client", with(redeem(code), "client_id", az), "invalid_grant"},
		{"OA-02: another confidential client", with(webRedeem(code), "code_verifier", verifier), "invalid_grant"},
		{"OA-32: as a device code", form("grant_type", "device_code", "client_id", native.AppID.String(), "device_code", code), "bad_verification_code"},
		{"OA-03: no redirect URI", with(redeem(code), "redirect_uri", ""), "invalid_grant"},
		{"OA-03: another port", with(redeem(code), "redirect_uri", "http://127.0.0.1:4712/cb"), "invalid_grant"},
		{"OA-03: another registered one", with(redeem(code), "redirect_uri", "https://native.example/cb"), "invalid_grant"},
		{"OA-09: no verifier", with(redeem(code), "code_verifier", ""), "invalid_grant"},
		{"OA-09: a verifier though there was no challenge", with(webRedeem(webCode), "code_verifier", verifier), "invalid_grant"},
		{"OA-08: another verifier", with(redeem(code), "code_verifier", verifier[1:]+"A"), "invalid_grant"},
		{"OA-08: a verifier of 42", with(redeem(code), "code_verifier", verifier[1:]), "invalid_grant"},
		{"OA-08: a verifier of 129", with(redeem(code), "code_verifier", strings.Repeat("a", 129)), "invalid_grant"},
		{"OA-08: a verifier with a blank", with(redeem(code), "code_verifier", verifier+" "), "invalid_grant"},
		{"a wider scope", with(redeem(code), "scope", "https://vault.azure.net/.default"), "invalid_scope"},
		{"cut", with(redeem(code), "code", code[:len(code)-1]), "invalid_grant"},
		{"extended", with(redeem(code), "code", code+"A"), "invalid_grant"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if r := postTo(t, w.server, tokenPath(tid), tt.form); r.Error != tt.oauth || r.Access != "" {
				t.Errorf("got %d %s", r.Status, r.Raw)
			}
		})
	}
	t.Run("in another tenant", func(t *testing.T) {
		if r := postTo(t, w.server, tokenPath(tenantB.ID.String()), with(redeem(code), "client_id", az)); r.Error != "invalid_grant" {
			t.Errorf("%s", r.Raw)
		}
	})
	t.Run("but its own client redeems it", func(t *testing.T) {
		if r := postTo(t, w.server, tokenPath(tid), redeem(code)); r.Access == "" {
			t.Errorf("%s", r.Raw)
		}
		if r := postTo(t, w.server, tokenPath(tid), webRedeem(webCode)); r.Access == "" {
			t.Errorf("%s", r.Raw)
		}
	})
	t.Run("and it expires", func(t *testing.T) {
		code := w.code(authorizeQuery())
		w.clock.forward(5*time.Minute + time.Second)
		if r := postTo(t, w.server, tokenPath(tid), redeem(code)); r.Code != 70008 {
			t.Errorf("%s", r.Raw)
		}
	})
}

// OA-06, OA-07, OA-08, OA-11, OA-12, OA-13.
func TestAuthorizationRequests(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	good := authorizeQuery()
	secret := form("client_id", web.AppID.String(), "redirect_uri", "https://app.example/callback", "scope", aksScope, "response_type", "code")
	const page, shown = "error page", "sign-in page"
	for _, tt := range []struct {
		name string
		q    url.Values
		want string // the OAuth error that the redirect carries, or page, or shown
	}{
		{"good", good, shown},
		{"OA-06: another port", with(good, "redirect_uri", "http://127.0.0.1:1/cb"), shown},
		{"OA-06: no port", with(good, "redirect_uri", "http://127.0.0.1/cb"), shown},
		{"OA-06: IPv6", with(good, "redirect_uri", "http://[::1]:65535/cb"), shown},
		{"OA-06: localhost, as az sends it", form("client_id", az, "redirect_uri", "http://localhost:41234", "scope", "https://management.core.windows.net//.default", "response_type", "code", "code_challenge", challenge(), "code_challenge_method", "S256", "prompt", "select_account"), shown},
		{"OA-06: port 0", with(good, "redirect_uri", "http://127.0.0.1:0/cb"), page},
		{"OA-06: port 65536", with(good, "redirect_uri", "http://127.0.0.1:65536/cb"), page},
		{"OA-06: port 080", with(good, "redirect_uri", "http://127.0.0.1:080/cb"), page},
		{"OA-06: another path", with(good, "redirect_uri", "http://127.0.0.1:1/cb2"), page},
		{"OA-06: https on loopback", with(good, "redirect_uri", "https://127.0.0.1:1/cb"), page},
		{"OA-06: another loopback address", with(good, "redirect_uri", "http://127.0.0.2:1/cb"), page},
		{"OA-06: a port for a registered https URI", with(good, "redirect_uri", "https://native.example:444/cb"), page},
		{"OA-06: a confidential client", with(secret, "redirect_uri", "http://127.0.0.1:1/cb"), page},
		{"OA-06: a confidential client on its own loopback address", with(secret, "redirect_uri", "http://localhost:3000/dev"), shown},
		{"OA-06: a confidential client on another port", with(secret, "redirect_uri", "http://localhost:3001/dev"), page},
		{"OA-07: unknown client", with(good, "client_id", "99999999-0000-4000-8000-000000000009", "prompt", "none"), page},
		{"OA-07: unregistered redirect URI", with(good, "redirect_uri", "https://evil.example/", "prompt", "none"), page},
		{"OA-07: no redirect URI", with(good, "redirect_uri", "", "prompt", "none"), page},
		{"OA-07: bad scope", with(good, "scope", "a b c/d e/f", "prompt", "none"), "invalid_scope"},
		{"OA-07: unknown resource", with(good, "scope", "https://nobody.example/.default"), "invalid_request"},
		{"OA-07: no scope", with(good, "scope", ""), "invalid_request"},
		{"OA-08: no challenge", with(good, "code_challenge", "", "code_challenge_method", ""), "invalid_request"},
		{"OA-08: an empty challenge", with(good, "code_challenge", "") /* and the method stays */, "invalid_request"},
		{"OA-08: plain", with(good, "code_challenge_method", "plain"), "invalid_request"},
		{"OA-08: no method, which means plain", with(good, "code_challenge_method", ""), "invalid_request"},
		{"OA-08: a challenge that is no digest", with(good, "code_challenge", challenge()[1:]), "invalid_request"},
		{"OA-08: a confidential client that begins PKCE and does not finish", with(secret, "code_challenge_method", "S256"), "invalid_request"},
		{"a confidential client without PKCE", secret, shown},
		{"OA-11: token", with(good, "response_type", "token"), "unsupported_response_type"},
		{"OA-11: id_token", with(good, "response_type", "id_token"), "unsupported_response_type"},
		{"OA-11: code token", with(good, "response_type", "code token"), "unsupported_response_type"},
		{"OA-11: code id_token", with(good, "response_type", "code id_token"), "unsupported_response_type"},
		{"OA-11: fragment", with(good, "response_mode", "fragment"), "invalid_request"},
		{"OA-11: no response type", with(good, "response_type", ""), "invalid_request"},
		{"OA-12: request", with(good, "request", "eyJhbGciOiJub25lIn0.e30."), "request_not_supported"},
		{"OA-12: request_uri", with(good, "request_uri", "https://evil.example/r"), "request_not_supported"},
		{"OA-13: prompt=none without a session", with(good, "prompt", "none"), "login_required"},
		{"unknown prompt", with(good, "prompt", "create"), "invalid_request"},
		{"bad max_age", with(good, "max_age", "-1"), "invalid_request"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := w.browser().get(authorizePath(tt.q))
			switch tt.want {
			case page:
				if r.Status != http.StatusBadRequest || r.Header.Get("Location") != "" || !strings.Contains(r.Raw, `id="error"`) {
					t.Errorf("%d %q", r.Status, r.Header.Get("Location"))
				}
			case shown:
				if r.Status != http.StatusOK || !strings.Contains(r.Raw, `id="password"`) {
					t.Errorf("%d %s", r.Status, r.Raw)
				}
			default:
				q := location(t, r)
				if q.Get("error") != tt.want || q.Get("code") != "" || q.Get("iss") == "" || !strings.HasPrefix(r.Header.Get("Location"), tt.q.Get("redirect_uri")+"?") {
					t.Errorf("%s", r.Header.Get("Location"))
				}
			}
		})
	}
	t.Run("OA-08: code_challenge= for a confidential client", func(t *testing.T) {
		r := w.browser().get("/" + tenantA.ID.String() + "/oauth2/v2.0/authorize?" + secret.Encode() + "&code_challenge=")
		if q := location(t, r); q.Get("error") != "invalid_request" {
			t.Errorf("%v", q)
		}
	})
	t.Run("OA-05, OA-44: every parameter twice", func(t *testing.T) {
		for name := range good {
			r := w.browser().get(authorizePath(good) + "&" + name + "=" + url.QueryEscape(good.Get(name)))
			if r.Status != http.StatusBadRequest || r.Header.Get("Location") != "" {
				t.Errorf("%s: %d %q", name, r.Status, r.Header.Get("Location"))
			}
		}
	})
}

// OA-13, and RFC 8252 section 8.6.
func TestPromptAndAge(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.browser()
	secret := form("client_id", web.AppID.String(), "redirect_uri", "https://app.example/callback", "scope", aksScope, "response_type", "code")
	b.submit(b.get(authorizePath(secret)), "username", faye.UserPrincipalName, "password", password, "action", "signin")

	if q := location(t, b.get(authorizePath(with(secret, "prompt", "none")))); q.Get("code") == "" {
		t.Errorf("a confidential client is not answered silently: %v", q)
	}
	if q := location(t, b.get(authorizePath(with(authorizeQuery(), "prompt", "none")))); q.Get("error") != "interaction_required" {
		t.Errorf("a public client is answered silently: %v", q)
	}
	w.clock.forward(10 * time.Second)
	for _, q := range []url.Values{with(secret, "prompt", "login"), with(secret, "max_age", "5"), with(authorizeQuery(), "prompt", "login")} {
		if r := b.get(authorizePath(q)); r.Status != http.StatusOK || !strings.Contains(r.Raw, `id="password"`) {
			t.Errorf("%v: no password is asked for: %d", q, r.Status)
		}
	}
	// The session cannot be used to get around it.
	page := b.get(authorizePath(with(authorizeQuery(), "prompt", "login")))
	if r := b.submit(page, "action", "continue", "user", faye.ID.String()); r.Header.Get("Location") != "" {
		t.Error("prompt=login was answered from the session")
	}
	before := w.clock.Now()
	done := b.submit(page, "username", faye.UserPrincipalName, "password", password, "action", "signin")
	c := w.verify(w.post(tokenPath(tenantA.ID.String()), redeem(location(t, done).Get("code"))).Access, aks)
	if c.AuthTime.Before(before.Truncate(time.Second)) {
		t.Errorf("auth_time %s is older than the sign-in at %s", c.AuthTime, before)
	}
	w.clock.forward(8*time.Hour + time.Second)
	if r := b.get(authorizePath(secret)); r.Status != http.StatusOK {
		t.Errorf("the session lives on: %d", r.Status)
	}
}

// OA-05.
func TestRedirectsGoNowhereElse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.browser()
	bad := redirectTricks()
	if len(bad) < 200 {
		t.Fatalf("only %d tricks", len(bad))
	}
	for _, uri := range bad {
		for _, client := range []string{native.AppID.String(), web.AppID.String()} {
			r := b.get(authorizePath(with(authorizeQuery(), "client_id", client, "redirect_uri", uri)))
			if r.Status < 400 || r.Header.Get("Location") != "" {
				t.Errorf("redirect_uri %q for %s: %d, Location %q", uri, client, r.Status, r.Header.Get("Location"))
			}
		}
	}
}

func redirectTricks() []string {
	var out []string
	for _, base := range []string{"https://app.example/callback", "https://native.example/cb", "http://127.0.0.1:4711/cb", "http://localhost:4711/cb", "http://[::1]:4711/cb"} {
		u, err := url.Parse(base)
		if err != nil {
			panic(err)
		}
		host, path := u.Host, u.Path
		for _, tail := range []string{"/", "//", "/.", "/..", "/../", "/%2e%2e", "?", "?a=b", "#", "#a", "%00", "%0a", "%0d%0aLocation:x", "\t", "\n", " ", ".", ";a", "\\", "/evil", "%2f", "*"} {
			out = append(out, base+tail)
		}
		for _, h := range []string{
			"evil.example", "user@" + host, host + "@evil.example", "evil.example#@" + host, "evil.example?@" + host, "evil.example\\@" + host,
			host + ".evil.example", "x." + host, host + ".", strings.ToUpper(host) + "x", host + "%00.evil.example", host + "%2eevil.example",
			"0x7f.1", "0177.0.0.1", "2130706433", "127.1", "[::ffff:127.0.0.1]", "[::1%25eth0]", "127.0.0.1.evil.example:80", "localhost.evil.example", host + ":", ":80",
		} {
			out = append(out, u.Scheme+"://"+h+path)
		}
		out = append(out, strings.Replace(base, "://", ":/", 1), strings.Replace(base, "://", ":///", 1), strings.Replace(base, "://", ":\\\\", 1), "//"+host+path, host+path, path,
			strings.ToUpper(base[:5])+base[5:], " "+base, "\t"+base, "\u00a0"+base, base+"\u200b", strings.Replace(base, "a", "\u0430", 1)+"x")
	}
	return append(out, "javascript:alert(1)", "data:text/html,x", "vbscript:x", "file:///etc/passwd", "about:blank", "blob:https://app.example/x", "ftp://app.example/callback", "urn:ietf:wg:oauth:2.0:oob", "myapp://callback", "HTTPS://app.example/callback", "https://APP.example/callback", "https://app.example:443/callback", "https://app.example/Callback", "https://app.example/callbac", "https://app.example", "https://app.example/", "http://app.example/callback", "https://аpp.example/callback", "https://app。example/callback", "https://"+strings.Repeat("a", 10000)+".example/")
}

// OA-14, OA-15, OA-18.
func TestFormsOfAnotherBrowserOrSiteDoNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	victim := w.browser()
	victim.submit(victim.get(authorizePath(authorizeQuery())), "username", faye.UserPrincipalName, "password", password, "action", "signin")
	account := victim.get(authorizePath(authorizeQuery()))
	attacker := w.browser()
	attacker.get("/device")
	device := w.startDevice()
	deviceForm := victim.confirm(device)
	logoutPage := victim.get("/" + tenantA.ID.String() + "/oauth2/v2.0/logout")

	authorizeAt, err := url.Parse(authorizePath(nil))
	if err != nil {
		t.Fatal(err)
	}

	send := func(b *browser, page reply, edit func(*http.Request, url.Values)) reply {
		f := hidden(page)
		f.Set("action", map[bool]string{true: "approve", false: "continue"}[page.Raw == deviceForm.Raw])
		f.Set("username", faye.UserPrincipalName)
		f.Set("password", password)
		action := unescape.Replace(actionRE.FindStringSubmatch(page.Raw)[1])
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.server.URL+action, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		edit(req, f)
		body := f.Encode()
		req.Body, req.ContentLength = http.NoBody, 0
		if req.Method == http.MethodPost {
			req2, err := http.NewRequestWithContext(t.Context(), http.MethodPost, req.URL.String(), strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			req2.Header = req.Header
			req = req2
		}
		res, err := b.client.Do(req)
		return readReply(t, res, err)
	}
	for _, tt := range []struct {
		name string
		who  *browser
		edit func(*http.Request, url.Values)
	}{
		{"with a ticket that is changed", victim, func(_ *http.Request, f url.Values) { f.Set("ticket", f.Get("ticket")+"x") }},
		{"without a ticket", victim, func(_ *http.Request, f url.Values) { f.Del("ticket") }},
		{"with another page's ticket", victim, func(r *http.Request, f url.Values) {
			other := account
			if r.URL.Path == authorizeAt.Path {
				other = logoutPage
			}
			f.Set("ticket", hidden(other).Get("ticket"))
		}},
		{"from another site, by Sec-Fetch-Site", victim, func(r *http.Request, _ url.Values) { r.Header.Set("Sec-Fetch-Site", "cross-site") }},
		{"from another site, by Origin", victim, func(r *http.Request, _ url.Values) { r.Header.Set("Origin", "https://evil.example") }},
		{"from a sibling site", victim, func(r *http.Request, _ url.Values) { r.Header.Set("Sec-Fetch-Site", "same-site") }},
		{"in another browser", attacker, func(*http.Request, url.Values) {}},
		{"for another request", victim, func(r *http.Request, _ url.Values) { r.URL.RawQuery += "&nonce2=x" }},
	} {
		for what, page := range map[string]reply{"account": account, "device": deviceForm, "logout": logoutPage} {
			t.Run(fmt.Sprintf("%s page %s", what, tt.name), func(t *testing.T) {
				if what == "device" && strings.Contains(tt.name, "another request") {
					t.Skip("the device page takes no parameters, which is tested elsewhere")
				}
				r := send(tt.who, page, tt.edit)
				if r.Status != http.StatusForbidden || r.Header.Get("Location") != "" {
					t.Errorf("%d %q", r.Status, r.Header.Get("Location"))
				}
			})
		}
	}
	t.Run("nothing was granted", func(t *testing.T) {
		if r := w.post(tokenPath(tenantA.ID.String()), poll(device)); r.Error != "authorization_pending" {
			t.Errorf("%s", r.Raw)
		}
		if r := victim.get("/" + tenantA.ID.String() + "/oauth2/v2.0/logout"); !strings.Contains(r.Raw, faye.UserPrincipalName) {
			t.Error("the session is gone")
		}
	})
	t.Run("a GET approves nothing", func(t *testing.T) {
		f := hidden(account)
		f.Set("action", "continue")
		r := victim.get(authorizePath(authorizeQuery()) + "&" + f.Encode())
		if r.Header.Get("Location") != "" {
			t.Errorf("Location %q", r.Header.Get("Location"))
		}
	})
	t.Run("the honest browser is answered by 303", func(t *testing.T) {
		if r := victim.submit(account, "action", "continue"); r.Status != http.StatusSeeOther {
			t.Errorf("%d", r.Status)
		}
	})
}
