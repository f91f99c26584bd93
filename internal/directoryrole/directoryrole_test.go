package directoryrole_test

import (
	"strings"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/directoryrole"
)

func covers(role *azurerbac.Role, action string) bool {
	for i := range role.Permissions {
		if role.Permissions[i].Covers([]byte(strings.ToLower("Microsoft.Directory/"+action)), false) {
			return true
		}
	}
	return false
}

func TestWhatTheRolesOfADirectoryMay(t *testing.T) {
	t.Parallel()
	roles := map[string]*azurerbac.Role{"": directoryrole.Member(), "owner": directoryrole.Owner(), "self": directoryrole.Self()}
	for role := range directoryrole.All() {
		roles[role.RoleName] = role
	}
	for _, tt := range []struct {
		action string
		// who may, besides the Global Administrator
		who []string
	}{
		{"users/write", []string{"User Administrator", "Directory Writers"}},
		{"users/delete", []string{"User Administrator"}},
		{"users/password/write", []string{"User Administrator", "Helpdesk Administrator", "Password Administrator"}},
		{"groups/members/write", []string{"User Administrator", "Groups Administrator", "Directory Writers", "Privileged Role Administrator", "owner"}},
		{"applications/credentials/write", []string{"Application Administrator", "Cloud Application Administrator", "owner"}},
		{"applications/createAsOwner", []string{"Application Administrator", "Cloud Application Administrator", "Application Developer", "owner"}},
		{"roleAssignments/write", []string{"Privileged Role Administrator"}},
		{"signingKeys/rotate/action", nil},
	} {
		for name, role := range roles {
			want := name == "Global Administrator"
			for _, who := range tt.who {
				want = want || who == name
			}
			if got := covers(role, tt.action); got != want {
				t.Errorf("%q may %s: %t, want %t", name, tt.action, got, want)
			}
		}
	}
	for name, role := range roles {
		// The attributes that conditions read, and the domains that tenants share.
		if covers(role, "users/customSecurityAttributes/write") != (name == "Attribute Assignment Administrator") {
			t.Errorf("%q writes security attributes: that is for one role alone", name)
		}
		if covers(role, "tenants/write") || covers(role, "tenants/delete") {
			t.Errorf("%q changes tenants", name)
		}
		if got := covers(role, "users/read"); got != (name != "owner") {
			t.Errorf("%q reads users: %t", name, got)
		}
		if name != "" && name != "self" && name != "owner" {
			if by, ok := directoryrole.ByName(strings.ToUpper(name)); !ok || by != role {
				t.Errorf("%q is not found by its name", name)
			}
			if by, ok := directoryrole.Get(directoryrole.ID(role)); !ok || by != role {
				t.Errorf("%q is not found by its id", name)
			}
		}
	}
	if _, ok := directoryrole.Get(directoryrole.ID(directoryrole.Member())); ok {
		t.Error("what comes by itself can be given")
	}
}
