package graph_test

import (
	"encoding/base64"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/serve/servetest"
)

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func TestOwners(t *testing.T) { // DIR-12, DIR-13
	t.Parallel()
	h := newStaffedHouse(t)
	group := h.must(groupAdm, "POST", "/v1.0/groups", `{"displayName":"crew","mailNickname":"crew","mailEnabled":false,"securityEnabled":true,"owners@odata.bind":["https://graph.microsoft.com/v1.0/users/`+nobody.String()+`"]}`)["id"].(string)
	app := h.must(appAdm, "POST", "/v1.0/applications", `{"displayName":"ci"}`)
	id, sp := app["id"].(string), h.must(appAdm, "POST", "/v1.0/servicePrincipals", `{"appId":"`+app["appId"].(string)+`"}`)["id"].(string)
	h.try(t, []call{
		{"a group is made with its owner", groupAdm, "GET", "groups/" + group + "/owners", "", 200, "nobody@teknews.cloud"},
		{"an owner fills his group", nobody, "POST", "groups/" + group + "/members/$ref", link(nobody), 204, ""},
		{"and renames it", nobody, "PATCH", "groups/" + group, `{"displayName":"squad"}`, 204, ""},
		{"the last owner of a group stays", nobody, "DELETE", "groups/" + group + "/owners/" + nobody.String() + "/$ref", "", 400, "at least one owner"},
		{"whoever asks", root, "DELETE", "groups/" + group + "/owners/" + nobody.String() + "/$ref", "", 400, "at least one owner"},
		{"an owner makes another", nobody, "POST", "groups/" + group + "/owners/$ref", link(servetest.Faye), 204, ""},
		{"once", nobody, "POST", "groups/" + group + "/owners/$ref", link(servetest.Faye), 400, "One or more added object references already exist for the following modified properties: 'owners'."},
		{"and can then be taken away", servetest.Faye, "DELETE", "groups/" + group + "/owners/" + nobody.String() + "/$ref", "", 204, ""},
		{"who is no owner any more changes nothing", nobody, "PATCH", "groups/" + group, `{"displayName":"x"}`, 403, refused},
		{"a group owns nothing", groupAdm, "POST", "groups/" + group + "/owners/$ref", link(servetest.DevTeam), 400, "owners are users and service principals"},
		{"DIR-14: nor does somebody of another tenant", groupAdm, "POST", "groups/" + group + "/owners/$ref", link(servetest.Vicious), 404, "does not exist"},

		{"nobody makes himself owner of an application", nobody, "POST", "applications/" + id + "/owners/$ref", link(nobody), 403, refused},
		{"its administrator does", appAdm, "POST", "applications/" + id + "/owners/$ref", link(nobody), 204, ""},
		{"of its service principal too", appAdm, "POST", "servicePrincipals/" + sp + "/owners/$ref", link(nobody), 204, ""},
		{"he sees what he owns", nobody, "GET", "me/ownedObjects", "", 200, "#microsoft.graph.application"},
		{"an owner changes his application", nobody, "PATCH", "applications/" + id, `{"web":{"redirectUris":["https://ci.example/cb"]}}`, 204, ""},
		{"and adds a secret", nobody, "POST", "applications/" + id + "/addPassword", `{}`, 200, "secretText"},
		{"but gives no role", nobody, "POST", "roleManagement/directory/roleAssignments", assignRole(nobody, "Directory Readers"), 403, refused},
		{"an application may be left without owner", appAdm, "DELETE", "applications/" + id + "/owners/" + nobody.String() + "/$ref", "", 204, ""},
		{"who was one is none any more", nobody, "POST", "applications/" + id + "/addPassword", `{}`, 403, refused},
		{"he still owns the service principal", nobody, "POST", "servicePrincipals/" + sp + "/addPassword", `{}`, 200, "secretText"},
	})
	// When it gets a role that he could not give, his ownership is not enough.
	spID := servetest.ID(sp)
	h.put(azurerbac.Assignment{ID: azurerbac.NewAssignmentID(), Scope: servetest.AKS1, Principal: spID, Role: servetest.Reader})
	h.try(t, []call{{"DIR-13: an owner adds no secret to what has a role", nobody, "POST", "servicePrincipals/" + sp + "/addPassword", `{}`, 403, refused}})
	// Deleting an owner takes what he owned from him, whoever may delete him.
	h.must(userAdm, "DELETE", "/v1.0/users/"+nobody.String(), "")
	if left := h.store.Current().Owned(nobody); len(left) > 0 {
		t.Errorf("DIR-05: he is gone and owns %v", left)
	}
}

func TestADeveloperOwnsWhatHeMakes(t *testing.T) {
	t.Parallel()
	h := newStaffedHouse(t)
	app := h.must(developer, "POST", "/v1.0/applications", `{"displayName":"mine"}`)
	id, appID := app["id"].(string), app["appId"].(string)
	other := h.must(appAdm, "POST", "/v1.0/applications", `{"displayName":"theirs"}`)
	sp := h.must(developer, "POST", "/v1.0/servicePrincipals", `{"appId":"`+appID+`"}`)["id"].(string)
	for _, of := range []string{"applications/" + id, "servicePrincipals/" + sp} {
		if got := names(h.must(nobody, "GET", "/v1.0/"+of+"/owners", ""), "id"); !cmp.Equal(got, []string{developer.String()}) {
			t.Errorf("%s is owned by %v", of, got)
		}
	}
	if got := names(h.must(nobody, "GET", "/v1.0/applications/"+other["id"].(string)+"/owners", ""), "id"); len(got) != 0 {
		t.Errorf("who may write all applications is made owner of one: %v", got)
	}
	h.try(t, []call{
		{"his own he changes", developer, "PATCH", "applications/(appId='" + appID + "')", `{"displayName":"still mine"}`, 204, ""},
		{"those of others he does not", developer, "PATCH", "applications/" + other["id"].(string), `{"displayName":"x"}`, 403, refused},
		{"nor makes their service principals", developer, "POST", "servicePrincipals", `{"appId":"` + other["appId"].(string) + `"}`, 403, refused},
		{"his own he deletes", developer, "DELETE", "applications/" + id, "", 204, ""},
	})
	if _, ok := h.store.Current().ServicePrincipal(servetest.ID(sp)); ok {
		t.Error("the service principal outlives its application")
	}
}

func TestMany(t *testing.T) { // ARM-11, DIR-02
	t.Parallel()
	h := newStaffedHouse(t)
	group := h.must(groupAdm, "POST", "/v1.0/groups", `{"displayName":"big","mailNickname":"big","mailEnabled":false,"securityEnabled":true}`)["id"].(string)
	for n := range 5 {
		body := fmt.Sprintf(`{"accountEnabled":true,"displayName":"%c twin","mailNickname":"t%d","userPrincipalName":"t%[2]d@teknews.cloud","passwordProfile":{"password":"correct horse"}}`, 'e'-rune(n), n)
		id := h.must(userAdm, "POST", "/v1.0/users", body)["id"].(string)
		h.must(groupAdm, "POST", "/v1.0/groups/"+group+"/members/$ref", link(servetest.ID(id)))
	}
	h.must(groupAdm, "POST", "/v1.0/groups/"+group+"/members/$ref", link(servetest.Ed))
	walk := func(who principal.ID, target string) []string {
		var got []string
		for range 10 {
			out := h.must(who, "GET", target, "", "ConsistencyLevel", "eventual")
			got = append(got, names(out, "displayName")...)
			next, _ := out["@odata.nextLink"].(string)
			if next == "" {
				return got
			}
			target = next[len("https://graph.microsoft.com"):]
		}
		t.Fatal("the pages have no end")
		return nil
	}
	twins := []string{"a twin", "b twin", "c twin", "d twin", "e twin"}
	if got := walk(nobody, "/v1.0/users?$orderby=displayName&$top=2&$search=%22displayName:TWIN%22"); !cmp.Equal(got, twins) {
		t.Errorf("in order: %v", got)
	}
	down := []string{"e twin", "d twin", "c twin", "b twin", "a twin"}
	if got := walk(nobody, "/v1.0/groups/"+group+"/members/microsoft.graph.user?$orderby=displayName%20desc&$top=2&$filter="+"displayName%20ne%20null"); !cmp.Equal(got, down) {
		t.Errorf("from the end: %v", got)
	}
	// A guest is in the group. Of the others he learns how many they are, not who.
	if got := walk(servetest.Ed, "/v1.0/users/"+servetest.Ed.String()+"/memberOf"); !cmp.Equal(got, []string{"<nil>"}) {
		t.Errorf("a guest sees the group %v", got)
	}
	h.try(t, []call{
		{"a guest does not look into it", servetest.Ed, "GET", "groups/" + group + "/members", "", 403, refused},
		{"nor asks what it is called", servetest.Ed, "GET", "me/memberOf?$filter=startswith(displayName,'b')", "", 200, "value:[]"},
		{"nor has it put in order", servetest.Ed, "GET", "me/memberOf?$orderby=displayName", "", 200, "value:[]"},
		{"it comes with its members", nobody, "GET", "groups/" + group + "?$select=id&$expand=members($select=displayName)", "", 200, "displayName:a twin"},
	})
	status, text := h.text(nobody, "/v1.0/users/$count?$filter=startswith(userPrincipalName,'t')%20and%20accountEnabled%20eq%20true")
	if status != 200 || text != "5" {
		t.Errorf("$count answers %d %q", status, text)
	}
}
