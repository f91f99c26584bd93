package oidc_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/issue"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/token"
)

func clientCredentials(w *world, pairs ...string) url.Values {
	return with(form("grant_type", "client_credentials", "client_id", web.AppID.String(), "client_secret", w.secret, "scope", aks+"/.default"), pairs...)
}

func TestTheResourceChoosesVersionAndAudience(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tid := tenantA.ID.String()
	v1, v2 := "https://sts.windows.net/"+tid+"/", authority+"/"+tid+"/v2.0"
	for _, tt := range []struct{ name, scope, version, issuer, audience string }{
		{"the AKS server by id", aks + "/.default", "1.0", v1, aks},
		{"the AKS server in capitals", strings.ToUpper(aks) + "/.default", "1.0", v1, aks},
		{"with spn: as asked", "spn:" + aks + "/.default", "1.0", v1, "spn:" + aks},
		{"Resource Manager with its slash", "https://management.core.windows.net//.default", "1.0", v1, "https://management.core.windows.net/"},
		{"Resource Manager without", "https://management.azure.com/.default", "1.0", v1, "https://management.azure.com"},
		{"Graph", "https://graph.microsoft.com/.default", "1.0", v1, "https://graph.microsoft.com"},
		{"Key Vault", "https://vault.azure.net/.default", "1.0", v1, "https://vault.azure.net"},
		{"Gatehouse itself", "api://gatehouse/.default", "1.0", v1, "api://gatehouse"},
		{"a registered application that wants version 2", "https://orders.example/.default", "2.0", v2, api.AppID.String()},
		{"the same by its default URI", "api://" + api.AppID.String() + "/.default", "2.0", v2, api.AppID.String()},
		{"OpenID scopes beside it mean nothing", aks + "/.default openid offline_access profile", "1.0", v1, aks},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := w.post(tokenPath(tid), clientCredentials(w, "scope", tt.scope))
			if r.Status != http.StatusOK || r.Refresh != "" || r.ID != "" {
				t.Fatalf("%d %s", r.Status, r.Raw)
			}
			c := w.verify(r.Access, tt.audience)
			got := []string{c.Version, c.Issuer, c.IDType, c.Subject, c.ObjectID.String(), c.AppAuth}
			want := []string{tt.version, tt.issuer, "app", webSP.ID.String(), webSP.ID.String(), "1"}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if in, ok := r.Body["expires_in"].(float64); !ok || in < 3590 || in > 3600 || strings.Contains(r.Raw, `"expires_in":"`) {
				t.Errorf("expires_in = %v, want a number of about an hour", r.Body["expires_in"])
			}
		})
	}
}

func TestUserTokensSayWhoAndHowAndWhichGroups(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.post(tokenPath("organizations"), ropc("scope", aksScope, "client_info", "1"))
	if r.Status != http.StatusOK {
		t.Fatal(r.Raw)
	}
	c := w.verify(r.Access, aks)
	if c.UPN != faye.UserPrincipalName || c.Username != faye.UserPrincipalName || c.Name != faye.DisplayName || c.ObjectID != faye.ID ||
		c.AppID.String() != az || c.AppAuth != "0" || c.IDType != "" || c.Subject == faye.ID.String() || c.AuthTime.IsZero() {
		t.Errorf("claims %+v", c)
	}
	if diff := cmp.Diff([]string{"user.read"}, c.Scopes); diff != "" {
		t.Errorf("scp (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"pwd"}, c.AMR); diff != "" {
		t.Errorf("amr (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]principal.ID{inner.ID, outer.ID}, c.Groups); diff != "" {
		t.Errorf("groups, nested ones included (-want +got):\n%s", diff)
	}
	// What clients look their tokens up by, verbatim.
	if got := strings.Fields(r.Body["scope"].(string)); !cmp.Equal(got, []string{aks + "/user.read", aks + "/.default"}) {
		t.Errorf("scope = %q", got)
	}
	id, err := w.check(r.ID, token.IDToken, az)
	if err != nil || id.Username != faye.UserPrincipalName || id.Version != "2.0" || id.Subject == c.Subject {
		t.Errorf("id token %+v, %v", id, err)
	}
	info, err := base64.RawURLEncoding.DecodeString(r.Body["client_info"].(string))
	if want := fmt.Sprintf(`{"uid":"%s","utid":"%s"}`, faye.ID, tenantA.ID); err != nil || string(info) != want {
		t.Errorf("client_info = %s, want %s", info, want)
	}
	if h := r.Header.Get("Cache-Control"); h != "no-store, no-cache" || r.Header.Get("Pragma") != "no-cache" {
		t.Errorf("Cache-Control = %q", h)
	}
	// JWT-15: each sort of token is good for its own purpose.
	if _, err := w.check(r.ID, token.AccessToken, az, aks); err == nil {
		t.Error("an id token passes for an access token")
	}
	if _, err := w.check(r.Access, token.IDToken, az, aks); err == nil {
		t.Error("an access token passes for an id token")
	}
}

// OA-54: above 200 groups the token points elsewhere, for programs too.
func TestManyGroupsBecomeAClaimSource(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var recs []record.Record
	for n := range 201 {
		g := directory.Group{ID: principal.ID{9, byte(n >> 8), byte(n)}, Tenant: tenantA.ID, DisplayName: fmt.Sprintf("g%d", n)}
		recs = append(recs, g, directory.Membership{Group: g.ID, Member: guest.ID}, directory.Membership{Group: g.ID, Member: webSP.ID})
	}
	for len(recs) > 0 {
		n := min(60, len(recs))
		w.commit(recs[:n]...)
		recs = recs[n:]
	}
	r := w.post(tokenPath(tenantA.ID.String()), clientCredentials(w))
	c := w.verify(r.Access, aks)
	want := "https://graph.windows.net/" + tenantA.ID.String() + "/servicePrincipals/" + webSP.ID.String() + "/getMemberObjects"
	if len(c.Groups) != 0 || c.Overage != want {
		t.Errorf("a program with 201 groups: %d groups, overage %q, want %q", len(c.Groups), c.Overage, want)
	}
	if len(r.Access) > 8<<10 {
		t.Errorf("the token has %d bytes", len(r.Access))
	}
	w.remove(directory.Membership{Group: principal.ID{9, 0, 7}, Member: webSP.ID}.Key())
	if c := w.verify(w.post(tokenPath(tenantA.ID.String()), clientCredentials(w)).Access, aks); len(c.Groups) != 200 || c.HasOverage() {
		t.Errorf("with 200 groups: %d groups, overage %q", len(c.Groups), c.Overage)
	}
}

func TestVersion1AnswersAreTexts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	path := "/" + tenantA.ID.String() + "/oauth2/token"
	f := clientCredentials(w, "scope", "", "resource", aks)
	r := w.post(path+"?api-version=1.0", f)
	for _, name := range []string{"expires_in", "ext_expires_in", "expires_on", "not_before", "resource", "token_type"} {
		if _, ok := r.Body[name].(string); !ok {
			t.Errorf("%s = %v, want a text: %s", name, r.Body[name], r.Raw)
		}
	}
	w.verify(r.Access, "spn:"+aks) // what kubelogin --legacy is for
	w.verify(w.post(path, f).Access, aks)

	// The device code grant in the words of ADAL.
	d := w.post("/"+tenantA.ID.String()+"/oauth2/devicecode?api-version=1.0", form("client_id", kubeClnt, "resource", aks))
	for _, name := range []string{"user_code", "device_code", "verification_url", "expires_in", "interval", "message"} {
		if s, _ := d.Body[name].(string); s == "" {
			t.Errorf("%s = %v, want a text", name, d.Body[name])
		}
	}
	poll := form("grant_type", "device_code", "client_id", kubeClnt, "code", d.Body["device_code"].(string), "resource", aks)
	if r := w.post(path+"?api-version=1.0", poll); r.Error != "authorization_pending" || r.Status != http.StatusBadRequest {
		t.Errorf("pending: %d %s", r.Status, r.Raw)
	}
	w.approve(d)
	r = w.post(path+"?api-version=1.0", poll)
	w.verify(r.Access, "spn:"+aks)
	if r.Refresh == "" || r.ID == "" {
		t.Errorf("no refresh or id token: %s", r.Raw)
	}
	id, err := w.check(r.ID, token.IDToken, kubeClnt)
	if err != nil || id.Version != "1.0" || id.UPN != faye.UserPrincipalName {
		t.Errorf("id token %+v, %v", id, err)
	}
}

func TestRefusalsSpeakOAuthAndEntra(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tid := tenantA.ID.String()
	expired, err := issue.NewClientSecret(web.AppID, "", w.clock.Now().Add(-2*time.Hour), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	w.private(expired.Op)
	closed := directory.Application{ID: principal.ID{2, 9}, AppID: directory.AppID{9, 9}, Tenant: tenantA.ID, DisplayName: "Closed", AssignmentRequired: true}
	gone := directory.Application{ID: principal.ID{2, 8}, AppID: directory.AppID{8, 8}, Tenant: tenantA.ID, DisplayName: "Gone", Disabled: true}
	w.commit(closed, directory.ServicePrincipal{ID: principal.ID{3, 9}, AppID: closed.AppID, Tenant: tenantA.ID, DisplayName: "Closed"},
		gone, directory.ServicePrincipal{ID: principal.ID{3, 8}, AppID: gone.AppID, Tenant: tenantA.ID, DisplayName: "Gone"})

	for _, tt := range []struct {
		name   string
		realm  string
		form   url.Values
		status int
		oauth  string
		code   int
	}{
		{"OA-48: unknown tenant", "cccccccc-0000-4000-8000-000000000003", clientCredentials(w), 400, "invalid_request", 90002},
		{"OA-48: unknown domain", "nobody.example", clientCredentials(w), 400, "invalid_request", 90002},
		{"an application needs a tenant", "organizations", clientCredentials(w), 400, "invalid_request", 9001023},
		{"no grant", tid, clientCredentials(w, "grant_type", ""), 400, "invalid_request", 900144},
		{"unknown grant", tid, clientCredentials(w, "grant_type", "implicit"), 400, "unsupported_grant_type", 70003},
		{"no client", tid, clientCredentials(w, "client_id", ""), 400, "invalid_request", 900144},
		{"unknown client", tid, clientCredentials(w, "client_id", "99999999-0000-4000-8000-000000000009"), 400, "unauthorized_client", 700016},
		{"client of another tenant", tenantB.ID.String(), clientCredentials(w), 400, "unauthorized_client", 700016},
		{"wrong secret", tid, clientCredentials(w, "client_secret", "wrong"), 401, "invalid_client", 7000215},
		{"expired secret", tid, clientCredentials(w, "client_secret", expired.Text.Reveal()), 401, "invalid_client", 7000222},
		{"no secret", tid, clientCredentials(w, "client_secret", ""), 401, "invalid_client", 7000218},
		{"OA-42: a public client has no grant of its own", tid, clientCredentials(w, "client_id", native.AppID.String(), "client_secret", ""), 401, "invalid_client", 7000218},
		{"a public client sends a secret", tid, clientCredentials(w, "client_id", native.AppID.String()), 401, "invalid_client", 700025},
		{"no scope", tid, clientCredentials(w, "scope", ""), 400, "invalid_request", 900144},
		{"a named permission", tid, clientCredentials(w, "scope", aks+"/user.read"), 400, "invalid_scope", 1002012},
		{"two resources", tid, clientCredentials(w, "scope", aks+"/.default https://vault.azure.net/.default"), 400, "invalid_scope", 28000},
		{".default beside a permission", tid, clientCredentials(w, "scope", aks+"/.default "+aks+"/user.read"), 400, "invalid_scope", 70011},
		{"unknown resource", tid, clientCredentials(w, "scope", "https://nobody.example/.default"), 400, "invalid_resource", 500011},
		{"OA-43: a resource that wants an assignment", tid, clientCredentials(w, "scope", closed.AppID.String()+"/.default"), 400, "access_denied", 50105},
		{"a disabled resource", tid, clientCredentials(w, "scope", gone.AppID.String()+"/.default"), 400, "unauthorized_client", 7000112},
		{"OA-42: a device code for a confidential client", tid, clientCredentials(w, "grant_type", "device_code", "device_code", "x"), 400, "unauthorized_client", 7000218},
		{"OA-24: password grant where it is off", "other.example", ropc("username", ben.UserPrincipalName), 400, "unsupported_grant_type", 70003},
		{"OA-24: the same through organizations", "organizations", ropc("username", ben.UserPrincipalName), 400, "unsupported_grant_type", 70003},
		{"OA-24: password grant of a guest", tid, ropc("username", guest.UserPrincipalName), 400, "invalid_grant", 50020},
		{"password grant through common", "common", ropc(), 400, "invalid_request", 9001023},
		{"wrong password", tid, ropc("password", "wrong horse"), 400, "invalid_grant", 50126},
		{"OA-49: unknown user, same answer", tid, ropc("username", "nobody@teknews.cloud"), 400, "invalid_grant", 50126},
		{"OA-49: user of another tenant, same answer", tid, ropc("username", ben.UserPrincipalName), 400, "invalid_grant", 50126},
		{"a permission that is not offered", tid, ropc("scope", api.AppID.String()+"/orders.burn"), 400, "invalid_scope", 650053},
		{"a code that never was", tid, redeem("nonsense"), 400, "invalid_grant", 70000},
		{"JWT-31: a refresh token that never was", tid, form("grant_type", "refresh_token", "client_id", az, "refresh_token", "x"), 400, "invalid_grant", 70000},
		{"a device code that never was", tid, form("grant_type", "device_code", "client_id", az, "device_code", "x"), 400, "bad_verification_code", 70018},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := postTo(t, w.server, tokenPath(tt.realm), tt.form)
			if r.Status != tt.status || r.Error != tt.oauth || r.Code != tt.code || r.Access != "" {
				t.Fatalf("got %d %s %d, want %d %s %d\n%s", r.Status, r.Error, r.Code, tt.status, tt.oauth, tt.code, r.Raw)
			}
			desc, _ := r.Body["error_description"].(string)
			for _, part := range []string{fmt.Sprintf("AADSTS%d: ", tt.code), " Trace ID: ", " Correlation ID: ", " Timestamp: "} {
				if !strings.Contains(desc, part) {
					t.Errorf("error_description %q lacks %q", desc, part)
				}
			}
			for _, name := range []string{"timestamp", "trace_id", "correlation_id"} {
				if s, _ := r.Body[name].(string); s == "" {
					t.Errorf("no %s", name)
				}
			}
			if strings.Contains(r.Raw, w.secret) || strings.Contains(r.Raw, password) {
				t.Error("the answer repeats a secret")
			}
		})
	}
}

// OA-21, OA-44, OA-45, OA-53.
func TestRequestsAreReadInOneWay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tid := tenantA.ID.String()
	good := clientCredentials(w)
	basic := func(id, secret string) string {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(id+":"+secret))
	}
	noSecret := with(good, "client_secret", "", "client_id", "")
	twice := good.Encode() + "&scope=x"
	for _, tt := range []struct {
		name, method, query, contentType, encoding, auth, body string
		status                                                 int
		oauth                                                  string
	}{
		{"a form", "POST", "", "application/x-www-form-urlencoded", "", "", good.Encode(), 200, ""},
		{"a form with a charset", "POST", "", "application/x-www-form-urlencoded; charset=utf-8", "", "", good.Encode(), 200, ""},
		{"Basic authentication", "POST", "", "application/x-www-form-urlencoded", "", basic(web.AppID.String(), url.QueryEscape(w.secret)), noSecret.Encode(), 200, ""},
		{"OA-45: JSON", "POST", "", "application/json", "", "", `{"grant_type":"client_credentials"}`, 400, "invalid_request"},
		{"OA-45: multipart", "POST", "", "multipart/form-data; boundary=x", "", "", "--x--", 400, "invalid_request"},
		{"OA-45: no type", "POST", "", "", "", "", good.Encode(), 400, "invalid_request"},
		{"OA-45: gzip", "POST", "", "application/x-www-form-urlencoded", "gzip", "", good.Encode(), 400, "invalid_request"},
		{"OA-45: GET", "GET", "?" + good.Encode(), "", "", "", "", 405, ""},
		{"OA-45: 100,000 scopes", "POST", "", "application/x-www-form-urlencoded", "", "", with(good, "scope", strings.Repeat("a ", 100000)).Encode(), 413, "invalid_request"},
		{"OA-45: 100 scopes", "POST", "", "application/x-www-form-urlencoded", "", "", with(good, "scope", strings.Repeat("a ", 100)).Encode(), 400, "invalid_scope"},
		{"OA-44: a parameter twice", "POST", "", "application/x-www-form-urlencoded", "", "", twice, 400, "invalid_request"},
		{"a client's own number of its request in both", "POST", "?client-request-id=1", "application/x-www-form-urlencoded", "", "", good.Encode() + "&client-request-id=1", 200, ""},
		{"OA-44: in the URL and in the body", "POST", "?scope=x", "application/x-www-form-urlencoded", "", "", good.Encode(), 400, "invalid_request"},
		{"OA-21, OA-53: a secret in the URL", "POST", "?client_secret=x", "application/x-www-form-urlencoded", "", "", noSecret.Encode(), 400, "invalid_request"},
		{"bad encoding in the body", "POST", "", "application/x-www-form-urlencoded", "", "", "a=%zz", 400, "invalid_request"},
		{"a semicolon in the body", "POST", "", "application/x-www-form-urlencoded", "", "", "a=b;c=d", 400, "invalid_request"},
		{"OA-21: two methods at once", "POST", "", "application/x-www-form-urlencoded", "", basic(web.AppID.String(), w.secret), good.Encode(), 400, "invalid_request"},
		{"OA-21: bad %-encoding in Basic", "POST", "", "application/x-www-form-urlencoded", "", basic(web.AppID.String(), "%zz"), noSecret.Encode(), 401, "invalid_client"},
		{"OA-21: empty secret in Basic", "POST", "", "application/x-www-form-urlencoded", "", basic(web.AppID.String(), ""), noSecret.Encode(), 401, "invalid_client"},
		{"OA-21: another client in Basic", "POST", "", "application/x-www-form-urlencoded", "", basic(web.AppID.String(), w.secret), with(noSecret, "client_id", az).Encode(), 401, "invalid_client"},
		{"OA-21: Bearer", "POST", "", "application/x-www-form-urlencoded", "", "Bearer x", noSecret.Encode(), 401, "invalid_client"},
		{"OA-21: secret and assertion", "POST", "", "application/x-www-form-urlencoded", "", "", with(good, "client_assertion", "a.b.c").Encode(), 400, "invalid_request"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), tt.method, w.server.URL+tokenPath(tid)+tt.query, strings.NewReader(tt.body))
			if err != nil {
				t.Fatal(err)
			}
			for k, v := range map[string]string{"Content-Type": tt.contentType, "Content-Encoding": tt.encoding, "Authorization": tt.auth} {
				if v != "" {
					req.Header.Set(k, v)
				}
			}
			res, err := w.server.Client().Do(req)
			r := readReply(t, res, err)
			if r.Status != tt.status || r.Error != tt.oauth {
				t.Errorf("got %d %q, want %d %q: %s", r.Status, r.Error, tt.status, tt.oauth, r.Raw)
			}
		})
	}
}

// OA-44, for each parameter of the grants.
func TestNoParameterMayComeTwice(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, f := range []url.Values{clientCredentials(w), redeem("x"), ropc(), form("client_id", az, "grant_type", "refresh_token", "refresh_token", "x", "scope", aksScope)} {
		for name := range f {
			r := w.postRaw(tokenPath(tenantA.ID.String()), f.Encode()+"&"+name+"="+url.QueryEscape(f.Get(name)))
			if r.Status != http.StatusBadRequest || r.Error != "invalid_request" {
				t.Errorf("%s twice: %d %s", name, r.Status, r.Raw)
			}
		}
	}
}

func (w *world) postRaw(path, body string) reply {
	w.t.Helper()
	res, err := w.server.Client().Post(w.server.URL+path, "application/x-www-form-urlencoded", strings.NewReader(body))
	return readReply(w.t, res, err)
}

// OA-47.
func TestForgedHostsChangeNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.browser()
	ask := func(path string, forge bool) reply {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.server.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if forge {
			req.Host = "evil.example"
			for _, h := range []string{"X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Server", "X-Original-Host"} {
				req.Header.Set(h, "evil.example")
			}
			req.Header.Set("Forwarded", "host=evil.example;proto=http")
		}
		res, err := b.client.Do(req)
		return readReply(t, res, err)
	}
	for _, path := range []string{
		"/common/v2.0/.well-known/openid-configuration", "/" + tenantA.ID.String() + "/.well-known/openid-configuration",
		"/common/discovery/instance?authorization_endpoint=" + url.QueryEscape(authority+"/common/oauth2/v2.0/authorize"),
		"/common/discovery/keys", "/device", "/common/oauth2/deviceauth", authorizePath(authorizeQuery()), authorizePath(with(authorizeQuery(), "client_id", "x")),
	} {
		r := ask(path, true)
		all := fmt.Sprint(r.Header) + r.Raw
		if strings.Contains(all, "evil.example") {
			t.Errorf("%s says evil.example: %s", path, all)
		}
		if strings.Contains(path, "well-known") && r.Raw != ask(path, false).Raw {
			t.Errorf("%s depends on headers", path)
		}
	}
}

// JWT-32: a client asks for a token that is good with its own key alone. Nobody but
// a cluster takes it, and only in a request that the client signed.
func TestTokensBoundToAKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	path := tokenPath(tenantA.ID.String())
	kid := base64.RawURLEncoding.EncodeToString(make([]byte, 32))
	cnf := base64.RawURLEncoding.EncodeToString([]byte(`{"kid":"` + kid + `","xms_ksl":"sw"}`))
	for name, f := range map[string]url.Values{"a secret": clientCredentials(w), "a password": ropc("scope", aksScope)} {
		r := w.post(path, with(f, "token_type", "pop", "req_cnf", cnf))
		if r.Status != http.StatusOK || r.Body["token_type"] != "pop" {
			t.Fatalf("%s: %d %s", name, r.Status, r.Raw)
		}
		if _, err := w.check(r.Access, token.AccessToken, aks); !errors.Is(err, token.ErrBound) {
			t.Errorf("%s: as a bearer token: %v", name, err)
		}
		if _, payload, _ := strings.Cut(r.Access, "."); !strings.Contains(decodePart(t, payload), `"cnf":{"kid":"`+kid+`"}`) {
			t.Errorf("%s: %s", name, decodePart(t, payload))
		}
		if r.Refresh != "" { // what is bound is what is asked for, each time
			r = w.post(path, form("grant_type", "refresh_token", "client_id", az, "refresh_token", r.Refresh, "scope", aksScope))
			if r.Body["token_type"] != "Bearer" {
				t.Errorf("a refresh: %s", r.Raw)
			}
			w.verify(r.Access, aks)
		}
	}
	mine := w.post(path, ropc("scope", web.AppID.String()+"/.default", "token_type", "pop", "req_cnf", cnf))
	if r := w.post(path, onBehalf(w, mine.Access)); mine.Access == "" || r.Error != "invalid_grant" {
		t.Errorf("on behalf of somebody: %s", r.Raw)
	}
	for law, f := range map[string]url.Values{
		"no key":            with(clientCredentials(w), "token_type", "pop"),
		"no type":           with(clientCredentials(w), "req_cnf", cnf),
		"another type":      with(clientCredentials(w), "token_type", "ssh-cert", "req_cnf", cnf),
		"no base64url":      with(clientCredentials(w), "token_type", "pop", "req_cnf", `{"kid":"`+kid+`"}`),
		"no thumbprint":     with(clientCredentials(w), "token_type", "pop", "req_cnf", base64.RawURLEncoding.EncodeToString([]byte(`{"kid":"x"}`))),
		"a key instead":     with(clientCredentials(w), "token_type", "pop", "req_cnf", base64.RawURLEncoding.EncodeToString([]byte(`{"jwk":{}}`))),
		"a key of 1,000 KB": with(clientCredentials(w), "token_type", "pop", "req_cnf", strings.Repeat("A", 2000)),
	} {
		if r := w.post(path, f); r.Status != http.StatusBadRequest || r.Error != "invalid_request" || r.Access != "" {
			t.Errorf("%s: %d %s", law, r.Status, r.Raw)
		}
	}
}

func decodePart(t *testing.T, rest string) string {
	t.Helper()
	part, _, _ := strings.Cut(rest, ".")
	text, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
