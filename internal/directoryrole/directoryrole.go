// Package directoryrole has the roles of a directory: those that somebody can be
// given, with the template ids and names of Entra ID, and those that come by
// themselves, to members, to owners, and to everybody for himself.
//
// A role is an azurerbac.Role whose operations are Microsoft.Directory ones, so
// that the engine judges it as any other. What a role of Entra ID may do that
// this house has nothing for is left out; docs/guides/directory-roles.md has the
// table.
package directoryrole

import (
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/directory"
)

// GlobalAdministrator is the role that a tenant is never left without once
// somebody has it.
var GlobalAdministrator = mustID("62e90394-69f5-4237-9190-012177145e10")

// Sets of operations that several roles share.
var (
	readAll  = []string{"Microsoft.Directory/*/read"}
	groups   = []string{"Microsoft.Directory/groups/*"}
	programs = []string{"Microsoft.Directory/applications/*", "Microsoft.Directory/servicePrincipals/*"}
	// attributes are what conditions of role assignments read: whoever writes them
	// can make such a condition true.
	attributes = []string{"Microsoft.Directory/*/customSecurityAttributes/*"}
)

// A definition is a role as it is written here.
type definition struct {
	id, name, description string
	actions, notActions   []string
}

var assignable = []definition{
	{"62e90394-69f5-4237-9190-012177145e10", "Global Administrator", "Everything in the directory of the tenant",
		// Which domains a tenant has is the house's business, because they are shared by all tenants.
		[]string{"Microsoft.Directory/*"}, slices.Concat(attributes, []string{"Microsoft.Directory/tenants/write", "Microsoft.Directory/tenants/delete"})},
	{"f2ef992c-3afb-46b9-b7cf-a126ee74c451", "Global Reader", "Reads everything in the directory", readAll, nil},
	{"e8611ab8-c189-46e8-94e1-60213ab1f814", "Privileged Role Administrator", "Gives directory roles, and manages the groups that may have them",
		slices.Concat(readAll, groups, []string{"Microsoft.Directory/roleAssignments/*"}), nil},
	{"fe930be7-5e62-47db-91af-98c3a49a38b1", "User Administrator", "Manages users and groups, and resets passwords",
		slices.Concat(readAll, groups, []string{"Microsoft.Directory/users/*"}), attributes},
	{"fdd7a751-b60b-444a-984c-02652fe8fa1c", "Groups Administrator", "Manages groups", slices.Concat(readAll, groups), nil},
	{"729827e3-9c14-49f7-bb1b-9608f156bbb8", "Helpdesk Administrator", "Resets passwords",
		slices.Concat(readAll, []string{"Microsoft.Directory/users/password/write"}), nil},
	{"966707d0-3269-4727-9be2-8c3a10f19b9d", "Password Administrator", "Resets passwords",
		slices.Concat(readAll, []string{"Microsoft.Directory/users/password/write"}), nil},
	{"9b895d92-2cd3-44c7-9d02-a6ac2d5ea5c3", "Application Administrator", "Manages applications, service principals and their credentials",
		slices.Concat(readAll, programs), attributes},
	{"158c047a-c907-4556-b7ef-446551a6b5f7", "Cloud Application Administrator", "Manages applications, service principals and their credentials",
		slices.Concat(readAll, programs), attributes},
	{"cf1c38e5-3621-4004-a7cb-879624dced7c", "Application Developer", "Creates applications and service principals, and owns what he made",
		slices.Concat(readAll, []string{"Microsoft.Directory/applications/createAsOwner", "Microsoft.Directory/servicePrincipals/createAsOwner"}), nil},
	{"88d8e3e3-8f55-4a1e-953a-9b9898b8876b", "Directory Readers", "Reads the directory", readAll, nil},
	{"9360feb5-f418-4baa-8175-e2a00bac4301", "Directory Writers", "Writes users and groups, but no passwords",
		slices.Concat(readAll, groups, []string{"Microsoft.Directory/users/write"}), nil},
	{"58a13ea3-c632-46ae-9ee0-9c0d43cd7f3d", "Attribute Assignment Administrator", "Writes the custom security attributes that conditions read",
		slices.Concat(readAll, attributes), nil},
}

// What comes by itself.
var (
	// Member is what every user of the tenant who is no guest has in its directory.
	Member = sync.OnceValue(func() *azurerbac.Role {
		return compile(definition{"a0b1b346-4d3e-4e8b-98f8-753987be4970", "User", "What every member of the tenant may", readAll, nil})
	})
	// Self is what everybody has over himself.
	Self = sync.OnceValue(func() *azurerbac.Role {
		return compile(definition{"9a7e5e00-0000-4000-8000-000000000001", "Self", "What everybody may about himself",
			[]string{"Microsoft.Directory/users/read", "Microsoft.Directory/servicePrincipals/read"}, nil})
	})
	// Owner is what the owner of an object has over it.
	Owner = sync.OnceValue(func() *azurerbac.Role {
		return compile(definition{"9a7e5e00-0000-4000-8000-000000000002", "Owner of an object", "What its owner may do with an application, service principal or group",
			slices.Concat(programs, groups), attributes})
	})
)

type table struct {
	byID   map[directory.RoleID]*azurerbac.Role
	byName []*azurerbac.Role
}

var roles = sync.OnceValue(func() table {
	t := table{byID: make(map[directory.RoleID]*azurerbac.Role, len(assignable))}
	for _, d := range assignable {
		role := compile(d)
		t.byID[mustID(d.id)] = role
		t.byName = append(t.byName, role)
	}
	slices.SortFunc(t.byName, func(a, b *azurerbac.Role) int { return strings.Compare(a.RoleName, b.RoleName) })
	return t
})

func compile(d definition) *azurerbac.Role {
	role, err := azurerbac.Compile(azurerbac.Definition{
		ID: azurerbac.DefinitionID(mustID(d.id)), RoleName: d.name, Description: d.description, BuiltIn: true,
		Permissions: []azurerbac.Permission{{Actions: d.actions, NotActions: d.notActions}},
	})
	if err != nil {
		panic(fmt.Sprintf("directory role %s: %v", d.name, err))
	}
	return role
}

func mustID(s string) directory.RoleID {
	id, err := directory.ParseRoleID(s)
	if err != nil {
		panic(err)
	}
	return id
}

// Get returns the role with an id, if it can be given to somebody. Roles are
// shared: do not modify what they point to.
func Get(id directory.RoleID) (*azurerbac.Role, bool) {
	role, ok := roles().byID[id]
	return role, ok
}

// ByName returns the role with a name, in any letter case.
func ByName(name string) (*azurerbac.Role, bool) {
	for role := range All() {
		if strings.EqualFold(role.RoleName, name) {
			return role, true
		}
	}
	return nil, false
}

// All yields the roles that somebody can be given, in order of name.
func All() iter.Seq[*azurerbac.Role] { return slices.Values(roles().byName) }

// operations are what there is to do in a directory.
var operations = []string{
	"tenants/read", "users/read", "users/write", "users/delete", "users/password/write", "users/customsecurityattributes/write",
	"groups/read", "groups/write", "groups/delete", "groups/members/write", "groups/members/delete", "groups/owners/write", "groups/owners/delete",
	"applications/read", "applications/write", "applications/createasowner", "applications/delete", "applications/credentials/write",
	"applications/federatedidentitycredentials/write", "applications/owners/write", "serviceprincipals/read", "serviceprincipals/write",
	"serviceprincipals/createasowner", "serviceprincipals/delete", "serviceprincipals/customsecurityattributes/write",
	"roleassignments/read", "roleassignments/write", "roleassignments/delete",
}

// Reach measures how much a role may.
func Reach(role *azurerbac.Role) int {
	n := 0
	for _, action := range operations {
		for i := range role.Permissions {
			if role.Permissions[i].Covers([]byte("microsoft.directory/"+action), false) {
				n++
				break
			}
		}
	}
	return n
}

// ID is the id of a role of this package.
func ID(role *azurerbac.Role) directory.RoleID { return directory.RoleID(role.Definition.ID) }
