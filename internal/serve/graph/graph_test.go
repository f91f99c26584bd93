package graph_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve/graph"
	"github.com/gatehouse-io/gatehouse/internal/serve/servetest"
	"github.com/gatehouse-io/gatehouse/internal/store"
	"github.com/gatehouse-io/gatehouse/internal/token"
	"github.com/gatehouse-io/gatehouse/internal/trust"
)

var (
	root  = servetest.ID("20000000-0000-4000-8000-0000000000a1") // Owner at the root
	clerk = servetest.ID("20000000-0000-4000-8000-0000000000a2") // Contributor at the root: keeps the directory, may give out no role
)

type house struct {
	t      testing.TB
	store  *store.Store
	server *servetest.Server
	key    token.SigningKey
	log    *locked
}

type locked struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) { l.mu.Lock(); defer l.mu.Unlock(); return l.b.Write(p) }
func (l *locked) String() string              { l.mu.Lock(); defer l.mu.Unlock(); return l.b.String() }

func issuers(t directory.TenantID) []string {
	return []string{"https://127.0.0.1:8443/" + t.String() + "/"}
}

func newHouse(t testing.TB) *house { return newHouseOn(t, new(store.Memory)) }

func newHouseOn(t testing.TB, kv store.KV, change ...func(*graph.Config)) *house {
	t.Helper()
	sealer, err := store.NewKey(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	st, err := store.Open(t.Context(), store.Config{KV: kv, Sealer: sealer, Init: true, MaxAge: time.Minute, Rehearse: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	h := &house{t: t, store: st, log: new(locked)}
	var ops []estate.Op
	for r := range servetest.NewWorld(t).Current().Records() {
		ops = append(ops, estate.Op{Put: r})
	}
	person := func(id principal.ID, name string) estate.Op {
		return estate.Op{Put: directory.User{ID: id, Tenant: servetest.Tenant, UserPrincipalName: name}}
	}
	contributor := azurerbac.DefinitionID(servetest.ID("b24988ac-6180-42a0-ab88-20f7382dd24c"))
	assign := func(n string, who principal.ID, role azurerbac.DefinitionID, at scope.Scope) estate.Op {
		return estate.Op{Put: azurerbac.Assignment{ID: azurerbac.AssignmentID(servetest.ID("62000000-0000-4000-8000-00000000000" + n)), Scope: at, Principal: who, Role: role}}
	}
	owner := azurerbac.DefinitionID(servetest.ID("8e3af657-a8ff-443c-a75c-2fe8c4bcb635"))
	ops = append(ops, person(root, "root@teknews.cloud"), person(clerk, "clerk@teknews.cloud"),
		assign("1", root, owner, scope.Root), assign("2", clerk, contributor, scope.Root), assign("3", servetest.Robot, owner, servetest.AKS1))
	if _, err := st.Commit(t.Context(), store.Change{Ops: ops, Why: "test"}); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	if h.key, err = token.GenerateKey(servetest.Tenant, token.AccessToken, token.ES256, now.Add(-time.Hour), now.Add(24*time.Hour)); err != nil {
		t.Fatal(err)
	}
	set, err := token.NewKeySet(h.key.Key)
	if err != nil {
		t.Fatal(err)
	}
	conf := graph.Config{State: st, Keys: func() token.KeySet { return set }, Issuers: issuers, CheckIssuer: trust.New(trust.Config{}).Check,
		Log: slog.New(slog.NewTextHandler(h.log, nil))}
	for _, f := range change {
		f(&conf)
	}
	door, err := graph.New(conf)
	if err != nil {
		t.Fatal(err)
	}
	h.server = servetest.Start(t, door.Handler(), false)
	return h
}

func (h *house) token(who principal.ID, audience string) string {
	h.t.Helper()
	now := time.Now().Truncate(time.Second)
	raw, err := token.Sign(h.key, token.Claims{
		Version: token.V1, Use: token.AccessToken, Issuer: issuers(servetest.Tenant)[0], Audience: audience,
		Subject: "s", Tenant: servetest.Tenant, ObjectID: who, ID: "u", IssuedAt: now, NotBefore: now, Expires: now.Add(time.Hour),
		AppID: directory.AppID(servetest.ID("04b07795-8ddb-461a-bbee-02f9e1bf7b46")), AppAuth: "0",
	}, "JWT")
	if err != nil {
		h.t.Fatal(err)
	}
	return raw
}

type object = map[string]any

// raw sends a request and wants JSON, or nothing with 204.
func (h *house) raw(bearer, method, target, body string, header ...string) (int, object) {
	h.t.Helper()
	req, err := http.NewRequestWithContext(h.t.Context(), method, h.server.URL+target, strings.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := h.server.Anonymous().Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	var out object
	if res.StatusCode == http.StatusNoContent && len(text) == 0 {
		return res.StatusCode, nil
	}
	if err := json.Unmarshal(text, &out); err != nil || res.Header.Get("Content-Type") != "application/json" {
		h.t.Fatalf("%s %s answers %d %s, which is not JSON", method, target, res.StatusCode, text)
	}
	return res.StatusCode, out
}

func (h *house) do(who principal.ID, method, target, body string, header ...string) (int, object) {
	h.t.Helper()
	return h.raw(h.token(who, "https://graph.microsoft.com"), method, target, body, header...)
}

// must is do for what must succeed.
func (h *house) must(who principal.ID, method, target, body string, header ...string) object {
	h.t.Helper()
	status, out := h.do(who, method, target, body, header...)
	if status >= 300 {
		h.t.Fatalf("%s %s %s answers %d %v", method, target, body, status, out)
	}
	return out
}

func message(o object) (code, text string) {
	e, _ := o["error"].(object)
	code, _ = e["code"].(string)
	text, _ = e["message"].(string)
	return code, text
}

func names(o object, field string) []string {
	out := []string{}
	list, _ := o["value"].([]any)
	for _, v := range list {
		switch v := v.(type) {
		case string:
			out = append(out, v)
		case object:
			out = append(out, fmt.Sprint(v[field]))
		}
	}
	return out
}

func filter(collection, text string) string {
	return "/v1.0/" + collection + "?$filter=" + url.QueryEscape(text)
}

func TestWhoMayCome(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for _, tt := range []struct {
		name, bearer string
		status       int
	}{
		{"the audience is Graph", h.token(servetest.Faye, "https://graph.microsoft.com"), 200},
		{"a slash at the end of the audience does not matter", h.token(servetest.Faye, "https://graph.microsoft.com/"), 200},
		{"the audience may be the id of Graph", h.token(servetest.Faye, "00000003-0000-0000-c000-000000000000"), 200},
		{"a token for another resource is refused", h.token(servetest.Faye, "https://management.azure.com"), 401},
		{"nobody is refused", "", 401},
		{"a disabled user is refused at once (DIR-11)", h.token(servetest.Spike, "https://graph.microsoft.com"), 401},
		{"a program is not somebody with a /me", h.token(servetest.Robot, "https://graph.microsoft.com"), 400},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := *h
			h.t = t
			status, out := h.raw(tt.bearer, "GET", "/v1.0/me", "", "client-request-id", "mine")
			if status != tt.status {
				t.Fatalf("answers %d %v, want %d", status, out, tt.status)
			}
			if status == 200 {
				if out["userPrincipalName"] != "faye@teknews.cloud" {
					t.Errorf("/me is %v", out)
				}
				return
			}
			in, _ := out["error"].(object)["innerError"].(object)
			if in["date"] == "" || in["request-id"] == "" || in["client-request-id"] != "mine" {
				t.Errorf("the inner error is %v", in)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	const user = `{"accountEnabled":true,"displayName":"%s","mailNickname":"x","userPrincipalName":"%s","passwordProfile":{"password":"correct horse","forceChangePasswordNextSignIn":false}}`
	link := func(id principal.ID) string {
		return `{"@odata.id":"https://graph.microsoft.com/v1.0/directoryObjects/` + id.String() + `"}`
	}
	faye, dev, staff, robot := servetest.Faye.String(), servetest.DevTeam.String(), servetest.Staff.String(), "41000000-0000-4000-8000-000000000002"
	for _, tt := range []struct {
		name                 string
		who                  principal.ID
		method, target, body string
		status               int
		text                 string
	}{
		{"a guest does not list users", servetest.Ed, "GET", "/v1.0/users", "", 403, "Insufficient privileges to complete the operation."},
		{"who may not read learns nothing about what is there", servetest.Ed, "GET", "/v1.0/users/nobody@teknews.cloud", "", 403, "Insufficient privileges"},
		{"who may not write does not create", servetest.Faye, "POST", "/v1.0/users", fmt.Sprintf(user, "x", "x@teknews.cloud"), 403, "Insufficient"},
		{"the groups of others are not everybody's", servetest.Ed, "POST", "/v1.0/users/" + servetest.Jet.String() + "/getMemberGroups", `{"securityEnabledOnly":true}`, 403, "Insufficient"},
		{"what is not there is a 404 in Graph's words", root, "GET", "/v1.0/users/nobody@teknews.cloud", "", 404, "Resource 'nobody@teknews.cloud' does not exist or one of its queried reference-property objects are not present."},
		{"DIR-14: a user of another tenant is not there", root, "GET", "/v1.0/users/" + servetest.Vicious.String(), "", 404, "does not exist"},
		{"DIR-14: a user of another tenant joins no group", root, "POST", "/v1.0/groups/" + dev + "/members/$ref", link(servetest.Vicious), 404, "does not exist"},
		{"DIR-17: braces around an id are no second name", root, "GET", "/v1.0/users/%7B" + faye + "%7D", "", 404, "does not exist"},
		{"DIR-08: a system name is refused", root, "POST", "/v1.0/users", fmt.Sprintf(user, "System:Masters", "x@teknews.cloud"), 400, "control plane"},
		{"DIR-08: a system name is refused for groups", root, "POST", "/v1.0/groups", `{"displayName":"system:masters","mailNickname":"x","mailEnabled":false,"securityEnabled":true}`, 400, "control plane"},
		{"DIR-09: the same name in another case is taken", root, "POST", "/v1.0/users", fmt.Sprintf(user, "x", "FAYE@teknews.cloud"), 400, "userPrincipalName already exists"},
		{"DIR-09: a Kelvin sign is no k", root, "POST", "/v1.0/users", fmt.Sprintf(user, "x", "x@te\u212anews.cloud"), 400, "domain"},
		{"a name is of a verified domain", root, "POST", "/v1.0/users", fmt.Sprintf(user, "x", "x@fabrikam.com"), 400, "verified domain"},
		{"what would be dropped is refused by name", root, "PATCH", "/v1.0/users/" + faye, `{"jobTitle":"pilot"}`, 400, "Invalid property 'jobTitle'"},
		{"a password is not shown back", root, "PATCH", "/v1.0/users/" + faye, `{"passwordProfile":{"password":7}}`, 400, "'password' must be a text"},
		{"DIR-13: whoever sets a password must be able to give what its user has", clerk, "PATCH", "/v1.0/users/root@teknews.cloud", `{"passwordProfile":{"password":"correct horse"}}`, 403, "Insufficient"},
		{"DIR-13: whoever fills a group must be able to give what it has", clerk, "POST", "/v1.0/groups/" + staff + "/members/$ref", link(clerk), 403, "Insufficient"},
		{"DIR-13: a group inside a privileged one is privileged", clerk, "POST", "/v1.0/groups/" + dev + "/members/$ref", link(clerk), 403, "Insufficient"},
		{"DIR-13: a secret of a privileged application is not for who keeps the directory", clerk, "POST", "/v1.0/applications/" + robot + "/addPassword", `{}`, 403, "Insufficient"},
		{"who is in a group is not added", root, "POST", "/v1.0/groups/" + dev + "/members/$ref", link(servetest.Faye), 400, "One or more added object references already exist for the following modified properties: 'members'."},
		{"a member is a link to this directory", root, "POST", "/v1.0/groups/" + dev + "/members/$ref", `{"@odata.id":"https://evil.example/v1.0/users/` + faye + `"}`, 400, "@odata.id"},
		{"who is not in a group is not removed", root, "DELETE", "/v1.0/groups/" + dev + "/members/" + servetest.Jet.String() + "/$ref", "", 404, "does not exist"},
		{"a managed identity is not deleted here", root, "DELETE", "/v1.0/servicePrincipals/" + servetest.Identity.String(), "", 400, "managed identity"},
		{"an application has one service principal", root, "POST", "/v1.0/servicePrincipals", `{"appId":"` + servetest.RobotApp.String() + `"}`, 409, "already in use"},
		{"what is no certificate is refused", root, "POST", "/v1.0/applications", `{"displayName":"x","keyCredentials":[{"key":"AAAA"}]}`, 400, "certificate"},
		{"a link that cannot be expanded is refused", root, "GET", "/v1.0/users?$expand=manager", "", 400, "'manager' is not a link of users"},
		{"DIR-15: a search has terms", root, "GET", "/v1.0/users?$search=ana", "", 400, "Invalid $search"},
		{"DIR-15: an order is by a property", root, "GET", "/v1.0/users?$orderby=password", "", 400, "cannot be ordered by"},
		{"a search needs its header", root, "GET", "/v1.0/users?$search=%22displayName:a%22", "", 400, "ConsistencyLevel"},
		{"an application has no secret when it is made", root, "POST", "/v1.0/applications", `{"displayName":"x","passwordCredentials":[{"displayName":"x"}]}`, 400, "addPassword"},
		{"consent is not a record here", root, "POST", "/v1.0/oauth2PermissionGrants", `{"scope":"x"}`, 400, "no consent grants"},
		{"DIR-15: an unknown option is refused", root, "GET", "/v1.0/users?$skip=7", "", 400, "'$skip' is not supported"},
		{"DIR-15: a filter by what is not a property is refused", root, "GET", filter("users", "password eq 'x'"), "", 400, "Invalid filter clause"},
		{"DIR-15: two filters are none", root, "GET", "/v1.0/users?$filter=a&$filter=b", "", 400, "more than once"},
		{"an unknown property is not selected", root, "GET", "/v1.0/users?$select=password", "", 400, "'password'"},
		{"a count needs its header", root, "GET", "/v1.0/users?$count=true", "", 400, "ConsistencyLevel"},
		{"a page token made by hand is refused", root, "GET", "/v1.0/users?$skiptoken=AAAA", "", 400, "page token"},
		{"a page has a size", root, "GET", "/v1.0/users?$top=1000", "", 400, "Invalid page size"},
		{"a path that is not clean is a JSON 404", root, "GET", "/v1.0//users", "", 404, "serves no such"},
		{"what is not served is a JSON 404", root, "GET", "/v1.0/devices", "", 404, "serves no such"},
		{"a body is JSON", root, "POST", "/v1.0/groups", `{"displayName":`, 400, "one JSON object"},
		{"a group is a security group", root, "POST", "/v1.0/groups", `{"displayName":"x","mailNickname":"x","mailEnabled":true,"securityEnabled":true}`, 400, "mailEnabled"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := *h
			h.t = t
			before := h.store.Current().Revision()
			status, out := h.do(tt.who, tt.method, tt.target, tt.body)
			code, text := message(out)
			if status != tt.status || code == "" || !strings.Contains(text, tt.text) {
				t.Errorf("answers %d %s %q, want %d with %q", status, code, text, tt.status, tt.text)
			}
			if after := h.store.Current().Revision(); after != before {
				t.Errorf("a refusal changed the directory")
			}
		})
	}
}

func TestALifeInTheDirectory(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	const password = "correct horse battery"
	u := h.must(root, "POST", "/v1.0/users", `{"accountEnabled":true,"displayName":"Ana","mailNickname":"ana","userPrincipalName":"Ana@TekNews.cloud","passwordProfile":{"password":"`+password+`"}}`)
	if u["userPrincipalName"] != "ana@teknews.cloud" {
		t.Errorf("DIR-09: the new user is called %v", u["userPrincipalName"])
	}
	ana := u["id"].(string)
	id := servetest.ID(ana)
	if got := names(h.must(root, "GET", filter("users", "userPrincipalName eq 'ANA@teknews.cloud'"), ""), "id"); !cmp.Equal(got, []string{ana}) {
		t.Errorf("the user's name finds %v", got)
	}
	g := h.must(root, "POST", "/v1.0/groups", `{"displayName":"crew","mailNickname":"crew","mailEnabled":false,"securityEnabled":true}`)["id"].(string)
	if got := names(h.must(root, "GET", filter("groups", "displayName eq 'crew' and mailNickname eq 'crew'"), ""), "id"); !cmp.Equal(got, []string{g}) {
		t.Errorf("the group's name finds %v", got)
	}
	link := `{"@odata.id":"https://graph.microsoft.com/v1.0/directoryObjects/%s"}`
	h.must(root, "POST", "/v1.0/groups/"+g+"/members/$ref", fmt.Sprintf(link, ana))
	h.must(root, "POST", "/v1.0/groups/"+servetest.DevTeam.String()+"/members/$ref", fmt.Sprintf(link, g))

	// Her own memberships she may read, directly and through others.
	want := []string{servetest.DevTeam.String(), servetest.Staff.String(), g}
	sorted := cmp.Transformer("set", func(list []string) map[string]bool {
		m := make(map[string]bool)
		for _, s := range list {
			m[s] = true
		}
		return m
	})
	for _, got := range [][]string{
		names(h.must(id, "POST", "/v1.0/users/ana@teknews.cloud/getMemberGroups", `{"securityEnabledOnly":false}`), ""),
		names(h.must(id, "GET", "/v1.0/directoryObjects/"+ana+"/transitiveMemberOf", ""), "id"),
		names(h.must(id, "POST", "/v1.0/directoryObjects/"+ana+"/checkMemberGroups", `{"groupIds":["`+strings.Join(append(want, servetest.Admins.String()), `","`)+`"]}`), ""),
	} {
		if diff := cmp.Diff(want, got, sorted); diff != "" {
			t.Errorf("her groups (-want +got):\n%s", diff)
		}
	}
	if got := names(h.must(id, "GET", "/v1.0/users/"+ana+"/memberOf", ""), "displayName"); !cmp.Equal(got, []string{"crew"}) {
		t.Errorf("she is in %v", got)
	}
	h.must(root, "POST", "/v1.0/groups/"+g+"/members/$ref", `{"@odata.id":"https://graph.microsoft.com/v1.0/directoryObjects/`+servetest.Ed.String()+`"}`)
	if got := names(h.must(servetest.Ed, "GET", "/v1.0/users/"+servetest.Ed.String()+"/memberOf", ""), "displayName"); !cmp.Equal(got, []string{"<nil>"}) {
		t.Errorf("of groups that a guest may not read he sees %v", got)
	}
	h.must(root, "DELETE", "/v1.0/groups/"+g+"/members/"+servetest.Ed.String()+"/$ref", "")
	if got := names(h.must(root, "GET", "/v1.0/groups/"+servetest.Staff.String()+"/transitiveMembers", ""), "@odata.type"); len(got) != 4 {
		t.Errorf("in staff are %v", got)
	}
	types := names(h.must(root, "POST", "/v1.0/directoryObjects/getByIds", `{"ids":["`+ana+`","`+g+`","`+servetest.Identity.String()+`","`+servetest.Vicious.String()+`"],"types":["user","group","servicePrincipal","directoryObjectPartnerReference"]}`), "@odata.type")
	if diff := cmp.Diff([]string{"#microsoft.graph.user", "#microsoft.graph.group", "#microsoft.graph.servicePrincipal"}, types); diff != "" {
		t.Errorf("DIR-14: objects by id (-want +got):\n%s", diff)
	}

	h.must(root, "PATCH", "/v1.0/users/"+ana, `{"displayName":"Ana B","passwordProfile":{"password":"another horse"}}`)
	if now, _ := h.store.Current().User(id); now.DisplayName != "Ana B" || now.TokensValidFrom.IsZero() {
		t.Errorf("after a change of the password the user is %+v", now)
	}
	h.must(root, "PATCH", "/v1.0/users/"+ana, `{"accountEnabled":false}`)
	if status, _ := h.do(id, "GET", "/v1.0/me", ""); status != http.StatusUnauthorized {
		t.Errorf("DIR-11: a user who was disabled is answered %d", status)
	}
	h.must(root, "DELETE", "/v1.0/users/"+ana, "")
	h.must(root, "DELETE", "/v1.0/groups/"+g, "")
	for m := range h.store.Current().Members(servetest.DevTeam) {
		if m != servetest.Faye {
			t.Errorf("DIR-05: %s is still in the group", m)
		}
	}
	if strings.Contains(h.log.String(), "horse") {
		t.Error("a password is in the log")
	}
}

func TestApplications(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	a := h.must(clerk, "POST", "/v1.0/applications", `{"displayName":"ci","keyCredentials":[],"identifierUris":["api://ci"]}`)
	at, app := "/v1.0/applications/"+a["id"].(string), a["appId"].(string)
	if creds, ok := a["passwordCredentials"].([]any); !ok || len(creds) != 0 {
		t.Errorf("a new application has the credentials %v", a["passwordCredentials"])
	}
	if _, out := h.do(clerk, "POST", "/v1.0/applications", `{"displayName":"thief","identifierUris":["api://CI/"]}`); !strings.Contains(fmt.Sprint(out), "identifierUris already exists") {
		t.Errorf("an audience is taken twice: %v", out)
	}
	sp := h.must(clerk, "POST", "/v1.0/servicePrincipals", `{"appId":"`+app+`","accountEnabled":true}`)["id"].(string)
	for _, name := range []string{app, "api://ci"} {
		if got := names(h.must(clerk, "GET", filter("servicePrincipals", "servicePrincipalNames/any(c:c eq '"+name+"')"), ""), "id"); !cmp.Equal(got, []string{sp}) {
			t.Errorf("%s names %v", name, got)
		}
	}
	secret := h.must(clerk, "POST", at+"/addPassword", `{"passwordCredential":{"displayName":"rbac","endDateTime":"`+time.Now().AddDate(1, 0, 0).UTC().Format(time.RFC3339)+`"}}`)
	text, keyID := secret["secretText"].(string), secret["keyId"].(string)
	if len(text) < 20 || strings.Contains(h.log.String(), text) {
		t.Errorf("the secret %q is short, or in the log", text)
	}
	creds := h.must(clerk, "GET", at, "")["passwordCredentials"].([]any)
	if len(creds) != 1 || creds[0].(object)["keyId"] != keyID || creds[0].(object)["secretText"] != nil || creds[0].(object)["displayName"] != "rbac" {
		t.Errorf("a secret is listed as %v", creds)
	}
	h.must(clerk, "POST", at+"/removePassword", `{"keyId":"`+keyID+`"}`)
	if status, _ := h.do(clerk, "POST", at+"/removePassword", `{"keyId":"`+keyID+`"}`); status != http.StatusBadRequest {
		t.Errorf("a secret that is gone is removed with %d", status)
	}
	h.must(clerk, "POST", at+"/addPassword", "")
	h.must(clerk, "PATCH", at, `{"displayName":"build","web":{"redirectUris":["https://ci.example/cb"]}}`)
	if got := names(h.must(clerk, "GET", filter("applications", "startswith(displayName,'BU')"), ""), "appId"); !cmp.Equal(got, []string{app}) {
		t.Errorf("the new name finds %v", got)
	}
	h.must(clerk, "DELETE", at, "")
	if _, ok := h.store.Current().ServicePrincipal(servetest.ID(sp)); ok {
		t.Error("DIR-05: the service principal outlives its application")
	}
	if left, err := h.store.PrivateList(t.Context(), "clientsecret", app); err != nil || len(left) > 0 {
		t.Errorf("DIR-05: secrets outlive their application: %d, %v", len(left), err)
	}
	mi := h.must(clerk, "GET", "/v1.0/servicePrincipals/"+servetest.Identity.String()+"?$select=servicePrincipalType,appId", "")
	if mi["servicePrincipalType"] != "ManagedIdentity" || mi["appId"] != "43000000-0000-4000-8000-000000000001" || len(mi) != 3 {
		t.Errorf("a managed identity is %v", mi)
	}
}

func TestPages(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	var got []string
	target := "/v1.0/users?$top=2&$select=id&$count=true"
	for range 10 {
		out := h.must(root, "GET", target, "", "ConsistencyLevel", "eventual")
		if out["@odata.count"] != 6.0 {
			t.Fatalf("there are %v users", out["@odata.count"])
		}
		got = append(got, names(out, "id")...)
		next, _ := out["@odata.nextLink"].(string)
		if next == "" {
			break
		}
		path, ok := strings.CutPrefix(next, "https://graph.microsoft.com")
		if !ok {
			t.Fatalf("the next page is at %q", next)
		}
		target = path
		for name, forged := range map[string]string{
			"of another collection": strings.Replace(path, "users", "groups", 1),
			"of another size":       strings.Replace(path, "top=2", "top=3", 1),
			"changed":               path + "A",
		} {
			if status, _ := h.do(root, "GET", forged, "", "ConsistencyLevel", "eventual"); status != http.StatusBadRequest {
				t.Errorf("ARM-12: a page token %s is answered %d", name, status)
			}
		}
		if status, _ := h.do(clerk, "GET", path, "", "ConsistencyLevel", "eventual"); status != http.StatusBadRequest {
			t.Errorf("another's page token is answered %d", status)
		}
	}
	want := []string{servetest.Faye.String(), servetest.Jet.String(), servetest.Spike.String(), servetest.Ed.String(), root.String(), clerk.String()}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("DIR-02, DIR-14: all pages (-want +got):\n%s", diff)
	}
}
