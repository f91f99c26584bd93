package oidc_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/token"
)

const (
	clusterIssuer = "https://oidc.example/tenant/cluster/"
	account       = "system:serviceaccount:web:frontend"
	exchange      = "api://AzureADTokenExchange"
)

var (
	workload = directory.ManagedIdentity{
		ID: principal.ID{5, 1}, ClientID: parse[directory.AppID]("55555555-0000-4000-8000-000000000001"), Tenant: tenantA.ID, DisplayName: "workload",
		Resource: scope.MustParse("/subscriptions/50000000-0000-4000-8000-000000000001/resourceGroups/rg/providers/Microsoft.ManagedIdentity/userAssignedIdentities/workload"),
	}
	workloadCredential = directory.FederatedCredential{Owner: workload.ClientID, Name: "kubernetes", Issuer: clusterIssuer, Subject: account, Audiences: []string{exchange}}
)

// foreigners are the issuers that the house can ask for their keys.
type foreigners struct {
	mu     sync.Mutex
	keys   map[string]token.ForeignKeys
	asked  int
	before func() // is run before an answer
}

func newForeigners() *foreigners { return &foreigners{keys: make(map[string]token.ForeignKeys)} }

func (f *foreigners) Keys(_ context.Context, issuer, _ string) (token.ForeignKeys, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	if f.before != nil {
		f.before()
	}
	keys, ok := f.keys[issuer]
	if !ok {
		return token.ForeignKeys{}, errors.New("10.0.0.1 says no")
	}
	return keys, nil
}

// A foreigner signs tokens of an issuer that is not this house.
type foreigner struct {
	t   testing.TB
	key token.SigningKey
	now func() time.Time
}

func (w *world) foreigner(alg string, issuers ...string) foreigner {
	w.t.Helper()
	now := w.clock.Now()
	key, err := token.GenerateKey(tenantB.ID, token.AccessToken, alg, now.Add(-time.Hour), now.Add(24*time.Hour))
	if err != nil {
		w.t.Fatal(err)
	}
	set, err := token.NewKeySet(key.Key)
	if err != nil {
		w.t.Fatal(err)
	}
	doc, err := set.JWKS(tenantB.ID, "", now)
	if err != nil {
		w.t.Fatal(err)
	}
	keys, skipped, err := token.ParseJWKS(doc)
	if err != nil || len(skipped) > 0 {
		w.t.Fatal(err, skipped)
	}
	for _, i := range issuers {
		w.foreign.keys[i] = keys
	}
	return foreigner{w.t, key, w.clock.Now}
}

// token is what a projected service account token says. A nil claim is left out.
func (f foreigner) token(edit map[string]any) string {
	f.t.Helper()
	now := f.now().Unix()
	claims := map[string]any{"iss": clusterIssuer, "sub": account, "aud": []string{exchange}, "iat": now, "nbf": now, "exp": now + 3600, "jti": token.NewID(),
		"kubernetes.io": map[string]any{"namespace": "web"}}
	maps.Copy(claims, edit)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	raw, err := token.Sign(f.key, claims, "JWT")
	if err != nil {
		f.t.Fatal(err)
	}
	return raw
}

func exchangeForm(client, assertion string, pairs ...string) url.Values {
	return with(form("grant_type", "client_credentials", "client_id", client, "scope", "https://vault.azure.net/.default",
		"client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer", "client_assertion", assertion), pairs...)
}

func newFederatedWorld(t testing.TB) (*world, foreigner) {
	t.Helper()
	w := newWorld(t)
	w.commit(workload, workloadCredential)
	return w, w.foreigner(token.RS256, clusterIssuer)
}

// A pod's token becomes one of a managed identity, which has no application, and
// of a service principal.
func TestFederatedTokens(t *testing.T) {
	t.Parallel()
	w, kube := newFederatedWorld(t)
	github := w.foreigner(token.ES256, "https://ci.example")
	w.commit(directory.FederatedCredential{Owner: web.AppID, Name: "ci-main", Issuer: "https://ci.example", Subject: "repo:a/b:environment:far east", Audiences: []string{"api://x"}})
	tid := tenantA.ID.String()
	r := w.post(tokenPath(tid), exchangeForm(workload.ClientID.String(), kube.token(nil)))
	if r.Status != http.StatusOK || r.Refresh != "" || r.ID != "" || r.Body["expires_in"] != float64(3600) && r.Body["expires_in"] != float64(3599) {
		t.Fatalf("%d %s", r.Status, r.Raw)
	}
	c := w.verify(r.Access, "https://vault.azure.net")
	if c.ObjectID != workload.ID || c.Subject != workload.ID.String() || c.AppID != workload.ClientID || c.AppAuth != "2" || c.IDType != "app" || c.Scopes != nil {
		t.Errorf("claims = %+v", c)
	}
	// The same token may be sent again, for another resource, also at version 1.0.
	again := kube.token(nil)
	for _, f := range []url.Values{
		exchangeForm(workload.ClientID.String(), again),
		exchangeForm(workload.ClientID.String(), again, "scope", aks+"/.default openid offline_access profile"),
	} {
		if r := w.post(tokenPath(tid), f); r.Status != http.StatusOK || r.Refresh != "" {
			t.Errorf("%d %s", r.Status, r.Raw)
		}
	}
	if r := w.post("/"+tid+"/oauth2/token", exchangeForm(workload.ClientID.String(), again, "scope", "", "resource", "https://vault.azure.net")); r.Status != http.StatusOK || r.Body["expires_in"] == nil {
		t.Errorf("version 1.0: %d %s", r.Status, r.Raw)
	}
	r = w.post(tokenPath(tid), exchangeForm(web.AppID.String(), github.token(map[string]any{"iss": "https://ci.example", "sub": "repo:a/b:environment:far east", "aud": "api://x"})))
	if r.Status != http.StatusOK {
		t.Fatalf("%d %s", r.Status, r.Raw)
	}
	if c := w.verify(r.Access, "https://vault.azure.net"); c.ObjectID != webSP.ID || c.AppID != web.AppID {
		t.Errorf("claims = %+v", c)
	}
}

// FED-01, FED-02, FED-03, JWT-17, OA-41: what is nearly right is refused, and told
// which part it was.
func TestFederatedTokensThatAreRefused(t *testing.T) {
	t.Parallel()
	w, kube := newFederatedWorld(t)
	evil := w.foreigner(token.RS256) // nobody's
	w.commit(
		directory.FederatedCredential{Owner: workload.ClientID, Name: "down", Issuer: "https://down.example", Subject: account, Audiences: []string{exchange}},
		directory.FederatedCredential{Owner: workload.ClientID, Name: "star", Issuer: clusterIssuer, Subject: "system:serviceaccount:*:*", Audiences: []string{exchange}},
	)
	id := workload.ClientID.String()
	const none = "No matching federated identity record found for presented assertion "
	type row struct {
		law    string
		claims map[string]any
		code   int
		text   string
	}
	rows := []row{
		{"FED-02: the subject in capitals", map[string]any{"sub": "system:serviceaccount:web:Frontend"}, 7002138, none + "subject 'system:serviceaccount:web:Frontend'. The subject matches with case-insensitive comparison, but not with case-sensitive comparison."},
		{"FED-03: no audience", map[string]any{"aud": nil}, 700212, none + "audience ''."},
		{"FED-03: an audience that is nearly right", map[string]any{"aud": exchange + "/"}, 700212, none + "audience '" + exchange + "/'."},
		{"FED-03: the audience of another in capitals", map[string]any{"aud": strings.ToLower(exchange)}, 700212, none + "audience '" + strings.ToLower(exchange) + "'."},
		{"FED-03: two audiences", map[string]any{"aud": []string{exchange, "api://other"}}, 700212, "several audiences"},
		{"FED-03: two audiences, the right one last", map[string]any{"aud": []string{"api://other", exchange}}, 700212, "several audiences"},
		{"FED-03: the right audience twice", map[string]any{"aud": []string{exchange, exchange}}, 700212, "several audiences"},
		{"FED-03: an empty list of audiences", map[string]any{"aud": []string{}}, 700212, "or for none"},
		{"expired", map[string]any{"exp": w.clock.Now().Unix() - 1, "iat": w.clock.Now().Unix() - 60}, 700024, "Client assertion is not within its valid time range: it ended at "},
		{"not valid yet", map[string]any{"nbf": w.clock.Now().Unix() + 600}, 700024, "Client assertion is not within its valid time range"},
		{"without an end", map[string]any{"exp": nil}, 700024, "it has no end"},
		{"JWT-17: valid for ten years", map[string]any{"exp": w.clock.Now().AddDate(10, 0, 0).Unix()}, 700024, "it would live for more than 24h"},
		{"an issuer that does not answer", map[string]any{"iss": "https://down.example"}, 90061, "Request to External OIDC endpoint failed."},
	}
	for _, issuer := range []string{
		strings.TrimSuffix(clusterIssuer, "/"), clusterIssuer + "/", strings.ToUpper(clusterIssuer), "https://OIDC.example/tenant/cluster/", "https://oidc.example/tenant/Cluster/",
		"https://oidc.example:443/tenant/cluster/", "https://oidc.example/./tenant/cluster/", "https://oidc.example//tenant/cluster/", "http://oidc.example/tenant/cluster/",
		"https://oidc.example.evil.example/tenant/cluster/", "https://oidc.example@evil.example/tenant/cluster/", "https://oidc.example/tenant/cluster/?", "https://oidc.example/tenant/cluster/#",
		"https://oidc.example/tenant/", "https://evil.example/tenant/cluster/", "https://oidc.example/tenant/cluster/x", "oidc.example/tenant/cluster/", "*",
	} {
		rows = append(rows, row{"FED-01: issuer " + issuer, map[string]any{"iss": issuer}, 700211, none + "issuer '" + issuer + "'. Please check your federated identity credential"})
	}
	for _, subject := range []string{
		"system:serviceaccount:web:frontend2", "system:serviceaccount:web:*", "system:serviceaccount:web:?rontend", "system:serviceaccount:web:frontend:x", "system:serviceaccount:web",
		"system:serviceaccount:we:bfrontend", "system: serviceaccount:web:frontend", "serviceaccount:web:frontend", "system:serviceaccount:a:b", "%",
	} {
		rows = append(rows, row{"FED-02: subject " + subject, map[string]any{"sub": subject}, 700213, none + "subject '" + subject + "'. Check your federated identity credential"})
	}
	for _, aud := range []any{7, true, []any{7}, []any{exchange, 7}, []any{[]string{exchange}}, []any{nil}, []any{""}, map[string]any{exchange: exchange}} {
		rows = append(rows, row{fmt.Sprintf("FED-03: audience %v", aud), map[string]any{"aud": aud}, 50027, "JWT token is invalid or malformed."})
	}
	for _, sub := range []any{"system:serviceaccount:web:frontend ", " " + account, "syst\u0435m:serviceaccount:web:frontend", "", 7, []string{account}, "a\nb"} {
		rows = append(rows, row{fmt.Sprintf("FED-02: subject %q", sub), map[string]any{"sub": sub}, 50027, "JWT token is invalid or malformed."})
	}
	for _, tt := range rows {
		r := w.post(tokenPath(tenantA.ID.String()), exchangeForm(id, kube.token(tt.claims)))
		status, oauth := http.StatusUnauthorized, "invalid_client"
		if tt.code == 90061 {
			status, oauth = http.StatusBadRequest, "invalid_request"
		}
		text, _ := r.Body["error_description"].(string)
		if r.Status != status || r.Error != oauth || r.Code != tt.code || r.Access != "" || !strings.HasPrefix(text, fmt.Sprintf("AADSTS%d: ", tt.code)) || !strings.Contains(text, tt.text) {
			t.Errorf("%s: %d %s, want %d %s", tt.law, r.Status, r.Raw, tt.code, tt.text)
		}
		if strings.Contains(r.Raw, "10.0.0.1") {
			t.Errorf("%s: it tells about the network: %s", tt.law, r.Raw)
		}
	}
	if w.foreign.asked > 40 {
		t.Errorf("issuers that nobody trusts were asked: %d", w.foreign.asked)
	}
	good := kube.token(nil)
	for law, assertion := range map[string]string{
		"OA-41: another key":             evil.token(nil),
		"JWT-03: a changed byte":         good[:len(good)-3] + "AAA",
		"JWT-01: no signature":           good[:strings.LastIndexByte(good, '.')+1],
		"nothing":                        "x",
		"a refresh token":                w.post(tokenPath(tenantA.ID.String()), ropc()).Refresh,
		"FED-02: the star stands for it": kube.token(map[string]any{"sub": "system:serviceaccount:x:y"}),
	} {
		if r := w.post(tokenPath(tenantA.ID.String()), exchangeForm(id, assertion)); r.Status != http.StatusUnauthorized || r.Error != "invalid_client" || r.Access != "" {
			t.Errorf("%s: %d %s", law, r.Status, r.Raw)
		}
	}
	for law, f := range map[string]url.Values{
		"FED-14: a token for another identity": exchangeForm(web.AppID.String(), good),
		"no such client":                       exchangeForm("55555555-0000-4000-8000-00000000ffff", good),
		"a public client":                      exchangeForm(az, good),
		"no type":                              exchangeForm(id, good, "client_assertion_type", ""),
		"another type":                         exchangeForm(id, good, "client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:saml2-bearer"),
		"with a secret":                        exchangeForm(id, good, "client_secret", "x"),
		"a secret instead":                     exchangeForm(id, "", "client_assertion_type", "", "client_secret", "x"),
		"nothing instead":                      exchangeForm(id, "", "client_assertion_type", ""),
		"no scope":                             exchangeForm(id, good, "scope", ""),
		"a named scope":                        exchangeForm(id, good, "scope", "https://vault.azure.net/user_impersonation"),
		"OA-42: a code":                        exchangeForm(id, good, "grant_type", "authorization_code", "code", "x"),
		"OA-42: a refresh token":               exchangeForm(id, good, "grant_type", "refresh_token", "refresh_token", "x"),
		"OA-42: a password":                    exchangeForm(id, good, "grant_type", "password", "username", faye.UserPrincipalName, "password", password),
	} {
		if r := w.post(tokenPath(tenantA.ID.String()), f); r.Status < 400 || r.Status >= 500 || r.Access != "" {
			t.Errorf("%s: %d %s", law, r.Status, r.Raw)
		}
	}
	for _, realm := range []string{"common", "organizations", tenantB.ID.String()} {
		if r := w.post(tokenPath(realm), exchangeForm(id, good)); r.Status != http.StatusBadRequest || r.Access != "" {
			t.Errorf("at %s: %d %s", realm, r.Status, r.Raw)
		}
	}
	if r := w.post(tokenPath(tenantA.ID.String()), exchangeForm(native.AppID.String(), good)); r.Code != 700025 {
		t.Errorf("a public client: %s", r.Raw)
	}
	if r := w.post(tokenPath(tenantA.ID.String()), exchangeForm(web.AppID.String(), good)); r.Code != 70025 || !strings.Contains(r.Raw, "The client '"+web.AppID.String()+"'(Web) has no configured federated identity credentials.") {
		t.Errorf("a client without credentials: %s", r.Raw)
	}
	if r := w.post(tokenPath(tenantA.ID.String()), exchangeForm(id, good)); r.Status != http.StatusOK {
		t.Errorf("the good one: %d %s", r.Status, r.Raw)
	}
}

// FED-17: what is taken away counts at once, even while the issuer is being asked.
func TestFederationEndsAtOnce(t *testing.T) {
	t.Parallel()
	off, offApp, offSP := workload, web, webSP
	off.Disabled, offApp.Disabled, offSP.Disabled = true, true, true
	ofApp := workloadCredential
	ofApp.Owner = web.AppID
	for law, tt := range map[string]struct {
		client directory.AppID
		end    func(w *world)
		code   int
		held   bool // the token that was issued before lives on
	}{
		"the credential is deleted": {workload.ClientID, func(w *world) { w.remove(workloadCredential.Key()) }, 700211, true},
		"its subject changes":       {workload.ClientID, func(w *world) { c := workloadCredential; c.Subject = "x"; w.commit(c) }, 700213, true},
		"the identity is disabled":  {workload.ClientID, func(w *world) { w.commit(off) }, 7000112, false},
		"the identity is deleted":   {workload.ClientID, func(w *world) { w.remove(workloadCredential.Key(), workload.Key()) }, 700016, false},
		"the identity moves elsewhere": {workload.ClientID, func(w *world) {
			next := workload
			next.ID = principal.ID{5, 9}
			w.remove(workloadCredential.Key(), workload.Key())
			w.commit(next)
		}, 700211, false},
		"the credential of an application is deleted": {web.AppID, func(w *world) { w.remove(ofApp.Key()) }, 700211, true},
		"the application is disabled":                 {web.AppID, func(w *world) { w.commit(offApp) }, 7000112, false},
		"the service principal is disabled":           {web.AppID, func(w *world) { w.commit(offSP) }, 7000112, false},
		"the service principal is deleted":            {web.AppID, func(w *world) { w.remove(webSP.Key()) }, 700016, false},
	} {
		t.Run(law, func(t *testing.T) {
			t.Parallel()
			w, kube := newFederatedWorld(t)
			w.commit(ofApp)
			second := w.addReplica()
			ask := func() url.Values { return exchangeForm(tt.client.String(), kube.token(nil)) }
			r := w.post(tokenPath(tenantA.ID.String()), ask())
			if r.Status != http.StatusOK {
				t.Fatalf("%d %s", r.Status, r.Raw)
			}
			held := w.verify(r.Access, "https://vault.azure.net")
			var once sync.Once
			w.foreign.before = func() { once.Do(func() { tt.end(w) }) }
			r = w.post(tokenPath(tenantA.ID.String()), ask())
			if r.Access != "" || r.Status >= 500 {
				t.Errorf("while its issuer is asked: %d %s", r.Status, r.Raw)
			}
			if r = w.post(tokenPath(tenantA.ID.String()), ask()); r.Access != "" || r.Code != tt.code && r.Code != 70025 {
				t.Errorf("after: %d %s, want %d", r.Status, r.Raw, tt.code)
			}
			begun := time.Now()
			for r.Access = "x"; r.Access != "" && time.Since(begun) < time.Minute; { // a moment, if nobody else needs the machine
				r = postTo(t, second, tokenPath(tenantA.ID.String()), ask())
			}
			if r.Access != "" || r.Status >= 500 {
				t.Errorf("at the other replica, after a minute: %d %s", r.Status, r.Raw)
			}
			live, err := w.issuer.Live(t.Context(), held)
			if err != nil || live != tt.held {
				t.Errorf("the token that was issued before: live %t, %v", live, err)
			}
		})
	}
}

// FED-14: one issuer and subject in several identities: each yields the one that was
// named, and its token is one of its own tenant alone.
func TestOneSubjectOfTwoIdentities(t *testing.T) {
	t.Parallel()
	w, kube := newFederatedWorld(t)
	other := directory.ManagedIdentity{ID: principal.ID{5, 2}, ClientID: directory.NewAppID(), Tenant: tenantB.ID, DisplayName: "other", Resource: scope.MustParse("/subscriptions/50000000-0000-4000-8000-000000000002")}
	twin := directory.ManagedIdentity{ID: principal.ID{5, 3}, ClientID: directory.NewAppID(), Tenant: tenantA.ID, DisplayName: "twin", Resource: scope.MustParse("/subscriptions/50000000-0000-4000-8000-000000000003")}
	credential, ofTwin := workloadCredential, workloadCredential
	credential.Owner, ofTwin.Owner = other.ClientID, twin.ClientID
	w.commit(other, credential, twin, ofTwin)
	raw := kube.token(nil)
	for _, m := range []directory.ManagedIdentity{workload, twin, other} {
		r := w.post(tokenPath(m.Tenant.String()), exchangeForm(m.ClientID.String(), raw))
		for _, at := range []directory.TenantID{tenantA.ID, tenantB.ID} {
			c, err := w.checkAt(at, r.Access, token.AccessToken, "https://vault.azure.net")
			if mine := at == m.Tenant; mine != (err == nil) || mine && (c.ObjectID != m.ID || c.AppID != m.ClientID) {
				t.Errorf("%s in tenant %s: %+v, %v", m.DisplayName, at, c, err)
			}
		}
	}
	for realm, id := range map[directory.TenantID]directory.AppID{tenantA.ID: other.ClientID, tenantB.ID: workload.ClientID} {
		if r := w.post(tokenPath(realm.String()), exchangeForm(id.String(), raw)); r.Code != 700016 || r.Access != "" {
			t.Errorf("%s", r.Raw)
		}
	}
}

// FED-19: an assertion may be sent again, but not all the time.
func TestAnAssertionIsNotSentAllTheTime(t *testing.T) {
	t.Parallel()
	w, kube := newFederatedWorld(t)
	w.clock.stop()
	raw := kube.token(nil)
	busy := 0
	for range 150 {
		if r := w.post(tokenPath(tenantA.ID.String()), exchangeForm(workload.ClientID.String(), raw)); r.Status == http.StatusTooManyRequests {
			busy++
		} else if r.Status != http.StatusOK {
			t.Fatalf("%d %s", r.Status, r.Raw)
		}
	}
	if busy != 30 {
		t.Errorf("%d of 150 were turned away, want 30", busy)
	}
	if r := w.post(tokenPath(tenantA.ID.String()), exchangeForm(workload.ClientID.String(), kube.token(nil))); r.Status != http.StatusOK {
		t.Errorf("another assertion: %d %s", r.Status, r.Raw)
	}
	w.clock.forward(time.Minute)
	if r := w.post(tokenPath(tenantA.ID.String()), exchangeForm(workload.ClientID.String(), raw)); r.Status != http.StatusOK {
		t.Errorf("a minute later: %d %s", r.Status, r.Raw)
	}
	w.clock.forward(time.Hour)
	if r := w.post(tokenPath(tenantA.ID.String()), exchangeForm(workload.ClientID.String(), raw)); r.Code != 700024 {
		t.Errorf("an hour later: %d %s", r.Status, r.Raw)
	}
}

// A managed identity speaks for an application by a token of this house, which
// must be its own and made for this.
func TestATokenOfThisHouseAsAssertion(t *testing.T) {
	t.Parallel()
	w, kube := newFederatedWorld(t)
	issuer := authority + "/" + tenantA.ID.String() + "/v2.0"
	credential := directory.FederatedCredential{Owner: web.AppID, Name: "identity", Issuer: issuer, Subject: workload.ID.String(), Audiences: []string{exchange}}
	w.commit(credential)
	get := func(scope string) string {
		t.Helper()
		r := w.post(tokenPath(tenantA.ID.String()), exchangeForm(workload.ClientID.String(), kube.token(nil), "scope", scope))
		if r.Status != http.StatusOK {
			t.Fatalf("%d %s", r.Status, r.Raw)
		}
		return r.Access
	}
	ask := func(assertion string) reply {
		return w.post(tokenPath(tenantA.ID.String()), exchangeForm(web.AppID.String(), assertion, "scope", aks+"/.default"))
	}
	right := get(exchange + "/.default")
	r := ask(right)
	if r.Status != http.StatusOK {
		t.Fatalf("%d %s", r.Status, r.Raw)
	}
	if c := w.verify(r.Access, aks); c.ObjectID != webSP.ID || c.AppAuth != "2" {
		t.Errorf("claims = %+v", c)
	}
	if r := ask(get("https://vault.azure.net/.default")); r.Code != 700211 {
		t.Errorf("a version 1.0 token of another resource: %s", r.Raw)
	}
	person := w.post(tokenPath(tenantA.ID.String()), ropc("scope", exchange+"/.default openid"))
	if r := ask(person.Access); r.Code != 700229 || !strings.Contains(r.Raw, "Only app-only tokens may be used as Federated Identity Credentials for AAD issuer.") {
		t.Errorf("a person's token: %s (%s)", r.Raw, person.Raw)
	}
	orders := w.post(tokenPath(tenantA.ID.String()), exchangeForm(workload.ClientID.String(), kube.token(nil), "scope", "https://orders.example/.default"))
	if r := ask(orders.Access); r.Code != 700212 {
		t.Errorf("a version 2.0 token of another resource: %s", r.Raw)
	}
	app := w.post(tokenPath(tenantA.ID.String()), with(clientCredentials(w), "scope", exchange+"/.default"))
	if r := ask(app.Access); r.Code != 700213 {
		t.Errorf("another application's token: %s", r.Raw)
	}
	if r := ask(person.ID); r.Access != "" || r.Status != http.StatusUnauthorized {
		t.Errorf("an id token: %s", r.Raw)
	}
	off := workload
	off.Disabled = true
	w.commit(off)
	if r := ask(right); r.Access != "" || r.Status != http.StatusUnauthorized {
		t.Errorf("of a disabled identity: %s", r.Raw)
	}
	if w.foreign.asked > 4 {
		t.Error("the house was asked for its own keys by way of the network")
	}
}

// One credential with a pattern serves every service account of a namespace, and
// only where the tenant allows that.
func TestPatternsOfSubjects(t *testing.T) { // FED-02
	t.Parallel()
	w := newWorld(t)
	many := workloadCredential
	many.Subject, many.SubjectPattern = "", "system:serviceaccount:web:*"
	w.commit(workload, many)
	kube := w.foreigner(token.RS256, clusterIssuer)
	ask := func(subject string) int {
		r := w.post(tokenPath(tenantA.ID.String()), exchangeForm(workload.ClientID.String(), kube.token(map[string]any{"sub": subject})))
		if r.Status == http.StatusOK {
			if c := w.verify(r.Access, "https://vault.azure.net"); c.ObjectID != workload.ID {
				t.Errorf("%s got a token of %s", subject, c.ObjectID)
			}
		}
		return r.Status
	}
	if got := ask(account); got != http.StatusUnauthorized {
		t.Errorf("a tenant that does not allow patterns: %d", got)
	}
	allows := tenantA
	allows.AllowSubjectPatterns = true
	w.commit(allows)
	for i := range 1000 {
		if got := ask(fmt.Sprintf("system:serviceaccount:web:sa-%d", i)); got != http.StatusOK {
			t.Fatalf("service account %d: %d", i, got)
		}
	}
	for _, other := range []string{"system:serviceaccount:web2:frontend", "system:serviceaccount:we:frontend", "system:serviceaccount:web:a:b", "system:serviceaccount:WEB:frontend", "system:node:web:frontend", "*"} {
		if got := ask(other); got != http.StatusUnauthorized {
			t.Errorf("%s: %d", other, got)
		}
	}
	w.commit(tenantA)
	if got := ask(account); got != http.StatusUnauthorized {
		t.Errorf("a tenant that allows patterns no more: %d", got)
	}
}

// FED-02: a subject has no wildcards, also where a tenant allows patterns: what looks
// like one is that character.
func TestWildcardsInSubjectsAreCharacters(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	allows := tenantA
	allows.AllowSubjectPatterns = true
	w.commit(allows, workload)
	kube := w.foreigner(token.RS256, clusterIssuer)
	subjects := []string{"*", "repo:org/*:ref:refs/heads/?", "system:serviceaccount:web:front?nd", "system:serviceaccount:*:job"}
	for n, subject := range subjects {
		c := workloadCredential
		c.Name, c.Subject = fmt.Sprintf("cred-%d", n), subject
		w.commit(c)
	}
	ask := func(subject string) reply {
		return w.post(tokenPath(tenantA.ID.String()), exchangeForm(workload.ClientID.String(), kube.token(map[string]any{"sub": subject})))
	}
	for _, subject := range subjects {
		if r := ask(subject); r.Status != http.StatusOK {
			t.Errorf("%s itself: %d %s", subject, r.Status, r.Raw)
		}
	}
	for _, subject := range []string{
		account, "system:serviceaccount:web:job", "system:serviceaccount:*:*", "system:serviceaccount:web:front*nd", "system:serviceaccount:web:fronnd", "**", "?", "x",
		"repo:org/repo:ref:refs/heads/a", "repo:org/*:ref:refs/heads/a", "repo:org/repo:ref:refs/heads/?", "repo:org/:ref:refs/heads/?", "repo:org/*:ref:refs/heads/", "repo:org/?:ref:refs/heads/*",
	} {
		if r := ask(subject); r.Status != http.StatusUnauthorized || r.Code != 700213 || r.Access != "" {
			t.Errorf("%s: %d %s", subject, r.Status, r.Raw)
		}
	}
}

// FED-18, FED-19: one assertion that a workload sends from many places at once buys
// a token each time, up to what one minute allows, and never one more.
func TestOneAssertionAtOnceFromManyPlaces(t *testing.T) {
	t.Parallel()
	w, kube := newFederatedWorld(t)
	w.clock.stop()
	raw := kube.token(nil)
	var wg sync.WaitGroup
	var mu sync.Mutex
	got, ids := make(map[int]int), make(map[string]bool)
	for range 40 {
		wg.Go(func() {
			for range 5 {
				r := w.post(tokenPath(tenantA.ID.String()), exchangeForm(workload.ClientID.String(), raw))
				mu.Lock()
				got[r.Status]++
				if r.Status == http.StatusOK {
					ids[r.Access] = true
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if got[http.StatusOK] != 120 || got[http.StatusTooManyRequests] != 80 || len(ids) != 120 {
		t.Errorf("%v, %d tokens, want 120 and 80 turned away", got, len(ids))
	}
}

// FED-21: what a service account token says is believed until it ends, also when its
// pod is gone: only the cluster knows that, and it is not asked. The window is the
// life of the token, which is an hour or less for pods of the webhook.
func TestATokenOfAPodThatIsGoneIsGoodUntilItEnds(t *testing.T) {
	t.Parallel()
	w, kube := newFederatedWorld(t)
	raw := kube.token(map[string]any{"kubernetes.io": map[string]any{"namespace": "web", "pod": map[string]any{"name": "gone", "uid": "70000000-0000-4000-8000-000000000001"}}})
	ask := func() reply {
		return w.post(tokenPath(tenantA.ID.String()), exchangeForm(workload.ClientID.String(), raw))
	}
	w.clock.forward(55 * time.Minute)
	if r := ask(); r.Status != http.StatusOK {
		t.Errorf("before its end: %d %s", r.Status, r.Raw)
	}
	w.clock.forward(11 * time.Minute) // with what clocks may differ by
	if r := ask(); r.Code != 700024 {
		t.Errorf("after its end: %d %s", r.Status, r.Raw)
	}
}
