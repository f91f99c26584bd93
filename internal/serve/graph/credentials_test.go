package graph_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"fmt"
	"math/big"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/issue"
	"github.com/gatehouse-io/gatehouse/internal/rehearsal"
	"github.com/gatehouse-io/gatehouse/internal/serve/servetest"
)

func certificate(t *testing.T, name string) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(der)
}

func TestCertificates(t *testing.T) {
	t.Parallel()
	h := newStaffedHouse(t)
	const keyID = "71000000-0000-4000-8000-000000000001"
	first, second := certificate(t, "first"), certificate(t, "second")
	app := h.must(appAdm, "POST", "/v1.0/applications", `{"displayName":"ci","keyCredentials":[{"@odata.type":"#microsoft.graph.keyCredential","displayName":null,"key":"`+first+`","keyId":"`+keyID+`",
		"type":"AsymmetricX509Cert","usage":"Verify","startDateTime":"2026-01-01T00:00:00Z","endDateTime":"2030-01-01T00:00:00Z"}]}`)
	at := "/v1.0/applications/" + app["id"].(string)
	keys := func(target string) map[string]string {
		t.Helper()
		got := make(map[string]string)
		for _, v := range h.must(nobody, "GET", target+"?$select=keyCredentials", "")["keyCredentials"].([]any) {
			k := v.(object)
			got[k["keyId"].(string)] = fmt.Sprint(k["displayName"])
			if k["key"] != nil || len(k["customKeyIdentifier"].(string)) != 40 || k["usage"] != "Verify" {
				t.Errorf("a key is listed as %v", k)
			}
		}
		return got
	}
	if got, want := keys(at), map[string]string{keyID: "CN=first"}; !cmp.Equal(got, want) {
		t.Errorf("the application has %v, want %v", got, want)
	}
	// As az appends one: what was read goes back with it.
	const other = "71000000-0000-4000-8000-000000000002"
	h.must(appAdm, "PATCH", at, `{"keyCredentials":[{"customKeyIdentifier":"ABC","displayName":"CN=first","endDateTime":"2030-01-01T00:00:00Z","key":null,"keyId":"`+keyID+`","startDateTime":"2026-01-01T00:00:00Z","type":"AsymmetricX509Cert","usage":"Verify"},
		{"key":"`+second+`","keyId":"`+other+`","displayName":"next","type":"AsymmetricX509Cert","usage":"Verify"}]}`)
	if got, want := keys(at), map[string]string{keyID: "CN=first", other: "next"}; !cmp.Equal(got, want) {
		t.Errorf("after adding one: %v, want %v", got, want)
	}
	h.must(appAdm, "PATCH", at, `{"keyCredentials":[{"keyId":"`+other+`"}]}`)
	if got, want := keys(at), map[string]string{other: "next"}; !cmp.Equal(got, want) {
		t.Errorf("after taking one: %v, want %v", got, want)
	}
	sp := h.must(appAdm, "POST", "/v1.0/servicePrincipals", `{"appId":"`+app["appId"].(string)+`"}`)["id"].(string)
	h.must(appAdm, "PATCH", "/v1.0/servicePrincipals/"+sp, `{"keyCredentials":[{"key":"`+second+`","displayName":"its own"}]}`)
	if got := keys("/v1.0/servicePrincipals/" + sp); len(got) != 1 || len(keys(at)) != 1 {
		t.Errorf("a certificate of a service principal is its own: %v, %v", got, keys(at))
	}
	h.try(t, []call{
		{"a key that is not there cannot stay", appAdm, "PATCH", at[len("/v1.0/"):], `{"keyCredentials":[{"keyId":"` + keyID + `"}]}`, 400, "No key credential found"},
		{"an encryption key is refused", appAdm, "PATCH", at[len("/v1.0/"):], `{"keyCredentials":[{"key":"` + first + `","usage":"Encrypt"}]}`, 400, "usage"},
		{"a symmetric key is refused", appAdm, "PATCH", at[len("/v1.0/"):], `{"keyCredentials":[{"key":"AAAA","type":"Symmetric"}]}`, 400, "AsymmetricX509Cert"},
		{"who may write groups writes no keys", groupAdm, "PATCH", at[len("/v1.0/"):], `{"keyCredentials":[]}`, 403, refused},
	})
	h.must(appAdm, "DELETE", at, "")
	if left, err := h.store.PrivateList(t.Context(), "certificate", app["appId"].(string)); err != nil || len(left) > 0 {
		t.Errorf("DIR-05: certificates outlive their application: %d, %v", len(left), err)
	}
}

func TestSecretsOfAServicePrincipalAreItsOwn(t *testing.T) {
	t.Parallel()
	h := newStaffedHouse(t)
	app := h.must(appAdm, "POST", "/v1.0/applications", `{"displayName":"ci"}`)
	appAt := "/v1.0/applications/" + app["id"].(string)
	spID := h.must(appAdm, "POST", "/v1.0/servicePrincipals", `{"appId":"`+app["appId"].(string)+`"}`)["id"].(string)
	spAt := "/v1.0/servicePrincipals/" + spID
	h.must(appAdm, "POST", appAt+"/addPassword", `{"passwordCredential":{"displayName":"of the application"}}`)
	mine := h.must(appAdm, "POST", spAt+"/addPassword", `{"passwordCredential":{"displayName":"of the principal"}}`)
	list := func(target string) []string {
		return names(object{"value": h.must(nobody, "GET", target, "")["passwordCredentials"]}, "displayName")
	}
	if a, p := list(appAt), list(spAt); !cmp.Equal(a, []string{"of the application"}) || !cmp.Equal(p, []string{"of the principal"}) {
		t.Errorf("listed are %v and %v", a, p)
	}
	key := `{"keyId":"` + mine["keyId"].(string) + `"}`
	h.try(t, []call{
		{"by the application it is not removed", appAdm, "POST", appAt[len("/v1.0/"):] + "/removePassword", key, 400, "No password credential found"},
		{"a managed identity has none", root, "POST", "servicePrincipals/" + servetest.Identity.String() + "/addPassword", `{}`, 400, "managed identity"},
		{"it is removed where it was made", appAdm, "POST", spAt[len("/v1.0/"):] + "/removePassword", key, 204, ""},
	})
	h.must(appAdm, "POST", spAt+"/addPassword", `{}`)
	h.must(appAdm, "DELETE", spAt, "")
	if left, err := h.store.PrivateList(t.Context(), "clientsecret", app["appId"].(string)); err != nil || len(left) != 1 {
		t.Errorf("with the service principal all but the application's own goes: %d, %v", len(left), err)
	}
}

func TestFederatedCredentials(t *testing.T) { // FED-14, FED-18
	t.Parallel()
	h := newStaffedHouse(t)
	app := h.must(appAdm, "POST", "/v1.0/applications", `{"displayName":"ci"}`)
	at := "applications/" + app["id"].(string) + "/federatedIdentityCredentials"
	body := func(name, issuer, subject, more string) string {
		return fmt.Sprintf(`{"name":"%s","issuer":"%s","subject":"%s","audiences":["api://AzureADTokenExchange"]%s}`, name, issuer, subject, more)
	}
	const good = "https://token.actions.githubusercontent.com"
	made := h.must(appAdm, "POST", "/v1.0/"+at, body("main", good, "repo:a/b:ref:refs/heads/main", `,"description":"the main branch"`))
	id := made["id"].(string)
	robotAt := "applications/41000000-0000-4000-8000-000000000002/federatedIdentityCredentials"
	h.try(t, []call{
		{"it is found by its name", nobody, "GET", at + "/main", "", 200, "the main branch"},
		{"and by its id", nobody, "GET", at + "/" + id, "", 200, "name:main"},
		{"and in brackets", nobody, "GET", at + "(name='main')", "", 200, id},
		{"names differ by letter case", nobody, "GET", at + "/Main", "", 404, "does not exist"},
		{"a name is given once", appAdm, "POST", at, body("main", good, "other", ""), 409, "already exists"},
		{"issuer and subject are, too", appAdm, "POST", at, body("again", good, "repo:a/b:ref:refs/heads/main", ""), 409, "already exists"},
		{"but another letter case is another subject", appAdm, "POST", at, body("cased", good, "repo:A/b:ref:refs/heads/main", ""), 201, "cased"},
		{"a name has a grammar", appAdm, "POST", at, body("a b", good, "x", ""), 400, "name 'a b' is invalid"},
		{"there is one audience", appAdm, "POST", at, `{"name":"two","issuer":"` + good + `","subject":"x","audiences":["a","b"]}`, 400, "exactly one audience"},
		{"FED-05: an issuer is one that the house would ask", appAdm, "POST", at, body("local", "https://127.0.0.1", "x", ""), 400, "not of a public server"},
		{"FED-15: and not the default of every cluster", appAdm, "POST", at, body("cluster", "https://kubernetes.default.example.com", "x", ""), 400, "default of every Kubernetes cluster"},
		{"an expression stands for many subjects", appAdm, "POST", at, `{"name":"many","issuer":"` + good + `","audiences":["api://x"],"claimsMatchingExpression":{"value":"claims['sub'] matches 'repo:a/*:environment:prod'","languageVersion":1}}`, 201, "claims['sub'] matches 'repo:a/*:environment:prod'"},
		{"it has a grammar", appAdm, "POST", at, `{"name":"none","issuer":"` + good + `","audiences":["api://x"],"claimsMatchingExpression":{"value":"claims['sub'] matches '*'","languageVersion":1}}`, 400, "wildcard in its first two parts"},
		{"of one version", appAdm, "POST", at, `{"name":"none","issuer":"` + good + `","audiences":["api://x"],"claimsMatchingExpression":{"value":"claims['sub'] matches 'a:b:*'","languageVersion":2}}`, 400, "languageVersion"},
		{"and is not there beside a subject", appAdm, "PATCH", at + "/many", `{"subject":"x"}`, 400, "one of the two"},
		{"once", appAdm, "POST", at, `{"name":"more","issuer":"` + good + `","audiences":["api://x"],"claimsMatchingExpression":{"value":"claims['sub'] matches 'repo:a/*:environment:prod'","languageVersion":1}}`, 409, "already exists"},
		{"it is taken away", appAdm, "DELETE", at + "/many", "", 204, ""},
		{"its name stays", appAdm, "PATCH", at + "/main", `{"name":"other"}`, 400, "cannot be changed"},
		{"the rest changes", appAdm, "PATCH", at + "/" + id, `{"subject":"repo:a/b:environment:prod"}`, 204, ""},
		{"not into what another says", appAdm, "PATCH", at + "/main", `{"subject":"repo:A/b:ref:refs/heads/main"}`, 409, "already exists"},
		{"who may not write applications adds none", userAdm, "POST", at, body("new", good, "y", ""), 403, refused},
		{"DIR-13: nor does who could not give what the application has", appAdm, "POST", robotAt, body("new", good, "y", ""), 403, refused},
		{"who could does", root, "POST", robotAt, body("new", good, "y", ""), 201, "new"},
		{"a member reads them", nobody, "GET", at, "", 200, "environment:prod"},
		{"it is deleted", appAdm, "DELETE", at + "/main", "", 204, ""},
		{"once", appAdm, "DELETE", at + "/main", "", 404, "does not exist"},
	})
	h.put(rehearsal.Knobs{Limits: rehearsal.Limits{FederatedCredentials: 2}})
	h.try(t, []call{
		{"up to a limit, if there is one", appAdm, "POST", at, body("two", good, "two", ""), 201, "two"},
		{"and no further", appAdm, "POST", at, body("three", good, "three", ""), 400, "At most 2"},
	})
	// A role that comes later closes it for who could not give that.
	sp := h.must(appAdm, "POST", "/v1.0/servicePrincipals", `{"appId":"`+app["appId"].(string)+`"}`)["id"].(string)
	h.put(azurerbac.Assignment{ID: azurerbac.NewAssignmentID(), Scope: servetest.AKS1, Principal: servetest.ID(sp), Role: servetest.Reader})
	h.try(t, []call{{"DIR-13: a subject is not changed under a role", appAdm, "PATCH", at + "/two", `{"subject":"mine"}`, 403, refused}})
}

func TestWhatIsChanged(t *testing.T) {
	t.Parallel()
	h := newStaffedHouse(t)
	group := h.must(groupAdm, "POST", "/v1.0/groups", `{"displayName":"Dev Team","mailNickname":"devs","mailEnabled":false,"securityEnabled":true,"description":"x"}`)["id"].(string)
	app := h.must(appAdm, "POST", "/v1.0/applications", `{"displayName":"ci","identifierUris":[],"web":{"redirectUris":["https://ci.example/cb"],"implicitGrantSettings":{"enableIdTokenIssuance":false}}}`)
	at := "applications/" + app["id"].(string)
	resource := `{"requiredResourceAccess":[{"resourceAppId":"00000003-0000-0000-c000-000000000000","resourceAccess":[{"id":"e1fe6dd8-ba31-4d61-89e7-88639da4683d","type":"Scope"}]}]}`
	h.try(t, []call{
		{"a group is found by a nickname that is not its name", nobody, "GET", "groups?$filter=displayName%20eq%20'Dev%20Team'%20and%20mailNickname%20eq%20'devs'", "", 200, group},
		{"a group is renamed", groupAdm, "PATCH", "groups/" + group, `{"displayName":"Crew","mailNickname":"crew","description":null}`, 204, ""},
		{"and has its new names", nobody, "GET", "groups/" + group, "", 200, "description:<nil> displayName:Crew"},
		{"a nickname is ASCII", groupAdm, "PATCH", "groups/" + group, `{"mailNickname":"é"}`, 400, "mail nickname"},
		{"a user is changed", userAdm, "PATCH", "users/" + nobody.String(), `{"displayName":"N","mailNickname":"nob","mail":"n@teknews.cloud"}`, 204, ""},
		{"and has a new nickname", nobody, "GET", "me?$select=mailNickname,mail", "", 200, "mail:n@teknews.cloud mailNickname:nob"},
		{"and a new name", userAdm, "PATCH", "users/" + nobody.String(), `{"userPrincipalName":"Somebody@TekNews.cloud"}`, 204, ""},
		{"by which he is found", nobody, "GET", "users/somebody@teknews.cloud", "", 200, nobody.String()},
		{"that nobody else has", userAdm, "PATCH", "users/" + nobody.String(), `{"userPrincipalName":"faye@teknews.cloud"}`, 400, "already exists"},
		{"and that is of the tenant", userAdm, "PATCH", "users/" + nobody.String(), `{"userPrincipalName":"x@fabrikam.com"}`, 400, "verified domain"},
		{"an application says what it needs", appAdm, "PATCH", at, resource, 204, ""},
		{"and shows it", nobody, "GET", at + "?$select=requiredResourceAccess", "", 200, "e1fe6dd8-ba31-4d61-89e7-88639da4683d type:Scope"},
		{"implicit grants are refused", appAdm, "PATCH", at, `{"web":{"implicitGrantSettings":{"enableIdTokenIssuance":true}}}`, 400, "implicitGrantSettings"},
		{"its tokens have a version", appAdm, "PATCH", at, `{"api":{"requestedAccessTokenVersion":2},"groupMembershipClaims":"SecurityGroup"}`, 204, ""},
		{"of two", appAdm, "PATCH", at, `{"api":{"requestedAccessTokenVersion":3}}`, 400, "token version"},
		{"an audience is that of one application", appAdm, "PATCH", at, `{"identifierUris":["api://x"]}`, 204, ""},
	})
	a, _ := h.store.Current().ApplicationByID(servetest.ID(app["id"].(string)))
	want := directory.Application{ID: a.ID, AppID: a.AppID, Tenant: servetest.Tenant, DisplayName: "ci", IdentifierURIs: []string{"api://x"}, RedirectURIs: []string{"https://ci.example/cb"},
		TokenVersion: 2, GroupClaims: true, RequiredAccess: a.RequiredAccess}
	if diff := cmp.Diff(want, a); diff != "" || len(a.RequiredAccess) != 1 {
		t.Errorf("the application (-want +got):\n%s", diff)
	}
	sp := h.must(appAdm, "POST", "/v1.0/servicePrincipals", `{"appId":"`+app["appId"].(string)+`"}`)["id"].(string)
	h.must(appAdm, "PATCH", "/v1.0/servicePrincipals/"+sp, `{"accountEnabled":false}`)
	if p, _ := h.store.Current().ServicePrincipal(servetest.ID(sp)); !p.Disabled {
		t.Error("a service principal is not disabled")
	}
	if _, err := issue.Secrets(t.Context(), h.store, issue.Holder{App: a.AppID}); err != nil {
		t.Error(err)
	}
}
