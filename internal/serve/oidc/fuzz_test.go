package oidc_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// Whatever comes in a form, what goes out is a refusal in JSON: no token for
// nothing, and no internal error.
func FuzzTokenForm(f *testing.F) {
	w := newWorld(f)
	for _, v := range []url.Values{clientCredentials(w, "client_secret", "x"), redeem("x"), ropc("password", ""), refresh(az, "x"), certificateForm("a.b.c")} {
		f.Add(v.Encode(), "")
	}
	f.Add("a=b;c", "Basic %%%")
	f.Add("grant_type=client_credentials", "Basic YTpi")
	f.Fuzz(func(t *testing.T, body, auth string) {
		r := httptest.NewRequest(http.MethodPost, tokenPath(tenantA.ID.String()), strings.NewReader(body))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if auth != "" {
			r.Header["Authorization"] = []string{auth}
		}
		rec := httptest.NewRecorder()
		w.server.Config.Handler.ServeHTTP(rec, r)
		var out struct {
			Error string `json:"error"`
			Token string `json:"access_token"`
		}
		if err := json.Unmarshal(rec.Body.Bytes(), &out); err != nil || out.Error == "" || out.Token != "" || rec.Code < 400 || rec.Code >= 500 && rec.Code != 503 {
			t.Fatalf("%q with %q: %d %s", body, auth, rec.Code, rec.Body)
		}
	})
}

// Whatever comes in a URL, a browser is sent nowhere but to a registered address.
func FuzzAuthorizeQuery(f *testing.F) {
	w := newWorld(f)
	good := authorizeQuery()
	f.Add(good.Encode())
	f.Add(with(good, "prompt", "none").Encode())
	f.Add(with(good, "scope", "a b c/d e/f").Encode())
	f.Add(with(good, "redirect_uri", "http://127.0.0.1:1/cb?x").Encode())
	f.Add(with(good, "redirect_uri", "https://native.example/cb", "prompt", "none").Encode())
	f.Fuzz(func(t *testing.T, query string) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.URL = &url.URL{Path: "/" + tenantA.ID.String() + "/oauth2/v2.0/authorize", RawQuery: query}
		rec := httptest.NewRecorder()
		w.server.Config.Handler.ServeHTTP(rec, r)
		if rec.Code >= 500 {
			t.Fatalf("%q: %d %s", query, rec.Code, rec.Body)
		}
		to := rec.Header().Get("Location")
		if to == "" {
			return
		}
		u, err := url.Parse(to)
		if err != nil || rec.Code != http.StatusSeeOther || strings.ContainsAny(to, "\r\n") {
			t.Fatalf("%q: %d Location %q", query, rec.Code, to)
		}
		switch u.Host {
		case "native.example", "app.example":
			if u.Scheme == "https" {
				return
			}
		default:
			if h := u.Hostname(); u.Scheme == "http" && (h == "127.0.0.1" || h == "::1" || h == "localhost") {
				return
			}
		}
		t.Fatalf("%q leads to %q", query, to)
	})
}
