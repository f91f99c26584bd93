package oidc_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestDiscovery(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tid := tenantA.ID.String()
	for _, tt := range []struct{ name, path, issuer, token string }{
		{"version 2", "/" + tid + "/v2.0/.well-known/openid-configuration", authority + "/" + tid + "/v2.0", authority + "/" + tid + "/oauth2/v2.0/token"},
		{"by a domain", "/TekNews.cloud/v2.0/.well-known/openid-configuration", authority + "/" + tid + "/v2.0", authority + "/" + tid + "/oauth2/v2.0/token"},
		{"common", "/common/v2.0/.well-known/openid-configuration", authority + "/{tenantid}/v2.0", authority + "/common/oauth2/v2.0/token"},
		{"organizations", "/organizations/v2.0/.well-known/openid-configuration", authority + "/{tenantid}/v2.0", authority + "/organizations/oauth2/v2.0/token"},
		{"version 1", "/" + tid + "/.well-known/openid-configuration", "https://sts.windows.net/" + tid + "/", authority + "/" + tid + "/oauth2/token"},
		{"version 1 of common", "/common/.well-known/openid-configuration", "https://sts.windows.net/{tenantid}/", authority + "/common/oauth2/token"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := w.get(tt.path)
			if r.Status != 200 || r.text("issuer") != tt.issuer || r.text("token_endpoint") != tt.token {
				t.Fatalf("%d issuer %q token %q", r.Status, r.text("issuer"), r.text("token_endpoint"))
			}
			// MSAL for Go replaces the word everywhere in the URL.
			if strings.Count(r.text("token_endpoint"), "token") != 1 {
				t.Errorf("token_endpoint %q", r.text("token_endpoint"))
			}
			for _, name := range []string{
				"token_endpoint_auth_methods_supported", "jwks_uri", "response_modes_supported", "subject_types_supported", "id_token_signing_alg_values_supported",
				"response_types_supported", "scopes_supported", "request_uri_parameter_supported", "userinfo_endpoint", "authorization_endpoint",
				"device_authorization_endpoint", "http_logout_supported", "frontchannel_logout_supported", "end_session_endpoint", "claims_supported",
				"kerberos_endpoint", "tenant_region_scope", "cloud_instance_name", "cloud_graph_host_name", "msgraph_host", "rbac_url",
			} {
				if _, ok := r.Body[name]; !ok {
					t.Errorf("no %s", name)
				}
			}
			if r.Header.Get("Access-Control-Allow-Origin") != "*" || r.Header.Get("Cache-Control") != "max-age=86400, private" {
				t.Errorf("headers %v", r.Header)
			}
			// What the document promises is there.
			keys := w.get(strings.TrimPrefix(r.text("jwks_uri"), authority))
			if n := len(keys.Body["keys"].([]any)); keys.Status != 200 || n == 0 {
				t.Errorf("%s: %d, %d keys", r.text("jwks_uri"), keys.Status, n)
			}
		})
	}
}

// OA-48.
func TestTenantSegmentsHaveOneMeaning(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, segment := range []string{"cccccccc-0000-4000-8000-000000000003", "unknown.example", "Common", "consumers", "%2e%2e", "..", ".", "a%2fb", "%00", "00000000-0000-0000-0000-000000000000", "{" + tenantA.ID.String() + "}", " common", "teknews.cloud.", "te\u212anews.cloud"} {
		r := w.get("/" + strings.ReplaceAll(segment, "\u212a", "%E2%84%AA") + "/v2.0/.well-known/openid-configuration")
		if r.Status != 400 && r.Status != 404 || r.Status == 400 && r.Code != 90002 {
			t.Errorf("%q: %d %s", segment, r.Status, r.Raw)
		}
	}
	for _, path := range []string{"//common/v2.0/.well-known/openid-configuration", "/common/../common/v2.0/.well-known/openid-configuration", "/common/v2.0/.well-known/openid-configuration/"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.server.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.URL.Path = path
		res, err := w.browser().client.Do(req)
		if r := readReply(t, res, err); r.Status != 404 {
			t.Errorf("%q: %d %q", path, r.Status, r.Header.Get("Location"))
		}
	}
}

func TestInstanceDiscoveryVouchesForItself(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, tt := range []struct {
		endpoint string
		want     int
	}{
		{authority + "/" + tenantA.ID.String() + "/oauth2/v2.0/authorize", 200},
		{authority + "/common/oauth2/v2.0/authorize", 200},
		{"https://login.windows.net/common/oauth2/v2.0/authorize", 200},
		{"https://evil.example/common/oauth2/v2.0/authorize", 400},
		{"https://login.microsoftonline.com.evil.example/common/oauth2/v2.0/authorize", 400},
		{"http://login.microsoftonline.com/common/oauth2/v2.0/authorize", 400},
		{"https://login.microsoftonline.com@evil.example/common", 400},
		{"", 400},
	} {
		r := w.get("/common/discovery/instance?api-version=1.1&authorization_endpoint=" + url.QueryEscape(tt.endpoint))
		if r.Status != tt.want || tt.want == 400 && r.Error != "invalid_instance" {
			t.Errorf("%q: %d %s", tt.endpoint, r.Status, r.Raw)
		}
		if tt.want == 200 && !strings.HasPrefix(r.text("tenant_discovery_endpoint"), authority+"/") {
			t.Errorf("%q: %s", tt.endpoint, r.Raw)
		}
	}
}

// OA-49.
func TestUserRealmSaysNothingAboutPeople(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.get("/common/userrealm/" + faye.UserPrincipalName + "?api-version=1.0")
	b := w.get("/common/UserRealm/nobody@teknews.cloud?api-version=1.0")
	if a.Status != 200 || a.Raw != b.Raw || a.text("account_type") != "Managed" || a.text("domain_name") != "teknews.cloud" || a.text("cloud_audience_urn") == "" {
		t.Errorf("%s / %s", a.Raw, b.Raw)
	}
	if r := w.get("/common/userrealm/x@nowhere.example"); r.Status != 200 || r.text("account_type") != "Unknown" {
		t.Errorf("%d %s", r.Status, r.Raw)
	}
}

// OA-23, OA-49: spellings and replicas do not add up to more guesses, and a name
// that nobody has is locked like one that somebody has.
func TestGuessesAreCountedByName(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.addReplica()
	tid := tenantA.ID.String()
	spellings := []string{"faye@teknews.cloud", "FAYE@teknews.cloud", "Faye@TEKNEWS.CLOUD", "fAyE@teknews.cloud", "faye@Teknews.Cloud"}
	codes := make(map[string][]int)
	for n := range 14 {
		for name, who := range map[string]string{"faye": spellings[n%5], "nobody": "nobody" + spellings[n%5]} {
			r := postTo(t, w.replicas[n%2], tokenPath(tid), ropc("username", who, "password", "wrong horse"))
			codes[name] = append(codes[name], r.Code)
		}
	}
	want := append(slices.Repeat([]int{50126}, 10), 50053, 50053, 50053, 50053)
	for name, got := range codes {
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	if r := w.post(tokenPath(tid), ropc()); r.Code != 50053 {
		t.Errorf("the right password, while locked: %s", r.Raw)
	}
	w.clock.forward(attemptWindow)
	if r := w.post(tokenPath(tid), ropc()); r.Access == "" {
		t.Errorf("after the lock: %s", r.Raw)
	}
}

// attemptWindow is how long a name stays locked.
const attemptWindow = 10 * time.Minute
