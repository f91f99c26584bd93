package oidc_test

import (
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/store"
)

// allPages returns one of every page, by name.
func allPages(w *world) map[string]reply {
	b := w.browser()
	pages := map[string]reply{
		"sign in":      b.get(authorizePath(authorizeQuery())),
		"device":       b.get("/device"),
		"device wrong": b.submit(b.get("/device"), "user_code", "BBBBBBBBB", "action", "code"),
		"error":        b.get(authorizePath(with(authorizeQuery(), "client_id", "x"))),
		"signed out":   b.get("/common/oauth2/v2.0/logout"),
		"device GET":   b.get("/device?user_code=x"),
	}
	pages["wrong password"] = b.submit(pages["sign in"], "username", faye.UserPrincipalName, "password", "wrong horse", "action", "signin")
	w.temporary()
	pages["must replace"] = b.submit(pages["sign in"], "username", faye.UserPrincipalName, "password", given, "action", "signin")
	w.private(func() store.PrivateOp { op := sharedPassword(w.t); op.ID = []string{faye.ID.String()}; return op }())
	pages["form post"] = b.submit(b.get(authorizePath(with(authorizeQuery(), "response_mode", "form_post"))), "username", faye.UserPrincipalName, "password", password, "action", "signin")
	pages["account"] = b.get(authorizePath(authorizeQuery()))
	pages["logout"] = b.get("/common/oauth2/v2.0/logout")
	pages["confirm"] = b.confirm(w.startDevice())
	pages["confirm wrong"] = b.submit(pages["confirm"], "username", faye.UserPrincipalName, "password", "wrong horse", "action", "approve")
	pages["refused"] = b.submit(b.confirm(w.startDevice()), "action", "deny")
	return pages
}

// OA-19, UI-02, UI-05, UI-08.
func TestEveryPageIsLockedDown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	nonces := make(map[string]bool)
	for name, r := range allPages(w) {
		h := r.Header
		csp := h.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "base-uri 'none'", "frame-ancestors 'none'", "form-action 'self'", "style-src 'nonce-"} {
			if !strings.Contains(csp, want) {
				t.Errorf("%s: policy %q lacks %q", name, csp, want)
			}
		}
		if strings.Contains(csp, "unsafe") || strings.Contains(csp, "*") {
			t.Errorf("%s: policy %q", name, csp)
		}
		if strings.Contains(csp, "script-src") != (name == "form post") {
			t.Errorf("%s: policy %q", name, csp)
		}
		for header, want := range map[string]string{
			"X-Frame-Options": "DENY", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
			"Cache-Control": "no-store", "Content-Type": "text/html; charset=utf-8",
		} {
			if got := h.Get(header); got != want {
				t.Errorf("%s: %s = %q, want %q", name, header, got, want)
			}
		}
		nonce := regexp.MustCompile(`nonce-([^']+)`).FindStringSubmatch(csp)[1]
		if nonces[nonce] || !strings.Contains(html.UnescapeString(r.Raw), `<style nonce="`+nonce+`">`) {
			t.Errorf("%s: nonce %q is not the page's own", name, nonce)
		}
		nonces[nonce] = true
		if regexp.MustCompile(`(?i)(src|href)=|<link|<img|url\(|@import`).MatchString(r.Raw) {
			t.Errorf("%s loads something", name)
		}
		if strings.Contains(r.Raw, password) || strings.Contains(r.Raw, "wrong horse") {
			t.Errorf("%s repeats a password", name)
		}
	}
}

func TestPagesAreAccessible(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, r := range allPages(w) {
		for _, want := range []string{`<html lang="en">`, "<title>", "<main>", "<h1"} {
			if !strings.Contains(r.Raw, want) {
				t.Errorf("%s lacks %s", name, want)
			}
		}
		for _, m := range regexp.MustCompile(`<input id="([^"]*)"`).FindAllStringSubmatch(r.Raw, -1) {
			if !strings.Contains(r.Raw, `<label for="`+m[1]+`">`) {
				t.Errorf("%s: no label for %s", name, m[1])
			}
		}
		ids := make(map[string]bool)
		for _, m := range regexp.MustCompile(` id="([^"]*)"`).FindAllStringSubmatch(r.Raw, -1) {
			if ids[m[1]] {
				t.Errorf("%s: id %s twice", name, m[1])
			}
			ids[m[1]] = true
		}
		if strings.Contains(name, "wrong") && !strings.Contains(r.Raw, `id="message" class="alert" role="alert"`) {
			t.Errorf("%s does not say what is wrong", name)
		}
	}
}

// OA-51, OA-53.
func TestCookiesAndLinksHoldNoSecrets(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.browser()
	page := b.get(authorizePath(authorizeQuery()))
	done := b.submit(page, "username", faye.UserPrincipalName, "password", password, "action", "signin")
	cookies := append(page.Header.Values("Set-Cookie"), done.Header.Values("Set-Cookie")...)
	if len(cookies) < 2 {
		t.Fatalf("cookies %q", cookies)
	}
	for _, c := range cookies {
		if !strings.HasPrefix(c, "__Host-") || !strings.Contains(c, "; Path=/") || !strings.Contains(c, "; Secure") || !strings.Contains(c, "; HttpOnly") ||
			!strings.Contains(c, "; SameSite=Lax") || strings.Contains(c, "Domain=") {
			t.Errorf("cookie %q", c)
		}
		if strings.Contains(c, "eyJ") || strings.Contains(c, faye.ID.String()) || strings.Contains(c, "faye") {
			t.Errorf("cookie %q says something", c)
		}
	}
	for _, secret := range []string{password, "access_token", "id_token", "refresh_token", "eyJ"} {
		if strings.Contains(done.Header.Get("Location"), secret) {
			t.Errorf("Location %q", done.Header.Get("Location"))
		}
	}
	// The session of one sign-in is not that of the next.
	again := b.submit(b.get(authorizePath(with(authorizeQuery(), "prompt", "login"))), "username", faye.UserPrincipalName, "password", password, "action", "signin")
	if again.Header.Get("Set-Cookie") == done.Header.Get("Set-Cookie") {
		t.Error("the session is kept across sign-ins")
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.server.URL+authorizePath(authorizeQuery()), nil)
	if err != nil {
		t.Fatal(err)
	}
	old, _, _ := strings.Cut(done.Header.Get("Set-Cookie"), ";")
	req.Header.Set("Cookie", old)
	res, err := w.server.Client().Do(req)
	if r := readReply(t, res, err); strings.Contains(r.Raw, "Continue as") {
		t.Error("the session from before is alive")
	}
}

// UI-01.
func TestNamesAreText(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	payloads := []string{
		`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `'><svg onload=alert(1)>`, `{{.}}`, `${7*7}`, `javascript:alert(1)`,
		`"autofocus onfocus="alert(1)`, `</title><script>alert(1)</script>`, `</style><script>alert(1)</script>`, `<!--`, `]]>`, `&lt;script&gt;`,
		`<a href="javascript:alert(1)">x</a>`, `<iframe srcdoc="x">`, `<base href="https://evil.example">`, `<meta http-equiv=refresh content=0>`, "`-alert(1)-`",
		`<form action="https://evil.example">`, `<input name="ticket">`, `%3Cscript%3E`, `\x3cscript\x3e`, `<ScRiPt>`, `<x onclick=alert(1)>`, `<math><mi//xlink:href="data:x">`,
	}
	for n, p := range payloads {
		evil := native
		evil.AppID, evil.ID, evil.DisplayName = directory.AppID{7, byte(n + 1)}, principal.ID{7, byte(n + 1)}, p
		w.commit(evil, directory.ServicePrincipal{ID: principal.ID{8, byte(n + 1)}, AppID: evil.AppID, Tenant: tenantA.ID, DisplayName: "x"})
		b := w.browser()
		r := b.get(authorizePath(with(authorizeQuery(), "client_id", evil.AppID.String(), "login_hint", p, "state", p)))
		check := func(what string, r reply) {
			t.Helper()
			text := regexp.MustCompile(`(?s)<style.*?</style>`).ReplaceAllString(r.Raw, "")
			if strings.Contains(p, "<") && strings.Contains(text, p) {
				t.Errorf("%s shows %q as it is", what, p)
			}
			// Every attribute is in double quotes, in which no payload can end them.
			bare := regexp.MustCompile(`"[^"]*"`).ReplaceAllString(text, `""`)
			if regexp.MustCompile(`(?i)<[^>]*\s(on[a-z]+|href|srcdoc)=|<svg|<img|<iframe|<base|<meta http|<math|<a `).MatchString(bare) {
				t.Errorf("%s: %q became markup: %s", what, p, text)
			}
			if n := strings.Count(strings.ToLower(text), "<script"); n > 1 || n == 1 && !strings.Contains(text, "<script nonce=") {
				t.Errorf("%s: %q became a script", what, p)
			}
		}
		if r.Status != http.StatusOK {
			t.Fatalf("%q: %d", p, r.Status)
		}
		check("sign-in page", r)
		check("error page", b.get("/"+url.PathEscape(p)+"/oauth2/v2.0/authorize"))
		check("form", b.submit(b.get(authorizePath(with(authorizeQuery(), "state", p, "response_mode", "form_post"))), "action", "cancel"))
	}
}

// OA-20, OA-50.
func TestLogoutAsksAndLeadsOnlyToRegisteredAddresses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.browser()
	in := func() {
		b.submit(b.get(authorizePath(with(authorizeQuery(), "prompt", "login"))), "username", faye.UserPrincipalName, "password", password, "action", "signin")
	}
	out := func(q url.Values) reply {
		in()
		return b.submit(b.get("/"+tenantA.ID.String()+"/oauth2/v2.0/logout?"+q.Encode()), "action", "logout")
	}
	good := form("client_id", web.AppID.String(), "post_logout_redirect_uri", "https://app.example/bye", "state", "a b")
	if r := out(good); r.Status != http.StatusSeeOther || r.Header.Get("Location") != "https://app.example/bye?state=a+b" {
		t.Errorf("%d %q", r.Status, r.Header.Get("Location"))
	}
	if r := b.get(authorizePath(authorizeQuery())); strings.Contains(r.Raw, "Continue as") {
		t.Error("still signed in")
	}
	own := w.post(tokenPath(tenantA.ID.String()), ropc("client_id", web.AppID.String(), "client_secret", w.secret))
	if r := out(with(good, "id_token_hint", own.ID)); r.Status != http.StatusSeeOther {
		t.Errorf("with the client's own id token: %d %s", r.Status, own.Raw)
	}
	// OA-50.
	changed := strings.Split(own.ID, ".")
	changed[1] = changed[1][:len(changed[1])-4] + strings.Repeat("A", 4)
	for _, q := range []url.Values{
		with(good, "id_token_hint", strings.Join(changed, ".")), with(good, "id_token_hint", w.post(tokenPath(tenantA.ID.String()), ropc()).ID), with(good, "id_token_hint", own.Access),
		with(good, "client_id", ""), with(good, "client_id", native.AppID.String()), with(good, "id_token_hint", "a.b.c"),
		with(good, "post_logout_redirect_uri", "https://app.example/bye/"), with(good, "post_logout_redirect_uri", "//evil.example"),
		with(good, "post_logout_redirect_uri", `/\evil.example`), with(good, "post_logout_redirect_uri", "https:evil.example"),
		with(good, "post_logout_redirect_uri", "\t//evil.example"), with(good, "post_logout_redirect_uri", "javascript:alert(1)"),
		form("next", "//evil.example", "return_to", "//evil.example", "RelayState", "//evil.example", "back", "//evil.example"),
	} {
		if r := out(q); r.Status != http.StatusOK || r.Header.Get("Location") != "" {
			t.Errorf("%v: %d %q", q, r.Status, r.Header.Get("Location"))
		}
	}
	in()
	b.get("/common/oauth2/v2.0/logout?" + good.Encode())
	if r := b.get(authorizePath(authorizeQuery())); !strings.Contains(r.Raw, "Continue as") {
		t.Error("a GET signed the person out")
	}
}

func TestUserInfo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tid := tenantA.ID.String()
	ask := func(path, auth string) reply {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.server.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if auth != "" {
			req.Header.Set("Authorization", auth)
		}
		res, err := w.server.Client().Do(req)
		return readReply(t, res, err)
	}
	r := w.post(tokenPath(tid), ropc("scope", "openid profile email"))
	info := ask("/"+tid+"/openid/userinfo", "Bearer "+r.Access)
	id, err := w.check(r.ID, "id", az)
	if err != nil || info.Status != 200 || info.text("sub") != id.Subject || info.text("name") != faye.DisplayName || info.text("email") != faye.Mail {
		t.Errorf("%d %s, %v", info.Status, info.Raw, err)
	}
	other := w.post(tokenPath(tid), ropc("scope", aksScope))
	for name, bad := range map[string]reply{
		"no token":                ask("/"+tid+"/openid/userinfo", ""),
		"OA-53: token in the URL": ask("/"+tid+"/openid/userinfo?access_token="+r.Access, ""),
		"both":                    ask("/"+tid+"/openid/userinfo?access_token="+r.Access, "Bearer "+r.Access),
		"JWT-14: for AKS":         ask("/"+tid+"/openid/userinfo", "Bearer "+other.Access),
		"JWT-15: an id token":     ask("/"+tid+"/openid/userinfo", "Bearer "+r.ID),
		"JWT-15: a refresh token": ask("/"+tid+"/openid/userinfo", "Bearer "+other.Refresh),
		"JWT-11: another tenant":  ask("/"+tenantB.ID.String()+"/openid/userinfo", "Bearer "+r.Access),
	} {
		if bad.Status != 401 || !strings.HasPrefix(bad.Header.Get("Www-Authenticate"), "Bearer ") {
			t.Errorf("%s: %d %s", name, bad.Status, bad.Raw)
		}
	}
	off := faye
	off.Disabled = true
	w.commit(off)
	if r := ask("/common/openid/userinfo", "Bearer "+r.Access); r.Status != 401 {
		t.Errorf("JWT-29: a disabled user: %d", r.Status)
	}
}
