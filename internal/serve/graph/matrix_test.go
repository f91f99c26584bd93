package graph_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/directoryrole"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/serve/graph"
	"github.com/gatehouse-io/gatehouse/internal/serve/servetest"
	"github.com/gatehouse-io/gatehouse/internal/token"
)

// A side names one of everything that a route can be about: of the caller's tenant,
// of nobody, or of another tenant.
type side map[string]string

var (
	here = side{
		"users": servetest.Jet.String(), "groups": servetest.Staff.String(), "applications": "41000000-0000-4000-8000-000000000002",
		"servicePrincipals": servetest.Robot.String(), "directoryObjects": servetest.Jet.String(), "organization": servetest.Tenant.String(), "domains": "teknews.cloud",
		"directoryRoles": roleID("User Administrator").String(), "roleDefinitions": roleID("User Administrator").String(), "roleAssignments": idOf(directory.RoleAssignment{Principal: roleAdm, Role: roleID("Privileged Role Administrator")}), "other": servetest.DevTeam.String(),
		"federatedIdentityCredentials": "qhere",
	}
	theirs = side{
		"users": servetest.Vicious.String(), "groups": foreignGroup.String(), "applications": foreignApp.String(),
		"servicePrincipals": foreignSP.String(), "directoryObjects": servetest.Vicious.String(), "organization": servetest.Tenant2.String(), "domains": "fabrikam.com",
		"directoryRoles": roleID("User Administrator").String(), "roleDefinitions": roleID("User Administrator").String(), "roleAssignments": idOf(directory.RoleAssignment{Principal: servetest.Vicious, Role: directoryrole.GlobalAdministrator}), "other": servetest.Vicious.String(),
		"federatedIdentityCredentials": "qthem",
	}
)

// absent are the names of a side, of things that nobody has.
func (s side) absent() side {
	out := side{"domains": "qnone.example", "federatedIdentityCredentials": "qnobody", "directoryRoles": s["directoryRoles"], "roleDefinitions": s["roleDefinitions"]}
	for i, name := range []string{"users", "groups", "applications", "servicePrincipals", "directoryObjects", "organization", "other"} {
		out[name] = fmt.Sprintf("20000000-0000-4000-8000-0000000009f%d", i)
	}
	out["roleAssignments"] = idOf(directory.RoleAssignment{Principal: servetest.ID(out["other"]), Role: roleID("Helpdesk Administrator")})
	return out
}

// fill writes the path of a route with the names of a side.
func (s side) fill(path string) string {
	seg := strings.Split(path, "/")
	for i, word := range seg {
		switch {
		case word == "{id}":
			seg[i] = s[seg[i-1]]
		case word == "{other}" && s[seg[i-1]] != "":
			seg[i] = s[seg[i-1]]
		case word == "{other}":
			seg[i] = s["other"]
		}
	}
	return "/v1.0/" + strings.Join(seg, "/")
}

// unnamed takes the names of some sides out of an answer.
func unnamed(text string, sides ...side) string {
	for _, s := range sides {
		for _, name := range s {
			if name != "" {
				text = strings.ReplaceAll(text, name, "NAME")
			}
		}
	}
	return text
}

// newMatrix is a house with one of everything in two tenants.
func newMatrix(t *testing.T) *house {
	h := newStaffedHouse(t)
	h.put(
		directory.FederatedCredential{Owner: servetest.RobotApp, Name: "qhere", Issuer: "https://issuer.example/", Subject: "s", Audiences: []string{"a"}},
		directory.FederatedCredential{Owner: directory.AppID(foreignAppID), Name: "qthem", Issuer: "https://issuer.example/", Subject: "s", Audiences: []string{"a"}},
		directory.Membership{Group: foreignGroup, Member: servetest.Vicious},
	)
	return h
}

// bodyOf is what a request of a route says, about the things of a side.
func bodyOf(method, path string, s side) string {
	ids := `"` + s["groups"] + `"`
	switch {
	case method == "GET" || method == "DELETE":
		return ""
	case strings.HasSuffix(path, "/$ref"):
		return `{"@odata.id":"https://graph.microsoft.com/v1.0/directoryObjects/` + s["other"] + `"}`
	case strings.HasSuffix(path, "getByIds"):
		return `{"ids":["` + s["users"] + `"]}`
	case strings.Contains(path, "/getMember"):
		return `{"securityEnabledOnly":false}`
	case strings.Contains(path, "/checkMemberGroups"):
		return `{"groupIds":[` + ids + `]}`
	case strings.Contains(path, "/checkMemberObjects"):
		return `{"ids":[` + ids + `]}`
	case strings.HasSuffix(path, "/removePassword"):
		return `{"keyId":"20000000-0000-4000-8000-0000000009ff"}`
	case method == "PATCH":
		return `{"displayName":"changed"}`
	}
	return `{}`
}

// ARM-07 for Graph: whoever the house does not know is told one thing at every path.
func TestEveryRouteRefusesWhoIsNobody(t *testing.T) {
	t.Parallel()
	h := newMatrix(t)
	const audience = "https://graph.microsoft.com"
	before := h.store.Current().Revision()
	strange := *h
	var err error
	if strange.key, err = token.GenerateKey(servetest.Tenant, token.AccessToken, token.ES256, time.Now().Add(-time.Hour), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	for law, raw := range map[string]string{
		"without a token":                "",
		"no token at all":                "x",
		"for Azure Resource Manager":     h.token(global, "https://management.azure.com"),
		"for the house itself":           h.token(global, "api://gatehouse"),
		"by a key that nobody has":       strange.token(global, audience),
		"for somebody of another tenant": h.token(servetest.Vicious, audience),
		"for somebody who is disabled":   h.token(servetest.Spike, audience),
		"for somebody who is deleted":    h.token(servetest.ID("20000000-0000-4000-8000-0000000009aa"), audience),
	} {
		answers := make(map[string]string)
		for _, route := range graph.Routes() {
			method, path, _ := strings.Cut(route, " ")
			status, out := h.raw(raw, method, here.fill(path), bodyOf(method, path, here))
			if status != 401 {
				t.Fatalf("%s: %s is answered %d %v", law, route, status, out)
			}
			code, text := message(out)
			answers[code+" "+text] = route
		}
		if len(answers) != 1 {
			t.Errorf("%s: nobody tells %d answers apart: %v", law, len(answers), answers)
		}
	}
	if h.store.Current().Revision() != before {
		t.Error("a refusal changed the directory")
	}
}

// open are the changes that somebody without a role is not refused, and why.
var open = map[string]string{
	"POST oauth2PermissionGrants":                    "there are none here, for nobody",
	"POST directoryObjects/getByIds":                 "it reads, and he may read the directory",
	"POST users/{id}/getMemberGroups":                "it reads",
	"POST users/{id}/getMemberObjects":               "it reads",
	"POST users/{id}/checkMemberGroups":              "it reads",
	"POST users/{id}/checkMemberObjects":             "it reads",
	"POST groups/{id}/getMemberGroups":               "it reads",
	"POST groups/{id}/getMemberObjects":              "it reads",
	"POST groups/{id}/checkMemberGroups":             "it reads",
	"POST groups/{id}/checkMemberObjects":            "it reads",
	"POST servicePrincipals/{id}/getMemberGroups":    "it reads",
	"POST servicePrincipals/{id}/getMemberObjects":   "it reads",
	"POST servicePrincipals/{id}/checkMemberGroups":  "it reads",
	"POST servicePrincipals/{id}/checkMemberObjects": "it reads",
	"POST directoryObjects/{id}/getMemberGroups":     "it reads",
	"POST directoryObjects/{id}/getMemberObjects":    "it reads",
	"POST directoryObjects/{id}/checkMemberGroups":   "it reads",
	"POST directoryObjects/{id}/checkMemberObjects":  "it reads",
}

// ARM-07 for Graph: who has no role changes nothing, at no path, and is told the same
// whether there is what he would change or not.
func TestEveryChangeRefusesWhoMayNot(t *testing.T) {
	t.Parallel()
	h := newMatrix(t)
	before := h.store.Current().Revision()
	changes := 0
	for _, route := range graph.Routes() {
		method, path, _ := strings.Cut(route, " ")
		if method == "GET" || open[route] != "" {
			continue
		}
		changes++
		for _, who := range []principal.ID{nobody, servetest.Ed} {
			status, out := h.do(who, method, here.fill(path), bodyOf(method, path, here))
			code, text := message(out)
			if status != 403 || code != "Authorization_RequestDenied" {
				t.Errorf("%s by %s is answered %d %v", route, who, status, out)
			}
			none := here.absent()
			status2, out2 := h.do(who, method, none.fill(path), bodyOf(method, path, none))
			if code2, text2 := message(out2); status2 != status || code2 != code || unnamed(text2, none) != unnamed(text, here) {
				t.Errorf("%s by %s tells what is there from what is not: %d %v, %d %v", route, who, status, out, status2, out2)
			}
		}
	}
	if changes < 30 || h.store.Current().Revision() != before {
		t.Errorf("%d changes were refused; the revision is %d, before %d", changes, h.store.Current().Revision(), before)
	}
}

// ARM-07 for Graph: what another tenant has is to a Global Administrator as what
// nobody has, at every path and method.
func TestEveryRouteHidesOtherTenants(t *testing.T) {
	t.Parallel()
	h := newMatrix(t)
	before := h.store.Current().Revision()
	none := theirs.absent()
	for _, route := range graph.Routes() {
		method, path, _ := strings.Cut(route, " ")
		if !strings.Contains(path, "{") && method != "GET" && !strings.HasSuffix(path, "getByIds") {
			continue // it makes something of his own
		}
		ask := func(s side) (int, string) {
			status, out := h.do(global, method, s.fill(path), bodyOf(method, path, s))
			if status < 300 && strings.Contains(path, "{id}") && !strings.Contains(path, "directoryRoles/{id}") && !strings.Contains(path, "roleDefinitions/{id}") {
				t.Errorf("%s of another tenant is answered %d %v", route, status, out)
			}
			delete(out, "@odata.context")
			if e, ok := out["error"].(object); ok {
				delete(e, "innerError")
			}
			text, err := json.Marshal(out)
			if err != nil {
				t.Fatal(err)
			}
			return status, unnamed(string(text), s)
		}
		status, text := ask(theirs)
		if status2, text2 := ask(none); status2 != status || text2 != text {
			t.Errorf("%s of another tenant is answered %d %s, of nobody %d %s", route, status, text, status2, text2)
		}
		if strings.Contains(text, "fabrikam") || strings.Contains(text, "foreign") {
			t.Errorf("%s shows what another tenant has: %s", route, text)
		}
	}
	if h.store.Current().Revision() != before {
		t.Error("a refusal changed the directory")
	}
}
