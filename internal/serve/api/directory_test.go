package api_test

import (
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/directoryrole"
	"github.com/gatehouse-io/gatehouse/internal/issue"
	"github.com/gatehouse-io/gatehouse/internal/kuberbac"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/wire"
	"github.com/gatehouse-io/gatehouse/internal/serve/servetest"
)

func directoryRole(name string) directory.RoleID {
	role, ok := directoryrole.ByName(name)
	if !ok {
		panic("no role " + name)
	}
	return directoryrole.ID(role)
}

// People who have roles of the directory, and nothing in Azure.
var (
	global   = servetest.ID("20000000-0000-4000-8000-0000000000d1")
	userAdm  = servetest.ID("20000000-0000-4000-8000-0000000000d2")
	groupAdm = servetest.ID("20000000-0000-4000-8000-0000000000d3")
	appAdm   = servetest.ID("20000000-0000-4000-8000-0000000000d4")
	roleAdm  = servetest.ID("20000000-0000-4000-8000-0000000000d5")
	helpdesk = servetest.ID("20000000-0000-4000-8000-0000000000d6")
	owner    = servetest.ID("20000000-0000-4000-8000-0000000000d7") // of plain, privileged and the application
	owner2   = servetest.ID("20000000-0000-4000-8000-0000000000d8") // of the application, too
	plain    = servetest.ID("30000000-0000-4000-8000-0000000000d1") // a group that has nothing
	bound    = servetest.ID("30000000-0000-4000-8000-0000000000d2") // a group that a cluster's binding names
	privileg = servetest.ID("30000000-0000-4000-8000-0000000000d3") // a role-assignable group, without a role yet
	build    = directory.Application{ID: servetest.ID("41000000-0000-4000-8000-0000000000d1"), AppID: directory.AppID(servetest.ID("41000000-0000-4000-8000-0000000000d2")), Tenant: servetest.Tenant, DisplayName: "build"}
)

func newDirectoryHouse(t *testing.T) *house {
	t.Helper()
	h := newHouse(t)
	recs := []record.Record{
		directory.Group{ID: plain, Tenant: servetest.Tenant, DisplayName: "plain"},
		directory.Group{ID: bound, Tenant: servetest.Tenant, DisplayName: "bound"},
		directory.Group{ID: privileg, Tenant: servetest.Tenant, DisplayName: "privileged", RoleAssignable: true},
		build,
		kuberbac.Binding{Cluster: servetest.AKS2, Name: "admins", RoleIsCluster: true, Role: "cluster-admin", Subjects: []kuberbac.Subject{
			{Kind: kuberbac.Group, Name: bound.String()}, {Kind: kuberbac.User, Name: "left@teknews.cloud"}}},
	}
	for _, p := range []struct {
		id   principal.ID
		name string
		role string
	}{
		{global, "global", "Global Administrator"}, {userAdm, "users", "User Administrator"}, {groupAdm, "groups", "Groups Administrator"},
		{appAdm, "apps", "Application Administrator"}, {roleAdm, "roles", "Privileged Role Administrator"}, {helpdesk, "help", "Helpdesk Administrator"},
		{owner, "maker", ""}, {owner2, "maker2", ""},
	} {
		recs = append(recs, directory.User{ID: p.id, Tenant: servetest.Tenant, UserPrincipalName: p.name + "@teknews.cloud"})
		if p.role != "" {
			recs = append(recs, directory.RoleAssignment{Principal: p.id, Role: directoryRole(p.role)})
		}
	}
	for _, object := range []principal.ID{plain, privileg, build.ID} {
		recs = append(recs, directory.Ownership{Object: object, Owner: owner})
	}
	h.commit(append(recs, directory.Ownership{Object: build.ID, Owner: owner2})...)
	return h
}

func TestDirectoryRolesDecideWhoMayChangeWhat(t *testing.T) { // DIR-13, DIR-14
	t.Parallel()
	h := newDirectoryHouse(t)
	est := h.store.Current()
	userRec := func(id principal.ID, change func(*directory.User)) wire.Op {
		u, _ := est.User(id)
		change(&u)
		return put(t, u)
	}
	fresh := func(upn string) wire.Op {
		return put(t, directory.User{ID: servetest.ID("20000000-0000-4000-8000-0000000000df"), Tenant: servetest.Tenant, UserPrincipalName: upn})
	}
	member := func(group, who principal.ID) wire.Op {
		return put(t, directory.Membership{Group: group, Member: who})
	}
	role := func(who principal.ID, name string) wire.Op {
		return put(t, directory.RoleAssignment{Principal: who, Role: directoryRole(name)})
	}
	owns := func(object, who principal.ID) wire.Op {
		return put(t, directory.Ownership{Object: object, Owner: who})
	}
	attributes := func(u *directory.User) { u.Attributes = map[string][]string{"Engineering_project": {"baker"}} }
	stranger := directory.User{ID: servetest.ID("20000000-0000-4000-8000-0000000000de"), Tenant: servetest.Tenant2, UserPrincipalName: "x@fabrikam.com"}
	dangling := directory.ServicePrincipal{ID: servetest.ID("40000000-0000-4000-8000-0000000000d1"), AppID: directory.AppID(servetest.ID("41000000-0000-4000-8000-0000000000d3")), Tenant: servetest.Tenant, DisplayName: "x"}
	cli := directory.Application{ID: servetest.ID("41000000-0000-4000-8000-0000000000d4"), AppID: issue.AzureCLI, Tenant: servetest.Tenant, DisplayName: "x", RedirectURIs: []string{"https://evil.example/"}}
	const no, ok = "AuthorizationFailed", "ok"
	for _, tt := range []struct {
		law  string
		who  principal.ID
		op   wire.Op
		code string
	}{
		{"a User Administrator renames somebody", userAdm, userRec(servetest.Faye, func(u *directory.User) { u.DisplayName = "F" }), ok},
		{"and disables somebody", userAdm, userRec(servetest.Faye, func(u *directory.User) { u.Disabled = true }), ok},
		{"DIR-13: but nobody who has a role himself", userAdm, userRec(global, func(u *directory.User) { u.Disabled = true }), no},
		{"DIR-13: nor deletes him", userAdm, del(directory.User{ID: helpdesk}.Key(), true), no},
		{"nor writes what conditions read", userAdm, userRec(userAdm, attributes), no},
		{"which a Global Administrator does not either", global, userRec(servetest.Faye, attributes), no},
		{"a User Administrator makes somebody", userAdm, fresh("new@teknews.cloud"), ok},
		{"DIR-05: under no name that a cluster's binding still names", userAdm, fresh("left@teknews.cloud"), no},
		{"DIR-07: nor renames anybody to it", userAdm, userRec(servetest.Jet, func(u *directory.User) { u.UserPrincipalName = "left@teknews.cloud" }), no},
		{"DIR-14: nor makes anybody in another tenant", userAdm, put(t, stranger), no},
		{"DIR-14: whoever he is in his own", global, put(t, stranger), no},
		{"and no tenant", global, put(t, directory.Tenant{ID: servetest.Tenant, Domains: []string{"teknews.cloud", "contoso.com"}}), no},

		{"a Groups Administrator fills a group", groupAdm, member(plain, groupAdm), ok},
		{"DIR-13: not one that has a role of Azure", groupAdm, member(servetest.Staff, groupAdm), no},
		{"DIR-13: not an admin group of clusters", groupAdm, member(servetest.Admins, groupAdm), no},
		{"DIR-13: not one that a cluster's binding names", groupAdm, member(bound, groupAdm), no},
		{"DIR-13: not one that may have roles of the directory", groupAdm, member(privileg, groupAdm), no},
		{"nor makes such a group", groupAdm, put(t, directory.Group{ID: servetest.ID("30000000-0000-4000-8000-0000000000d8"), Tenant: servetest.Tenant, DisplayName: "x", RoleAssignable: true}), no},
		{"nor an owner of one", groupAdm, owns(privileg, groupAdm), no},
		{"who gives roles does", roleAdm, member(privileg, servetest.Jet), ok},

		{"DIR-13: who manages users makes himself no Global Administrator", userAdm, role(userAdm, "Global Administrator"), no},
		{"DIR-13: nor anybody anything", appAdm, role(servetest.Jet, "Directory Readers"), no},
		{"who gives roles does", roleAdm, role(servetest.Jet, "Groups Administrator"), ok},
		{"a Global Administrator as well", global, role(privileg, "User Administrator"), ok},
		{"DIR-14: not to somebody of another tenant", global, role(servetest.Vicious, "Global Administrator"), no},
		{"DIR-12: the last Global Administrator keeps the role", global, del(directory.RoleAssignment{Principal: global, Role: directoryrole.GlobalAdministrator}.Key(), false), "LastGlobalAdministrator"},

		{"who owns something is deleted by who may delete users", userAdm, del(directory.User{ID: owner2}.Key(), true), ok},
		{"an owner fills his group", owner, member(plain, owner), ok},
		{"DIR-13: not one that may have roles, although he owns it", owner, member(privileg, owner), no},
		{"an owner changes his application", owner, put(t, with(build, func(a *directory.Application) { a.DisplayName = "b" })), ok},
		{"and makes another owner", owner, owns(build.ID, servetest.Jet), ok},
		{"but changes no other application", owner, put(t, with(mustApp(t, h), func(a *directory.Application) { a.DisplayName = "b" })), no},
		{"nobody makes himself an owner", servetest.Ed, owns(build.ID, servetest.Ed), no},

		{"an Application Administrator makes an application", appAdm, put(t, directory.Application{ID: servetest.ID("41000000-0000-4000-8000-0000000000d5"), AppID: directory.AppID(servetest.ID("41000000-0000-4000-8000-0000000000d6")), Tenant: servetest.Tenant, DisplayName: "x"}), ok},
		{"but none that stands for a client of the house", appAdm, put(t, cli), no},
		{"a service principal may come before its application", appAdm, put(t, dangling), ok},
	} {
		t.Run(tt.law, func(t *testing.T) {
			if _, err := h.as(tt.who).Commit(t.Context(), wire.Changes{Why: tt.law, Ops: []wire.Op{tt.op}}); code(err) != tt.code {
				t.Errorf("%v, want %s", err, tt.code)
			}
		})
	}
	// Whoever makes the application for a service principal that has a role would be it.
	h.commit(azurerbac.Assignment{ID: assignmentID(60), Scope: servetest.Subscription, Principal: dangling.ID, Role: contributor})
	late := directory.Application{ID: servetest.ID("41000000-0000-4000-8000-0000000000d7"), AppID: dangling.AppID, Tenant: servetest.Tenant, DisplayName: "x"}
	if _, err := h.as(appAdm).Commit(t.Context(), wire.Changes{Ops: []wire.Op{put(t, late)}}); code(err) != no {
		t.Errorf("DIR-13: an application for a service principal that has a role: %v", err)
	}
}

func with(a directory.Application, change func(*directory.Application)) directory.Application {
	change(&a)
	return a
}

func mustApp(t *testing.T, h *house) directory.Application {
	t.Helper()
	a, ok := h.store.Current().Application(servetest.RobotApp)
	if !ok {
		t.Fatal("there is no robot")
	}
	return a
}

func TestCredentialsAreForWhoCouldGiveWhatTheyOpen(t *testing.T) { // DIR-13
	t.Parallel()
	h := newDirectoryHouse(t)
	for _, tt := range []struct {
		law  string
		who  principal.ID
		of   principal.ID
		code string
	}{
		{"the helpdesk resets a password", helpdesk, servetest.Faye, no(h, servetest.Faye)},
		{"not that of somebody who has a role of the directory", helpdesk, global, "AuthorizationFailed"},
		{"not that of its own colleague, who has one too", helpdesk, userAdm, "AuthorizationFailed"},
		{"not that of somebody who has a role in Azure", helpdesk, servetest.Jet, "AuthorizationFailed"},
		{"not that of an owner of an application", helpdesk, owner, "AuthorizationFailed"},
		{"not that of somebody in another tenant", global, servetest.Vicious, "AuthorizationFailed"},
		{"a Global Administrator resets that of an owner", global, owner, "ok"},
		{"but not that of who has more than a directory", global, root, "AuthorizationFailed"},
		{"who has no such role resets none", groupAdm, servetest.Faye, "AuthorizationFailed"},
	} {
		t.Run(tt.law, func(t *testing.T) {
			if err := h.as(tt.who).SetPassword(t.Context(), tt.of.String(), "correct horse"); code(err) != tt.code {
				t.Errorf("%v, want %s", err, tt.code)
			}
		})
	}
	if _, err := h.as(owner).NewSecret(t.Context(), build.AppID.String(), wire.NewSecret{Name: "ci", Days: 1}); err != nil {
		t.Errorf("an owner adds a secret: %v", err)
	}
	if _, err := h.as(appAdm).NewSecret(t.Context(), servetest.RobotApp.String(), wire.NewSecret{Name: "ci", Days: 1}); code(err) != "AuthorizationFailed" {
		t.Errorf("an Application Administrator adds a secret to an application that owns a cluster: %v", err)
	}
}

// no is what happens to who has Azure roles through his groups, as Faye does.
func no(h *house, who principal.ID) string {
	if r, ok := h.store.Current().Resolve(who); ok && len(r.Azure) > 0 {
		return "AuthorizationFailed"
	}
	return "ok"
}
