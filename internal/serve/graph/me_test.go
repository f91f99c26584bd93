package graph_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/serve/servetest"
	"github.com/gatehouse-io/gatehouse/internal/store"
)

// text is do for what answers a text.
func (h *house) text(who principal.ID, target string) (int, string) {
	h.t.Helper()
	req, err := http.NewRequestWithContext(h.t.Context(), http.MethodGet, h.server.URL+target, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+h.token(who, "https://graph.microsoft.com"))
	req.Header.Set("ConsistencyLevel", "eventual")
	res, err := h.server.Anonymous().Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

func TestKeysOfObjects(t *testing.T) {
	t.Parallel()
	h := newStaffedHouse(t)
	robot, mi := servetest.RobotApp.String(), "43000000-0000-4000-8000-000000000001"
	h.try(t, []call{
		{"/me is the caller", nobody, "GET", "me?$select=userPrincipalName", "", 200, "nobody@teknews.cloud"},
		{"with what he is in", servetest.Faye, "GET", "me/transitiveMemberOf/microsoft.graph.group", "", 200, servetest.Staff.String()},
		{"and may be asked for his groups", servetest.Faye, "POST", "me/checkMemberObjects", `{"ids":["` + servetest.Staff.String() + `"]}`, 200, servetest.Staff.String()},
		{"a program has none", servetest.Robot, "GET", "me", "", 400, "/me request is only valid with delegated authentication flow."},
		{"nor anything below it", servetest.Robot, "GET", "me/memberOf", "", 400, "delegated authentication flow"},
		{"a user by his name in brackets", nobody, "GET", "users('faye@teknews.cloud')", "", 200, servetest.Faye.String()},
		{"an application by its client id", nobody, "GET", "applications(appId='" + robot + "')", "", 200, "robot"},
		{"a service principal likewise", nobody, "GET", "servicePrincipals(appId='" + robot + "')", "", 200, servetest.Robot.String()},
		{"and what is below it", nobody, "GET", "servicePrincipals(appId='" + robot + "')/owners", "", 200, "value:[]"},
		{"a managed identity is one", nobody, "GET", "servicePrincipals(appId='" + mi + "')", "", 200, "servicePrincipalType:ManagedIdentity"},
		{"found by its resource", nobody, "GET", "servicePrincipals?$filter=alternativeNames/any(x:x%20eq%20'/subscriptions/50000000-0000-4000-8000-000000000001/resourceGroups/web/providers/Microsoft.ManagedIdentity/userAssignedIdentities/mi')", "", 200, mi},
		{"but no application", nobody, "GET", "applications(appId='" + mi + "')", "", 404, "does not exist"},
		{"DIR-14: the client id of another tenant's is not there", nobody, "GET", "applications(appId='" + foreignAppID.String() + "')", "", 404, "does not exist"},
		{"a key that is none", nobody, "GET", "users('')", "", 404, "does not exist"},
		{"any object by its id", nobody, "GET", "directoryObjects/" + servetest.DevTeam.String(), "", 200, "dev-team"},
		{"an application too", nobody, "GET", "directoryObjects/41000000-0000-4000-8000-000000000002", "", 200, "robot"},
		{"the organization", nobody, "GET", "organization", "", 200, "verifiedDomains"},
		{"its domains", nobody, "GET", "domains", "", 200, "teknews.cloud"},
		{"ARM-07: those of others are not", nobody, "GET", "domains/fabrikam.com", "", 404, "does not exist"},
		{"a guest does not read them", servetest.Ed, "GET", "organization", "", 403, refused},
		{"consents there are none", nobody, "GET", "oauth2PermissionGrants?$filter=clientId%20eq%20'x'", "", 200, "value:[]"},
		{"his sign-ins everybody ends", nobody, "POST", "me/revokeSignInSessions", "", 200, "value:true"},
	})
	if status, _ := h.do(servetest.Faye, "POST", "/v1.0/users/"+servetest.Jet.String()+"/revokeSignInSessions", ""); status != http.StatusForbidden {
		t.Errorf("a member ends the sign-ins of another: %d", status)
	}
}

// Every path with the id of something of another tenant is answered as with the id
// of nothing: the same status and the same words.
func TestNothingOfAnotherTenantIsSeen(t *testing.T) { // ARM-07, DIR-14
	t.Parallel()
	h := newStaffedHouse(t)
	absent := servetest.ID("30000000-0000-4000-8000-00000000dead")
	user := `{"displayName":"x"}`
	for _, who := range []principal.ID{global, nobody, servetest.Ed} {
		for _, tt := range []struct {
			method, target, body string
			of                   principal.ID
		}{
			{"GET", "users/%s", "", servetest.Vicious}, {"PATCH", "users/%s", user, servetest.Vicious}, {"DELETE", "users/%s", "", servetest.Vicious},
			{"PATCH", "users/%s", `{"passwordProfile":{"password":"correct horse"}}`, servetest.Vicious},
			{"GET", "users/%s/memberOf", "", servetest.Vicious}, {"GET", "users/%s/ownedObjects", "", servetest.Vicious},
			{"POST", "users/%s/getMemberGroups", `{"securityEnabledOnly":false}`, servetest.Vicious}, {"POST", "users/%s/revokeSignInSessions", "", servetest.Vicious},
			{"GET", "groups/%s", "", foreignGroup}, {"PATCH", "groups/%s", user, foreignGroup}, {"DELETE", "groups/%s", "", foreignGroup},
			{"GET", "groups/%s/members", "", foreignGroup}, {"GET", "groups/%s/owners", "", foreignGroup},
			{"POST", "groups/%s/members/$ref", link(nobody), foreignGroup}, {"POST", "groups/%s/owners/$ref", link(nobody), foreignGroup},
			{"DELETE", "groups/%s/members/" + nobody.String() + "/$ref", "", foreignGroup},
			{"GET", "applications/%s", "", foreignApp}, {"PATCH", "applications/%s", user, foreignApp}, {"DELETE", "applications/%s", "", foreignApp},
			{"PATCH", "applications/%s", `{"keyCredentials":[]}`, foreignApp},
			{"POST", "applications/%s/addPassword", `{}`, foreignApp}, {"POST", "applications/%s/removePassword", `{"keyId":"` + absent.String() + `"}`, foreignApp},
			{"GET", "applications/%s/owners", "", foreignApp}, {"POST", "applications/%s/owners/$ref", link(nobody), foreignApp},
			{"GET", "applications/%s/federatedIdentityCredentials", "", foreignApp}, {"GET", "applications/%s/federatedIdentityCredentials/x", "", foreignApp},
			{"POST", "applications/%s/federatedIdentityCredentials", `{"name":"abc","issuer":"https://i.example.com","subject":"s","audiences":["a"]}`, foreignApp},
			{"GET", "applications(appId='%s')", "", foreignAppID}, {"GET", "servicePrincipals(appId='%s')", "", foreignAppID},
			{"POST", "servicePrincipals", `{"appId":"%s"}`, foreignAppID},
			{"GET", "servicePrincipals/%s", "", foreignSP}, {"PATCH", "servicePrincipals/%s", user, foreignSP}, {"DELETE", "servicePrincipals/%s", "", foreignSP},
			{"POST", "servicePrincipals/%s/addPassword", `{}`, foreignSP}, {"GET", "servicePrincipals/%s/owners", "", foreignSP},
			{"GET", "directoryObjects/%s", "", foreignApp}, {"GET", "directoryObjects/%s", "", servetest.Vicious},
			{"POST", "directoryObjects/%s/checkMemberGroups", `{"groupIds":["` + foreignGroup.String() + `"]}`, servetest.Vicious},
			{"POST", "directoryObjects/getByIds", `{"ids":["%s"]}`, servetest.Vicious}, {"GET", "organization/%s", "", principal.ID(servetest.Tenant2)},
		} {
			ask := func(id principal.ID) (int, string) {
				target, body := tt.target, tt.body
				if fmt.Sprintf(target, "") != target+"%!(EXTRA string=)" {
					target = fmt.Sprintf(target, id)
				} else {
					body = fmt.Sprintf(body, id)
				}
				status, out := h.do(who, tt.method, "/v1.0/"+target, body)
				code, text := message(out)
				if status < 300 {
					text = fmt.Sprint(out["value"])
				}
				return status, code + replaceID(text, id)
			}
			status, text := ask(tt.of)
			if wantStatus, want := ask(absent); status != wantStatus || text != want {
				t.Errorf("%s %s of another tenant as %s: %d %s, of nothing %d %s", tt.method, tt.target, who, status, text, wantStatus, want)
			}
			if status < 300 && tt.target != "directoryObjects/getByIds" {
				t.Errorf("%s %s of another tenant as %s is answered %d", tt.method, tt.target, who, status)
			}
		}
	}
	for _, collection := range []string{"users", "groups", "applications", "servicePrincipals", "roleManagement/directory/roleAssignments"} {
		for _, id := range names(h.must(global, "GET", "/v1.0/"+collection+"?$top=999", ""), "id") {
			if id == servetest.Vicious.String() || id == foreignGroup.String() || id == foreignApp.String() || id == foreignSP.String() {
				t.Errorf("%s lists %s of another tenant", collection, id)
			}
		}
	}
}

// What a client must not choose is refused by name, whether something is made or changed.
func TestNobodyChoosesIdsAndTenants(t *testing.T) { // ARM-09
	t.Parallel()
	h := newStaffedHouse(t)
	const user = `{"accountEnabled":true,"displayName":"x","mailNickname":"x","userPrincipalName":"x@teknews.cloud","passwordProfile":{"password":"correct horse"},%s}`
	const group = `{"displayName":"x","mailNickname":"x","mailEnabled":false,"securityEnabled":true,%s}`
	before := h.store.Current().Revision()
	for _, member := range []string{`"id":"` + nobody.String() + `"`, `"tenant":"` + servetest.Tenant2.String() + `"`, `"deletedDateTime":"2026-01-01T00:00:00Z"`,
		`"attributes":{"a":["b"]}`, `"customSecurityAttributes":{"a":"b"}`, `"tokensValidFrom":"2020-01-01T00:00:00Z"`, `"signInSessionsValidFromDateTime":"2020-01-01T00:00:00Z"`,
		`"appId":"` + servetest.RobotApp.String() + `"`, `"publisherDomain":"fabrikam.com"`, `"servicePrincipalType":"ManagedIdentity"`, `"createdBy":"x"`} {
		for _, tt := range []struct{ method, target, body string }{
			{"POST", "users", fmt.Sprintf(user, member)}, {"PATCH", "users/" + nobody.String(), `{"displayName":"x",` + member + `}`},
			{"POST", "groups", fmt.Sprintf(group, member)}, {"PATCH", "groups/" + servetest.DevTeam.String(), `{"displayName":"x",` + member + `}`},
			{"POST", "applications", `{"displayName":"x",` + member + `}`}, {"PATCH", "applications/(appId='" + servetest.RobotApp.String() + "')", `{"displayName":"x",` + member + `}`},
			{"PATCH", "servicePrincipals/" + servetest.Robot.String(), `{"displayName":"x",` + member + `}`},
			{"POST", "roleManagement/directory/roleAssignments", `{"roleDefinitionId":"` + roleID("Directory Readers").String() + `","principalId":"` + nobody.String() + `","directoryScopeId":"/",` + member + `}`},
		} {
			if status, out := h.do(root, tt.method, "/v1.0/"+tt.target, tt.body); status != http.StatusBadRequest {
				t.Errorf("%s %s with %s is answered %d %v", tt.method, tt.target, member, status, out)
			}
		}
	}
	for _, member := range []string{`"isAssignableToRole":true`, `"members@odata.bind":["https://graph.microsoft.com/v1.0/users/` + nobody.String() + `"]`} {
		if status, _ := h.do(root, "PATCH", "/v1.0/groups/"+servetest.DevTeam.String(), `{`+member+`}`); status != http.StatusBadRequest {
			t.Errorf("a group is changed with %s: %d", member, status)
		}
	}
	if after := h.store.Current().Revision(); after != before {
		t.Error("a refusal changed the directory")
	}
}

func replaceID(text string, id principal.ID) string {
	return strings.ReplaceAll(text, id.String(), "ID")
}

// OA-29: who is told that sign-ins have ended can rely on it, at every replica.
func TestSignInsEndOrNobodySaysSo(t *testing.T) {
	t.Parallel()
	kv := &servetest.Outage{Memory: new(store.Memory)}
	h := newHouseOn(t, kv)
	sealer, err := store.NewKey(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	other, err := store.Open(t.Context(), store.Config{KV: kv, Sealer: sealer, MaxAge: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { other.Close() })
	before, _ := h.store.Current().User(servetest.Jet)

	kv.On.Store(true)
	if status, body := h.do(servetest.Jet, "POST", "/v1.0/me/revokeSignInSessions", ""); status < 500 {
		t.Errorf("it says %d %v, and nothing is written", status, body)
	}
	if now, _ := h.store.Current().User(servetest.Jet); !now.TokensValidFrom.Equal(before.TokensValidFrom) {
		t.Error("this replica takes it for done")
	}
	kv.On.Store(false)
	if status, body := h.do(servetest.Jet, "POST", "/v1.0/me/revokeSignInSessions", ""); status != http.StatusOK {
		t.Fatalf("%d %v", status, body)
	}
	here, _ := h.store.Current().User(servetest.Jet)
	if !here.TokensValidFrom.After(before.TokensValidFrom) {
		t.Error("it is not done here, and was said to be")
	}
	est, err := other.AtLeast(t.Context(), h.store.Current().Revision())
	if err != nil {
		t.Fatal(err)
	}
	if there, _ := est.User(servetest.Jet); !there.TokensValidFrom.Equal(here.TokensValidFrom) {
		t.Error("the other replica does not know of it")
	}
}
