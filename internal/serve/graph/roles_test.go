package graph_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/directoryrole"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/serve/servetest"
)

const refused = "Insufficient privileges"

func assignRole(who principal.ID, role string, at ...principal.ID) string {
	scope := "/"
	if len(at) > 0 {
		scope += at[0].String()
	}
	return fmt.Sprintf(`{"@odata.type":"#microsoft.graph.unifiedRoleAssignment","roleDefinitionId":"%s","principalId":"%s","directoryScopeId":"%s"}`, roleID(role), who, scope)
}

func TestDirectoryRolesDecideWhoMayChangeWhat(t *testing.T) { // DIR-13
	t.Parallel()
	h := newStaffedHouse(t)
	const user = `{"accountEnabled":true,"displayName":"%s","mailNickname":"x","userPrincipalName":"%s@teknews.cloud","passwordProfile":{"password":"correct horse"}}`
	const group = `{"displayName":"%s","mailNickname":"%[1]s","mailEnabled":false,"securityEnabled":true%s}`
	password := `{"passwordProfile":{"password":"another horse"}}`
	dev := servetest.DevTeam.String()
	h.try(t, []call{
		{"a member reads users", nobody, "GET", "users", "", 200, "faye@teknews.cloud"},
		{"and who has which role", nobody, "GET", "roleManagement/directory/roleAssignments", "", 200, global.String()},
		{"but changes nobody", nobody, "PATCH", "users/" + servetest.Jet.String(), `{"displayName":"x"}`, 403, refused},
		{"not even himself", nobody, "PATCH", "me", `{"displayName":"x"}`, 403, refused},
		{"and makes no application", nobody, "POST", "applications", `{"displayName":"x"}`, 403, refused},
		{"a guest reads himself", servetest.Ed, "GET", "me", "", 200, "ed@teknews.cloud"},
		{"and no others", servetest.Ed, "GET", "users", "", 403, refused},
		{"a program has no more than its roles", servetest.Robot, "GET", "users", "", 403, refused},

		{"a User Administrator makes a user", userAdm, "POST", "users", fmt.Sprintf(user, "new", "new"), 201, "new@teknews.cloud"},
		{"a Groups Administrator does not", groupAdm, "POST", "users", fmt.Sprintf(user, "y", "y"), 403, refused},
		{"the helpdesk sets a password", helpdesk, "PATCH", "users/new@teknews.cloud", password, 204, ""},
		{"and nothing else with it", helpdesk, "PATCH", "users/new@teknews.cloud", `{"passwordProfile":{"password":"another horse"},"accountEnabled":false}`, 403, refused},
		{"a password may have to be replaced", helpdesk, "PATCH", "users/new@teknews.cloud", `{"passwordProfile":{"forceChangePasswordNextSignIn":true}}`, 204, ""},
		{"if there is one", userAdm, "PATCH", "users/" + nobody.String(), `{"passwordProfile":{"forceChangePasswordNextSignIn":true}}`, 400, "no password"},
		{"an empty one is none", helpdesk, "PATCH", "users/new@teknews.cloud", `{"passwordProfile":{"password":"","forceChangePasswordNextSignIn":true}}`, 400, "required for property 'password'"},
		{"DIR-13: nor that of somebody who has a role", helpdesk, "PATCH", "users/" + global.String(), password, 403, refused},
		{"DIR-13: nor of somebody who has one in Azure", helpdesk, "PATCH", "users/" + servetest.Jet.String(), password, 403, refused},
		{"DIR-13: who has a role is not disabled by who could not take it", userAdm, "PATCH", "users/" + global.String(), `{"accountEnabled":false}`, 403, refused},
		{"DIR-13: nor deleted", userAdm, "DELETE", "users/" + global.String(), "", 403, refused},
		{"but renamed", userAdm, "PATCH", "users/" + global.String(), `{"displayName":"boss"}`, 204, ""},

		{"a Groups Administrator makes a group with its members", groupAdm, "POST", "groups", fmt.Sprintf(group, "crew", `,"members@odata.bind":["https://graph.microsoft.com/v1.0/users/`+nobody.String()+`"]`), 201, "crew"},
		{"DIR-13: but none that may have roles", groupAdm, "POST", "groups", fmt.Sprintf(group, "x", `,"isAssignableToRole":true`), 403, refused},
		{"DIR-13: nor fills one that has a role in Azure", groupAdm, "POST", "groups/" + dev + "/members/$ref", link(nobody), 403, refused},
		{"who gives roles makes such a group", roleAdm, "POST", "groups", fmt.Sprintf(group, "tier0", `,"isAssignableToRole":true`), 201, "isAssignableToRole:true"},

		{"an Application Administrator makes an application", appAdm, "POST", "applications", `{"displayName":"ci"}`, 201, "ci"},
		{"DIR-13: but adds no secret to one that has a role in Azure", appAdm, "POST", "applications/41000000-0000-4000-8000-000000000002/addPassword", `{}`, 403, refused},

		{"DIR-13: nobody makes himself Global Administrator", userAdm, "POST", "roleManagement/directory/roleAssignments", assignRole(userAdm, "Global Administrator"), 403, refused},
		{"DIR-13: nor by the older API", appAdm, "POST", "directoryRoles/(roleTemplateId='" + directoryrole.GlobalAdministrator.String() + "')/members/$ref", link(appAdm), 403, refused},
		{"who gives roles does", roleAdm, "POST", "roleManagement/directory/roleAssignments", assignRole(servetest.Jet, "Groups Administrator"), 201, servetest.Jet.String()},
		{"once", roleAdm, "POST", "roleManagement/directory/roleAssignments", assignRole(servetest.Jet, "Groups Administrator"), 400, "conflicting object"},
		{"not to a group that was not made for it", roleAdm, "POST", "roleManagement/directory/roleAssignments", assignRole(servetest.DevTeam, "Groups Administrator"), 400, "roleAssignable"},
		{"DIR-14: not to somebody of another tenant", global, "POST", "roleManagement/directory/roleAssignments", assignRole(servetest.Vicious, "Directory Readers"), 404, "does not exist"},
		{"DIR-14: nor over something of another tenant", global, "POST", "roleManagement/directory/roleAssignments", assignRole(nobody, "Groups Administrator", foreignGroup), 404, "does not exist"},
		{"a role that is none is not found", global, "POST", "roleManagement/directory/roleAssignments", `{"roleDefinitionId":"10000000-0000-4000-8000-000000000001","principalId":"` + nobody.String() + `","directoryScopeId":"/"}`, 404, "does not exist"},
		{"a role for one group", global, "POST", "roleManagement/directory/roleAssignments", assignRole(nobody, "Groups Administrator", servetest.Admins), 201, "/" + servetest.Admins.String()},
		{"lets him write that", nobody, "PATCH", "groups/" + servetest.Admins.String(), `{"description":"x"}`, 204, ""},
		{"and nothing else", nobody, "PATCH", "groups/" + dev, `{"description":"x"}`, 403, refused},
		{"who is Owner at the root of Azure rules here too", root, "PATCH", "users/" + global.String(), `{"displayName":"g"}`, 204, ""},
	})
	_, out := h.do(nobody, "GET", "/v1.0/me/transitiveMemberOf?$select=displayName", "")
	if got := names(out, "displayName"); !slices.Contains(got, "crew") || slices.Contains(got, "Groups Administrator") {
		t.Errorf("a role for one object is no directory role of his: %v", got)
	}
	_, out = h.do(servetest.Jet, "POST", "/v1.0/me/getMemberObjects", `{"securityEnabledOnly":false}`)
	if got := names(out, ""); !slices.Contains(got, roleID("Groups Administrator").String()) {
		t.Errorf("his roles are not among %v", got)
	}
}

func TestRolesAreListedAndTaken(t *testing.T) { // DIR-12
	t.Parallel()
	h := newStaffedHouse(t)
	target := "/v1.0/roleManagement/directory/roleAssignments?$filter=" + url.QueryEscape("roleDefinitionId eq '"+directoryrole.GlobalAdministrator.String()+"'") + "&$expand=principal"
	list, _ := h.must(global, "GET", target, "")["value"].([]any)
	if len(list) != 1 {
		t.Fatalf("Global Administrators are %v", list)
	}
	only := list[0].(object)
	if who, _ := only["principal"].(object); only["directoryScopeId"] != "/" || who["userPrincipalName"] != "global@teknews.cloud" {
		t.Errorf("an assignment is %v", only)
	}
	id := only["id"].(string)
	if got := h.must(nobody, "GET", "/v1.0/roleManagement/directory/roleAssignments/"+id, ""); got["principalId"] != global.String() {
		t.Errorf("by its id it is %v", got)
	}
	foreign := directory.RoleAssignment{Principal: servetest.Vicious, Role: directoryrole.GlobalAdministrator}
	h.try(t, []call{
		{"the last one stays", global, "DELETE", "roleManagement/directory/roleAssignments/" + id, "", 400, "no Global Administrator left"},
		{"by the older API as well", global, "DELETE", "directoryRoles/" + directoryrole.GlobalAdministrator.String() + "/members/" + global.String() + "/$ref", "", 400, "no Global Administrator left"},
		{"and is not deleted", root, "DELETE", "users/" + global.String(), "", 400, "no Global Administrator left"},
		{"nor disabled", root, "PATCH", "users/" + global.String(), `{"accountEnabled":false}`, 400, "no Global Administrator left"},
		{"an id made by hand is not found", global, "GET", "roleManagement/directory/roleAssignments/AAAA", "", 404, "does not exist"},
		{"ARM-07: nor is one of another tenant", global, "DELETE", "roleManagement/directory/roleAssignments/" + idOf(foreign), "", 404, "does not exist"},
		{"who may not give roles takes none", userAdm, "DELETE", "roleManagement/directory/roleAssignments/" + id, "", 403, refused},
		{"the roles that people have are listed", nobody, "GET", "directoryRoles?$select=displayName", "", 200, "Application Developer"},
		{"with their members", nobody, "GET", "directoryRoles/(roleTemplateId='" + roleID("User Administrator").String() + "')/members", "", 200, "users@teknews.cloud"},
		{"roles are described", nobody, "GET", "roleManagement/directory/roleDefinitions/" + roleID("Helpdesk Administrator").String(), "", 200, "Microsoft.Directory/users/password/write"},
		{"a second one is made", global, "POST", "directoryRoles/" + directoryrole.GlobalAdministrator.String() + "/members/$ref", link(nobody), 204, ""},
	})
	// Of two who remove each other at the same time, one stays.
	var won atomic.Int32
	var both sync.WaitGroup
	for from, to := range map[principal.ID]principal.ID{global: nobody, nobody: global} {
		bearer := h.token(from, "https://graph.microsoft.com")
		both.Go(func() {
			status, out := h.raw(bearer, "DELETE", "/v1.0/directoryRoles/"+directoryrole.GlobalAdministrator.String()+"/members/"+to.String()+"/$ref", "")
			switch status {
			case http.StatusNoContent:
				won.Add(1)
			case http.StatusForbidden, http.StatusBadRequest, http.StatusConflict:
			default:
				t.Errorf("answers %d %v", status, out)
			}
		})
	}
	both.Wait()
	if won.Load() != 1 {
		t.Errorf("%d of two removals came through", won.Load())
	}
}

// idOf is the id by which an assignment would be found, if it could be.
func idOf(a directory.RoleAssignment) string {
	return encode(slices.Concat(a.Role[:], a.Principal[:], a.Object[:]))
}
